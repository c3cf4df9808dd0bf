"""Spectra across a tunnelling gap: against the set point, derivatives and heat."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from aemtwin.errors import OutOfRange
from aemtwin.instruments.modes import registry, stm
from aemtwin.instruments.modes.base import View
from aemtwin.instruments.modes.stm import (
    STATES,
    TunnelConductance,
    TunnelCurrent,
    held_m,
    swept,
)
from aemtwin.instruments.synthetic import tunnelling
from aemtwin.instruments.synthetic.tunnelling import Gap

USUAL = {
    "gap_ev": 0.36,
    "centre_ev": 0.02,
    "edge_ev": 0.03,
    "floor": 0.01,
    "peak": 0.0,
    "peak_ev": 0.0,
    "peak_fwhm_ev": 0.05,
}
METAL = {**USUAL, "gap_ev": 0.0}
DEFECT = {**USUAL, "peak": 1.2, "peak_ev": 0.05}


class Even:
    """A map of one value at each point."""

    def __init__(self, values):
        self.values = np.asarray(values, float)

    def at(self, points):
        return self.values[: len(points)]


def view(*spots, bias_v=0.6, setpoint_a=1e-10):
    maps = {name: Even([spot[name] for spot in spots]) for name in STATES}
    settings = {"bias_V": bias_v, "setpoint_A": setpoint_a}
    return View(maps, np.zeros((len(spots), 2)), settings)


def given(model, **other):
    return {p.name: p.default for p in model.parameters} | other


def record(model, *spots, settings=None, **other):
    values = model.values(view(*spots, **(settings or {})), given(model, **other))
    return model.axes(given(model, **other))[0].values, values


def test_the_registry_knows_both_modes_of_this_instrument_alone():
    for name, model in (
        ("tunnel_iv", TunnelCurrent),
        ("tunnel_didv", TunnelConductance),
    ):
        assert registry.find(name) is model
        assert (model.name, model.kinds) == (name, ("stm",))
    assert (TunnelCurrent.units, TunnelConductance.units) == ("A", "S")


@pytest.mark.parametrize("bias_v", [0.6, -0.5])
def test_every_curve_passes_through_the_set_point(bias_v):
    settings = {"bias_v": bias_v, "setpoint_a": 3e-11}
    sweep = {"start_v": bias_v, "stop_v": 0.0, "points": 2}
    _, values = record(
        TunnelCurrent(), USUAL, METAL, DEFECT, settings=settings, **sweep
    )
    np.testing.assert_allclose(values[:, 0], np.sign(bias_v) * 3e-11, rtol=2e-4)


def test_the_lock_in_gives_the_slope_of_the_current():
    """A small modulation, against central differences of the other mode."""
    fine = {"start_v": -0.5, "stop_v": 0.5, "points": 401, "temperature_k": 77.0}
    bias, current = record(TunnelCurrent(), USUAL, DEFECT, **fine)
    _, slope = record(TunnelConductance(), USUAL, DEFECT, modulation_v=1e-4, **fine)
    wanted = np.gradient(current, bias, axis=1)[:, 5:-5]
    np.testing.assert_allclose(slope[:, 5:-5], wanted, atol=2e-3 * wanted.max())


def test_the_model_is_the_plain_sum_of_its_physics():
    """Point by point, on another and finer grid of energies."""
    model = TunnelConductance()
    bias, values = record(model, USUAL, METAL, DEFECT)
    energy = np.linspace(-0.7, 0.7, 2801)
    gap = Gap(temperature_k=4.5)
    for spot, value in zip((USUAL, METAL, DEFECT), values, strict=True):
        density = tunnelling.local_density(energy, **spot)
        height = tunnelling.setpoint(0.6, 1e-10, energy, density, gap)
        wanted = tunnelling.didv(
            bias, energy, density, gap, modulation_v=0.01, height_m=height
        )
        np.testing.assert_allclose(value, wanted, atol=1e-3 * wanted.max())


def test_a_metal_has_a_flat_conductance_of_current_over_bias():
    """Within what the barrier adds, some per cent a tenth of a volt."""
    _, values = record(TunnelConductance(), METAL, start_v=-0.1, stop_v=0.1)
    np.testing.assert_allclose(values[0], 1e-10 / 0.6, rtol=0.15)


def test_the_gap_is_as_wide_as_its_map_says():
    """Between half heights, where heat and modulation are small and edges alike."""
    for wide in (0.3, 0.4):
        spot = {**USUAL, "gap_ev": wide, "edge_ev": 0.01, "floor": 0.0}
        bias, values = record(TunnelConductance(), spot, points=601, modulation_v=2e-3)
        level = np.median(values[0][np.abs(bias) > 0.35]) / 2
        inside = bias[values[0] < level]
        assert np.ptp(inside) == pytest.approx(wide, abs=0.02)
        assert inside.mean() == pytest.approx(0.02, abs=0.01)


def test_a_resonance_stands_at_its_energy_in_the_gap():
    bias, values = record(TunnelConductance(), DEFECT, USUAL, points=241)
    inside = np.abs(bias) < 0.12
    added = (values[0] / values[0, -1] - values[1] / values[1, -1])[inside]
    assert bias[inside][added.argmax()] == pytest.approx(0.05, abs=0.005)


def test_heat_and_modulation_widen_a_sharp_resonance():
    """3.53 kT / e (Fermi's slope) and sqrt(3) amplitudes, at half height."""
    spot = {**METAL, "peak": 5.0, "peak_ev": 0.0, "peak_fwhm_ev": 2e-3}
    sweep = {"start_v": -0.06, "stop_v": 0.06, "points": 301}

    def width(**other):
        bias, values = record(TunnelConductance(), spot, **sweep, **other)
        peak = values[0] - np.interp(bias, bias[[0, -1]], values[0][[0, -1]])
        return np.ptp(bias[peak > peak.max() / 2])

    heat = constants.k * 77 / constants.e
    warm = width(temperature_k=77.0, modulation_v=0.0)
    shaken = width(temperature_k=1.0, modulation_v=0.012)
    assert warm == pytest.approx(3.525 * heat, rel=0.08)
    assert shaken == pytest.approx(np.sqrt(3) * 0.012, rel=0.08)


def test_a_lifted_tip_gives_less_by_twice_kappa():
    _, near = record(TunnelCurrent(), USUAL)
    _, far = record(TunnelCurrent(), USUAL, lift_m=1e-10)
    decay = np.sqrt(8 * constants.m_e * 4.5 * constants.e) / constants.hbar
    np.testing.assert_allclose(far, near * np.exp(-decay * 1e-10), rtol=1e-6)


def test_more_states_up_to_the_set_bias_hold_the_tip_farther():
    spots = {name: np.array([m[name] for m in (METAL, USUAL)]) for name in STATES}
    metal, gapped = held_m(spots, 0.6, 1e-10, Gap())
    assert metal > gapped
    assert metal - gapped < 1e-10  # pm, not more: it is a logarithm


def test_a_point_alone_gives_what_it_gives_among_many():
    many = [USUAL, DEFECT, METAL] * 200
    _, together = record(TunnelConductance(), *many)
    _, alone = record(TunnelConductance(), DEFECT)
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-12)
    np.testing.assert_allclose(together[-2], alone[0], rtol=1e-12)


def test_what_no_height_gives_is_refused():
    model = TunnelCurrent()
    with pytest.raises(OutOfRange, match="would touch"):
        record(model, USUAL, settings={"bias_v": 0.005, "setpoint_a": 1e-7})
    with pytest.raises(OutOfRange, match=r"carries no current.*of either sign"):
        record(model, USUAL, settings={"bias_v": 0.0})
    with pytest.raises(OutOfRange, match=r"No height.*of either sign"):
        record(
            model, {**USUAL, "floor": 0.0, "gap_ev": 3.0}, settings={"bias_v": -1e-6}
        )
    states = {name: np.array([USUAL[name]]) for name in STATES}
    with pytest.raises(OutOfRange, match="lift"):
        swept(states, np.zeros(1), (0.6, 1e-10), Gap(), lift_m=-6e-10)


def test_axes_are_the_sweep_and_what_is_kept_cannot_be_written():
    (axis,) = TunnelCurrent().axes(given(TunnelCurrent(), start_v=0.2, stop_v=-0.2))
    assert (axis.units, len(axis), axis.values[0]) == ("V", 121, 0.2)
    kept = stm._response((0.1,), None, Gap(), 0.1, 0.1)
    assert not kept.flags.writeable
