"""Kills and pauses by a seeded plan, and what must have come of them.

A server and a client run in processes of their own, and are killed with -9 at random
instants. For a real instrument (`tests.remote.bench`) the specimen and its observer are
in this process, outside both; for a twin the observer is the twin opened alone on the
ledger at the end, beside one that nobody disturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import aemtwin
from aemtwin.instruments.ledger import Ledger
from aemtwin.instruments.summaries import array_hash
from tests.remote.bench import Hardware, value_of
from tests.small import ROOT, small_twin

ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
PATIENCE_S = 60.0  # for anything: beyond it, it hangs

SERVER = """
import sys
from pathlib import Path
import aemtwin
from aemtwin.instruments.allowed import Allowed
from tests.remote.bench import Bench
from tests.remote.drill import made

kind, ledger, port, hardware, dose = sys.argv[1:]
if kind == "twin":
    instrument = made(Path(ledger))
else:
    instrument = Bench(int(hardware), Path(ledger))
limits = Allowed(dose=float(dose)) if dose else None
with aemtwin.serve(instrument, port=int(port), limits=limits) as server:
    print(server.uri, flush=True)
    server.wait()
"""
CLIENT = """
import json, os, sys, time
import aemtwin
from aemtwin import errors
from aemtwin.instruments.summaries import array_hash

uri, record, stop, pause_s = sys.argv[1:]
file = open(record, "a+")
file.seek(0)
step = sum(1 for line in file if line.endswith("\\n")) // 2


def keep(rid, told):
    file.write(json.dumps([rid, told]) + "\\n")
    file.flush()
    os.fsync(file.fileno())


def asked(call, rid, *args):
    while True:
        try:
            return call(*args, rid=rid)
        except (errors.Unreachable, errors.LeaseRefused):
            time.sleep(0.05)


while True:
    try:
        scope = aemtwin.connect(uri, timeout_s=20.0)
        break
    except errors.Unreachable:  # it is being started again
        time.sleep(0.05)
while not os.path.exists(stop):
    (x_low, x_high), (y_low, y_high) = scope.describe().bounds
    wide, high = x_high - x_low, y_high - y_low
    at = [x_low + step % 7 / 7 * wide, y_low + step % 5 / 5 * high]
    for call, args in ((scope.move_to, (at,)), (scope.measure, ())):
        rid = f"drill/{step}/{call.__name__}"
        try:
            found = asked(call, rid, *args)
        except errors.Indeterminate:
            keep(rid, "indeterminate")
        except errors.DoseRefused:
            keep(rid, "refused")
        else:
            keep(rid, array_hash(found) if args == () else found.tolist())
    step += 1
    time.sleep(float(pause_s))
