"""What a process of aemtwin sets before JAX begins."""

from __future__ import annotations

import os

from aemtwin import environment

SET = "OPENBLAS_NUM_THREADS", "NPROC"


def test_each_library_gets_one_thread(monkeypatch):
    for name in SET:
        monkeypatch.delenv(name, raising=False)
    environment.before_jax()
    assert [os.environ[name] for name in SET] == ["1", "1"]


def test_what_is_set_already_stays(monkeypatch):
    for name in SET:
        monkeypatch.setenv(name, "3")
    environment.before_jax()
    assert [os.environ[name] for name in SET] == ["3", "3"]
