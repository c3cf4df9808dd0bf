"""Laws of what is kept: ids, events, stored answers; what callers and threads do."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from aemtwin.codec import to_wire
from aemtwin.errors import BadRequest, InstrumentFault, OutOfRange
from aemtwin.instruments.protocol import RID, Instrument
from aemtwin.measurement import Measurement
from aemtwin.testing.acting import require_at
from aemtwin.testing.laws import (
    Laws,
    new_id,
    nudged,
    place,
    read,
    refused,
    require,
    require_still,
    same,
    somewhere,
    still,
)

KEEPING: Laws[Instrument] = Laws()
law = KEEPING


def _acts(scope: Instrument, other: bool = False) -> dict[str, dict[str, Any]]:
    """Return arguments of every call that it has, or other ones."""
    spec, at = scope.describe(), place(scope, 0.6, 0.4 if other else 0.3)
    found: dict[str, dict[str, Any]] = {"move_to": {"position": at}}
    if spec.settings:
        p = spec.settings[-1]
        value = scope.state().settings[p.name]
        found["configure"] = {p.name: nudged(p, value) if other else value}
    if spec.channels:
        found["scan"] = {"shape": (2, 1) if other else (1, 2)}
        found["trace"] = {"points": [at]}
    for call, some in (("measure", spec.modes), ("pulse", spec.pulses)):
        if some:
            dwell = some[0].dwell_s
            least = max(dwell.low, 0.5 * dwell.default)
            found[call] = {"dwell_s": least if other else dwell.default}
    return found


@law()
def the_same_request_is_answered_once(scope: Instrument) -> None:
    """The same id again gives the stored answer, bit for bit, and nothing is done."""
    for call, arguments in _acts(scope).items():
        act, rid = getattr(scope, call), new_id(call)
        first = act(**arguments, rid=rid)
        before = still(scope)
        again = act(**arguments, rid=rid)
        require_still(scope, before, f"repeating {call}")
        require(same(again, first), f"{call} under the same id gave another answer")


@law()
def one_id_stands_for_one_request(scope: Instrument) -> None:
    """Another request under an id that was used is refused."""
    for call, arguments in _acts(scope).items():
        rid = new_id(call)
        getattr(scope, call)(**arguments, rid=rid)
        other = _acts(scope, other=True)[call]
        if other == arguments:
            continue
        before = still(scope)
        refused(BadRequest, getattr(scope, call), **other, rid=rid)
        require_still(scope, before, f"{call} under a used id")


@law()
def a_refused_call_does_not_use_up_its_id(scope: Instrument) -> None:
    """After a mistake the same id can be given to the call that was meant."""
    rid, position = new_id(), somewhere(scope)
    (_, x_high), _ = scope.describe().bounds
    refused(OutOfRange, scope.move_to, (x_high + 1.0, position[1]), rid=rid)
    require_at(scope, scope.move_to(position, rid=rid), position, "move_to, corrected,")


@law()
def calls_without_an_id_are_given_one(scope: Instrument) -> None:
    """Each is of the form `<run uid>/<step>/<part>`, new, and told by the events."""
    before = scope.state().operations
    ids = [read(scope).rid for _ in range(2)]
    for rid in ids:
        require(RID.fullmatch(rid), f"it gave the id {rid!r}, which is of another form")
    require(ids[0] != ids[1], f"it gave the id {ids[0]!r} twice")
    events = [event["rid"] for event in scope.events(before)]
    require(events == ids, f"the answers have the ids {ids}, the events {events}")


@law()
def every_operation_is_one_event(scope: Instrument) -> None:
    """Each acting call adds one event, with its id, its call and its times in order."""
    last = scope.state()
    for call, arguments in _acts(scope).items():
        rid = new_id(call)
        getattr(scope, call)(**arguments, rid=rid)
        now, events = scope.state(), scope.events(last.operations)
        require(
            len(events) == 1 and now.operations == last.operations + 1,
            f"{call} made {len(events)} events and {now.operations} operations of "
            f"{last.operations}; it is one more",
        )
        event = events[0]
        known = (event["n"], event["rid"], event["call"])
        wanted = (now.operations, rid, call)
        require(known == wanted, f"the event is {known}; it should be {wanted}")
        ordered = last.time_s <= event["begin_s"] <= event["end_s"] <= now.time_s
        require(ordered, f"{call} was from {event['begin_s']} to {event['end_s']} s")
        require(now.last == rid, f"state().last is {now.last!r} after {rid!r}")
        require(not now.busy, f"after {call} it is busy with {now.busy!r}")
        last = now


@law()
def what_comes_back_cannot_be_written_to(scope: Instrument) -> None:
    """Arrays are read-only, so that no caller changes what another was told."""
    answers: dict[str, Any] = {"move_to": scope.move_to(somewhere(scope))}
    answers |= {"state": scope.state().position}
    for mode in scope.describe().modes:
        answers |= _arrays(scope.measure(mode.name))
    if scope.describe().channels:
        answers |= _arrays(scope.scan(shape=(2, 2)))
        answers |= _arrays(scope.trace([somewhere(scope)]))
    for what, array in answers.items():
        require(not array.flags.writeable, f"{what} can be written to")


def _arrays(m: Measurement) -> dict[str, Any]:
    said = {f"{name!r} of {m.call}": array for name, array in m.arrays.items()}
    return {**said, f"asked of {m.call}": m.asked, f"actual of {m.call}": m.actual}


@law()
def what_was_given_stays_as_it_was(scope: Instrument) -> None:
    """What the instrument does later changes no answer that it gave before."""
    scope.move_to(somewhere(scope))
    given: list[Any] = [read(scope), scope.state()]
    if scope.describe().channels:
        given.append(scope.scan(shape=(2, 2)))
    before = [to_wire(one) for one in given]
    scope.move_to(place(scope, 0.8, 0.1))
    read(scope)
    if scope.describe().channels:
        scope.scan(shape=(2, 2))
    require([to_wire(one) for one in given] == before, "an answer changed afterwards")


@law()
def what_a_caller_changes_changes_nothing(scope: Instrument) -> None:
    """Tables that come back, and the list of events, are the caller's own."""
    scope.move_to(somewhere(scope), rid=new_id())
    read(scope)
    usual: dict[str, Any] = dict(scope.state().settings)
    answers = [scope.configure(**usual), scope.state().settings, scope.events()]
    if scope.describe().pulses:
        answers.append(scope.pulse())
    before, events = still(scope), to_wire(scope.events())
    for answer in answers:
        _spoil(answer)
    require_still(scope, before, "changing what came back")
    require(to_wire(scope.events()) == events, "what events() tell can be changed")


