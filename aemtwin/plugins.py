"""What a word in a campaign file stands for: ours by name, and what plugins bring.

A package adds to aemtwin by an entry point in the group `aemtwin.surrogates`,
`aemtwin.acquisitions` or `aemtwin.scalarizers`; the registry of each kind keeps its own
list of built-ins and calls the functions here. A listing imports no plugin, so a broken
one shows itself only to who asks for it. Nothing here knows an array.
"""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module, metadata
from importlib.metadata import Distribution, EntryPoint
from typing import Any

from aemtwin.errors import BadConfig, MissingExtra, unknown

_log = logging.getLogger(__name__)


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group, without those that cannot be read.

    `importlib.metadata` gives up on all packages where one has a malformed file; then
    they are read one by one, and the log names the bad one.

    >>> entry_points("aemtwin.no_such_group")
    ()
    """
    try:
        return tuple(metadata.entry_points(group=group))
    except Exception:  # whatever a foreign file can do to a parser
        return tuple(_one_by_one(group))


def _one_by_one(group: str) -> Iterator[EntryPoint]:
    for package in metadata.distributions():
        try:
            yield from package.entry_points.select(group=group)
        except Exception as error:
            _log.warning("The entry points of %s are malformed: %s", package, error)


def listing(lines: Mapping[str, str], points: Sequence[EntryPoint]) -> dict[str, str]:
    """Return one line about every built-in and every plugin, by name in order.

    Args:
        lines: Name of a built-in -> one line about it; it hides a plugin of that name.
        points: Entry points, none of which is imported; the first of a name counts.

    >>> listing({"ours": "first"}, [EntryPoint("mine", "my_lab:Mine", "-")])
    {'mine': 'A plugin, my_lab:Mine.', 'ours': 'first'}
    """
    plugins = {name: f"A plugin, {_origin(p)}." for name, p in by_name(points).items()}
    return dict(sorted({**plugins, **lines}.items()))


def by_name(points: Sequence[EntryPoint]) -> dict[str, EntryPoint]:
    """Return entry points by name; of several with one name the first."""
    return {point.name: point for point in reversed(points)}


def build(
    what: str,
    name: str,
    params: Mapping[str, Any],
    built_in: Mapping[str, tuple[str, str]],
    group: str,
) -> Any:
    """Import the factory of that name and call it with `params`.

    Args:
        what: What kind of thing it is, for the message: "surrogate".
        name: The name asked for.
        params: Keyword arguments for the factory.
        built_in: Name -> ("module:attribute", one line); it hides a plugin of a name.
        group: The entry point group of plugins.

    Raises:
        UnknownName: If there is none of that name.
        BadConfig: If the factory does not take these parameters.
        MissingExtra: If it needs packages that are not installed, or is a plugin that
            cannot be imported.

    >>> ours = {"error": ("aemtwin.errors:UnknownName", "no such name")}
    >>> build("thing", "error", {}, ours, "aemtwin.things")
    UnknownName()
    """
    factory = find(what, name, built_in, group)
    require_params(what, name, factory, params)
    return factory(**params)


def find(
    what: str, name: str, built_in: Mapping[str, tuple[str, str]], group: str
) -> Callable[..., Any]:
    """Import the factory of that name; arguments and errors as `build`."""
    if name in built_in:
        module, attribute = built_in[name][0].split(":")
        try:
            factory = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"The {what} {name!r} needs the package {error.name}, which is not "
                "installed. Install what learns with: pip install 'aemtwin[learn]'."
            ) from error
    else:
        plugins = by_name(entry_points(group))
        if name not in plugins:
            hint = f"A plugin adds one under the entry point group {group}."
            raise unknown(what, name, [*built_in, *plugins], hint)
        factory = load(what, plugins[name])
    if not callable(factory):
        raise BadConfig(
            f"The {what} {name!r} stands for {factory!r}, which makes nothing; its "
            "entry point must name a class or a function. Tell the plugin's author."
        )
    found: Callable[..., Any] = factory
    return found


def load(what: str, point: EntryPoint) -> Any:
    """Import what a plugin's entry point names.

    Raises:
        MissingExtra: If that fails, whatever the reason.
    """
    try:
        return point.load()
    except Exception as error:  # whatever a foreign module does when imported
        raise MissingExtra(
            f"The {what} {point.name!r} is a plugin, {_origin(point)}, that could not "
            f"be imported: {type(error).__name__}: {error}. Mend or uninstall it."
        ) from error


def require_params(
    what: str,
    name: str,
    function: Callable[..., Any],
    params: Mapping[str, Any],
    *,
    given: int = 0,
) -> None:
    """Hold keyword arguments against a signature before the call.

    Args:
        what: What kind of thing it is, for the message: "scalarizer".
        name: Its name.
        function: What will be called.
        params: The keyword arguments that it will be given.
        given: How many leading positional arguments the caller provides besides.

    Raises:
        BadConfig: If it does not take one of them, or needs another.

    >>> require_params("function", "log", lambda x, base=10: x, {"base": 2}, given=1)
    """
    try:
        takes = list(inspect.signature(function).parameters.values())[given:]
    except (TypeError, ValueError):  # some compiled functions have none
        return
    known = {
        parameter.name: parameter
        for parameter in takes
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes)
    allowed = f"it takes {', '.join(known) or 'none'}"
    for key in params:
        if key not in known and not takes_any:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else " Leave it out."
            raise BadConfig(
                f"The {what} {name} got the parameter {key!r}; {allowed}.{guess}"
            )
    missing = [
        key
        for key, parameter in known.items()
        if parameter.default is parameter.empty and key not in params
    ]
    if missing:
        raise BadConfig(
            f"The {what} {name} was not given {', '.join(missing)}; {allowed}. "
            f"Give it {missing[0]}=..."
        )


def _origin(point: EntryPoint) -> str:
    """Say what an entry point names and which package brought it, if that is known."""
    package: Distribution | None = getattr(point, "dist", None)
    try:
        brought_by = package.name if package is not None else None
    except Exception:  # a package without readable metadata
        brought_by = None
    return f"{point.value} of {brought_by}" if brought_by else point.value


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Take apart a name with parameters, as written on the command line.

    Args:
        text: A name, a colon and `key=value` parts with commas between; numbers, true,
            false and none are read as such, anything else stays text.

    Raises:
        BadConfig: If a part after the first `key=value` is not one.

    >>> parse("band_intensity:low=1.5,high=1.9")
    ('band_intensity', {'low': 1.5, 'high': 1.9})
    >>> parse("my_lab.loops:imprint")
    ('my_lab.loops:imprint', {})
    >>> parse("dkl:members=2,network=my_nets:Net")
    ('dkl', {'members': 2, 'network': 'my_nets:Net'})
    """
    text = text.strip()
    head, equals, _ = text.partition("=")  # a value may hold a colon as well
    name, colon, _ = head.rpartition(":")
    if not colon or not equals:
        return text, {}
    rest = text[len(name) + 1 :]
    params: dict[str, Any] = {}
    for part in rest.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not key or not value or key in params:
            raise BadConfig(
                f"{text!r} has a part {part!r}; each must be key=value, "
                f"no key twice. Write it as {name}:low=1.5,high=1.9."
            )
        params[key] = _read(value)
    return name, params


def _read(value: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
