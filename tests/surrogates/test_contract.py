"""What every registered surrogate promises, checked for each of them."""

import jax
import numpy as np
import pytest

from aemtwin.acquisition import get as get_acquisition
from aemtwin.acquisition.analytic import Context
from aemtwin.environment import prepare_jax
from aemtwin.surrogates import available, get
from aemtwin.surrogates.base import Surrogate, bucket, count_compilations, pad

prepare_jax()  # some programs take long to compile: keep them between test runs

CANDIDATES = np.random.default_rng(7).random((60, 2))
X = np.random.default_rng(8).random((48, 2))
Y = np.sin(6 * X[:, 0]) + X[:, 1] ** 2
KEY = jax.random.key(3)


@pytest.fixture(params=sorted(available()))
def surrogate(request):
    return get(request.param)


def same(a, b):
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.variance, b.variance)


def test_it_satisfies_the_protocol_and_knows_its_name(surrogate):
    assert isinstance(surrogate, Surrogate)
    assert available()[surrogate.name]


def test_a_fit_goes_on_from_what_was_carried_bit_for_bit(surrogate):
    state = surrogate.init(2)
    for n in (10, 12):
        state, _ = surrogate.fit(jax.random.fold_in(KEY, n), state, pad(X[:n], Y[:n]))
    carried = {
        name: np.array(array.tolist(), array.dtype)  # as through a JSON journal
        for name, array in surrogate.carry(state).items()
    }
    data = pad(X[:13], Y[:13])
    one, info = surrogate.fit(KEY, state, data)
    two, told = surrogate.fit(KEY, surrogate.restore(carried, 2), data)
    assert info == told
    same(
        surrogate.predict(KEY, one, CANDIDATES), surrogate.predict(KEY, two, CANDIDATES)
    )
    for name, array in surrogate.carry(one).items():
        np.testing.assert_array_equal(array, surrogate.carry(two)[name])


def test_what_is_carried_is_small(surrogate):
    state, _ = surrogate.fit(KEY, surrogate.init(2), pad(X, Y))
    assert sum(a.nbytes for a in surrogate.carry(state).values()) < 1_000_000


def test_the_same_key_gives_the_same_bits(surrogate):
    data = pad(X[:14], Y[:14])
    runs = [surrogate.fit(KEY, surrogate.init(2), data) for _ in range(2)]
    assert runs[0][1] == runs[1][1]
    same(*(surrogate.predict(KEY, state, CANDIDATES) for state, _ in runs))


def test_inside_a_bucket_nothing_is_compiled_after_the_first_step(surrogate):
    score, state = get_acquisition("log_ei"), surrogate.init(2)
    keys = list(jax.random.split(KEY, 60))
    counts: dict[int, list[int]] = {}
    for n in range(12, 30):
        fresh = get(surrogate.name)  # another object is no reason to compile
        with count_compilations() as seen:
            state, _ = fresh.fit(keys[n], state, pad(X[:n], Y[:n]))
            found = fresh.predict(keys[n + 30], state, CANDIDATES.copy())
            measured = np.arange(60) < n
            score(found, Context(best=Y[:n].max(), measured=measured))
        counts.setdefault(bucket(n), []).append(seen.count)
    assert set(counts) == {16, 24, 32}
    for capacity, steps in counts.items():
        assert steps[0] <= 3, f"{steps[0]} programs at capacity {capacity}"
        assert not any(steps[1:]), f"recompiled at capacity {capacity}: {steps}"


@pytest.mark.parametrize(
    ("points", "values"),
    [
        (X[:10], np.full(10, 3.5e-12)),
        (X[:10], np.zeros(10)),
        (np.repeat(X[:3], 4, axis=0), np.tile(Y[:3], 4)),
        (np.repeat(X[:3], 4, axis=0), np.arange(12.0)),
        (X[:1], Y[:1]),
        (X[:10], 1e9 + Y[:10]),
        (np.stack([X[:10, 0], 0 * X[:10, 0]], axis=1), Y[:10]),
    ],
    ids=["constant", "zero", "repeats", "clashes", "one point", "far off", "a line"],
)
def test_degenerate_data_give_finite_posteriors(surrogate, points, values):
    state, info = surrogate.fit(KEY, surrogate.init(2), pad(points, values))
    found = surrogate.predict(KEY, state, CANDIDATES)
    assert info["finite"] == 1
    assert all(type(value) in (int, float) for value in info.values())
    assert all(np.isfinite(value) for value in info.values())
    assert found.mean.shape == found.variance.shape == (60,)
    assert np.all(np.isfinite(found.mean))
    assert np.all(np.isfinite(found.variance))
    assert np.all(found.variance >= 0)


def test_the_unit_of_y_changes_nothing_but_the_unit(surrogate):
    found = []
    for unit in (1.0, 2.0**-30):
        state, _ = surrogate.fit(KEY, surrogate.init(2), pad(X[:20], unit * Y[:20]))
        at = surrogate.predict(KEY, state, CANDIDATES)
        found.append((at.mean / unit, at.variance / unit**2))
    for plain, scaled in zip(*found, strict=True):
        np.testing.assert_allclose(scaled, plain, rtol=1e-6, atol=1e-9)


def test_a_fit_leaves_global_settings_alone(surrogate):
    before = jax.config.jax_enable_x64
    surrogate.fit(KEY, surrogate.init(2), pad(X[:5], Y[:5]))
    assert jax.config.jax_enable_x64 is before
