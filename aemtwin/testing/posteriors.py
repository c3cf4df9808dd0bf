"""Laws of what a surrogate believes: of odd data, near and far, drawn and joint.

Those of the contract are in `surrogates`, which holds a surrogate to all of them.
"""

from __future__ import annotations

import dataclasses
import sys
import tracemalloc
from typing import Any

import numpy as np

from aemtwin.surrogates.base import Cross, Draws, Joint, pad
from aemtwin.testing.laws import Laws, Skip, require
from aemtwin.testing.learners import (
    POINTS,
    Array,
    Learner,
    key,
    require_plain,
    truth,
)

DRAWS = 300  # of which mean and variance are taken
FEW = 6  # candidates at which they are
ERRORS = 5.0  # standard errors by which a moment of the draws may be off
COARSE = 1e-4  # of the variance of y: what a draw that is a sum of waves may lack
POOL = 20_000  # candidates; the square of them takes 3.2 GB in float64
ROOM = 512 * 2**20  # bytes that reading them may take
NEVER = 10**6  # points after which hyperparameters are sought again
SHAPE = 1e-2  # of the largest variance: how near a conditioned one must come

POSTERIOR_LAWS: Laws[Learner] = Laws()
law = POSTERIOR_LAWS


def _sound(of: Learner, X: Array, y: Array) -> Any:
    """Fit and read odd data, and require finite numbers; return the belief."""
    state, info = of.fit(pad(X, y))
    require_plain(info)
    return of.read(state, of.candidates)


@law()
def a_constant_is_believed(of: Learner) -> None:
    """Where every value is the same, so is the mean, within 3 of its own sd."""
    for value in (0.0, 3.5e-12, -2e7):
        found = _sound(of, of.X[:POINTS], np.full(POINTS, value))
        off = np.abs(np.asarray(found.mean) - value)
        slack = 3.0 * np.sqrt(found.variance) + 1e-6 * abs(value)
        far = np.asarray(found.mean)[off > slack]
        require(not far.size, f"all values are {value:g}, and means are {far[:3]}")


@law()
def one_point_is_enough(of: Learner) -> None:
    """A fit to a single point is finite, and so is what is read from it."""
    _sound(of, of.X[:1], of.y[:1])


@law()
def points_may_repeat_and_clash(of: Learner) -> None:
    """Equal points, with the same value or with others, make no matrix singular."""
    X = np.repeat(of.X[:3], 4, axis=0)
    _sound(of, X, np.tile(of.y[:3], 4))
    _sound(of, X, np.arange(12.0))


@law()
def points_may_lie_on_a_line(of: Learner) -> None:
    """A column that is the same for all points is no reason to fail."""
    X = of.X[:POINTS].copy()
    X[:, -1] = 0.0
    _sound(of, X, of.y[:POINTS])


@law()
def one_huge_value_leaves_it_finite(of: Learner) -> None:
    """One value a million spreads away leaves mean and variance finite."""
    y = of.y[:POINTS].copy()
    y[3] = 1e6
    _sound(of, of.X[:POINTS], y)


@law()
def what_was_measured_is_believed(of: Learner) -> None:
    """Where all candidates are measured, the mean is nearer to y than its average is.

    The data are smooth and without noise, so a model that learns at all does this.
    """
    at = np.tile(of.X[:POINTS], (5, 1))[: len(of.candidates)]  # a shape that is known
    found = of.read(of.fitted, at)
    error = np.asarray(found.mean)[:POINTS] - of.y[:POINTS]
    rms = float(np.sqrt(np.mean(error**2)))
    told = f"at the measured points its mean is off by {rms:.3g} (root mean square)"
    require(rms < of.unit, f"{told}; y itself varies by {of.unit:.3g}")


@law()
def it_is_surer_where_it_has_measured(of: Learner) -> None:
    """Variance is smaller on average among the points than in the corner opposite."""
    X = 0.4 * of.X[:POINTS]
    state, _ = of.fit(pad(X, truth(X)))
    half = len(of.candidates) // 2
    at = np.concatenate([0.4 * of.candidates[:half], 1 - 0.2 * of.candidates[half:]])
    variance = np.asarray(of.read(state, at).variance)
    near, far = (float(np.mean(v)) for v in (variance[:half], variance[half:]))
    told = f"variance is {near:.3g} among the points and {far:.3g} far from them"
    require(near < far, told)


