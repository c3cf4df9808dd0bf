"""Tips: images are dilations in metres, and what a tip cannot reach stays unknown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, ndimage

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.effects import tip

NM = 1e-9
TIP = {"radius_m": 7 * NM, "pixel_m": (2 * NM, 3 * NM)}
CLOSE = {"rtol": 0, "atol": 1e-12 * NM}

surfaces = hnp.arrays(
    np.float64, (7, 9), elements=st.one_of(st.floats(0, 20 * NM), st.just(np.nan))
)


def rough(shape=(9, 12), height=12 * NM, seed=0):
    return np.random.default_rng(seed).uniform(0, height, shape)


def stands_off(dy, dx, radius):
    """Return how far a parabola is above its apex."""
    return (dx**2 + dy**2) / (2 * radius)


def by_loops(surface, radius_m, pixel_m, offset_m=(0.0, 0.0)):
    """Lower the tip on every pixel of the surface in turn and keep the highest."""
    image = np.full(surface.shape, np.nan)
    where = np.zeros((*surface.shape, 2), int)
    for r, c in np.ndindex(surface.shape):
        if np.isnan(surface[r, c]):
            where[r, c] = r, c
            continue
        best = -math.inf
        for i, j in np.ndindex(surface.shape):
            dx = (j - c) * pixel_m[0] - offset_m[0]
            dy = (i - r) * pixel_m[1] - offset_m[1]
            height = surface[i, j] - stands_off(dy, dx, radius_m)
            if height > best:  # never for NaN
                best, where[r, c] = height, (i, j)
        image[r, c] = best
    return image, where


def kernel(reach, radius_m, pixel_m):
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return -stands_off(y * pixel_m[1], x * pixel_m[0], radius_m)


@pytest.mark.parametrize("radius", [0.1 * NM, 7 * NM, 900 * NM])
@pytest.mark.parametrize("pixel", [(2 * NM, 3 * NM), (5 * NM, 1 * NM)])
def test_a_dilation_is_that_of_plain_loops(radius, pixel):
    surface = rough()
    surface[3, 4:6] = np.nan
    want, where = by_loops(surface, radius, pixel)
    np.testing.assert_allclose(tip.dilate(surface, radius, pixel), want, **CLOSE)
    rows, columns = tip.contact(surface, radius, pixel)
    np.testing.assert_array_equal(np.stack([rows, columns], -1), where)


def test_a_dilation_is_that_of_scipy():
    surface = rough((40, 50))
    P = kernel(20, **TIP)
    want = ndimage.grey_dilation(surface, structure=P, mode="constant", cval=-1.0)
    np.testing.assert_allclose(tip.dilate(surface, **TIP), want, **CLOSE)
    np.testing.assert_allclose(tip.dilate_with(surface, P), want, **CLOSE)
    want = ndimage.grey_erosion(surface, structure=P, mode="constant", cval=1.0)
    np.testing.assert_allclose(tip.erode(surface, **TIP), want, **CLOSE)


def test_a_tip_of_any_shape_dilates_as_in_scipy():
    surface, P = rough((20, 30)), rough((5, 7), 3 * NM, seed=1)
    want = ndimage.grey_dilation(surface, structure=P, mode="constant", cval=-1.0)
    np.testing.assert_allclose(tip.dilate_with(surface, P), want, **CLOSE)
    larger = tip.dilate_with(surface[:3, :2], P)  # than the field
    want = ndimage.grey_dilation(
        surface[:3, :2], structure=P, mode="constant", cval=-1.0
    )
    np.testing.assert_allclose(larger, want, **CLOSE)


def test_a_spike_shows_the_reflected_tip():
    spike, P = np.full((9, 9), -1.0), rough((5, 5), seed=2)
    P[0, 1] = -np.inf
    spike[4, 4] = 0.0
    image = tip.dilate_with(spike, P)
    seen = np.isfinite(P)
    assert np.array_equal(image[2:7, 2:7][seen], P[seen])
    assert image[2, 3] < -0.9  # no tip there: the ground


def test_the_radius_of_a_tip_is_read_off_a_spike():
    spike = np.zeros((31, 41))
    spike[15, 20] = 50 * NM
    image = tip.dilate(spike, 20 * NM, (2 * NM, 3 * NM))
    y, x = (np.mgrid[:31, :41] - np.array([15, 20])[:, None, None]) * np.array(
        [3 * NM, 2 * NM]
    )[:, None, None]
    want = np.maximum(0.0, 50 * NM - (x**2 + y**2) / (40 * NM))  # to its very foot
    np.testing.assert_allclose(image, want, **CLOSE)
    P = kernel(20, 20 * NM, (2 * NM, 3 * NM))
    np.testing.assert_allclose(tip.dilate_with(spike, P), want, **CLOSE)
    on = image > 0
    slope, top = np.polyfit((x**2 + y**2)[on], image[on], 1)
    assert top == pytest.approx(50 * NM, rel=1e-9)
    assert -1 / (2 * slope) == pytest.approx(20 * NM, rel=1e-9)


def test_a_sphere_looks_blunter_by_the_radius_of_the_tip():
    a, R, pixel = 30 * NM, 20 * NM, 0.05 * NM
    x = np.arange(-120, 121) * pixel
    ball = np.sqrt(a**2 - x**2)[None, :]
    image = tip.dilate(ball, R, (pixel, pixel))[0]
    near = np.abs(x) < 4 * NM
    _, _, bend, _, top = np.polyfit(x[near] / NM, image[near] / NM, 4)
    assert -1 / (2 * bend) == pytest.approx((a + R) / NM, rel=2e-3)
    assert top == pytest.approx(a / NM, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(surfaces)
def test_images_lie_above_surfaces_and_reconstructions_between(surface):
    known = ~np.isnan(surface)
    image, reached = tip.dilate(surface, **TIP), tip.closing(surface, **TIP)
    part = tip.opening(surface, **TIP)
    for field in (image, reached, part):
        assert np.array_equal(np.isnan(field), ~known)
    slack = 1e-12 * NM
    assert (image[known] >= reached[known] - slack).all()
    assert (reached[known] >= surface[known] - slack).all()
    assert (surface[known] >= part[known] - slack).all()
    np.testing.assert_allclose(tip.closing(reached, **TIP), reached, **CLOSE)
    np.testing.assert_allclose(tip.opening(part, **TIP), part, **CLOSE)
    np.testing.assert_allclose(tip.opening(image, **TIP), image, **CLOSE)
    np.testing.assert_allclose(tip.dilate(reached, **TIP), image, **CLOSE)


def test_a_reconstruction_is_right_wherever_the_tip_touched():
    surface = rough((30, 30))
    reached = tip.closing(surface, **TIP)
    touched = np.zeros(surface.shape, bool)
    touched[tip.contact(surface, **TIP)] = True
    assert 0.05 < touched.mean() < 0.95
    np.testing.assert_allclose(reached[touched], surface[touched], **CLOSE)
    assert (reached[~touched] > surface[~touched]).mean() > 0.9


@settings(max_examples=40, deadline=None)
@given(surfaces)
def test_the_point_of_contact_bears_the_image(surface):
    rows, columns = tip.contact(surface, **TIP)
    r, c = np.indices(surface.shape)
    dx, dy = TIP["pixel_m"]
    off = stands_off((rows - r) * dy, (columns - c) * dx, TIP["radius_m"])
    np.testing.assert_allclose(
        surface[rows, columns] - off, tip.dilate(surface, **TIP), **CLOSE
    )


def test_phase_is_read_at_the_contact_and_not_dilated():
    step = np.where(np.arange(20) < 10, 0.0, 10 * NM)[None, :]
    phase = np.where(np.arange(20) < 10, -90.0, 90.0)[None, :]
    seen = phase[tip.contact(step, 20 * NM, (2 * NM, 2 * NM))]
    # The edge is met where r²/2R < 10 nm: r < 20 nm.
    reach = math.sqrt(2 * 20 * 10)
    want = np.where((10 - np.arange(20)) * 2 < reach, 90.0, -90.0)
    assert seen[0].tolist() == want.tolist()
    assert set(seen[0]) == {-90.0, 90.0}


def test_a_flat_surface_touches_under_the_apex():
    rows, columns = tip.contact(np.full((4, 5), 3.0), 1.0, (1.0, 1.0))
    assert np.array_equal(np.stack([rows, columns]), np.indices((4, 5)))


@pytest.mark.parametrize("offset", [(5 * NM, -4 * NM), (0.7 * NM, 7.3 * NM)])
@pytest.mark.parametrize("lower", [0.0, 0.8 * NM])
def test_a_double_tip_is_the_higher_of_two(offset, lower):
    surface = rough()
    surface[2, 2] = np.nan
    first, here = by_loops(surface, **TIP)
    second, there = by_loops(surface, **TIP, offset_m=offset)
    want = np.maximum(first, second - lower)
    image = tip.double(surface, **TIP, offset_m=offset, lower_m=lower)
    np.testing.assert_allclose(image, want, **CLOSE)
    where = np.where((second - lower > first)[..., None], there, here)
    found = tip.contact(surface, **TIP, offset_m=offset, lower_m=lower)
    np.testing.assert_array_equal(np.stack(found, -1), where)
    assert (second - lower > first).any()


def test_a_ghost_stands_opposite_the_second_apex_and_lower():
    spike = np.zeros((21, 31))
    spike[10, 15] = 10 * NM
    image = tip.double(spike, 1 * NM, (2 * NM, 3 * NM), (8 * NM, 9 * NM), 4 * NM)
    tops = image == ndimage.maximum_filter(image, 3)
    peaks = np.argwhere(tops & (image > 1 * NM)).tolist()
    assert peaks == [[7, 11], [10, 15]]  # 9 nm up the rows, 8 nm up the columns
    assert image[7, 11] == pytest.approx(6 * NM)


def test_a_second_apex_that_is_too_short_is_not_seen():
    surface = rough()
    image = tip.double(surface, **TIP, offset_m=(2 * NM, 0.0), lower_m=20 * NM)
    assert np.array_equal(image, tip.dilate(surface, **TIP))
    far = tip.double(surface, **TIP, offset_m=(1.0, 0.0), lower_m=0.0)
    assert np.array_equal(far, tip.dilate(surface, **TIP))  # beyond the field


def test_what_is_unknown_stays_so_and_does_not_spread():
    surface = np.zeros((5, 5))
    surface[2, 2] = np.nan
    for field in (
        tip.dilate(surface, **TIP),
        tip.erode(surface, **TIP),
        tip.dilate_with(surface, kernel(1, **TIP)),
    ):
        assert np.isnan(field[2, 2])
        assert np.nansum(np.abs(field)) == 0.0
        assert np.isnan(field).sum() == 1
    assert np.isnan(tip.dilate(np.full((2, 2), np.nan), **TIP)).all()
    sideways = tip.dilate_with([[1.0, 2.0]], [[-np.inf, -np.inf, 0.0]])
    np.testing.assert_array_equal(sideways, [[np.nan, 1.0]])  # nothing to touch


def empty_volume(radius, angle):
    """Integrate what is missing between a cone and the ball that it touches."""
    centre = radius / math.sin(angle)
    top = radius * math.cos(angle) ** 2 / math.sin(angle)

    def missing(z):
        ball = max(radius**2 - (z - centre) ** 2, 0.0)
        return math.pi * ((z * math.tan(angle)) ** 2 - ball)

    return integrate.quad(missing, 0, top, points=[centre - radius], epsabs=0)[0]


@pytest.mark.parametrize("angle", [0.1, 0.35, 0.9])
def test_a_tip_wears_as_archard_integrated_step_by_step(angle):
    def growth(_, radius):  # in nanometres: dR/ds = (dV/ds) / (dV/dR)
        step = 1e-3 * radius[0]
        gained = empty_volume(radius[0] + step, angle)
        gained -= empty_volume(radius[0] - step, angle)
        return [rate * 2 * step / gained]

    rate = 5.0  # nm³ a micrometre
    grown = integrate.solve_ivp(growth, (0, 400.0), [8.0], rtol=1e-7).y[0, -1]
    found = tip.worn(8 * NM, 400e-6, rate * 1e-27 / 1e-6, half_angle_rad=angle)
    assert found / NM == pytest.approx(grown, rel=1e-5)
    assert found > 8.3 * NM


def test_wear_in_two_goes_is_wear_in_one_and_none_is_none():
    once = tip.worn(8 * NM, 3.0, 1e-24)
    twice = tip.worn(tip.worn(8 * NM, 1.0, 1e-24), 2.0, 1e-24)
    assert twice == pytest.approx(once, rel=1e-12)
    assert tip.worn(8 * NM, 0.0, 1e-24) == pytest.approx(8 * NM, rel=1e-12)
    distance = np.geomspace(1e3, 1e6, 5)
    radius = [tip.worn(8 * NM, d, 1e-24) for d in distance]
    slope = np.polyfit(np.log(distance), np.log(radius), 1)[0]
    assert slope == pytest.approx(1 / 3, abs=1e-3)  # volume goes with R³


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: tip.dilate(np.zeros(4), **TIP), ShapeMismatch),
        (lambda: tip.dilate(np.zeros((0, 4)), **TIP), ShapeMismatch),
        (lambda: tip.dilate(np.zeros((2, 2), complex), **TIP), WrongType),
        (lambda: tip.dilate([[0.0, np.inf]], **TIP), OutOfRange),
        (lambda: tip.dilate([[0.0]], 0.0, (1.0, 1.0)), OutOfRange),
        (lambda: tip.dilate([[0.0]], math.nan, (1.0, 1.0)), OutOfRange),
        (lambda: tip.dilate([[0.0]], True, (1.0, 1.0)), WrongType),
        (lambda: tip.dilate([[0.0]], "sharp", (1.0, 1.0)), WrongType),
        (lambda: tip.erode([[0.0]], 1.0, (1.0,)), ShapeMismatch),
        (lambda: tip.erode([[0.0]], 1.0, (1.0, -1.0)), OutOfRange),
        (lambda: tip.double([[0.0]], 1.0, (1.0, 1.0), (0, 0), -1.0), OutOfRange),
        (lambda: tip.double([[0.0]], 1.0, (1, 1), (0, math.inf), 0.0), OutOfRange),
        (lambda: tip.dilate_with([[0.0]], np.zeros((2, 3))), ShapeMismatch),
        (lambda: tip.dilate_with([[0.0]], [[np.nan]]), OutOfRange),
        (lambda: tip.dilate_with([[0.0]], [[-np.inf]]), OutOfRange),
        (lambda: tip.worn(1 * NM, -1.0, 0.0), OutOfRange),
        (lambda: tip.worn(1 * NM, 1.0, 0.0, half_angle_rad=1.6), OutOfRange),
    ],
)
def test_what_cannot_be_used_is_refused(call, error):
    with pytest.raises(error, match="got"):
        call()
