"""What every surrogate is: the contract, padded data, and the two borders to JAX.

A surrogate turns (X, y) into a posterior over candidates. It knows no instrument: X is
whatever the campaign scaled to the unit box, y the number sought in its own unit. Data
arrive padded to a few capacities (`bucket`, `pad`), so that a growing run compiles a
handful of programs; `count_compilations` tells how many. `gp` is the first surrogate,
`registry` finds them by name. JAX is imported by the functions that need it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    Protocol,
    TypeAlias,
    runtime_checkable,
)

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch

if TYPE_CHECKING:
    import jax

SMALLEST = 16  # measured points; the first bucket
CLOSER = 512  # up to here capacities double, beyond they grow by √2
MULTIPLE = 8  # capacities are multiples of this, so that vector loops stay full

State: TypeAlias = Any
"""What a surrogate remembers between `fit` and `predict`; its own business."""

Info: TypeAlias = dict[str, float | int]
"""What a fit says about itself: plain Python numbers, for people and logs."""

Floats: TypeAlias = "NDArray[np.float64] | jax.Array"
"""Float64 numbers on either side of the border to JAX."""


class Data(NamedTuple):
    """Measured points, padded to a capacity N with rows that count for nothing."""

    X: NDArray[np.float64]  # (N, d), usually scaled to the unit box; 0 where padded
    y: NDArray[np.float64]  # (N,), the number sought, any unit; 0 where padded
    mask: NDArray[np.bool_]  # (N,), True where measured
    noise: NDArray[np.float64] | None = None  # (N,), known sd of each y, its unit


class Posterior(NamedTuple):
    """What is believed of the latent f at m candidates, without measurement noise."""

    mean: Floats  # (m,), unit of y
    variance: Floats  # (m,), unit of y squared


class Cross(NamedTuple):
    """How the beliefs of f at k points and at m candidates hang together."""

    covariance: NDArray[np.float64]  # (k, m), of the latent f, unit of y squared
    noise: NDArray[np.float64]  # (k,), variance of one measurement at each point


@runtime_checkable
class Surrogate(Protocol):
    """A model of y over X that is fitted again after every measurement.

    Every method is pure: the same arguments give the same bits, and nothing is kept in
    the object, which holds the configuration alone. Call `init` once (or `restore`),
    then `fit` and `predict` after every measurement.

    The law of resuming: `fit(key, restore(carry(s), d), data)` equals
    `fit(key, s, data)` bit for bit, so a journal needs to keep no more than `carry`.
    """

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        ...

    def init(self, d: int) -> State:
        """Return the state before any data.

        Args:
            d: Number of input dimensions.
        """
        ...

    def fit(self, key: jax.Array, state: State, data: Data) -> tuple[State, Info]:
        """Learn from all data so far, starting where the last fit ended.

        Args:
            key: A JAX key, used here and nowhere else.
            state: What `init`, `restore` or the last `fit` returned.
            data: Padded measurements, at least one.

        Returns:
            The new state, and plain numbers for people; `info["finite"]` is 0 where
            the fit found no finite solution and the caller must stop.
        """
        ...

    def predict(self, key: jax.Array, state: State, candidates: ArrayLike) -> Posterior:
        """Read the posterior at `candidates`, (m, d), as NumPy arrays, (m,)."""
        ...

    def carry(self, state: State) -> dict[str, NDArray[Any]]:
        """Return the small part of the state on which the next fit depends."""
        ...

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> State:
        """Return a state from which `fit` goes on as from the one that was carried."""
        ...


@runtime_checkable
class Draws(Protocol):
    """A surrogate that can also draw its latent f, for acquisitions that read draws."""

    def draw(
        self, key: jax.Array, state: State, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        """Draw the latent f once, jointly over all candidates.

        Args:
            key: A JAX key, used here and nowhere else.
            state: What `fit` returned.
            candidates: Where to draw, (m, d).

        Returns:
            The draw, (m,), unit of y, without measurement noise.
        """
        ...


@runtime_checkable
class Resident(Protocol):
    """A surrogate that can follow a pool: each new point costs O(n·m), not O(n²·m)."""

    def look(
        self, state: State, pool: Any, candidates: ArrayLike
    ) -> tuple[Any, Posterior | None]:
        """Return what is kept of a pool for the next time, and the posterior there.

        Args:
            state: What `fit` returned.
            pool: What the last look returned, which is used up; None: there is none.
            candidates: The pool, (m, d), the same at every look.

        Returns:
            What to keep, and the posterior; None and None where the pool would take too
            much memory. How many looks there were before changes no bit.
        """
        ...


@runtime_checkable
class Joint(Protocol):
    """A surrogate that also tells what one measurement would say of all others."""

    def covariance(
        self, state: State, points: ArrayLike, candidates: ArrayLike
    ) -> Cross:
        """Return what is believed of f at k points together with m candidates.

        Args:
            state: What `fit` returned.
            points: (k, d), few.
            candidates: (m, d).
        """
        ...


def bucket(n: int) -> int:
    """Return the capacity for n points: powers of two, and from 512 on times √2.

    To compile a program takes as long as to run it for hundreds of steps while n is
    small, so a run from 20 to 500 points meets five capacities; where a step takes
    longer than that, capacities are closer.

    >>> [bucket(n) for n in (1, 16, 17, 33, 100, 200, 500, 513, 729)]
    [16, 16, 32, 64, 128, 256, 512, 728, 1024]
    """
    k = 0
    while (capacity := _capacity(k)) < n:
        k += 1
    return capacity


def _capacity(k: int) -> int:
    """Return the k-th capacity, from integers alone so that no rounding decides."""
    if SMALLEST << k <= CLOSER:
        return SMALLEST << k
    halves = k - (CLOSER // SMALLEST).bit_length() + 1  # steps of √2 beyond
    exact = math.isqrt((CLOSER**2 << halves) - 1) + 1  # ⌈512 · 2^(halves/2)⌉
    return -(-exact // MULTIPLE) * MULTIPLE


def pad(X: ArrayLike, y: ArrayLike, noise: ArrayLike | None = None) -> Data:
    """Pad measured points to their bucket.

    Args:
        X: Inputs, (n, d).
        y: The number sought at each, (n,), any unit.
        noise: What is known of the standard deviation of each, (n,), unit of y.

    Returns:
        Data of capacity `bucket(n)`, float64.

    Raises:
        ShapeMismatch: If X is not (n, d) or y is not (n,).
        OutOfRange: If a number is not finite.

    >>> data = pad([[0.0, 0.5], [1.0, 0.5]], [3.0, 4.0])
    >>> data.X.shape, data.y[:3], int(data.mask.sum())
    ((16, 2), array([3., 4., 0.]), 2)
    """
    points, values = np.asarray(X, np.float64), np.asarray(y, np.float64)
    if points.ndim != 2 or values.shape != points.shape[:1]:
        raise ShapeMismatch(
            f"pad got X of shape {points.shape} and y of shape {values.shape}; it "
            "takes (n, d) and (n,). Give every measured point a row of X and a value."
        )
    for name, array in (("X", points), ("y", values)):
        if not np.all(np.isfinite(array)):
            row = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise OutOfRange(
                f"pad got {name}[{row}] = {array[row]}, which is not finite; a "
                "surrogate learns from finite numbers only. Leave that point out."
            )
    n, d = points.shape
    data = Data(
        X=np.zeros((bucket(n), d)),
        y=np.zeros(bucket(n)),
        mask=np.arange(bucket(n)) < n,
    )
    data.X[:n], data.y[:n] = points, values
    return data if noise is None else data._replace(noise=_noises(noise, n))


def _noises(noise: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return the standard deviations of n measurements, padded with 0."""
    given, padded = np.asarray(noise, np.float64), np.zeros(bucket(n))
    if given.shape != (n,):
        raise ShapeMismatch(
            f"pad got noise of shape {given.shape} for {n} points; it takes ({n},). "
            "Give each point its standard deviation, 0 where nothing is known."
        )
    wrong = ~(np.isfinite(given) & (given >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise OutOfRange(
            f"pad got noise[{row}] = {given[row]}; a standard deviation is finite and "
            "0 or more. Give 0 where nothing is known of it."
        )
    padded[:n] = given
    return padded


def without_data(call: str) -> BadConfig:
    """Build the error for a `predict` or `draw` of a state that was never fitted."""
    return BadConfig(
        f"{call} got a state without data; it reads what fit returned. "
        "Fit it first, or after a restore fit it again."
    )


def float64() -> AbstractContextManager[None]:
    """Let JAX compute in float64 inside the `with`, in this thread alone.

    The global `jax_enable_x64` stays as it was, and so does every other thread.

    >>> import jax.numpy as jnp
    >>> with float64():
    ...     str(jnp.ones(1).dtype)
    'float64'
    """
    import jax

    enable = getattr(jax, "enable_x64", None)
    if enable is None:  # an older JAX keeps it among its experiments
        enable = import_module("jax.experimental").enable_x64
    context: AbstractContextManager[None] = enable(True)
    return context


def step_keys(seed: int, seq_num: int) -> tuple[Any, Any, Any]:
    """Return the keys of a step, to fit, to read and to draw.

    They are addressed, so that a resumed run has the same.
    """
    import jax

    with float64():  # a seed may need more than 32 bits
        key = jax.random.fold_in(jax.random.key(seed), seq_num)
        fit, read = jax.random.split(key)
        return fit, read, jax.random.fold_in(read, 1)


class count_compilations:  # read as a verb in a `with`
    """Count the programs that XLA makes ready inside the `with`, in any thread.

    A program counts once whether XLA compiled it or the persistent cache on disk gave
    it: both mean that JAX met a new program. One that is already in memory counts not.
    Small operations outside `jax.jit`, such as making a key, are programs too.

    >>> import jax, numpy as np
    >>> double = jax.jit(lambda x: 2 * x)
    >>> with count_compilations() as seen:
    ...     _ = double(np.ones(3)), double(np.zeros(3))
    >>> seen.count
    1
    """

    EVENT = "/jax/core/compile/backend_compile_duration"

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0  # spent on them, compiling or loading
        self._counting = False

    def _listen(self, event: str, duration_secs: float, **_: Any) -> None:
        if self._counting and event == self.EVENT:
            self.count += 1
            self.seconds += duration_secs

    def __enter__(self) -> count_compilations:
        """Begin to count."""
        from jax import monitoring

        self._counting = True
        monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting; `count` and `seconds` stay."""
        from jax import monitoring

        self._counting = False  # where JAX cannot forget a listener, it sleeps
        forget = getattr(monitoring, "unregister_event_duration_listener", None)
        if forget is not None:
            forget(self._listen)
