"""A lease that is kept: renewed in the background, and taken anew if that is safe."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from aemtwin.errors import LeaseRefused
from aemtwin.instruments.protocol import Lease

log = logging.getLogger(__name__)


class Holding:
    """Keeps a lease alive until `end`.

    Args:
        lease: That was taken.
        holder: Whom it was taken for.
        take: Takes one: time to live and holder -> lease.
        renew: Renews one: token, and how long that may take.
        give_back: Gives one back, by its token.

    Attributes:
        lease: The one that counts now, or that was lost.
    """

    def __init__(
        self,
        lease: Lease,
        holder: str,
        take: Callable[[float, str], Lease],
        renew: Callable[[str, float], None],
        give_back: Callable[[str], None],
    ) -> None:
        self.lease, self._holder = lease, holder
        self._take, self._renew, self._give_back = take, renew, give_back
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=self._keep, name="aemtwin lease", daemon=True
        )
        self._thread.start()

    def regained(self) -> bool:
        """Take the lease anew after it ran out, if nobody had one in between.

        Leases are numbered: the number after ours says that there was none. What this
        process did not do since cannot have been done by another. If there was one,
        the lease is lost for good: whoever wants to go on looks at what was done, and
        takes another.
        """
        with self._lock:
            was = self.lease
            if self._over.is_set():
                return False
            try:
                self._renew(was.token, was.ttl_s)
                return True  # another thread was quicker
            except LeaseRefused:
                pass
            try:
                lease = self._take(was.ttl_s, self._holder)
            except LeaseRefused as error:
                log.warning("the lease is lost: %s", error)
                self._over.set()
                return False
            if lease.fence == was.fence + 1 and not self._over.is_set():
                self.lease = lease
                log.warning("the lease had run out, and is taken again")
                return True
            if not self._over.is_set():
                log.warning("the lease is lost: others have held the instrument")
            self._over.set()
        self._give_back(lease.token)  # calls go on with the old token: refused
        return False

    def end(self) -> None:
        """Renew no more."""
        self._over.set()

    def _keep(self) -> None:
        while not self._over.wait(self.lease.ttl_s / 3):
            try:
                self._renew(self.lease.token, self.lease.ttl_s / 3)
            except LeaseRefused:
                try:
                    self.regained()
                except OSError as error:
                    log.info("the lease cannot be taken again: %s", error)
            except OSError as error:  # the server is gone: perhaps it comes back
                log.info("the lease cannot be renewed: %s", error)
