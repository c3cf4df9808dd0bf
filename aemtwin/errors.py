"""What can go wrong, by name: one class a cause, each also the built-in it refines.

A message is one paragraph: the call and what it got, what is allowed, how to go on. The
class name is the code that travels over the wire (`aemtwin.remote.wire`), so the same
`except` clause works beside an in-process twin and beside a remote instrument.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AemtwinError(Exception):
    """The base of every error that aemtwin raises on purpose."""

    @property
    def code(self) -> str:
        """The name that stands for this error on the wire."""
        return type(self).__name__


class OutOfRange(AemtwinError, ValueError):
    """A number lies outside what is allowed, or is not a finite number."""


class WrongType(AemtwinError, TypeError):
    """A value of another type than the call takes, such as a bool for a length."""


class ShapeMismatch(AemtwinError, ValueError):
    """An array of another shape than the call takes."""


class UnknownName(AemtwinError, LookupError):
    """No channel, mode, setting, twin or plugin of that name."""


class NotSupported(AemtwinError, TypeError):
    """This instrument cannot do what was asked, whatever the arguments."""


class BadRequest(AemtwinError, ValueError):
    """A request id that is malformed, or that was used for another request."""


class LeaseRefused(AemtwinError, PermissionError):
    """The caller does not hold the right to act."""


class AccessRefused(AemtwinError, PermissionError):
    """The server does not admit this caller, or this call is not for its role."""


class TruthRefused(AemtwinError, PermissionError):
    """The noise-free data was asked for, and this server does not give it."""


class NotReady(AemtwinError, TimeoutError):
    """The operation is not over yet; ask again."""


class Indeterminate(AemtwinError, RuntimeError):
    """The operation was begun, and nobody knows whether it was done: not repeated."""


class OperationStopped(AemtwinError, InterruptedError):
    """Somebody called `stop` while the operation was under way."""


class InstrumentFault(AemtwinError, RuntimeError):
    """The instrument began an operation and could not end it; its ledger says so."""


class TipCrashed(InstrumentFault):
    """The tip ran into the specimen; it is blunter now."""


class StageStuck(InstrumentFault):
    """The stage did not move; the probe is where it was."""


class FrameDropped(InstrumentFault):
    """The frame was taken, and its data was lost on the way."""


class DoseRefused(AemtwinError, PermissionError):
    """The operation would go beyond the dose that the specimen may get."""


class SpotSpent(DoseRefused):
    """This place would get more than it may; elsewhere there may be some left."""


class BudgetSpent(AemtwinError, PermissionError):
    """The operation would go beyond what the server's operator lets be spent."""


class TooFast(AemtwinError, BlockingIOError):
    """More operations in a short time than the server takes; it says when to ask."""


class BadFile(AemtwinError, OSError):
    """A file that cannot be read as what it should be."""


class BadJournal(AemtwinError, ValueError):
    """A run folder whose record cannot be continued."""


class BadConfig(AemtwinError, ValueError):
    """A configuration that does not describe a run."""


class Unreachable(AemtwinError, ConnectionError):
    """No instrument answers at that address."""


class ProtocolMismatch(AemtwinError, ConnectionError):
    """The two sides speak different major versions of the instrument protocol."""


class MissingExtra(AemtwinError, ImportError):
    """A feature needs packages that are not installed."""


class MeasurementFailed(AemtwinError, RuntimeError):
    """A measurement came back, but no usable number could be taken from it."""


def by_code() -> dict[str, type[AemtwinError]]:
    """Return every error class under its wire code.

    >>> by_code()["OutOfRange"] is OutOfRange
    True
    """
    found: dict[str, type[AemtwinError]] = {}
    waiting: list[type[AemtwinError]] = [AemtwinError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting.extend(kind.__subclasses__())
    return found


def builtin_base(kind: type[BaseException]) -> type[BaseException]:
    """Return the built-in that an error class refines, for clients without aemtwin.

    >>> builtin_base(UnknownName).__name__
    'LookupError'
    """
    for base in kind.__mro__:
        builtin = base.__module__ == "builtins" and issubclass(base, BaseException)
        if builtin and base not in (Exception, BaseException):
            return base
    return RuntimeError


def unknown(what: str, got: object, allowed: Iterable[str], hint: str) -> UnknownName:
    """Build the error for a name that is not there, with the nearest one that is.

    Args:
        what: What kind of name it is, such as "channel".
        got: The name that was given.
        allowed: The names that exist.
        hint: A sentence on how to go on.

    >>> str(unknown("mode", "lop", ["loop"], "See describe().modes."))
    "There is no mode 'lop'; allowed: loop. Did you mean 'loop'? See describe().modes."
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(str(got), names, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names) or "none"
    return UnknownName(f"There is no {what} {got!r}; allowed: {listed}.{guess} {hint}")
