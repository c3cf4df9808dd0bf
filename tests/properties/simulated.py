"""Draws of posteriors of which the truth is known, for `ranks` to judge.

Each function draws theta from the prior and data from theta, and samples the posterior
as a surrogate does, but of values that count as standardised already: there the model
that draws is the model that is fitted, to the letter. `Ranked` has the truth, and what
the sampler says, of several quantities.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from aemtwin.surrogates import bayes_nets, bnn_inference
from aemtwin.surrogates.base import float64, pad, step_keys
from aemtwin.surrogates.bayes_gp import BayesGP
from aemtwin.surrogates.bnn import BNN
from aemtwin.surrogates.bnn import FIRST as FIRST_BNN
from aemtwin.surrogates.coordinates import prior_draws, straight
from aemtwin.surrogates.exact import condition, natural, objective, read, trend_sd
from aemtwin.surrogates.nuts import Chains, rounds
from tests.properties.fields import components, covariance, draw
from tests.properties.ranks import DRAWS, thinned

N = 12  # points; capacity 16, so that padding counts for nothing here, too


class Ranked(NamedTuple):
    """What is true of one simulation, and what a posterior says of it."""

    names: tuple[str, ...]  # of q quantities
    truth: NDArray[np.float64]  # (q,)
    draws: NDArray[np.float64]  # (DRAWS, q)
    r_hat: float  # as the surrogate has it


@partial(jax.jit, static_argnames="model")
def _hyper(
    key: Array, draws: Array, X: Array, u: Array, mask: Array, at: Array, model: BayesGP
) -> tuple[Array, Array, Array, Array]:
    """Sample theta; return draws of it, of its likelihood, of f, and r-hat."""
    trend = tuple(trend_sd(model.mean, 2).tolist())

    def energy(theta: Array) -> tuple[Array, Array, Array]:
        return objective(theta, X, u, mask, kernel=model.kernel, trend=trend)

    def evaluate(phi: Array) -> tuple[Array, Array]:
        theta, pull = jax.vjp(straight, phi)
        value, slope, _ = energy(theta)
        return value, pull(slope)[0]

    key, key_f = jax.random.split(key)
    fields = ("warmup", "depth", "agree")
    chains, told = rounds(
        key,
        Chains(draws, jnp.asarray(0.5)),
        evaluate,
        **{name: getattr(model, name) for name in fields},
        least=jnp.asarray(3),
        most=model.rounds,
    )
    flat = jnp.asarray(chains.draws).reshape(-1, draws.shape[-1])
    theta = straight(thinned(flat))  # type: ignore[arg-type]

    def of(theta: Array) -> tuple[Array, Array, Array]:
        hyper = natural(theta)._replace(trend=np.array(trend))
        L, alpha, _ = condition(hyper, X, u, mask)
        found = read(hyper, X, mask, L, alpha, at)
        return energy(theta)[2], found.mean[0], found.variance[0]

    nll, mean, variance = lax.map(of, theta)
    f = mean + jnp.sqrt(variance) * jax.random.normal(key_f, mean.shape, mean.dtype)
    return theta, nll, f, told.r_hat


def hyperparameters(seed: int, model: BayesGP, n: int = N) -> Ranked:
    """Simulate hyperparameters and a field as `bayes_gp` samples them."""
    field = draw([seed, n, 1], n, m=1)
    data, (key, _, _) = pad(field.X, field.y), step_keys(seed, n)
    begin = prior_draws(model.chains, model.samples, model.kernel, 2)
    with float64():
        given = key, begin, data.X, data.y, data.mask, field.at
        theta, nll, f, r_hat = jax.device_get(_hyper(*given, model=model))
    K = covariance(field.theta, field.X, field.X)
    K += np.exp(2.0 * field.theta[-1]) * np.eye(n)
    _, log_det = np.linalg.slogdet(K)
    true_nll = 0.5 * (field.y @ np.linalg.solve(K, field.y) + log_det)
    true_nll += 0.5 * n * np.log(2.0 * np.pi)
    names = "scale", "length_x", "length_y", "noise", "likelihood", "f"
    truth = np.array([*field.theta, true_nll, field.f[0]])
    return Ranked(names, truth, np.column_stack([theta, nll, f]), float(r_hat))


def predictive(seed: int, model: Any, n: int = N, *, usual: bool = True) -> Ranked:
    """Simulate f at a point as a surrogate that mixes processes reads it, fit and all.

    A fit standardises y by itself. Given that there was nothing to standardise
    (`usual`), its posterior is that of the model; otherwise about so.
    """
    field = draw([seed, n, 2], n, m=1, usual=usual)
    key, _, _ = step_keys(seed, n)
    state, info = model.fit(key, model.init(2), pad(field.X, field.y))
    weight, mean, sd = components(model, state, field.at)
    random = np.random.default_rng([seed, 3])
    one = random.choice(len(weight), DRAWS, p=weight)
    f = random.normal(mean[one, 0], sd[one, 0])[:, None]
    return Ranked(("f",), field.f, f, float(info.get("r_hat", 1.0)))


@partial(jax.jit, static_argnames="design")
def _net(
    key: Array, X: Array, mask: Array, at: Array, design: bayes_nets.Design
) -> tuple[Array, Array, Array]:
    """Draw a net and data, sample the net; return truth, draws and r-hat."""
    key_theta, key_noise, key_fit = jax.random.split(key, 3)
    x, x_at = bayes_nets.inputs(X, design), bayes_nets.inputs(at, design)
    p = bayes_nets.dimensions(design, X.shape[1])
    theta = jax.random.normal(key_theta, (p,), np.float32)
    shake = jax.random.normal(key_noise, mask.shape, X.dtype)
    f = bayes_nets.output(theta, x, design)
    u = jnp.where(mask, f + bayes_nets.noise(theta[0]) * shake, 0.0)

    def density(theta: Array) -> Array:
        return bayes_nets.negative_log_density(theta, x, u, mask, design)

    slope = jax.value_and_grad(density)
    cold, steps = jnp.asarray(True), jnp.asarray(FIRST_BNN)
    keys = jax.random.split(key_fit, 3)
    task = bnn_inference.Task(design, keys, cold, steps, x, u, mask, slope)
    blank = bnn_inference.first_point(design, X.shape[1])
    _, draws, told = bnn_inference.nuts(task, blank)

    def of(theta: Array) -> Array:
        nll = density(theta) - 0.5 * theta @ theta
        one = bayes_nets.output(theta, x_at, design)[0]
        return jnp.stack([theta[0], nll.astype(X.dtype), one])

    return of(theta), lax.map(of, thinned(draws)), told["r_hat"]  # type: ignore[arg-type]


def net(seed: int, model: BNN, n: int = N) -> Ranked:
    """Simulate noise and f at a point as `bnn` with nuts samples them."""
    random = np.random.default_rng([seed, 4])
    data, (key, _, _) = pad(random.random((n, 2)), np.zeros(n)), step_keys(seed, n)
    with float64():
        given = key, data.X, data.mask, random.random((1, 2))
        found = jax.device_get(_net(*given, design=model._design(2)))
    truth, draws, r_hat = (np.asarray(one, np.float64) for one in found)
    return Ranked(("noise", "likelihood", "f"), truth, draws, float(r_hat))
