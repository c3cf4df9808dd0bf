"""One whole campaign in this process, told as a JSON line.

    AEMTWIN_CACHE=FOLDER python benchmarks/campaign_once.py SURROGATE OUT

10 + 50 measurements of the shipped twin `pfm_loops`, in process, with the campaign's
defaults: `test_campaigns.py` runs it with an empty cache and again with a filled one.
CPU seconds are those of the process: start and imports, record and scores included.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import aemtwin
from aemtwin.environment import prepare_jax

FIRST, STEPS = 10, 50
SAME = 50  # from here to 60 points no capacity changes


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3


def main() -> None:
    surrogate, out = sys.argv[1:]
    prepare_jax()
    twin = aemtwin.open_twin("pfm_loops", seed=0)
    peaks, took, cpu = [], [], []

    def on_step(campaign, state, decision):
        peaks.append(peak_mb())
        took.append(decision.timings["total_s"])
        cpu.append(time.process_time())

    done = aemtwin.run(
        twin,
        surrogate=surrogate,
        first=FIRST,
        steps=STEPS,
        seed=0,
        baseline=False,
        out=out,
        on_step=on_step,
    )
    last = peaks[SAME - 1 :]
    line = {
        "cpu_s": time.process_time(),
        "cpu_s_to_the_first_decision": cpu[FIRST],
        "compilations": done.record.stop["compilations"],
        "median_step_s": sorted(took[FIRST:])[STEPS // 2],
        "longest_step_s": max(took),
        "peak_mb": peaks[-1],
        "peak_growth_mb_per_step": (last[-1] - last[0]) / (len(last) - 1),
        **{k: done.scores[k] for k in ("top_1_percent_found", "rmse", "coverage_90")},
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
