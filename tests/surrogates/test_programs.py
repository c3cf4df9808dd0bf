"""Long programs are compiled as was measured, and only where it was."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from aemtwin.surrogates import programs

SURROGATES = Path(programs.__file__).parent


def test_what_fits_is_compiled_with_the_option_that_was_measured(monkeypatch):
    seen = []
    monkeypatch.setattr(programs.jax, "jit", lambda function, **said: seen.append(said))
    for installed in (programs.MEASURED, "99.0"):
        monkeypatch.setattr(programs, "installed", installed)
        programs.fitting(static_argnames="n")(len)
    options = [said["compiler_options"] for said in seen]
    assert options == [programs.QUICK, None]  # another version might refuse it
    assert all(said["static_argnames"] == "n" for said in seen)


def test_the_result_is_that_of_plain_jit():
    def squares(x):
        return (programs.jax.numpy.exp(x) ** 2).sum()

    x = programs.jax.numpy.linspace(0.0, 1.0, 50)
    plain, quick = programs.jax.jit(squares)(x), programs.fitting()(squares)(x)
    assert float(quick) == pytest.approx(float(plain), rel=1e-6)


def test_every_search_and_every_sampler_is_compiled_so():
    found = {
        f"{path.stem}.{name}"
        for path in SURROGATES.glob("*.py")
        for name in re.findall(
            r"^@fitting\([^@]*?\)\ndef (\w+)", path.read_text("utf-8"), re.M
        )
    }
    assert found == {
        "gp._search",
        "multi_gp._search",
        "sparse_gp._search",
        "bayes_gp._sample",
        "hypotheses.sample",
        "ensemble.learn",
        "posteriors.infer",
        "sampled.infer",
        "bnn_inference.fit",
    }
    for name in found:
        module, function = name.split(".")
        module = importlib.import_module(f"aemtwin.surrogates.{module}")
        assert hasattr(getattr(module, function), "lower")  # a program of JAX's
