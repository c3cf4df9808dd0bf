"""What modes leave open, against normal densities, a grid and where nothing is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemtwin.surrogates.base import float64
from aemtwin.surrogates.laplace import LIGHT, REACH, spread

SD = np.array([1.0, 1.5, 0.5])
HALF = np.array([[1.0, 0.4, 0.0], [0.0, 0.8, 0.3], [0.2, 0.0, 0.3]])
COVARIANCE = HALF @ HALF.T
MIDDLE = np.array([0.3, -1.0, 2.0])


def spreads(evaluate, at, directions):
    """Spread modes of a density, in float64."""

    def run(at):
        depth = jax.lax.map(lambda t: evaluate(t)[0], at)
        return spread(evaluate, at, depth, SD[: at.shape[1]], directions=directions)

    with float64():
        return jax.device_get(jax.jit(run)(np.atleast_2d(np.asarray(at, float))))


def normal(theta):
    gap = theta - MIDDLE
    pull = jnp.linalg.solve(COVARIANCE, gap)
    return 0.5 * gap @ pull, pull


def moments(points, weight):
    mean = weight @ points
    return mean, (weight[:, None] * (points - mean)).T @ (points - mean)


def test_a_normal_density_keeps_its_mean_and_its_covariance():
    points, weight, evaluations = spreads(normal, MIDDLE, 3)
    assert (points.shape, weight.shape, int(evaluations)) == ((7, 3), (7,), 12)
    mean, covariance = moments(points, weight)
    np.testing.assert_allclose(mean, MIDDLE, atol=1e-9)
    np.testing.assert_allclose(covariance, COVARIANCE, rtol=1e-4)
    assert weight[0] == pytest.approx(1.0 - REACH**-2, rel=1e-4)


@pytest.mark.slow
def test_fewer_axes_are_the_widest():
    points, weight, _ = spreads(normal, MIDDLE, 1)
    values, axes = np.linalg.eigh(np.linalg.inv(COVARIANCE) * np.outer(SD, SD))
    gap = (points[1] - points[0]) / SD
    np.testing.assert_allclose(np.abs(gap @ axes[:, 0]), np.linalg.norm(gap))
    np.testing.assert_allclose(np.linalg.norm(gap), REACH / np.sqrt(values[0]))
    assert weight.sum() == pytest.approx(1.0)


@pytest.mark.slow
def test_a_long_tail_on_one_side_draws_the_mean_there():
    """A log-gamma density, as that of a noise that few points tell of."""
    k = 1.5

    def evaluate(t):
        return jnp.sum(jnp.exp(t) - k * t), jnp.exp(t) - k

    grid = np.linspace(-12, 4, 4001)
    density = np.exp(k * grid - np.exp(grid))
    share = density / density.sum()
    true = share @ grid
    points, weight, _ = spreads(evaluate, [np.log(k)], 1)
    mean, _ = moments(points, weight)
    assert true < mean[0] < np.log(k)  # on the way from the mode to the mean
    assert abs(mean[0] - true) < 0.5 * abs(np.log(k) - true)


def test_of_two_modes_each_has_the_mass_of_its_own_hill():
    """The narrow one is as high and has a quarter of the mass."""

    def evaluate(t):
        near, far = 0.5 * t @ t, 8.0 * (t - 9.0) @ (t - 9.0)
        slopes = jnp.stack([t, 16.0 * (t - 9.0)])
        return jnp.minimum(near, far), slopes[jnp.argmin(jnp.stack([near, far]))]

    for directions in (0, 1):
        points, weight, _ = spreads(evaluate, [[0.0], [9.0]], directions)
        narrow = weight[points[:, 0] > 5.0].sum()
        assert narrow == pytest.approx(0.2, abs=0.005)


@pytest.mark.slow
def test_points_without_a_value_and_light_ones_have_no_weight():
    def evaluate(t):
        return jnp.where(t[0] > 1.0, jnp.nan, 0.5 * t @ t), t

    points, weight, _ = spreads(evaluate, [0.0, 0.0], 2)
    np.testing.assert_array_equal(weight > 0, points[:, 0] <= 1.0)
    _, weight, _ = spreads(lambda t: (jnp.sum(t**2 + 9 * t**4), t), [0.0], 1)
    assert np.all((weight == 0) | (weight >= LIGHT * weight.max() * 0.999))


def test_where_nothing_has_a_value_the_first_mode_stands_for_all():
    _, weight, _ = spreads(lambda t: (jnp.nan * t[0], jnp.nan * t), [0.0, 0.0], 2)
    np.testing.assert_array_equal(weight, [1.0, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.slow
def test_a_mode_alone_is_not_looked_at():
    points, weight, evaluations = spreads(normal, MIDDLE, 0)
    np.testing.assert_array_equal(points, MIDDLE[None])
    assert (weight[0], int(evaluations)) == (1.0, 0)
