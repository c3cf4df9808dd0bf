"""Signal over noise and clipping, against spectra of which both are known."""

import numpy as np
import pytest

from aemtwin.errors import ShapeMismatch, WrongType
from aemtwin.scalarizers.quality import clipped, signal_to_noise

AXIS = np.linspace(0.0, 1.0, 400)
PEAK = np.exp(-0.5 * ((AXIS - 0.5) / 0.1) ** 2)


@pytest.mark.parametrize("noise", [0.3, 0.03, 0.003])
def test_the_noise_is_that_which_was_added(noise):
    random = np.random.default_rng(1)
    found = signal_to_noise(PEAK + noise * random.normal(size=(200, 400)))
    low, high = np.percentile(PEAK, [5, 95])
    widened = np.hypot(high - low, 0.0) + (0.0 if noise < 0.1 else 2 * noise)
    assert np.median(found) == pytest.approx(widened / noise, rel=0.2)


def test_noise_alone_is_told_from_a_signal():
    random = np.random.default_rng(2)
    alone = signal_to_noise(random.normal(size=(500, 400)))
    assert np.median(alone) == pytest.approx(2 * 1.645, rel=0.03)
    assert (alone < 5.0).all()


def test_the_level_and_the_unit_change_nothing():
    y = PEAK + 0.05 * np.random.default_rng(3).normal(size=400)
    assert signal_to_noise(1e-12 * y + 1e-9) == pytest.approx(signal_to_noise(y), 1e-4)


def test_without_noise_it_is_infinite_and_without_signal_nothing():
    assert signal_to_noise(3 * AXIS + 1e6) == np.inf
    assert signal_to_noise(np.full(50, 2.5)) == 0.0
    broken = np.where(AXIS > 0.9, np.nan, PEAK)
    assert np.isnan(signal_to_noise(broken))


def test_what_stands_still_at_an_end_is_counted():
    y = PEAK + 0.01 * np.random.default_rng(4).normal(size=400)
    assert clipped(y) == 0.0
    cut = np.minimum(y, 0.5)
    assert clipped(cut) == pytest.approx((y >= 0.5).mean())
    assert clipped(np.maximum(-y, -0.5)) == pytest.approx((y >= 0.5).mean())
    assert clipped(np.zeros(8)) == 1.0
    assert np.isnan(clipped([1.0, np.nan, 2.0]))


def test_too_few_samples_and_complex_ones_are_refused():
    with pytest.raises(ShapeMismatch, match="8 samples"):
        signal_to_noise(np.zeros(7))
    for function in (signal_to_noise, clipped):
        with pytest.raises(WrongType, match="modulus"):
            function(np.zeros(9, complex))
