"""Hypervolumes of BoTorch, as stored in tests/acquisition/botorch_hypervolume.json.

    BOTORCH/bin/python benchmarks/peers/botorch_hypervolume.py \
        tests/acquisition/botorch_hypervolume.json

Run by an environment of its own, with botorch 0.18.1 and torch 2.13.0 on a CPU; nothing
of aemtwin is imported. Inputs are stored beside outputs. `ehvi` is BoTorch's closed
form, which loses digits far below the front; `log_ehvi` there is from mpmath with 400
digits, over BoTorch's own cells.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path

import botorch
import mpmath
import numpy as np
import torch
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.models.model import Model
from botorch.posteriors.torch import TorchPosterior
from botorch.utils.multi_objective.box_decompositions.non_dominated import (
    FastNondominatedPartitioning,
)
from botorch.utils.multi_objective.hypervolume import (
    Hypervolume,
    infer_reference_point,
)
from botorch.utils.multi_objective.pareto import is_non_dominated

FRONTS = ((2, 1), (2, 7), (2, 30), (3, 1), (3, 6), (3, 25))  # outputs, values
CANDIDATES, FAR = 40, (-3.0, -10.0, -30.0, -100.0)  # the latter in units of the front


class Marginals(Model):
    """A model whose posterior at x = [mean..., sd...] has those."""

    def __init__(self, p: int) -> None:
        super().__init__()
        self.p = p

    @property
    def num_outputs(self) -> int:
        return self.p

    def posterior(self, X, **_):
        mean, sd = X[..., : self.p], X[..., self.p :]
        return TorchPosterior(torch.distributions.Normal(mean, sd))


def exact(cells, mean: list[float], sd: list[float]) -> float:
    """The logarithm of EHVI with as many digits as it takes."""

    def excess(edge: float, middle: float, width: float) -> mpmath.mpf:
        if math.isinf(edge):
            return mpmath.mpf(0)
        z = (mpmath.mpf(middle) - mpmath.mpf(edge)) / width
        cdf = mpmath.erfc(-z / mpmath.sqrt(2)) / 2
        return width * (mpmath.npdf(z) + z * cdf)

    total = mpmath.mpf(0)
    for low, high in zip(*(bound.tolist() for bound in cells), strict=True):
        parts = zip(low, high, mean, sd, strict=True)
        total += mpmath.fprod(
            excess(a, mu, s) - excess(b, mu, s) for a, b, mu, s in parts
        )
    return float(mpmath.log(total))


def case(random: np.random.Generator, p: int, n: int) -> dict[str, object]:
    direction = np.abs(random.normal(size=(n, p)))
    front = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    inside = 0.7 * front * random.uniform(size=(n, 1))  # dominated by its own
    values = random.permutation(np.concatenate([front, inside])).round(6)
    y = torch.tensor(values)
    best = is_non_dominated(y)
    reference = torch.full((p,), -0.05)
    mean = random.uniform(-0.3, 1.2, size=(CANDIDATES, p)).round(6)
    sd = np.exp(random.uniform(-4.0, 0.0, size=(CANDIDATES, p))).round(6)
    cut = FastNondominatedPartitioning(reference, y)
    score = ExpectedHypervolumeImprovement(Marginals(p), reference.tolist(), cut)
    at = torch.tensor(np.concatenate([mean, sd], axis=1)).unsqueeze(1)
    cells = cut.get_hypercell_bounds()
    far = [[mu] * p for mu in FAR]
    return {
        "values": values.tolist(),
        "front": best.tolist(),
        "reference": reference.tolist(),
        "inferred": infer_reference_point(y[best]).tolist(),
        "hypervolume": Hypervolume(reference).compute(y[best]),
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "ehvi": score(at).tolist(),
        "log_ehvi": [
            exact(cells, *pair) for pair in zip(mean.tolist(), sd.tolist(), strict=True)
        ],
        "far_mean": far,
        "far_log_ehvi": [exact(cells, mu, [1.0] * p) for mu in far],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    said = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    mpmath.mp.dps = 400
    random = np.random.default_rng(0)
    with torch.no_grad():
        found = {
            "versions": {
                "botorch": botorch.__version__,
                "torch": torch.__version__,
                "mpmath": mpmath.__version__,
            },
            "cases": [case(random, p, n) for p, n in FRONTS],
        }
    for stored in found["cases"]:
        far = stored["far_log_ehvi"]
        assert all(a > b for a, b in pairwise(far)), far
    said.out.write_text(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
