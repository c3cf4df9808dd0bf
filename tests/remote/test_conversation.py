"""Row R5: whatever the network does, each request is done once and gets its answer."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import aemtwin
from aemtwin.documents import steady
from aemtwin.errors import AemtwinError
from aemtwin.remote.line import Line
from aemtwin.testing.faults import Fault, plans, seeded
from aemtwin.testing.network import Network
from tests.remote.bench import Bench, Hardware
from tests.remote.conversation import LATE_S, with_a_twin, with_an_instrument
from tests.small import small_twin


def test_a_short_conversation_comes_to_no_harm(tmp_path):
    found = with_an_instrument(120, 0, tmp_path)
    assert found.harm == []
    assert sum(found.struck.values()) >= 20


def test_a_twin_answers_over_it_as_it_does_near(tmp_path):
    found = with_a_twin(60, 0)
    assert found.harm == []
    assert sum(found.struck.values()) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_ten_thousand_calls_come_to_no_harm(seed, tmp_path):
    found = with_an_instrument(1000, seed, tmp_path)
    assert found.harm == []
    found = with_a_twin(250, seed)
    assert found.harm == []


# What a plan that does harm shrinks to


def harmful(plan: list[Fault], calls: int = 3) -> bool:
    """Whether something is exposed twice, told wrongly or not told, by a plan."""
    hardware = Hardware()
    bench = Bench(hardware.port)
    try:
        with (
            aemtwin.serve(bench) as server,
            Network(server.uri, plan, late_s=LATE_S) as net,
        ):
            scope = aemtwin.connect(net.uri, timeout_s=10.0)
            try:
                for k in range(calls):
                    scope.measure(rid=f"r/{k}/measure")
            except AemtwinError:
                return True
            finally:
                scope.close()
    finally:
        bench.close()
        hardware.close()
    return sorted(hardware.exposures.values()) != [1] * calls


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(plans(24, most=6))
def test_no_plan_does_harm(plan):
    assert not harmful(plan)


def test_of_a_client_that_repeats_itself_the_one_fault_is_found(monkeypatch):
    """A client that asks again under another id: what Pyro4's own repetition does."""

    def careless(self, call, rid, given, token):
        for again in range(3):
            operation = {"call": call, "rid": f"{rid}-{again}", "arguments": given}
            try:
                said = {"token": token, "wait_s": 2.0}
                return self._acting.call("submit", [operation], said, timeout_s=0.5)[
                    "answer"
                ]
            except OSError:
                continue
        raise AemtwinError("given up")

    monkeypatch.setattr(Line, "submitted", careless)
    lost = st.just(Fault("client", 5, "cut"))  # an answer that does not come back
    other = st.sampled_from(seeded(1, 40, frames=30, kinds=["delay", "drip", "slow"]))
    schedules = st.lists(lost | other, max_size=6)
    quick = settings(max_examples=60, derandomize=True, database=None, deadline=None)
    assert find(schedules, harmful, settings=quick) == [Fault("client", 5, "cut")]


# Campaigns

OPTIONS = {
    "first": 4,
    "steps": 6,
    "candidates": (6, 5),
    "seed": 4,
    "baseline": False,
}


def told(run):
    return [steady(event) for event in run.record.events]


def planned(seed):
    return seeded(seed, 40, frames=100)


def over_it(tmp_path, plan, cut_at, **options):
    """A campaign over a bad network, cut off at some steps and resumed."""
    twin = small_twin()
    left = list(cut_at)

    def cut(campaign, state, decision):
        if left and len(state.indices) == left[0]:
            left.pop(0)
            raise KeyboardInterrupt

    with aemtwin.serve(twin, truth=True) as server:
        with Network(server.uri, plan, late_s=LATE_S) as net:
            scope = aemtwin.connect(net.uri, timeout_s=20.0)
            try:
                run = aemtwin.run(
                    scope, out=str(tmp_path / "far"), on_step=cut, **options
                )
            except KeyboardInterrupt:
                folder = next((tmp_path / "far").iterdir())
                while True:
                    try:
                        run = aemtwin.resume(folder, scope, on_step=cut)
                        break
                    except KeyboardInterrupt:
                        continue
            scope.close()
            struck = len(net.struck)
    assert twin.state().operations == 2 * 10 + 1  # a move and a measure each, a frame
    twin.close()
    return run, struck


def same_as_near(tmp_path, plan, cut_at, **options):
    near = aemtwin.run(small_twin(), out=str(tmp_path / "near"), **options)
    far, struck = over_it(tmp_path, plan, cut_at, **options)
    assert told(far) == told(near)
    assert struck >= 8


def test_a_campaign_that_was_cut_off_decides_what_it_decides_near(tmp_path):
    options = {**OPTIONS, "acquisition": "random"}
    same_as_near(tmp_path, planned(0), [3, 7], **options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("surrogate", ["gp", "dkl"])
def test_campaigns_that_learn_decide_what_they_decide_near(tmp_path, seed, surrogate):
    cut_at = [(seed % 8) + 1] if seed % 2 else []
    same_as_near(tmp_path, planned(seed), cut_at, **OPTIONS, surrogate=surrogate)


def test_a_wall_clock_that_jumps_by_an_hour_changes_nothing(tmp_path, monkeypatch):
    """Row R12, of a run: leases, order and what is decided know no wall clock."""
    dice, wall = random.Random(0), time.time

    def jumping():
        return wall() + dice.choice([-3600.0, 0.0, 3600.0])

    options = {**OPTIONS, "acquisition": "random"}
    near = aemtwin.run(small_twin(), out=str(tmp_path / "near"), **options)
    monkeypatch.setattr(time, "time", jumping)
    far, _ = over_it(tmp_path, planned(2), [2, 6], **options)
    assert told(far) == told(near)
