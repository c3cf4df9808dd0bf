"""The specimen as the probe finds it: stored fields, with what effects do to them.

Between the truth (`aemtwin.sample`) and the detector: where the probe truly is, what a
blunt tip or a wide beam sees there, what was written or burnt in before. Without
effects it reads the sample and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects.base import Effect, Scene, Shot, hashed
from aemtwin.instruments.modes.base import Reader
from aemtwin.instruments.paths import Path
from aemtwin.sample import Field
from aemtwin.specs import Channel, Mode

Array = NDArray[np.float64]
Wide = NDArray[Any]  # float64 or complex128: not yet cast to the dtype of the file


class Stage:
    """The specimen under a probe, with the effects that are on."""

    def __init__(self, scene: Scene, effects: Sequence[Effect]) -> None:
        self._scene, self.effects = scene, tuple(effects)
        self.start()

    def start(self) -> None:
        """Stand as at time zero."""
        self._images: dict[str, tuple[Any, Field]] = {}
        for effect in self.effects:
            effect.start(self._scene)

    def digest(self) -> str:
        """Return what tells one state of the specimen from another."""
        return hashed(*((e.name, e.digest()) for e in self.effects if e.digest()))

    def shot(
        self,
        call: str,
        arguments: Mapping[str, Any],
        path: Path,
        begin_s: float,
        settings: Mapping[str, float],
        dose: float,
        random: Callable[[str], np.random.Generator],
    ) -> Shot:
        """Return the operation as effects see it, with where the probe truly is."""
        shot = Shot(
            call=call,
            arguments=arguments,
            path=path,
            begin_s=begin_s,
            settings=settings,
            dose=dose,
            random=random,
        )
        moved = [effect.displacement(shot) for effect in self.effects]
        off = [one for one in moved if one is not None]
        shot = replace(shot, off=np.sum(off, axis=0)) if off else shot
        return replace(shot, dose=0.0) if self.dark(shot) else shot

    def faults(self, shot: Shot) -> None:
        """Raise an `InstrumentFault` if an effect says that the operation fails."""
        for effect in self.effects:
            effect.fault(shot)

    def dark(self, shot: Shot) -> bool:
        """Say whether nothing arrives at the detector meanwhile."""
        return any([effect.dark(shot) for effect in self.effects])

    def done(self, shot: Shot) -> list[str]:
        """Keep what the operation left behind, and return what is said of it."""
        for effect in self.effects:
            effect.done(shot)
        return [text for effect in self.effects for text in effect.notices(shot)]

    def frame(self, shot: Shot, field: Field, channel: Channel, native: bool) -> Wide:
        """Return what arrives of an image along the path of a shot, (k,)."""
        times = [t for effect in self.effects for t in effect.breaks(shot)]
        if not times:
            seen = self._seen(field, shot)
            values = seen.image.flatten() if native and shot.off is None else None
            values = seen.at(shot.where) if values is None else values
        else:  # the tip changes on the way
            values = np.empty(len(shot.where), seen_dtype(field))
            edges = [-np.inf, *sorted(times), np.inf]
            for begin, end in itertools.pairwise(edges):
                now = (shot.path.times_s >= begin) & (shot.path.times_s < end)
                if now.any():
                    seen = self._seen(field, shot, max(begin, shot.begin_s))
                    values[now] = seen.at(shot.where[now])
        return self._arriving(shot, channel, values)

    def spot(
        self, shot: Shot, reader: Reader, mode: Mode, given: Mapping[str, float]
    ) -> dict[str, Wide]:
        """Return what arrives of a mode where the probe is, (1, *spectral) by name."""
        points, weights = shot.where, None
        for effect in self.effects:
            spread = effect.spread(shot.settings)
            if spread is not None and not reader.whole_probe:
                points, weights = points + spread[0], spread[1]
        arrays = reader.read(points, shot.settings, given)
        if weights is not None:
            wide = weights.reshape(-1, *[1] * (next(iter(arrays.values())).ndim - 1))
            arrays = {
                name: np.sum(values * wide, axis=0, keepdims=True)
                for name, values in arrays.items()
            }
        axes = reader.axes(given)  # parameters change them
        return {
            name: self._arriving(shot, replace(mode, name=name, axes=axes), values)
            for name, values in arrays.items()
        }

    def detected(self, shot: Shot, what: Channel | Mode, values: Wide) -> Wide:
        """Return what the electronics make of readings (k, *spectral)."""
        for effect in self.effects:
            values = effect.detected(shot, what, values)
        return values

    def _arriving(self, shot: Shot, what: Channel | Mode, values: Wide) -> Wide:
        for effect in self.effects:
            values = effect.arriving(shot, what, values)
        return values

    def _seen(self, field: Field, shot: Shot, time_s: float | None = None) -> Field:
        """Return the field as the probe sees it at a time; kept until that changes."""
        time_s = shot.begin_s if time_s is None else time_s
        stamps = [effect.stamp(time_s, shot.settings) for effect in self.effects]
        if all(stamp is None for stamp in stamps) or field.dtype.kind not in "iuf":
            return field
        kept = self._images.get(field.name)
        if kept is not None and kept[0] == stamps:
            return kept[1]
        image = field.image.astype(np.float64)
        for effect, stamp in zip(self.effects, stamps, strict=True):
            if stamp is not None:
                image = effect.seen(field, image, stamp)
        stored = replace(field.stored, data=image)
        seen = replace(field, stored=stored, spatial=(0, 1), flipped=(False, False))
        self._images[field.name] = (stamps, seen)
        return seen


def seen_dtype(field: Field) -> np.dtype[Any]:
    """Return the type wide enough for what becomes of a field on its way.

    Integers become float64: a blurred count is none any more until it is counted.
    """
    return np.result_type(field.dtype, np.float64)
