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


def test_another_process_gets_the_settings_that_jax_has_here(tmp_path):
    environment.prepare_jax()
    told = environment.jax_variables(tmp_path)
    assert told["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)
    assert told["JAX_ENABLE_X64"] == "0"
    assert float(told["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]) == 0.0
    assert told["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] == "none"


def test_programs_are_moved_on_a_cpu_and_under_the_settings_of_aemtwin_alone(
    monkeypatch,
):
    environment.prepare_jax()
    import jax

    assert environment.movable_cache() == environment.compilation_cache() is not None
    with monkeypatch.context() as change:
        change.setattr(jax, "default_backend", lambda: "gpu")
        assert environment.movable_cache() is None
    with monkeypatch.context() as change:
        change.setattr(environment, "FOLDERS", "jax_platforms")  # not "none"
        assert environment.movable_cache() is None
