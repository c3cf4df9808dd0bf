"""Fronts, volumes and their expected growth: BoTorch, lattices, draws and laws.

`benchmarks/peers/botorch_hypervolume.py` makes the stored numbers.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aemtwin.acquisition.analytic import Context, LogEI
from aemtwin.acquisition.hypervolume import (
    EHVI,
    Several,
    boxes,
    hypervolume,
    pareto,
    reference_of,
)
from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch
from aemtwin.surrogates.base import Posterior, count_compilations

PATH = Path(__file__).parent / "botorch_hypervolume.json"
CASES = [
    {name: np.array(value) for name, value in case.items()}
    for case in json.loads(PATH.read_text())["cases"]
]
stored = pytest.mark.parametrize(
    "case", CASES, ids=["{1}x{0}".format(*c["values"].shape) for c in CASES]
)
few = settings(max_examples=50, deadline=None)
outputs = pytest.mark.parametrize("p", [2, 3])

POOL, M, N, SIDE = 64, 8, 5, 5  # candidates, values; edge of a lattice


def scores(mean, variance, values, reference=None, measured=None):
    """Score candidates, among others so that one size of pool is compiled."""
    mean = np.asarray(mean, float)
    m, more = len(mean), max(POOL - len(mean), 0)
    known = np.zeros(m, bool) if measured is None else np.array(measured)
    fill = [(0, more), (0, 0)]
    at = Posterior(
        np.pad(mean, fill), np.pad(np.broadcast_to(variance, mean.shape), fill)
    )
    return EHVI()(at, Several(values, np.pad(known, fill[0]), reference))[:m]


def spherical(seed, n, p):
    """Values none of which dominates another, and draws of candidates."""
    random = np.random.default_rng(seed)
    y = np.abs(random.normal(size=(n, p)))
    return random, y / np.linalg.norm(y, axis=1, keepdims=True)


def plain(values, reference, f):
    """What f adds to the hypervolume, by computing it twice."""
    both = np.concatenate([values, f[None]])
    return hypervolume(both, reference) - hypervolume(values, reference)


# ------------------------------------------------------------------- other programs


@stored
def test_front_volume_and_reference_agree_with_botorch(case):
    y = case["values"]
    assert pareto(y).tolist() == case["front"].tolist()
    found = hypervolume(y, case["reference"])
    assert found == pytest.approx(float(case["hypervolume"]), rel=1e-12)
    if case["front"].sum() > 1:  # of a single value the rules differ
        np.testing.assert_allclose(reference_of(y), case["inferred"], rtol=1e-12)


@stored
def test_ehvi_agrees_with_botorch_where_that_keeps_its_digits(case):
    found = scores(case["mean"], case["sd"] ** 2, case["values"], case["reference"])
    keeps = case["ehvi"] > 1e-4
    assert keeps.sum() >= 20
    np.testing.assert_allclose(
        np.exp(found[keeps]), case["ehvi"][keeps], rtol=1e-6, atol=0
    )


@stored
def test_ehvi_agrees_with_four_hundred_digits_however_far_below_the_front(case):
    for mean, variance, expected in (
        (case["mean"], case["sd"] ** 2, case["log_ehvi"]),
        (case["far_mean"], 1.0, case["far_log_ehvi"]),
    ):
        found = scores(mean, variance, case["values"], case["reference"])
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert found.min() < -1e4


# -------------------------------------------------------------- slower, plainer ways

lattice = {
    p: hnp.arrays(np.int64, (N, p), elements=st.integers(0, SIDE)) for p in (2, 3)
}


@outputs
@given(data=st.data())
@few
def test_volume_and_boxes_are_those_of_a_lattice_of_unit_cells(p, data):
    y = data.draw(lattice[p]).astype(float)
    reference = np.zeros(p)
    corners = np.indices((SIDE + 1,) * p).reshape(p, -1).T  # lower corners of cells
    below = (y[None] >= corners[:, None] + 1).all(axis=2).any(axis=1)
    assert hypervolume(y, reference) == below.sum()
    cut = boxes(y, reference)
    low = np.take_along_axis(cut.edges.T, cut.lower, 0)
    high = np.take_along_axis(cut.edges.T, cut.upper, 0)
    middle = corners[:, None] + 0.5
    inside = ((middle > low) & (middle < high)).all(axis=2)
    assert np.array_equal(inside.sum(axis=1), ~below)  # one box each, or none
    n = np.unique(y[pareto(y) & (y > 0).all(axis=1)], axis=0).shape[0]
    assert (cut.lower < cut.upper).all(axis=1).sum() <= (p - 1) * n + 1


@outputs
@given(data=st.data())
@few
def test_the_front_is_what_comparing_all_pairs_leaves(p, data):
    y = data.draw(lattice[p]).astype(float)
    dominated = [any((a >= b).all() and (a > b).any() for a in y) for b in y]
    assert pareto(y).tolist() == [not d for d in dominated]


@outputs
def test_ehvi_is_the_mean_improvement_of_draws(p):
    random, y = spherical(1, 6, p)
    reference, k = np.full(p, -0.1), 3000
    mean = np.array([[0.7] * p, [0.2] * p, [-0.5] + [0.9] * (p - 1)])
    sd = np.array([[0.3] * p, [0.6] * p, [0.8] + [0.1] * (p - 1)])
    found = np.exp(scores(mean, sd**2, y, reference))
    for expected, middle, width in zip(found, mean, sd, strict=True):
        draws = middle + width * random.normal(size=(k, p))
        gains = np.array([plain(y, reference, f) for f in draws])
        error = gains.std() / np.sqrt(k)
        assert 0 < error < 0.1 * expected
        assert abs(gains.mean() - expected) < 4 * error


@outputs
def test_without_variance_it_is_the_improvement_itself(p):
    random, y = spherical(2, 6, p)
    reference = np.zeros(p)
    mean = random.uniform(-0.2, 1.2, size=(M, p))
    gains = np.array([plain(y, reference, f) for f in mean])
    found = scores(mean, 0.0, y, reference)
    none = gains < 1e-12
    assert none.any()
    assert not none.all()
    np.testing.assert_allclose(np.exp(found[~none]), gains[~none], rtol=1e-9)
    assert np.all(found[none] == np.finfo(float).min)


@outputs
def test_with_no_value_above_the_reference_expected_improvements_multiply(p):
    random = np.random.default_rng(3)
    mean, variance = random.normal(size=(M, p)), random.uniform(0.1, 2.0, (M, p))
    below, reference = np.full((1, p), -1.0), np.full(p, 0.5)
    each = [
        LogEI()(Posterior(mean[:, j], variance[:, j]), Context(0.5, np.zeros(M, bool)))
        for j in range(p)
    ]
    found = scores(mean, variance, below, reference)
    np.testing.assert_allclose(found, np.sum(each, axis=0), rtol=1e-12, atol=1e-12)


# -------------------------------------------------------------------------------- laws


@st.composite
def problems(draw):
    """Values, a reference, and what is believed of M candidates."""
    p = draw(st.sampled_from([2, 3]))
    near, wide = st.floats(-3, 3), st.floats(0.01, 4.0)
    return (
        draw(hnp.arrays(np.float64, (N, p), elements=near)),
        draw(hnp.arrays(np.float64, p, elements=near)),
        draw(hnp.arrays(np.float64, (M, p), elements=near)),
        draw(hnp.arrays(np.float64, (M, p), elements=wide)),
    )


@given(problem=problems(), which=st.integers(0, N - 1), by=st.floats(0, 2))
@few
def test_a_dominated_value_changes_nothing(problem, which, by):
    y, reference, mean, variance = problem
    more = np.concatenate([y, y[which : which + 1] - by])
    assert hypervolume(more, reference) == pytest.approx(hypervolume(y, reference))
    before = scores(mean, variance, y, reference)
    assert np.array_equal(before, scores(mean, variance, more, reference))


@given(problem=problems(), order=st.permutations(range(3)))
@few
def test_the_order_of_the_outputs_does_not_matter(problem, order):
    y, reference, mean, variance = problem
    to = [j for j in order if j < y.shape[1]]
    found = scores(mean[:, to], variance[:, to], y[:, to], reference[to])
    expected = scores(mean, variance, y, reference)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    volume = hypervolume(y[:, to], reference[to])
    assert volume == pytest.approx(hypervolume(y, reference), rel=1e-12, abs=1e-12)


@given(problem=problems())
@few
def test_ehvi_lies_between_those_of_an_empty_front_and_of_its_ideal_point(problem):
    y, reference, mean, variance = problem
    assume((y > reference).all(axis=1).any())
    found = scores(mean, variance, y, reference)
    empty = scores(mean, variance, reference[None], reference)
    above = y[(y > reference).all(axis=1)].max(axis=0)
    beyond = scores(mean, variance, above[None], above)
    assert np.all(np.isfinite(found))
    assert np.all(found <= empty + 1e-9)
    assert np.all(found >= beyond - 1e-9)


@given(problem=problems(), by=st.floats(0.01, 2), j=st.integers(0, 1))
@few
def test_a_higher_mean_never_scores_lower(problem, by, j):
    y, reference, mean, variance = problem
    higher = mean + by * (np.arange(y.shape[1]) == j)
    before = scores(mean, variance, y, reference)
    assert np.all(scores(higher, variance, y, reference) >= before - 1e-9)


def test_candidates_far_below_the_front_keep_their_order():
    _, y = spherical(4, 6, 3)
    depth = -np.logspace(1, 100, 50)
    found = scores(np.stack([depth] * 3, axis=1), 1.0, y, np.zeros(3))
    assert np.all(np.isfinite(found))
    assert np.all(np.diff(found) <= 0)
    assert np.all(np.diff(found[depth > -1e76]) < 0)


def test_a_measured_candidate_is_never_the_highest():
    _, y = spherical(5, 6, 2)
    measured = [True, False, True]
    mean, variance = [[9.0, 9.0], [-9.0, -9.0], [0.5, 0.5]], [[1.0], [0.0], [1.0]]
    found = scores(mean, variance, y, measured=measured)
    assert found.argmax() == 1
    assert np.isneginf(found).tolist() == measured


@outputs
def test_a_belief_that_is_no_number_scores_as_none(p):
    _, y = spherical(5, 6, p)
    mean, variance = np.zeros((2 * p + 1, p)), np.ones((2 * p + 1, p))
    mean[:p][np.eye(p, dtype=bool)] = np.nan
    variance[p:-1][np.eye(p, dtype=bool)] = np.nan
    found = scores(mean, variance, y)
    assert np.isnan(found[:-1]).all()
    assert np.isfinite(found[-1])


def test_the_reference_lies_a_tenth_of_the_range_below_the_front():
    y = np.array([[0.0, 10.0], [1.0, 8.0], [3.0, 5.0], [-50.0, -50.0]])
    np.testing.assert_allclose(reference_of(y), [-0.3, 4.5])
    np.testing.assert_allclose(reference_of(2 * y + 7), 2 * reference_of(y) + 7)
    np.testing.assert_allclose(reference_of([[1.0, 2.0], [0.0, 0.0]]), [0.9, 1.8])
    np.testing.assert_allclose(reference_of([[-3.0, 0.0]], 0.5), [-4.5, -0.5])
    given = scores([[1.0, 9.0]], 1.0, y, reference_of(y))
    assert scores([[1.0, 9.0]], 1.0, y) == given


@outputs
def test_a_growing_front_compiles_nothing_inside_a_bucket(p):
    random, y = spherical(6, 24, p)
    mean = random.normal(size=(70, p))  # a pool of its own
    scores(mean, 1.0, y[:3])
    with count_compilations() as seen:
        for n in (1, 9, 16):
            scores(mean, 2.0, y[:n])
    assert seen.count == 0
    with count_compilations() as seen:
        scores(mean, 1.0, y[:17])
    assert seen.count == 1


def test_a_pool_in_several_chunks_scores_as_its_parts():
    random, y = spherical(7, 6, 2)
    mean, variance = random.normal(size=(2, 10_001, 2))
    variance = variance**2
    found = scores(mean, variance, y)
    at = random.integers(0, 10_001, M)
    np.testing.assert_allclose(found[at], scores(mean[at], variance[at], y), rtol=1e-12)


def test_misuse_is_told_in_a_sentence():
    y = np.array([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ShapeMismatch, match="2 or 3 outputs"):
        hypervolume(np.zeros((3, 4)), np.zeros(4))
    with pytest.raises(ShapeMismatch, match=r"reference of shape \(3,\)"):
        boxes(y, np.zeros(3))
    with pytest.raises(ShapeMismatch, match="a row for each"):
        pareto(np.zeros(3))
    with pytest.raises(ShapeMismatch, match="one row or more"):
        reference_of(np.zeros((0, 2)))
    with pytest.raises(OutOfRange, match=r"values\[1\]"):
        pareto([[0.0, 1.0], [np.nan, 1.0]])
    with pytest.raises(OutOfRange, match="finite"):
        hypervolume(y, [0.0, -np.inf])
    with pytest.raises(ShapeMismatch, match="every output"):
        scores(np.zeros((3, 3)), 1.0, y)
    with pytest.raises(BadConfig, match="margin = 0"):
        EHVI(margin=0)
