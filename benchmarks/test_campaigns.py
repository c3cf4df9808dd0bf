"""Whole campaigns, compilation included: a fresh process, with and without a cache.

    pytest benchmarks/test_campaigns.py --benchmark-only

Each is 10 + 50 measurements of `pfm_loops` in a process of its own, by
`campaign_once.py`, first with an empty compilation cache, as after an installation,
then with the cache of a run before it, as ever after. The time is that of
the process, start and imports included; `extra_info` has its CPU seconds, programs,
memory and scores.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LEARNERS = ("gp", "dkl", "bayes_gp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("campaigns")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("cache", ["empty", "filled"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_campaign(benchmark, folder, learner, cache):
    """Find the widest loop with 60 measurements."""
    kept = folder / learner
    variables = {"AEMTWIN_CACHE": str(kept), "OPENBLAS_NUM_THREADS": "1"}
    script = Path(__file__).with_name("campaign_once.py")

    def campaign():
        done = subprocess.run(
            [sys.executable, str(script), learner, str(folder / "runs")],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])

    if cache == "filled" and not kept.exists():
        campaign()
    assert kept.exists() == (cache == "filled")

    told = benchmark.pedantic(campaign, rounds=1)

    benchmark.extra_info.update(told)
    assert told["peak_growth_mb_per_step"] < 1
    assert told["top_1_percent_found"] > 0
