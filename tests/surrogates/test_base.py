"""Padding, float64 and counted compilations: the borders of every surrogate."""

import itertools
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch, UnknownName
from aemtwin.surrogates import available, get
from aemtwin.surrogates.base import bucket, count_compilations, float64, pad


def test_buckets_hold_their_points_and_double_and_later_grow_by_a_root_of_two():
    capacities = [bucket(n) for n in range(1, 3000)]
    assert all(n <= N for n, N in enumerate(capacities, start=1))
    assert all(N % 8 == 0 for N in capacities)
    steps = sorted(set(capacities))
    assert [N for N in steps if N.bit_count() == 1] == [16 * 2**k for k in range(9)]
    ratios = {b: b / a for a, b in itertools.pairwise(steps)}
    assert all(r == 2.0 if b <= 512 else 1.3 < r < 1.5 for b, r in ratios.items())


def test_a_full_bucket_is_not_left_early():
    assert bucket(64) == 64
    assert bucket(65) == 128


def test_padding_keeps_the_points_and_marks_the_rest():
    X, y = np.random.default_rng(0).random((20, 3)), np.arange(20.0)
    data = pad(X, y)
    assert data.X.dtype == data.y.dtype == np.float64
    np.testing.assert_array_equal(data.X[data.mask], X)
    np.testing.assert_array_equal(data.y[data.mask], y)
    assert not data.X[~data.mask].any()
    assert not data.y[~data.mask].any()


def test_points_and_values_of_unequal_number_are_refused():
    with pytest.raises(ShapeMismatch, match=r"\(3, 2\) and y of shape \(2,\)"):
        pad(np.zeros((3, 2)), np.zeros(2))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_refused_by_name(bad):
    with pytest.raises(OutOfRange, match=r"y\[1\]"):
        pad(np.zeros((2, 2)), [0.0, bad])


def test_float64_holds_inside_the_with_and_in_this_thread_alone():
    seen = []
    with float64():
        assert jnp.ones(1).dtype == jnp.float64
        other = threading.Thread(target=lambda: seen.append(jnp.ones(1).dtype))
        other.start()
        other.join()
    assert seen == [jnp.ones(1).dtype] == [jnp.float32]


def test_a_program_counts_once_and_not_again_from_memory():
    f = jax.jit(lambda x: x * 3 + 1)
    with count_compilations() as seen:
        f(np.ones(5))
        f(np.zeros(5))
        f(np.ones(6))
    f(np.ones(7))
    assert seen.count == 2
    assert seen.seconds > 0


@pytest.mark.slow
def test_a_program_from_the_persistent_cache_counts_too(tmp_path):
    code = f"""
import jax, numpy as np
from aemtwin.surrogates.base import count_compilations
jax.config.update("jax_compilation_cache_dir", {str(tmp_path)!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
hits = []
jax.monitoring.register_event_listener(
    lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None
)
with count_compilations() as seen:
    jax.jit(lambda x: x * 2)(np.ones(3))
print(seen.count, len(hits))
"""
    cold, warm = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    )
    assert (cold, warm) == (["1", "0"], ["1", "1"])


def test_listing_what_there_is_imports_no_jax():
    code = (
        "import sys; from aemtwin import acquisition, designs, surrogates;"
        "from aemtwin.acquisition import policies; from aemtwin.surrogates import base;"
        "surrogates.available(); acquisition.available(); acquisition.get('grid');"
        "print('jax' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False"


def test_an_unknown_surrogate_is_refused_with_the_nearest_name():
    assert "gp" in available()
    with pytest.raises(UnknownName, match="Did you mean 'gp'"):
        get("gpp")


def test_a_parameter_that_a_surrogate_does_not_take_is_refused_with_those_it_does():
    with pytest.raises(
        BadConfig, match=r"'lengthscale'; it takes kernel, mean, starts"
    ):
        get("gp", lengthscale=1.0)


@pytest.mark.parametrize(
    "params", [{"starts": 0}, {"limit": 2.5}, {"refit_every": True}]
)
def test_a_count_below_one_or_not_whole_is_refused(params):
    with pytest.raises(BadConfig, match="whole number from 1 on"):
        get("gp", **params)
