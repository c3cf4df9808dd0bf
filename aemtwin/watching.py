"""What passes at an instrument, as lines for people: `aemtwin watch URI`.

It only looks: `events`, `state` and `describe`, which wait for nothing and hold no
lease, so that watching is in nobody's way. A server that is gone is waited for; one
that began anew is told as such, and shown from its beginning.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aemtwin.errors import Unreachable
from aemtwin.instruments.protocol import Instrument, State

EARLIER = 10  # operations from before that are shown
BLOCK = 200  # operations that are asked for at a time
RATE_S = 10.0  # over which operations are counted
ANEW = "another ledger: this instrument began anew"
HEAD = f"{'n':>7} {'time s':>11}  {'what':<16} {'x, y nm':<18} {'dose':>10}  id, by"


@dataclass(frozen=True)
class Seen:
    """What there was to see at one look."""

    lines: tuple[str, ...]  # one for each operation that was new
    status: str  # how it stands now, in one line


def watched(
    instrument: Instrument,
    *,
    poll_s: float = 0.25,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Seen]:
    """Yield what passes, look by look, for ever.

    Args:
        instrument: To look at.
        poll_s: Between two looks.
        sleep: Waits so long.
        clock: Seconds, to tell how many operations there are in one.

    Raises:
        Unreachable: If nobody answers at the first look.
    """
    spec, state = instrument.describe(), instrument.state()
    after, answered = max(state.operations - EARLIER, 0), clock()
    counted: deque[tuple[float, int]] = deque([(clock(), state.operations)])
    while True:
        try:
            if (state := instrument.state()).operations < counted[-1][1]:
                after = 0
                counted.clear()
                yield Seen((ANEW,), status(state, 0.0, spec.dose_units))
            block = instrument.events(after, BLOCK)
        except Unreachable as error:
            silent = f"no answer for {clock() - answered:.0f} s: {error}"
            yield Seen((), silent)
            sleep(poll_s)
            continue
        answered = clock()
        # what is under way has no end yet: it is shown when it has
        over = [e for e in block if e["end_s"] is not None or e["n"] < block[-1]["n"]]
        after = over[-1]["n"] if over else after
        now = answered
        counted.append((now, state.operations))
        while len(counted) > 2 and now - counted[0][0] > RATE_S:
            counted.popleft()
        then, before = counted[0]
        seconds = now - then
        rate = (state.operations - before) / seconds if seconds > 0 else 0.0
        lines = tuple(line(event, spec.dose_units) for event in over)
        yield Seen(lines, status(state, rate, spec.dose_units))
        if len(block) < BLOCK:
            sleep(poll_s)


def line(event: Mapping[str, Any], dose_units: str) -> str:
    """Return one operation as a line.

    >>> event = {"n": 3, "rid": "r/1/move", "call": "move_to", "begin_s": 0.5,
    ...     "end_s": 1.0, "actual": [1e-7, 2e-7], "arguments": {}, "holder": "me"}
    >>> line(event, "s").split()
    ['3', '1.000', 'move_to', '100.0,', '200.0', '-', 'r/1/move', 'by', 'me']
    """
    arguments = event.get("arguments", {})
    kind = arguments.get("mode") or arguments.get("name") or ""
    what = f"{event['call']} {kind}".strip()
    at = event.get("actual") or arguments.get("position")
    where = "-" if not at else f"{at[0] * 1e9:.1f}, {at[1] * 1e9:.1f}"
    end = event["end_s"]
    when = "-" if end is None else f"{end:.3f}"
    dose = f"{event['dose']:.4g} {dose_units}" if event.get("dose") else "-"
    text = f"{event['n']:>7} {when:>11}  {what:<16} {where:<18} {dose:>10}"
    holder, run = event.get("holder") or "", event["rid"].split("/")[0]
    by = f" by {holder}" if holder and run not in holder else ""  # said already
    failed = f"  {event['error'][0]}" if event.get("error") else ""
    return f"{text}  {event['rid']}{by}{failed}"


def status(state: State, rate: float | None, dose_units: str) -> str:
    """Return in one line how an instrument stands; `rate` in operations a second."""
    x, y = state.position.tolist()
    often = "" if rate is None else f", {rate:.1f} a second"
    return (
        f"{state.operations} operations{often}; dose {state.dose:.4g} "
        f"{dose_units}; at {x * 1e9:.1f}, {y * 1e9:.1f} nm; under way: "
        f"{state.busy or 'nothing'}; held by: {state.lease or 'nobody'}"
    )
