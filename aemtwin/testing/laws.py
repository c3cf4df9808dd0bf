"""What a law is, and what laws need to be said: spots, doses, request ids, stillness.

The laws themselves are in `asking` (nothing acts), `acting`, `dosing`, `telling` (of
twins that tell their truth) and `repeating` (of twins that can be made again), all of
this folder; `conformance` holds an instrument to them.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.codec import to_wire
from aemtwin.errors import AemtwinError
from aemtwin.instruments.kinds import FLUX
from aemtwin.instruments.protocol import Instrument
from aemtwin.measurement import Measurement
from aemtwin.specs import Mode, Parameter, Pulse

Array = NDArray[np.float64]
SHAPE = (4, 3)  # of the frames that laws take: small, and not square
FLUX_OF = {"electrons": "current_A", "J": "power_W"}  # unit of dose -> its setting
Subject = TypeVar("Subject")


class Skip(Exception):
    """A law says nothing of this instrument; the text says why."""


@dataclasses.dataclass(frozen=True)
class Law(Generic[Subject]):
    """One thing that holds: called with an instrument, it raises `AssertionError`."""

    name: str
    proves: str  # a paragraph
    call: Callable[[Subject], None]
    acts: bool = True  # what is asked for can move, change or dose something

    def __call__(self, subject: Subject) -> None:
        self.call(subject)

    @property
    def sentence(self) -> str:
        """The name, as it is told to people."""
        return self.name.replace("_", " ")


class Laws(dict[str, Law[Subject]]):
    """Laws by name; used on a function as a decorator, it takes the function in."""

    def __call__(
        self, *, acts: bool = True
    ) -> Callable[[Callable[[Subject], None]], Law[Subject]]:
        def take(function: Callable[[Subject], None]) -> Law[Subject]:
            name = function.__name__
            law = Law(name, inspect.getdoc(function) or "", function, acts)
            self[name] = law
            return law

        return take


def require(ok: object, sentence: str) -> None:
    """Raise `AssertionError` with the sentence unless `ok`."""
    if not ok:
        raise AssertionError(sentence)


def refused(
    kinds: type[Exception] | tuple[type[Exception], ...],
    call: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> AemtwinError:
    """Return the error of one of `kinds` that a call raises."""
    try:
        answer = call(*args, **kwargs)
    except AemtwinError as error:
        named = kinds if isinstance(kinds, tuple) else (kinds,)
        wanted = " or ".join(kind.__name__ for kind in named)
        require(
            type(error) in named,
            f"it should raise {wanted} and raised {error.code}: {error}",
        )
        return error
    raise AssertionError(f"it should be refused, and answered {str(answer)[:80]}")


def still(scope: Instrument) -> Any:
    """Return all that can be seen of an instrument without acting on it."""
    state = scope.state()
    seen = to_wire(dataclasses.replace(state, busy=""), "list")
    tell = getattr(scope, "state_hash", None)
    return seen, len(scope.events(state.operations)), tell() if tell else ""


def require_still(scope: Instrument, before: Any, after: str) -> None:
    """Raise unless the instrument stands as it stood."""
    now = still(scope)
    require(now == before, f"{after} changed it: it was {before} and is {now}")


def is_twin(scope: Instrument) -> bool:
    """Say whether this is a twin, of which more is known than of an instrument."""
    return bool(scope.describe().identity.get("twin"))


def is_ideal(scope: Instrument) -> bool:
    """Say whether this is a twin without any effect."""
    return is_twin(scope) and bool(scope.describe().identity.get("ideal"))


def require_ideal(scope: Instrument) -> None:
    """Skip unless this is a twin without any effect."""
    if not is_ideal(scope):
        raise Skip("it is no ideal twin")


def names(scope: Instrument) -> list[str]:
    """Return the channels, or skip."""
    found = [channel.name for channel in scope.describe().channels]
    if not found:
        raise Skip("it has no channels")
    return found


def modes(scope: Instrument) -> tuple[Mode, ...]:
    """Return the modes, or skip."""
    if not scope.describe().modes:
        raise Skip("it has no spectra")
    return scope.describe().modes


def pulses(scope: Instrument) -> tuple[Pulse, ...]:
    """Return the pulses, or skip."""
    if not scope.describe().pulses:
        raise Skip("it has no pulse")
    return scope.describe().pulses


def told(scope: Instrument, *args: Any, **kwargs: Any) -> Measurement:
    """Return the truth, or skip."""
    from aemtwin.errors import NotSupported, TruthRefused

    tell = getattr(scope, "truth", None)
    if tell is None:
        raise Skip("it does not know its truth")
    try:
        truth: Measurement = tell(*args, **kwargs)
    except (NotSupported, TruthRefused):
        raise Skip("it does not tell its truth") from None
    return truth


def place(scope: Instrument, u: float, v: float) -> list[float]:
    """Return the position at these shares of the bounds, [x, y], metres."""
    (x_low, x_high), (y_low, y_high) = scope.describe().bounds
    return [x_low + u * (x_high - x_low), y_low + v * (y_high - y_low)]


def somewhere(scope: Instrument) -> list[float]:
    """Return a position that is no centre, no edge and not on the diagonal."""
    return place(scope, 0.3, 0.7)


def fresh(scope: Instrument) -> list[float]:
    """Return a position where nothing was done yet, as far as chance goes."""
    n = scope.state().operations
    shares = (0.1 + 0.8 * math.modf(0.3 + n * step)[0] for step in (0.754878, 0.56984))
    return place(scope, *shares)


_serial = itertools.count()


def new_id(part: str = "law") -> str:
    """Return a request id that nobody has used."""
    return f"check-{uuid.uuid4().hex[:12]}/{next(_serial)}/{part}"


def read(scope: Instrument, **said: Any) -> Measurement:
    """Take the least of a reading where the probe is: a spectrum, or a point."""
    if scope.describe().modes:
        return scope.measure(**said)
    names(scope)
    return scope.trace([scope.state().position.tolist()], **said)


def dwells(scope: Instrument) -> tuple[str, tuple[float, float]]:
    """Return the call of `read` and its range of dwells."""
    spec = scope.describe()
    if spec.modes:
        return "measure", (spec.modes[0].dwell_s.low, spec.modes[0].dwell_s.high)
    return "trace", spec.limits.dwell_s


def a_second(scope: Instrument) -> float:
    """Return the dose that a second on the specimen is, by the definition of its unit.

    Electrons are the current over the charge of one; joules are the power.
    """
    units, settings = scope.describe().dose_units, scope.state().settings
    if units == "s":
        return 1.0
    name = FLUX_OF.get(units)
    if name is None or name not in settings:
        raise Skip(f"no setting says how many {units} a second are")
    return settings[name] / FLUX[name]


def nudged(parameter: Parameter, value: float) -> float:
    """Return another value close by in the range of a parameter, downwards if any.

    >>> nudged(Parameter("settle_s", "s", 1.0, 0.0, 2.0), 1.0)
    0.95
    """
    end = parameter.low if value > parameter.low else parameter.high
    if parameter.whole:  # and fewer by enough to be another multiple of 4
        return float(max(round(0.5 * value), end) if end < value else value + 1)
    if math.isfinite(end):
        return 0.95 * value + 0.05 * end
    return 0.95 * value if value else 1.0


def changed(name: str, value: float) -> dict[str, Any]:
    """Return the argument that a call gets by a name that is known when it is made."""
    return {name: value}


def close(one: float, other: float, *, rel: float = 1e-9, slack: float = 0.0) -> bool:
    """Say whether two numbers are the same but for rounding."""
    return math.isclose(one, other, rel_tol=rel, abs_tol=slack)


def same(one: Any, other: Any) -> bool:
    """Say whether two answers are the same, bit for bit."""
    return bool(to_wire(one) == to_wire(other))


def doses(events: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the dose that each event tells; 0 where it tells none."""
    return [float(event.get("dose") or 0.0) for event in events]
