"""How the programs that fit are compiled: in half the time, and they run as fast.

They are the long ones, such as a search for hyperparameters or a chain of samples, and
are compiled once for each capacity. Short programs, which read candidates or score
them, are left as they are: some of these would run slower (benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jaxlib.version import __version__ as installed

MEASURED = "0.10.2"  # the jaxlib of which it was measured; others may not know it
QUICK = {"xla_cpu_use_fusion_emitters": False}  # XLA fuses the older way


def fitting(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return `jax.jit` with these settings, for a program that fits.

    What it makes cannot be called within another program of JAX's.

    >>> @fitting(static_argnames="power")
    ... def raised(x: float, *, power: int) -> float:
    ...     return x**power
    >>> int(raised(3, power=2))
    9
    """
    options = QUICK if installed == MEASURED else None
    return partial(jax.jit, compiler_options=options, **settings)