@law()
def draws_have_mean_and_variance_of_the_posterior(of: Learner) -> None:
    """Over 300 draws both are those of `predict`, to 5 standard errors; a key decides.

    At the six least certain candidates. The error of a variance is taken from the
    fourth moment of the draws; less than 1e-4 of the variance of y counts as none.
    """
    at = _unsure(of)
    f, found = _draws(of, at), of.make().predict(key(0, 1), of.fitted, at)
    mean, centred = f.mean(axis=0), f - f.mean(axis=0)
    variance, fourth = np.mean(centred**2, axis=0), np.mean(centred**4, axis=0)
    for what, got, told, error in (
        ("mean", mean, found.mean, np.sqrt((variance + _coarse(of)) / DRAWS)),
        ("variance", variance, found.variance, _error(of, fourth, variance)),
    ):
        _require_within(what, got, np.asarray(told), error)


@law()
def covariances_agree_with_the_variance(of: Learner) -> None:
    """A joint covariance is symmetric, has predict's variance and no negative root.

    Roots may be −1e-8 of the largest by rounding. The noise is finite, not below 0.
    """
    at = of.candidates[:FEW]
    cross = _joint(of, of.fitted, at, at)
    for what, got, shape in (
        ("covariance", cross.covariance, (FEW, FEW)),
        ("noise", cross.noise, (FEW,)),
    ):
        right = isinstance(got, np.ndarray) and got.shape == shape
        told = f"{what} is {type(got).__name__} of shape {np.shape(got)}"
        require(right and np.all(np.isfinite(got)), f"{told}; it is finite, {shape}")
    C, found = cross.covariance, of.make().predict(key(0, 1), of.fitted, at)
    top = float(np.max(np.abs(C)))
    require(np.abs(C - C.T).max() <= 1e-8 * top, f"it is not symmetric:\n{C}")
    off = float(np.max(np.abs(np.diag(C) - found.variance)))
    told = f"its diagonal is off the variance of predict by {off:.2g} of {top:.2g}"
    require(off <= 1e-6 * top, told)
    lowest = float(np.linalg.eigvalsh(0.5 * (C + C.T))[0])
    require(lowest >= -1e-8 * top, f"it has the root {lowest:.2g}, of {top:.2g}")
    require(np.all(cross.noise >= 0), f"noise is negative: {cross.noise}")
    wide = _joint(of, of.fitted, at[:2], of.candidates)
    same = np.allclose(wide.covariance[:, :FEW], C[:2], rtol=1e-8, atol=1e-8 * top)
    require(same, "beside other candidates the covariance is another")


@law()
def covariances_agree_with_the_draws(of: Learner) -> None:
    """Over 300 draws every covariance is the one that is told, to 5 standard errors.

    At the six least certain candidates; less than 1e-4 of the variance of y counts as
    none.
    """
    at = _unsure(of)
    C, f = _joint(of, of.fitted, at, at).covariance, _draws(of, at)
    centred = f - f.mean(axis=0)
    pairs = centred[:, :, None] * centred[:, None, :]  # (draws, FEW, FEW)
    got, square = pairs.mean(axis=0), np.mean(pairs**2, axis=0)
    _require_within("covariance", got, C, _error(of, square, got))


@law()
def a_covariance_says_what_one_more_point_will_tell(of: Learner) -> None:
    """Conditioning by the covariance gives the variance that one more point then does.

    Hyperparameters are frozen by `refit_every`. A fit may standardise anew, so both are
    compared up to a factor, to 1 percent of the largest. Where the variance depends on
    the value measured, the posterior is no single Gaussian, and the law says nothing.
    """
    _joint(of, of.fitted, of.candidates[:1], of.candidates)  # or skip
    surrogate: Any = of.make()
    if not (dataclasses.is_dataclass(surrogate) and hasattr(surrogate, "refit_every")):
        raise Skip("its hyperparameters cannot be frozen: it has no refit_every")
    surrogate = dataclasses.replace(surrogate, refit_every=NEVER)  # type: ignore[type-var]
    n, at = POINTS - 1, of.candidates
    before, _ = surrogate.fit(key(0), surrogate.init(of.d), of.data(n))
    prior = np.asarray(surrogate.predict(key(0, 1), before, at).variance)
    x = at[[int(np.argmax(prior))]]  # where there is most to tell
    cross = surrogate.covariance(before, x, at)
    there = float(surrogate.covariance(before, x, x).covariance[0, 0])
    told = prior - cross.covariance[0] ** 2 / (there + float(cross.noise[0]))
    found = []
    for z in (of.y[:n].min(), of.y[:n].max()):
        data = pad(np.append(of.X[:n], x, axis=0), np.append(of.y[:n], z))
        after, _ = surrogate.fit(key(1), before, data)
        found.append(_shape(surrogate.predict(key(1, 1), after, at).variance))
    apart = float(np.max(np.abs(found[0] - found[1])))
    if apart > SHAPE / 10:
        raise Skip("its variance depends on the values: it is no single Gaussian")
    off = float(np.max(np.abs(found[0] - _shape(told))))
    said = f"the covariance foretells a variance that is off by {off:.2g} of the"
    require(off <= SHAPE, f"{said} largest once the point is measured")