scope.close()
"""


def made(ledger: Path | None = None):
    """The twin that is drilled: noisy, and with a memory of what it did."""
    return small_twin(seed=11, ledger=ledger)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Process:
    """A child that can be killed and started again."""

    def __init__(self, code: str, *arguments: object) -> None:
        self._command = [sys.executable, "-c", code, *map(str, arguments)]
        self.child: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.child = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENV,
            cwd=ROOT,
        )

    def signal(self, number: int) -> None:
        if self.child is not None and self.child.poll() is None:
            os.kill(self.child.pid, number)

    def kill(self) -> None:
        if self.child is None:
            return
        self.signal(signal.SIGKILL)
        self.child.wait(timeout=PATIENCE_S)
        assert self.child.stdout is not None
        assert self.child.stderr is not None
        said = self.child.stderr.read()
        self.child.stdout.close()
        self.child.stderr.close()
        code, self.child = self.child.returncode, None
        assert code in (-signal.SIGKILL, 0), said

    def end(self) -> None:
        """Wait until it ends by itself."""
        assert self.child is not None
        self.child.wait(timeout=PATIENCE_S)
        self.kill()


class Served(Process):
    """A server on one port, over all its lives."""

    def __init__(
        self, kind: str, ledger: Path, hardware: int = 0, dose: float | None = None
    ) -> None:
        self.port = free_port()
        self.uri = f"PYRO:Instrument_Server@127.0.0.1:{self.port}"
        said = "" if dose is None else dose
        super().__init__(SERVER, kind, ledger, self.port, hardware, said)

    def answers(self) -> float:
        """Wait for its first answer; return how long that took since now, seconds."""
        begin = time.monotonic()
        while time.monotonic() - begin < PATIENCE_S:
            try:
                aemtwin.connect(self.uri, timeout_s=2.0).close()
                return time.monotonic() - begin
            except aemtwin.errors.Unreachable:
                time.sleep(0.005)
        raise AssertionError("no service")


@dataclass
class Found:
    """What came of a drill."""

    kills: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    indeterminate: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    service_s: list[float] = field(default_factory=list)


def drill(
    kind: str,
    kills: int,
    seed: int,
    folder: Path,
    *,
    pause_s: float = 0.02,
    dose: float | None = None,
) -> Found:
    """Kill server, client or both so often, let the client end, and look.

    Args:
        kind: "twin" or "instrument".
        kills: How often.
        seed: Of the plan: whom, and when.
        folder: For the ledger and the client's record.
        pause_s: Between two steps of the client.
        dose: A budget of the server, if it has one.
    """
    plan, found = random.Random(seed), Found()
    hardware = Hardware(exposure_s=0.003)
    ledger, record, stop = (folder / n for n in ("ledger.sqlite", "record", "stop"))
    server = Served(kind, ledger, hardware.port, dose)
    client = Process(CLIENT, server.uri, record, stop, pause_s)
    try:
        server.start()
        server.answers()
        client.start()
        for _ in range(kills):
            time.sleep(plan.uniform(0.0, 0.4))
            who = plan.choice(["server", "client", "both"])
            found.kills[who] = found.kills.get(who, 0) + 1
            if who != "client":
                server.kill()
                if plan.random() < 0.2:  # and again while it starts
                    server.start()
                    time.sleep(plan.uniform(0.0, 1.0))
                    server.kill()
            if who != "server":
                client.kill()
            if who != "client":
                server.start()
                found.service_s.append(server.answers())
            if who != "server":
                client.start()
                if plan.random() < 0.5:
                    time.sleep(plan.uniform(0.5, 1.0))  # it is to get somewhere
        time.sleep(1.5)
        stop.touch()
        client.end()
    finally:
        client.kill()
        server.kill()
        hardware.close()
    _judge(kind, found, hardware, ledger, record, dose)
    return found


def _judge(
    kind: str,
    found: Found,
    hardware: Hardware,
    ledger: Path,
    record: Path,
    dose: float | None,
) -> None:
    told = dict(json.loads(line) for line in record.read_text().splitlines())
    found.asked = len(told)
    found.indeterminate = sum(said == "indeterminate" for said in told.values())
    found.refused = sum(said == "refused" for said in told.values())
    if kind == "twin":
        _judge_twin(found, ledger, told)
    else:
        _judge_instrument(found, hardware, ledger, told)
    if dose is not None:
        given = Ledger(ledger)
        doses = sum(event.get("dose", 0.0) for event in given.events())
        given.close()
        if doses > dose * (1 + 1e-9) or sum(hardware.exposures.values()) > dose:
            found.wrong.append(f"a budget of {dose} was exceeded: {doses}")


def _judge_instrument(
    found: Found, hardware: Hardware, path: Path, told: dict[str, object]
) -> None:
    found.twice = [rid for rid, times in hardware.exposures.items() if times > 1]
    for rid, said in told.items():
        exposed = hardware.exposures[rid]
        if rid.endswith("move_to") or said in ("indeterminate", "refused"):
            if said == "refused" and exposed:
                found.wrong.append(f"{rid} was refused, and exposed")
            continue
        digest = hashlib.sha256()
        digest.update(b"glow <f4 (8,)" + value_of(rid).tobytes())
        if said != digest.hexdigest() or exposed != 1:
            found.wrong.append(f"{rid}: {said}, exposed {exposed} times")
    ledger = Ledger(path)
    events = ledger.events()
    ledger.close()
    begun = {e["rid"]: e for e in events if e["call"] == "measure"}
    if len(begun) != sum(e["call"] == "measure" for e in events):
        found.twice.append("an id stands twice in the ledger")
    missing = set(hardware.exposures) - set(begun)
    found.wrong += [f"{rid} was exposed, and is not in the ledger" for rid in missing]
    # what may have been given is counted as given, once the server has looked
    found.wrong += [
        f"{rid} has the dose {e.get('dose')}"
        for rid, e in begun.items()
        if e["end_s"] is not None and e.get("dose") != 1.0
    ]


def _judge_twin(found: Found, path: Path, told: dict[str, object]) -> None:
    if found.indeterminate:
        found.wrong.append("a twin does not know what became of an operation")
    again, alone = made(path), made()
    events = again.events()
    rids = [event["rid"] for event in events]
    found.twice = sorted({rid for rid in rids if rids.count(rid) > 1})
    for event in events:
        rid = event["rid"]
        if event["call"] == "move_to":
            value: object = alone.move_to(event["arguments"]["position"], rid=rid)
            value = value.tolist()  # type: ignore[attr-defined]
        else:
            value = array_hash(alone.measure(rid=rid))
        if rid in told and told[rid] != value:
            found.wrong.append(f"{rid} gave {told[rid]}, alone {value}")
    if again.state_hash() != alone.state_hash():
        found.wrong.append("the specimen is another than one that was not disturbed")
    measured = sum(event["call"] == "measure" for event in events)
    if again.state().dose != measured * 1.0:
        found.wrong.append(f"dose {again.state().dose} of {measured} measurements")
    missing = set(told) - set(rids)
    found.wrong += [f"{rid} was answered, and is not in the ledger" for rid in missing]
    again.close()
    alone.close()


def slope_of(
    server: Served, count: int, *, warm: int, samples: int = 100
) -> tuple[float, int, float]:
    """Measure so often through a served instrument, and look at its memory.

    Args:
        server: Running.
        count: Measurements in all.
        warm: Of them, before which nothing is looked at.
        samples: Looks.

    Returns:
        MiB that the server grows by in 10^5 measurements, by least squares; by how many
        its open descriptors grew; MiB that this process, the client, grows by.
    """
    assert server.child is not None
    pids = server.child.pid, os.getpid()
    scope = aemtwin.connect(server.uri)
    (x_low, x_high), (y_low, y_high) = scope.describe().bounds
    every = max((count - warm) // samples, 1)
    seen: list[tuple[int, float, float, int]] = []
    for step in range(count):
        if step % 50 == 0:  # spots that nobody was at
            x = x_low + (x_high - x_low) * step / count
            scope.move_to((x, (y_low + y_high) / 2), rid=f"m/{step}/move")
        scope.measure(rid=f"m/{step}/measure")
        if step >= warm and (step - warm) % every == 0:
            mib = [_rss_mib(pid) for pid in pids]
            seen.append((step, *mib, len(os.listdir(f"/proc/{pids[0]}/fd"))))
    scope.close()
    steps, theirs, ours, descriptors = np.array(seen).T
    slopes = [float(np.polyfit(steps, mib, 1)[0]) * 1e5 for mib in (theirs, ours)]
    return slopes[0], int(descriptors[-1] - descriptors[0]), slopes[1]


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
