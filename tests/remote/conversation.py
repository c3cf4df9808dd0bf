"""Long conversations over a bad network, and what must have come of them.

A client calls an instrument through a `Network` that does harm by a seeded plan. Of a
real instrument (`tests.remote.bench`) an observer outside counts the exposures; a twin
is compared with one that nobody disturbed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import aemtwin
from aemtwin.codec import pack
from aemtwin.errors import AemtwinError
from aemtwin.testing.faults import Fault, seeded
from aemtwin.testing.network import Network
from tests.remote.bench import Bench, Hardware, value_of
from tests.small import small_twin

EVERY = 12  # frames, about, between two faults
LATE_S = 0.02  # what a delay is of
PATIENCE_S = 30.0  # of the client
HANGS_S = 1.1 * PATIENCE_S  # a call that takes longer hangs
LOOKING = ("state", "events", "status", "fetch", "duration")


@dataclass
class Found:
    """What came of a conversation."""

    calls: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)  # ids exposed more than once
    wrong: list[str] = field(default_factory=list)  # what had another value
    errors: list[str] = field(default_factory=list)  # that a caller saw
    longest_s: float = 0.0
    took_s: float = 0.0

    @property
    def harm(self) -> list[str]:
        """Whatever must not be."""
        hangs = [f"{self.longest_s:.1f} s"] if self.longest_s > HANGS_S else []
        return [*self.twice, *self.wrong, *self.errors, *hangs]


def plan_of(seed: int, calls: int) -> list[Fault]:
    """About one fault in `EVERY` frames, of all kinds, for so many calls."""
    frames = 2 * calls
    return seeded(seed, 2 * frames // EVERY, frames=frames)


def with_an_instrument(calls: int, seed: int, folder: Path) -> Found:
    """Talk to an instrument whose exposures somebody else counts."""
    hardware, asked = Hardware(), []
    bench = Bench(hardware.port, folder / "ledger.sqlite")
    plan, found = plan_of(seed, calls), Found()
    dice = random.Random(f"calls {seed}")
    with (
        aemtwin.serve(bench) as server,
        Network(server.uri, plan, late_s=LATE_S) as net,
    ):
        scope = aemtwin.connect(net.uri, timeout_s=PATIENCE_S)
        scope.lease(10.0, "conversation")
        begin = time.monotonic()
        for k in range(calls):
            _timed(found, lambda k=k: _one_call(scope, k, dice, asked, found))
        found.took_s = time.monotonic() - begin
        scope.close()
        found.struck = Counter(fault.kind for fault in net.struck)
    found.calls = calls
    found.twice = [rid for rid, n in hardware.exposures.items() if n > 1]
    begun = {e["rid"] for e in bench.events() if e["call"] == "measure"}
    if not set(asked) == set(hardware.exposures) == begun:
        found.wrong.append("exposures, requests and the ledger differ")
    bench.close()
    hardware.close()
    return found


def _one_call(
    scope: Any, k: int, dice: random.Random, asked: list[str], found: Found
) -> None:
    rid, which = f"c/{k}/call", dice.random()
    if which < 0.35:
        asked.append(rid)
        values = scope.measure(rid=rid).values
        if not np.array_equal(values, value_of(rid)):
            found.wrong.append(rid)
    elif which < 0.55:
        to = (dice.random() * 1e-6, dice.random() * 1e-6)
        if scope.move_to(to, rid=rid).tolist() != list(to):
            found.wrong.append(rid)
    elif which < 0.65:
        asked.append(rid)
        operation = {"call": "measure", "rid": rid, "arguments": {}}
        scope.submit(operation)
        if not np.array_equal(scope.fetch(rid, 10.0).values, value_of(rid)):
            found.wrong.append(rid)
    else:
        _look(scope, dice, asked, found)


def _look(scope: Any, dice: random.Random, asked: list[str], found: Found) -> None:
    call = dice.choice(LOOKING)
    if call == "state":
        if scope.state().operations < len(asked):
            found.wrong.append("state")
    elif call == "events":
        after = max(scope.state().operations - 5, 0)
        numbers = [event["n"] for event in scope.events(after)]
        if numbers != list(range(after + 1, after + 1 + len(numbers))):
            found.wrong.append(f"events after {after}: {numbers}")
    elif call == "duration":
        scope.duration({"call": "measure", "arguments": {}})
    elif asked:
        rid = dice.choice(asked)
        if call == "status" and scope.status(rid)["status"] != "done":
            found.wrong.append(f"status of {rid}")
        if call == "fetch" and not np.array_equal(
            scope.fetch(rid).values, value_of(rid)
        ):
            found.wrong.append(f"fetch of {rid}")


def with_a_twin(calls: int, seed: int) -> Found:
    """Talk to a twin, and to another that is near: all answers must be equal."""
    near, twin, found = small_twin(seed=seed), small_twin(seed=seed), Found()
    dice, plan = random.Random(f"twin {seed}"), plan_of(seed, calls)
    with (
        aemtwin.serve(twin) as server,
        Network(server.uri, plan, late_s=LATE_S) as net,
    ):
        scope = aemtwin.connect(net.uri, timeout_s=PATIENCE_S)
        begin = time.monotonic()
        for k in range(calls):
            call, given = _acting(dice)
            rid = f"t/{k}/call"

            def ask(call: str = call, given: Any = given, rid: str = rid) -> None:
                far = getattr(scope, call)(**given, rid=rid)
                if pack(far) != pack(getattr(near, call)(**given, rid=rid)):
                    found.wrong.append(rid)

            _timed(found, ask)
        found.took_s = time.monotonic() - begin
        scope.close()
        found.struck = Counter(fault.kind for fault in net.struck)
    found.calls = calls
    if near.state_hash() != twin.state_hash():
        found.wrong.append("the twins stand otherwise")
    near.close()
    twin.close()
    return found


def _acting(dice: random.Random) -> tuple[str, dict[str, Any]]:
    which = dice.random()
    if which < 0.4:
        return "move_to", {"position": (dice.random() * 4e-7, dice.random() * 1e-6)}
    if which < 0.7:
        return "measure", {"mode": dice.choice(["loops", "lockin"])}
    if which < 0.8:
        return "configure", {"settle_s": round(dice.random(), 3)}
    size = dice.choice([4, 16, 110])  # the last goes by reference
    return "scan", {"shape": (size, size), "channels": ["height"]}


def _timed(found: Found, ask: Any) -> None:
    begin = time.monotonic()
    try:
        ask()
    except AemtwinError as error:
        found.errors.append(f"{type(error).__name__}: {error}")
    found.longest_s = max(found.longest_s, time.monotonic() - begin)
