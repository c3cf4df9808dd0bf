"""Arguments are checked and made plain here, before anything moves.

Each function returns builtins (floats, ints, lists) that JSON and both serializers can
carry, or raises an error that says what was got, what is allowed and how to go on.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, UnknownName, WrongType, unknown
from aemtwin.specs import Bounds, Parameter

REAL = (int, float, np.integer, np.floating)


def number(
    call: str, name: str, value: object, low: float, high: float, units: str
) -> float:
    """Return `value` as a float inside [low, high].

    >>> number("measure", "dwell_s", 2, 0.1, 10.0, "s")
    2.0
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, REAL):
        raise WrongType(
            f"{call} got {name} = {value!r}; it is a real number from {low:g} to "
            f"{high:g} {units}.".replace(" .", ".")
        )
    try:
        value = float(value)
    except OverflowError:  # an int beyond any float
        value = math.inf if value > 0 else -math.inf
    if not low <= value <= high:  # also catches NaN
        raise OutOfRange(
            f"{call} got {name} = {value:g} {units}; allowed is {low:g} to {high:g} "
            f"{units}. See describe() for the limits."
        )
    return value


def whole(call: str, name: str, value: object, low: int, high: int) -> int:
    """Return `value` as an int inside [low, high]."""
    if isinstance(value, bool | np.bool_ | np.timedelta64) or not isinstance(
        value, numbers.Integral
    ):
        raise WrongType(f"{call} got {name} = {value!r}; it is a whole number.")
    if not low <= int(value) <= high:
        told = value if abs(int(value)) < 2**64 else "a number of more than 64 bits"
        raise OutOfRange(f"{call} got {name} = {told}; allowed is {low} to {high}.")
    return int(value)


def flag(call: str, name: str, value: object) -> bool:
    """Return `value` as a bool; None is False.

    >>> flag("scan", "backward", None)
    False
    """
    if value is not None and not isinstance(value, bool | np.bool_):
        raise WrongType(f"{call} got {name} = {value!r}; it is True or False.")
    return bool(value)


