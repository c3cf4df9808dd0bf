"""The compiled programs of a Bayesian net: three inferences, one read, one draw.

Each inference goes on from a `point` (what it was left with, a dictionary of arrays) or
begins anew, and leaves draws of theta (s, p), of which `predict` reads the mixture.
`nuts` samples all weights, `svi` moves a normal guide to them (`variational`), and
`partial` finds a mode of the hidden layers and draws the last one exactly. `bayes_nets`
has the net and its density; `bnn` calls `fit`, `predict` and `draw` in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from aemtwin.surrogates import variational
from aemtwin.surrogates.base import Posterior
from aemtwin.surrogates.bayes_nets import (
    Design,
    dimensions,
    features,
    inputs,
    last_layer,
    negative_log_density,
    noise,
    output,
)
from aemtwin.surrogates.exact import CHUNK, standardise
from aemtwin.surrogates.nuts import Chains, Evaluate, rounds
from aemtwin.surrogates.programs import fitting
from aemtwin.surrogates.variational import Guide, descend

WATCHED = 8  # measured points at which chains shall agree
MODE = 1000  # steps of Adam to the mode at which a guide and a chain begin
NEAR = 0.1  # spread about it of the first draws of a chain, in sd of the prior
STEP = 0.1  # of the first round of chains
LOG_SD = -4.0  # of a guide at its beginning

Point = dict[str, Any]
"""Where an inference goes on: arrays by name, as `first_point` makes them."""

Found = tuple[Point, Array, dict[str, Array]]
"""The next point, draws of theta (s, p), and what is told of them."""


class Task(NamedTuple):
    """What one inference is given."""

    design: Design
    keys: Array  # (3,): to begin, to run, to draw
    cold: Array  # (), whether it begins with draws of the prior
    steps: Array  # (), rounds of nuts at least, or steps of Adam
    x: Array  # (N, p) float32, inputs of the net
    u: Array  # (N,), standardised values
    mask: Array  # (N,), True where measured
    slope: Evaluate  # negative log density of theta, and its gradient

    def begin(self, at: Array) -> Array:
        """Return where it begins: `at`, or draws of the prior of that shape."""
        fresh = jax.random.normal(self.keys[0], at.shape, at.dtype)
        return jnp.where(self.cold, fresh, at)

    def mode(self, theta: Array, steps: Array) -> tuple[Array, Array]:
        """Go to a mode by Adam; return it, and how many steps failed."""
        return descend(
            lambda _, at: self.slope(at),
            theta,
            steps=steps,
            learning_rate=self.design.learning_rate,
        )


def first_point(design: Design, d: int) -> Point:
    """Return the point before any data, for X of d columns."""
    p = dimensions(design, d)
    begin: dict[str, Point] = {
        "nuts": {
            "draws": np.zeros((design.chains, design.samples, p), np.float32),
            "step": np.array(STEP),
        },
        "svi": {
            "mean": np.zeros(p, np.float32),
            "log_sd": np.full(p, LOG_SD, np.float32),
        },
        "partial": {"theta": np.zeros((design.chains, p), np.float32)},
    }
    unit = {"shift": np.array(0.0), "spread": np.array(1.0)}
    return begin[design.inference] | unit


def nuts(of: Task, point: Point) -> Found:
    """Sample all weights; far from any mode, chains would settle for noise alone."""
    design = of.design
    measured = jnp.nonzero(of.mask, size=of.mask.shape[0], fill_value=0)[0]
    some = of.x[measured[jnp.arange(WATCHED) * jnp.sum(of.mask) // WATCHED]]

    def watch(draws: Array) -> Array:
        flat = draws.reshape(-1, draws.shape[-1])
        f = lax.map(lambda theta: output(theta, some, design), flat)
        f = jnp.concatenate([f, flat[:, :1]], axis=1).astype(draws.dtype)
        return f.reshape(*draws.shape[:2], -1)

    begin = of.begin(point["draws"])  # (c, s, p)
    steps = jnp.where(of.cold, MODE, 0)
    mode, failed = jax.vmap(lambda one: of.mode(one, steps))(begin[:, 0])
    begin = jnp.where(of.cold, mode[:, None] + NEAR * begin, begin)
    chains, how = rounds(
        of.keys[1],
        Chains(begin.astype(of.u.dtype), point["step"]),
        of.slope,
        warmup=design.warmup,
        depth=design.depth,
        least=of.steps,
        most=design.rounds,
        agree=design.agree,
        dense=False,
        watch=watch,
    )
    draws = jnp.asarray(chains.draws).astype(jnp.float32)
    told = {
        "r_hat": how.r_hat,
        "rounds": how.rounds,
        "divergences": how.divergences,
        "accept_prob": how.accept,
        "evaluations": how.evaluations,
        "step_size": jnp.asarray(chains.step),
        "failed": jnp.sum(failed),
        "watched": watch(draws.astype(of.u.dtype)),
    }
    theta = draws.reshape(-1, draws.shape[-1])
    return {"draws": draws, "step": told["step_size"]}, theta, told


def svi(of: Task, point: Point) -> Found:
    """Move a normal guide to the weights, at first from a mode of theirs."""
    design = of.design
    steps = jnp.where(of.cold, MODE, 0)
    mode, failed = of.mode(of.begin(point["mean"]), steps)
    guide, bound = variational.fit(
        of.keys[1],
        Guide(mode, point["log_sd"]),
        of.slope,
        steps=of.steps,
        learning_rate=design.learning_rate,
    )
    theta = variational.draws(of.keys[2], guide, design.chains * design.samples)
    evaluations = of.steps * 2 * variational.PAIRS + variational.CHECKED + steps
    told = {"elbo": bound.elbo, "error": bound.error, "evaluations": evaluations}
    return guide._asdict(), theta, told | {"failed": bound.failed + failed}


def partial(of: Task, point: Point) -> Found:
    """Go on to modes of the hidden layers; draw last layer and noise at each of them.

    All modes count alike.

    Source: Wilson and Izmailov (2020), NeurIPS, for a mixture over modes and over what
    is Gaussian about each; theirs is Gaussian in all layers.
    """
    design = of.design
    begin = of.begin(point["theta"])  # (c, p)
    modes, failed = jax.vmap(lambda one: of.mode(one, of.steps))(begin)

    def at(given: tuple[Array, Array]) -> Array:
        key, mode = given
        phi = features(mode, of.x, design)
        z, last = last_layer(key, phi, of.u, of.mask, design.samples)
        rest = mode[1 + phi.shape[1] :]
        rest = jnp.broadcast_to(rest, (design.samples, rest.size))
        return jnp.concatenate([z[:, None], last, rest], axis=1).astype(jnp.float32)

    theta = lax.map(at, (jax.random.split(of.keys[2], design.chains), modes))
    told = {"failed": jnp.sum(failed), "evaluations": of.steps * design.chains}
    return {"theta": modes}, theta.reshape(-1, modes.shape[1]), told


INFERENCES: dict[str, Callable[[Task, Point], Found]] = {
    "nuts": nuts,
    "svi": svi,
    "partial": partial,
}


@fitting(static_argnames="design")
def fit(
    key: Array,
    point: Point,
    cold: Array,
    steps: Array,
    X: Array,
    y: Array,
    mask: Array,
    *,
    design: Design,
) -> Found:
    """Infer the weights, the one program of a fit.

    Args:
        key: A JAX key, used here and nowhere else.
        point: Where the last fit ended.
        cold: Whether to begin with draws of the prior instead, ().
        steps: Rounds of nuts at least, or steps of Adam, (); with 0 the weights, but
            for the last layer of "partial", stay as they are.
        X: Positions and patches, (N, d).
        y: Values, (N,), any unit.
        mask: True where measured, (N,).
        design: Settled when compiled.

    Returns:
        The point, draws of theta, (s, p) float32, and what is told of them.
    """
    x = inputs(X, design)
    u, shift, spread = standardise(y, mask)
    if design.inference != "partial":  # draws that stay keep their unit
        moves = cold | (steps > 0)
        shift = jnp.where(moves, shift, point["shift"])
        spread = jnp.where(moves, spread, point["spread"])

    slope = jax.value_and_grad(
        lambda theta: negative_log_density(theta, x, u, mask, design)
    )
    task = Task(design, jax.random.split(key, 3), cold, steps, x, u, mask, slope)
    point, theta, told = INFERENCES[design.inference](task, point)
    values = lax.map(lambda one: slope(one)[0], theta)
    told["finite"] = jnp.all(jnp.isfinite(values)) & jnp.all(jnp.isfinite(theta))
    told["objective"] = jnp.median(values)
    told["noise_sd"] = spread * jnp.median(noise(theta[:, 0]))
    return point | {"shift": shift, "spread": spread}, theta, told


@functools.partial(jax.jit, static_argnames="design")
def predict(
    theta: Array, shift: Array, spread: Array, candidates: Array, *, design: Design
) -> Posterior:
    """Return mean and variance of the mixture of all draws at candidates (m, d)."""

    def piece(at: Array) -> tuple[Array, Array]:
        f = _outputs(theta, inputs(at, design), design).astype(at.dtype)
        return jnp.mean(f, axis=0), jnp.var(f, axis=0, ddof=1)

    mean, variance = _chunked(piece, candidates)
    return Posterior(shift + spread * mean, spread**2 * variance)


@functools.partial(jax.jit, static_argnames="design")
def draw(
    key: Array,
    theta: Array,
    shift: Array,
    spread: Array,
    candidates: Array,
    *,
    design: Design,
) -> Array:
    """Return one draw of the net at candidates (m, d), (m,)."""
    one = theta[jax.random.randint(key, (), 0, theta.shape[0])]
    f = _chunked(lambda at: output(one, inputs(at, design), design), candidates)
    return jnp.asarray(shift + spread * f.astype(candidates.dtype))


def _outputs(theta: Array, x: Array, design: Design) -> Array:
    """Return the net of every draw, (s, rows) float32."""
    if design.inference != "partial":
        return jnp.asarray(lax.map(lambda one: output(one, x, design), theta))

    def at(draws: Array) -> Array:  # those of a mode share the layers before the last
        phi = features(draws[0], x, design)
        return draws[:, 1 : 1 + phi.shape[1]] @ phi.T

    every = lax.map(at, theta.reshape(design.chains, design.samples, -1))
    return jnp.asarray(every.reshape(len(theta), -1))


def _chunked(read: Callable[[Array], Any], candidates: Array) -> Any:
    """Read candidates in chunks, as even as can be."""
    m, d = candidates.shape
    chunks = max(1, -(-m // CHUNK))
    rows = -(-m // chunks)
    padded = jnp.pad(candidates, ((0, chunks * rows - m), (0, 0)))
    found = lax.map(read, padded.reshape(chunks, rows, d))
    return jax.tree.map(lambda a: a.reshape(-1)[:m], found)
