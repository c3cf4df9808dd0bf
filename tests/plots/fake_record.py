"""A made-up run with everything a picture can want, for tests of plots and report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from aemtwin.fronts import hypervolume, reference_of, volumes
from aemtwin.measurement import Measurement
from aemtwin.metrics import (
    best_so_far,
    coverage,
    nlpd,
    rmse,
    simple_regret,
    top_fraction_found,
)
from aemtwin.scalarizers import get
from aemtwin.specs import Axis

AREA = get("loop_area")
BIAS = 10 * 2 / np.pi * np.arcsin(np.sin(2 * np.pi * np.arange(64) / 64))  # (v,) V
CONFIG = """# resolved
seed = 0
steps = 50

[instrument]
twin = "pfm_loops"

[surrogate]
name = "gp"

[acquisition]
name = "log_ei"
note = "a <b>&</b> c"
"""


def loop(height: float, coercive: float) -> np.ndarray:
    """A piezoresponse loop, (v,) m."""
    rising = np.roll(BIAS, -1) > BIAS
    return height * np.tanh((BIAS - np.where(rising, coercive, -coercive)) / 1.5)


def measurement(response: np.ndarray, rid: str = "run/0/measure") -> Measurement:
    return Measurement(
        call="measure",
        mode="loop",
        arrays={"response": response},
        units={"response": "m"},
        quantities={"response": "Piezoresponse"},
        axes=(Axis("bias", "V", BIAS, "Bias"),),
        asked=np.zeros(2),
        actual=np.zeros(2),
        time_s=(0.0, 1.0),
        dwell_s=1.0,
        dose=10.0,
        rid=rid,
    )


def field(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loop height (m), coercive bias (V) and topography (m) at positions in µm."""
    walls = np.sin(9 * x + 3 * y) * np.sin(7 * y - 2 * x + 1)
    hill = np.exp(-((x - 0.72) ** 2 + (y - 0.31) ** 2) / 0.02)
    other = np.exp(-((x - 0.22) ** 2 + (y - 0.75) ** 2) / 0.03)
    height = 1e-11 * (1 + 0.15 * walls + 0.8 * hill + 0.5 * other)
    coercive = 3 + 0.8 * hill + 0.3 * walls
    relief = 4e-9 * walls + 2e-9 * np.sin(40 * (x + 0.3 * y)) * (walls > 0)
    return height, coercive, relief


