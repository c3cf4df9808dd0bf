"""From a name, a folder, a file or a URI to what its laws say: `aemtwin check`.

A twin is checked in this process, without its effects for what it tells of the truth,
made again for the laws of repetition, and behind a URI that it is served at. What a URI
leads to is checked where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

from aemtwin.testing.conformance import LAWS, TWIN_LAWS, Result, held
from aemtwin.testing.telling import TELLING

URI = "PYRO:"
Told = tuple[str, Result]
"""Where it was held to the law, and what came of it."""


def check_source(source: str, *, acting: bool = True, **options: Any) -> Iterator[Told]:
    """Hold what `source` leads to to every law, and yield each result as it comes.

    Args:
        source: A twin of the catalogue, a twin folder, a data file, or a PYRO: URI.
        acting: Whether to act at all: without, the laws that only look.
        **options: Of `aemtwin.open_twin`, such as `kind`, `select` and `effects`.

    Yields:
        "in process", "in process, ideal", "made again" or "behind its URI", with a
        result.
    """
    from aemtwin.instruments.opening import open_twin
    from aemtwin.remote.client import connect
    from aemtwin.remote.server import serve

    laws = [law for law in LAWS.values() if acting or not law.acts]
    if source.startswith(URI):
        with closing(connect(source)) as scope:
            for result in held(scope, laws):
                yield "behind its URI", result
        return
    make = partial(open_twin, source, **options)
    with closing(make()) as twin:
        for result in held(twin, laws):
            yield "in process", result
    if acting:
        with closing(make(ideal=True)) as twin:
            for result in held(twin, TELLING.values()):
                yield "in process, ideal", result
        for result in held(make, TWIN_LAWS.values()):
            yield "made again", result
    with closing(make()) as twin, serve(twin, truth=True) as server:
        with closing(connect(server.uri)) as scope:
            for result in held(scope, laws):
                yield "behind its URI", result


def lines(told: Iterator[Told], failed: list[Result]) -> Iterator[str]:
    """Yield a line for each law under a title for each place, and one of counts.

    Args:
        told: What `check_source` yields.
        failed: Those that failed are put in here.
    """
    counts = dict.fromkeys(("ok", "skipped", "failed"), 0)
    place = ""
    for where, result in told:
        if where != place:
            place = where
            yield f"{where}:"
        counts[result.outcome] += 1
        if result.outcome == "failed":
            failed.append(result)
        yield f"  {result}"
    yield ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
