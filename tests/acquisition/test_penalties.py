"""Masks and penalties against distances that are counted one by one."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aemtwin.acquisition import penalties
from aemtwin.acquisition.cost import discounted
from aemtwin.acquisition.penalties import closeness, exclude, nearest_m
from aemtwin.errors import OutOfRange, ShapeMismatch

RNG = np.random.default_rng(0)
FIELD = 1e-6 * RNG.uniform(size=(300, 2))
POINTS = 1e-6 * RNG.uniform(size=(17, 2))


@pytest.mark.parametrize("piece", [1, 100, 2**20])
def test_distances_are_those_of_a_tree_whatever_the_pieces(piece, monkeypatch):
    monkeypatch.setattr(penalties, "PIECE", piece)
    expected = cKDTree(POINTS).query(FIELD)[0]
    np.testing.assert_allclose(nearest_m(FIELD, POINTS), expected, rtol=1e-12)
    mask = exclude(FIELD, POINTS, 1e-7).mask
    np.testing.assert_array_equal(mask, expected <= 1e-7)
    assert 0 < mask.sum() < len(FIELD)


def test_a_radius_of_zero_excludes_the_points_alone():
    found = exclude(FIELD, FIELD[[4, 9]], 0.0)
    assert np.flatnonzero(found.mask).tolist() == [4, 9]
    assert found.radius_m == 0.0


def test_a_radius_that_would_exclude_all_is_halved_until_something_is_left():
    distance = cKDTree(POINTS).query(FIELD)[0]
    found = exclude(FIELD, POINTS, 1.0)
    assert found.radius_m < distance.max() <= 2 * found.radius_m
    assert np.log2(1.0 / found.radius_m) % 1 == 0
    np.testing.assert_array_equal(found.mask, distance <= found.radius_m)
    assert not found.mask.all()


def test_closed_candidates_do_not_count_as_left():
    line = np.stack([np.arange(5.0), np.zeros(5)], -1)
    closed = np.array([False, False, False, False, True])
    found = exclude(line, line[:1], 3.5, closed=closed)
    assert found.radius_m == 1.75
    assert found.mask.tolist() == [True, True, False, False, False]


def test_where_every_open_candidate_is_a_point_it_says_so():
    with pytest.raises(OutOfRange, match="nothing is left to measure"):
        exclude(FIELD[:3], FIELD[:3], 1e-8)
    with pytest.raises(OutOfRange, match="0 are open"):
        exclude(FIELD[:3], POINTS, 1e-8, closed=np.ones(3, bool))


def test_without_points_nothing_is_near():
    assert not exclude(FIELD, [], 1.0).mask.any()
    assert not closeness(FIELD, [], 1e-7).any()
    assert np.isposinf(nearest_m(FIELD, [])).all()


def test_closeness_is_the_largest_of_all_points():
    age, lifetime, length = np.arange(17.0), 6.0, 2e-7
    expected = [
        max(
            np.exp(-0.5 * np.sum((at - to) ** 2) / length**2) * np.exp(-old / lifetime)
            for to, old in zip(POINTS, age, strict=True)
        )
        for at in FIELD
    ]
    found = closeness(FIELD, POINTS, length, age=age, lifetime=lifetime)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    fresh = np.exp(-0.5 * (nearest_m(FIELD, POINTS) / length) ** 2)
    np.testing.assert_allclose(closeness(FIELD, POINTS, length), fresh, rtol=1e-10)
    assert np.all(found <= fresh)


def test_a_point_is_forgotten_with_its_age():
    at = FIELD[:1]
    ages = (0.0, 3.0, 60.0)
    found = [closeness(at, at, 1e-7, age=[a], lifetime=3.0)[0] for a in ages]
    np.testing.assert_allclose(found, [1.0, np.exp(-1), np.exp(-20)], rtol=1e-12)
    assert closeness(at, at, 1e-7, age=[1e9])[0] == 1.0  # for ever


def test_a_penalty_on_equal_scores_sends_the_next_measurement_far_away():
    scores = discounted(np.full(300, -7.0), closeness(FIELD, POINTS, 5e-7))
    assert scores.argmax() == cKDTree(POINTS).query(FIELD)[0].argmax()


def test_misuse_of_penalties_is_told_in_a_sentence():
    with pytest.raises(OutOfRange, match="radius_m = -1"):
        exclude(FIELD, POINTS, -1)
    with pytest.raises(OutOfRange, match="radius_m = inf"):
        exclude(FIELD, POINTS, float("inf"))
    with pytest.raises(OutOfRange, match="length_m = 0"):
        closeness(FIELD, POINTS, 0)
    with pytest.raises(OutOfRange, match="ages from -1"):
        closeness(FIELD, POINTS[:2], 1e-7, age=[-1, 2])
    with pytest.raises(ShapeMismatch, match="age a point"):
        closeness(FIELD, POINTS, 1e-7, age=[1.0])
    with pytest.raises(ShapeMismatch, match="closed of shape"):
        exclude(FIELD, POINTS, 1e-7, closed=[True])
    with pytest.raises(ShapeMismatch, match="one \\(x, y\\) a row"):
        nearest_m(FIELD[0], POINTS)
    with pytest.raises(OutOfRange, match="not finite"):
        nearest_m(FIELD, [[np.nan, 0.0]])
