"""What a process of aemtwin sets before JAX begins."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aemtwin import environment


@pytest.fixture
def bare(monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "NPROC", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)


def test_a_version_that_was_not_measured_gets_no_option_of_xla(bare, monkeypatch):
    monkeypatch.setattr(environment, "_version", lambda name: "99.0")
    environment.before_jax()
    assert "XLA_FLAGS" not in os.environ
    assert os.environ["NPROC"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_what_is_set_already_stays(bare, monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "NPROC", "XLA_FLAGS"):
        monkeypatch.setenv(name, f"my {name}")
    environment.before_jax()
    for name in ("OPENBLAS_NUM_THREADS", "NPROC", "XLA_FLAGS"):
        assert os.environ[name] == f"my {name}"


def test_jax_knows_the_option_that_it_gets(bare, monkeypatch):
    # a process that is given an option which XLA does not know is aborted
    monkeypatch.setattr(environment, "_version", lambda name: environment.MEASURED)
    environment.before_jax()
    if environment.metadata.version("jaxlib") != environment.MEASURED:
        pytest.skip("another jaxlib is installed, which does not get it")
    said = subprocess.run(
        [sys.executable, "-c", "import jax; print(jax.jit(lambda x: x + 1)(1))"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert said.stdout.strip() == "2"
