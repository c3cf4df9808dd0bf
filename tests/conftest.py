"""What all tests share: Hypothesis profiles, a compilation cache, a twin."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from aemtwin.environment import before_jax
from aemtwin.instruments.twin import Twin
from tests.small import ROOT, small_twin

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
