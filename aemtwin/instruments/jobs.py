"""Operations that are under way while nobody waits in a call for them.

One thread does what was submitted, in the order of submission; what it did is in the
ledger, where it is asked for by its id.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from aemtwin.errors import (
    AemtwinError,
    BadRequest,
    Indeterminate,
    InstrumentFault,
    NotReady,
    OperationStopped,
    UnknownName,
)
from aemtwin.instruments.entries import Entry
from aemtwin.instruments.ledger import Ledger
from aemtwin.instruments.protocol import Request

log = logging.getLogger(__name__)

MOST = 64  # that may wait for their turn
REFUSED = 256  # of which it is remembered why nothing was done
PAUSE_S = 0.005  # between two looks at an operation of another caller


class _Job:
    """One operation that was submitted and is not over."""

    def __init__(self, asked: Any, request: Request) -> None:
        self.asked, self.request = asked, request
        self.over = threading.Event()
        self.entry: Entry | None = None
        self.refused: AemtwinError | None = None


class Jobs:
    """What was submitted to an instrument.

    Args:
        do: Does what was asked when its turn comes, and returns its entry.
        busy: Tells the id of the operation under way.
        ledger: Where the entries are.
    """

    def __init__(
        self, do: Callable[[Any], Entry], busy: Callable[[], str], ledger: Ledger
    ) -> None:
        self._do, self._busy, self._ledger = do, busy, ledger
        self._lock = threading.Lock()
        self._open: dict[str, _Job] = {}
        self._refused: dict[str, AemtwinError] = {}
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, asked: Any, request: Request, wait_s: float) -> Entry | None:
        """Have it done, and wait a while; return its entry if it is over by then.

        Raises:
            BadRequest: If its id is that of another request, or too many wait.
            AemtwinError: If it was refused meanwhile, what was said.
        """
        done = self._ledger.find(request)
        if done is not None:
            return done
        with self._lock:
            job = self._open.get(request.rid)
            if job is None:
                job = self._new(asked, request)
            elif not job.request.asks_as(request):
                raise BadRequest(
                    f"Request {request.rid!r} is under way, and is {job.request.call} "
                    "with other arguments; one id stands for one request. Give this "
                    "one its own."
                )
        job.over.wait(wait_s)
        if job.refused is not None:
            raise type(job.refused)(str(job.refused))
        return job.entry

    def status(self, rid: str) -> dict[str, Any]:
        """Tell how it stands with a request."""
        busy = self._busy()
        if rid in self._open or rid == busy:
            if rid != busy:
                return {"rid": rid, "status": "queued"}
            entry = self._ledger.last(rid)
            begun = {} if entry is None else _when(entry)
            return {"rid": rid, "status": "running", **begun}
        refused, entry = self._refused.get(rid), self._ledger.last(rid)
        if entry is None and refused is not None:
            said = [refused.code, str(refused)]
            return {"rid": rid, "status": "refused", "error": said}
        if entry is None:
            return {"rid": rid, "status": "unknown"}
        return done(entry)

    def result(self, rid: str, wait_s: float) -> Entry:
        """Return the entry of a request that is over, after `wait_s` at most.

        Raises:
            NotReady: If it is not over.
            UnknownName: If there was none.
        """
        until = time.monotonic() + wait_s
        while True:
            job = self._open.get(rid)
            if job is not None:
                job.over.wait(max(until - time.monotonic(), 0.0))
            # in this order: what ends between two looks is seen by the last
            under_way = rid in self._open or rid == self._busy()
            refused, entry = self._refused.get(rid), self._ledger.last(rid)
            if entry is not None and entry.end_s is not None and rid not in self._open:
                return entry
            if entry is None and refused is not None:
                raise type(refused)(str(refused))
            if not under_way:
                raise UnknownName(
                    f"There is no request {rid!r}: it never came, was not begun or was "
                    "interrupted. Submit it."
                )
            left = until - time.monotonic()
            if left <= 0:
                raise NotReady(f"{rid} is not over yet; ask again, or wait longer.")
            time.sleep(min(PAUSE_S, left))  # somebody else waits in the call itself

    def close(self) -> None:
        """End the thread when it has done what it is doing."""
        self._queue.put(None)

    def _new(self, asked: Any, request: Request) -> _Job:
        if len(self._open) >= MOST:
            raise BadRequest(
                f"submit is refused: {MOST} operations wait for their turn already. "
                "Wait for some of them."
            )
        job = _Job(asked, request)
        self._open[request.rid] = job
        self._refused.pop(request.rid, None)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="aemtwin operations", daemon=True
            )
            self._thread.start()
        self._queue.put(job)
        return job

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                job.entry = self._do(job.asked)
            except AemtwinError as error:
                job.refused = error
            except BaseException as error:
                log.exception("%s was interrupted", job.request.rid)
                job.refused = InstrumentFault(
                    f"{job.request.call} was interrupted by an error that nobody "
                    f"foresaw ({type(error).__name__}: {error}). The same id does it "
                    "again; the server's log says more."
                )
            with self._lock:
                if job.refused is not None:
                    self._refused[job.request.rid] = job.refused
                    if len(self._refused) > REFUSED:
                        del self._refused[next(iter(self._refused))]
                del self._open[job.request.rid]
            job.over.set()
            self._ledger.settle()


def done(entry: Entry) -> dict[str, Any]:
    """Tell how it stands with a request that is over."""
    told = {"rid": entry.request.rid, "status": _ended(entry), **_when(entry)}
    if entry.error is not None:
        told["error"] = [entry.error.code, str(entry.error)]
    return told


def _when(entry: Entry) -> dict[str, Any]:
    return {"n": entry.number, "begin_s": entry.begin_s, "end_s": entry.end_s}


def _ended(entry: Entry) -> str:
    if entry.error is None:
        return "done" if entry.end_s is not None else "stopped"
    if isinstance(entry.error, OperationStopped):
        return "stopped"
    return "indeterminate" if isinstance(entry.error, Indeterminate) else "failed"
