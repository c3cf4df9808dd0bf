"""What the operator of a server allows, as a table of a TOML file states it.

It binds any instrument behind the server, a twin and a real one alike, besides what the
instrument itself can reach. `aemtwin.instruments.envelope` holds requests to it.
"""

from __future__ import annotations

import math
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from aemtwin.errors import (
    AemtwinError,
    BadConfig,
    BadFile,
    OutOfRange,
    ShapeMismatch,
    unknown,
)
from aemtwin.instruments import checks
from aemtwin.specs import Bounds

TABLE = "allowed"  # of limits.toml
MOST = sys.float_info.max


@dataclass(frozen=True)
class Allowed:
    """Limits of a server; None: nothing beyond what the instrument says itself.

    Those of one operation are exact: a value on a limit passes, the next float beyond
    is refused. Budgets are of all operations together, also over restarts.

    Raises:
        WrongType: If one is no number, such as a bool.
        OutOfRange: If one is not finite, negative, or low lies above high.
        BadConfig: If `burst` is given without `rate_hz`.
    """

    position: Bounds | None = None  # ((x low, x high), (y low, y high)), metres
    rate_hz: float | None = None  # acting operations a second, in the long run
    burst: int | None = None  # so many at once; None: those of one second, at least 1
    slew_m_s: float | None = None  # fastest movement of the probe
    slew_V_s: float | None = None  # fastest change of a voltage
    bias_V: tuple[float, float] | None = None  # lowest and highest voltage
    current_A: float | None = None  # highest current, of either sign
    dose_per_operation: float | None = None  # in `InstrumentSpec.dose_units`
    dose: float | None = None  # budget, in `InstrumentSpec.dose_units`
    bias_V_s: float | None = None  # budget of size of voltage times dwell
    path_m: float | None = None  # budget of the way of the probe
    operations: int | None = None  # budget of acting calls

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None:
                object.__setattr__(self, name, _checked(name, value))
        if self.burst is not None and self.rate_hz is None:
            raise BadConfig(
                f"allowed.burst = {self.burst} says how many operations may come at "
                "once, and there is no rate_hz after them. State rate_hz too."
            )

    @property
    def at_once(self) -> int:
        """How many operations may come at once where there is a `rate_hz`."""
        return self.burst or max(1, math.ceil(self.rate_hz or 1.0))

    def told(self) -> dict[str, Any]:
        """Return what is limited, as JSON values; `stated` reads it again.

        >>> Allowed(bias_V=(-1, 2)).told()
        {'bias_V': [-1.0, 2.0]}
        """
        return {
            name: _listed(value)
            for name, value in vars(self).items()
            if value is not None
        }


NAMES = tuple(one.name for one in fields(Allowed))
WHOLE = {"burst": 1, "operations": 0}  # -> the least
ABOVE = ("rate_hz",)  # at 0 nothing would ever be done


def stated(table: Mapping[str, Any]) -> Allowed:
    """Return the limits that the table `[allowed]` states.

    Args:
        table: Names of `Allowed` with numbers; `position` is
            [[x low, x high], [y low, y high]] and `bias_V` [low, high].

    Raises:
        UnknownName: If there is no such limit.
        AemtwinError: What `Allowed` raises.

    >>> stated({"bias_V": [-5, 5], "dose": 1e9}).dose
    1000000000.0
    """
    for name in table:
        if name not in NAMES:
            raise unknown("limit", name, NAMES, "docs/channels.md explains each.")
    return Allowed(**table)


def read_allowed(path: Path) -> Allowed:
    """Return the limits that a file with the one table `[allowed]` states.

    Raises:
        BadFile: If the file cannot be read, or has no such table.
        AemtwinError: What `stated` raises, with the name of the file.
    """
    how = f"It holds the table [{TABLE}] with limits such as bias_V = [-5.0, 5.0]."
    try:
        toml = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(
            f"The limits {path} cannot be read ({error}). {how} Nothing is served "
            "without the limits that were asked for."
        ) from error
    if not isinstance(toml.get(TABLE), dict):
        raise BadFile(f"The limits {path} have no table [{TABLE}]. {how}")
    try:
        for name in toml:
            if name != TABLE:
                raise unknown("table", name, [TABLE], how)
        return stated(toml[TABLE])
    except AemtwinError as error:
        raise type(error)(f"The limits {path} are wrong. {error}") from error


def _checked(name: str, value: Any) -> Any:
    """Return a limit as floats and tuples."""
    said = f"{TABLE}.{name}"
    if name == "position":
        array = checks.floats(TABLE, name, value, "(2, 2)", 2)
        box = checks.region(TABLE, array, ((0.0, 0.0), (0.0, 0.0)))
        return tuple((low, high) for low, high in box)
    if name == "bias_V":
        pair = checks.floats(TABLE, name, value, "(2,)", 1).tolist()
        if len(pair) != 2:
            raise ShapeMismatch(f"{said} got {pair!r}; it is [low, high], volts.")
        if pair[0] > pair[1]:
            raise OutOfRange(f"{said} got {pair!r}; it is [low, high], volts.")
        return tuple(pair)
    if name in WHOLE:
        return checks.whole(TABLE, name, value, WHOLE[name], 2**53)
    least = math.ulp(0.0) if name in ABOVE else 0.0
    return checks.number(TABLE, name, value, least, MOST, "")


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value
