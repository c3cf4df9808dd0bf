"""Is the stated uncertainty true? Every surrogate on fields of the prior of `gp`.

    python -m benchmarks.honesty --machine "in words" [--part coverage ranks] ...

*Coverage*: fields of `tests/properties/fields.py`, measured at 10, 30 and 80 points;
the share of the true f at 200 held out positions inside central intervals of 50, 90 and
95 %, and its standard error over fields. "drawn" counts the truths that were drawn,
"expected" averages over all truths that fit the same data; "mixture" takes intervals of
the mixture itself in place of those of a normal with its mean and variance. "width" is
the sd, in that of one who knows the hyperparameters; the geometric mean of medians.
*Usual* fields have values with a mean of about 0 and an sd of about 1, where to
standardise them changes nothing.

*Ranks*: simulation-based calibration of the samplers (`tests/properties/simulated.py`),
p-values of uniform ranks.

What was there of another part, surrogate or kind of field stays in the file.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin.environment import prepare_jax
from benchmarks.keep import PACKAGES

RESULT = Path(__file__).parent / "results" / "honesty.json"
POINTS = 10, 30, 80
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gp": ("gp", {}),
    "bayes_gp": ("bayes_gp", {}),
    "dkl": ("dkl", {}),
    "bnn nuts": ("bnn", {"inference": "nuts"}),
    "bnn svi": ("bnn", {"inference": "svi"}),
    "bnn partial": ("bnn", {"inference": "partial"}),
    "sparse_gp": ("sparse_gp", {}),
    "structured_gp": ("structured_gp", {}),
    "multi_gp": ("multi_gp", {}),
}
RANKED = (
    "bayes_gp",
    "bayes_gp fitted",
    "bayes_gp fitted, any y",
    "bnn nuts",
    "bnn nuts, linear",
)
PER_CENT = 100.0


def covered(name: str, n: int, count: int, *, usual: bool) -> dict[str, Any]:
    """Return the figures of one surrogate on fields of n points."""
    from aemtwin import surrogates
    from aemtwin.surrogates.base import pad, step_keys
    from tests.properties import fields

    kind, settings = MODELS[name]
    model, mixes = surrogates.get(kind, **settings), kind in ("gp", "bayes_gp")
    every: dict[str, list[Any]] = {"drawn": [], "expected": []}
    every |= {"mixture": []} if mixes else {}
    width, begin = [], time.process_time()
    for seed in range(count):
        field = fields.draw([seed, n], n, usual=usual)
        fit, read, _ = step_keys(seed, n)
        state, info = model.fit(fit, model.init(2), pad(field.X, field.y))
        if not info["finite"]:
            raise RuntimeError(f"{name} found no finite fit of field {seed}, n = {n}")
        at = model.predict(read, state, field.at)
        sd = np.sqrt(np.maximum(at.variance, 1e-30))
        every["drawn"].append(fields.inside(field, at.mean, sd))
        every["expected"].append(fields.expected(field, at.mean, sd))
        if mixes:
            parts = fields.components(model, state, field.at)
            every["mixture"].append(fields.expected_of_mixture(field, parts))
        width.append(np.median(np.log(sd / field.sd)))
    shares = {key: np.array(value) for key, value in every.items()}
    return {
        "surrogate": name,
        "fields": "usual" if usual else "prior",
        "n": n,
        "count": count,
        **{key: _rounded(one.mean(axis=0)) for key, one in shares.items()},
        **{f"{key} error": _rounded(fields.error(one)) for key, one in shares.items()},
        "width": round(float(np.exp(np.mean(width))), 3),
        "cpu_s": round(time.process_time() - begin, 1),
    }


def ranked(name: str, count: int) -> dict[str, Any]:
    """Return p-values of the ranks of one sampler."""
    from aemtwin.surrogates.bayes_gp import BayesGP
    from aemtwin.surrogates.bnn import BNN
    from tests.properties import ranks, simulated

    simulate: dict[str, Callable[[int], Any]] = {
        "bayes_gp": partial(simulated.hyperparameters, model=BayesGP()),
        "bayes_gp fitted": partial(simulated.predictive, model=BayesGP()),
        "bayes_gp fitted, any y": partial(
            simulated.predictive, model=BayesGP(), usual=False
        ),
        "bnn nuts": partial(simulated.net, model=BNN(inference="nuts")),
        "bnn nuts, linear": partial(
            simulated.net, model=BNN(inference="nuts", hidden=())
        ),
    }
    begin = time.process_time()
    found = [simulate[name](seed) for seed in range(count)]
    every = np.array([ranks.rank(one.truth, one.draws) for one in found]).T
    said = dict(zip(found[0].names, every, strict=True))
    return {
        "sampler": name,
        "simulations": count,
        "points": simulated.N,
        "envelope": {key: round(ranks.envelope(one), 4) for key, one in said.items()},
        "chi-square": {
            key: round(ranks.chi_square(one), 4) for key, one in said.items()
        },
        "all": round(ranks.least(said), 4),
        "histogram": {
            key: np.bincount(one // 4, minlength=8).tolist()
            for key, one in said.items()
        },
        "r_hat": {
            key: round(float(np.quantile([one.r_hat for one in found], q)), 3)
            for key, q in (("median", 0.5), ("of a tenth above", 0.9), ("most", 1.0))
        },
        "cpu_s": round(time.process_time() - begin, 1),
    }


def _rounded(share: Any) -> list[float]:
    return [round(PER_CENT * float(one), 2) for one in share]


def row(one: dict[str, Any]) -> str:
    """Return a line of a table in Markdown."""
    if "sampler" in one:
        said = ", ".join(
            f"{key} {p:.3g} / {one['chi-square'][key]:.3g}"
            for key, p in one["envelope"].items()
        )
        return f"| {one['sampler']} | {one['simulations']} | {said} | {one['all']:g} |"
    cells = [one["surrogate"], one["fields"], one["n"], one["count"]]
    for key in ("drawn", "expected", "mixture"):
        each = zip(one.get(key, []), one.get(f"{key} error", []), strict=True)
        cells.append(", ".join(f"{share:.1f} ± {e:.1f}" for share, e in each) or "-")
    return "| " + " | ".join(map(str, [*cells, one["width"]])) + " |"


def keep(machine: str, fresh: list[dict[str, Any]], result: Path) -> None:
    """Put fresh rows in the place of what was there of the same."""
    before = json.loads(result.read_text("utf-8")) if result.exists() else {}
    rows = {_name(one): one for one in [*before.get("rows", []), *fresh]}
    said = {
        "date": date.today().isoformat(),
        "machine": machine,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "rows": list(rows.values()),
    }
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _name(one: dict[str, Any]) -> str:
    keys = "sampler", "surrogate", "fields", "n"
    return " ".join(str(one.get(key)) for key in keys)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="the machine, in words")
    parser.add_argument("--part", nargs="+", default=["coverage", "ranks"])
    parser.add_argument("--surrogates", nargs="+", default=list(MODELS))
    parser.add_argument("--samplers", nargs="+", default=list(RANKED))
    parser.add_argument("--points", nargs="+", type=int, default=list(POINTS))
    parser.add_argument("--kinds", nargs="+", default=["prior", "usual"])
    parser.add_argument("--fields", type=int, default=500, help="of each n")
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--result", type=Path, default=RESULT)
    said = parser.parse_args()
    prepare_jax()
    from aemtwin.surrogates import available

    known = available()
    if "coverage" in said.part:
        print("| surrogate | fields | n | count | drawn | expected | mixture | width |")
        print("|---|---|---|---|---|---|---|---|")
        for name in said.surrogates:
            if MODELS[name][0] not in known:
                continue
            for kind in said.kinds:
                for n in said.points:
                    found = covered(name, n, said.fields, usual=kind == "usual")
                    keep(said.machine, [found], said.result)
                    print(row(found), flush=True)
    if "ranks" in said.part:
        print("| sampler | simulations | envelope / chi-square, p | all |")
        print("|---|---|---|---|")
        for name in said.samplers:
            found = ranked(name, said.simulations)
            keep(said.machine, [found], said.result)
            print(row(found), flush=True)


if __name__ == "__main__":
    main()
