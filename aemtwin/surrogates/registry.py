"""Surrogates by name: those of the house and those that a plugin brings.

Nothing here imports JAX until a surrogate is asked for, so a listing is cheap. A plugin
names a class under the entry point group `aemtwin.surrogates`; its instances satisfy
`aemtwin.surrogates.base.Surrogate`, which `tests/surrogates/test_contract.py` checks.
`aemtwin.acquisition.registry` finds acquisitions by the same functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from aemtwin.errors import BadConfig, MissingExtra, unknown

if TYPE_CHECKING:
    from aemtwin.surrogates.base import Surrogate

GROUP = "aemtwin.surrogates"

BUILT_IN = {  # name -> where it is, and one line for people
    "gp": (
        "aemtwin.surrogates.gp:GP",
        "exact Gaussian process, Matérn-5/2 or RBF, multi-start MAP",
    ),
}


def available() -> dict[str, str]:
    """Return what each surrogate is, in one line, by name; imports none of them.

    >>> available()["gp"]
    'exact Gaussian process, Matérn-5/2 or RBF, multi-start MAP'
    """
    return listing(BUILT_IN, GROUP)


def get(name: str, **params: Any) -> Surrogate:
    """Make the surrogate of that name.

    Args:
        name: One of `available()`.
        params: What its class takes.

    Raises:
        UnknownName: If there is none of that name.
        BadConfig: If it does not take these parameters.
        MissingExtra: If it needs packages that are not installed.

    >>> get("gp", kernel="rbf").kernel
    'rbf'
    """
    return cast("Surrogate", build("surrogate", name, params, BUILT_IN, GROUP))


def listing(built_in: Mapping[str, tuple[str, str]], group: str) -> dict[str, str]:
    """Return one line for every built-in and every entry point of a group, by name."""
    plugins = {
        name: f"from the plugin {point.dist.name if point.dist else point.value}"
        for name, point in _plugins(group).items()
    }
    return dict(
        sorted({**plugins, **{n: line for n, (_, line) in built_in.items()}}.items())
    )


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
        name: The name asked for; a built-in hides a plugin of the same name.
        params: Keyword arguments for the factory.
        built_in: Name -> ("module:attribute", one line).
        group: The entry point group of plugins.

    Raises:
        UnknownName: If there is none of that name.
        BadConfig: If the factory does not take these parameters.
        MissingExtra: If it needs packages that are not installed.
    """
    plugins = _plugins(group)
    if name not in built_in and name not in plugins:
        hint = f"A plugin adds one under the entry point group {group}."
        raise unknown(what, name, [*built_in, *plugins], hint)
    try:
        if name in built_in:
            module, attribute = built_in[name][0].split(":")
            factory = getattr(import_module(module), attribute)
        else:
            factory = plugins[name].load()
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"The {what} {name!r} needs the package {error.name}, which is not "
            "installed. Install what learns with: pip install 'aemtwin[learn]'."
        ) from error
    signature = inspect.signature(factory)
    try:
        signature.bind(**params)
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "nothing"
        raise BadConfig(
            f"The {what} {name!r} was given {dict(params)}: {error}. It takes {takes}. "
            "Correct or leave out what it does not take."
        ) from error
    return factory(**params)


def _plugins(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
