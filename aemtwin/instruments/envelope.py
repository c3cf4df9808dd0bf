"""What a server refuses before anything moves: limits of its operator, and budgets.

`require` looks at one checked request and changes nothing; `count` books it. Call both
under the lock of the instrument, before the ledger's `begin` is on disk with `totals`
in it: what may have happened is counted as happened, so no budget is exceeded over a
restart. The limits themselves are `aemtwin.instruments.allowed`. The instrument's own
are in `aemtwin.instruments.planning` and `budget`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadConfig, BudgetSpent, DoseRefused, OutOfRange, unknown
from aemtwin.instruments import checks
from aemtwin.instruments.allowed import MOST, Allowed
from aemtwin.instruments.budget import SLACK
from aemtwin.instruments.kinds import SPEED
from aemtwin.instruments.pace import Pace
from aemtwin.instruments.protocol import Request
from aemtwin.instruments.quantities import (
    Quantity,
    applied,
    reach,
    scale,
    settings_of,
)
from aemtwin.instruments.route import Route, route_of
from aemtwin.specs import InstrumentSpec

SEE = "See describe().limits.allowed."
Numbers = tuple[Quantity, ...]


@dataclass(frozen=True)
class Spent:
    """What one operation takes of the budgets."""

    dose: float = 0.0  # in `InstrumentSpec.dose_units`
    bias_V_s: float = 0.0  # largest size of the voltage times all of the dwell
    path_m: float = 0.0  # way of the probe
    operations: int = 1


NOTHING = Spent(operations=0)
BUDGETS = tuple(vars(NOTHING))


class Envelope:
    """The limits of a server around one instrument.

    Args:
        spec: What the instrument can do.
        allowed: What its operator allows.
        clock: Seconds that never go back.

    Raises:
        BadConfig: If the allowed positions are all out of the instrument's reach.
    """

    def __init__(
        self,
        spec: InstrumentSpec,
        allowed: Allowed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec, self._allowed = spec, allowed
        self._totals: dict[str, float] = dict(vars(NOTHING))
        self._pace: Pace | None = None
        if allowed.rate_hz is not None:
            self._pace = Pace(allowed.rate_hz, allowed.at_once, clock)
        wanted = allowed.position or spec.bounds
        for axis, box, own in zip("xy", wanted, spec.bounds, strict=True):
            if box[1] < own[0] or own[1] < box[0]:
                raise BadConfig(
                    f"allowed.position has {axis} from {box[0]!r} to {box[1]!r} m, and "
                    f"{spec.name} reaches {own[0]!r} to {own[1]!r} m: nothing is left. "
                    "State a box inside describe().bounds."
                )

    @property
    def spec(self) -> InstrumentSpec:
        """What clients are told: the instrument's own, and `limits.allowed`."""
        limits = replace(self._spec.limits, allowed=self._allowed.told())
        return replace(self._spec, limits=limits)

    @property
    def idle(self) -> tuple[str, ...]:
        """The limits that find nothing to limit in this instrument, by name.

        An operator who states one and reads it here knows that it protects nothing.
        """
        modes, pulses = self._spec.modes, self._spec.pulses
        takes = [*self._spec.settings]
        takes += [p for mode in modes for p in mode.parameters]
        takes += [p for pulse in pulses for p in pulse.parameters]
        units = [p.units for p in takes]
        units += [axis.units for mode in modes for axis in mode.axes]
        names = {"bias_V": "V", "bias_V_s": "V", "current_A": "A", "slew_V_s": "V/s"}
        return tuple(
            name
            for name, unit in names.items()
            if getattr(self._allowed, name) is not None
            and not any(scale(one, unit) for one in units)
        )

    def require(
        self,
        request: Request,
        settings: Mapping[str, float],
        position: NDArray[np.float64],
        dose: float,
    ) -> Spent:
        """Refuse a request beyond a limit; change nothing.

        Args:
            request: As `planning.complete` makes its arguments.
            settings: All that are in effect.
            position: Where the probe is, (2,), metres.
            dose: What the request would add, in `InstrumentSpec.dose_units`.

        Returns:
            What it takes of the budgets; hand it to `count` when it is begun.

        Raises:
            OutOfRange: If a position, speed, voltage or current is beyond its limit, as
                the request or a setting in effect has it.
            DoseRefused: If the dose is beyond that of an operation, or of all.
            BudgetSpent: If another budget would be exceeded.
            TooFast: If too many operations came lately; it says how long to wait.
        """
        dose = checks.number(request.call, "dose", dose, 0.0, MOST, "")
        route = route_of(self._spec, request, np.asarray(position, np.float64))
        self._require_place(request.call, route)
        numbers = tuple(applied(self._spec, request, settings))
        self._require_rates(request.call, route, numbers)
        self._require_bias(request, settings, numbers)
        spent = self._spent(request, numbers, route, dose)
        self._require_dose(request.call, dose)
        self._require_budgets(request.call, spent)
        if self._pace is not None:
            self._pace.require(request.call)
        return spent

    def count(self, spent: Spent) -> None:
        """Book what `require` returned, when the operation is about to begin."""
        self._totals = self.totals(spent)
        if self._pace is not None:
            self._pace.count()

    def totals(self, also: Spent | None = None) -> dict[str, float]:
        """Return what was spent so far, and `also`, by the name of the budget."""
        more = vars(NOTHING if also is None else also)
        return {name: _sum(self._totals[name], more[name]) for name in BUDGETS}

    def restore(self, totals: Mapping[str, float]) -> None:
        """Go on where an earlier process was; what it had spent stays spent.

        The first operation comes in its turn, as if a burst had just ended: a restart
        gives no second burst.

        Args:
            totals: The last that `totals` gave; one that is missing is 0.

        Raises:
            UnknownName: If there is no such budget.
            OutOfRange: If one is not finite, or negative.
        """
        for name in totals:
            if name not in BUDGETS:
                raise unknown("budget", name, BUDGETS, "The ledger is of another kind.")
        found = {
            name: checks.number("restore", name, totals.get(name, 0), 0.0, MOST, "")
            for name in BUDGETS
        }
        self._totals = {**found, "operations": int(found["operations"])}
        if self._pace is not None and self._totals["operations"]:
            self._pace.empty()

    def _require_place(self, call: str, route: Route) -> None:
        box = self._allowed.position
        if box is None or not len(route.corners):
            return
        corners = route.corners
        if route.rounds:  # it may land beside the edge by rounding alone
            corners = checks.rounded_inside(corners, box)
        who, where = "this server allows", "describe().limits.allowed['position']"
        checks.require_inside(call, corners, box, who, where)

    def _require_rates(self, call: str, route: Route, numbers: Numbers) -> None:
        """Refuse speeds, currents and slews of voltage, each by its unit."""
        allowed = self._allowed
        for limit, unit in (
            (allowed.slew_m_s, "m/s"),
            (allowed.current_A, "A"),
            (allowed.slew_V_s, "V/s"),
        ):
            for name, units, value, _ in numbers:
                factor = scale(units, unit)
                if limit is not None and factor and not abs(value) * factor <= limit:
                    raise OutOfRange(
                        f"{call} has {name} = {value!r} {units}; this server allows "
                        f"{limit!r} {unit}. Lower it in the call, or by configure "
                        f"where it is a setting. {SEE}"
                    )
        line, most = route.line_m_s, allowed.slew_m_s
        if call == "trace" and any(n.name == SPEED for n in numbers):
            line = 0.0  # it goes from point to point at that
        if most is not None and not line <= most:
            raise OutOfRange(
                f"{call} moves at {line!r} m/s from one reading to the next; this "
                f"server allows {most!r} m/s. Take them closer together, or a longer "
                f"dwell_s. {SEE}"
            )

    def _require_bias(
        self, request: Request, settings: Mapping[str, float], numbers: Numbers
    ) -> None:
        if self._allowed.bias_V is None:
            return
        low, high = self._allowed.bias_V
        looked_at = [(numbers, low, high)]
        if request.call == "configure":
            now, after = (
                tuple(settings_of(self._spec, each))
                for each in (settings, {**settings, **request.arguments})
            )
            looked_at = [((n,), low, high) for n in numbers if not n.size]
            looked_at.append((after, *_no_worse(low, high, reach(now))))
        for these, lowest, highest in looked_at:
            found = reach(these)
            if found is None or (lowest <= found[0] and found[1] <= highest):
                continue
            what = " and ".join(n.name for n in these if scale(n.units, "V"))
            raise OutOfRange(
                f"{request.call} reaches {found[0]!r} to {found[1]!r} V by {what}; "
                f"this server allows {low!r} to {high!r} V. A voltage that cannot be "
                "negative is an amplitude: it counts both ways, about an offset if "
                f"there is one. Lower it in the call, or by configure. {SEE}"
            )

    def _require_dose(self, call: str, dose: float) -> None:
        units, allowed = self._spec.dose_units, self._allowed
        each = allowed.dose_per_operation
        if each is not None and not dose <= each:
            raise DoseRefused(
                f"{call} would add {dose!r} {units}; this server allows {each!r} in "
                f"one operation. Measure for a shorter time, or in parts. {SEE}"
            )
        so_far = self._totals["dose"]
        if allowed.dose is not None and not _fits(so_far, dose, allowed.dose):
            raise DoseRefused(
                f"{call} would add {dose:.6g} {units} to {so_far:.6g}; this server "
                f"allows {allowed.dose:.6g} in all, restarts included. Measure for a "
                f"shorter time, or ask its operator for more. {SEE}"
            )

    def _require_budgets(self, call: str, spent: Spent) -> None:
        units = {"bias_V_s": "V s", "path_m": "m", "operations": "operations"}
        for name, unit in units.items():
            limit, more = getattr(self._allowed, name), getattr(spent, name)
            so_far = self._totals[name]
            if limit is not None and not _fits(so_far, more, limit):
                raise BudgetSpent(
                    f"{call} would add {more:.6g} {unit} to {so_far:.6g}; this server "
                    f"allows {name} = {limit:.6g} in all, restarts included. Ask for "
                    f"less, or its operator for more. {SEE}"
                )

    @staticmethod
    def _spent(request: Request, numbers: Numbers, route: Route, dose: float) -> Spent:
        bias_V_s = 0.0
        found = reach(numbers)
        if route.spots and found is not None:
            dwell = float(request.arguments["dwell_s"])
            bias_V_s = max(abs(found[0]), abs(found[1])) * dwell * route.spots
        return Spent(dose, bias_V_s, route.path_m)


def _no_worse(
    low: float, high: float, now: tuple[float, float] | None
) -> tuple[float, float]:
    """Widen limits to what is in effect: what is put right in part is not refused."""
    return (low, high) if now is None else (min(low, now[0]), max(high, now[1]))


def _sum(so_far: float, more: float) -> float:
    """Add so that rounding never loses anything: upwards, where it would round down.

    Source: Dekker (1971), Numer. Math. 18, 224, fast two-sum: what a sum has lost.
    """
    total = so_far + more
    large, small = max(so_far, more), min(so_far, more)
    total = math.nextafter(total, math.inf) if small > total - large else total
    return min(total, MOST)  # what JSON can hold


def _fits(so_far: float, more: float, limit: float) -> bool:
    """Whether a budget has room; of one that is not counted in whole numbers, nearly.

    Ten times 0.1 may fill a budget of 1.0, though the sum of these floats is above it.
    """
    slack = 0.0 if isinstance(limit, int) else limit * SLACK
    return _sum(so_far, more) <= limit + slack  # also refuses NaN
