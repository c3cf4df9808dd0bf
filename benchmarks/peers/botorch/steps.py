"""Steps and whole campaigns with BoTorch 0.18.1; runs in its own environment alone.

    python -m benchmarks.peers.botorch.steps DATA.npz MODEL --n 50 100 --repeat 3
    python -m benchmarks.peers.botorch.steps DATA.npz MODEL --campaign 20 200

A step is what its users write for a finite pool: `SingleTaskGP`, `fit_gpytorch_mll`,
mean and variance over the pool, upper confidence bound, argmax; float64, one thread.
The kernel is Matérn-5/2 with a length for each dimension and BoTorch's own priors; the
rest are its defaults, so y is standardised inside. "warm" begins a fit from the
`state_dict` of the last one, where the plain one begins from the modes of the priors.

The posterior is read of a batch of sets of one candidate each, as an acquisition reads
it. "plain" reads all candidates at once, without gradients and with GPyTorch's
`fast_pred_var`, which costs many times more on a pool of 2500.
"""

from __future__ import annotations

import warnings

import gpytorch
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from gpytorch.mlls import ExactMarginalLogLikelihood

from benchmarks.peers.deciding import main, upper

TOGETHER = 2048  # sets that an acquisition is given at once, as optimize_acqf_discrete


class Counted(ExactMarginalLogLikelihood):
    """A marginal likelihood that counts how often it is computed."""

    count = 0

    def forward(self, *given, **also):
        self.count += 1
        return super().forward(*given, **also)


def fitted(X, y, before):
    """Return the model, and how many likelihoods its fit computed."""
    kernel = get_covar_module_with_dim_scaled_prior(X.shape[-1], use_rbf_kernel=False)
    model = SingleTaskGP(X, y[:, None], covar_module=kernel)
    if before is not None:  # all but what standardises y, which is new
        kept = {k: v for k, v in before.items() if not k.startswith("outcome")}
        model.load_state_dict(kept, strict=False)
    likelihood = Counted(model.likelihood, model)
    fit_gpytorch_mll(likelihood)
    return model, likelihood.count


def plainly(model, pool):
    with torch.no_grad(), gpytorch.settings.fast_pred_var():
        posterior = model.posterior(pool)
        return posterior.mean.view(-1), posterior.variance.view(-1)


def in_batches(model, pool):
    with torch.no_grad():
        each = [model.posterior(part[:, None]) for part in pool.split(TOGETHER)]
        mean = torch.cat([one.mean.view(-1) for one in each])
        return mean, torch.cat([one.variance.view(-1) for one in each])


def single_task(read=in_batches, *, warm=False):
    def begin(at, evaluations):
        assert evaluations is None, "its fit ends by itself"
        pool, y = torch.as_tensor(at["X"]), torch.as_tensor(at["y"])
        last = [None]

        def decide(measured, seed):
            torch.manual_seed(seed)
            model, count = fitted(pool[measured], y[measured], last[0])
            if warm:
                last[0] = model.state_dict()
            mean, variance = (part.numpy() for part in read(model, pool))
            best = upper(mean, variance, measured)
            return best, mean, {"evaluations": count}

        return decide

    return begin


MODELS = {
    "SingleTaskGP": single_task(),
    "SingleTaskGP warm": single_task(warm=True),
    "SingleTaskGP plain": single_task(plainly),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # a fit that SciPy ends early is tried again
    names = ("torch", "botorch", "gpytorch", "linear_operator")
    main(MODELS, names, warm_up=(1, 1), doc=__doc__)
