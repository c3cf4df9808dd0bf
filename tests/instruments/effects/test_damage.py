"""Damage: fading and knock-on against closed forms, and a dose that is kept whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from aemtwin.errors import OutOfRange, ShapeMismatch, UnknownName
from aemtwin.instruments import dose
from aemtwin.instruments.effects import damage
from aemtwin.instruments.effects.damage import DoseField
from aemtwin.instruments.effects.noise import generator

FIELD = ((-2e-8, 2e-8), (0.0, 3e-8))


def test_fading_solves_its_rate_equation():
    critical, doses = 3e22, np.linspace(0.0, 2e23, 7)
    path = integrate.solve_ivp(
        lambda _, s: -s / critical,
        (0, 2e23),
        [1.0],
        t_eval=doses,
        rtol=1e-10,
        atol=1e-14,
    )
    np.testing.assert_allclose(
        damage.faded(doses, 0.0, critical), path.y[0], rtol=1e-6, atol=1e-9
    )


@given(st.floats(0, 20), st.floats(1e-3, 50))
def test_the_mean_during_an_exposure_is_the_integral(before, more):
    area, _ = integrate.quad(lambda d: math.exp(-d), before, before + more)
    found = float(damage.faded(before, more, 1.0))
    assert found == pytest.approx(area / more, rel=1e-6)


def test_short_exposures_lose_no_digits():
    for x in 10.0 ** -np.arange(3, 20):
        series = 1 - x / 2 + x**2 / 6 - x**3 / 24
        assert float(damage.faded(0.0, x, 1.0)) == pytest.approx(series, rel=3e-16)
    assert float(damage.faded(0.0, 5e-324, 1.0)) == 1.0
    assert float(damage.faded(1e30, 1e30, math.inf)) == 1.0


@given(st.lists(st.floats(0.01, 3.0), min_size=2, max_size=8))
def test_an_exposure_in_parts_yields_what_it_yields_at_once(parts):
    begins = np.concatenate([[0.0], np.cumsum(parts)[:-1]])
    yields = damage.faded(begins, parts, 0.7) * parts
    whole = float(damage.faded(0.0, sum(parts), 0.7)) * sum(parts)
    assert yields.sum() == pytest.approx(whole, rel=1e-12)


def test_the_share_that_lasts_stays():
    values = np.arange(12.0).reshape(2, 2, 3)
    doses = np.array([[0.0, 1.0], [2.0, 1e6]])
    found = damage.fade(values, doses, 2.0, share=0.25)
    for index in np.ndindex(2, 2):
        left = 0.75 + 0.25 * math.exp(-doses[index] / 2.0)
        np.testing.assert_allclose(found[index], left * values[index])


def test_doses_and_shares_that_cannot_be_are_refused():
    for call in (
        lambda: damage.faded(-1.0, 0.0, 1.0),
        lambda: damage.faded(0.0, np.nan, 1.0),
        lambda: damage.faded(0.0, 0.0, 0.0),
        lambda: damage.fade(1.0, 0.0, 1.0, share=1.5),
        lambda: damage.thresholds(generator(0, 0, "a", "b"), 3, -1.0),
        lambda: damage.max_transferred_ev(0.0, 12.0),
        lambda: DoseField(FIELD, cells=513),
        lambda: DoseField(FIELD).add(np.zeros((1, 2)), -1.0),
        lambda: DoseField(FIELD).add(np.array([[0.0, np.inf]]), 1.0),
        lambda: DoseField(FIELD).add_frame(((1e-8, 0.0), (0.0, 1e-8)), 1.0),
    ):
        with pytest.raises(OutOfRange):
            call()
    with pytest.raises(ShapeMismatch, match="one dose for each"):
        damage.fade(np.ones((2, 3)), np.ones(3), 1.0)
    with pytest.raises(ShapeMismatch):
        DoseField(FIELD).add(np.zeros(2), 1.0)
    with pytest.raises(UnknownName, match="box"):
        DoseField(FIELD).add(np.zeros((1, 2)), 1.0, 1e-9, "boxy")


def head_on(beam_ev, mass_u):
    """What an atom at rest gets, by way of the frame of the centre of mass."""
    m, rest = damage.REST_EV, mass_u * damage.UNIT_EV
    momentum = math.sqrt(beam_ev * (beam_ev + 2 * m))
    speed = momentum / (beam_ev + m + rest)  # of that frame, over light's
    rapidity = 2 * math.atanh(speed)  # there the atom turns round
    return rest * 2 * math.sinh(rapidity / 2) ** 2  # M c² (cosh - 1)


@pytest.mark.parametrize("mass", [1.008, 12.011, 196.97])
@pytest.mark.parametrize("beam", [1e3, 80e3, 300e3, 2e6])
def test_the_largest_transfer_is_that_of_a_head_on_collision(beam, mass):
    found = damage.max_transferred_ev(beam, mass)
    assert found == pytest.approx(head_on(beam, mass), rel=1e-9)


def test_carbon_gets_15_8_ev_at_80_kv_and_17_ev_at_86_kv():
    assert damage.max_transferred_ev(80e3, 12.011) == pytest.approx(15.8, abs=0.05)
    assert damage.max_transferred_ev(86e3, 12.011) == pytest.approx(17.0, abs=0.05)
    heavy = 2 * 80e3 * (80e3 + 2 * damage.REST_EV) / (12.011 * damage.UNIT_EV)
    assert damage.max_transferred_ev(80e3, 12.011) == pytest.approx(heavy, rel=2e-4)


def test_atoms_survive_with_the_exponential_of_dose_times_cross_section():
    lasting = damage.thresholds(generator(0, 0, "specimen", "atoms"), 50_000, 2e-27)
    assert stats.kstest(lasting, stats.expon(scale=5e26).cdf).pvalue > 0.01
    for dose_m2 in (1e26, 5e26, 2e27):
        left = damage.survives(lasting, dose_m2).mean()
        want = math.exp(-2e-27 * dose_m2)
        assert left == pytest.approx(want, abs=4 * math.sqrt(want * (1 - want) / 5e4))


def test_who_is_knocked_out_depends_on_the_dose_and_not_on_its_parts():
    def chance():
        return generator(3, 0, "specimen", "atoms")

    doses = np.random.default_rng(0).uniform(0, 2e27, 500)
    alive = np.ones(500, bool)
    for part in (0.1, 0.4, 0.45, 1.0):
        alive = damage.knock_on(alive, part * doses, 1e-27, chance())
    at_once = damage.knock_on(np.ones(500, bool), doses, 1e-27, chance())
    assert (alive == at_once).all()
    assert 50 < alive.sum() < 450
    assert damage.knock_on(alive, 0.0, 1e-27, chance()).sum() == alive.sum()
    assert not damage.knock_on(alive, 1e30, 1e-27, chance()).any()
    assert damage.knock_on(~alive, 1e30, 0.0, chance()).sum() == 500 - alive.sum()


def test_points_give_their_dose_to_the_cell_that_holds_them():
    field = DoseField(FIELD, cells=8)
    assert field.shape == (6, 8)
    points = np.random.default_rng(0).uniform((-2e-8, 0), (2e-8, 3e-8), (300, 2))
    each = np.random.default_rng(1).uniform(0, 5, 300)
    field.add(points, each)
    want, *_ = np.histogram2d(
        points[:, 1], points[:, 0], (6, 8), (FIELD[1], FIELD[0]), weights=each
    )
    np.testing.assert_allclose(field.per_m2, want / field.cell_m2, rtol=1e-12)
    assert field.total == pytest.approx(each.sum(), rel=1e-14)
    row, column = (
        np.searchsorted(np.linspace(*side, n + 1), points[:, i]) - 1
        for i, side, n in ((1, FIELD[1], 6), (0, FIELD[0], 8))
    )
    assert field.at(points).tolist() == field.per_m2[row, column].tolist()


def test_the_map_is_that_of_the_events_of_an_instrument():
    points = np.array([[-1e-8, 1e-9], [1.9e-8, 2.9e-8], [0.0, 1.5e-8]])
    region = ((-1.3e-8, 0.7e-8), (0.2e-8, 2.5e-8))
    events = [
        {"call": "measure", "arguments": {}, "actual": list(p), "dose": 7.0}
        for p in points
    ]
    events.append({"call": "scan", "arguments": {"region": region}, "dose": 11.0})
    field = DoseField(FIELD, cells=64)
    field.add(points, 7.0)
    field.add_frame(region, 11.0)
    want = dose.dose_map(events, FIELD, field.shape)
    np.testing.assert_allclose(field.per_m2, want, atol=1e-12 * want.max())
    assert field.total == pytest.approx(32.0, rel=1e-14)
    assert field.outside == pytest.approx(0.0, abs=1e-12)


def test_a_wide_beam_spreads_its_dose_as_a_gaussian():
    field, spread = DoseField(FIELD, cells=160), 1.7e-9
    centre = np.array([3.1e-9, 1.42e-8])
    field.add(centre[None, :], 100.0, spread)
    x, y = (
        np.diff(stats.norm(c, spread).cdf(np.linspace(*side, n + 1)))
        for c, side, n in zip(centre, FIELD, field.shape[::-1], strict=True)
    )
    np.testing.assert_allclose(
        field.per_m2 * field.cell_m2, 100 * np.outer(y, x), atol=1e-12
    )
    peak = 100 / (2 * math.pi * spread**2)
    assert field.at(centre[None, :])[0] == pytest.approx(peak, rel=0.01)


def test_a_box_covers_its_area_evenly_and_nothing_else():
    field = DoseField(FIELD, cells=40)
    field.add(np.array([[0.0, 1.5e-8]]), 9.0, 1e-8, "box")
    inside = field.per_m2[10:20, 15:25]
    np.testing.assert_allclose(inside, 9.0 / 1e-16, rtol=1e-9)
    assert field.total == pytest.approx(9.0)
    assert inside.sum() * field.cell_m2 == pytest.approx(9.0)


def test_a_narrow_beam_hits_one_cell():
    one, other = DoseField(FIELD), DoseField(FIELD)
    points = np.array([[1e-9, 1e-9], [-1e-8, 2e-8]])
    one.add(points, 3.0)
    other.add(points, 3.0, 1e-12)
    assert one.digest() == other.digest()
    assert (one.per_m2 > 0).sum() == 2


def test_no_dose_is_lost_where_a_footprint_or_a_frame_leaves_the_field():
    field = DoseField(FIELD)
    field.add(np.array([[2e-8, 1.5e-8]]), 10.0, 1e-9)
    assert field.outside == pytest.approx(5.0, rel=1e-9)
    field.add_frame(((1e-8, 3e-8), (0.0, 3e-8)), 8.0)
    assert field.outside == pytest.approx(9.0, rel=1e-9)
    field.add(np.array([[9.0, 9.0]]), 2.0)
    assert field.at(np.array([[9.0, 9.0]]))[0] * field.cell_m2 > 2.0
    assert field.total + field.outside == pytest.approx(20.0, rel=1e-14)


def test_many_wide_points_are_those_one_by_one_but_for_half_a_cell():
    points = np.random.default_rng(0).uniform((-1e-8, 1e-8), (1e-8, 2e-8), (2000, 2))
    each = np.random.default_rng(1).uniform(0, 1, 2000)
    together, apart = DoseField(FIELD), DoseField(FIELD)
    together.add(points, each, 1e-9)
    for part in np.array_split(np.arange(2000), 4):
        apart.add(points[part], each[part], 1e-9)
    assert together.total == pytest.approx(apart.total, rel=1e-9)
    off = np.abs(together.per_m2 - apart.per_m2).max()
    assert off < 0.02 * apart.per_m2.max()


def test_a_frame_of_one_line_goes_to_one_row_of_cells():
    field = DoseField(FIELD, cells=8)
    field.add_frame((FIELD[0], (3e-8, 3e-8)), 16.0)
    want = np.zeros((6, 8))
    want[5] = 2.0
    np.testing.assert_allclose(field.per_m2 * field.cell_m2, want, rtol=1e-12)


def test_a_line_scan_has_one_row_of_cells_with_the_line_in_its_middle():
    field = DoseField(((0.0, 1e-6), (5e-7, 5e-7)))
    assert field.shape == (1, 256)
    field.add(np.array([[5e-7, 5e-7]]), 1.0, 5e-9)
    half = stats.norm(0, 5e-9).cdf(0.5e-9) - 0.5
    assert field.total == pytest.approx(2 * half, rel=1e-6)


def test_a_copy_changes_by_itself_and_a_cleared_field_is_as_new():
    field, new = DoseField(FIELD), DoseField(FIELD).digest()
    assert field.at(np.zeros((2, 2))).tolist() == [0, 0]
    assert field.total == field.per_m2.sum() == 0
    field.add(np.zeros((1, 2)), 1.0)
    before, other = field.digest(), field.copy()
    other.add(np.zeros((1, 2)), 1.0)
    assert field.digest() == before != other.digest()
    assert other.total == 2 * field.total
    field.clear()
    assert field.digest() == new
    assert other.total == 2.0
