"""Scalarizers by name: from a word in a campaign file to a measurement's one number.

A scalarizer is the question that a campaign asks of every spot. The built-in ones are
in `aemtwin.scalarizers.built_in`; any function from a `Measurement` to a real number
serves as well, given as such, as `"module:function"` or through the entry point group
`aemtwin.scalarizers`, which `aemtwin.plugins` reads.

A scalarizer can also be learned from what was measured so far, as `pca` is: any
callable object with a method `fit` that takes the measurements and returns a callable
(`Learner`). The campaign fits it again after each measurement and computes the values
of earlier ones again with the result.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Real
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from aemtwin.errors import BadConfig, WrongType, unknown
from aemtwin.measurement import Measurement
from aemtwin.plugins import (
    by_name,
    entry_points,
    listing,
    load,
    parse,
    require_params,
)
from aemtwin.scalarizers.built_in import BUILT_IN, require_values
from aemtwin.scalarizers.poisson import OF_COUNTS

GROUP = "aemtwin.scalarizers"


@runtime_checkable
class Learner(Protocol):
    """A function of a measurement that is learned from measurements.

    The object itself is what is asked before anything is learned; it gives NaN where
    it has no number yet. It may have an attribute `units`, as any function.
    """

    def __call__(self, measurement: Measurement, **params: Any) -> float:
        """Return the number sought before anything is learned, or NaN."""
        ...

    def fit(
        self, measurements: Sequence[Measurement], **params: Any
    ) -> Callable[[Measurement], float]:
        """Return the function that these teach; the object itself stays as it was.

        Args:
            measurements: All so far, at least one, in the order they were made.
            params: Those of `__call__`; what is returned takes a measurement alone.

        Returns:
            A function of one measurement, the same for the same measurements bit for
            bit, which serves any measurement in that mode, a noise-free one too.
        """
        ...


@dataclass(frozen=True)
class Scalarizer:
    """A function from one measurement to one real number, with its name and unit.

    `str(scalarizer)` is the text that `get` turns into the same scalarizer, where its
    function can be found by name; what it has learned is not in the text.
    """

    name: str
    function: Callable[..., Any]  # (measurement, **params) -> a real number
    params: Mapping[str, Any] = field(default_factory=dict)
    result: str | Callable[[Measurement], str] = ""  # the unit, or what tells it
    learned: Callable[[Measurement], Any] | None = None  # what `fit` made of `function`
    final: bool = False  # learns no more
    sign: float = 1.0  # -1 seeks the lowest, "-" before a name: its number is negative

    @property
    def learns(self) -> bool:
        """Whether `fit` changes it."""
        return not self.final and _is_learner(self.function)

    def fit(self, measurements: Sequence[Measurement]) -> Scalarizer:
        """Return the scalarizer as learned from these measurements and no others.

        It depends on them and their order alone, so that a resumed run has the same. A
        scalarizer that does not learn returns itself; without measurements one that
        learns is as it was before the first.

        Args:
            measurements: All so far, in the order they were made.

        Raises:
            WrongType: If the function's `fit` returns something that is not callable.

        >>> get("loop_area").learns, get("pca").learns
        (False, True)
        """
        function: object = self.function
        if self.final or not _is_learner(function):
            return self
        if not measurements:
            return replace(self, learned=None)
        learned = function.fit(tuple(measurements), **self.params)
        if not callable(learned):
            raise WrongType(
                f"The fit of the scalarizer {self.name} returned "
                f"{type(learned).__name__} {learned!r:.60}; it must return a function "
                "of a Measurement. Return a new one, or self."
            )
        return replace(self, learned=learned)

    def settled(self) -> Scalarizer:
        """Return it as learned so far, to learn no more: for scores and comparisons."""
        return replace(self, final=True) if self.learns else self

    def __call__(self, measurement: Measurement) -> float:
        """Return the number sought; NaN (or an infinity) says that there is none.

        Raises:
            WrongType: If the function gives something other than one real number, or a
                built-in one gets something other than a real spectrum.
            ShapeMismatch: If a built-in one gets more than one spectral axis.
        """
        if self.learned is None:
            value = self.function(measurement, **self.params)
        else:
            value = self.learned(measurement)
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
            shape = getattr(value, "shape", None)
            what = f"of shape {shape}" if shape is not None else repr(value)[:60]
            raise WrongType(
                f"The scalarizer {self.name} returned {type(value).__name__} {what}; "
                "it must return one real number. Return float(...) of it, or "
                "float('nan') where there is no value."
            )
        return self.sign * float(value)

    def spread(self, *, counts: bool = False) -> Callable[[Measurement], float] | None:
        """Return what tells the standard deviation of the number; None: nothing does.

        Args:
            counts: Whether measurements hold counts, as `Mode.counts` says.
        """
        name = self.name.removeprefix("-")
        ours = BUILT_IN.get(name, (None,))[0] is self.function
        found = getattr(self.function, "sd", None)
        if ours:
            found = OF_COUNTS.get(name) if counts else None
        if self.learns or not callable(found):
            return None
        return partial(found, **self.params)

    def units(self, measurement: Measurement) -> str:
        """Return the unit of the number for such a measurement; "" where unknown."""
        if callable(self.result):
            return self.result(measurement)
        if not self.result:
            return ""
        axis, values = measurement.axes[-1].units, measurement.units[measurement.name]
        return self.result.format(axis=axis, values=values).strip("·")

    def __str__(self) -> str:
        params = ",".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.name}:{params}" if params else self.name


def get(
    name_or_callable: str | Callable[..., Any] | Scalarizer, **params: Any
) -> Scalarizer:
    """Return a scalarizer, ready to be called with a `Measurement`.

    Args:
        name_or_callable: A built-in name, an entry point's, "module:function", either
            followed by parameters as in "band_intensity:low=1.5,high=1.9", or a
            function (measurement, **params) -> real number, which may be a `Learner`.
            A "-" before a name gives the negative of its number, to seek low ones.
            Its attribute `units`, a text or a function of the measurement, tells the
            unit, if it has one; its attribute `sd`, a function of the same arguments,
            how uncertain the number is.
        params: Parameters, each of which takes precedence over one in the text.

    Raises:
        UnknownName: If no scalarizer has that name.
        BadConfig: If a parameter is not one of the scalarizer's, or is of no use.
        MissingExtra: If it is a plugin that cannot be imported.
        WrongType: If it is neither text nor callable.

    >>> get("band_intensity:low=1.5", high=1.9).params
    {'low': 1.5, 'high': 1.9}
    """
    if isinstance(name_or_callable, Scalarizer):
        if not params:
            return name_or_callable
        old = name_or_callable
        if old.name.removeprefix("-") in BUILT_IN:
            return get(old.name, **{**old.params, **params})
        return replace(get(old.function, **{**old.params, **params}), sign=old.sign)
    if isinstance(name_or_callable, str):
        name, written = parse(name_or_callable)
        params = {**written, **params}
        if name.startswith("-"):
            found = get(name[1:], **params)
            return replace(found, name=f"-{found.name}", sign=-found.sign)
        if name in BUILT_IN:
            function, unit = BUILT_IN[name]
            require_params("scalarizer", name, function, params, given=1)
            return Scalarizer(name, function, require_values(name, params), unit)
        function = _load(name)
        if isinstance(function, Scalarizer):
            return get(function, **params)
    elif callable(name_or_callable):
        function = name_or_callable
        words = [getattr(function, key, "") for key in ("__module__", "__qualname__")]
        name = ":".join(filter(None, words)) if words[1] else type(function).__name__
    else:
        raise WrongType(
            f"A scalarizer was asked for as {type(name_or_callable).__name__} "
            f"{name_or_callable!r}; it takes a name, 'module:function' or a function "
            f"of a Measurement. Names: {', '.join(sorted(available()))}."
        )
    if not callable(function):
        raise BadConfig(f"The scalarizer {name} is not a function. Name one instead.")
    _require_takes(name, function, params)
    return Scalarizer(name, function, dict(params), getattr(function, "units", ""))


def factory(name: str) -> Callable[..., Any]:
    """Return the function that a name stands for; it takes a measurement first.

    Raises:
        UnknownName: If no scalarizer has that name.
        MissingExtra: If it is a plugin that cannot be imported.
        BadConfig: If the name is that of something else.
    """
    found = BUILT_IN[name][0] if name in BUILT_IN else _load(name)
    if isinstance(found, Scalarizer):
        return found.function
    if not callable(found):
        raise BadConfig(f"The scalarizer {name} is not a function. Name one instead.")
    function: Callable[..., Any] = found
    return function


def available() -> dict[str, str]:
    """Return every scalarizer that has a name, each with one line about it.

    The line of a built-in one ends with its parameters, where it has any. Plugins are
    listed without importing them.

    >>> available()["loop_area"]
    'The area enclosed by a hysteresis loop, the work of switching.'
    >>> available()["pca"].partition(" (")[2]
    'component=1, low, high).'
    """
    lines = {name: _line(function) for name, (function, _) in BUILT_IN.items()}
    return listing(lines, entry_points(GROUP))


def _line(function: Callable[..., Any]) -> str:
    """Return the first line of a docstring, with the parameters and their defaults."""
    first = (inspect.getdoc(function) or "").splitlines()[0]
    takes = list(inspect.signature(function).parameters.values())[1:]
    words = [p.name if p.default is None else f"{p.name}={p.default}" for p in takes]
    return f"{first.removesuffix('.')} ({', '.join(words)})." if words else first


def _is_learner(function: object) -> TypeGuard[Learner]:
    return isinstance(function, Learner) and not inspect.isclass(function)


def _require_takes(
    name: str, function: Callable[..., Any], params: Mapping[str, Any]
) -> None:
    """Hold parameters against what will be called with them."""
    if inspect.isclass(function) and callable(getattr(function, "fit", None)):
        raise BadConfig(
            f"The scalarizer {name} is a class that learns; it takes an object of it. "
            f"Name one, such as learner = {function.__name__}()."
        )
    require_params("scalarizer", name, function, params, given=1)
    learner: object = function
    if _is_learner(learner):
        require_params("scalarizer", name, learner.fit, params, given=1)


def _load(name: str) -> Any:
    """Import a plugin or the function that "module:function" names."""
    plugins = by_name(entry_points(GROUP))
    if name in plugins:
        return load("scalarizer", plugins[name])
    hint = "Any function of a Measurement serves too, as 'module:function'."
    module, colon, path = name.partition(":")
    if not colon:
        raise unknown("scalarizer", name, available(), hint)
    try:
        found: Any = importlib.import_module(module)
        for word in path.split("."):
            found = getattr(found, word)
    except (ImportError, AttributeError, ValueError) as error:
        where = unknown("scalarizer", name, available(), hint)
        raise type(where)(f"{where} ({error})") from error
    return found
