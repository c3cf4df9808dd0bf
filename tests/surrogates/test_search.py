"""The minimiser against SciPy, and where the objective has no value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from aemtwin.surrogates.base import float64
from aemtwin.surrogates.exact import prior
from aemtwin.surrogates.search import LINE_STEPS, minimise, modes

KEY = jax.random.key(0)
MEDIAN, SD = prior("matern52", 1)


def sought(evaluate, start, starts):
    def run(start):
        return modes(
            KEY,
            jnp.stack([start, start]),
            jnp.array([True, False]),
            evaluate,
            whole=True,
            median=MEDIAN,
            sd=SD,
            starts=starts,
            limit=50,
            kept=2,
        )

    return jax.device_get(jax.jit(run)(np.asarray(start, np.float64)))


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


@pytest.mark.slow
def test_a_start_without_a_value_ends_at_once_and_is_never_the_lowest():
    def evaluate(theta):
        out = theta[0] > 5.0
        return jnp.where(out, jnp.nan, theta @ theta), 2.0 * theta

    end = found(evaluate, [9.0, 0.0])
    assert (end.value, end.evaluations) == (np.inf, 1)
    with float64():
        end = sought(evaluate, [9.0, 0.0, 0.0], starts=3)
    np.testing.assert_allclose(end.theta, 0.0, atol=1e-2)
    np.testing.assert_array_equal(end.weight, [1.0, 0.0])
    assert end.start > 0


@pytest.mark.parametrize("limit", [1, 5, 17])
def test_the_limit_is_exceeded_by_no_more_than_one_line_search(limit):
    end = found(valley, [-1.2, 1.0, -1.2, 1.0], limit)
    assert limit <= end.evaluations < limit + LINE_STEPS


def test_a_flat_start_is_its_own_end():
    end = found(lambda theta: (theta @ theta, 2.0 * theta), [0.0, 1e-3])
    assert end.evaluations == 1
    np.testing.assert_array_equal(end.theta, [0.0, 1e-3])


def wells(theta):
    """Two wells along the noise, the louder one deeper, and a bowl across."""
    z = theta - MEDIAN
    value = (z[-1] ** 2 - 1.0) ** 2 - 0.5 * z[-1] + 0.5 * z[:-1] @ z[:-1]
    slope = z.at[-1].set(4.0 * z[-1] * (z[-1] ** 2 - 1.0) - 0.5)
    return value, slope


def test_the_lowest_of_several_modes_comes_first_and_its_start_is_told():
    with float64():
        quiet = MEDIAN - np.array([0.0, 0.0, 1.0])
        one, many = (sought(wells, quiet, starts=n) for n in (1, 4))
    assert one.theta[0, -1] < MEDIAN[-1] < many.theta[0, -1]
    assert many.value[0] < many.value[1]
    assert (one.start, many.start > 0) == (0, True)
    assert many.evaluations >= 4


def test_modes_share_the_probability_by_their_volume():
    """Each well against a sum over a fine grid on its side of the hill."""
    with float64():
        quiet = MEDIAN - np.array([0.0, 0.0, 1.0])
        end = sought(wells, quiet, starts=4)
    z = np.linspace(-3, 3, 6001)
    density = np.exp(-((z**2 - 1.0) ** 2) + 0.5 * z)
    share = density[z > -0.13].sum() / density.sum()  # the hill is at -0.13
    assert end.weight[0] == pytest.approx(share, abs=0.05)
    assert end.weight.sum() == pytest.approx(1.0)


@pytest.mark.slow
def test_ends_that_are_the_same_mode_count_once():
    with float64():
        end = sought(lambda t: (t @ t, 2.0 * t), MEDIAN, starts=4)
    np.testing.assert_array_equal(end.weight, [1.0, 0.0])
    np.testing.assert_array_equal(end.theta[1], end.theta[0])
    assert np.isinf(end.value[1])
