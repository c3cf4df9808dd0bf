"""Effect of a beam on single atoms: each column is knocked out at a dose of its own.

The law is `damage.thresholds`; fading of whole spectra is in
`aemtwin.instruments.effects.seeing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.budget import leave
from aemtwin.instruments.effects import damage
from aemtwin.instruments.effects.base import Effect, Scene, Shot, hashed, number, table
from aemtwin.instruments.effects.noise import generator
from aemtwin.sample import Field

Array = NDArray[np.float64]
CELLS = 512  # of the field of dose along its longer side


@dataclass
class KnockOn(Effect):
    """Columns vanish one by one: each atom stays with probability exp(-σ · dose).

    Sites are the maxima of an image, each the highest within a radius. What of the peak
    stands above its surroundings goes when the dose at the site reaches a number drawn
    from the twin's seed, so the outcome does not depend on how the dose was split.
    Spectra keep what they were.
    """

    name: ClassVar[str] = "knock_on"
    says: ClassVar[str] = (
        "Atoms are knocked out one by one: columns of an image vanish."
    )
    source: ClassVar[str] = "survival exp(-cross-section * dose)"
    kinds: ClassVar[tuple[str, ...]] = ("stem",)

    cross_section_m2: Mapping[str, float] = table("m2", "of images by name")
    radius_m: float = number(1e-10, "m", "of a site in the image", 1e-12, 1e-6)

    def start(self, scene: Scene) -> None:
        from aemtwin.instruments.effects.readings import known

        known(self.name, self.cross_section_m2, scene)
        self._field = damage.DoseField(scene.spec.bounds, CELLS)
        self._dead: dict[str, tuple[int, ...]] = {}
        self._sites: dict[str, tuple[NDArray[np.int64], Array, Array]] = {}
        for image in scene.sample.images:
            section = self.cross_section_m2.get(image.name, 0.0)
            if section and all(image.grid.pixel):
                rows, columns = maxima(
                    image.image.astype(np.float64), self._reach(image)
                )
                at = np.column_stack([image.grid.x[columns], image.grid.y[rows]])
                random = generator(scene.seed, 0, "knock_on", image.name)
                limits = damage.thresholds(random, len(at), section)
                index = np.column_stack([rows, columns])
                self._sites[image.name] = index, at, limits
                self._dead[image.name] = ()

    def digest(self) -> str:
        return hashed(self._field.digest(), sorted(self._dead.items()))

    def stamp(self, time_s: float, settings: Mapping[str, float]) -> Any:
        return tuple(sorted(self._dead.items())) if any(self._dead.values()) else None

    def seen(self, field: Field, image: Array, stamp: Any) -> Array:
        dead = dict(stamp).get(field.name, ())
        if not dead:
            return image
        image = image.copy()
        down, right = self._reach(field)
        for row, column in self._sites[field.name][0][list(dead)]:
            rows = slice(max(row - down, 0), row + down + 1)
            columns = slice(max(column - right, 0), column + right + 1)
            here = image[rows, columns]
            image[rows, columns] = np.minimum(here, np.median(_rim(here)))
        return image

    def done(self, shot: Shot) -> None:
        if shot.dose <= 0:
            return
        each = shot.dose * shot.share
        leave(self._field, shot.path, shot.off, each)
        for name, (_, at, limits) in self._sites.items():
            gone = np.flatnonzero(~damage.survives(limits, self._field.at(at)))
            self._dead[name] = tuple(gone.tolist())

    def _reach(self, field: Field) -> tuple[int, int]:
        """Return the radius in rows and columns, at least 1."""
        dx, dy = field.grid.pixel
        return max(round(self.radius_m / dy), 1), max(round(self.radius_m / dx), 1)


def maxima(
    image: Array, reach: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of pixels that are the highest within a reach.

    Those that are no higher than the mean of the image are left out, and of equal
    neighbours the first counts.

    >>> maxima(np.array([[0.0, 5.0, 0.0], [0.0, 0.0, 0.0]]), (1, 1))
    (array([0]), array([1]))
    """
    wide = np.pad(image, [(n, n) for n in reach], constant_values=-np.inf)
    best = image > image.mean()
    rows, columns = image.shape
    for i in range(2 * reach[0] + 1):
        for j in range(2 * reach[1] + 1):
            near = wide[i : i + rows, j : j + columns]
            before = (i, j) < reach
            best &= (image > near) if before else (image >= near)
    row, column = np.nonzero(best)
    return row, column


def _rim(window: Array) -> Array:
    """Return the outermost values of a window."""
    return np.concatenate([window[0], window[-1], window[1:-1, 0], window[1:-1, -1]])
