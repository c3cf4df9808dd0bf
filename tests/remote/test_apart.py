"""Facilities apart: 50 ms round trip and 1 % loss change no decision."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.remote.apart import ENV, through_a_proxy
from tests.small import ROOT

STEPS = 8
FAR = """
ip link set lo up && tc qdisc add dev lo root netem delay 25ms loss 1%
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_campaign_far_away_decides_what_it_decides_near(tmp_path):
    found = through_a_proxy(tmp_path, STEPS)
    assert found["events"] == STEPS + 4
    assert found["same"]
    assert found["watched"]


def namespace(script):
    return subprocess.run(
        ["unshare", "-rn", "sh", "-ec", script],
        capture_output=True,
        text=True,
        env=ENV,
        cwd=ROOT,
        timeout=500,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_so_it_does_over_a_device_of_the_system_that_delays_and_loses(tmp_path):
    if shutil.which("unshare") is None or shutil.which("tc") is None:
        pytest.skip("unshare or tc is not installed")
    tried = namespace(FAR)
    if tried.returncode:
        pytest.skip(f"no network of our own can be had: {tried.stderr.strip()[:200]}")
    run = f'{sys.executable} -m tests.remote.apart "{tmp_path}" {STEPS}'
    done = namespace(FAR + run)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["watched"]