@law()
def a_large_pool_is_read_in_pieces(of: Learner) -> None:
    """20,000 candidates are believed as their halves are, in 512 MiB at most.

    A matrix of all pairs of them would take 3.2 GB. Counted is what Python allocates,
    and by how much the most that the process ever held grows.
    """
    pool = np.random.default_rng(6).random((POOL, of.d))
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        began, most = tracemalloc.get_traced_memory()[0], _most_held()
        whole = of.read(of.fitted, pool)
        taken = tracemalloc.get_traced_memory()[1] - began
    finally:
        if not running:
            tracemalloc.stop()
    taken = max(taken, _most_held() - most)
    require(
        taken <= ROOM,
        f"reading {POOL} candidates took {taken / 2**20:.0f} MiB; "
        f"{ROOM / 2**20:.0f} are allowed. Read them in pieces",
    )
    halves = [of.read(of.fitted, half) for half in np.split(pool, 2)]
    for what in ("mean", "variance"):
        pieces = np.concatenate([getattr(half, what) for half in halves])
        scale = of.unit if what == "mean" else of.unit**2
        off = float(np.max(np.abs(pieces - getattr(whole, what)))) / scale
        require(off <= 1e-6, f"read in halves, {what} is off by {off:.2g} of y's unit")


def _unsure(of: Learner) -> Array:
    """Return the `FEW` candidates of which least is known."""
    order = np.argsort(-np.asarray(of.belief.variance), kind="stable")
    few: Array = of.candidates[order[:FEW]]
    return few


def _coarse(of: Learner) -> float:
    """Return the variance that counts as none, unit of y squared."""
    return COARSE * of.unit**2


def _draws(of: Learner, at: Array) -> Array:
    """Return draws at a few candidates, (DRAWS, FEW), or skip."""
    surrogate = of.make()
    if not isinstance(surrogate, Draws):
        raise Skip("it has no draw")
    keys = [key(k, 2) for k in range(DRAWS)]
    f = np.stack([surrogate.draw(k, of.fitted, at) for k in keys])
    require(f.shape == (DRAWS, FEW), f"a draw at {FEW} candidates is {f.shape[1:]}")
    require(np.all(np.isfinite(f)), "a draw is not finite")
    again = surrogate.draw(keys[0], of.fitted, at)
    require(np.array_equal(again, f[0]), "the same key draws another f")
    return f


def _joint(of: Learner, state: Any, points: Array, at: Array) -> Cross:
    """Return the joint covariance, or skip."""
    surrogate = of.make()
    if not isinstance(surrogate, Joint):
        raise Skip("it has no covariance")
    return surrogate.covariance(state, points, at)


def _error(of: Learner, square: Array, mean: Array) -> Array:
    """Return the standard error of a mean of `DRAWS` numbers with that mean square."""
    error: Array = np.sqrt(np.maximum(square - mean**2, 0.0) / DRAWS)
    return error + _coarse(of) / ERRORS


def _require_within(what: str, got: Array, told: Array, error: Array) -> None:
    off = np.abs(got - told)
    worst = np.unravel_index(np.argmax(off - ERRORS * error), off.shape)
    require(
        off[worst] <= ERRORS * error[worst] + 1e-9 * np.max(np.abs(told)),
        f"{DRAWS} draws have the {what} {got[worst]:.4g} ± {error[worst]:.2g} where "
        f"{told[worst]:.4g} is told",
    )


def _shape(variance: Any) -> Array:
    """Return a variance without its scale, the largest about 1."""
    values = np.asarray(variance)
    shape: Array = values / max(float(np.max(values)), np.finfo(float).tiny)
    return shape


def _most_held() -> int:
    """Return the most memory that this process ever held, bytes; 0 where unknown."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
