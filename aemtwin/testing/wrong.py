"""Wrong values: what is no number, name, id, position, shape, region or path.

Each function yields a value and the kinds of error one of which it has to raise.
`aemtwin.testing.cases` puts them into calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from aemtwin.errors import OutOfRange, ShapeMismatch, UnknownName, WrongType
from aemtwin.specs import InstrumentSpec, Parameter

Kinds = tuple[type[Exception], ...]
Wrong = Iterator[tuple[Any, Kinds]]
HUGE, VAST = 10**400, 10**5000  # beyond any float; and beyond what Python will print
MARGIN = 1e-6  # of a range: how far beyond its ends is surely beyond


class Strange:
    """An object of no use to anybody."""

    def __repr__(self) -> str:
        return "Strange()"


TYPED, RANGED = (WrongType,), (OutOfRange,)
EITHER: Kinds = (WrongType, OutOfRange)
SHAPED: Kinds = (ShapeMismatch, WrongType)
NAMED: Kinds = (UnknownName, WrongType)

NO_NUMBERS: tuple[Any, ...] = (
    True,
    np.True_,
    "1.0",
    "",
    b"1",
    1j,
    np.complex64(1),
    [1.0],
    (1.0,),
    [],
    {1.0},
    {"value": 1.0},
    np.array([1.0]),
    np.array("1"),
    np.array(True),
    np.timedelta64(1, "s"),
    np.timedelta64(1, "ns"),
    np.datetime64("2020-01-01"),
    np.void(b"1"),
    Fraction(1, 2),
    Decimal(1),
    range(3),
    Strange(),
    float,
)
NO_RANGE: tuple[Any, ...] = (
    math.nan,
    math.inf,
    -math.inf,
    np.float32("nan"),
    np.float64("-inf"),
    np.array(math.nan),
    HUGE,
    -HUGE,
    VAST,
)
NO_NAMES: tuple[Any, ...] = (
    3,
    True,
    1.5,
    math.nan,
    b"x",
    ["x"],
    {"x"},
    {"x": 1},
    np.array(["x"]),
    Strange(),
)
NO_IDS: tuple[Any, ...] = (
    "",
    "a",
    "a/1",
    "a/b/c",
    "a/1/b/c",
    "a/-1/b",
    "a/1.0/b",
    "a/1 /b",
    "a /1/b",
    "a/1/b\n",
    "a/1/",
    "/1/b",
    "a/1/\ud800",
    "a/1/\u00e9",
    "a/\u0661/b",
    f"a/{10**16}/b",
    7,
    True,
    1.5,
    b"a/1/b",
    ["a/1/b"],
    {"a": 1},
    Strange(),
)
TOKENS: tuple[Any, ...] = ("x", "", 0, False, 1.5, ["x"])


def positions(spec: InstrumentSpec) -> Wrong:
    """Yield what is no position, or none that can be reached."""
    (x_low, x_high), (y_low, y_high) = spec.bounds
    x, y = (x_low + x_high) / 2, (y_low + y_high) / 2
    wrong: Any
    for wrong in (
        "here",
        None,
        b"ab",
        True,
        (True, y),
        (x, np.True_),
        (x, None),
        (str(x), str(y)),
        (x, 1j),
        (x, [y, y]),
        {x, y + 1},
        {"x": x, "y": y},
        (Fraction(1, 2), y),
        (Decimal(1), y),
        np.array([True, False]),
        np.array([x, y], complex),
        np.array([str(x), str(y)]),
        np.array([x, y], object),
        np.array([0, 0], "M8[ns]"),
        np.array([0, 0], "m8[ns]"),
        np.array((x, y), [("x", float), ("y", float)]),
        np.ma.masked_array([x, y], mask=[True, False]),
        Strange(),
        (Strange(), Strange()),
        iter((x, y)),
    ):
        yield wrong, TYPED
    for wrong in ((), (x,), (x, y, 0.0), [[x, y]], [[x], [y]], x, np.zeros((2, 2))):
        yield wrong, SHAPED
    for bad in (math.nan, math.inf, -math.inf, HUGE, -HUGE, 2**64, 1e300):
        yield (bad, y), EITHER
        yield (x, bad), EITHER
    for i, (low, high) in enumerate(spec.bounds):
        beyond = MARGIN * max(high - low, 1e-12)
        for value in (low - beyond, high + beyond, low - 1.0, high + 1.0):
            yield ((value, y) if i == 0 else (x, value)), RANGED
    yield np.array([np.nan, y], np.float32), RANGED


def paths(spec: InstrumentSpec) -> Wrong:
    """Yield what is no list of positions."""
    good = [(low + high) / 2 for low, high in spec.bounds]
    for wrong, kinds in positions(spec):
        if isinstance(wrong, np.ma.MaskedArray | np.ndarray) or iter is type(wrong):
            continue
        yield [good, wrong], (*kinds, WrongType, ShapeMismatch)
    for wrong in (None, "here", {1.0}, {"x": [good]}, Strange(), [[None, None]]):
        yield wrong, TYPED
    for wrong in (
        [],
        [[]],
        good,
        [good[:1]],
        [[*good, 0.0]],
        [[good]],
        np.empty((0, 2)),
        np.empty((2, 0)),
        np.zeros((1, 2, 2)),
        0.0,
    ):
        yield wrong, SHAPED
    if spec.limits.points < 2**16:
        most = np.broadcast_to(np.array(good), (spec.limits.points + 1, 2))
        yield most, RANGED


def shapes(spec: InstrumentSpec) -> Wrong:
    """Yield what is no (rows, columns) of a frame."""
    most = spec.limits.points
    wrong: Any
    for wrong in (
        (2.0, 2),
        (2, 2.5),
        (True, 2),
        (2, np.True_),
        (2, None),
        ("2", "2"),
        "22",
        b"\x02\x02",
        bytearray(b"\x02\x02"),
        np.array([2.0, 2.0]),
        np.array([[2, 2], [2, 2]]),
        (1j, 2),
        (Fraction(2), 2),
        (2, [2, 2]),
        (2, np.timedelta64(2, "ns")),
        Strange(),
    ):
        yield wrong, SHAPED
    for wrong in (4, 4.0, True, (), (2,), (2, 2, 2), {2, 3}, {2: 2, 3: 3}, np.array(4)):
        yield wrong, SHAPED
    for wrong in ((0, 4), (4, 0), (-1, 2), (1, most + 1), (most, 2), (2**31, 2**33)):
        yield wrong, RANGED
    for wrong in ((HUGE, 1), (1, VAST), (-HUGE, 1)):
        yield wrong, EITHER


def regions(spec: InstrumentSpec) -> Wrong:
    """Yield what is no region, or none inside the bounds."""
    (x_low, x_high), (y_low, y_high) = spec.bounds
    x, y = [x_low, x_high], [y_low, y_high]
    wrong: Any
    for wrong in ("all", True, {1.0}, {"x": x, "y": y}, [x, None], [x, [True, y_high]]):
        yield wrong, TYPED
    for wrong in ([x], [x, y, y], [*x, *y], [[x, y]], [[x_low], [y_low]], 0.0, []):
        yield wrong, SHAPED
    wide = max(x_high - x_low, 1e-9)
    for wrong in (
        [[x_high + wide, x_low], y],
        [[x_low - wide, x_high], y],
        [x, [y_low, y_high + 1.0]],
        [[math.nan, x_high], y],
        [x, [y_low, math.inf]],
    ):
        yield wrong, RANGED
    yield [[x_low, HUGE], y], EITHER


def channels(spec: InstrumentSpec) -> Wrong:
    """Yield what is no list of channels."""
    for name in misses([channel.name for channel in spec.channels]):
        yield name, (UnknownName,)
        yield [spec.channels[0].name, name], (UnknownName,)
    for wrong in NO_NAMES:
        yield wrong, NAMED
        yield [wrong], NAMED
    yield [], (UnknownName,)
    yield (), (UnknownName,)


def misses(known: list[str]) -> list[str]:
    """Return names that are not there, most of them all but there."""
    found = ["", " ", "no such name", "\ud800", "\u0394", "x" * 10_000]
    for name in known[:1]:
        found += [name[:-1], name + "s", name.upper(), name.title(), f" {name}"]
        found += [name[::-1], name + "\n", name + "\0", f"{name},{name}"]
    return [name for name in dict.fromkeys(found) if name not in known]


def numbers(p: Parameter) -> Wrong:
    """Yield what is no number, or none in the range of a parameter."""
    for wrong in NO_NUMBERS:
        yield wrong, TYPED
    for wrong in NO_RANGE:
        yield wrong, RANGED
    if p.whole:
        yield p.default + 0.25, RANGED
    wide = min(p.high - p.low, 1e300)
    for end, way in ((p.low, -1.0), (p.high, 1.0)):
        if math.isfinite(end):
            for beyond in (MARGIN * max(abs(end), MARGIN * wide), 10.0 * wide + 1.0):
                yield end + way * beyond, RANGED


def flags() -> Wrong:
    """Yield what is neither true nor false."""
    wrong: Any
    for wrong in (0, 1, 1.0, "yes", "", b"1", [], [True], {}, {True}, 1j, Strange()):
        yield wrong, TYPED
