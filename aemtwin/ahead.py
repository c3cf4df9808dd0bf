"""Programs of the next capacity, compiled in a process of their own.

Where the padded data outgrow their capacity, the programs of the next one are compiled:
seconds during which the microscope would wait, once for each machine and version of
JAX. `Ahead` follows a run and, where a measurement takes long enough for there to be
something to gain, begins a process of low priority that makes two decisions on invented
data of the next capacity. It is another process since JAX must not run in two threads
at once (`environment.before_jax`), and no decision depends on it.

The process compiles into a folder of its own and moves what it has made into the cache
on disk, from which the run loads it: a half-written program, such as a process that is
stopped leaves behind, would stay in the cache for good.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin import acquisition, surrogates
from aemtwin.acquisition import stopping
from aemtwin.acquisition.registry import Policy
from aemtwin.beliefs import believe
from aemtwin.campaign import Campaign
from aemtwin.choices import surrogate_params
from aemtwin.config import CampaignConfig
from aemtwin.decisions import Decision, Others, State
from aemtwin.environment import (
    environment,
    jax_variables,
    movable_cache,
    prepare_jax,
)
from aemtwin.inputs import View
from aemtwin.surrogates.base import bucket
from aemtwin.terms import Terms
from aemtwin.trade_offs import believe_several

log = logging.getLogger(__name__)

SLOW_S = 0.5  # a step that takes less leaves no time to compile anything in
NICE = 10  # of the process: it takes what the run leaves over
PLACES = "mark", "scratch", "cache"
PROGRAMS = "*-cache"  # as JAX names them


class Ahead:
    """Follows a campaign and compiles ahead of it; call it after each measurement."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._begun: Begun | None = None
        self._asked: set[int] = set()

    def __call__(self, state: State, decision: Decision) -> None:
        """Begin to compile what will be needed next, if there is time for it."""
        campaign, first = self._campaign, self._campaign.config.first
        n = int(np.isfinite(np.array(state.values)).sum())
        # of the first decision, then the fewest points of the next capacity
        after = first if decision.phase == "first" else bucket(max(n, 1)) + 1
        policy = isinstance(campaign.acquire, Policy)  # it decides without a fit
        slow = _waited_s(decision.timings) >= SLOW_S
        if policy or not slow or not 2 <= after < campaign.steps():
            return
        if after in self._asked or (self._begun is not None and self._begun.busy()):
            return
        self._asked.add(after)
        self.close()  # nothing is left of what has ended
        request = request_of(campaign.config, campaign.view, after)
        if folder := movable_cache():
            self._begun = begun(request, folder)

    def close(self) -> None:
        """Stop what is still compiling."""
        process, self._begun = self._begun, None
        if process is not None:
            process.end()


def _waited_s(timings: Mapping[str, float]) -> float:
    """Return for how long a step waited for the instrument, the loop's share apart."""
    ours = sum(timings.get(name, 0.0) for name in ("fit_s", "decide_s"))
    return timings.get("total_s", 0.0) - ours


def request_of(config: CampaignConfig, view: View, points: int) -> dict[str, Any]:
    """Return what `rehearse` is to be given for so many points of this campaign."""
    stop, (candidates, width) = config.stop, view.X.shape
    return {
        "surrogate": [config.surrogate.name, surrogate_params(config)],
        "acquisition": [config.acquisition.name, dict(config.acquisition.params)],
        "stop": None if stop is None else [stop.name, dict(stop.params)],
        "batch": config.search.batch,
        "numbers": len(config.sought),
        "width": width,
        "candidates": candidates,
        "points": points,
    }


@dataclass(frozen=True)
class Begun:
    """A process that compiles, and the folder into which it does."""

    process: subprocess.Popen[bytes]
    scratch: Path

    def busy(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        if self.busy():
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)


def begun(request: dict[str, Any], folder: Path) -> Begun | None:
    """Begin a process that makes what is requested; None if there is none to begin.

    Args:
        request: As `request_of` returns it.
        folder: The cache of compiled programs.
    """
    told = json.dumps([request, environment()], sort_keys=True, default=str)
    mark = folder / "ahead" / hashlib.sha256(told.encode()).hexdigest()[:32]
    if mark.exists():  # it was made, or cannot be
        log.info("not compiled ahead again: %s", mark.read_text("utf-8") or "it is")
        return None
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=mark.parent))
        places = {"mark": str(mark), "scratch": str(scratch), "cache": str(folder)}
        given = json.dumps(request | places).encode()
        process = subprocess.Popen(
            [sys.executable, "-m", "aemtwin.ahead"],
            env={**os.environ, **jax_variables(scratch)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, TypeError, ValueError) as error:  # the run does without
        log.info("nothing is compiled ahead: %s", error)
        return None
    made = Begun(process, scratch)
    assert process.stdin is not None
    try:
        with process.stdin as said:
            said.write(given)
    except OSError as error:
        log.info("nothing is compiled ahead: %s", error)
        made.end()
        return None
    log.info("compiling ahead for %d points", request["points"])
    return made


def rehearse(request: dict[str, Any]) -> None:
    """Make two decisions on invented data, as a run of these parts does."""
    name, params = request["surrogate"]
    surrogate = surrogates.get(name, **params)
    name, params = request["acquisition"]
    acquire = acquisition.get(name, **params)
    stop, rng = request["stop"], np.random.default_rng(0)
    X = rng.random((request["candidates"], request["width"]))
    view = View(X, np.ones(len(X), bool))
    terms = Terms(
        rule=None if stop is None else stopping.get(stop[0], **stop[1]),
        batch=request["batch"],
        positions=X[:, :2],
        shape=(1, len(X)),
        probe=X[0, :2],
    )
    numbers = request["numbers"]
    decide = believe if numbers == 1 else believe_several
    learned, pool = surrogate.init(request["width"]), None
    for n in (request["points"], request["points"] + 1):  # a first fit, and a next
        indices = tuple(range(min(n, len(X) - 1)))
        values = np.sin(5.0 * X[list(indices), :1] * np.arange(1, numbers + 1))
        others = Others(tuple(map(tuple, values[:, 1:].tolist())))
        state = State(indices, tuple(values[:, 0].tolist()), learned, others=others)
        belief = decide(surrogate, acquire, view, state, 0, pool, terms)
        if belief is None:  # there are no two values
            return
        learned, pool = belief.learned, belief.pool


def main() -> None:
    """Read a request, compile what it needs, and leave a mark."""
    request = json.loads(sys.stdin.buffer.read())
    with suppress(AttributeError, OSError):  # not on every system
        os.nice(NICE)
    mark, scratch, cache = (Path(request.pop(one)) for one in PLACES)
    told = ""
    try:
        for known in cache.glob(PROGRAMS):  # a link is enough: nobody changes them
            with suppress(OSError):
                os.link(known, scratch / known.name)
        prepare_jax()
        rehearse(request)
        for made in scratch.glob(PROGRAMS):
            if not (cache / made.name).exists():
                os.replace(made, cache / made.name)
    except Exception as error:  # such as a network that only the run's script has
        told = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    mark.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
