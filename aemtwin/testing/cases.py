"""Bad input by the hundred: call by argument by wrong value, from one compact table.

`aemtwin.testing.wrong` holds the values; `cases` puts each in the place of every
argument of that kind that an instrument describes, in the call itself and in
`duration`, which checks the same. `aemtwin.testing.bad_input` holds instruments to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aemtwin.errors import (
    BadRequest,
    LeaseRefused,
    NotSupported,
    UnknownName,
    WrongType,
)
from aemtwin.specs import InstrumentSpec, Parameter
from aemtwin.testing.wrong import (
    EITHER,
    HUGE,
    NAMED,
    NO_IDS,
    NO_NAMES,
    RANGED,
    TOKENS,
    TYPED,
    VAST,
    Kinds,
    Strange,
    channels,
    flags,
    misses,
    numbers,
    paths,
    positions,
    regions,
    shapes,
)


@dataclass(frozen=True, eq=False)
class Case:
    """One call that has to be refused."""

    call: str
    arguments: Mapping[str, Any]
    kinds: Kinds  # of error, one of which it is

    def __str__(self) -> str:
        said = ", ".join(f"{k!r}: {_short(v)}" for k, v in self.arguments.items())
        return f"{self.call}({said})"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of thousands of digits
        text = "a vast int"
    return text if len(text) < 50 else f"{text[:47]}..."


def _acts(spec: InstrumentSpec) -> Iterator[Case]:
    """Yield bad calls that would act."""
    at = [(low + high) / 2 for low, high in spec.bounds]
    dwell = Parameter("dwell_s", "s", spec.limits.dwell_s[0], *spec.limits.dwell_s)
    turn = Parameter("rotation", "rad", 0.0, -1e6, 1e6)
    calls: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("move_to", {"position": at}, {"position": positions(spec)})
    ]
    if spec.channels:
        tables = {
            "shape": shapes(spec),
            "region": regions(spec),
            "channels": list(channels(spec)),
            "dwell_s": list(numbers(dwell)),
            "rotation": numbers(turn),
            "backward": flags(),
        }
        calls.append(("scan", {"shape": (2, 2)}, tables))
        read = {key: tables[key] for key in ("channels", "dwell_s")}
        calls.append(("trace", {"points": [at]}, {"points": paths(spec), **read}))
    for call, key, some in (
        ("measure", "mode", spec.modes),
        ("pulse", "name", spec.pulses),
    ):
        for one in some:
            every = (one.dwell_s, *one.parameters)
            calls.append((call, {key: one.name}, {p.name: numbers(p) for p in every}))
            for p in one.parameters:
                yield Case(call, {key: one.name, p.name: None}, TYPED)
        for name in misses([one.name for one in some]) if some else ():
            yield Case(call, {key: name}, (UnknownName,))
        for wrong in NO_NAMES if some else ():
            yield Case(call, {key: wrong}, NAMED)
        for name in ("frequency", "call", "encoding", "again", "proxy", "\ud800", ""):
            if some:
                yield Case(call, {name: 1.0}, NAMED)
    for p in spec.settings:
        calls.append(("configure", {}, {p.name: [*numbers(p), (None, TYPED)]}))
    for name in (*misses([p.name for p in spec.settings]), "call", "encoding"):
        yield Case("configure", {name: 1.0}, NAMED)
    for call, good, tables in calls:
        for key, values in tables.items():
            for wrong, kinds in values:
                yield Case(call, {**good, key: wrong}, kinds)
    if not spec.pulses:
        for said in ({}, {"name": "exposure"}, {"dwell_s": math.nan}, {"volts": 1.0}):
            yield Case("pulse", said, (NotSupported,))
    if not spec.modes:
        yield Case("measure", {}, (UnknownName,))
        yield Case("measure", {"mode": "loops"}, (UnknownName,))
    if not spec.channels:
        yield Case("scan", {}, (UnknownName,))
        yield Case("trace", {"points": [at]}, (UnknownName,))
    (x_low, x_high), (y_low, y_high) = spec.bounds
    if spec.channels and x_high > x_low and y_high > y_low:  # corners leave the field
        yield Case("scan", {"shape": (2, 2), "rotation": 0.5}, RANGED)


def _ids(spec: InstrumentSpec) -> Iterator[Case]:
    """Yield calls that are good but for the id or the token."""
    good: dict[str, dict[str, Any]] = {
        "move_to": {"position": [(low + high) / 2 for low, high in spec.bounds]},
        "configure": {},
    }
    if spec.channels:
        good |= {"scan": {"shape": (1, 1)}, "trace": {"points": [good["move_to"]]}}
        good["trace"]["points"] = [good["move_to"]["position"]]
    if spec.modes:
        good["measure"] = {}
    if spec.pulses:
        good["pulse"] = {}
    for call, arguments in good.items():
        for rid in NO_IDS:
            yield Case(call, {**arguments, "rid": rid}, (BadRequest, WrongType))
        for token in TOKENS:
            yield Case(call, {**arguments, "token": token}, (LeaseRefused,))
        if spec.identity.get("twin"):  # a twin gives such ids itself
            given = {**arguments, "rid": f"server/1/plain-{call}"}
            yield Case(call, given, (BadRequest,))


def _asks(spec: InstrumentSpec) -> Iterator[Case]:
    """Yield bad calls that would only ask."""
    wrong: Any
    for wrong in ("measure", None, 3, True, [], ["measure"], {"a"}, Strange()):
        yield Case("duration", {"operation": wrong}, TYPED)
    for call in (*misses(["measure"]), *NO_NAMES, None):
        yield Case("duration", {"operation": {"call": call}}, NAMED)
    yield Case("duration", {"operation": {}}, (UnknownName,))
    yield Case("duration", {"operation": {"call": "state"}}, (UnknownName,))
    yield Case("duration", {"operation": {"call": "measure", "args": {}}}, NAMED)
    said: dict[str, Any]
    for wrong in ("x", 3, ["x"], True):
        said = {"call": "move_to", "arguments": wrong}
        yield Case("duration", {"operation": said}, TYPED)
    said = {"call": "move_to", "arguments": {1: 2}}
    yield Case("duration", {"operation": said}, NAMED)
    for wrong in (-1, HUGE, -HUGE, VAST):
        yield Case("events", {"after": wrong}, EITHER)
    for wrong in (None, 1.5, "1", b"1", True, math.nan, [1], {1}, 1j, np.float64(1)):
        yield Case("events", {"after": wrong}, TYPED)


def _truths(spec: InstrumentSpec) -> Iterator[Case]:
    """Yield bad questions to a twin that tells its truth."""
    at = [(low + high) / 2 for low, high in spec.bounds]
    for mode in spec.modes:
        for p in mode.parameters:
            for wrong, kinds in numbers(p):
                said = {"mode": mode.name, "parameters": {p.name: wrong}}
                yield Case("truth", said, kinds)
    for name in misses([mode.name for mode in spec.modes]) if spec.modes else ():
        yield Case("truth", {"mode": name}, (UnknownName,))
    if not spec.modes:
        yield Case("truth", {}, (UnknownName,))
        return
    for wrong in NO_NAMES:
        yield Case("truth", {"mode": wrong}, NAMED)
    for wrong, kinds in paths(spec):
        if wrong is not None:
            yield Case("truth", {"points": wrong}, kinds)
    for wrong, kinds in numbers(spec.modes[0].dwell_s):
        yield Case("truth", {"points": [at], "dwell_s": wrong}, kinds)
    for wrong in ("x", 3, ["x"], ("x",), True):
        yield Case("truth", {"parameters": wrong}, TYPED)
    yield Case("truth", {"parameters": {"no such name": 1.0}}, (UnknownName,))


def cases(spec: InstrumentSpec, *, truth: bool = False) -> list[Case]:
    """Return every call that an instrument has to refuse, by what it describes.

    Args:
        spec: What it describes.
        truth: Whether it tells its truth, so that this can be asked badly too.
    """
    acting = list(_acts(spec))
    asked = [
        Case(
            "duration", {"operation": dict(call=c.call, arguments=c.arguments)}, c.kinds
        )
        for c in acting
    ]
    found = [*acting, *_ids(spec), *_asks(spec), *asked]
    return [*found, *_truths(spec)] if truth else found
