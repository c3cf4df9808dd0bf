"""One step of each learner: fit with a warm start, read the pool, score, choose.

    pytest benchmarks/test_learner_steps.py --benchmark-only

The rounds are steps that follow each other, from n measurements on, among 43 × 43
candidates, within one capacity. Compilation is outside the clock and must be complete.
`extra_info` keeps what is beside wall time: CPU seconds of the process, since a machine
may be shared, growth of the peak of memory over the later half of the steps, and the
quality of the map after the last one.
"""

import numpy as np
import pytest

from aemtwin import surrogates
from aemtwin.surrogates.base import count_compilations
from benchmarks.learning import acquisition_of, problem, rmse, spent, step

ROUNDS = {"bayes_gp": 4}  # of the others 11
SETTLE = {"bayes_gp": 0}  # steps before the clock after which the heap is as it stays
LEARNERS = {  # name -> surrogate, parameters, whether it sees patches
    "gp": ("gp", {}, False),
    "bayes_gp": ("bayes_gp", {}, False),
    "dkl 1": ("dkl", {"members": 1}, True),
    "dkl 8": ("dkl", {"members": 8}, True),
}
SAID = ("r_hat", "ess", "divergences", "rounds", "evaluations", "restarts")  # of a fit


@pytest.mark.timeout(900)
@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("n", [50, 100, 200])
def test_learner_step(benchmark, n, learner):
    """Learn from n measurements or a few more and choose among 1,849 candidates."""
    name, params, images = LEARNERS[learner]
    at = problem(images=images)
    surrogate, acquire = surrogates.get(name, **params), acquisition_of("log_ei")
    state = surrogate.init(at.X.shape[1])
    for warm in (n - 2, n - 1):  # the same capacity; the first has a cold start
        _, _, state, _ = step(surrogate, acquire, state, at, at.order[:warm])
    for _ in range(SETTLE.get(name, 20)):
        step(surrogate, acquire, state, at, at.order[:n])
    costs, told, rounds = [], [], ROUNDS.get(name, 11)

    def turn():
        nonlocal state
        measured = at.order[: n + len(costs)]
        with spent() as cost:
            best, posterior, state, info = step(surrogate, acquire, state, at, measured)
        costs.append(cost)
        told.append(info)
        return best not in measured, posterior

    with count_compilations() as seen:
        fresh, posterior = benchmark.pedantic(turn, rounds=rounds)

    error, late = rmse(at, posterior), costs[rounds // 2 :]
    benchmark.extra_info.update(
        n=n,
        m=len(at.X),
        d=at.X.shape[1],
        capacity=told[-1]["capacity"],
        rmse=error,
        compilations=seen.count,
        cpu_s=float(np.median([cost.cpu_s for cost in costs])),
        cpu_s_least=min(cost.cpu_s for cost in costs),
        cpu_s_most=max(cost.cpu_s for cost in costs),
        peak_growth_mb_per_step=sum(c.peak_growth_mb for c in late) / len(late),
        **{
            key: float(np.median([info[key] for info in told]))
            for key in SAID
            if key in told[0]
        },
    )
    assert fresh
    assert seen.count == 0
    assert error < {50: 0.95, 100: 0.9, 200: 0.8}[n]
