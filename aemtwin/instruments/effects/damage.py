"""What a dose does: spectra fade, atoms are knocked out; and where the dose went.

Pure functions of dose per area, and `DoseField`, which keeps the dose of a twin on a
raster over its field. Doses are in whatever unit the instrument counts them
(electrons, joules, seconds), per square metre; cross-sections are per that unit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, unknown
from aemtwin.instruments import checks
from aemtwin.instruments.effects.base import hashed
from aemtwin.specs import Bounds

Array = NDArray[np.float64]
REST_EV = 510_998.95  # of the electron, CODATA 2018
UNIT_EV = 931_494_102.4  # of the atomic mass unit
CELLS, MOST_CELLS = 256, 512  # of a dose field along its longer side
EXACT = 1024  # points with a footprint; of more, each goes to its cell's middle first
FOOTPRINTS = ("gaussian", "box")
ERF = np.frompyfunc(math.erf, 1, 1)


def faded(dose: ArrayLike, added: ArrayLike, critical: float) -> Array:
    """Return the mean share of a signal left while the dose grows by `added`.

    The signal falls as exp(-D / Dc); its mean between D and D + d is
    exp(-D / Dc) (1 - exp(-d / Dc)) / (d / Dc), and exp(-D / Dc) where d is 0.

    Args:
        dose: Per area before, D, any shape.
        added: Per area meanwhile, d, same shape or one number.
        critical: Dc, above 0, in the unit of `dose`; infinite: nothing fades.

    Returns:
        0 to 1, the shape of `dose` and `added` together.

    Raises:
        OutOfRange: If a dose is negative or infinite, or the critical one not above 0.

    Source:
        Egerton, Li and Malac (2004), Micron 35, 399: exponential fading with a
        characteristic dose. The mean over an exposure is derived here.

    >>> faded([0.0, 1.0], 0.0, 1.0).round(4).tolist()
    [1.0, 0.3679]
    """
    if not critical > 0:
        raise OutOfRange(f"faded got the critical dose {critical!r}; it is above 0.")
    x = _doses("faded", added) / critical
    mean = np.divide(-np.expm1(-x), x, out=np.ones_like(x), where=x > 0)
    return np.asarray(np.exp(-_doses("faded", dose) / critical) * mean)


def fade(
    values: ArrayLike,
    dose: ArrayLike,
    critical: float,
    share: float = 1.0,
    added: ArrayLike = 0.0,
) -> Array:
    """Return a signal of which a share fades with the dose.

    Args:
        values: Without damage, (..., *spectral), any unit.
        dose: Per area before, (...): one for each spectrum, or one number.
        critical: As for `faded`.
        share: Of the signal that fades, 0 to 1; the rest stays.
        added: Per area while it is read, shape of `dose` or one number.

    Returns:
        The shape of `values`, the mean over the reading.

    Raises:
        OutOfRange: If the share is not from 0 to 1, and as `faded`.
        ShapeMismatch: If `dose` is not shaped as `values` begin.

    >>> fade([[8.0, 4.0]], [1.0], 1.0, share=0.5).round(3).tolist()
    [[5.472, 2.736]]
    """
    if not 0.0 <= share <= 1.0:
        raise OutOfRange(f"fade got the share {share!r}; it is from 0 to 1.")
    whole, left = np.asarray(values, np.float64), faded(dose, added, critical)
    if left.shape != whole.shape[: left.ndim]:
        raise ShapeMismatch(
            f"fade got doses of shape {left.shape} for values of {whole.shape}; there "
            "is one dose for each spectrum, or one for all."
        )
    left = left.reshape(left.shape + (1,) * (whole.ndim - left.ndim))
    return np.asarray(whole * (1.0 - share + share * left))


def max_transferred_ev(beam_ev: float, mass_u: float) -> float:
    """Return the most energy that an electron can hand to an atom at rest, eV.

    2 E (E + 2 m c²) / (M c² (1 + m / M)² + 2 E), which is nearly 2 E (E + 2 m c²) /
    (M c²): the electron comes straight back.

    Args:
        beam_ev: Kinetic energy E of the electrons.
        mass_u: Mass M of the atom in atomic mass units.

    Source:
        Derived here from the conservation of energy and momentum; a test solves these
        in the frame of the centre of mass.

    >>> round(max_transferred_ev(80e3, 12.011), 1)
    15.8
    """
    if not (beam_ev > 0 and mass_u > 0):
        raise OutOfRange(
            f"max_transferred_ev got {beam_ev!r} eV and {mass_u!r} u; both are above 0."
        )
    rest = mass_u * UNIT_EV
    head = 2.0 * beam_ev * (beam_ev + 2.0 * REST_EV)
    return head / (rest * (1.0 + REST_EV / rest) ** 2 + 2.0 * beam_ev)


def thresholds(random: np.random.Generator, n: int, cross_section_m2: float) -> Array:
    """Return the dose per area at which each of n atoms is knocked out.

    The chance to survive a dose D is exp(-cross-section · D). One number u drawn for
    each atom, -ln(1 - u) / cross-section, makes the outcome depend on the atom's dose
    so far and not on how or in what order that was given.

    Args:
        random: The source of chance, of the specimen: the same one each time.
        n: How many atoms.
        cross_section_m2: Of displacement, per electron; 0: none is ever knocked out.

    Source:
        Independent hits at a mean rate: Poisson's law for none at all.

    >>> thresholds(np.random.default_rng(0), 3, 1e-28).shape
    (3,)
    """
    if not 0 <= cross_section_m2 < math.inf:
        raise OutOfRange(
            f"thresholds got a cross-section of {cross_section_m2!r} m2; it is 0 or "
            "more and finite."
        )
    hits = -np.log1p(-random.random(n))  # 1 on average
    if cross_section_m2 == 0:
        return np.full(n, math.inf)
    return np.asarray(hits / cross_section_m2)


def survives(thresholds_per_m2: Array, dose_per_m2: ArrayLike) -> NDArray[np.bool_]:
    """Say which atoms are still there at their dose so far, (n,).

    >>> survives(np.array([1.0, 3.0]), 2.0).tolist()
    [False, True]
    """
    dose = _doses("survives", dose_per_m2)
    return np.asarray(thresholds_per_m2 >= dose)


def knock_on(
    alive: NDArray[np.bool_],
    dose_per_m2: ArrayLike,
    cross_section_m2: float,
    random: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return which atoms are still there, (n,): those that were and `survives`.

    Args:
        alive: Which were there before, (n,).
        dose_per_m2: Of each so far, in all, (n,) or one number.
        cross_section_m2: As for `thresholds`.
        random: As for `thresholds`: made anew of the same address each time.
    """
    lasting = thresholds(random, len(alive), cross_section_m2)
    return np.asarray(np.asarray(alive, np.bool_) & survives(lasting, dose_per_m2))


