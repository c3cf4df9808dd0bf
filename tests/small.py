"""Small samples for tests, made of nothing that a server would not import."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.twin import Twin
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

ROOT = Path(__file__).resolve().parents[1]


def spatial(name: str, units: str, values: object) -> Axis:
    return Axis(name, units, np.asarray(values, float), "Length", "spatial")


def bias_axis(n: int = 12) -> Axis:
    half = np.linspace(-5.0, 5.0, n // 2)
    return Axis("bias", "V", np.concatenate([half, half[::-1]]), "Bias", "spectral")


def small_arrays(seed: int = 3) -> list[StoredArray]:
    """A 6 x 5 field (y descending, x first in the spectra) with two images."""
    random = np.random.default_rng(seed)
    x, y = np.linspace(0, 400, 5), np.linspace(0, 1000, 6)[::-1]
    axes = spatial("y", "nm", y), spatial("x", "nm", x)
    loops = random.normal(size=(5, 6, 12)).astype("f4")
    lockin = random.normal(size=(5, 6, 12))
    swept = axes[1], axes[0], bias_axis()
    return [
        StoredArray("height", "Height", "m", random.normal(size=(6, 5)), axes),
        StoredArray(
            "counts", "Counts", "counts", random.integers(0, 99, (6, 5), "u2"), axes
        ),
        StoredArray("loops", "Piezoresponse", "pm", loops, swept),
        StoredArray("lockin", "Lock-in", "V", lockin, swept),
    ]


def small_twin(**options: object) -> Twin:
    noise = {"height": 0.1, "counts": 3.0, "loops": 0.05, "lockin": 0.02}
    return Twin(
        make_sample(small_arrays()),
        AFM,
        name="small",
        noise=noise,
        **options,  # type: ignore[arg-type]
    )
