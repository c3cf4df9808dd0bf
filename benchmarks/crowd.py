"""Before authentication, at length: fuzzed frames, bombs, crowds, and who notices.

    python -m benchmarks.crowd --frames 1000000 --seed 1 --out FILE

A server runs in a process of its own, on the loopback interface; what it takes up is
read from the system. Frames are thrown over 40 connections by a second process, a crowd
of 200 silent and 200 slow connections is held by another, and an authenticated client
of this process goes on calling: alone, beside them, alone, and so on. Frames that are
whole and valid and act are counted by who sends them, and compared with what the server
did. `--keys FOLDER` (`aemtwin keys`) puts all of it under mutual TLS.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, nullcontext
from datetime import date
from pathlib import Path

from tests.remote import bombs, crowd, fuzz

ROUNDS = 6
ALONE = 1000  # calls of each kind, between two parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keys", type=Path, help="with server/ and clients/bench/")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--throw", help="in a process of its own: the URI to throw at")
    said = parser.parse_args()
    client_keys = said.keys and said.keys / "clients" / "bench"
    if said.throw:  # its standard input has the token
        frames = fuzz.Frames(said.seed, sys.stdin.readline().strip())
        context = context_of(client_keys)
        sender = fuzz.Sender(said.throw, frames, said.frames, context=context)
        print(json.dumps(sender.throw()))
        return
    found = {
        "command": f"python -m benchmarks.crowd --frames {said.frames} "
        f"--seed {said.seed}" + (" --keys KEYS" if said.keys else ""),
        "date": date.today().isoformat(),
        "machine": said.machine,
        "python": platform.python_version(),
        "frames": thrown(said, client_keys),
        "bombs": bombed(said.keys, client_keys),
        "crowd": crowded(said.keys, client_keys),
    }
    print(json.dumps(found, indent=1))
    if said.out:
        said.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


class Good:
    """A client that was there before, and holds the instrument."""

    def __init__(self, served, keys) -> None:
        served.asked_plainly(context_of(keys))
        self.client = served.client(keys)
        self.token = self.client.lease(3600.0, "the good one").token
        self.steps = 0
        self.client.submit(
            {
                "call": "move_to",
                "rid": "good/0/submitted",
                "arguments": {"position": [0, 0]},
            }
        )
        self.client.fetch("good/0/submitted", 5.0)
        self.calls = {"state": self.client.state, "move_to": self.move}
        for _ in range(50):
            self.move()
            self.client.state()

    def move(self):
        self.steps += 1
        at = (self.steps % 9 * 1e-7, 1e-7)
        return self.client.move_to(at, rid=f"good/{self.steps}/move")

    @property
    def operations(self) -> int:
        return self.client.state().operations - self.steps - 1


def thrown(said, keys) -> dict:
    """Frames in parts, the good client alone between them."""
    told: Counter[str] = Counter()
    times = {w: {"state": [], "move_to": []} for w in ("alone", "beside")}
    with crowd.serving(said.keys and said.keys / "server") as served:
        good = Good(served, keys)
        before, begin = served.vitals(), time.perf_counter()
        seconds = 0.0
        with crowd.Watch(served) as watch:
            for k in range(ROUNDS):
                part = said.frames * (k + 1) // ROUNDS - said.frames * k // ROUNDS
                for _ in range(ALONE // ROUNDS):
                    timed(good.calls, times["alone"])
                begin = time.perf_counter()
                child = thrower(served.uri, part, said.seed * ROUNDS + k, said.keys)
                child.stdin.write(good.token + "\n")
                child.stdin.close()
                while child.poll() is None:
                    timed(good.calls, times["beside"])
                    time.sleep(2e-3)
                seconds += time.perf_counter() - begin
                told.update(json.loads(child.stdout.read()))
                child.stdout.close()
        after = served.settled(before)
        newcomer = served.client(keys)
        operations = good.operations
        assert newcomer.state().operations - good.steps - 1 == operations
        newcomer.close()
        good.client.close()
        return {
            **told,
            "operations of them": operations,
            "alive": served.alive,
            "seconds": round(seconds, 1),
            "peak_growth_mib": round(watch.growth_mib, 2),
            "before": before._asdict(),
            "after": after._asdict(),
            "tracebacks": served.noted.count("Traceback"),
            "good client": {w: summed(times[w]) for w in times},
        }


def bombed(folder, keys) -> dict:
    context = context_of(keys)
    growth: dict[str, dict[str, float]] = {}
    with crowd.serving(folder and folder / "server") as served:
        good = Good(served, keys)
        before = served.vitals()
        for name, bomb in bombs.BOMBS.items():
            growth[name] = {}
            for greeted in (False, True):
                with crowd.Watch(served) as watch:
                    bombs.throw(
                        served.uri, bomb.frame(greeted), greeted, context=context
                    )
                when = "after the greeting" if greeted else "before the greeting"
                growth[name][when] = round(watch.growth_mib, 2)
        after = served.settled(before)
        assert good.operations == 0
        good.client.close()
        return {
            "connections": 40,
            "peak_growth_mib": growth,
            "most_mib": max(max(g.values()) for g in growth.values()),
            "before": before._asdict(),
            "after": after._asdict(),
        }


def crowded(folder, keys) -> dict:
    with ExitStack() as stack:
        served = stack.enter_context(crowd.serving(folder and folder / "server"))
        outside = stack.enter_context(crowd.Crowd(served.uri, 200, 200, keys))
        good = Good(served, keys)
        before = served.vitals()
        turns = {"alone": nullcontext, "beside": outside.there}
        times = crowd.latencies(good.calls, turns, 6000, ROUNDS)
        entered = []
        with outside.there(), crowd.Watch(served) as watch:
            for _ in range(50):
                begin = time.perf_counter()
                newcomer = served.client(keys)
                newcomer.state()
                entered.append(time.perf_counter() - begin)
                newcomer.close()
        after = served.settled(before)
        good.client.close()
        medians = {w: summed(times[w]) for w in times}
        return {
            "silent": 200,
            "slow": 200,
            "renewed": outside.renewed,
            "good client": medians,
            "ratio_p50": {
                name: round(one["p50_ms"] / medians["alone"][name]["p50_ms"], 2)
                for name, one in medians["beside"].items()
            },
            "newcomers": crowd.told(entered),
            "slowest newcomer_ms": round(1e3 * max(entered), 1),
            "peak_growth_mib": round(watch.growth_mib, 2),
            "before": before._asdict(),
            "after": after._asdict(),
        }


def context_of(keys):
    if keys is None:
        return None
    from aemtwin.remote.keys import client_context

    return client_context(keys)


def timed(calls, times) -> None:
    for name, call in calls.items():
        begin = time.perf_counter()
        call()
        times[name].append(time.perf_counter() - begin)


def summed(times) -> dict:
    return {name: crowd.told(seconds) for name, seconds in times.items()}


def thrower(uri: str, frames: int, seed: int, keys: Path | None) -> subprocess.Popen:
    command = ["--throw", uri, "--frames", str(frames), "--seed", str(seed)]
    if keys:
        command += ["--keys", str(keys)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    main()
