"""A gate: what does not pass is kept and marked, and nothing is learned from it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import aemtwin
from aemtwin.config import build
from aemtwin.documents import steady
from aemtwin.errors import BadConfig, MeasurementFailed
from aemtwin.gates import gate_of
from aemtwin.journal import load_spectrum, spectrum_path
from aemtwin.scalarizers import get
from aemtwin.sections import GateConfig
from aemtwin.values import Values
from tests.small import small_twin

RUN = {"first": 4, "steps": 6, "candidates": (9, 8), "seed": 3, "baseline": False}


def run(tmp_path, **options):
    return aemtwin.run(small_twin(), out=str(tmp_path), **{**RUN, **options})


LIMIT = 3.0  # pm·V, of the noisy loops of the small twin: about half of them pass


def values(done):
    return np.array([row["value"] for row in done.table()], float)


def test_spectra_below_the_limit_have_no_value_and_say_why(tmp_path):
    free = run(tmp_path / "free", acquisition="random")
    areas = values(free)
    limit = float(np.median(areas))
    gate = {"quality": "loop_area", "low": limit}
    gated = run(tmp_path / "gated", acquisition="random", gate=gate)
    passes = areas >= limit
    np.testing.assert_array_equal(np.isfinite(values(gated)), passes)
    np.testing.assert_array_equal(values(gated)[passes], areas[passes])
    for row, good in zip(gated.table(), passes, strict=True):
        assert row["valid"] == good
        assert ("nothing is learned from it" in row["notices"]) != good
        assert not row["failed"]
    assert all(spectrum_path(gated.path, n).exists() for n in range(1, 11))


def test_a_spot_that_did_not_pass_is_not_measured_again(tmp_path):
    done = run(tmp_path, gate={"quality": "loop_area", "high": 0.0})
    chosen = [row["index"] for row in done.table()]
    assert len(set(chosen)) == len(chosen) == 10


def test_nothing_that_did_not_pass_teaches_a_scalarizer(tmp_path):
    gate = {"quality": "loop_area", "low": LIMIT}
    done = run(tmp_path, scalarizer="pca", gate=gate)
    spectra = [load_spectrum(done.path, n) for n in range(1, 11)]
    passes = np.array([get("loop_area")(one) >= LIMIT for one in spectra])
    assert 0 < passes.sum() < 10
    learned = get("pca").fit(
        [m for m, good in zip(spectra, passes, strict=True) if good]
    )
    expected = [
        learned(m) if good else np.nan for m, good in zip(spectra, passes, strict=True)
    ]
    np.testing.assert_array_equal(values(done), expected)


def test_a_run_with_a_gate_resumes_bit_for_bit(tmp_path):
    gate = {"quality": "loop_area", "low": LIMIT}
    whole = run(tmp_path, gate=gate)
    journal = whole.path / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    events = [i for i, line in enumerate(lines) if line.startswith('["event"')]
    journal.write_text("".join(lines[: events[7]]))
    again = aemtwin.resume(whole.path, small_twin())
    for one, other in zip(again.record.events, whole.record.events, strict=True):
        told = [
            {k: v for k, v in steady(e)["data"].items() if k != "instrument_time_s"}
            for e in (one, other)
        ]
        np.testing.assert_equal(*told)


def test_limits_include_their_ends_and_nan_never_passes():
    spectrum = small_twin().measure("loops")
    exact = gate_of(GateConfig(quality="loop_area", low=0, high=1)).quality(spectrum)
    for low, high, passes in (
        (exact, None, True),
        (None, exact, True),
        (math.nextafter(exact, math.inf), None, False),
        (None, math.nextafter(exact, -math.inf), False),
    ):
        gate = gate_of(GateConfig(quality="loop_area", low=low, high=high))
        assert (gate.refuses(spectrum) == "") == passes
    nowhere = gate_of(GateConfig(quality=f"{__name__}:nothing", high=1e9))
    assert "not a number" in nowhere.refuses(spectrum)


def nothing(measurement):
    return math.nan


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"quality": "snr"}, "low, or high"),
        ({"low": 3, "high": 3}, "low is below high"),
        ({"quality": "snr", "least": 3}, "allowed: quality, low, high"),
        ({"low": math.inf}, "gate.low"),
    ],
)
def test_a_gate_that_means_nothing_is_refused(gate, said):
    with pytest.raises(BadConfig, match=said):
        build({"gate": gate})


def test_a_quality_that_is_learned_is_refused():
    with pytest.raises(BadConfig, match="learned from"):
        gate_of(GateConfig(quality="pca", low=0))


def broken(measurement):
    raise ZeroDivisionError("no noise")


def test_a_quality_that_fails_is_named_and_nothing_is_lost(tmp_path):
    gate = {"quality": f"{__name__}:broken", "low": 0}
    with pytest.raises(MeasurementFailed, match=r"quality .*broken.*ZeroDivision"):
        run(tmp_path, gate=gate)


def worth_nothing(measurement):
    raise ValueError("no loop")


def area(measurement):
    return get("loop_area")(measurement)


area.sd = worth_nothing


def test_nobody_asks_for_the_sd_of_what_does_not_pass(tmp_path):
    gate = gate_of(GateConfig(quality="loop_area", high=-1.0))
    twin = small_twin()
    twin.move_to((2e-7, 5e-7))
    spectrum, sought = twin.measure("loops"), get(area)
    assert math.isnan(Values(tmp_path, gate).sd(sought, spectrum, counts=False))
    with pytest.raises(MeasurementFailed, match="no loop"):
        Values(tmp_path).sd(sought, spectrum, counts=False)
