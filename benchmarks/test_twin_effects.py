"""Frames and spectra of a twin with its effects on, side by side in one run.

    pytest benchmarks/test_twin_effects.py --benchmark-only

A rough surface of 256 x 256 float64, 1 µm wide, and spectra of 1024 channels. What an
effect did is kept beside its time, so that none is quick because it does nothing. The
clock of the twin is virtual: what is timed is the software alone.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.effects import registry
from aemtwin.instruments.synthetic import fields
from aemtwin.instruments.twin import Twin
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

SIDE, WIDE_M = 256, 1e-6
EFFECTS = {
    "ideal": None,
    "noise": [],
    "noise, drift": ["drift"],
    "noise, tip": ["tip"],
    "noise, drift, tip": ["drift", "tip"],
    "noise, feedback": ["feedback"],
    "noise, drift, creep, walk, hysteresis, jitter, tip, feedback, flicker": [
        *("drift", "creep", "walk", "hysteresis", "jitter"),
        *("tip", "feedback", "flicker"),
    ],
}
STATED = {
    "tip": {"radius_m": 2e-8},
    "flicker": {"density": {"height": 1e-11}},
    "drift": {"velocity_m_s": [1e-10, 5e-11]},
}


def arrays() -> list[StoredArray]:
    """A rough surface of 4 nm (standard deviation), and spectra on a coarse grid."""
    pixel = WIDE_M / SIDE
    k = fields.wave_numbers(SIDE, pixel)
    rough = fields.rough_spectrum(k, 4e-8, 0.7)
    height = 4e-9 * fields.random_field(fields.generator(1), SIDE, rough)
    along = np.linspace(0, WIDE_M, SIDE)
    fine = [Axis(name, "m", along, "Length", "spatial") for name in "yx"]
    coarse = [Axis(name, "m", along[::8], "Length", "spatial") for name in "yx"]
    energy = Axis("energy", "eV", np.arange(1024.0), "Energy", "spectral")
    random = np.random.default_rng(0)
    spectra = random.normal(size=(32, 32, 1024)).astype("f4")
    return [
        StoredArray("height", "Height", "m", height, tuple(fine)),
        StoredArray("spectra", "Intensity", "", spectra, (*coarse, energy)),
    ]


ARRAYS = arrays()


def twin(case: str, ledger: Path | None = None) -> Twin:
    names = EFFECTS[case]
    return Twin(
        make_sample(ARRAYS),
        AFM,
        name="benchmark",
        ideal=names is None,
        noise={"height": 1e-11, "spectra": 0.01},
        effects=registry.chosen(STATED, names or [], AFM, "benchmark"),
        ledger=ledger,
    )


@pytest.mark.parametrize("case", EFFECTS)
def test_a_frame(benchmark, case):
    """Scan 256 x 256 float64, the recording's own pixels."""
    scope, plain = twin(case), twin("ideal").scan().values
    frame = benchmark.pedantic(scope.scan, rounds=30, warmup_rounds=3)
    apart = float(np.std(frame.values - plain))
    benchmark.extra_info.update(nm_from_the_stored=round(apart * 1e9, 4))
    assert (apart == 0.0) == (case == "ideal")


def test_a_frame_with_a_ledger_on_disk(benchmark, tmp_path):
    """The same, ideal, where begin and end of each are written, begin durably."""
    scope = twin("ideal", tmp_path / "ledger.sqlite")
    frame = benchmark.pedantic(scope.scan, rounds=30, warmup_rounds=3)
    scope.close()
    assert np.array_equal(frame.values, ARRAYS[0].data)


@pytest.mark.parametrize("case", ["ideal", "noise", "noise, drift"])
def test_a_spectrum_of_1024_channels(benchmark, case):
    """Measure where the probe stands; another request each time."""
    scope = twin(case)
    scope.move_to((0.0, 0.0))
    count = itertools.count()

    def once() -> np.ndarray:
        return scope.measure(rid=f"bench/{next(count)}/measure").values

    values = benchmark(once)
    assert values.shape == (1024,)
