"""A PI loop: late, limited in speed, and blind off the surface."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.effects.feedback import follow

DT = 1e-3
FREE = {"slew_m_s": math.inf}  # of any limit


def rough(lines, n, seed=0):
    return np.random.default_rng(seed).normal(0.0, 1e-9, (lines, n))


def plain(line, dt, p, i, slew, free, over):
    """Return the documented law, update by update, of one line."""
    z, before, out = line[0], 0.0, []
    for k in range(len(line)):
        for u in range(1, over + 1):
            last = line[max(k - 1, 0)]
            s = line[k] if u == over else last + (line[k] - last) * u / over
            e = max(s - z, -free)
            kept = z, e
            move = p * (e - before) + i * dt * e
            z += min(max(move, -slew * dt), slew * dt)
            before = e
        out.append(kept)
    return np.array(out).T


@given(
    p=st.floats(0.0, 0.9),
    i=st.floats(0.0, 1500.0),
    slew=st.floats(1e-8, 1e-5),
    free=st.floats(1e-11, 1e-8),
    over=st.integers(1, 4),
)
def test_the_loop_is_the_documented_law_update_by_update(p, i, slew, free, over):
    surface = rough(3, 12)
    z, e = follow(
        surface,
        DT,
        proportional=p,
        integral_hz=i,
        slew_m_s=slew,
        free_m=free,
        oversample=over,
    )
    for line, heights, errors in zip(surface, z, e, strict=True):
        truth = plain(line, DT, p, i, slew, free, over)
        np.testing.assert_allclose([heights, errors], truth, rtol=1e-9, atol=1e-20)


def test_without_limits_the_loop_is_the_transfer_function_of_pi_control():
    p, g = 0.3, 0.4
    surface = rough(4, 200)
    z, _ = follow(surface, DT, proportional=p, integral_hz=g / DT, **FREE)
    # (z - 1) Z = (p (1 - 1/z) + g) (S - Z), from a surface that was flat before.
    over, under = [0.0, p + g, -p], [1.0, p + g - 1.0, -p]
    base = surface[:, :1]
    truth = base + signal.lfilter(over, under, surface - base, axis=1)
    np.testing.assert_allclose(z, truth, rtol=0, atol=1e-20)


def test_a_step_is_followed_as_a_first_order_system_does():
    step, g = 3e-9, 0.05
    surface = np.concatenate([np.zeros(5), np.full(100, step)])[None]
    z, e = follow(surface, DT, proportional=0.0, integral_hz=g / DT, slew_m_s=1e-3)
    k = np.arange(100)
    np.testing.assert_allclose(e[0, 5:], step * (1 - g) ** k, rtol=1e-12, atol=1e-23)
    np.testing.assert_allclose(z + e, surface, atol=1e-23)
    assert not z[0, :6].any()


def test_with_fine_updates_the_step_is_exponential_in_time():
    # The surface is a ramp in the first pixel; afterwards it is flat.
    integral, over = 200.0, 512
    surface = np.concatenate([np.zeros(1), np.full(30, 1e-9)])[None]
    _, e = follow(
        surface,
        DT / over,
        proportional=0.0,
        integral_hz=integral,
        oversample=over,
        **FREE,
    )
    truth = e[0, 1] * np.exp(-integral * DT * np.arange(30))
    np.testing.assert_allclose(e[0, 1:], truth, rtol=30 * integral * DT**2 / over / DT)
    ramp = 1e-9 / DT / integral * (1 - math.exp(-integral * DT))  # of the first pixel
    assert e[0, 1] == pytest.approx(ramp, rel=1e-3)


def test_the_limit_of_much_gain_is_the_surface_one_update_late():
    surface = rough(5, 40)
    z, e = follow(surface, DT, proportional=0.0, integral_hz=1 / DT, **FREE)
    np.testing.assert_allclose(z[:, 1:], surface[:, :-1], atol=1e-23)
    np.testing.assert_allclose(e[:, 1:], np.diff(surface), atol=1e-23)


def test_a_smooth_surface_is_recovered_as_gain_grows():
    x = np.linspace(0.0, 4 * np.pi, 400)
    surface = 5e-9 * np.sin(x)[None]
    worst = []
    for integral in (50.0, 100.0, 200.0, 400.0, 800.0):
        _, e = follow(surface, DT, proportional=0.0, integral_hz=integral, **FREE)
        worst.append(np.abs(e[0, 200:]).max())
        # A ramp of v m/s is followed v / I late; a wave of w rad/s, by 1 / (1 + I/iw).
        w = (x[1] - x[0]) / DT
        late = abs(
            (np.exp(1j * w * DT) - 1) / (np.exp(1j * w * DT) - 1 + integral * DT)
        )
        assert worst[-1] == pytest.approx(5e-9 * late, rel=2e-3)
    assert (np.diff(worst) < 0).all()


def test_a_ramp_is_followed_late_by_its_speed_over_the_gain():
    speed = 2e-7
    surface = (speed * DT * np.arange(400))[None] * [[1.0], [-1.0]]
    _, e = follow(surface, DT, proportional=0.2, integral_hz=100.0, slew_m_s=1e-6)
    np.testing.assert_allclose(e[:, -1], [speed / 100, -speed / 100], rtol=1e-9)


@pytest.mark.parametrize("over", [1, 4])
@pytest.mark.parametrize(("slew", "rate"), [(1e-3, 500 * 2e-9), (4e-7, 4e-7)])
def test_off_an_edge_the_tip_parachutes_at_the_limited_rate(slew, rate, over):
    drop = 100e-9
    surface = np.concatenate([np.full(5, drop), np.zeros(400)])[None]
    z, e = follow(
        surface,
        DT / over,
        proportional=0.1,
        integral_hz=500.0,
        slew_m_s=slew,
        free_m=2e-9,
        oversample=over,
    )
    falling = z[0, 8 : 5 + int(0.9 * drop / (rate * DT))]
    assert len(falling) > 50
    np.testing.assert_allclose(np.diff(falling), -rate * DT, rtol=1e-9)
    assert e.min() == -2e-9
    assert abs(z[0, -1]) < 1e-12  # and it lands


def test_upward_the_error_is_not_limited_so_only_the_scanner_is():
    surface = np.concatenate([np.zeros(5), np.full(400, 100e-9)])[None]
    z, e = follow(
        surface, DT, proportional=0.0, integral_hz=500.0, slew_m_s=1e-5, free_m=2e-9
    )
    assert e.max() == 100e-9
    rising = z[0, 6:14]
    np.testing.assert_allclose(np.diff(rising), 1e-5 * DT, rtol=1e-9)
    assert z.max() <= 100e-9 * (1 + 1e-12)  # no windup: it does not overshoot


def roots(p, g):
    return np.abs(np.roots([1.0, p + g - 1.0, -p])).max()


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.8])
def test_the_loop_settles_below_the_stated_gain_and_oscillates_above(p):
    step = np.concatenate([np.zeros(1), np.full(600, 1e-9)])[None]
    bound = 2 * (1 - p)
    for part, settles in ((0.02, True), (0.97, True), (1.03, False)):
        g = part * bound
        assert (roots(p, g) < 1) == settles
        _, e = follow(step, DT, proportional=p, integral_hz=g / DT, **FREE)
        late = e[0, -50:]
        assert (np.abs(late).max() < 1e-9 * 0.5) == settles
        if not settles:
            assert (late[1:] * late[:-1] < 0).all()
            ratio = late[1:] / late[:-1]
            np.testing.assert_allclose(ratio, -roots(p, g), rtol=1e-6)


@given(p=st.floats(0.0, 1.5), g=st.floats(0.001, 5.0))
def test_the_stated_bound_is_where_a_root_leaves_the_unit_circle(p, g):
    margin = 2 * (1 - p) - g
    if abs(margin) > 1e-6:
        assert (roots(p, g) < 1) == (margin > 0 and p < 1)


def test_without_integral_a_step_is_followed_in_part():
    step = np.concatenate([np.zeros(1), np.full(300, 1e-9)])[None]
    _, e = follow(step, DT, proportional=0.6, integral_hz=0.0, **FREE)
    assert e[0, -1] == pytest.approx(1e-9 / 1.6)


def test_too_much_gain_with_a_limit_rings_no_further_than_the_limit():
    z, e = follow(
        np.full((2, 500), 7e-9),
        DT,
        proportional=0.5,
        integral_hz=9 / DT,
        slew_m_s=1e-6,
        start_m=[7e-9, 7.1e-9],
    )
    assert not e[0].any()
    assert 0.4e-9 < np.abs(e[1, -100:]).max() <= 1e-9 * (1 + 1e-9)
    assert np.abs(np.diff(z[1])).max() <= 1e-9 * (1 + 1e-9)


def test_a_line_begins_where_it_is_told_to():
    z, e = follow(
        np.zeros((2, 3)),
        DT,
        proportional=0.0,
        integral_hz=250.0,
        start_m=np.array([1e-9, 0.0]),
        **FREE,
    )
    np.testing.assert_allclose(z[0], [1e-9, 0.75e-9, 0.5625e-9])
    assert not z[1].any()
    assert not e[1].any()


def test_lines_do_not_know_of_one_another():
    surface = rough(4, 30)
    gains = {"proportional": 0.2, "integral_hz": 300.0, "slew_m_s": 2e-6}
    z, e = follow(surface, DT, **gains)
    for i in range(4):
        one = follow(surface[i : i + 1], DT, **gains)
        assert np.array_equal(one, (z[i : i + 1], e[i : i + 1]))
    assert follow(np.zeros((0, 5)), DT, **gains)[0].shape == (0, 5)
    assert follow(np.zeros((5, 0)), DT, **gains)[1].shape == (5, 0)


def test_over_a_hole_without_data_the_loop_holds_its_surface():
    surface = rough(3, 20)
    surface[0, 5:9] = surface[1, :4] = surface[2] = np.nan
    gains = {"proportional": 0.1, "integral_hz": 400.0, "slew_m_s": 1e-5}
    z, e = follow(surface, DT, **gains)
    filled = surface.copy()
    filled[0, 5:9], filled[1, :4], filled[2] = surface[0, 4], surface[1, 4], 0.0
    hole = np.isnan(surface)
    for got, want in zip((z, e), follow(filled, DT, **gains), strict=True):
        assert np.array_equal(np.isnan(got), hole)
        assert np.array_equal(got[~hole], want[~hole])


def with_(**changed):
    gains = {"proportional": 0.1, "integral_hz": 1.0, "slew_m_s": 1.0} | changed
    return follow(gains.pop("surface", np.zeros((2, 3))), gains.pop("dt", DT), **gains)


BAD = [
    (ShapeMismatch, {"surface": np.zeros(3)}),
    (ShapeMismatch, {"start_m": np.zeros(3)}),
    (OutOfRange, {"surface": np.full((2, 3), np.inf)}),
    (WrongType, {"surface": np.zeros((2, 3), "c16")}),
    (OutOfRange, {"dt": 0.0}),
    (OutOfRange, {"proportional": -0.1}),
    (OutOfRange, {"integral_hz": math.nan}),
    (OutOfRange, {"integral_hz": math.inf}),
    (OutOfRange, {"slew_m_s": 0.0}),
    (OutOfRange, {"free_m": 0.0}),
    (OutOfRange, {"oversample": 0}),
    (WrongType, {"oversample": 1.5}),
    (WrongType, {"proportional": True}),
]


@pytest.mark.parametrize(("error", "changed"), BAD)
def test_what_cannot_be_used_is_refused_with_a_sentence(error, changed):
    with pytest.raises(error, match=r"follow got .*; .*\."):
        with_(**changed)


def test_a_loop_that_runs_away_is_refused_and_says_how_to_settle():
    with pytest.raises(OutOfRange, match="runs away; it settles for"):
        with_(
            surface=np.tile([0.0, 1.0], (1, 2000)),
            integral_hz=9 / DT,
            slew_m_s=math.inf,
        )
