"""The members of a deep kernel ensemble: trained at once, checked on what they miss.

Pure functions, plain JAX, vmapped over members. The nets are float32, the algebra of
the Gaussian process over their features float64, by `exact`. A member never trains on
some of the points (`trained_on`), so that what it says of these is honest:
`missed` tells drift and calibrates the variance. `dkl` calls `learn` in its fit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from numpy.typing import NDArray

from aemtwin.surrogates.base import Info
from aemtwin.surrogates.deep import Design, Fitted, embed, evidence, prior
from aemtwin.surrogates.exact import (
    MEAN_SD,
    Hyper,
    condition,
    natural,
    read,
    standardise,
    tries,
)
from aemtwin.surrogates.modules import begun
from aemtwin.surrogates.programs import fitting

SHARES = 8  # at least, into which points are dealt out
CAUTION = 10.0  # points' worth of trust in the variance that the members state
WILD = 25.0  # squared error in variances beyond which a point counts no more


class Members(NamedTuple):
    """The parameters of all members, stacked along the first axis."""

    weights: dict[str, Any]  # (members, ...) float32
    theta: Any  # (members, features + coordinates + 2) float64, logs as in `prior`


def trained_on(mask: Array, members: int) -> Array:
    """Return which points each member trains on, (members, N); it misses a quarter.

    Points are dealt out in turn, into `SHARES` shares or as many as there are members,
    and member k misses shares k and k + 1: each point is missed by two members (by
    fewer where there are less than eight).
    """
    shares = max(members, SHARES)
    after = (np.arange(mask.shape[0]) - np.arange(members)[:, None]) % shares
    return mask & (after > 1)


def blank(design: Design, d: int) -> Members:
    """Return members over d columns, before any data."""
    weights = {
        name: np.zeros((design.members, *shape), np.float32)
        for name, shape in design.shapes(d).items()
    }
    median, _ = prior(design.features, design.coordinates)
    return Members(weights, np.tile(median, (design.members, 1)))


def fresh(key: Array, design: Design, row: tuple[int, ...] | int) -> Members:
    """Return members over rows of that shape: random weights, theta at its median."""
    shape = row if isinstance(row, tuple) else (row,)
    weights = begun(key, design.network, shape, design.features, design.members)
    median, _ = prior(design.features, design.coordinates)
    return Members(weights, jnp.tile(median, (design.members, 1)))


def train(
    member: Members,
    inputs: Array,
    X: Array,
    u: Array,
    mask: Array,
    steps: Array,
    design: Design,
) -> Members:
    """Climb the log posterior of one member by Adam; a step that fails is not taken."""
    median, sd = prior(design.features, design.coordinates)
    solver = optax.adam(design.learning_rate)

    def slope(at: Members) -> tuple[Array, Members]:
        Z, pull = jax.vjp(lambda w: embed(w, inputs, X, design), at.weights)
        value, by_theta, by_Z = evidence(at.theta, Z, u, mask, kernel=design.kernel)
        (by_weights,) = pull(by_Z)
        decay = jax.tree.map(
            lambda g, w: g + design.weight_prior * w, by_weights, at.weights
        )
        return value, Members(decay, by_theta + (at.theta - median) / sd**2)

    def turn(_: Array, found: tuple[Members, Any]) -> tuple[Members, Any]:
        at, memory = found
        value, gradient = slope(at)
        change, later = solver.update(gradient, memory)
        step = optax.apply_updates(at, change), later
        sound = jnp.isfinite(value)
        for leaf in jax.tree.leaves(step):
            sound &= jnp.all(jnp.isfinite(leaf))
        kept: tuple[Members, Any] = jax.tree.map(
            lambda new, old: jnp.where(sound, new, old), step, found
        )
        return kept

    at: Members
    at, _ = lax.fori_loop(0, steps, turn, (member, solver.init(member)))
    return at


class Settled(NamedTuple):
    """A member conditioned on some of the points, in standardised units."""

    Z: Array  # (N, features + coordinates)
    hyper: Hyper
    L: Array  # (N, N)
    alpha: Array  # (N,)
    nll: Array  # (), negative log marginal likelihood
    jitter: Array  # ()


def settle(
    member: Members, inputs: Array, X: Array, u: Array, mask: Array, design: Design
) -> Settled:
    """Condition a member on the points in `mask`, the constant mean at its best."""
    Z, hyper = embed(member.weights, inputs, X, design), natural(member.theta)
    L, _, jitter = condition(hyper, Z, u, mask, kernel=design.kernel)
    both = jnp.stack([jnp.where(mask, u, 0.0), mask.astype(u.dtype)], axis=1)
    half = solve_triangular(L, both, lower=True)
    by_u, by_one = solve_triangular(L, half, lower=True, trans="T").T
    mean = jnp.sum(by_u) / (jnp.sum(by_one) + MEAN_SD**-2)
    alpha = by_u - mean * by_one
    square = (both[:, 0] - mean * both[:, 1]) @ alpha + (mean / MEAN_SD) ** 2
    nll = 0.5 * square + jnp.sum(jnp.log(jnp.diag(L)))
    nll = nll + 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(mask)
    return Settled(Z, hyper._replace(mean=mean), L, alpha, nll, jitter)


def missed(
    at: Settled, u: Array, seen: Array, design: Design
) -> tuple[Array, Array, Array]:
    """Say how well a member that has `seen` some points predicts all of them.

    Returns:
        Mean, variance with noise, and log density at each point, (N,).
    """
    found = read(at.hyper, at.Z, seen, at.L, at.alpha, at.Z, kernel=design.kernel)
    mean = jnp.asarray(found.mean)
    spread = jnp.asarray(found.variance) + at.hyper.noise**2
    square = (u - mean) ** 2 / spread
    return mean, spread, -0.5 * (square + jnp.log(2.0 * jnp.pi * spread))


def calibration(mean: Array, spread: Array, u: Array, held: Array) -> Array:
    """Return the factor that the variance of members lacks, (), about 1.

    At each point, those members that missed it are a small ensemble of their own. What
    its squared error exceeds the spread of its means is compared with its variance; the
    average over all points, each at most `WILD`, is drawn towards 1 as if by `CAUTION`
    more points.

    Args:
        mean: Of each member at each point, (members, N).
        spread: Variance of each, with noise, (members, N).
        u: Standardised values, (N,).
        held: Which member missed which point, (members, N).
    """
    count = jnp.sum(held, axis=0)
    known = jnp.maximum(count, 1)

    def average(values: Array) -> Array:
        return jnp.sum(jnp.where(held, values, 0.0), axis=0) / known

    middle = average(mean)
    apart = average((mean - middle) ** 2)
    excess = jnp.maximum((u - middle) ** 2 - apart, 0.0)
    ratio = excess / jnp.where(count > 0, average(spread), 1.0)
    total = jnp.sum(jnp.where(count > 0, jnp.minimum(ratio, WILD), 0.0))
    return (total + CAUTION) / (jnp.sum(count > 0) + CAUTION)


@fitting(static_argnames="design")
def learn(
    key: Array,
    members: Members,
    cold: Array,
    active: Array,
    steps: Array,
    X: Array,
    y: Array,
    mask: Array,
    *,
    design: Design,
) -> tuple[Members, Fitted, dict[str, Array]]:
    """Train the active members, those `cold` anew, then condition all on every point.

    Args:
        key: A JAX key, from which cold members begin.
        members: Where the others begin.
        cold: Which begin anew, (members,).
        active: Which are trained at all, (members,).
        steps: Of Adam, ().
        X: Positions and patches, (N, d).
        y: Values, (N,), any unit.
        mask: True where measured, (N,).
        design: Settled when compiled.

    Returns:
        The members, these conditioned on all points, and what is told of them: density
        is that of what each held back; NaN where it is nothing, -inf where it failed.
    """
    inputs = design.seen(X)
    u, shift, spread = standardise(y, mask)
    seen = trained_on(mask, design.members)

    def choose(which: Array, one: Members, other: Members) -> Members:
        chosen: Members = jax.tree.map(
            lambda a, b: jnp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b),
            one,
            other,
        )
        return chosen

    begin = choose(cold, fresh(key, design, inputs.shape[1:]), members)
    # All at once is quicker for all, and costs as much for one: so a few, one by one.
    alike, order = jnp.all(active == active[0]), jnp.argsort(~active, stable=True)

    def end(one: Members, seen: Array, steps: Array) -> Members:
        return train(one, inputs, X, u, seen, steps, design)

    def turn(i: Array, members: Members) -> Members:
        one, k = jax.tree.map(lambda a: a[order[i]], members), order[i]
        new = end(one, seen[k], steps)
        after: Members = jax.tree.map(lambda a, b: a.at[k].set(b), members, new)
        return after

    ends = jax.vmap(end, (0, 0, None))(begin, seen, jnp.where(alike, steps, 0))
    members = choose(active, ends, begin)
    members = lax.fori_loop(0, jnp.where(alike, 0, jnp.sum(active)), turn, members)

    # Each member twice, without its share and with all points: one program does both.
    twice = jax.tree.map(lambda a: jnp.concatenate([a, a]), members)
    points = jnp.concatenate([seen, jnp.broadcast_to(mask, seen.shape)])
    both = jax.vmap(lambda m, s: settle(m, inputs, X, u, s, design))(twice, points)
    without, whole = (
        jax.tree.map(lambda a, part=part: a[part], both)
        for part in (slice(design.members), slice(design.members, None))
    )
    mean, wide, density = jax.vmap(lambda a, s: missed(a, u, s, design))(without, seen)
    held = mask[None] & ~seen
    widen, count = calibration(mean, wide, u, held), jnp.sum(held, axis=1)
    total = jnp.sum(jnp.where(held, density, 0.0), axis=1)
    unit = spread * jnp.sqrt(widen)
    hyper = whole.hyper._replace(
        scale=unit * whole.hyper.scale,
        noise=unit * whole.hyper.noise,
        mean=shift + spread * whole.hyper.mean,
    )
    L, alpha = unit * whole.L, spread * whole.alpha / unit**2
    sound = jnp.all(jnp.isfinite(alpha), axis=1) & jnp.isfinite(whole.nll)
    best = jnp.argmin(jnp.where(sound, whole.nll, jnp.inf))
    told = {
        "density": jnp.where(sound & jnp.isfinite(total), total / count, -jnp.inf),
        "held": count,
        "nll": whole.nll,
        "scale": hyper.scale,
        "noise_sd": hyper.noise,
        "mean": hyper.mean,
        "jitter": unit**2 * whole.jitter,
        "calibration": widen,
    }
    return members, Fitted(members.weights, hyper, whole.Z, mask, L, alpha, best), told


def fit(
    key: Array,
    members: Members,
    density: NDArray[np.float64],
    data: tuple[Any, Any, Any],
    *,
    first: bool,
    search: bool,
    steps: int,
    cold_steps: int,
    drift: float,
    design: Design,
) -> tuple[Members, NDArray[np.float64], Fitted, Info]:
    """Fit an ensemble: train it, and once more from a random start what has drifted.

    Args:
        key: A JAX key, used here and nowhere else.
        members: Where they begin.
        density: Of what each missed when it last began, (members,); NaN: not known.
        data: X, y and mask, padded.
        first: Whether all begin anew.
        search: Whether any is trained; always so at first.
        steps: Of Adam, from where a member was.
        cold_steps: Of Adam, from a random beginning.
        drift: Nats a point that a member may lose before it begins anew.
        design: Settled when compiled.

    Returns:
        Members, density, these conditioned on all points, and what is told of them.
    """
    cold = np.full(design.members, first)

    def run(at: Members, cold: NDArray[np.bool_], steps: int) -> Any:
        active = cold if cold.any() else np.full(design.members, search)
        count = np.asarray(steps, np.int64)
        found, fitted, told = learn(key, at, cold, active, count, *data, design=design)
        return found, fitted, jax.device_get(told)

    members, at, told = run(members, cold, cold_steps if first else steps * search)
    unknown = cold | ~np.isfinite(density)  # no density yet to count a fall from
    reference = np.where(unknown, told["density"], density)
    drifted = np.zeros_like(cold)
    if search:  # one that is NaN, with nothing held back, has not fallen
        fell = told["density"] < reference - drift
        drifted = ~cold & (fell | np.isneginf(told["density"]))
    if drifted.any():
        members, at, told = run(members, drifted, cold_steps)
        reference = np.where(drifted, told["density"], reference)
    info = _plain(told, reference) | {"restarts": int(drifted.sum())}
    return jax.device_get(members), reference, at, info


def _plain(told: dict[str, Any], reference: NDArray[np.float64]) -> Info:
    """Return plain numbers for people, averaged over members."""
    held = told.pop("held")
    density, finite = told.pop("density"), np.isfinite(told["nll"]).all()
    finite &= not np.isneginf(density).any()
    kept = np.where(np.isfinite(density), density, 0.0)
    falls = (reference - kept)[np.isfinite(reference)]
    info: Info = {name: float(np.mean(value)) for name, value in told.items()}
    info["jitter_tries"] = int(tries(told["jitter"], told["scale"]))
    info["held_back"] = float(kept @ held / max(held.sum(), 1))
    info["drift"] = float(falls.max()) if falls.size else 0.0
    return info | {"finite": int(finite)}
