"""What a surrogate is told of a candidate: its position, and patches of images there.

A row of X is the position scaled to the unit box, then, for a surrogate that reads
images, the pixels of `aemtwin.patches` around it. The images are the first frame of the
run, so that what the surrogate sees is what the instrument gave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aemtwin import designs, patches
from aemtwin.errors import BadConfig, OutOfRange
from aemtwin.measurement import Measurement
from aemtwin.sections import Inputs
from aemtwin.specs import Bounds, Channel, InstrumentSpec


@dataclass(frozen=True, eq=False)
class View:
    """All candidates as the surrogate sees them."""

    X: NDArray[np.float64]  # (m, 2 + patch pixels)
    allowed: NDArray[np.bool_]  # (m,), which may be measured

    @property
    def count(self) -> int:
        """How many candidates may be measured."""
        return int(self.allowed.sum())

    def within(self, candidates: NDArray[np.float64], spec: InstrumentSpec) -> View:
        """Return it without the candidates where the server allows nothing.

        Args:
            candidates: Their positions (m, 2), metres.
            spec: Of the instrument; its limits may have a box of positions.

        Raises:
            OutOfRange: If none is left.
        """
        box = spec.limits.allowed.get("position")
        if box is None:
            return self
        low, high = np.asarray(box, np.float64).T
        allowed = self.allowed & ((candidates >= low) & (candidates <= high)).all(
            axis=1
        )
        if not allowed.any():
            raise OutOfRange(
                f"None of {len(allowed)} candidates lies where the server allows the "
                f"probe to be, {box} m. Ask for more of them (candidates), or its "
                "operator for another box."
            )
        return View(self.X, allowed)


def frame_channels(
    shown: Channel | None, images: Sequence[str], spec: InstrumentSpec
) -> tuple[str, ...]:
    """Return the channels of the first frame, in the order in which to scan them.

    A scan has the pixels of its first channel, so the finest image that is read comes
    first where it is finer than the one that is shown.
    """

    def pixels(name: str) -> int:
        return math.prod(spec.channel(name).shape or (0,))

    names = [] if shown is None else [shown.name]
    finest = sorted([*names, *images], key=pixels, reverse=True)
    if images and pixels(finest[0]) > pixels((*names, *images)[0]):
        names.insert(0, finest[0])
    return tuple(dict.fromkeys((*names, *images)))


def whole_field(spec: InstrumentSpec) -> bool:
    """Say whether the server allows a frame of all that the instrument reaches."""
    box = spec.limits.allowed.get("position") or spec.bounds
    pairs = zip(box, spec.bounds, strict=True)
    return all(one[0] <= own[0] and own[1] <= one[1] for one, own in pairs)


def positions_alone(candidates: NDArray[np.float64], bounds: Bounds) -> View:
    """Return the view of a surrogate that sees no image.

    Args:
        candidates: Positions (m, 2), metres.
        bounds: Of the field searched, metres.
    """
    X = designs.scale_to_box(candidates, bounds)
    return View(X, np.ones(len(X), bool))


def with_patches(
    candidates: NDArray[np.float64],
    bounds: Bounds,
    frame: Measurement,
    channels: tuple[str, ...],
    said: Inputs,
) -> View:
    """Return the view of a surrogate that sees the first frame around a candidate.

    Args:
        candidates: Positions (m, 2), metres.
        bounds: Of the field searched, metres.
        frame: A scan that holds the channels.
        channels: The images to cut patches from, in the order of the columns.
        said: Size, scales, and what to do at the border.

    Raises:
        BadConfig: If no candidate has whole patches and `border` asks for them.
    """
    images = [frame.arrays[name] for name in channels]
    pixels, whole = patches.cut(
        [np.abs(image) if np.iscomplexobj(image) else image for image in images],
        frame.axis("x").values,
        frame.axis("y").values,
        candidates,
        size=said.size,
        scales=said.scales,
    )
    X = np.hstack([designs.scale_to_box(candidates, bounds), pixels])
    if said.border == "mirror":
        return View(X, np.ones(len(X), bool))
    if not whole.any():
        raise BadConfig(
            f"No candidate has a whole patch of {said.size} pixels at the scales "
            f"{list(said.scales)} inside the image of {images[0].shape}. Make them "
            'smaller, or take border = "mirror".'
        )
    return View(X, whole)
