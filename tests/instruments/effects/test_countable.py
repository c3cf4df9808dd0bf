"""Counts are told from other numbers by their scatter, on drawn and on real data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.formats.nsid import open_nsid
from aemtwin.instruments.effects.countable import UNSURE, countable, fano

E = np.arange(600.0)


def lines(k=100, height=60.0, seed=0):
    """Mean spectra (k, 600): a sloping background, an edge, two lines that vary."""
    random = np.random.default_rng(seed)
    background = 1e5 / (E + 40.0) ** 1.5
    edge = 0.3 * background * (E > 350)
    peaks = [np.exp(-0.5 * ((E - at) / 4.0) ** 2) for at in (120, 480)]
    thick, a, b = random.uniform(0.5, 1.5, (3, k, 1))
    return thick * (background + edge) + height * (a * peaks[0] + b * peaks[1])


def drawn(mean, seed=1):
    return np.random.default_rng(seed).poisson(mean)


def slowly(spectra, smooth):
    """Slower and plainer: pixel by pixel, channel by channel."""
    k, e = spectra.shape
    top = bottom = 0.0
    for i in range(1, e - 1):
        if smooth[i]:
            s = [x[i - 1] - 2 * x[i] + x[i + 1] for x in spectra.tolist()]
            top += float(np.var(s, ddof=1)) * k
            bottom += sum(x[i - 1] + 4 * x[i] + x[i + 1] for x in spectra.tolist())
    return top / bottom


def test_the_factor_is_that_of_a_plain_loop():
    counts = drawn(lines(20))
    smooth = (E > 10) & (E < 60)
    found = fano(counts, smooth)
    assert found.factor == pytest.approx(slowly(counts, smooth), rel=1e-12)
    assert found.channels == 49
    assert found.counts == counts[:, smooth].sum()


@pytest.mark.parametrize("mean", [0.01, 1.0, 300.0])
def test_the_factor_of_counts_is_one_and_its_error_is_its_scatter(mean):
    random = np.random.default_rng(3)
    found = [fano(random.poisson(mean, (200, 300))) for _ in range(60)]
    factors = np.array([one.factor for one in found])
    error = float(np.mean([one.error for one in found]))
    assert factors.mean() == pytest.approx(1.0, abs=4 * error / math.sqrt(60))
    # few counts a channel make the error too large, never too small
    assert 0.6 * error < factors.std() < 1.25 * error
    n = np.mean([one.channels for one in found]) * 200
    assert error >= 0.9 * math.sqrt(35 / 9 / n)


@pytest.mark.parametrize("mean", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("gain", [2, 7])
def test_the_factor_of_amplified_counts_is_the_gain(mean, gain):
    found = fano(gain * drawn(np.full((300, 500), mean)))
    assert found.factor == pytest.approx(gain, abs=4 * found.error)
    assert found.error < 0.02 * gain


@pytest.mark.parametrize("scale", [1e-4, 0.01, 1.0, 100.0])
def test_counts_pass_whatever_their_number_and_the_lines_in_them(scale):
    verdict = countable(drawn(scale * lines(256)).astype("u4"))
    if verdict.error > UNSURE:
        assert scale == 1e-4
        assert "too few" in verdict.why
    else:
        assert verdict.ok, verdict.why


def test_counts_pass_in_99_of_100_recordings():
    passed = [countable(drawn(lines(30, seed=s), 100 + s)).ok for s in range(60)]
    assert sum(passed) >= 59


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_a_gain_does_not_pass(scale):
    verdict = countable(2 * drawn(scale * lines(256)))
    assert not verdict.ok
    assert verdict.fano == pytest.approx(2.0, abs=max(4 * verdict.error, 0.1))
    assert "a gain" in verdict.why


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_counts_that_spread_over_neighbours_do_not_pass(scale):
    counts = drawn(scale * lines(256))
    spread = counts + np.roll(counts, 1, axis=1)
    verdict = countable(spread)
    assert not verdict.ok
    assert verdict.fano == pytest.approx(1 / 3, abs=max(4 * verdict.error, 0.05))


def test_a_gain_that_hides_behind_a_spread_does_not_pass():
    # Three for each electron, in two channels: next to each other 3 · 2 · 2 / 12 is 1.
    counts = drawn(lines(256))
    verdict = countable(3 * (counts + np.roll(counts, 1, axis=1)))
    assert verdict.fano == pytest.approx(1.0, abs=0.05)
    assert not verdict.ok
    assert "neighbours" in verdict.why


def test_rounded_expectations_and_read_out_noise_do_not_pass():
    mean = lines(256)
    assert not countable(np.rint(mean)).ok
    noise = np.random.default_rng(5).normal(0, 8, mean.shape)
    assert not countable(np.clip(np.rint(drawn(mean) + noise), 0, None)).ok


def test_edges_and_lines_are_left_out_and_the_rest_is_used():
    counts = drawn(lines(256, height=3e5))
    sharp = np.exp(-0.5 * ((E - 120) / 4.0) ** 2) > 0.05
    everything = fano(counts, np.ones(600, bool))
    found = fano(counts)
    assert everything.factor > 1.2  # lines vary between pixels
    assert found.factor == pytest.approx(1.0, abs=4 * found.error)
    assert found.channels > 400
    only = fano(counts, sharp)
    assert only.factor > 2


def test_beside_what_is_not_smooth_two_channels_more_are_left_out():
    counts = drawn(np.full((100, 600), 50.0))
    spiked = counts.copy()
    spiked[:, 300] += 500
    assert fano(counts).channels - fano(spiked).channels == 3 + 2 * 2


def test_what_cannot_be_counts_is_told_why():
    counts = drawn(lines(8))
    told = {
        "one value a pixel": np.ones(9),
        "one spectrum alone": counts[:1],
        "no whole numbers": counts + 0.5,
        "no numbers": np.where(E == 3, np.nan, counts),
        "from 0 on": counts - 9999,
        "bool": counts > 3,
        "too few counts": np.zeros((4, 90), int),
        "larger numbers": np.full((4, 90), 2.0**26, "f4"),
    }
    for words, values in told.items():
        verdict = countable(values)
        assert not verdict.ok
        assert words in verdict.why
        assert verdict.why.endswith(".")
    assert "one value a pixel" in countable(np.ones((9, 1))).why


def test_a_wrong_call_is_refused():
    with pytest.raises(ShapeMismatch, match="pixels, channels"):
        fano(np.ones(9))
    with pytest.raises(ShapeMismatch, match="5 channels"):
        fano(np.ones((9, 4)), step=2)
    with pytest.raises(ShapeMismatch, match="one flag"):
        fano(np.ones((9, 4)), np.ones(3, bool))
    with pytest.raises(OutOfRange, match="step"):
        fano(np.ones((9, 9)), step=0)
    with pytest.raises(OutOfRange, match="negative"):
        fano(-np.ones((9, 9)))


def real(folder, file, name):
    with open_nsid(folder / "nsid" / file) as opened:
        values = np.asarray(opened.array(name).data[()])
    return values.reshape(-1, values.shape[-1])


def test_recorded_x_rays_are_counts(data_folder):
    counts = real(data_folder, "eds_si_fei.nsid.h5", "eds")
    verdict = countable(counts)
    assert verdict.ok
    assert verdict.fano == pytest.approx(1.0, abs=0.05)
    # nearly all of its counts are in the peak of the electronics at 0 keV
    peak = fano(counts, np.abs(np.arange(4096) - 100) < 8)
    assert peak.counts > 6000
    assert peak.factor == pytest.approx(1.0, abs=3 * peak.error)


def test_recorded_energy_losses_are_amplified_and_spread(data_folder):
    losses = real(data_folder, "sto_eels_si.nsid.h5", "eels")
    verdict = countable(losses)
    assert not verdict.ok
    assert verdict.fano > 5
    near, far = (fano(losses[::18], step=step) for step in (1, 4))
    assert far.factor > 2 * near.factor  # the camera's point spread
