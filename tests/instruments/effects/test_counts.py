"""Counting: Poisson's law, in proportion to exposure, in the dtype of the array."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aemtwin.instruments.effects.counts import counted, expected
from aemtwin.instruments.effects.noise import generator


def draws(mean, exposure, n=200_000):
    return counted(np.full(n, mean), exposure, generator(0, 1, "a", "b"))


@pytest.mark.parametrize("mean", [0.3, 4.0, 37.0, 2500.0])
def test_the_variance_of_counts_is_their_mean(mean):
    found = draws(mean, 1.0)
    assert found.mean() == pytest.approx(mean, abs=5 * math.sqrt(mean / 200_000))
    assert found.var() / found.mean() == pytest.approx(1.0, abs=0.02)


def test_counts_have_the_probabilities_of_poisson():
    found = np.bincount(draws(2.0, 1.5).astype(int), minlength=12)[:12] / 200_000
    want = [math.exp(-3) * 3**k / math.factorial(k) for k in range(12)]
    np.testing.assert_allclose(found, want, atol=5 * np.sqrt(0.25 / 200_000))


def test_signal_to_noise_grows_with_the_root_of_the_exposure():
    exposures = np.array([0.25, 1.0, 4.0, 16.0, 64.0])
    ratio = [draws(20.0, e).mean() / draws(20.0, e).std() for e in exposures]
    slope = np.polyfit(np.log(exposures), np.log(ratio), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.02)


@given(st.floats(0, 1e12), st.sampled_from(["f4", "f8", "u2", "i4"]))
def test_what_is_expected_at_the_usual_exposure_is_what_is_stored(value, dtype):
    stored = np.array([min(value, 6e4)]).astype(dtype)
    same = expected(stored, 1.0)
    assert same.tobytes() == stored.tobytes()
    assert same is not stored


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2", "u8"])
def test_counts_keep_shape_and_dtype(dtype):
    values = np.full((3, 4), 5, dtype)
    for out in (
        counted(values, 2.0, generator(0, 1, "a", "b")),
        expected(values, 2.0),
    ):
        assert (out.shape, out.dtype) == (values.shape, values.dtype)
    assert expected(values, 2.0).tolist() == [[10] * 4] * 3


def test_counts_saturate_and_do_not_wrap():
    full = counted(np.full(9, 250, "u1"), 4.0, generator(0, 1, "a", "b"))
    assert full.tolist() == [255] * 9
    assert expected(np.full(2, 250, "u1"), 4.0).tolist() == [255, 255]


def test_nothing_is_counted_below_zero_and_what_is_missing_stays_so():
    values = np.array([-3.0, 0.0, np.nan, np.inf, 1e300])
    found = counted(values, 1.0, generator(0, 1, "a", "b"))
    assert found[:2].tolist() == [0, 0]
    assert np.isnan(found[2])
    assert (found[3:] > 1e18).all()


def test_the_numbers_are_these_on_every_machine():
    # Recorded once: a change here changes the counts of every stored run.
    found = counted(np.array([3.0, 40.0, 9e5]), 1.0, generator(0, 1, "measure", "eels"))
    assert found.tolist() == [2.0, 40.0, 900804.0]
