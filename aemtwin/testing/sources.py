"""From a name, a folder, a file or a URI to what its laws say: `aemtwin check`.

A twin is checked in this process, without its effects for what it tells of the truth,
made again for the laws of repetition, and behind a URI that it is served at. What a URI
leads to is checked where it is. A surrogate or an acquisition is made by its name, or
from the class that "module:Class" names, and held to the laws of its kind.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aemtwin.acquisition import registry as acquisitions
from aemtwin.errors import AccessRefused, BadConfig, LeaseRefused, unknown
from aemtwin.formats import catalog
from aemtwin.plugins import parse, require_params
from aemtwin.surrogates import registry as surrogates
from aemtwin.testing.acquisitions import ACQUISITION_LAWS
from aemtwin.testing.conformance import LAWS, TWIN_LAWS, Result, held
from aemtwin.testing.learners import Learner
from aemtwin.testing.surrogates import SURROGATE_LAWS
from aemtwin.testing.telling import TELLING

if TYPE_CHECKING:
    from aemtwin.remote.client import RemoteInstrument

URI = "PYRO:"
KINDS = "twin, surrogate or acquisition"
Told = tuple[str, Result]
"""Where it was held to the law, and what came of it."""


def check_source(
    source: str,
    *,
    acting: bool = True,
    keys: str | Path | None = None,
    **options: Any,
) -> Iterator[Told]:
    """Hold what `source` leads to to every law, and yield each result as it comes.

    Args:
        source: A twin of the catalogue, a twin folder, a data file, or a PYRO: URI; or
            a surrogate or an acquisition by name or as "module:Class", either followed
            by parameters, as in "dkl:members=2".
        acting: Whether to act at all: without, the laws that only look.
        keys: The folder of our certificate, for a URI (`aemtwin.connect`).
        **options: Of `aemtwin.open_twin`, such as `kind`, `select` and `effects`.

    Yields:
        "in process", "in process, ideal", "made again", "behind its URI", "as a
        surrogate" or "as an acquisition", with a result.

    Raises:
        UnknownName: If nothing is called so.
        BadConfig: If it does not take these parameters or options.
        AccessRefused: If what is behind the URI lets us look only.
        LeaseRefused: If somebody holds it.
    """
    from aemtwin.instruments.opening import open_twin
    from aemtwin.remote.client import connect
    from aemtwin.remote.server import serve

    laws = [law for law in LAWS.values() if acting or not law.acts]
    if source.startswith(URI):
        with closing(connect(source, keys=keys)) as scope:
            if acting:
                _require_right(scope)
            for result in held(scope, laws):
                yield "behind its URI", result
        return
    learns = factory(source)
    if learns is not None:
        yield from _check_learner(source, learns, options)
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


def _require_right(scope: RemoteInstrument) -> None:
    """Refuse to begin where every law that acts would be refused.

    Raises:
        AccessRefused: If our role is to look only.
        LeaseRefused: If somebody holds the instrument.
    """
    try:
        if scope.may_be_leased:
            scope.lease(1.0, "aemtwin check")
            scope.release()
    except (AccessRefused, LeaseRefused) as error:
        raise type(error)(f"{error} Or look only: --no-dose.") from None


def factory(source: str) -> Callable[[], Any] | None:
    """Return what makes a surrogate or an acquisition anew; None where it is a twin.

    Raises:
        UnknownName: If nothing is called so.
        BadConfig: If it does not take these parameters.

    >>> factory("gp:kernel=rbf")().kernel
    'rbf'
    >>> factory("pfm_loops")
    """
    path, twins = Path(source), catalog.twin_names()
    if source in twins or path.exists():
        return None
    name, params = parse(source)
    rooms = surrogates, acquisitions
    for room in rooms:
        if name in room.available():
            return partial(room.get, name, **params)
    if len(path.parts) > 1 or (path.suffix and ":" not in source):
        return None  # a file or a folder that is not there, and is told as such
    known = [*twins, *(word for room in rooms for word in room.available())]
    hint = "A folder, a file, a PYRO: URI or 'module:Class' works too."
    module, colon, rest = name.partition(":")
    if not colon:
        raise unknown(KINDS, name, known, hint)
    try:
        found: Any = import_module(module)
        for word in rest.split("."):
            found = getattr(found, word)
    except (ImportError, AttributeError, ValueError) as error:
        nearest = unknown(KINDS, name, known, hint)
        raise type(nearest)(f"{nearest} ({error})") from error
    return _made_by(name, found, params)


def _made_by(name: str, found: Any, params: Mapping[str, Any]) -> Callable[[], Any]:
    """Return what makes what "module:name" stands for: a class, a function, an object.

    An object has a `name`; without parameters, it is copied.
    """
    if isinstance(found, type) or inspect.isroutine(found):
        require_params("class", name, found, params)
        return partial(found, **params)
    if hasattr(found, "name") and not params:
        return partial(copy.copy, found)
    raise BadConfig(
        f"check got {name}, which stands for {found!r:.60}; it takes a class or a "
        "function that makes a surrogate or an acquisition, or one of either without "
        "parameters. Name the class."
    )


def _check_learner(
    source: str, make: Callable[[], Any], options: Mapping[str, Any]
) -> Iterator[Told]:
    """Hold a surrogate or an acquisition to the laws of its kind."""
    from aemtwin.environment import prepare_jax

    given = ", ".join(key for key, value in options.items() if value is not None)
    if given:
        raise BadConfig(f"{given} can only describe a twin; {source} is none.")
    prepare_jax()
    made = make()
    if hasattr(made, "fit") or hasattr(made, "predict"):
        of = Learner(make, getattr(made, "columns", 2))  # the fewest that it reads
        for result in held(of, SURROGATE_LAWS.values()):
            yield "as a surrogate", result
    elif callable(made) or hasattr(made, "order"):
        for result in held(make, ACQUISITION_LAWS.values()):
            yield "as an acquisition", result
    else:
        raise BadConfig(
            f"check got {source}, which makes {made!r:.60}; a surrogate has fit and "
            "predict, an acquisition can be called, a policy has order. See "
            "docs/plugins.md."
        )


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
