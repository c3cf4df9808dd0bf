"""Curves of a tip: from maps to forces, currents and parabolas, at every point."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants, ndimage, optimize

from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.modes import registry
from aemtwin.instruments.modes.afm import (
    ContactCurrent,
    ForceCurve,
    Kelvin,
    averaged,
)
from aemtwin.instruments.modes.base import View
from aemtwin.instruments.synthetic import forces
from tests.instruments.effects.making import FIELD_M, image, smooth


class Even:
    """A map of one value at each point."""

    def __init__(self, values):
        self.values = np.asarray(values, float)

    def at(self, points):
        return self.values[: len(points)]


def record(model, maps, **other):
    """Return the axis and the curves of points with these values."""
    given = {p.name: p.default for p in model.parameters} | other
    count = len(next(iter(maps.values())))
    view = View({n: Even(v) for n, v in maps.items()}, np.zeros((count, 2)), {})
    return model.axes(given)[0].values, model.values(view, given)


def spread(values, points):
    """Return a view of one map that is an image over 640 nm."""
    sample = make_sample([image("potential", "Potential", "V", values)])
    return View({"potential": sample.field("potential")}, np.asarray(points), {})


def test_the_registry_knows_the_modes_of_a_tip():
    for name, model, units in (
        ("force_curve", ForceCurve, "N"),
        ("contact_iv", ContactCurrent, "A"),
        ("kelvin", Kelvin, "Hz"),
    ):
        assert registry.find(name) is model
        assert (model.name, model.units) == (name, units)
        assert "afm" in model.kinds


def test_a_force_curve_tells_modulus_and_adhesion_back():
    """By the fit of Hertz's law, whose own oracle is in the tests of `forces`."""
    modulus, adhesion = np.array([8e8, 2e9, 6e9]), np.array([0.03, 0.06, 0.02])
    maps = {"modulus": modulus, "adhesion": adhesion}
    drive, force = record(
        ForceCurve(), maps, points=2048, radius_m=12e-9, stiffness_n_m=5.0
    )
    found = forces.fit_hertz(drive, force, 12e-9, 5.0)
    np.testing.assert_allclose(found.modulus_pa, modulus, rtol=0.02)
    np.testing.assert_allclose(found.adhesion_j_m2, adhesion, rtol=0.04)


def test_far_from_the_surface_a_force_curve_is_flat_and_deep_in_it_a_spring():
    maps = {"modulus": [1e11], "adhesion": [0.05]}
    drive, force = record(ForceCurve(), maps, depth_m=2e-8, stiffness_n_m=0.5)
    assert np.abs(force[0][drive < -2e-8]).max() < 2e-11
    deep = drive > 1.5e-8
    assert np.polyfit(drive[deep], force[0][deep], 1)[0] == pytest.approx(0.5, rel=0.01)


def test_the_ramp_begins_where_it_ends_and_turns_at_its_depth():
    (axis,) = ForceCurve().axes(
        {"start_m": 4e-8, "depth_m": 7e-9, "points": 101.0, "radius_m": 1e-8}
    )
    assert (axis.units, len(axis)) == ("m", 101)
    assert axis.values[[0, 50, 100]] == pytest.approx([-4e-8, 7e-9, -4e-8])


def test_a_contact_obeys_kirchhoff_with_its_resistance():
    """V = Vj + I Rs with the diode of the map, solved here by bisection."""
    maps = {"conductance": [2e-11, 1e-9], "barrier": [0.5, 0.6]}
    other = {"ideality": 2.5, "area_m2": 3e-16, "series_ohm": 3e8, "points": 21}
    bias, current = record(ContactCurrent(), maps, **other)
    heat = constants.k * 295.0 / constants.e
    richardson = 4 * np.pi * constants.e * constants.m_e * constants.k**2
    richardson /= constants.h**3
    for row, ohmic, barrier in zip(current, *maps.values(), strict=True):
        start = 3e-16 * richardson * 295.0**2 * np.exp(-barrier / heat)

        def left(v, b, ohmic=ohmic, start=start):
            i = ohmic * v + start * np.expm1(v / (2.5 * heat))
            return v + 3e8 * i - b

        for b, i in zip(bias, row, strict=True):
            v = optimize.brentq(left, -1.1, 1.1, args=(b,), xtol=1e-15)
            assert i == pytest.approx((b - v) / 3e8, rel=1e-4, abs=1e-16)


def test_a_better_diode_gives_more_forward_and_the_same_backward():
    maps = {"conductance": [1e-11], "barrier": [0.55]}
    bias, ideal = record(ContactCurrent(), maps, series_ohm=3e8)
    _, leaky = record(ContactCurrent(), maps, series_ohm=3e8, ideality=3.0)
    middle = (bias > 0.2) & (bias < 0.5)
    assert (ideal[0][middle] > leaky[0][middle]).all()
    back = bias < -0.3
    np.testing.assert_allclose(ideal[0][back], leaky[0][back], rtol=0.02)


def test_the_amplifier_ends_at_its_limit_either_way():
    maps = {"conductance": [1e-6], "barrier": [1.0]}
    _, current = record(ContactCurrent(), maps, limit_a=1e-8)
    assert (current.min(), current.max()) == (-1e-8, 1e-8)


def test_the_vertex_of_a_parabola_is_the_potential():
    potential = [-0.4, 0.0, 0.31]
    bias, shift = record(Kelvin(), {"potential": potential})
    bend, slope, _ = np.polyfit(bias, shift.T, 2)
    np.testing.assert_allclose(-slope / (2 * bend), potential, atol=1e-9)
    np.testing.assert_allclose(bend, -3.0, rtol=1e-9)


def test_a_lifted_tip_averages_as_a_gaussian_does():
    """Against SciPy's filter of the image, far from its edges."""
    values = smooth(3, pixels=4.0)
    pixel, inside = FIELD_M / 64, np.arange(20, 45)
    at = [(c * pixel, r * pixel) for r in inside for c in inside]
    found = averaged(spread(values, at), "potential", 2 * pixel)
    wanted = ndimage.gaussian_filter(values, 2.0)[np.ix_(inside, inside)].ravel()
    assert np.abs(found - wanted).max() < 0.03
    plain = averaged(spread(values, at), "potential", 0.0)
    assert np.abs(plain - wanted).max() > 0.2
    np.testing.assert_array_equal(plain, values[np.ix_(inside, inside)].ravel())


def test_a_gaussian_of_a_slope_is_the_slope_and_at_an_edge_a_map_goes_on():
    values = np.tile(np.linspace(0.0, 1.0, 65), (65, 1))
    middle = averaged(spread(values, [(FIELD_M / 2, 0.0)]), "potential", 2e-8)
    assert middle[0] == pytest.approx(0.5, abs=1e-6)
    edge = averaged(spread(values, [(0.0, 0.0)]), "potential", 2e-8)
    assert 0.0 < edge[0] < 2e-8 / FIELD_M


def test_reach_moves_the_vertex_towards_what_lies_around():
    values = np.zeros((65, 65))
    values[:, 32:] = 0.2
    model = Kelvin()
    given = {p.name: p.default for p in model.parameters}
    at = [(FIELD_M / 2 + 10e-9, FIELD_M / 2)]
    vertices = []
    for reach in (0.0, 3e-8):
        shift = model.values(spread(values, at), given | {"reach_m": reach})
        bend, slope, _ = np.polyfit(model.axes(given)[0].values, shift[0], 2)
        vertices.append(-slope / (2 * bend))
    assert vertices[0] == pytest.approx(0.2, abs=1e-6)
    assert 0.1 < vertices[1] < 0.18