def _spoil(answer: Any) -> None:
    tables = answer if isinstance(answer, list) else [answer]
    for table in tables:
        for key, value in list(table.items()):
            if isinstance(value, dict):
                value.clear()
            table[key] = -1.0
    if isinstance(answer, list):
        answer.clear()


@law()
def threads_take_turns(scope: Instrument) -> None:
    """Several threads act at once; each is answered, and no two operations overlap."""
    failures: list[Exception] = []
    before = scope.state().operations
    names_of = [[new_id(f"thread{k}") for _ in range(3)] for k in range(3)]
    read(scope)  # skips, where there is nothing to read

    def act(ids: list[str]) -> None:
        try:
            for rid in ids:
                scope.move_to(somewhere(scope), rid=rid)
        except Exception as error:  # told below
            failures.append(error)

    _together([lambda ids=ids: act(ids) for ids in names_of])  # type: ignore[misc]
    for failure in failures:
        if isinstance(failure, InstrumentFault):
            raise failure  # no breach: instruments fail now and then
    require(not failures, f"a thread failed: {failures}")
    events = scope.events(before + 1)
    require(len(events) == 9, f"9 operations made {len(events)} events")
    for one, other in itertools.pairwise(events):
        apart = other["begin_s"] >= one["end_s"]
        require(apart, f"{other['rid']} began before {one['rid']} ended")


def _together(acts: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=one) for one in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
