"""The minimiser against SciPy, and where the objective has no value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from aemtwin.surrogates.base import float64
from aemtwin.surrogates.exact import prior
from aemtwin.surrogates.search import LINE_STEPS, lowest, minimise

KEY = jax.random.key(0)


def valley(theta):
    a, b = theta[:-1], theta[1:]
    value = jnp.sum(100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2)
    down = -400.0 * a * (b - a**2) - 2.0 * (1.0 - a)
    return value, jnp.pad(down, (0, 1)) + jnp.pad(200.0 * (b - a**2), (1, 0))


def found(evaluate, start, limit=200):
    with float64():
        run = jax.jit(lambda start: minimise(evaluate, start, limit=limit))
        return jax.device_get(run(np.asarray(start, np.float64)))


@pytest.mark.parametrize("p", [2, 4, 7])
def test_a_bent_valley_is_followed_to_where_scipy_ends(p):
    start = np.tile([-1.2, 1.0], p)[:p]
    ours = found(valley, start)
    theirs = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B")
    np.testing.assert_allclose(ours.value, rosen(ours.theta), rtol=1e-9)
    np.testing.assert_allclose(ours.theta, theirs.x, atol=1e-2)  # flat to 1e-2
    assert ours.evaluations <= 2 * theirs.nfev


@pytest.mark.parametrize("nothing", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("what", ["value", "slope", "both"])
def test_a_step_to_where_there_is_no_value_is_taken_back(nothing, what):
    def evaluate(theta):
        value, slope = jnp.sum(jnp.exp(theta) - 3.0 * theta), jnp.exp(theta) - 3.0
        out = jnp.any(jnp.abs(theta) > 1.3)  # the minimum, log 3, lies near the wall
        no_value = out & (what != "slope")
        return (
            jnp.where(no_value, nothing, value),
            jnp.where(out & (what != "value"), nothing, slope),
        )

    end = found(evaluate, [-1.0, 0.5])
    np.testing.assert_allclose(end.theta, np.log(3.0), atol=1e-2)
    assert np.isfinite(end.value)


def test_a_start_without_a_value_ends_at_once_and_is_never_the_lowest():
    def evaluate(theta):
        out = theta[0] > 5.0
        return jnp.where(out, jnp.nan, theta @ theta), 2.0 * theta

    end = found(evaluate, [9.0, 0.0])
    assert (end.value, end.evaluations) == (np.inf, 1)
    with float64():
        far = jnp.array([9.0, 0.0, 0.0])
        theta, _, start = jax.device_get(lowest(KEY, far, evaluate, starts=3, limit=50))
    np.testing.assert_allclose(theta, 0.0, atol=1e-2)
    assert start > 0


@pytest.mark.parametrize("limit", [1, 5, 17])
def test_the_limit_is_exceeded_by_no_more_than_one_line_search(limit):
    end = found(valley, [-1.2, 1.0, -1.2, 1.0], limit)
    assert limit <= end.evaluations < limit + LINE_STEPS


def test_a_flat_start_is_its_own_end():
    end = found(lambda theta: (theta @ theta, 2.0 * theta), [0.0, 1e-3])
    assert end.evaluations == 1
    np.testing.assert_array_equal(end.theta, [0.0, 1e-3])


def test_the_lowest_of_several_modes_is_kept_and_its_start_is_told():
    middle, _ = prior(1)

    def evaluate(theta):  # two wells along the noise, the louder one deeper
        z = theta[-1] - middle[-1]
        slope = jnp.zeros_like(theta).at[-1].set(4.0 * z * (z**2 - 1.0) - 0.5)
        return (z**2 - 1.0) ** 2 - 0.5 * z, slope

    with float64():
        quiet = jnp.asarray(middle - [0.0, 0.0, 1.0])
        (one, _, _), (many, evaluations, start) = jax.device_get(
            [lowest(KEY, quiet, evaluate, starts=n, limit=50) for n in (1, 4)]
        )
    assert one[-1] < middle[-1] < many[-1]
    assert start > 0
    assert evaluations >= 4