class DoseField:
    """Dose per area over the field of a twin, on a raster of square-ish cells.

    Args:
        bounds: ((x low, x high), (y low, y high)), metres; along a side of no length
            there is one cell of 1 nm.
        cells: Along the longer side, 1 to `MOST_CELLS`, so that memory is bounded.
    """

    def __init__(self, bounds: Bounds, cells: int = CELLS) -> None:
        if not 1 <= cells <= MOST_CELLS:
            raise OutOfRange(
                f"DoseField got {cells!r} cells; it takes 1 to {MOST_CELLS} along the "
                "longer side."
            )
        self._low = np.array([low for low, _ in bounds], np.float64)
        size = np.array([high - low for low, high in bounds])
        self._low -= np.where(size > 0, 0.0, 0.5e-9)
        size = np.where(size > 0, size, 1e-9)
        count = np.ceil(size / (size.max() / cells) - 1e-9)
        self._count = np.maximum(count, 1).astype(np.int64)  # columns, rows
        self._step = size / self._count
        self.clear()

    def clear(self) -> None:
        """Have no dose anywhere."""
        self._dose: Array | None = None  # of each cell, (rows, columns)
        self.outside = 0.0  # dose of footprints and frames that missed the field

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the raster."""
        return int(self._count[1]), int(self._count[0])

    @property
    def cell_m2(self) -> float:
        """Area of a cell."""
        return float(self._step[0] * self._step[1])

    @property
    def total(self) -> float:
        """All dose in the field."""
        return 0.0 if self._dose is None else float(self._dose.sum())

    @property
    def per_m2(self) -> Array:
        """A copy of the dose per area, (rows, columns), both ascending."""
        if self._dose is None:
            return np.zeros(self.shape)
        return self._dose / self.cell_m2

    def add(
        self,
        points: Array,
        each: ArrayLike,
        spread_m: float = 0.0,
        footprint: str = "gaussian",
    ) -> None:
        """Add a dose at every point; one beyond the edge counts as on it.

        Args:
            points: Positions (x, y), (k, 2), metres.
            each: The dose of each, (k,) or one number.
            spread_m: Of the beam: standard deviation of a Gaussian, side of a box. The
                cell alone gets it where that is less than a cell's shorter side.
            footprint: "gaussian" or "box"; what of it is beyond the field is counted
                in `outside`. Of more than `EXACT` points at once each goes to the
                middle of its cell first.

        Raises:
            OutOfRange: If a dose or the spread is negative or not finite.
            ShapeMismatch: If `points` are not (k, 2).
            UnknownName: If there is no such footprint.
        """
        points = checks.floats("DoseField.add", "points", points, "(k, 2)", 2)
        if footprint not in FOOTPRINTS:
            raise unknown("footprint", footprint, FOOTPRINTS, "See DoseField.add.")
        weight = np.broadcast_to(_doses("DoseField.add", each), len(points))
        spread = float(_doses("DoseField.add", spread_m))
        narrow = spread < self._step.min()
        if narrow or len(points) > EXACT:
            cells = self._own() if narrow else np.zeros(self.shape)
            np.add.at(cells.reshape(-1), self._index(points), weight)
            if narrow:
                return
            at = [
                low + step * (np.arange(n) + 0.5)
                for low, step, n in zip(self._low, self._step, self._count, strict=True)
            ]
            x, y = (self._shares(i, at[i], spread, footprint) for i in (0, 1))
            more = y.T @ cells @ x
        else:
            high = self._low + self._step * self._count
            inside = np.clip(points, self._low, high)
            x, y = (self._shares(i, inside[:, i], spread, footprint) for i in (0, 1))
            more = (y * weight[:, None]).T @ x
        self._own()[...] += more
        self.outside += max(float(weight.sum() - more.sum()), 0.0)

    def add_frame(self, region: Bounds, dose: float) -> None:
        """Add a dose spread evenly over a frame that is not turned.

        Args:
            region: ((x low, x high), (y low, y high)), metres; a side of no length
                puts all into one row or column of cells.
            dose: Of the frame in all; what is beyond the field counts in `outside`.
        """
        whole = float(_doses("DoseField.add_frame", dose))
        box = np.array(region, np.float64)
        if not (box[:, 0] <= box[:, 1]).all():
            raise OutOfRange(f"DoseField.add_frame got {region}; low is below high.")
        x, y = (
            self._shares(i, box[i].mean(keepdims=True), float(np.ptp(box[i])), "box")[0]
            for i in (0, 1)
        )
        more = whole * y[:, None] * x[None, :]
        self._own()[...] += more
        self.outside += max(whole - float(more.sum()), 0.0)

    def at(self, points: Array) -> Array:
        """Return the dose per area at points (k, 2); beyond the edge as on it."""
        points = np.asarray(points, np.float64)
        if self._dose is None:
            return np.zeros(len(points))
        return np.asarray(self._dose.ravel()[self._index(points)] / self.cell_m2)

    def copy(self) -> DoseField:
        """Return another that changes by itself."""
        other = object.__new__(DoseField)
        other.__dict__.update(self.__dict__)
        other._dose = None if self._dose is None else self._dose.copy()
        return other

    def digest(self) -> str:
        """Return what tells one state from another; "" while there is no dose."""
        return "" if self._dose is None else hashed(self._dose, self.outside)

    def _own(self) -> Array:
        if self._dose is None:
            self._dose = np.zeros(self.shape)
        return self._dose

    def _index(self, points: Array) -> NDArray[np.int64]:
        place = np.clip((points - self._low) / self._step, 0, self._count - 1)
        column, row = place.astype(np.int64).T
        return np.asarray(row * self._count[0] + column)

    def _shares(
        self, axis: int, centres: Array, spread: float, footprint: str
    ) -> Array:
        """Return what each cell along an axis gets of unit footprints, (k, cells)."""
        edges = self._low[axis] + self._step[axis] * np.arange(self._count[axis] + 1)
        away = edges[None, :] - centres[:, None]
        if spread == 0.0:  # a line: all in the cell that holds it
            below = (away > 0.0).astype(np.float64)
            below[:, -1] = away[:, -1] >= 0.0
        elif footprint == "box":
            below = np.clip(away / spread + 0.5, 0.0, 1.0)
        else:
            below = 0.5 * ERF(away / (math.sqrt(2.0) * spread)).astype(np.float64)
        return np.diff(below, axis=1)


def _doses(call: str, values: ArrayLike) -> Array:
    doses = np.asarray(values, np.float64)
    if not ((doses >= 0) & (doses < math.inf)).all():
        raise OutOfRange(f"{call} got {doses.min():g}; doses are 0 or more and finite.")
    return doses
