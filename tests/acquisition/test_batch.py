"""Batches against exact Gaussian processes that were told the fantasies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from aemtwin.acquisition import get
from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.batch import (
    fantasise,
    greedy,
    lipschitz,
    local_penalties,
    spread,
)
from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch, UnknownName
from aemtwin.surrogates.base import Cross, Posterior, count_compilations, float64, pad
from aemtwin.surrogates.exact import Hyper, condition, read

SHAPE = 6, 7
GRID = np.stack([np.tile(np.arange(7) / 6, 6), np.repeat(np.arange(6) / 5, 7)], -1)
M = len(GRID)
SCALE, LENGTH, NOISE, MEAN = 1.3, np.array([0.35, 0.5]), 0.2, 0.4
SPOTS = np.array([3, 19, 31, 37])
VALUES = np.array([0.1, 1.9, -0.6, 0.8])


def kernel(A, B):
    """Matérn-5/2 in plain NumPy."""
    r = np.sqrt(5 * np.sum(((A[:, None] - B[None]) / LENGTH) ** 2, -1))
    return SCALE**2 * (1 + r + r**2 / 3) * np.exp(-r)


@jax.jit
def exact(data):
    hyper = Hyper(jnp.array(SCALE), jnp.array(LENGTH), jnp.array(NOISE), MEAN)
    L, alpha, _ = condition(hyper, *data[:3])
    return read(hyper, data.X, data.mask, L, alpha, jnp.array(GRID))


def conditioned(spots, values):
    """Return what the exact GP of the library believes, conditioned from scratch."""
    with float64():
        at = exact(pad(GRID[np.array(spots)], np.array(values, np.float64)))
        return Posterior(*(np.asarray(a) for a in at))


def joint(indices, spots=SPOTS):
    """Return posterior covariances from a solve in plain NumPy."""
    K = kernel(GRID[spots], GRID[spots]) + NOISE**2 * np.eye(len(spots))
    k = kernel(GRID[spots], GRID)
    prior = kernel(GRID[indices], GRID)
    covariance = prior - k[:, indices].T @ np.linalg.solve(K, k)
    return Cross(covariance, np.full(len(indices), NOISE**2))


def before():
    at = conditioned(SPOTS, VALUES)
    measured = np.isin(np.arange(M), SPOTS)
    best = float(at.mean[SPOTS].max())
    return at, Context(best, measured, joint=joint, n=len(SPOTS))


def one_by_one(name, q, lie, pending=()):
    """Choose by conditioning from scratch before each pick; the plain way."""
    at, known = before()
    spots, values, best = list(SPOTS), list(VALUES), known.best
    picks, scores = [], []
    for k in range(len(pending) + q):
        if k < len(pending):
            j = pending[k]
        else:
            closed = np.isin(np.arange(M), spots)
            score = get(name)(at, Context(best, closed))
            j = int(score.argmax())
            picks.append(j)
            scores.append(score[j])
        values.append(at.mean[j] if lie is None else lie)
        spots.append(j)
        at = conditioned(spots, values)
        best = max(best, at.mean[j])
    return picks, scores, at


@pytest.mark.parametrize(
    ("name", "believer", "lie", "pending"),
    [
        ("log_ei", "mean", None, ()),
        ("log_ei", "best", 1.9, (12, 40)),
        ("ucb", "worst", -0.6, ()),
        ("ucb", "mean", None, (25,)),
        ("variance", "mean", None, ()),
    ],
)
def test_picks_are_those_of_a_gp_that_was_told_every_fantasy(
    name, believer, lie, pending
):
    picks, scores, after = one_by_one(name, 4, lie, pending)
    at, known = before()
    found = greedy(
        get(name), at, known, 4, believer=believer, seen=VALUES, pending=pending
    )
    assert found.indices.tolist() == picks
    np.testing.assert_allclose(found.scores, scores, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.posterior.mean, after.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        found.posterior.variance, after.variance, rtol=0, atol=1e-9
    )
    assert not set(picks) & {*pending, *SPOTS.tolist()}


def test_covariances_after_fantasies_are_those_of_a_gp_that_was_told_them():
    at, known = before()
    for j in (8, 22, 9):
        at, known = fantasise(at, known, j, value=0.7)
    spots = np.array([*SPOTS, 8, 22, 9])
    some = np.array([0, 9, 41])
    found, expected = known.joint(some), joint(some, spots)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-9)
    np.testing.assert_array_equal(found.noise, expected.noise)
    assert known.n == len(spots)
    assert np.flatnonzero(known.measured).tolist() == sorted(spots.tolist())


def test_a_fantasy_leaves_what_it_was_given_as_it_was():
    at, known = before()
    mean, variance, measured = at.mean.copy(), at.variance.copy(), known.measured.copy()
    fantasise(at, known, 8, value=5.0)
    np.testing.assert_array_equal(at.mean, mean)
    np.testing.assert_array_equal(at.variance, variance)
    np.testing.assert_array_equal(known.measured, measured)


def test_the_best_rises_to_what_is_believed_at_a_fantasy_and_never_falls():
    at, known = before()
    after, higher = fantasise(at, known, 20, value=9.0)
    assert higher.best == after.mean[20] > known.best
    _, same = fantasise(at, known, 20, value=-9.0)
    assert same.best == known.best


def test_what_is_known_without_noise_teaches_nothing():
    at = Posterior(np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    known = Context(
        1.0,
        np.zeros(2, bool),
        joint=lambda i: Cross(np.diag([0.0, 1.0])[i], np.zeros(len(i))),
    )
    after, _ = fantasise(at, known, 0, value=7.0)
    assert after.mean.tolist() == [1.0, 2.0]
    assert after.variance.tolist() == [0.0, 1.0]


def test_a_batch_ends_where_nothing_is_left_to_choose():
    at, known = before()
    closed = np.ones(M, bool)
    closed[[4, 30]] = False
    known = known._replace(measured=closed)
    found = greedy(get("ucb"), at, known, 5)
    assert sorted(found.indices.tolist()) == [4, 30]
    assert found.scores.shape == (2,)
    only = greedy(get("ucb"), at, known, 5, pending=[30])
    assert only.indices.tolist() == [4]


def test_scores_can_be_adjusted_by_the_picks_so_far():
    at, known = before()
    told = []

    def stay_near(scores, picks):
        told.append(picks.tolist())
        if not picks.size:
            return scores
        return scores - 1e3 * np.linalg.norm(GRID - GRID[picks[-1]], axis=1)

    found = greedy(get("ucb"), at, known, 3, adjust=stay_near)
    steps = np.linalg.norm(np.diff(GRID[found.indices], axis=0), axis=1)
    assert np.all(steps < 0.21)  # one cell
    assert told == [[], *[found.indices[:k].tolist() for k in (1, 2)]]


def test_a_batch_of_thompson_takes_one_draw_a_pick():
    at, known = before()
    draws = np.zeros((3, M))
    draws[0, 7], draws[1, 7], draws[1, 9], draws[2, 11] = 2, 3, 1, 5
    found = greedy(get("thompson"), at, known, 3, draws=draws)
    assert found.indices.tolist() == [7, 9, 11]  # 7 is not chosen twice
    with pytest.raises(BadConfig, match="one draw a pick"):
        greedy(get("thompson"), at, known, 3)
    with pytest.raises(BadConfig, match=r"takes \(2, 42\)"):
        greedy(get("thompson"), at, known, 2, draws=draws)


def test_botorch_believes_the_same_of_a_fantasy():
    # Stored numbers: BoTorch 0.18.1 in float64, SingleTaskGP with a ScaleKernel of a
    # MaternKernel (2.5), a ConstantMean and noise as above, hyperparameters set and not
    # fitted, then condition_on_observations.
    at, known = before()
    for j, value in ((8, 0.7), (22, 1.2)):
        at, known = fantasise(at, known, j, value=value)
    some = [0, 10, 29, 41]
    mean = [0.6387788756135505, 0.2581081784591518, 1.2907956988133802]
    variance = [0.7044111312248968, 0.27774094582956277, 0.19414150938387742]
    mean, variance = [*mean, 0.6392989519132877], [*variance, 1.3973142803690173]
    np.testing.assert_allclose(at.mean[some], mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(at.variance[some], variance, rtol=0, atol=1e-9)


def test_the_steepest_slope_of_a_plane_is_that_of_the_plane():
    positions = 1e-6 * GRID
    mean = 3.0 + 2e6 * positions[:, 0] - 1e6 * positions[:, 1]
    flat = Posterior(mean, np.full(M, 1e-30))
    assert lipschitz(flat, positions, SHAPE) == pytest.approx(np.sqrt(5) * 1e6)
    line = Posterior(mean[:7], np.full(7, 1e-30))
    assert lipschitz(line, positions[:7], (1, 7)) == pytest.approx(2e6)
    column = Posterior(mean[::7], np.full(6, 1e-30))
    assert lipschitz(column, positions[::7], (6, 1)) == pytest.approx(1e6)


def test_the_steepest_slope_of_a_fine_wave_is_that_of_its_derivative():
    x, y = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 181))
    positions = np.stack([x.ravel(), y.ravel()], -1)
    mean = np.sin(5 * x + 3 * y).ravel()  # its gradient is at most √34 long
    found = lipschitz(Posterior(mean, np.zeros(mean.size)), positions, x.shape)
    assert found == pytest.approx(np.sqrt(34), rel=1e-3)


def test_local_penalties_multiply_a_softplus_of_the_scores():
    at, _ = before()
    scores = get("ucb")(at, Context(0.0, np.isin(np.arange(M), SPOTS)))
    L, top = 4.0, float(at.mean.max())
    found = spread(scores, at, GRID, 3, slope=L, pending=[5])
    may = np.isfinite(scores)
    z = (scores[may] - scores[may].mean()) / scores[may].std()
    product = np.full(M, -np.inf)
    product[may] = np.log1p(np.exp(z))
    taken = [5]
    for index, score in zip(found.indices, found.scores, strict=True):
        now = product.copy()
        for j in taken:
            far = L * np.linalg.norm(GRID - GRID[j], axis=1) - top + at.mean[j]
            now[may] *= norm.cdf(far / np.sqrt(at.variance[j]))[may]
        now[taken] = -np.inf
        assert index == now.argmax()
        assert score == pytest.approx(np.log(now[index]), abs=1e-9)
        taken.append(int(index))


def test_the_penalty_is_the_chance_that_the_ball_does_not_reach():
    rng, at = np.random.default_rng(0), Posterior(np.array([0.3, 1.0]), np.ones(2))
    L, d = 2.0, 0.4
    positions = [[0.0, 0.0], [0.0, d]]
    found = spread([0.0, 0.0], at, positions, 1, slope=L, log=True, pending=[0])
    f = rng.normal(0.3, 1.0, 400_000)
    chance = np.mean((1.0 - f) / L < d)  # standard error below 8e-4
    assert np.exp(found.scores[0]) == pytest.approx(chance, abs=4e-3)


def test_a_local_batch_does_not_depend_on_units_of_y_and_of_length():
    at, _ = before()
    scores = get("ucb")(at, Context(0.0, np.isin(np.arange(M), SPOTS)))
    L = lipschitz(at, GRID, SHAPE)
    found = spread(scores, at, GRID, 5, slope=L)
    tiny = Posterior(1e-9 * at.mean + 4e-9, 1e-18 * at.variance)
    small = 1e-6 * GRID
    again = spread(
        1e-9 * scores + 4e-9, tiny, small, 5, slope=lipschitz(tiny, small, SHAPE)
    )
    assert found.indices.tolist() == again.indices.tolist()


def test_over_a_flat_belief_a_local_batch_fills_the_field():
    flat = Posterior(np.zeros(M), np.ones(M))
    L = lipschitz(flat, GRID, SHAPE)
    assert L == pytest.approx(1 / np.sqrt(2))
    found = spread(np.zeros(M), flat, GRID, 5, slope=L, pending=[0])
    assert found.indices[0] == M - 1  # the far corner
    assert {6, 35} <= set(found.indices[1:3].tolist())  # the other two


def test_local_penalties_keep_their_digits_where_they_are_strong():
    at = Posterior(np.array([-40.0, 0.0]), np.ones(2))
    found = local_penalties(at, [[0.0, 0.0], [3.0, 0.0]], [0, 0], slope=1.0)
    np.testing.assert_allclose(found, 2 * norm.logcdf([-40.0, -37.0]), rtol=1e-12)


def test_every_pick_runs_the_programs_of_the_first():
    at, known = before()
    scores = get("ucb")(at, known)
    spread(scores, at, GRID, 1, slope=1.0, pending=[5])
    greedy(get("ucb"), at, known, 1)
    with count_compilations() as seen:
        spread(scores, at, GRID, 4, slope=2.0, pending=[5, 9])
        greedy(get("ucb"), at, known, 4, pending=[5, 9])
    assert seen.count == 0


def test_a_local_batch_takes_logarithms_as_they_are_and_ends_in_time():
    at = Posterior(np.zeros(3), np.ones(3))
    positions = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    scores = np.array([-500.0, -np.inf, -900.0])
    found = spread(scores, at, positions, 3, slope=1.0, log=True)
    assert found.indices.tolist() == [0, 2]
    assert found.scores[0] == -500.0


def test_misuse_of_a_batch_is_told_in_a_sentence():
    at, known = before()
    ucb = get("ucb")
    with pytest.raises(BadConfig, match=r"batch\.spread"):
        greedy(ucb, at, known._replace(joint=None), 2)
    with pytest.raises(BadConfig, match="q = 0"):
        greedy(ucb, at, known, 0)
    with pytest.raises(UnknownName, match="Did you mean 'worst'"):
        greedy(ucb, at, known, 2, believer="worse")
    with pytest.raises(BadConfig, match="Give seen"):
        greedy(ucb, at, known, 2, believer="worst")
    with pytest.raises(OutOfRange, match="candidate 42 of 42"):
        greedy(ucb, at, known, 2, pending=[42])
    with pytest.raises(OutOfRange, match="do not fit"):
        greedy(ucb, Posterior(at.mean, 0.1 * at.variance), known, 1)
    lost = Cross(np.full((1, M), np.nan), np.zeros(1))
    with pytest.raises(OutOfRange, match="is not finite"):
        greedy(ucb, at, known._replace(joint=lambda i: lost), 1)
    with pytest.raises(OutOfRange, match="by ucb is nan"):
        greedy(ucb, Posterior(np.full(M, np.nan), at.variance), known, 1)
    with pytest.raises(ShapeMismatch, match="6 x 6"):
        lipschitz(at, GRID, (6, 6))
    with pytest.raises(ShapeMismatch, match="Score every candidate"):
        spread([1.0], at, GRID, 1, slope=1.0)
    with pytest.raises(OutOfRange, match="log = True"):
        spread(np.linspace(-1.7e308, 0.0, M), at, GRID, 1, slope=1.0)
    with pytest.raises(OutOfRange, match="slope = nan"):
        spread(at.mean, at, GRID, 2, slope=float("nan"), pending=[1])
