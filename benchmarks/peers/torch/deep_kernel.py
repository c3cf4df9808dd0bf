"""A campaign with a deep kernel of GPyTorch; runs in its own environment alone.

    python deep_kernel.py DATA.npz MODEL --seed 0 --first 20 --last 200 --batch 10

`benchmarks/quality.py` makes DATA.npz: X (m, d), f and y (m,), order (m,), coordinates
(how many columns are the position). A step is what GPyTorch's tutorial of deep kernels
writes (examples/06_PyTorch_NN_Integration_DKL): a net made anew, its features scaled to
the box of ±1 by their range, a squared exponential with a length for each, a constant
mean, all trained together by Adam on the marginal likelihood; an exact kernel in place
of its grid, which suits thousands of points. Then mean and variance over the pool, and
the `batch` highest mean + 2 sd of those not measured yet. float32, as in the tutorial.
One JSON line at the end.
"""

from __future__ import annotations

import argparse
import json
import time

import gpytorch
import numpy as np
import torch

MODELS = {  # widths of the net, rate and steps of Adam, what the net reads
    "tutorial": ((1000, 500, 50), 0.01, 60, "all"),
    "tutorial, patch": ((1000, 500, 50), 0.01, 60, "patch"),
    "long": ((64, 64), 0.005, 1000, "all"),
    "long, patch": ((64, 64), 0.005, 1000, "patch"),
}
KAPPA = 2.0


class DeepKernel(gpytorch.models.ExactGP):
    def __init__(self, X, y, likelihood, widths):
        super().__init__(X, y, likelihood)
        layers, before = [], X.shape[1]
        for width in widths:
            layers += [torch.nn.Linear(before, width), torch.nn.ReLU()]
            before = width
        self.net = torch.nn.Sequential(*layers, torch.nn.Linear(before, 2))
        self.scale = gpytorch.utils.grid.ScaleToBounds(-1.0, 1.0)
        self.mean = gpytorch.means.ConstantMean()
        kernel = gpytorch.kernels.RBFKernel(ard_num_dims=2)
        self.kernel = gpytorch.kernels.ScaleKernel(kernel)

    def forward(self, X):
        z = self.scale(self.net(X))
        return gpytorch.distributions.MultivariateNormal(self.mean(z), self.kernel(z))


def refit(model, X, y, pool, seed):
    """Return mean and variance of the latent f over the pool, in the unit of y."""
    torch.manual_seed(seed)
    widths, rate, steps, _ = MODELS[model]
    shift, spread = y.mean(), y.std()
    u = (y - shift) / spread
    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    made = DeepKernel(X, u, likelihood, widths)
    made.train()
    likelihood.train()
    solver = torch.optim.Adam(made.parameters(), lr=rate)
    evidence = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, made)
    for _ in range(steps):
        solver.zero_grad()
        loss = -evidence(made(X), u)
        loss.backward()
        solver.step()
    made.eval()
    likelihood.eval()
    with torch.no_grad(), gpytorch.settings.fast_pred_var():
        found = made(pool)
        mean, variance = found.mean, found.variance
    return (shift + spread * mean).numpy(), (spread**2 * variance).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("--last", type=int, default=200)
    parser.add_argument("--batch", type=int, default=10)
    said = parser.parse_args()
    torch.set_num_threads(1)
    at = dict(np.load(said.data))
    reads = MODELS[said.model][3]
    columns = slice(int(at["coordinates"]) if reads == "patch" else 0, None)
    pool = torch.tensor(at["X"][:, columns], dtype=torch.float32)
    y = torch.tensor(at["y"], dtype=torch.float32)
    measured, rmse, spent = list(map(int, at["order"][: said.first])), {}, 0.0
    while True:
        begin, n = time.process_time(), len(measured)
        mean, variance = refit(
            said.model, pool[measured], y[measured], pool, 1000 * said.seed + n
        )
        scores = mean + KAPPA * np.sqrt(np.maximum(variance, 0.0))
        scores[measured] = -np.inf
        spent += time.process_time() - begin
        rmse[n] = float(np.sqrt(np.mean((mean - at["f"]) ** 2)))
        if n >= said.last:
            break
        count = min(said.batch, said.last - n)
        measured += map(int, np.argsort(-scores, kind="stable")[:count])
    line = {"measured": measured, "rmse": rmse, "cpu_s": spent}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
