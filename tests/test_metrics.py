"""Scores against closed forms and slower, plainer versions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.metrics import (
    best_so_far,
    calibration_curve,
    coverage,
    nlpd,
    rmse,
    simple_regret,
    top_fraction_found,
)

RNG = np.random.default_rng(7)
TRUTH = RNG.normal(size=400)
HOLES = np.where(np.arange(400) % 3 == 0, np.nan, TRUTH)
KNOWN = np.flatnonzero(np.isfinite(HOLES))
MEAN, VARIANCE = TRUTH + RNG.normal(size=400), RNG.uniform(0.5, 2, size=400)


def test_all_of_the_best_per_cent_measured_is_one_and_none_is_zero():
    order = np.argsort(TRUTH)
    assert top_fraction_found(TRUTH, order[-4:]) == 1.0
    assert top_fraction_found(TRUTH, order[:-4]) == 0.0
    assert top_fraction_found(TRUTH, order[-6:-2]) == 0.5
    assert top_fraction_found(TRUTH, []) == 0.0


def test_a_candidate_measured_twice_counts_once():
    best = int(np.argmax(TRUTH))
    assert top_fraction_found(TRUTH, [best, best, best]) == 0.25


def test_few_candidates_still_have_a_best_one():
    assert top_fraction_found([1.0, 2, 3], [2]) == 1.0


def test_equals_at_the_border_of_the_best_serve_alike():
    assert top_fraction_found([1.0, 1, 1, 0], [2], fraction=0.25) == 1.0
    assert top_fraction_found([1.0, 1, 1, 0], [0, 1, 2], fraction=0.5) == 1.0


def test_a_fraction_is_rounded_up_but_not_by_rounding_errors():
    truth = np.arange(100.0)
    assert top_fraction_found(truth, np.arange(93, 100), fraction=0.07) == 1.0
    assert top_fraction_found(truth, [99], fraction=0.011) == 0.5


def test_spots_without_a_truth_are_left_out_of_every_score():
    chosen = RNG.permutation(KNOWN)[:30]
    among = np.searchsorted(KNOWN, chosen)
    values, mean, variance = HOLES[KNOWN], MEAN[KNOWN], VARIANCE[KNOWN]
    for function in (simple_regret, top_fraction_found):
        assert function(HOLES, chosen) == function(values, among)
    assert best_so_far(HOLES, chosen).tolist() == best_so_far(values, among).tolist()
    assert rmse(HOLES, MEAN) == rmse(values, mean)
    for function in (nlpd, coverage):
        assert function(HOLES, MEAN, VARIANCE) == function(values, mean, variance)


def test_predictions_where_no_truth_is_known_may_be_anything():
    mean, variance = np.where(np.isnan(HOLES), np.inf, MEAN), VARIANCE.copy()
    variance[np.isnan(HOLES)] = -1
    assert np.isfinite(nlpd(HOLES, mean, variance))


def test_the_learning_curve_is_the_running_maximum_and_ends_at_the_regret():
    chosen = RNG.integers(0, 400, size=50)
    curve = best_so_far(TRUTH, chosen)
    assert curve.tolist() == [TRUTH[chosen[: k + 1]].max() for k in range(50)]
    assert simple_regret(TRUTH, chosen) == TRUTH.max() - curve[-1]


def test_the_learning_curve_begins_when_the_first_known_truth_is_measured():
    curve = best_so_far([np.nan, 1, 2, 0], [0, 1, 0, 3, 2])
    assert np.array_equal(curve, [np.nan, 1, 1, 1, 2], equal_nan=True)


def test_nothing_measured_has_no_regret_and_an_empty_curve():
    assert np.isnan(simple_regret(TRUTH, []))
    assert best_so_far(TRUTH, []).shape == (0,)
    assert np.isnan(simple_regret([np.nan, 1.0], [0]))


def test_the_log_density_is_that_of_the_normal_distribution():
    expected = -stats.norm(MEAN, np.sqrt(VARIANCE)).logpdf(TRUTH).mean()
    assert nlpd(TRUTH, MEAN, VARIANCE) == pytest.approx(expected)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_a_calibrated_prediction_covers_what_it_claims(level):
    truth = np.random.default_rng(0).normal(3, 2, size=20_000)
    found = coverage(truth, np.full(20_000, 3.0), np.full(20_000, 4.0), level)
    assert found == pytest.approx(level, abs=0.01)


def test_a_prediction_without_variance_covers_only_what_it_hits():
    assert coverage([1.0, 2], [1.0, 1], [0.0, 0]) == 0.5


def test_a_missing_prediction_makes_the_map_error_nan():
    assert np.isnan(rmse([1.0, 2], [1.0, np.nan]))


def test_the_calibration_curve_is_the_coverage_at_every_level():
    levels = [0.1, 0.5, 0.9, 0.99]
    curve = calibration_curve(HOLES, MEAN, VARIANCE, levels)
    assert curve.tolist() == [coverage(HOLES, MEAN, VARIANCE, p) for p in levels]
    assert np.all(np.diff(curve) >= 0)


def test_the_calibration_curve_ends_at_none_and_all():
    assert calibration_curve(TRUTH, MEAN, VARIANCE, [0, 1]).tolist() == [0, 1]
    exact = calibration_curve([1.0, 2], [1.0, 1], [0.0, 0], [0, 0.5, 1])
    assert exact.tolist() == [0.5, 0.5, 1]


def test_a_calibrated_prediction_lies_on_the_diagonal():
    truth = np.random.default_rng(0).normal(3, 2, size=20_000)
    levels = np.linspace(0, 1, 21)
    found = calibration_curve(truth, np.full(20_000, 3.0), np.full(20_000, 4.0), levels)
    assert np.abs(found - levels).max() < 0.012


def test_levels_that_are_no_probabilities_are_refused():
    with pytest.raises(OutOfRange, match="probabilities"):
        calibration_curve(TRUTH, MEAN, VARIANCE, [50, 90])
    with pytest.raises(OutOfRange, match="not negative"):
        calibration_curve([1.0], [1.0], [-1.0], [0.5])


@pytest.mark.parametrize("fraction", [0, 1.01, -1, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(OutOfRange, match="above 0 and up to 1"):
        top_fraction_found(TRUTH, [0], fraction)


def test_wrong_scores_are_refused_in_a_sentence():
    with pytest.raises(OutOfRange, match="0 to 399"):
        simple_regret(TRUTH, [400])
    with pytest.raises(OutOfRange, match="0 to 399"):
        best_so_far(TRUTH, [-1])
    with pytest.raises(WrongType, match="integers"):
        simple_regret(TRUTH, [1.0])
    with pytest.raises(ShapeMismatch, match="ravel"):
        rmse(TRUTH.reshape(20, 20), MEAN)
    with pytest.raises(ShapeMismatch, match="one prediction"):
        rmse(TRUTH, MEAN[:-1])
    with pytest.raises(OutOfRange, match="no finite value"):
        rmse([np.nan], [0.0])
    with pytest.raises(OutOfRange, match="variance of 0"):
        nlpd([1.0], [1.0], [0.0])
    with pytest.raises(OutOfRange, match="not negative"):
        coverage([1.0], [1.0], [-1.0])
    with pytest.raises(OutOfRange, match="level"):
        coverage([1.0], [1.0], [1.0], level=90)


def test_spots_at_the_border_do_not_stand_in_for_those_above_it():
    truth = np.zeros(300)
    truth[[10, 20]] = 1.0  # the best 1 % are these two and any one of the others
    assert top_fraction_found(truth, [0, 1, 2, 3]) == pytest.approx(1 / 3)
    assert top_fraction_found(truth, [0, 1, 10]) == pytest.approx(2 / 3)
    assert top_fraction_found(truth, [10, 20, 5]) == 1.0
