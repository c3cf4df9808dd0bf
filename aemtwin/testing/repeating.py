"""Laws of twins that can be made again: the same requests lead to the same bits.

Each takes `make(ledger=None)`, which opens the same twin anew, with its ledger in a
file if one is given.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from aemtwin.codec import to_wire
from aemtwin.errors import AemtwinError
from aemtwin.instruments.protocol import Instrument
from aemtwin.instruments.twin import Twin
from aemtwin.testing.laws import SHAPE, Laws, nudged, place, require

RUN = "repeat"  # the run uid of the requests
Played = list[Any]


class Make(Protocol):
    """Opens a twin, always the same."""

    def __call__(self, ledger: Path | None = None) -> Twin:
        """Return it, as at time zero or as its ledger left it."""
        ...


REPEATING: Laws[Make] = Laws()
law = REPEATING


def program(scope: Instrument) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every call that it has, some of them twice."""
    spec = scope.describe()
    yield "move_to", {"position": place(scope, 0.3, 0.7)}
    for p in spec.settings:
        yield "configure", {p.name: nudged(p, p.default)}
    for _ in range(2):
        for mode in spec.modes:
            yield "measure", {"mode": mode.name}
        for pulse in spec.pulses:
            yield "pulse", {"name": pulse.name}
        if spec.channels:
            yield "scan", {"shape": SHAPE}
            yield "scan", {"shape": SHAPE, "backward": True}
            points = [place(scope, 0.2, 0.2), place(scope, 0.8, 0.3)]
            yield "trace", {"points": points}
        yield "move_to", {"position": place(scope, 0.62, 0.41)}
    for mode in spec.modes:
        for p in mode.parameters[:1]:
            yield "measure", {"mode": mode.name, p.name: nudged(p, p.default)}


def play(twin: Twin) -> Played:
    """Do the program; return every answer or error, and the state after each."""
    seen: Played = []
    for step, (call, arguments) in enumerate(program(twin)):
        try:
            answer = getattr(twin, call)(**arguments, rid=f"{RUN}/{step}/{call}")
        except AemtwinError as error:  # a fault that was drawn, a budget that is spent
            answer = error.code
        seen.append((call, to_wire(answer), to_wire(twin.state()), twin.state_hash()))
    return seen


def require_alike(one: Played, other: Played, what: str) -> None:
    """Raise unless two runs of the program saw the same."""
    parts = ("the answer", "the state", "the state's hash")
    for k, (first, second) in enumerate(zip(one, other, strict=True)):
        for part, a, b in zip(parts, first[1:], second[1:], strict=True):
            require(a == b, f"{what}: {part} of call {k + 1}, {first[0]}, is another")


@contextmanager
def _a_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "ledger.sqlite"


@law()
def the_same_seed_and_requests_give_the_same_bits(make: Make) -> None:
    """Two twins of one making answer a program of calls alike, to the last bit."""
    with closing(make()) as one, closing(make()) as other:
        require(one.state_hash() == other.state_hash(), "they are made unlike")
        require_alike(play(one), play(other), "a second twin")


@law()
def reset_leads_back_to_time_zero(make: Make) -> None:
    """After `reset` the hash is the first, and the program gives the same again."""
    with closing(make()) as twin:
        first, state = twin.state_hash(), to_wire(twin.state())
        before = play(twin)
        require(twin.state_hash() != first, "nothing that it did shows in its hash")
        twin.reset()
        require(twin.state_hash() == first, "the hash after reset() is not the first")
        require(to_wire(twin.state()) == state, "the state after reset() is another")
        require(twin.events() == [], "reset() leaves events behind")
        require_alike(before, play(twin), "after reset()")


@law()
def a_twin_opened_on_its_ledger_stands_where_it_stood(make: Make) -> None:
    """Its ledger's file brings back hash, state, events and answers, none done anew."""
    with _a_file() as path:
        with closing(make(ledger=path)) as twin:
            before = play(twin)
            last, state = twin.state_hash(), to_wire(twin.state())
            events = twin.events()
        size = path.stat().st_size
        with closing(make(ledger=path)) as twin:
            require(to_wire(twin.state()) == state, "the state is another")
            require(twin.events() == events, "the events are others")
            require(twin.state_hash() == last, "the hash of the state is another")
            again = play(twin)
            answers = [(call, answer) for call, answer, *_ in before]
            ok = [(call, answer) for call, answer, *_ in again] == answers
            require(ok, "stored answers are others than those that were given")
            require(twin.state_hash() == last, "asking again changed it")
        require(path.stat().st_size == size, "asking again was written to the ledger")


@law()
def a_ledger_changes_nothing_else(make: Make) -> None:
    """With a ledger in a file or without one, a twin answers alike."""
    with _a_file() as path, closing(make()) as plain, closing(make(ledger=path)) as one:
        require_alike(play(plain), play(one), "with a ledger in a file")


@law()
def every_operation_shows_in_the_hash_of_the_state(make: Make) -> None:
    """No two of the states that a program leads through have the same hash."""
    with closing(make()) as twin:
        hashes = [twin.state_hash(), *(step[-1] for step in play(twin))]
        require(len(set(hashes)) == len(hashes), "two states have the same hash")


@law()
def looking_changes_nothing(make: Make) -> None:
    """State, events, durations, truth and maps of the dose leave the hash as it is."""
    with closing(make()) as twin:
        play(twin)
        before = twin.state_hash()
        twin.state(), twin.describe(), twin.events(), twin.ledger(), twin.stop()
        twin.duration({"call": "move_to", "arguments": {"position": place(twin, 0, 0)}})
        for mode in twin.describe().modes:
            twin.truth(mode.name, [place(twin, 0.1, 0.9)])
        if all(low < high for low, high in twin.describe().bounds):
            twin.dose_map((3, 3))
        require(twin.state_hash() == before, "looking at it changed the hash")
