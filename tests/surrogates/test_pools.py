"""A pool that is followed against one read anew, and to the bit when resumed."""

import jax
import numpy as np
import pytest

from aemtwin.environment import prepare_jax
from aemtwin.surrogates import pools
from aemtwin.surrogates.base import Resident, count_compilations, pad
from aemtwin.surrogates.gp import GP

prepare_jax()

KEY = jax.random.key(5)
RNG = np.random.default_rng(9)
X, POOL = RNG.random((80, 2)), RNG.random((700, 2))
Y = 2.0 + np.sin(8 * X[:, 0]) * np.cos(5 * X[:, 1]) + 0.1 * RNG.normal(size=80)
GROWING = GP(refit_every=1000, drift=np.inf)


def followed(gp, numbers, y=Y, pool=None, state=None):
    """States, pools and posteriors of a run that looks at each step."""
    state = gp.init(2) if state is None else state
    for n in numbers:
        state, info = gp.fit(KEY, state, pad(X[:n], y[:n]))
        pool, posterior = gp.look(state, pool, POOL)
        yield n, state, info, pool, posterior


SUM = pytest.param("rbf + matern12", marks=pytest.mark.slow)


@pytest.mark.parametrize("kernel", ["matern52", SUM])
def test_sixty_points_followed_are_the_posterior_read_anew(kernel):
    gp = GP(kernel=kernel, refit_every=1000, drift=np.inf)
    assert isinstance(gp, Resident)
    *_, (_, state, _, pool, posterior) = followed(gp, range(20, 80))
    anew = gp.predict(KEY, state, POOL)
    spread = np.std(Y)
    assert np.abs(posterior.mean - anew.mean).max() < 1e-4 * spread
    assert np.abs(posterior.variance - anew.variance).max() < 1e-4 * spread**2
    assert all(seat.V.dtype == np.float32 for seat in pool.seats)


def test_every_mode_is_followed_and_weighs_as_it_does():
    begin = GROWING.init(2)
    theta, weight = begin.theta, begin.weight
    theta[:2] = np.log([[1.0, 0.2, 0.3, 0.1], [0.8, 0.6, 0.4, 0.3]])
    weight[:2] = 0.3, 0.7
    state = begin._replace(level=np.array([2.0, 0.7]), fitted=20)
    *_, (_, last, _, pool, found) = followed(GROWING, range(20, 30), state=state)
    assert len(pool.seats) == 2
    anew = GROWING.predict(KEY, last, POOL)
    np.testing.assert_allclose(found.mean, anew.mean, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.variance, anew.variance, rtol=0, atol=1e-4)


def test_a_resumed_pool_is_the_same_to_the_bit():
    for n, state, _, _, posterior in followed(GROWING, range(20, 70)):
        if n % 7 == 0 or n in (32, 33, 64, 65):
            restored = GROWING.restore(GROWING.carry(state), 2)
            again, _ = GROWING.fit(KEY, restored, pad(X[:n], Y[:n]))
            _, other = GROWING.look(again, None, POOL)
            np.testing.assert_array_equal(posterior.mean, other.mean)
            np.testing.assert_array_equal(posterior.variance, other.variance)


def test_values_that_changed_are_followed_from_the_beginning():
    later = Y + 0.5 * X[:, 0]
    *_, (_, state, _, pool, _) = followed(GROWING, range(20, 25))
    *_, (_, state, _, _, posterior) = followed(
        GROWING, [25, 26], later, pool, state._replace(mixture=None)
    )
    anew = GROWING.predict(KEY, state, POOL)
    np.testing.assert_allclose(posterior.mean, anew.mean, rtol=0, atol=1e-4)


def test_inside_a_capacity_nothing_is_compiled_after_the_first_row():
    run = followed(GROWING, range(33, 60))
    next(run), next(run)
    with count_compilations() as seen:
        for _ in range(20):
            next(run)
    assert seen.count == 0


def test_a_search_begins_the_pool_anew():
    gp = GP(refit_every=5, drift=np.inf)
    for n, state, info, pool, posterior in followed(gp, range(20, 31)):
        anew = gp.predict(KEY, state, POOL)
        np.testing.assert_allclose(posterior.mean, anew.mean, rtol=0, atol=1e-4)
        assert pool.n == n
        assert info["searched"] == int(n % 5 == 0)


def test_a_pool_that_is_too_large_is_left_to_predict(monkeypatch):
    monkeypatch.setattr(pools, "MOST", 1000)
    state, _ = GROWING.fit(KEY, GROWING.init(2), pad(X[:20], Y[:20]))
    assert GROWING.look(state, None, POOL) == (None, None)
