"""How often predicted intervals held what they claimed to, read from a run.

Against the truth of a twin where it is known: the last map at every candidate, of the
run and of its random baseline. Without a truth: each measurement against what was
believed of it just before it was made. `aemtwin.plots.calibration` draws it, the
arithmetic is `aemtwin.metrics.calibration_curve`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadJournal
from aemtwin.journal import load_maps
from aemtwin.metrics import calibration_curve
from aemtwin.record import read_run

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

Array = NDArray[np.float64]
LEVELS = np.linspace(0, 1, 101)  # at which the coverage is read
SHOWN = 90  # per cent, the level that the scores tell too
NOISE = "noise_sd"  # in the info of a fit: sd of one measurement


class Coverage(NamedTuple):
    """The coverage of one method's intervals."""

    label: str  # the method
    covered: Array  # (101,), share inside at each of `LEVELS`
    spots: int  # candidates, or measurements
    ahead: bool  # of measurements before they were made, not of the last map
    noisy: bool = False  # ahead: whether the measurement's own noise is counted in

    @property
    def at_90(self) -> float:
        """Share inside the 90 % intervals."""
        return float(self.covered[SHOWN])


def method(record: RunRecord) -> str:
    """Return what decided, such as "gp + log_ei"; a policy needs no surrogate."""
    config = record.config
    names = [(config.get(k) or {}).get("name") for k in ("surrogate", "acquisition")]
    if names[1] in ("random", "grid"):
        return str(names[1])
    return " + ".join(str(name) for name in names if name) or "this run"


def coverages(record: RunRecord, *, alone: bool = False) -> list[Coverage]:
    """Return the coverage of a run's predictions, and of its random baseline's.

    Args:
        record: The run.
        alone: Whether to leave out the random baseline, which has to be read.

    Returns:
        The run first; empty where nothing can be said (`why_none` tells why).
    """
    if record.truth is None:
        found = list(_ahead(record))
        if not found:
            return []
        value, mean, variance, noisy = (np.array(c) for c in zip(*found, strict=True))
        covered = calibration_curve(value, mean, variance, LEVELS)
        return [Coverage(method(record), covered, len(found), True, bool(noisy.all()))]
    methods = [(method(record), record.maps)]
    if not alone and (baseline := _baseline(record)) is not None:
        methods.append(("random", baseline.maps))
    curves = []
    for label, maps in methods:
        if maps is None:
            continue
        mean, sd = (np.asarray(maps[k], dtype=np.float64) for k in ("mean", "sd"))
        truth = np.where(np.isfinite(mean) & np.isfinite(sd), record.truth, np.nan)
        count = int(np.isfinite(truth).sum())
        if count:
            covered = calibration_curve(truth, np.nan_to_num(mean), sd**2, LEVELS)
            curves.append(Coverage(label, covered, count, False))
    return curves


def why_none(record: RunRecord) -> str | None:
    """Return why there is no coverage to tell, as a sentence; None if there is."""
    if record.truth is not None:
        if record.maps is not None:
            return None
        return "The run holds no prediction to hold against the truth."
    if _learned(record):
        return (
            "Without a truth there is nothing to hold the predictions against: what "
            "is sought was learned on the way, so earlier ones were of another number."
        )
    if next(_ahead(record), None) is None:
        return (
            "Neither is the truth known, nor was a measurement predicted before it was "
            "made."
        )
    return None


def _ahead(record: RunRecord) -> Iterator[tuple[float, float, float, bool]]:
    """Give value, mean, variance and whether noise is in it, of what was predicted."""
    if _learned(record):
        return
    for event in record.events:
        data = event["data"]
        if data.get("phase") != "search" or not data["valid"]:
            continue
        maps = load_maps(record.path, f"{event['seq_num']:06d}")
        if maps is None:
            continue
        noise = data.get("info", {}).get(NOISE)
        mean, sd = (float(maps[key][data["index"]]) for key in ("mean", "sd"))
        if np.isfinite([mean, sd, data["value"]]).all():
            yield data["value"], mean, sd**2 + (noise or 0.0) ** 2, noise is not None


def _learned(record: RunRecord) -> bool:
    return record.maps is not None and "values" in record.maps


def _baseline(record: RunRecord) -> RunRecord | None:
    """Return the random run beside a run, if it was made and can be read."""
    try:
        found = read_run(record.path / "random")
    except (BadJournal, OSError):
        return None
    return found if found.maps is not None else None
