"""Stored arrays become a `Sample`: axes, lengths, and what belongs together.

`aemtwin.formats.nsid` reads the arrays; here their geometry is settled once, in metres,
so that nobody after this has to ask in which order a file was written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from aemtwin.errors import BadConfig, BadFile, unknown
from aemtwin.sample import SNAP, Field, Grid, Sample, StoredArray
from aemtwin.specs import METRES, Axis

log = logging.getLogger(__name__)

UNCALIBRATED = 1e-9  # metres for one unit of an axis whose unit is not a length

Calibration = Mapping[str, tuple[str, float]]
"""Axis name -> (the unit that the file states, metres that one of them is)."""


def make_sample(
    arrays: Iterable[StoredArray],
    *,
    select: str | None = None,
    calibrate: Calibration | None = None,
    origin: str = "the file",
) -> Sample:
    """Settle the geometry of stored arrays and pick one specimen.

    Arrays belong to one specimen if they name the same `sample` in their metadata,
    share the unit of their spatial axes, and cover the same field to within a pixel of
    the coarser grid.

    Args:
        arrays: What a file holds; arrays without two spatial axes are left out.
        select: The specimen, or an array of it; None: the first.
        calibrate: Lengths for axes that have none, such as
            `{"x": ("SI px", 0.39e-9)}`, where "px" stands for any kind of pixel;
            otherwise one unit counts as 1 nm.
        origin: What to call the source in errors.

    Raises:
        BadFile: If no array has two spatial axes.
        UnknownName: If nothing is called `select`, or `calibrate` fits no axis.
    """
    calibrate = dict(calibrate or {})
    fields: list[Field] = []
    for array in arrays:
        made = _field(array, calibrate)
        if made is None:
            log.info("%s: %r has no two spatial axes; left out", origin, array.name)
        else:
            fields.append(made)
    if not fields:
        raise BadFile(
            f"{origin} holds no array with two spatial axes (x and y), so there is no "
            "sample to move over. See `aemtwin info` for what it holds."
        )
    groups: list[list[Field]] = []
    for one in fields:
        home = next((g for g in groups if _same_specimen(g[0], one)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    names = _distinct([_specimen_name(group) for group in groups])
    chosen = 0
    if select is not None:
        fields_of = [[f.name for f in group] for group in groups]
        if select in names:
            chosen = names.index(select)
        elif any(select in of for of in fields_of):
            chosen = next(i for i, of in enumerate(fields_of) if select in of)
        else:
            raise unknown("sample", select, names, f"{origin} holds these.")
    elif len(groups) > 1:
        log.warning(
            "%s holds %d samples (%s); taking the first, %r. Choose by `select`.",
            origin,
            len(groups),
            ", ".join(names),
            names[0],
        )
    _require_used(calibrate, groups[chosen])
    others = tuple(name for i, name in enumerate(names) if i != chosen)
    return Sample(names[chosen], _distinct_fields(groups[chosen]), others)


def _require_used(calibrate: Calibration, group: Sequence[Field]) -> None:
    """Refuse a length for an axis that the chosen sample does not have."""
    spatial = [
        (letter, f.stored.axes[i])
        for f in group
        for i, letter in zip(f.spatial, "yx", strict=True)
    ]
    for letter, (unit, _) in calibrate.items():
        own = {a.units for name, a in spatial if name == letter}
        if own and all(_metres(unit) for unit in own):
            raise BadConfig(
                f"calibrate got a length for one {unit!r} of {letter}, whose axis is "
                f"calibrated already, in {', '.join(sorted(own))}. Leave it out."
            )
        if not any(
            letter == name and _means(unit, axis.units) for name, axis in spatial
        ):
            found = {f"{name} ({axis.units})" for name, axis in spatial}
            raise unknown(
                "axis to calibrate",
                f"{letter} ({unit})",
                found,
                "Name the unit it has.",
            )


def _metres(units: str) -> float | None:
    """Return how long one unit of an axis is; None where that is no length."""
    return METRES.get(units.strip().lower())


def _means(said: str, units: str) -> bool:
    """Whether a unit that somebody wrote is that of an axis; px is any kind of pixel.

    >>> _means("px", "SI px"), _means("px", "a.u.")
    (True, False)
    """
    pixels = ("px", "pixel", "pixels")
    last = units.strip().lower().rpartition(" ")[2]
    return said == units or (said.lower() in pixels and last in pixels)


def _field(array: StoredArray, calibrate: Calibration) -> Field | None:
    spatial = _spatial_axes(array.axes)
    if spatial is None:
        return None
    for axis in array.axes:
        if not np.all(np.isfinite(np.asarray(axis.values, np.float64))):
            raise BadFile(
                f"Axis {axis.name!r} of {array.name!r} holds a value that is not "
                "finite, so what was measured there has no place on it. Mend the axis."
            )
    metres, flipped, calibrated = [], [], True
    for i, letter in zip(spatial, "yx", strict=True):
        axis = array.axes[i]
        scale = _metres(axis.units)
        if scale is None and letter in calibrate:
            unit, metres_a_unit = calibrate[letter]
            scale = float(metres_a_unit) if _means(unit, axis.units) else None
        if scale is None:
            scale, calibrated = UNCALIBRATED, False
        values = np.asarray(axis.values, np.float64) * scale
        steps = np.diff(values)
        down = len(steps) > 0 and bool(np.all(steps < 0))
        if not np.all(np.isfinite(values)) or not (down or np.all(steps > 0)):
            raise BadFile(
                f"Axis {axis.name!r} of {array.name!r} neither rises nor falls "
                "throughout, so positions on it are ambiguous. Store it sorted."
            )
        metres.append(values[::-1] if down else values)
        flipped.append(down)
    grid = Grid(x=metres[1], y=metres[0])
    return Field(array, grid, spatial, (flipped[0], flipped[1]), calibrated)


def _spatial_axes(axes: Sequence[Axis]) -> tuple[int, int] | None:
    """Return which axes are (y, x): by name, else the two spatial ones, rows first."""
    by_name = {axis.name.strip().lower(): i for i, axis in enumerate(axes)}
    if "x" in by_name and "y" in by_name:
        return by_name["y"], by_name["x"]
    spatial = [i for i, axis in enumerate(axes) if axis.kind == "spatial"]
    return (spatial[0], spatial[1]) if len(spatial) == 2 else None


def _same_specimen(a: Field, b: Field) -> bool:
    if a.stored.metadata.get("sample") != b.stored.metadata.get("sample"):
        return False
    units = [[f.stored.axes[i].units for i in f.spatial] for f in (a, b)]
    if units[0] != units[1]:
        return False
    reach = np.maximum(a.grid.pixel, b.grid.pixel) * (1.0 + SNAP)
    apart = np.abs(np.subtract(a.grid.bounds, b.grid.bounds))  # (2, 2)
    return bool(np.all(apart <= reach[:, None]))


def _specimen_name(group: Sequence[Field]) -> str:
    return str(group[0].stored.metadata.get("sample") or group[0].name)


def _distinct(names: Sequence[str]) -> list[str]:
    out: list[str] = []
    for name in names:
        number, fresh = 2, name
        while fresh in out:
            fresh, number = f"{name}_{number}", number + 1
        out.append(fresh)
    return out


def _distinct_fields(group: Sequence[Field]) -> tuple[Field, ...]:
    """Two arrays of one name would hide each other; the later ones get a number."""
    names = _distinct([f.name for f in group])
    return tuple(
        f if f.name == name else replace(f, stored=replace(f.stored, name=name))
        for f, name in zip(group, names, strict=True)
    )
