"""Costs against the instrument's own times, and short ways against all ways."""

from itertools import permutations

import numpy as np
import pytest

from aemtwin.acquisition import get
from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.cost import Cost, discounted, path_m, short_path, travel_s
from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch, UnknownName
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.planning import duration_s
from aemtwin.surrogates.base import Posterior

KINDS = ["log", "positive", "any"]


def test_travel_takes_as_long_as_the_instrument_says():
    rng = np.random.default_rng(0)
    probe, candidates = rng.uniform(0, 5e-6, 2), rng.uniform(0, 5e-6, (20, 2))
    settings = {p.name: p.default for p in AFM.settings}
    said = [
        duration_s(AFM, settings, probe, "move_to", {"position": at})
        for at in candidates
    ]
    found = travel_s(probe, candidates, settings["speed_m_s"], settings["settle_s"])
    np.testing.assert_allclose(found, said, rtol=1e-12)


def test_log_ei_per_cost_is_the_logarithm_of_ei_per_cost():
    at = Posterior(np.array([0.2, -0.5, 1.0, 0.0]), np.array([1.0, 4.0, 0.1, 2.0]))
    log_ei = get("log_ei")(at, Context(0.3, np.array([False, False, False, True])))
    seconds, dose = np.array([1.5, 8.0, 3.0, 0.1]), np.array([2.0, 1.0, 7.0, 0.0])
    found = Cost(per_dose=0.5)(log_ei, seconds, dose, kind="log")
    cost = seconds + 0.5 * dose
    expected = np.log(np.exp(log_ei[:3]) / cost[:3]) + np.log(cost[:3].min())
    np.testing.assert_allclose(found[:3], expected, rtol=1e-12)
    assert np.isneginf(found[3])


