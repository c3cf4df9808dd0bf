"""What laws of surrogates need: data, keys, what chance does, and what has changed.

The laws are in `surrogates` (of the contract) and `posteriors` (of what is believed).
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.surrogates.base import Data, Info, Posterior, Surrogate, pad, step_keys
from aemtwin.testing.laws import require

Array = NDArray[np.float64]
POINTS = 14  # measured, where a law needs no other number; their bucket is 16
CANDIDATES = 60  # read, likewise: one number, so that little is compiled
SEED = 3  # of the keys


@dataclasses.dataclass(frozen=True)
class Learner:
    """A surrogate that can be made again, with the number of its input dimensions.

    `X` and `y` are the same for every surrogate: 64 points that fill the unit box at
    random, and a smooth function of them without noise.
    """

    make: Callable[[], Surrogate]
    d: int = 2

    @cached_property
    def X(self) -> Array:
        """Points, (64, d)."""
        return np.random.default_rng(8).random((64, self.d))

    @cached_property
    def y(self) -> Array:
        """A smooth function of them, (64,), standard deviation about 1."""
        return truth(self.X)

    @cached_property
    def candidates(self) -> Array:
        """Other points, (CANDIDATES, d)."""
        return np.random.default_rng(7).random((CANDIDATES, self.d))

    @cached_property
    def unit(self) -> float:
        """The spread of the first `POINTS` values, in which errors are told."""
        return float(np.std(self.y[:POINTS]))

    def data(self, n: int = POINTS) -> Data:
        """Return the first n points, padded."""
        return pad(self.X[:n], self.y[:n])

    def fit(self, data: Data, k: int = 0) -> tuple[Any, Info]:
        """Fit a fresh surrogate to data with the k-th key."""
        surrogate = self.make()
        return surrogate.fit(key(k), surrogate.init(self.d), data)

    def believe(self, data: Data, k: int = 0) -> Posterior:
        """Fit a fresh surrogate to data and let another read it at the candidates."""
        return self.read(self.fit(data, k)[0], self.candidates, k)

    def read(self, state: Any, candidates: Any, k: int = 0) -> Posterior:
        """Let a fresh surrogate read a state, and require what every read must be."""
        found = self.make().predict(key(k, 1), state, candidates)
        require_posterior(found, len(candidates))
        return found

    @cached_property
    def fitted(self) -> Any:
        """The state after a fit to `data()`, for laws that only read it."""
        return self.fit(self.data())[0]

    @cached_property
    def belief(self) -> Posterior:
        """What is believed after it."""
        return self.read(self.fitted, self.candidates)

    @cached_property
    def chance(self) -> float:
        """How far another key moves the belief, as `apart` tells it."""
        return apart(self.belief, self.believe(self.data(), 1), self.unit)


def learner(surrogate: Surrogate | Callable[[], Surrogate], d: int = 2) -> Learner:
    """Return what makes a surrogate again, of an object, a class or a function."""
    if isinstance(surrogate, type) or not hasattr(surrogate, "fit"):
        make: Callable[[], Surrogate] = surrogate  # type: ignore[assignment]
        return Learner(make, d)
    return Learner(partial(copy.copy, surrogate), d)  # type: ignore[arg-type]


def truth(X: Array) -> Array:
    """Return a smooth function of points, (n,).

    >>> truth(np.array([[0.0, 0.5]])).tolist()
    [0.25]
    """
    rest = np.sum(X[:, 1:] ** 2, axis=1) / max(1, X.shape[1] - 1)
    return np.asarray(np.sin(6 * X[:, 0]) + rest)


def key(k: int, part: int = 0) -> Any:
    """Return the k-th key, to fit (part 0), to read (1) or to draw (2)."""
    return step_keys(SEED, k)[part]


def apart(one: Posterior, other: Posterior, unit: float) -> float:
    """Return by how much two beliefs differ, in a unit of y.

    It is the root mean square over candidates, of means or of standard deviations,
    whichever differ more.
    """
    mean = np.asarray(one.mean) - np.asarray(other.mean)
    sd = np.sqrt(np.asarray(one.variance)) - np.sqrt(np.asarray(other.variance))
    return float(max(np.sqrt(np.mean(gap**2)) for gap in (mean / unit, sd / unit)))


def require_same(one: Posterior, other: Posterior, when: str) -> None:
    """Require two beliefs to have the same bits."""
    for what in ("mean", "variance"):
        same = np.array_equal(getattr(one, what), getattr(other, what))
        require(same, f"{when} it reads another {what}")


def require_posterior(found: Posterior, m: int) -> None:
    """Require finite float64 numbers of NumPy, one a candidate, and no variance < 0."""
    for what in ("mean", "variance"):
        got = getattr(found, what)
        right = isinstance(got, np.ndarray) and got.dtype == np.float64
        require(
            right and got.shape == (m,),
            f"predict gave a {what} of type {type(got).__name__} and shape "
            f"{np.shape(got)} for {m} candidates; it is a NumPy array of float64, (m,)",
        )
        wrong = np.flatnonzero(~np.isfinite(got))
        require(not wrong.size, f"{what} is not finite at candidates {wrong[:5]}")
    lowest = float(np.min(found.variance, initial=0.0))
    require(lowest >= 0.0, f"variance is negative: {lowest:g}")


def require_plain(info: Info) -> None:
    """Require plain finite numbers, and that `finite` is 1."""
    for name, value in info.items():
        plain = type(value) in (int, float)
        require(
            plain and np.isfinite(value),
            f"info[{name!r}] is {type(value).__name__} {value!r}; it holds finite "
            "Python numbers",
        )
    require(info.get("finite") == 1, f"info['finite'] is {info.get('finite')}, not 1")


def digest(tree: Any) -> str:
    """Return a hash of all that a state holds: containers, arrays, plain objects.

    >>> digest({"a": np.zeros(2)}) == digest({"a": np.zeros(2)})
    True
    >>> digest((1, None)) == digest((1, 0.0))
    False
    """
    hashed = hashlib.sha256()
    for part in _parts(tree):
        hashed.update(part)
    return hashed.hexdigest()


def _parts(tree: Any) -> Iterator[bytes]:
    yield type(tree).__name__.encode()
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        tree = {f.name: getattr(tree, f.name) for f in dataclasses.fields(tree)}
    if isinstance(tree, Mapping):
        for name in tree:
            yield repr(name).encode()
            yield from _parts(tree[name])
    elif isinstance(tree, list | tuple):
        for one in tree:
            yield from _parts(one)
    else:
        yield _bytes(tree)


def _bytes(leaf: Any) -> bytes:
    try:
        array = np.asarray(leaf)
        if array.dtype != object:
            return f"{array.dtype}{array.shape}".encode() + array.tobytes()
        return pickle.dumps(leaf)
    except Exception:  # whatever a foreign object can do when it is asked for its bits
        return repr(leaf).encode()
