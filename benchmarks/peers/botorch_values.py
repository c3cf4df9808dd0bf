"""Acquisition values of BoTorch, as stored in tests/acquisition/botorch.json.

    BOTORCH/bin/python benchmarks/peers/botorch_values.py tests/acquisition/botorch.json

Run by an environment of its own, with botorch 0.18.1 and torch 2.13.0 on a CPU; nothing
of aemtwin is imported. Inputs are stored beside outputs. Closed forms are exact; those
of `qMaxValueEntropy` and `qKnowledgeGradient` are averages over samples, and the file
says how many. `log_gain` is from mpmath with 300 digits.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from pathlib import Path

import botorch
import gpytorch
import mpmath
import torch
from botorch.acquisition.analytic import (
    ExpectedImprovement,
    LogExpectedImprovement,
    LogProbabilityOfImprovement,
    ProbabilityOfImprovement,
    UpperConfidenceBound,
)
from botorch.acquisition.knowledge_gradient import qKnowledgeGradient
from botorch.acquisition.max_value_entropy_search import qMaxValueEntropy
from botorch.models import SingleTaskGP
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.distributions import MultivariateNormal

Z = [-40, -30, -20, -12, -8, -5, -3.5, -3, -2.9, -2, -1, -0.3, 0, 0.3, 1, 2, 4, 8]
SD = [1e-6, 1e-3, 0.1, 1.0, 30.0]
BEST, BETA = 0.7, 2.5
PEAKS = [1.1, 1.3, 1.4, 1.9]
Y_SAMPLES, FANTASIES = 16384, 4096


class Marginals(Model):
    """A model whose posterior at x = [mean, sd] has that mean and sd."""

    num_outputs = 1

    def posterior(self, X, **_):
        mean, sd = X[..., 0], X[..., 1]  # (b, 1)
        return GPyTorchPosterior(MultivariateNormal(mean, torch.diag_embed(sd**2)))


def analytic() -> dict[str, object]:
    at = torch.tensor([[BEST + z * sd, sd] for sd in SD for z in Z]).unsqueeze(1)
    model = Marginals()
    found = {
        "ei": ExpectedImprovement(model, BEST),
        "log_ei": LogExpectedImprovement(model, BEST),
        "poi": ProbabilityOfImprovement(model, BEST),
        "log_poi": LogProbabilityOfImprovement(model, BEST),
        "ucb": UpperConfidenceBound(model, BETA**2),  # its beta is squared
    }
    return {
        "mean": at[:, 0, 0].tolist(),
        "sd": at[:, 0, 1].tolist(),
        "best": BEST,
        "beta": BETA,
        **{name: score(at).tolist() for name, score in found.items()},
    }


def process() -> tuple[SingleTaskGP, torch.Tensor]:
    X = torch.tensor([[0.05], [0.3], [0.55], [0.9]])
    y = torch.tensor([[0.2], [1.0], [0.8], [-0.5]])
    noise = torch.full_like(y, 1e-2)
    kernel = gpytorch.kernels.MaternKernel(2.5)
    kernel.lengthscale = 0.2
    mean = gpytorch.means.ZeroMean()
    model = SingleTaskGP(
        X, y, noise, mean_module=mean, covar_module=kernel, outcome_transform=None
    )
    return model.eval(), torch.linspace(0, 1, 21).unsqueeze(-1)


def middles(*shape: int) -> SobolQMCNormalSampler:
    """In place of draws, the means of equal parts of the normal distribution.

    An average over them is exact for what is linear in each part.
    """
    edges = torch.special.ndtri(torch.linspace(0, 1, FANTASIES + 1))
    density = torch.exp(-0.5 * edges**2) / math.sqrt(2 * math.pi)
    sampler = SobolQMCNormalSampler(torch.Size([FANTASIES]))
    parts = -FANTASIES * torch.diff(density)
    sampler.register_buffer("base_samples", parts.view(-1, *shape))
    return sampler


def sampled() -> dict[str, object]:
    """MES of nearly noise-free values, and KG with the inner maximum over the pool."""
    torch.manual_seed(0)
    model, pool = process()
    joint = model.posterior(pool)
    covariance = joint.distribution.covariance_matrix
    exact = Marginals()
    mes = qMaxValueEntropy(
        exact, torch.tensor([[0.0, 1.0]]), num_y_samples=Y_SAMPLES, train_inputs=None
    )
    mes.posterior_max_values = torch.tensor(PEAKS).unsqueeze(-1)
    at = torch.stack([joint.mean[:, 0], joint.variance[:, 0].sqrt()], -1).unsqueeze(1)
    gains = []
    for x in pool:  # the highest mean over the pool after each value, then its average
        fantasy = model.fantasize(x[None], sampler=middles(1))
        best = fantasy.posterior(pool).mean.squeeze(-1).argmax(-1)
        sampler = middles(1, 1)
        kg = qKnowledgeGradient(
            model, FANTASIES, sampler=sampler, current_value=joint.mean.max()
        )
        gains.append(kg(torch.cat([x[None], pool[best]])[None]).item())
        assert torch.equal(sampler.base_samples, middles(1, 1).base_samples)
    return {
        "mean": joint.mean[:, 0].tolist(),
        "covariance": [[round(v, 12) for v in row] for row in covariance.tolist()],
        "noise": 1e-2,
        "peaks": PEAKS,
        "mes": mes(at).tolist(),
        "kg": gains,
    }


def gains() -> dict[str, list[float]]:
    """The log of γφ/(2Φ) − log Φ, with as many digits as it takes."""
    mpmath.mp.dps = 600
    gamma = [-1e4, -300.0, -30.0, -8.0, -3.001, -2.999, -1.0, 0.0, 0.5, 1.0]
    gamma += [2.999, 3.001, 5.0, 8.0, 10.0, 30.0]
    found = []
    for g in gamma:
        x = mpmath.mpf(g)
        cdf = mpmath.erfc(-x / mpmath.sqrt(2)) / 2
        gain = x * mpmath.npdf(x) / (2 * cdf) - mpmath.log(cdf)
        found.append(float(mpmath.log(gain)))
    return {"gamma": gamma, "log_gain": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    said = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    least = gpytorch.settings.min_variance(1e-14, 1e-14, 1e-14)  # keep tiny ones
    with torch.no_grad(), least, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ExpectedImprovement, in place of its log
        found = {
            "versions": {
                "botorch": botorch.__version__,
                "gpytorch": gpytorch.__version__,
                "torch": torch.__version__,
                "mpmath": mpmath.__version__,
            },
            "samples": {"mes": Y_SAMPLES, "kg": FANTASIES},
            "analytic": analytic(),
            "sampled": sampled(),
            "gains": gains(),
        }
    assert all(map(math.isfinite, found["sampled"]["kg"]))
    said.out.write_text(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
