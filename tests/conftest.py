"""What all tests share: Hypothesis profiles, a compilation cache, small samples."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from aemtwin.environment import before_jax
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.twin import Twin
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("AEMTWIN_CACHE", str(ROOT / ".cache" / "jax"))
before_jax()

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=50,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


MANY = 10_000  # of the 65,530 pieces of memory that Linux lets a process map


@pytest.fixture(autouse=True, scope="module")
def _programs_do_not_pile_up():
    """Forget compiled programs between modules, once there are very many.

    Each holds some pieces of memory, and a process that runs out of them is aborted.
    """
    yield
    jax = sys.modules.get("jax")
    maps = Path("/proc/self/maps")
    if jax is None or not maps.exists():
        return
    with maps.open("rb") as file:
        many = sum(1 for _ in file) > MANY
    if many:
        jax.clear_caches()
        gc.collect()


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


@pytest.fixture
def twin() -> Twin:
    return small_twin()


@pytest.fixture
def ideal() -> Twin:
    return small_twin(ideal=True)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real files, where somebody said where they are."""
    said = os.environ.get("AEMTWIN_DATA")
    if not said:
        pytest.skip("AEMTWIN_DATA is not set: no real files at hand")
    return Path(said)
