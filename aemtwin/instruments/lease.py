"""The right to act: one holder at a time, for as long as it says that it is alive.

A lease is taken for a time to live and renewed before that is over, by `renew` or by
acting; it does not end while an operation of its holder is under way. Who pauses for
longer has lost it, and its token is refused from then on. Tokens are numbered (`fence`)
in the order in which they were given, also over restarts: whoever gets the next number
after its last one knows that nobody held the instrument in between.

The semantics are those of the locks of Tango and of OPC UA for Devices (Part 100,
Locking), where a lock also ends by inactivity, with the number added.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from aemtwin.errors import LeaseRefused
from aemtwin.instruments import checks
from aemtwin.instruments.protocol import Lease

SHORTEST_S, LONGEST_S = 0.1, 3600.0
USUAL_S = 10.0


@dataclass
class _Held:
    lease: Lease
    until: float  # on the desk's clock
    busy: bool = False  # an operation of it is under way


class Desk:
    """Gives out leases and knows who holds the one that counts.

    Args:
        given: How many were given before, where a ledger remembers that.
        remember: Called with each new number before the lease is given.
        clock: Seconds that never run back, whatever the wall clock does.
    """

    def __init__(
        self,
        given: int = 0,
        remember: Callable[[int], None] = lambda fence: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given, self._remember, self._clock = given, remember, clock
        self._lock = threading.Lock()
        self._held: _Held | None = None

    @property
    def holder(self) -> str:
        """Who holds the right to act; "" where nobody does."""
        held = self._held
        return held.lease.holder if held is not None and self._alive(held) else ""

    def take(self, ttl_s: float = USUAL_S, holder: str = "") -> Lease:
        """Give the right to act, if nobody has it.

        Args:
            ttl_s: How long it lasts without a sign of life, 0.1 s to an hour.
            holder: Who is to be named to others.

        Raises:
            LeaseRefused: If somebody has it.
            OutOfRange: If the time is out of range.
        """
        ttl_s = checks.number("lease", "ttl_s", ttl_s, SHORTEST_S, LONGEST_S, "s")
        with self._lock:
            held = self._held
            if held is not None and self._alive(held):
                raise self._taken(held, "lease")
            fence = self._given + 1
            self._remember(fence)
            self._given = fence
            token = f"{fence}-{secrets.token_urlsafe(18)}"
            lease = Lease(token, fence, holder or f"lease {fence}", ttl_s)
            self._held = _Held(lease, self._clock() + ttl_s)
            return lease

    def renew(self, token: str) -> Lease:
        """Let the holder's time begin anew.

        Raises:
            LeaseRefused: If this token is not, or not any more, the one that counts.
        """
        with self._lock:
            held = self._require("renew", token)
            held.until = self._clock() + held.lease.ttl_s
            return held.lease

    def release(self, token: str) -> None:
        """Give the right back; a token that does not count any more is no error."""
        with self._lock:
            if self._held is not None and _same(self._held.lease.token, token):
                self._held = None

    def evict(self) -> str:
        """Take the right from whoever has it, and return who that was.

        It counts as a lease that was given: who lost it does not take it again on the
        ground that nobody had it in between.
        """
        with self._lock:
            held = self._held
            if held is None or not self._alive(held):
                return ""
            self._remember(self._given + 1)
            self._given += 1
            self._held = None
            return held.lease.holder

    def require(self, call: str, token: str | None) -> None:
        """Refuse who could not begin now, as `begin` would.

        Raises:
            LeaseRefused: If another may act, and not this one.
        """
        with self._lock:
            if token is not None:
                self._require(call, token)
            elif self._held is not None and self._alive(self._held):
                raise self._taken(self._held, call)

    def begin(self, call: str, token: str | None) -> Lease | None:
        """Let the holder act: called in the moment before the operation begins.

        Args:
            call: What is asked.
            token: Of a lease; None: of nobody, which is right while nobody holds one.

        Returns:
            The lease under which it acts, if there is one.

        Raises:
            LeaseRefused: If another may act, and not this one.
        """
        with self._lock:
            if token is None:
                if self._held is not None and self._alive(self._held):
                    raise self._taken(self._held, call)
                return None
            held = self._require(call, token)
            held.busy = True
            return held.lease

    def end(self, lease: Lease | None) -> None:
        """Note that the operation is over: that it was is a sign of life."""
        with self._lock:
            if lease is not None and self._held is not None:
                if self._held.lease is lease:
                    self._held.busy = False
                    self._held.until = self._clock() + lease.ttl_s

    def _alive(self, held: _Held) -> bool:
        return held.busy or self._clock() < held.until

    def _taken(self, held: _Held, call: str) -> LeaseRefused:
        left = max(held.until - self._clock(), 0.0)
        until = "until its operation is over" if held.busy else f"for {left:.1f} s more"
        return LeaseRefused(
            f"{call} is refused: {held.lease.holder!r} holds the instrument, {until} "
            "unless it renews. Wait until it lets go, or ask an admin to evict it."
        )

    def _require(self, call: str, token: str) -> _Held:
        held = self._held
        if held is not None and _same(held.lease.token, token):
            if self._alive(held):
                return held
            ago = self._clock() - held.until
            raise LeaseRefused(
                f"{call} is refused: the lease ran out {ago:.1f} s ago, after "
                f"{held.lease.ttl_s:g} s without a sign of life. Take another one, and "
                "look at events() before going on: others may have acted."
            )
        if held is not None and self._alive(held):
            raise self._taken(held, call)
        raise LeaseRefused(
            f"{call} is refused: its token is not that of the lease that counts "
            "(released, run out, or given before a restart). Take another one, and "
            "look at events() before going on: others may have acted."
        )


def _same(one: str, other: object) -> bool:
    """Compare tokens in a time that tells nothing of how much of them is right."""
    return isinstance(other, str) and hmac.compare_digest(
        one.encode(), other.encode(errors="replace")
    )
