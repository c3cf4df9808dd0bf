"""Steps and whole campaigns with gpCAM 8.6.1; runs in its own environment alone.

    python -m benchmarks.peers.gpcam.steps DATA.npz MODEL --n 50 100 --repeat 3
    python -m benchmarks.peers.gpcam.steps DATA.npz MODEL --campaign 20 200

A step is what its users write: `tell` the new points, `train` by its method "local"
(L-BFGS-B with a gradient, from where it was), read mean and variance over the pool,
upper confidence bound, argmax. The kernel is its default, Matérn-3/2 with a length for
each dimension, and the mean its default, that of y. Its default noise is a hundredth of
the mean of y, which here is about 0, so the noise is learned, by `noise_function`, as
its manual has it. "local" makes five searches by its default; "local, 1 start" one.

Its variances are read `CHUNK` candidates at a time: it makes their whole covariance.
"""

from __future__ import annotations

import warnings

import numpy as np
from gpcam import GPOptimizer

from benchmarks.peers.deciding import main, upper

CHUNK = 100
BEGIN = np.array([1.0, 0.25, 0.25, 0.01])  # variance, two lengths, variance of noise
BOUNDS = np.array([[1e-3, 1e2], [0.01, 10.0], [0.01, 10.0], [1e-4, 1.0]])


def noise(x, hyperparameters):
    return np.full(len(x), hyperparameters[-1])


def noise_gradient(x, hyperparameters):
    out = np.zeros((len(hyperparameters), len(x)))
    out[-1] = 1.0
    return out


def local(starts):
    def begin(at, evaluations):
        assert evaluations is None, "its fit ends by itself"
        pool, y = at["X"], at["y"]
        made: list[GPOptimizer] = []
        told: list[int] = []

        def decide(measured, seed):
            np.random.seed(seed)  # noqa: NPY002 (gpCAM draws from it)
            if not made:
                made.append(GPOptimizer(**first(pool[measured], y[measured])))
            else:
                new = np.array([i for i in measured if i not in told])
                made[0].tell(pool[new], y[new], append=True)
            told[:] = list(measured)
            optimizer = made[0]
            optimizer.train(BOUNDS, method="local", n_restarts=starts)
            parts = np.array_split(pool, -(-len(pool) // CHUNK))
            mean = [optimizer.posterior_mean(part)["m(x)"] for part in parts]
            each = [
                optimizer.posterior_covariance(part, variance_only=True)["v(x)"]
                for part in parts
            ]
            mean, variance = np.concatenate(mean).ravel(), np.concatenate(each).ravel()
            return upper(mean, variance, measured), mean, {}

        return decide

    return begin


def first(X, y):
    return {
        "x_data": X,
        "y_data": y,
        "init_hyperparameters": BEGIN,
        "noise_function": noise,
        "noise_function_grad": noise_gradient,
    }


MODELS = {"local": local(5), "local, 1 start": local(1)}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(MODELS, ("gpcam", "fvgp", "numpy", "scipy"), warm_up=(1, 1), doc=__doc__)