def record(
    path: Path | None = None, n: int = 50, side: int = 50, **changes: Any
) -> Any:
    """Return the record; `changes` replace attributes, as in `truth=None`."""
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    candidates = 1e-6 * np.column_stack([x.ravel(), y.ravel()])  # (m, 2) m
    height, coercive, _ = field(x.ravel(), y.ravel())
    truth = np.array(
        [AREA(measurement(loop(h, c))) for h, c in zip(height, coercive, strict=True)]
    )
    # a search: ten spots at random, then closer and closer to the best
    chosen = [int(i) for i in rng.choice(truth.size, 10, replace=False)]
    while len(chosen) < n:
        lure = truth * 1e11 + 4.0 * rng.gumbel(size=truth.size)
        lure[chosen] = -np.inf
        chosen.append(int(np.argmax(lure)))
    chosen = chosen[:n]
    spectra = [
        measurement(loop(height[i], coercive[i]) + 3e-13 * rng.normal(size=BIAS.size))
        for i in chosen
    ]
    values = [AREA(one) for one in spectra]
    distance = np.array([np.inf] * truth.size)
    for i in chosen:
        distance = np.minimum(distance, np.hypot(*(candidates - candidates[i]).T))
    known = np.exp(-((distance / 1.5e-7) ** 2))
    mean = truth.mean() + (truth - truth.mean()) * known
    sd = 0.35 * truth.std() + 1.2 * truth.std() * (1 - known)
    gain = (mean - max(values, default=0)) / sd
    scores = gain - np.log1p(np.exp(-4 * gain)) * 3
    scores[chosen] = -np.inf
    randomly = [int(i) for i in rng.choice(truth.size, n, replace=False)]

    def row(method: str, indices: list[int], mean: Any, sd: Any) -> dict[str, Any]:
        return {
            "method": method,
            "top_1_percent_found": top_fraction_found(truth, indices),
            "regret": simple_regret(truth, indices),
            "rmse": rmse(truth, mean),
            "nlpd": nlpd(truth, mean, sd**2),
            "coverage_90": coverage(truth, mean, sd**2),
            "n": n,
        }

    events = [
        {
            "seq_num": step + 1,
            "time": 1.7e9 + step,
            "data": {
                "index": index,
                "x": candidates[index, 0],
                "y": candidates[index, 1],
                "actual_x": candidates[index, 0] + 1e-9,
                "actual_y": candidates[index, 1] - 1e-9,
                "value": float("nan") if step == 4 else values[step],
                "valid": step != 4,
                "phase": "first" if step < 10 else "search",
                "rid": f"run/{step}/measure",
                "acquisition": None if step < 10 else float(step),
                "notices": "",
                "dose": 1.0,
                "info": {},
            },
            "timings": {
                "decide_s": 0.006 + 0.002 * rng.random(),
                "fit_s": (1.9 if step in (10, 16, 32) else 0.03) + 0.004 * rng.random(),
                "move_s": 0.012 + 0.01 * rng.random(),
                "measure_s": 0.05,
                "total_s": 0.2,
            },
        }
        for step, index in enumerate(chosen)
    ]
    frame = np.linspace(0, 1, 128)
    _, _, relief = field(*np.meshgrid(frame, frame))
    uid = "20261122-101500-ab12"
    given: dict[str, Any] = {
        "path": path or Path("runs") / uid,
        "uid": uid,
        "start": {
            "uid": uid,
            "time": 1.7e9,
            "instrument": {
                "name": "pfm_loops",
                "kind": "afm",
                "identity": {
                    "twin": True,
                    "data_sha256": "5f2c" * 16,
                    "seed": 0,
                    "ideal": False,
                    "source": "twins/pfm_loops",
                },
                "bounds": [[0.0, 1e-6], [0.0, 1e-6]],
                "channels": [
                    {"name": "topography", "derived": ""},
                    {"name": "opening", "derived": "from loops"},
                ],
            },
        },
        "events": events,
        "stop": {
            "exit_status": "success",
            "reason": "",
            "num_events": {"primary": n},
            "compilations": 4,
            "time": 1.7e9 + 61.5,
        },
        "config": {
            "seed": 0,
            "surrogate": {"name": "gp"},
            "acquisition": {"name": "log_ei"},
        },
        "config_text": CONFIG,
        "environment": {
            "python": "3.11.7",
            "packages": {"numpy": "2.4.6", "jax": "0.10.2"},
            "jax_enable_x64": True,
        },
        "scores": {
            "rows": [
                row("gp + log_ei", chosen, mean, sd),
                row("random", randomly, mean * 0 + truth.mean(), sd * 0 + truth.std()),
            ],
            "curves": {
                "gp + log_ei": best_so_far(truth, chosen).tolist(),
                "random": best_so_far(truth, randomly).tolist(),
            },
            "truth_best": float(truth.max()),
            "units": "m·V",
        },
        "candidates": candidates,
        "shape": (side, side),
        "overview": {
            "channel": "topography",
            "units": "m",
            "quantity": "Height",
            "values": relief,
            "x": frame * 1e-6,
            "y": frame * 1e-6,
        },
        "maps": {
            "mean": mean,
            "sd": sd,
            "acquisition": scores,
            "seq_num": n,
            "latent": np.column_stack(
                [np.tanh(mean / truth.max() + x.ravel()), height]
            ),
        },
        "truth": truth,
        "value_name": "loop_area",
        "value_units": "m·V",
        "others": (),
        "spectrum": lambda i: spectra[i],
    }
    made = SimpleNamespace(**{**given, **changes})
    if "sought" not in changes:
        made.sought = [(made.value_name, made.value_units), *made.others]
    return made


def of_several(p: int = 2, *, scored: bool = True, **changes: Any) -> Any:
    """Return a record of a run that sought p numbers, which conflict."""
    rng, n, side = np.random.default_rng(5), 14, 12
    truth = rng.normal(size=(side * side, p))
    truth[:, 1] -= 2 * truth[:, 0]
    made = record(n=n, side=side)
    indices = [event["data"]["index"] for event in made.events]
    outcomes = truth[indices] + 0.1 * rng.normal(size=(n, p))
    outcomes[4] = np.nan  # the one that is not valid
    scores = None
    if scored:
        at = reference_of(truth) if p < 4 else None
        row = {"method": "gp + log_ei", "n": n, "front_found": 0.25}
        row |= {"outcomes_reached": 0.5, "hypervolume_found": 0.75}
        curve = [] if at is None else volumes(truth[indices], at).tolist()
        several = {
            "names": [],
            "units": [],
            "reference": None if at is None else at.tolist(),
            "hypervolume": None if at is None else hypervolume(truth, at),
            "curves": {"gp + log_ei": curve, "random": curve[:1] * n},
            "rows": [row, row | {"method": "random", "hypervolume_found": 0.5}],
        }
        scores = {**made.scores, "several": several}
    given = {
        "value_name": "loop_area",
        "others": (("-imprint", "V"), ("switching", "m"), ("x", ""))[: p - 1],
        "outcomes": outcomes,
        "true_outcomes": truth if scored else None,
        "scores": scores,
    }
    return record(n=n, side=side, **{**given, **changes})
