"""One step of a GP campaign: fit with a warm start, read the pool, score, choose.

    pytest benchmarks/test_gp_step.py --benchmark-only

Each round is the step that takes the (n)th measurement, from the state that the step
before left. Compilation is outside the clock and must be complete: `extra_info` keeps
the number of programs met inside it, with the quality of the map.
"""

import jax
import numpy as np
import pytest

from aemtwin.acquisition import get as get_acquisition
from aemtwin.acquisition.analytic import Context
from aemtwin.surrogates import get
from aemtwin.surrogates.base import bucket, count_compilations, pad

SIDE = 50
NOISE = 0.1


def field(X):
    """A smooth map with structure on two scales, standard deviation about 0.6."""
    x, y = X.T
    return np.sin(9 * x) * np.cos(7 * y) + 0.5 * np.sin(20 * x * y)


@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
@pytest.mark.parametrize("n", [50, 100, 200])
def test_gp_step_over_a_full_map(benchmark, n, kernel):
    """Learn from n measurements and choose among 2,500 candidates."""
    rng = np.random.default_rng(n)
    axis = np.linspace(0, 1, SIDE)
    pool = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    f = field(pool)
    chosen = rng.permutation(len(pool))[:n]
    y = f[chosen] + NOISE * rng.normal(size=n)
    measured = np.isin(np.arange(len(pool)), chosen)
    surrogate, acquisition = get("gp", kernel=kernel), get_acquisition("log_ei")
    key = jax.random.key(n)

    def step(state, data):
        state, info = surrogate.fit(key, state, data)
        posterior = surrogate.predict(key, state, pool)
        scores = acquisition(posterior, Context(data.y[data.mask].max(), measured))
        return int(scores.argmax()), posterior, state, info

    before = n - 1  # the same bucket, so that this compiles all that the clock sees
    _, _, state, _ = step(surrogate.init(2), pad(pool[chosen[:before]], y[:before]))
    data = pad(pool[chosen], y)

    with count_compilations() as seen:
        best, posterior, _, info = benchmark(step, state, data)

    rmse = float(np.sqrt(np.mean((posterior.mean - f) ** 2)))
    benchmark.extra_info.update(
        n=n,
        m=len(pool),
        capacity=bucket(n),
        rmse=rmse,
        field_sd=float(f.std()),
        noise=NOISE,
        evaluations=info["evaluations"],
        compilations=seen.count,
    )
    assert not measured[best]
    assert seen.count == 0
    assert rmse < {50: 0.8, 100: 0.5, 200: 0.3}[n] * f.std()
