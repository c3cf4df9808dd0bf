"""Core-loss spectra against quadrature, plain convolution, and what went into them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.effects.counts import counted
from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.synthetic import lowloss
from aemtwin.instruments.synthetic.coreloss import (
    EDGES,
    Edge,
    WhiteLine,
    background,
    collected,
    core_loss,
    edge,
    elemental_counts,
    fit_background,
    partial_cross_section,
    plural_low_loss,
)

LOSS = np.arange(200.0, 900.0, 1.0)
LONG = 256


def random(part):
    return generator(5, 0, part, "coreloss")


def low(thickness, fwhm=2.0, step=1.0):
    energy = step * np.arange(LONG)
    around = np.where(energy > 0.75 * energy[-1], energy - LONG * step, energy)
    zero = np.exp(-4 * math.log(2) * (around / fwhm) ** 2)
    single = lowloss.drude_loss(energy + 1e-9, 20.0, 6.0)
    return plural_low_loss(zero, single, thickness)


def test_an_edge_is_a_step_that_decays_as_its_power():
    loss = np.array([200.0, 284.0, 400.0, 800.0])
    found = edge(loss, 284.0, 3.7, 0.1)
    assert found[0] < 1e-3
    assert found[1] == pytest.approx(0.5)
    assert math.log(found[2] / found[3]) / math.log(2) == pytest.approx(3.7, rel=1e-3)


def test_the_step_is_the_integral_of_a_lorentzian():
    fine = np.arange(-3000.0, 300.0, 0.01)
    line = (0.4 / math.pi) / ((fine - 284.0) ** 2 + 0.4**2)
    want = np.cumsum(line) * 0.01
    at = np.searchsorted(fine, [282.0, 283.5, 284.5])
    found = edge(fine[at] + 0.005, 284.0, 0.0, 0.8)
    np.testing.assert_allclose(found, want[at], atol=1e-4)


def test_white_lines_add_the_areas_that_they_say():
    loss = np.arange(-5000.0, 6000.0, 0.1)
    peaks = (WhiteLine(457.5, 1.5, 8.0), WhiteLine(463.2, 1.8, 7.0))
    extra = edge(loss, 456.0, 3.5, 0.6, peaks) - edge(loss, 456.0, 3.5, 0.6)
    assert extra.sum() * 0.1 == pytest.approx(15.0, rel=1e-3)


def test_onsets_are_those_of_the_atlas_and_decrease_in_cross_section():
    onsets = {"C K": 284, "N K": 401, "Ti L": 456, "O K": 532, "Fe L": 708}
    assert {name: EDGES[name].onset_ev for name in onsets} == onsets
    k_shells = [EDGES[f"{e} K"].per_ev_m2 for e in ("C", "N", "O", "Al", "Si")]
    assert k_shells == sorted(k_shells, reverse=True)


def test_cross_sections_are_of_the_order_of_the_dipole_formula():
    """4 pi a0^2 R^2 / (E T) df/dE ln(1 + (beta / theta_E)^2), carbon at 100 kV.

    df/dE from the absorption of X-rays above the edge, 0.93 Mb at 300 eV; 109.8 Mb eV
    is the sum rule's constant.
    """
    beam = lowloss.Beam(1e5, 0.010)
    half = lowloss.REST_EV * beam.speed**2 / 2
    want = 4 * math.pi * lowloss.BOHR_M**2 * 13.606**2 / (300.0 * half)
    want *= 0.93 / 109.8 * float(beam.logarithm(np.array(300.0)))
    assert EDGES["C K"].per_ev_m2 == pytest.approx(want, rel=0.15)


def test_plural_scattering_moves_counts_and_keeps_their_number():
    """Edges without a decay at the ends of the axis: a peak, all of it inside."""
    peak = Edge(1e6, 0.0, 1e-9, 1e-26, (WhiteLine(450.0, 0.5, 100.0),))
    one = core_loss(LOSS, [1e20], [peak], electrons=1e9)
    for t in (0.3, 1.0, 2.0):
        many = core_loss(LOSS, [1e20], [peak], electrons=1e9, low_loss=low(t))
        assert many.sum() == pytest.approx(one.sum(), rel=2e-3)
        mean = [(LOSS * y).sum() / y.sum() for y in (one, many)]
        assert mean[1] - mean[0] > 15 * t
        near = np.abs(LOSS - 450) < 8
        assert many[near].sum() / one[near].sum() == pytest.approx(
            math.exp(-t), rel=0.06
        )


def test_core_loss_is_the_plain_sum_over_every_loss_of_every_electron():
    edges, density = [EDGES["C K"], EDGES["Ti L"]], np.array([3e20, 1e20])
    spectra = low(0.8)
    found = core_loss(LOSS, density, edges, electrons=1e8, low_loss=spectra)
    want = np.zeros_like(LOSS)
    for j in range(LONG):
        lost = j if j < 0.75 * LONG else j - LONG
        for e, n in zip(edges, density, strict=True):
            shape = edge(LOSS - lost, *e[:3], e.white_lines)
            want += 1e8 * spectra[j] * n * e.per_ev_m2 * shape
    np.testing.assert_allclose(found, want, rtol=1e-10)


def test_points_with_their_own_thickness_are_each_as_if_alone():
    edges = [EDGES["C K"], EDGES["O K"]]
    density = random("own").uniform(0, 1e20, (3, 2, 2))
    thickness = np.linspace(0.1, 1.5, 6).reshape(3, 2)
    whole = core_loss(
        LOSS, density, edges, electrons=1e8, low_loss=low(thickness), background=7.0
    )
    one = core_loss(
        LOSS, density[2, 1], edges, electrons=1e8, low_loss=low(thickness[2, 1])
    )
    np.testing.assert_allclose(whole[2, 1], one + 7.0, rtol=1e-9)


def test_the_zero_loss_peak_broadens_an_edge():
    sharp = Edge(450.0, 0.0, 1e-6, 1e-26)
    fine = np.arange(400.0, 500.0, 0.1)
    found = core_loss(
        fine, [1.0], [sharp], low_loss=low(0.0, fwhm=2.0, step=0.1), electrons=1e27
    )
    slope = np.diff(found)
    wide = np.flatnonzero(slope > slope.max() / 2)
    assert 0.1 * len(wide) == pytest.approx(2.0, abs=0.11)


def test_a_fit_gives_an_exact_background_back():
    a, r = np.array([1e8, 3e9, 1e12]), np.array([2.0, 3.0, 4.5])
    found = fit_background(LOSS, background(LOSS, a, r), (210.0, 280.0))
    np.testing.assert_allclose(found[0], a, rtol=1e-8)
    np.testing.assert_allclose(found[1], r, rtol=1e-8)


def test_a_fit_of_counts_is_unbiased_where_that_of_logarithms_is_not():
    """Some 8 counts a channel; 4000 spectra find a bias of a hundredth of the sd."""
    mean = background(LOSS, 8.0 * 245.0**3, 3.0)
    seen = counted(np.tile(mean, (4000, 1)), 1.0, random("bias"))
    inside = (LOSS >= 210) & (LOSS <= 280)
    want = mean[inside].sum()
    bias = []
    for rounds in (0, 4):
        a, r = fit_background(LOSS, seen, (210.0, 280.0), rounds=rounds)
        bias.append(background(LOSS[inside], a, r).sum(axis=1).mean() / want - 1)
    assert abs(bias[1]) < 5 / math.sqrt(4000 * want)
    assert abs(bias[0]) > 10 * abs(bias[1])


def test_the_fit_is_the_most_likely_background():
    mean = background(LOSS, 20.0 * 245.0**3, 3.0)
    seen = counted(mean, 1.0, random("likely"))
    inside = (LOSS >= 210) & (LOSS <= 280)

    def surprise(p):
        line = p[0] - p[1] * np.log(LOSS[inside] / 245.0)
        return (np.exp(line) - seen[inside] * line).sum()

    best = minimize(surprise, (3.0, 2.0), tol=1e-12).x
    a, r = fit_background(LOSS, seen, (210.0, 280.0), rounds=10)
    assert float(r) == pytest.approx(best[1], abs=2e-3)
    assert float(a) * 245.0 ** -float(r) == pytest.approx(math.exp(best[0]), rel=1e-3)


def test_spectra_with_few_counts_or_none_are_fitted_without_a_word():
    seen = np.zeros((4, len(LOSS)))
    seen[1, 20] = 1.0
    seen[2, :] = 3.0
    seen[3, :] = -1.0  # read-out noise
    a, r = fit_background(LOSS, seen, (210.0, 280.0))
    assert np.isfinite(a).all()
    assert a[[0, 3]].tolist() == [0.0, 0.0]
    assert r[2] == pytest.approx(0.0, abs=1e-9)
    assert a[2] == pytest.approx(3.0)


def test_composition_is_recovered_and_better_with_more_counts():
    """The integration method, thin film: densities come back within their error."""
    names, density = ["C K", "N K", "O K"], np.array([2e21, 1e21, 1.5e21])
    edges = [EDGES[n] for n in names]
    windows = [((210.0, 274.0), (290.0, 350.0)), ((355.0, 391.0), (406.0, 460.0))]
    windows.append(((470.0, 520.0), (540.0, 620.0)))
    errors = []
    for electrons in (1e8, 1e10):
        ground = background(LOSS, 2e-3 * electrons * 284.0**3 / 50, 3.0)
        mean = core_loss(LOSS, density, edges, electrons=electrons, background=ground)
        seen = counted(np.tile(mean, (200, 1)), 1.0, random("composition"))
        found = np.array(
            [
                elemental_counts(LOSS, seen, *w)
                / (electrons * partial_cross_section(LOSS, e, w[1]))
                for w, e in zip(windows, edges, strict=True)
            ]
        )
        errors.append(found.std(axis=1) / density)
        exact = np.array(
            [
                float(elemental_counts(LOSS, mean, *w))
                / (electrons * partial_cross_section(LOSS, e, w[1]))
                for w, e in zip(windows, edges, strict=True)
            ]
        )
        sem = found.std(axis=1) / math.sqrt(200)
        np.testing.assert_array_less(np.abs(found.mean(axis=1) - exact), 5 * sem)
    assert exact[0] == pytest.approx(density[0], rel=0.02)
    ratio = errors[0] / errors[1]
    np.testing.assert_allclose(ratio, 10.0, rtol=0.3)


def test_the_share_that_is_collected_is_the_integral_of_the_dipoles_cone():
    beam = lowloss.Beam(1e5, 0.010)
    loss = 532.0
    theta_e = loss / (beam.gamma * lowloss.REST_EV * beam.speed**2)
    ridge = math.sqrt(2 * theta_e)
    angle = np.linspace(0.0, ridge, 400_001)
    law = angle / (angle**2 + theta_e**2)
    part = np.trapezoid(np.where(angle <= 0.010, law, 0.0), angle)
    want = part / np.trapezoid(law, angle)
    assert float(collected(beam, loss)) == pytest.approx(want, rel=1e-3)
    assert float(collected(lowloss.Beam(1e5, 0.5), loss)) == 1.0


def test_drawn_spectra_have_a_fano_factor_of_one():
    ground = background(LOSS, 50.0 * 284.0**3, 3.0)
    mean = core_loss(
        LOSS,
        [1e21],
        [EDGES["C K"]],
        electrons=1e7,
        low_loss=low(0.5),
        background=ground,
    )
    draws = counted(np.tile(mean, (500, 1)), 1.0, random("fano"))
    fano = draws.var(axis=0, ddof=1) / draws.mean(axis=0)
    assert fano.mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 500 / len(LOSS)))


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(OutOfRange, match="onset_ev"):
        edge(LOSS, -1.0, 3.0, 1.0)
    with pytest.raises(OutOfRange, match="loss_ev = 0"):
        background(np.array([0.0, 1.0]), 1.0, 2.0)
    with pytest.raises(ShapeMismatch, match="as long as edges"):
        core_loss(LOSS, [1.0, 2.0], [EDGES["C K"]])
    with pytest.raises(ShapeMismatch, match="rising evenly"):
        core_loss(np.array([1.0, 2.0, 4.0]), [1.0], [EDGES["C K"]])
    with pytest.raises(OutOfRange, match="areal_density"):
        core_loss(LOSS, [-1.0], [EDGES["C K"]])
    with pytest.raises(OutOfRange, match="at least 3"):
        fit_background(LOSS, LOSS, (900.0, 950.0))
    with pytest.raises(ShapeMismatch, match=r"\(\.\.\., e\)"):
        fit_background(LOSS, LOSS[:-1], (210.0, 280.0))
    with pytest.raises(OutOfRange, match="thickness"):
        low(-0.1)
    with pytest.raises(OutOfRange, match="loss_ev = 0"):
        collected(lowloss.Beam(1e5, 0.01), 0.0)
