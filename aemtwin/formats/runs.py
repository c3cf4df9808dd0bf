"""The measurements of a run as stored arrays, for its `data.nsid.h5`.

Spectra taken at scattered points have no grid: they are stacked in the order in which
they were taken, and arrays of the same length say where and when. `write_nsid` in
`aemtwin.formats.nsid` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aemtwin.errors import ShapeMismatch
from aemtwin.measurement import Measurement
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis


def measurements_to_arrays(measurements: Sequence[Measurement]) -> list[StoredArray]:
    """Stack the measurements of a run, one array a channel, and their positions.

    Args:
        measurements: Results of `measure` in the order taken, n of them, all of one
            mode with the same axes and channels.

    Returns:
        Every channel as (n, *axes) in the dtype measured; then `x` and `y`, where the
        probe was, `asked_x` and `asked_y`, all (n,) in metres, `time` (n,), the begin
        of each in seconds, and `dose` (n,). Request ids are in the metadata of each.
        Nothing for no measurements.

    Raises:
        ShapeMismatch: If they do not share mode, channels and axes.
    """
    if not measurements:
        return []
    first = measurements[0]
    for i, one in enumerate(measurements):
        same = (
            one.mode == first.mode
            and tuple(one.arrays) == tuple(first.arrays)
            and all(
                one.arrays[n].shape == a.shape and one.arrays[n].dtype == a.dtype
                for n, a in first.arrays.items()
            )
            and one.axes == first.axes
            and np.shape(one.actual) == np.shape(one.asked) == (2,)
        )
        if not same:
            raise ShapeMismatch(
                f"measurements_to_arrays got measurement {i} ({one.rid!r}, mode "
                f"{one.mode!r}) unlike the first ({first.rid!r}, mode {first.mode!r}); "
                "all must share mode, channels, axes and dtype. Stack them by mode."
            )
    n = len(measurements)
    point = Axis("point", "", np.arange(n), "Point in the order taken", "point_cloud")
    about = {"mode": first.mode, "rids": [one.rid for one in measurements]}

    def each(name: str, units: str, quantity: str, values: object) -> StoredArray:
        return StoredArray(
            name=name,
            quantity=quantity,
            units=units,
            data=np.asarray(values, np.float64),
            axes=(point,),
            metadata=about,
            data_type="LINE_PLOT",
            source="aemtwin",
        )

    spectra = [
        StoredArray(
            name=name,
            quantity=first.quantities.get(name, ""),
            units=first.units.get(name, ""),
            data=np.stack([one.arrays[name] for one in measurements]),
            axes=(point, *first.axes),
            metadata={**about, "dwell_s": [one.dwell_s for one in measurements]},
            data_type="LINE_PLOT_FAMILY" if len(first.axes) == 1 else "UNKNOWN",
            modality=first.mode,
            source="aemtwin",
        )
        for name in first.arrays
    ]
    actual = np.array([one.actual for one in measurements])  # (n, 2)
    asked = np.array([one.asked for one in measurements])
    return [
        *spectra,
        each("x", "m", "Position", actual[:, 0]),
        each("y", "m", "Position", actual[:, 1]),
        each("asked_x", "m", "Position asked", asked[:, 0]),
        each("asked_y", "m", "Position asked", asked[:, 1]),
        each("time", "s", "Begin", [one.time_s[0] for one in measurements]),
        each("dose", "", "Dose", [one.dose for one in measurements]),
    ]
