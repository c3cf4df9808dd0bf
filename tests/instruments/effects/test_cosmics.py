"""Cosmic rays: as many as said, by time and not by light, on counted spectra alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aemtwin.errors import UnknownName
from aemtwin.formats.catalog import find_twin
from aemtwin.instruments.effects import registry
from aemtwin.instruments.effects.readings import Cosmics
from aemtwin.instruments.opening import open_twin

RATE, HEIGHT = 2e-3, 800.0
ON = {"cosmics": {"rate_per_channel_s": RATE, "height": HEIGHT}}


def spikes(n, dwell_s, *, source="raman_map", power=None, **kwargs):
    """What the effect adds to n measurements, (n, channels)."""
    found = []
    with_, without = (open_twin(source, effects=e, **kwargs) for e in (ON, "none"))
    for twin in (with_, without):
        if power is not None:
            twin.configure(power_W=power)
        found.append(
            np.array(
                [
                    next(iter(twin.measure(dwell_s=dwell_s).arrays.values()))
                    for _ in range(n)
                ]
            )
        )
    return found[0].astype(float) - found[1]


def test_the_registry_has_it_by_name():
    assert registry.find("cosmics") is Cosmics
    assert "cosmics" in registry.of_kind("raman")
    assert "cosmics" not in registry.of_kind("afm")


def test_spectra_are_as_without_but_for_spikes_as_many_and_as_high_as_said():
    extra = spikes(120, 1.0)
    hit = extra > 0.5
    assert (np.abs(extra[~hit]) < 0.01).all()
    mean = RATE * extra.size
    assert hit.sum() == pytest.approx(mean, abs=5 * math.sqrt(mean))
    assert extra[hit].mean() == pytest.approx(HEIGHT, rel=5 / math.sqrt(mean))


def test_there_are_more_in_a_longer_dwell_and_not_in_brighter_light():
    short, long = (spikes(60, dwell) > 0.5 for dwell in (0.5, 4.0))
    assert short.sum() == pytest.approx(0.5 * RATE * short.size, abs=25)
    assert long.sum() == pytest.approx(4.0 * RATE * long.size, abs=60)
    dim, bright = (spikes(60, 1.0, power=p) > 0.5 for p in (1e-4, 5e-3))
    np.testing.assert_array_equal(dim, bright)


def test_hits_in_different_measurements_have_nothing_to_do_with_each_other():
    hit = spikes(80, 2.0) > 0.5
    per = hit.sum(axis=1)
    assert per.var(ddof=1) / per.mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 80))
    both = (hit[1:] & hit[:-1]).sum()
    assert both <= 3 * 79 * hit.shape[1] * (2 * RATE) ** 2 + 3


def test_images_are_left_alone():
    with_, without = (open_twin("raman_map", effects=e).scan() for e in (ON, "none"))
    for name, values in with_.arrays.items():
        np.testing.assert_array_equal(values, without.arrays[name])
    with_, without = (open_twin("stem_eels", effects=e).scan() for e in (ON, "none"))
    np.testing.assert_array_equal(with_.arrays["haadf"], without.arrays["haadf"])


def test_the_same_requests_have_the_same_spikes_and_another_seed_has_others():
    one, same = spikes(10, 5.0), spikes(10, 5.0)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, spikes(10, 5.0, seed=1))


def test_a_spectrum_that_is_not_counted_has_none():
    """The same recording, read as if its values were no counts."""
    assert open_twin("raman_map").describe().modes[0].counts
    file = find_twin("raman_map").data
    with_, without = (open_twin(file, effects=e) for e in (ON, "none"))
    assert not with_.describe().modes[0].counts
    for _ in range(5):
        a, b = (t.measure(dwell_s=20.0).arrays["raman"] for t in (with_, without))
        np.testing.assert_array_equal(a, b)


def test_an_ideal_twin_has_none_and_a_kind_without_a_camera_refuses_them():
    twin = open_twin("raman_map", ideal=True)
    truth = twin.truth(points=[twin.describe().bounds[0]]).arrays["raman"]
    assert truth.max() < 1e4
    with pytest.raises(UnknownName, match="cosmics"):
        open_twin("afm_ir", effects=["cosmics"])
