"""What the pictures read from a run: its points, its grid, and what it does not have.

`aemtwin.record` makes the `RunRecord`; nothing is written or measured here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.journal import load_spectrum, spectrum_path
from aemtwin.plots.coverage import why_none
from aemtwin.plots.style import scale

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

Array = NDArray[np.float64]
FLAT = 0.45  # height divided by width, below which a field is flat


class Points(NamedTuple):
    """The measurements of a run in the order they were made."""

    x: Array  # (n,) m, where the probe was
    y: Array  # (n,) m
    value: Array  # (n,), in `record.value_units`; NaN where invalid
    valid: NDArray[np.bool_]  # (n,)
    first: int  # how many of them came before the search

    @property
    def best(self) -> int | None:
        """Which valid measurement is the highest; None without one."""
        return int(np.nanargmax(self.value)) if self.valid.any() else None

    @property
    def worst(self) -> int | None:
        """Which valid measurement is the lowest; None without one."""
        return int(np.nanargmin(self.value)) if self.valid.any() else None


class Grid(NamedTuple):
    """The candidates as rows and columns, and the unit of length to draw in."""

    x: Array  # (columns,) in `unit`
    y: Array  # (rows,) in `unit`
    shape: tuple[int, int]
    factor: float  # from metres to `unit`
    unit: str

    @property
    def flat(self) -> bool:
        """Whether the field is so much wider than high that bars go below it."""
        return self.aspect < FLAT

    @property
    def aspect(self) -> float:
        """Height of the field divided by its width, pixels at the border included."""
        wide, high = (
            np.ptp(values) * (1 + 1 / max(values.size - 1, 1)) or 1.0
            for values in (self.x, self.y)
        )
        return float(high / wide)


def points(record: RunRecord) -> Points:
    """Return the measurements; where the probe was is taken for where it was sent."""
    rows = [event["data"] for event in record.events]

    def column(actual: str, asked: str) -> Array:
        values = [
            row[asked] if row.get(actual) is None else row[actual] for row in rows
        ]
        return np.array(values, dtype=np.float64)

    value = np.array([_number(row["value"]) for row in rows], dtype=np.float64)
    valid = np.isfinite(value) & np.array([bool(row["valid"]) for row in rows], bool)
    return Points(
        x=column("actual_x", "x"),
        y=column("actual_y", "y"),
        value=np.where(valid, value, np.nan),
        valid=valid,
        first=sum(row.get("phase") == "first" for row in rows),
    )


def grid(record: RunRecord) -> Grid:
    """Return the candidate grid, in the unit of length that suits all that is drawn."""
    rows, columns = record.shape
    lengths = [record.candidates.ravel()]
    if record.overview is not None:
        lengths += [np.ravel(record.overview["x"]), np.ravel(record.overview["y"])]
    factor, unit = scale(np.concatenate(lengths), "m")
    x, y = record.candidates[:columns, 0], record.candidates[::columns, 1]
    return Grid(x * factor, y * factor, (rows, columns), factor, unit)


def value_limits(record: RunRecord) -> tuple[float, float]:
    """Return the colour range that measured values and predicted mean share."""
    values = [points(record).value]
    if record.maps is not None and record.maps.get("mean") is not None:
        values.append(np.ravel(record.maps["mean"]))
    together = np.concatenate(values)
    together = together[np.isfinite(together)]
    if together.size == 0:
        return 0.0, 1.0
    low, high = float(together.min()), float(together.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def missing(kind: str, record: RunRecord) -> str | None:
    """Return why a run has nothing to draw of a kind, as a sentence; None if it has.

    Args:
        kind: One of `aemtwin.plots.KINDS`.
        record: The run.
    """
    count, valid = len(record.events), points(record).valid.any()
    nothing = "No measurement was made before the run ended."
    if kind == "overview":
        none = record.overview is None and not count
        return "No overview frame was taken, and no measurement made." if none else None
    if kind in ("mean", "uncertainty", "acquisition"):
        if record.maps is None or record.maps.get(_map(kind)) is None:
            return (
                f"The run holds no map of the {WORDS[kind]}: it ended before the first "
                "prediction, or its policy makes none."
            )
        if not np.isfinite(record.maps[_map(kind)]).any():
            return f"The last map of the {WORDS[kind]} holds no finite value."
        return None
    if kind in ("front", "hypervolume"):
        return _no_front(kind, record)
    if kind == "latent":
        return _no_latent(record)
    if kind == "dose":
        if doses(record).any() or frame_dose(record) > 0:
            return None
        return "No dose is on record: nothing was measured, or nobody counted."
    if kind == "calibration":
        return why_none(record)
    if not count:
        return nothing
    if kind in ("spectra", "learning_curve") and not valid:
        return "No measurement gave a valid value."
    return None


def _no_front(kind: str, record: RunRecord) -> str | None:
    if not record.others:
        return "This run seeks one number, so there is no front of several."
    if not np.isfinite(record.outcomes).all(axis=1).any():
        return "No measurement gave every number that is sought."
    if kind == "hypervolume" and len(record.others) > 2:
        return "Hypervolume is computed of two or three numbers; this run seeks more."
    return None


def _no_latent(record: RunRecord) -> str | None:
    latent = None if record.maps is None else record.maps.get("latent")
    if latent is not None:
        return None if np.isfinite(latent).all(axis=1).any() else NO_PLACE
    name = (record.config.get("surrogate") or {}).get("name", "its surrogate")
    if name != "dkl":
        return (
            f"This run has no latent space: {name} learns no features of its own, as "
            "the surrogate dkl does."
        )
    return "The latent space is kept when a run ends, which this one has not."


def doses(record: RunRecord) -> Array:
    """Return the dose of every measurement, (n,), in `dose_units`."""
    said = (_number(event["data"].get("dose")) for event in record.events)
    return np.nan_to_num(np.array(list(said), dtype=np.float64))


def frame_dose(record: RunRecord) -> float:
    """Return the dose of the frame taken first, in `dose_units`; 0 without one."""
    if record.overview is None or not spectrum_path(record.path, 0).exists():
        return 0.0
    return float(load_spectrum(record.path, 0).dose)


def dose_units(record: RunRecord) -> str:
    """Return the unit of dose: "s" on the specimen, or "electrons"."""
    return str(record.start.get("instrument", {}).get("dose_units") or "s")


NO_PLACE = "The latent space on record holds no finite place."
WORDS = {
    "mean": "predicted mean",
    "uncertainty": "uncertainty",
    "acquisition": "acquisition",
}


def _map(kind: str) -> str:
    return "sd" if kind == "uncertainty" else kind


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
