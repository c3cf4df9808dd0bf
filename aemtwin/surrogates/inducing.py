"""Inducing points: a Gaussian process of many points that is seen through a few.

What n points say of f is kept as a belief of f at M of them, in O(n·M²) and with
n·M·8 bytes at a time: 20 MB for 10⁴ points and 256 of them, 200 MB for 10⁵. `chosen`
takes the points one by one where the variance left by those before is the largest,
which is the Cholesky factorisation with pivots; no chance is in it. `bound` is what the
likelihood of hyperparameters is at least, and `condition` the belief that makes it so.
`exact` has the algebra with no such loss, `sparse_gp` the surrogate.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from aemtwin.surrogates import draws
from aemtwin.surrogates.base import Cross, Posterior
from aemtwin.surrogates.exact import MEAN_SD, Hyper, before, between, natural, prior
from aemtwin.surrogates.several import in_pieces

PIECE = 1024  # points that the bound sums at once
LEAST = 1e-10  # of scale²: variance below which no point is chosen; jitter, nugget


class Chosen(NamedTuple):
    """The points chosen, at most M of N, and what they explain of all."""

    rows: Array  # (M,), of X; 0 where none is needed
    used: Array  # (M,), True where one is
    V: Array  # (M, N), L⁻¹ of their prior covariance with all points; 0 where unused
    left: Array  # (N,), prior variance that they leave, unit of y²; 0 where padded


class Induced(NamedTuple):
    """A belief of f at M points, from which it is read everywhere."""

    hyper: Hyper
    Z: Any  # (M, d), the points
    used: Any  # (M,), True where one is
    L: Any  # (M, M), Cholesky factor of their prior covariance; I where unused
    B: Any  # (M, M), Cholesky factor of I + V D⁻¹ Vᵀ, with D the noise of each point
    c: Any  # (M,), B⁻¹ V D⁻¹ (y − mean)
    rows: Any  # (M,), of X, that they are
    left: Any  # (), mean of the variance that they leave, parts of the prior's


def chosen(kernel: str, hyper: Hyper, X: Array, mask: Array, count: int) -> Chosen:
    """Choose points greedily by their variance given those chosen before.

    Args:
        kernel: As `composed.named` takes it.
        hyper: Hyperparameters, held as they are.
        X: Points, (N, d); rows outside `mask` count for nothing.
        mask: True where measured, (N,).
        count: How many to choose, M. Fewer are used where these explain all but
            `LEAST` of the variance.

    Source: Burt, Rasmussen and van der Wilk (2020), JMLR 21 (131), greedy conditional
    variance; Foster et al. (2009), JMLR 10, for the factorisation with pivots.
    """
    N = X.shape[0]
    least = LEAST * hyper.scale**2

    def choose(j: Array, so_far: Chosen) -> Chosen:
        i = jnp.argmax(so_far.left)
        enough = so_far.left[i] > least
        x = lax.dynamic_slice_in_dim(X, i, 1)
        k = jnp.where(mask, between(kernel, hyper, x, X)[0], 0.0)
        rest = k - so_far.V[:, i] @ so_far.V
        v = jnp.where(enough, rest / jnp.sqrt(jnp.maximum(so_far.left[i], least)), 0.0)
        left = jnp.maximum(so_far.left - v**2, 0.0).at[i].set(0.0)
        return Chosen(
            so_far.rows.at[j].set(jnp.where(enough, i, 0)),
            so_far.used.at[j].set(enough),
            so_far.V.at[j].set(v),
            jnp.where(enough, left, so_far.left),
        )

    begin = Chosen(
        jnp.zeros(count, int),
        jnp.zeros(count, bool),
        jnp.zeros((count, N), X.dtype),
        jnp.where(mask, before(hyper, X), 0.0),
    )
    found: Chosen = lax.fori_loop(0, count, choose, begin)
    return found


def bound(
    hyper: Hyper,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array | float,
    Z: Array,
    used: Array,
    *,
    kernel: str = "matern52",
) -> Array:
    """Return a lower bound of the log likelihood of hyperparameters, ().

    It is the likelihood itself where Z are all points. The jitter of the covariance of
    Z keeps it a bound: it is that of values of f with a little noise on them.

    Args:
        hyper: Hyperparameters.
        X: Points, (N, d); rows outside `mask` count for nothing.
        y: Values, (N,).
        mask: True where measured, (N,).
        noise: Known sd of each, (N,) or (), unit of y; that of `hyper` comes on top.
        Z: Inducing points, (M, d).
        used: True where one counts, (M,).
        kernel: As `composed.named` takes it.

    Source: Titsias (2009), AISTATS, PMLR 5, 567, here with a noise for each point;
    Hensman (2016), "Derivation of SGPR equations", GPflow documentation, for factors.
    """
    N, M = len(X), len(Z)
    both = used[:, None] & used[None, :]
    K = jnp.where(both, between(kernel, hyper, Z, Z), 0.0)
    L = _cholesky(K + jnp.diag(jnp.where(used, LEAST * hyper.scale**2, 1.0)))
    D = nugget(hyper, jnp.broadcast_to(noise, (N,)))

    @jax.checkpoint  # type: ignore[untyped-decorator]
    def piece(sums: Any, given: Any) -> tuple[Any, None]:
        x, r, per = given  # per: 1/D, 0 where padded
        K_new = jnp.where(used[:, None], between(kernel, hyper, Z, x), 0.0)
        V = solve_triangular(L, K_new, lower=True)
        S, b, quiet = sums
        half = V * jnp.sqrt(per)
        loss = r**2 * per + before(hyper, x) * per
        return (S + half @ half.T, b + V @ (r * per), quiet + jnp.sum(loss)), None

    pieces = max(1, -(-N // PIECE))
    rows = -(-N // pieces)
    r = jnp.where(mask, y - hyper.mean, 0.0)
    per = jnp.where(mask, 1.0 / D, 0.0)
    padded = (
        jnp.pad(a, [(0, pieces * rows - N)] + [(0, 0)] * (a.ndim - 1))
        for a in (X, r, per)
    )
    split = tuple(a.reshape(pieces, rows, *a.shape[1:]) for a in padded)
    zero = jnp.zeros((), X.dtype)
    begin = jnp.zeros((M, M), X.dtype), jnp.zeros(M, X.dtype), zero
    (S, b, quiet), _ = lax.scan(piece, begin, split)
    B = _cholesky(jnp.eye(M, dtype=X.dtype) + S)
    c = solve_triangular(B, b, lower=True)
    log_det = 2.0 * jnp.sum(jnp.log(jnp.diag(B))) + jnp.sum(
        jnp.where(mask, jnp.log(2.0 * jnp.pi * D), 0.0)
    )
    return -0.5 * (log_det + quiet - jnp.trace(S) - c @ c)


def objective(
    theta: Array,
    X: Array,
    u: Array,
    mask: Array,
    noise: Array | float,
    Z: Array,
    used: Array,
    *,
    kernel: str = "matern52",
    trend: tuple[float, ...] = (MEAN_SD,),
) -> tuple[Array, Array]:
    """Return the negative log prior and bound of theta, (), and its gradient, (k + 2,).

    As `exact.objective`, with the bound in place of the likelihood.
    """
    median, sd = prior(kernel, X.shape[1])

    def value(t: Array) -> Array:
        hyper, z = natural(t)._replace(trend=np.array(trend)), (t - median) / sd
        return 0.5 * z @ z - bound(hyper, X, u, mask, noise, Z, used, kernel=kernel)

    found: tuple[Array, Array] = jax.value_and_grad(value)(theta)
    return found


@partial(jax.jit, static_argnames=("kernel", "count"))
def condition(
    hyper: Hyper,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array,
    *,
    kernel: str,
    count: int,
) -> Induced:
    """Choose points and return the belief of f there that makes the bound greatest.

    Source: As `bound`.
    """
    of = chosen(kernel, hyper, X, mask, count)
    per = jnp.where(mask, 1.0 / nugget(hyper, noise), 0.0)
    L = jnp.where(of.used[:, None], jnp.tril(of.V[:, of.rows].T), 0.0)
    L = L + jnp.diag(jnp.where(of.used, 0.0, 1.0))
    half = of.V * jnp.sqrt(per)
    B = _cholesky(jnp.eye(count, dtype=X.dtype) + half @ half.T)
    residual = jnp.where(mask, y - hyper.mean, 0.0)
    c = solve_triangular(B, of.V @ (residual * per), lower=True)
    all_of = jnp.sum(jnp.where(mask, before(hyper, X), 0.0))
    left = jnp.sum(of.left) / all_of
    return Induced(hyper, X[of.rows], of.used, L, B, c, of.rows, left)


def nugget(hyper: Hyper, noise: Array) -> Array:
    """Return the variance of each measurement, never nothing beside that of f."""
    return hyper.noise**2 + noise**2 + LEAST * hyper.scale**2


def _seen(of: Induced, at: Array, kernel: str) -> tuple[Array, Array]:
    """Return L⁻¹ K(Z, at), (M, m), and B⁻¹ of that."""
    K = jnp.where(of.used[:, None], between(kernel, of.hyper, of.Z, at), 0.0)
    V = solve_triangular(of.L, K, lower=True)
    return V, solve_triangular(of.B, V, lower=True)


@partial(jax.jit, static_argnames="kernel")
def moments(of: Induced, candidates: Array, *, kernel: str) -> Posterior:
    """Read the latent f at m candidates, in O(m·M²) and O(M·CHUNK) of memory."""

    def piece(at: Array) -> tuple[Array, Array]:
        V, W = _seen(of, at, kernel)
        variance = before(of.hyper, at) - jnp.sum(V**2, axis=0) + jnp.sum(W**2, axis=0)
        return of.hyper.mean + of.c @ W, jnp.maximum(variance, 0.0)

    return Posterior(*in_pieces(piece, candidates))


@partial(jax.jit, static_argnames="kernel")
def joint(of: Induced, points: Array, candidates: Array, *, kernel: str) -> Cross:
    """Return the covariance of f at k points with f at m candidates, and the noise."""
    (V, W), (V_to, W_to) = (_seen(of, at, kernel) for at in (points, candidates))
    C = between(kernel, of.hyper, points, candidates) - V.T @ V_to + W.T @ W_to
    noise = jnp.full(len(points), of.hyper.noise**2)
    return Cross(C, noise)  # type: ignore[arg-type]


@partial(jax.jit, static_argnames="kernel")
def drawn(key: Array, of: Induced, candidates: Array, *, kernel: str) -> Array:
    """Draw f once, jointly over all candidates, (m,).

    f at Z is drawn from the belief, and a draw of the prior corrected to go there.

    Source: Wilson et al. (2020), ICML, "Efficiently sampling functions from Gaussian
    process posteriors", eq. 13, with inducing values as in its section 3.
    """
    key_values, key_prior = jax.random.split(key)
    dtype, d = of.c.dtype, candidates.shape[1]
    wave = draws.prior(
        key_prior, of.hyper, d, kernel=kernel, waves=draws.WAVES, dtype=dtype
    )
    normal = jax.random.normal(key_values, of.c.shape, dtype)
    values = solve_triangular(of.B, of.c + normal, lower=True, trans="T")  # L⁻¹ f(Z)
    prior_values = solve_triangular(
        of.L, jnp.where(of.used, wave(of.Z), 0.0), lower=True
    )
    weight = values - prior_values

    def piece(at: Array) -> Array:
        return of.hyper.mean + wave(at) + weight @ _seen(of, at, kernel)[0]

    found: Array = in_pieces(piece, candidates)
    return found


def _cholesky(K: Array) -> Array:
    """Return the lower factor; NaN where K is not positive definite."""
    L: Array = lax.linalg.cholesky(K, symmetrize_input=False)
    return L
