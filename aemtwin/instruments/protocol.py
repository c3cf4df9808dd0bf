"""The one protocol of a microscope, and the request that every acting call becomes.

A twin in this process (`aemtwin.instruments.twin`), a twin or a controller behind a URI
(`aemtwin.remote.client`) satisfy `Instrument`; a campaign knows nothing else of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadRequest
from aemtwin.measurement import Measurement
from aemtwin.specs import Bounds, InstrumentSpec

WORD = r"[!-.0-~]+"  # printable ASCII without / and space
RID = re.compile(rf"(?P<run>{WORD})/(?P<step>[0-9]{{1,15}})/(?P<part>{WORD})")


@dataclass(frozen=True, eq=False)
class State:
    """How the instrument stands."""

    position: NDArray[np.float64]  # (2,) m
    settings: Mapping[str, float]
    time_s: float  # on the instrument's clock, 0 when it was opened
    dose: float  # so far, in `InstrumentSpec.dose_units`
    operations: int  # acting calls so far
    busy: str  # rid of the operation under way, or ""
    last: str  # rid of the last operation, or ""
    lease: str = ""  # who holds the right to act, or ""


@dataclass(frozen=True)
class Lease:
    """The right to act, as its holder has it."""

    token: str  # for its holder alone: whoever shows it may act
    fence: int  # 1, 2, ... in the order of being given, restarts included
    holder: str  # as others see it
    ttl_s: float  # how long it lasts without a sign of life


@dataclass(frozen=True)
class Request:
    """One acting call: its name, its id and its arguments, checked and complete."""

    call: str
    rid: str
    arguments: Mapping[str, Any]  # JSON values; defaults filled in

    @property
    def address(self) -> tuple[int, str]:
        """The step and the part: what chance is keyed by."""
        step, part = split_rid(self.rid)
        return step, part

    def asks_as(self, other: Request) -> bool:
        """Say whether another asks for the same, whatever its id."""
        return (self.call, self.arguments) == (other.call, other.arguments)


def split_rid(rid: str) -> tuple[int, str]:
    """Return step and part of a request id `<run uid>/<step>/<part>`.

    Raises:
        BadRequest: If it is anything else.

    >>> split_rid("a1b2/12/measure")
    (12, 'measure')
    """
    found = RID.fullmatch(rid) if isinstance(rid, str) else None
    if found is None:
        raise BadRequest(
            "A request id is '<run uid>/<step>/<part>', with step a decimal number and "
            f"the others ASCII without '/' or space; got {rid!r}. Leave it out to be "
            "given one."
        )
    return int(found["step"]), found["part"]


@runtime_checkable
class Instrument(Protocol):
    """A probe over a specimen.

    A twin, its remote proxy and a real microscope satisfy this protocol, so a loop
    written against it runs on any of them. Call `move_to` before `measure`; `describe`,
    `state`, `events` and `stop` at any time, from any thread. Positions are (x, y),
    metres, in the sample frame. Bad input raises an error of `aemtwin.errors` and
    changes nothing. Arrays that come back are read-only: copy them to change them.

    Every acting call takes `rid`, a request id `<run uid>/<step>/<part>`: the same id
    again returns the stored answer and does nothing, unless the first was stopped; the
    same id with another request is refused. Without one the instrument gives it one.
    `token` is that of a lease; while somebody holds one, nobody else may act.
    """

    def describe(self) -> InstrumentSpec:
        """Say what can be reached and what `measure` returns; constant for a run."""
        ...

    def state(self) -> State:
        """Say how the instrument stands; never waits for an operation."""
        ...

    def configure(
        self, *, rid: str | None = None, token: str | None = None, **settings: float
    ) -> dict[str, float]:
        """Change settings and return all that are in effect.

        Raises:
            UnknownName: If there is no such setting.
            OutOfRange: If a value is not in its range.
        """
        ...

    def move_to(
        self,
        position: ArrayLike,
        *,
        rid: str | None = None,
        token: str | None = None,
    ) -> NDArray[np.float64]:
        """Move the probe to (x, y) and return where it came to rest, (2,), metres.

        Raises:
            OutOfRange: If `position` is outside `describe().bounds`, or not finite.
            ShapeMismatch: If it is not two numbers.
        """
        ...

    def scan(
        self,
        region: Bounds | None = None,
        shape: tuple[int, int] | None = None,
        channels: Sequence[str] | None = None,
        dwell_s: float | None = None,
        rotation: float = 0.0,
        backward: bool = False,
        *,
        rid: str | None = None,
        token: str | None = None,
    ) -> Measurement:
        """Take a frame of `shape` (rows, columns) pixels over `region`.

        The outermost pixel centres lie on the edges of the region. `rotation` turns the
        region about its centre, counterclockwise, radians; the axes of the frame are
        those before the turn. With neither region, shape nor rotation a recording gives
        its own pixels. `backward` sweeps every line from its far end: a pixel stays
        where it is and comes at another time. The probe ends at the last pixel.

        Raises:
            OutOfRange: If a corner lies outside the bounds, or a limit is exceeded.
            UnknownName: If there is no such channel.
        """
        ...

    def trace(
        self,
        points: ArrayLike,
        channels: Sequence[str] | None = None,
        dwell_s: float | None = None,
        *,
        rid: str | None = None,
        token: str | None = None,
    ) -> Measurement:
        """Read channels at `points` (k, 2), metres, in that order: any path.

        Raises:
            OutOfRange: If a point lies outside the bounds, or a limit is exceeded.
        """
        ...

    def measure(
        self,
        mode: str | None = None,
        dwell_s: float | None = None,
        *,
        rid: str | None = None,
        token: str | None = None,
        **parameters: float,
    ) -> Measurement:
        """Measure a spectrum or a loop where the probe is (default: the first mode).

        Raises:
            UnknownName: If there is no such mode or parameter.
            OutOfRange: If the dwell or a parameter is not in its range.
        """
        ...

    def pulse(
        self,
        name: str | None = None,
        dwell_s: float | None = None,
        *,
        rid: str | None = None,
        token: str | None = None,
        **parameters: float,
    ) -> dict[str, Any]:
        """Act on the specimen where the probe is, without measuring: a write.

        Args:
            name: One of `describe().pulses`; default: the first.
            dwell_s: How long; default: its usual time.
            rid: A request id.
            token: Of a lease.
            **parameters: What else this pulse takes, by name.

        Returns:
            "pulse", "position" [x, y] m, "dwell_s", "dose" that it added, "time_s"
            [begin, end] on the instrument's clock, and "rid".

        Raises:
            NotSupported: If the instrument has no pulse.
            UnknownName: If there is no such pulse or parameter.
            OutOfRange: If the dwell or a parameter is not in its range.
        """
        ...

    def duration(self, operation: Mapping[str, Any]) -> float:
        """Return how long `{"call": ..., "arguments": {...}}` will take, seconds."""
        ...

    def stop(self) -> State:
        """End what is under way; anyone may, at any time."""
        ...

    def events(self, after: int = 0, most: int | None = None) -> list[dict[str, Any]]:
        """Return what the instrument has done since entry number `after`.

        Args:
            after: The number of the last entry that is known already; 0: from the
                beginning.
            most: How many entries at most; None: all.
        """
        ...

    # The same operations without waiting in the call

    def submit(
        self,
        operation: Mapping[str, Any],
        *,
        token: str | None = None,
        wait_s: float = 0.0,
    ) -> dict[str, Any]:
        """Have an operation done when its turn comes; wait for it a while, or not.

        Args:
            operation: `{"call": ..., "rid": ..., "arguments": {...}}`, with an id.
            token: Of a lease.
            wait_s: How long to wait for its end.

        Returns:
            What `status` tells; with "answer" where it was done in that time.

        Raises:
            AemtwinError: What the call itself would raise before it acts, and what
                ended it if it failed in that time.
        """
        ...

    def status(self, rid: str) -> dict[str, Any]:
        """Tell how it stands with a request: never waits.

        Returns:
            "rid" and "status": "queued", "running", "done", "failed", "stopped",
            "indeterminate" (begun, and nobody knows whether it was done), "refused"
            (nothing was done) or "unknown"; where it was begun "n", "begin_s" and
            "end_s"; where it went wrong "error", the kind and what was said.
        """
        ...

    def fetch(self, rid: str, wait_s: float = 0.0) -> Any:
        """Return what a request gave, once it is done.

        Raises:
            NotReady: If it is not over after `wait_s`; ask again.
            UnknownName: If there was no such request.
            AemtwinError: What ended it, if it failed.
        """
        ...

    def lines(self, rid: str, after: int = 0, wait_s: float = 0.0) -> dict[str, Any]:
        """Return the lines of a frame that are there already; see `Calls.stream`.

        Args:
            rid: Of a `scan` that was begun, is queued or is over.
            after: How many lines are known already.
            wait_s: How long to wait for more than those.

        Returns:
            "rid", "status" as `status` tells it, "lines" that are there, "of" how many
            (0: not known so far, or the answer alone has them), "arrays" by channel,
            (lines - after, columns), and "units".

        Raises:
            UnknownName: If there was no such request.
        """
        ...

    # The right to act

    def lease(self, ttl_s: float = 10.0, holder: str = "") -> Lease:
        """Take the right to act; its token goes with every call that acts.

        Args:
            ttl_s: How long it lasts without a sign of life: a call that acts, `renew`.
            holder: Who is to be named to others.

        Raises:
            LeaseRefused: If another has it.
        """
        ...

    def renew(self, token: str) -> Lease:
        """Let the time of a lease begin anew.

        Raises:
            LeaseRefused: If it has run out: others may have acted since.
        """
        ...

    def release(self, token: str) -> None:
        """Give the right to act back."""
        ...