def test_positive_scores_are_divided_by_cost():
    scores, seconds = np.array([4.0, 1.0, 0.0]), np.array([2.0, 1.0, 5.0])
    np.testing.assert_allclose(Cost()(scores, seconds, kind="positive"), [2.0, 1.0, 0])
    cheaper = Cost(weight=2.0)(scores, seconds, kind="positive")
    np.testing.assert_allclose(cheaper, [1.0, 1.0, 0.0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("level", [-3.0, 0.0, 2e6])
def test_of_two_equal_scores_the_cheaper_is_higher(kind, spread, level):
    if kind == "positive":
        level = abs(level) + 1.0
    scores = level + spread * np.array([0.0, 0.7, 0.7, 0.2])
    found = Cost()(scores, [3.0, 2.0, 1.0, 9.0], kind=kind)
    assert found[2] > found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_cost_never_makes_a_score_higher(kind):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=30)
    scores = np.abs(scores) if kind == "positive" else scores
    seconds = rng.uniform(1, 9, 30)
    before = Cost()(scores, seconds, kind=kind)
    for j in range(30):  # the cheapest stays, so that all are counted from it
        if j != seconds.argmin():
            dearer = seconds.copy()
            dearer[j] *= 1.1
            after = Cost()(scores, dearer, kind=kind)
            assert after[j] < before[j]
            np.testing.assert_array_equal(np.delete(after, j), np.delete(before, j))


@pytest.mark.parametrize("kind", KINDS)
def test_without_weight_or_at_equal_costs_scores_stay(kind):
    scores = np.array([3.0, 0.5, -np.inf, 2.0])
    seconds = np.array([4.0, 1.0, 2.0, 9.0])
    np.testing.assert_array_equal(Cost(weight=0)(scores, seconds, kind=kind), scores)
    np.testing.assert_array_equal(Cost()(scores, 5.0, kind=kind), scores)


def test_the_order_of_any_scores_does_not_depend_on_their_unit_and_zero():
    rng = np.random.default_rng(2)
    scores, seconds = rng.normal(size=50), rng.uniform(1, 30, 50)
    found = np.argsort(Cost()(scores, seconds))
    again = np.argsort(Cost()(1e-9 * scores - 5e-9, 60 * seconds))
    np.testing.assert_array_equal(found, again)


def test_a_division_would_prefer_the_dearer_of_negative_scores_and_cost_does_not():
    scores, seconds = np.array([-2.0, -2.0]), np.array([1.0, 10.0])
    assert np.argmax(scores / seconds) == 1
    assert np.argmax(Cost()(scores, seconds)) == 0


def test_dose_alone_can_be_the_cost():
    found = Cost(per_second=0, per_dose=1)([0.0, 0.0], [1.0, 9.0], [2.0, 1.0])
    assert found.argmax() == 1


def test_where_nothing_may_be_measured_nothing_is_changed():
    nothing = np.full(3, -np.inf)
    np.testing.assert_array_equal(Cost()(nothing, np.zeros(3)), nothing)


def test_misuse_of_costs_is_told_in_a_sentence():
    with pytest.raises(BadConfig, match="weight = -1"):
        Cost(weight=-1)
    with pytest.raises(BadConfig, match="one of the prices"):
        Cost(per_second=0)
    with pytest.raises(OutOfRange, match="Count the dwell too"):
        Cost()([1.0, 2.0], [0.0, 1.0])
    with pytest.raises(ShapeMismatch, match="every candidate a cost"):
        Cost()([1.0, 2.0], [1.0, 1.0, 1.0])
    with pytest.raises(OutOfRange, match='kind "positive"'):
        discounted([-1.0], 0.5, kind="positive")
    with pytest.raises(OutOfRange, match="NaN"):
        discounted([np.nan], 0.5)
    with pytest.raises(OutOfRange, match='kind = "log"'):
        Cost()([1.0, -1.7e308], [1.0, 2.0])
    with pytest.raises(UnknownName, match="Did you mean 'log'"):
        discounted([1.0], 0.5, kind="logs")
    with pytest.raises(OutOfRange, match="speed of 0"):
        travel_s([0, 0], [[1, 1]], 0, 0)
    with pytest.raises(ShapeMismatch, match="one \\(x, y\\) a row"):
        travel_s([0, 0], [1, 1, 1], 1.0, 0)
    with pytest.raises(OutOfRange, match="not finite"):
        short_path([0, 0], [[np.nan, 0]])


def shortest_m(probe, points):
    """Return the length of the shortest of all ways, tried one by one."""
    ways = np.array(list(permutations(range(len(points)))))
    there = points[ways]  # (q!, q, 2)
    steps = np.linalg.norm(np.diff(there, axis=1), axis=-1).sum(axis=1)
    return (steps + np.linalg.norm(there[:, 0] - probe, axis=1)).min()


@pytest.mark.parametrize("q", [1, 2, 3, 5, 7, 8])
def test_a_short_way_through_few_points_is_the_shortest_of_all(q):
    rng = np.random.default_rng(q)
    for _ in range(3):
        probe, points = rng.uniform(size=2), rng.uniform(size=(q, 2))
        order = short_path(probe, points)
        assert sorted(order) == list(range(q))
        assert path_m(probe, points[order]) == pytest.approx(shortest_m(probe, points))


def test_a_short_way_through_nine_points_is_nearly_the_shortest_of_all():
    rng = np.random.default_rng(9)
    over = []
    for _ in range(2):
        probe, points = rng.uniform(size=2), rng.uniform(size=(9, 2))
        found = path_m(probe, points[short_path(probe, points)])
        over.append(found / shortest_m(probe, points))
    assert min(over) >= 1 - 1e-12
    assert max(over) < 1.2


def test_a_longer_way_is_never_longer_than_the_given_one_and_no_turn_helps():
    rng = np.random.default_rng(3)
    probe, points = rng.uniform(size=2), rng.uniform(size=(25, 2))
    order = short_path(probe, points)
    assert sorted(order) == list(range(25))
    length = path_m(probe, points[order])
    assert length < path_m(probe, points)
    for i in range(25):
        for j in range(i + 1, 25):
            turned = order.copy()
            turned[i : j + 1] = turned[i : j + 1][::-1]
            assert path_m(probe, points[turned]) >= length - 1e-12


def test_points_along_a_line_are_visited_along_it():
    points = np.stack([np.random.default_rng(4).permutation(40), np.zeros(40)], -1)
    order = short_path([-1.0, 0.0], points)
    np.testing.assert_array_equal(points[order, 0], np.arange(40))


def test_the_same_place_twice_and_no_place_at_all_are_visited():
    assert sorted(short_path([0, 0], [[1, 1]] * 12)) == list(range(12))
    assert short_path([0, 0], []).tolist() == []
    assert path_m([0, 0], []) == 0.0