def floats(
    call: str, name: str, value: object, shape: str, ndim: int
) -> NDArray[np.float64]:
    """Return `value` as a float64 array of `ndim` axes, finite; bool is refused."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of unequal length
        array = np.asarray(None)
    if array.dtype.kind not in "fiu" or np.ma.is_masked(value):
        raise WrongType(
            f"{call} got {name} = {_short(value)}; it is real numbers of shape {shape}."
        )
    if _has_bool(value):
        raise WrongType(f"{call} got a bool in {name}; it is numbers of shape {shape}.")
    if array.ndim != ndim:
        raise ShapeMismatch(
            f"{call} got {name} of shape {array.shape}; it has shape {shape}."
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise OutOfRange(
            f"{call} got {name} = {_short(value)}, which is not finite; give numbers "
            "in metres."
        )
    return array


def _has_bool(value: object) -> bool:
    """NumPy makes [True, 0.5] into numbers; a bool for a length is a mistake."""
    if isinstance(value, np.ndarray):
        return False  # its dtype was looked at
    if isinstance(value, list | tuple):
        return any(_has_bool(item) for item in value)
    return isinstance(value, bool | np.bool_)


def position(call: str, value: object, bounds: Bounds) -> list[float]:
    """Return a position (x, y) inside `bounds`."""
    if type(value) is list and [type(v) for v in value] == [float, float]:
        (x_low, x_high), (y_low, y_high) = bounds
        if x_low <= value[0] <= x_high and y_low <= value[1] <= y_high:
            return list(value)  # as nearly all are
    array = floats(call, "position", value, "(2,)", 1)
    if array.shape != (2,):
        raise ShapeMismatch(
            f"{call} got a position of {array.size} numbers; it is (x, y) in metres."
        )
    require_inside(call, array[None, :], bounds)
    return [float(v) for v in array]


def require_inside(
    call: str,
    points: NDArray[np.float64],
    bounds: Bounds,
    who: str = "the probe reaches",
    where: str = "describe().bounds",
) -> None:
    """Refuse points (k, 2) outside `bounds`, metres; say `who` and `where`."""
    for i, (axis, (low, high)) in enumerate(zip("xy", bounds, strict=True)):
        wrong = ~((points[:, i] >= low) & (points[:, i] <= high))
        if wrong.any():
            value = float(points[:, i][wrong][0])
            raise OutOfRange(
                f"{call} got {axis} = {value:.9g} m; {who} {low:.9g} to "
                f"{high:.9g} m. Keep positions inside {where}."
            )


def rounded_inside(points: NDArray[np.float64], bounds: Bounds) -> NDArray[np.float64]:
    """Put points (k, 2) that miss the bounds by rounding alone onto them."""
    box = np.array(bounds)
    slack = 1e-12 * np.abs(box).max()
    near = np.clip(points, box[:, 0], box[:, 1])
    return np.where(np.abs(points - near) <= slack, near, points)


def points(call: str, value: object) -> NDArray[np.float64]:
    """Return positions (k, 2), k >= 1, finite."""
    array = floats(call, "points", value, "(k, 2)", 2)
    if array.shape[1] != 2 or not len(array):
        raise ShapeMismatch(
            f"{call} got points of shape {array.shape}; it is (k, 2) with k >= 1: "
            "(x, y) in metres."
        )
    return array


def region(call: str, value: object, bounds: Bounds) -> list[list[float]]:
    """Return ((x low, x high), (y low, y high)) with low <= high, finite."""
    if value is None:
        return [list(pair) for pair in bounds]
    array = floats(call, "region", value, "(2, 2)", 2)
    if array.shape != (2, 2):
        raise ShapeMismatch(
            f"{call} got a region of shape {array.shape}; it is "
            "((x low, x high), (y low, y high)) in metres."
        )
    if (array[:, 0] > array[:, 1]).any():
        raise OutOfRange(
            f"{call} got a region whose low edge lies above its high edge: "
            f"{array.tolist()}. Give ((x low, x high), (y low, y high)) in metres."
        )
    return [[float(v) for v in pair] for pair in array]


def shape(call: str, value: Any, limit: int) -> list[int]:
    """Return (rows, columns), each at least 1, at most `limit` pixels in all."""
    listed = isinstance(value, Sequence) and not isinstance(value, bytes | bytearray)
    listed = listed or (isinstance(value, np.ndarray) and value.ndim > 0)
    if not listed or len(value) != 2:
        raise ShapeMismatch(f"{call} got shape = {value!r}; it is (rows, columns).")
    rows, columns = (whole(call, "shape", n, 1, limit) for n in value)
    if rows * columns > limit:
        raise OutOfRange(
            f"{call} got a frame of {rows} x {columns} = {rows * columns} pixels; at "
            f"most {limit} are allowed in one frame. Take it in parts."
        )
    return [rows, columns]


def names(call: str, what: str, value: object, allowed: Sequence[str]) -> list[str]:
    """Return a list of names that all exist, without repeats; None means all."""
    if value is None:
        chosen = list(allowed)
    elif isinstance(value, str):
        chosen = [value]
    elif isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        chosen = list(dict.fromkeys(value))
    else:
        raise WrongType(f"{call} got {what}s = {value!r}; it is a list of names.")
    for name in chosen:
        if name not in allowed:
            raise unknown(what, name, allowed, f"See describe().{what}s.")
    if not chosen:
        there = ", ".join(allowed) or "none"
        raise UnknownName(f"{call} needs at least one {what}; there is: {there}.")
    return chosen


def parameters(
    call: str, given: Mapping[str, object], allowed: Sequence[Parameter]
) -> dict[str, float]:
    """Return all given parameters as floats in their ranges."""
    if not isinstance(given, Mapping):
        raise WrongType(f"{call} takes its parameters by name; got {given!r}.")
    by_name = {p.name: p for p in allowed}
    checked = {}
    for name, value in given.items():
        if name not in by_name:
            raise unknown(f"{call} parameter", name, by_name, "See describe().")
        p = by_name[name]
        checked[name] = number(call, name, value, p.low, p.high, p.units)
        if p.whole and checked[name] != int(checked[name]):
            raise OutOfRange(
                f"{call} got {name} = {value!r}; it is a whole number from {p.low:g} "
                f"to {p.high:g} ({p.doc})."
            )
    return checked


def operation(given: Any) -> tuple[str, str | None, Mapping[str, Any]]:
    """Return call, id and arguments of `{"call": ..., "rid": ..., "arguments": ...}`.

    Raises:
        WrongType: If it is not such a mapping.
        UnknownName: If it has another key.
    """
    if not isinstance(given, Mapping):
        raise WrongType(
            f"An operation is {{'call': name, 'arguments': {{...}}}}; got {given!r}."
        )
    for key in given:
        if key not in ("call", "rid", "arguments"):
            allowed = ("call", "rid", "arguments")
            raise unknown("key of an operation", key, allowed, "See the protocol.")
    return str(given.get("call", "")), given.get("rid"), given.get("arguments", {})


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
