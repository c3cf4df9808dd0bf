"""AFM-IR of a blend: against plain sums, fits that know the bands, and its settings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import nnls

from aemtwin.errors import OutOfRange
from aemtwin.instruments.modes import light
from aemtwin.instruments.modes.base import View
from aemtwin.instruments.modes.light import Photothermal, absorption, laser
from aemtwin.instruments.modes.registry import find
from aemtwin.instruments.opening import open_twin
from aemtwin.instruments.synthetic import vibrations
from aemtwin.sample import Field, Grid, StoredArray
from aemtwin.specs import Axis

MODEL = Photothermal()
USUAL = {p.name: p.default for p in MODEL.parameters}
AT = MODEL.axes(USUAL)[0].values


def view(composition, thickness, bonded, **settings):
    """A view of maps that are what these lists say at points in a row."""
    n = len(composition)
    x = 1e-6 * np.arange(n)
    axes = (Axis("y", "m", np.zeros(1)), Axis("x", "m", x))
    maps = {
        name: Field(
            StoredArray(name, name, "", np.array([values], float), axes),
            Grid(x, np.zeros(1)),
            (0, 1),
            (False, False),
            True,
        )
        for name, values in zip(
            MODEL.needs, (composition, thickness, bonded), strict=True
        )
    }
    return View(maps, np.column_stack([x, np.zeros(n)]), settings)


def test_the_registry_has_it_by_name():
    assert find("afm_ir") is Photothermal


def test_values_are_what_a_plain_sum_over_bands_gives():
    """Lorentzians by their heights, one wave number at a time, then Beer's law."""
    c, d, b = [0.0, 0.35, 1.0], [80e-9, 120e-9, 100e-9], [0.3, 0.5, 0.0]
    found = MODEL.values(view(c, d, b, ir_power=0.1), USUAL)
    assert found.shape == (3, len(AT))
    for k in range(3):
        for s in range(0, len(AT), 17):
            a = 0.0
            for bands, share in (
                (light.STYRENE, 1 - c[k]),
                (light.ACRYLATE, c[k]),
                (light.FREE, c[k] * (1 - b[k])),
                (light.BONDED, c[k] * b[k]),
            ):
                for at, width, area in zip(*bands, strict=True):
                    top = area / (math.pi / 2 * width)
                    a += share * top / (1 + (2 * (AT[s] - at) / width) ** 2)
            power = max(
                h * 2 ** -((2 * (AT[s] - at) / w) ** 2)
                for at, w, h in zip(*light.CHIPS, strict=True)
            )
            taken = 100.0 * 0.1 * max(power, light.LEAST) * (1 - math.exp(-a * d[k]))
            want = 40.0 * 2.5e7 * vibrations.EXPANSION * taken
            assert found[k, s] == pytest.approx(want, rel=1e-9)


def test_the_bands_have_the_heights_that_were_written_down():
    """Extinction of about 0.35 at the C=O of the acrylate, 0.07 at a ring's band."""
    ester = float(absorption([173.1e3], 1.0, 0.0)[0])
    ring = float(absorption([149.3e3], 0.0, 0.0)[0])
    assert ester / (4 * math.pi * 173.1e3) == pytest.approx(0.35, rel=0.1)
    assert ring / (4 * math.pi * 149.3e3) == pytest.approx(0.07, rel=0.2)


def test_bonds_move_the_carbonyl_from_1731_to_1706():
    fine = np.arange(1.68e5, 1.76e5, 20.0)
    free, half, bonded = absorption(fine, 1.0, [0.0, 0.5, 1.0])
    assert fine[free.argmax()] == pytest.approx(173.1e3, abs=40)
    assert fine[bonded.argmax()] == pytest.approx(170.6e3, abs=60)
    np.testing.assert_allclose(half, (free + bonded) / 2)


def test_composition_and_bonds_come_back_from_a_spectrum_over_the_lasers_power():
    """Least squares on the four parts, of films so thin that Beer's law is a line."""
    rng = np.random.default_rng(5)
    c, b = rng.uniform(0.1, 0.9, 20), rng.uniform(0, 0.7, 20)
    found = MODEL.values(view(c, np.full(20, 2e-9), b), USUAL) / laser(AT)
    pure = [absorption(AT, *parts) for parts in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))]
    for k in range(20):
        styrene, free, bonded = nnls(np.array(pure).T, found[k])[0]
        acrylate = free + bonded
        assert acrylate / (acrylate + styrene) == pytest.approx(c[k], abs=0.01)
        assert bonded / acrylate == pytest.approx(b[k], abs=0.01)


def test_the_setting_is_a_factor_of_the_whole_spectrum():
    film = [0.5], [100e-9], [0.2]
    usual, five = (
        MODEL.values(view(*film, **s), USUAL) for s in ({}, {"ir_power": 0.25})
    )
    np.testing.assert_allclose(five, 5 * usual)
    assert usual.max() == pytest.approx(5e-3, rel=0.6)  # millivolts


def test_a_pulse_warms_the_film_by_a_few_kelvin_at_the_usual_power():
    """Energy over heat capacity, 1.7e6 J / (m^3 K): no polymer melts."""
    depth = 1 - np.exp(-absorption(AT, 1.0, 0.0) * 110e-9)
    fluence = USUAL["fluence_j_m2"] * MODEL.settings[0].default * laser(AT)
    warm = (fluence * depth / 110e-9 / 1.7e6).max()
    assert 0.3 < warm < 10.0


def test_the_sweep_is_what_the_parameters_say():
    twin = open_twin("afm_ir", ideal=True)
    got = twin.measure(from_per_m=168e3, to_per_m=176e3, points=41)
    axis = got.axes[0]
    assert (axis.units, len(axis), axis.values[0], axis.values[-1]) == (
        "1/m",
        41,
        168e3,
        176e3,
    )
    whole = twin.measure()
    near = np.interp(axis.values, whole.axes[0].values, whole.arrays["afm_ir"])
    np.testing.assert_allclose(
        got.arrays["afm_ir"], near, atol=0.05 * near.max()
    )  # between samples
    with pytest.raises(OutOfRange, match="from_per_m"):
        twin.measure(from_per_m=0.0)


def test_a_twin_set_to_more_power_reads_more():
    twin = open_twin("afm_ir", ideal=True)
    twin.move_to((1e-6, 1e-6))
    before = twin.measure().arrays["afm_ir"]
    twin.configure(ir_power=0.2)
    np.testing.assert_allclose(twin.measure().arrays["afm_ir"], 4 * before, rtol=1e-6)


def test_maps_beyond_what_can_be_are_taken_to_the_nearest_that_can():
    wild = MODEL.values(view([1.2, -0.1], [1e-7, -1e-9], [-0.5, 2.0]), USUAL)
    tame = MODEL.values(view([1.0, 0.0], [1e-7, 0.0], [0.0, 1.0]), USUAL)
    np.testing.assert_array_equal(wild, tame)
