"""Kernels by the name that one would write: `matern52 + rbf * periodic`.

A sum is structure of several kinds beside one another, a product structure in several
ways at once. `kernels` has those of one name.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aemtwin.errors import BadConfig, unknown
from aemtwin.surrogates.kernels import KERNELS, Kernel, Prior

ODDS_SD = 1.5  # of the logarithm of the odds of a part of a sum


@dataclass(frozen=True)
class _Several:
    """Kernels side by side; their shapes follow one another."""

    parts: tuple[Kernel, ...]
    names: tuple[str, ...]

    def labels(self, d: int) -> tuple[str, ...]:
        """Return the names of all parts, told apart by the part's own."""
        return tuple(
            f"{name}.{label}"
            for name, part in zip(self.names, self.parts, strict=True)
            for label in part.labels(d)
        )

    def prior(self, d: int) -> Prior:
        """Return the priors of all parts, one after the other."""
        every = [part.prior(d) for part in self.parts]
        median, sd = (np.concatenate(one) for one in zip(*every, strict=True))
        return median, sd

    def split(self, shape: Array, d: int) -> list[Array]:
        """Return the shape of each part."""
        ends = np.cumsum([len(part.labels(d)) for part in self.parts])
        return jnp.split(shape, ends[:-1])


class Product(_Several):
    """Structure in each of several ways at once; frequencies add."""

    def correlation(self, shape: Array, A: Array, B: Array) -> Array:
        """Return the product of the parts' correlations, (n, m)."""
        total = jnp.ones((), A.dtype)
        for part, own in zip(self.parts, self.split(shape, A.shape[1]), strict=True):
            total = total * part.correlation(own, A, B)
        return total

    def frequencies(self, key: Array, shape: Array, count: int, d: int) -> Array:
        """Draw of each part, and add."""
        keys, shapes = jax.random.split(key, len(self.parts)), self.split(shape, d)
        return sum(
            part.frequencies(one, own, count, d)
            for part, one, own in zip(self.parts, keys, shapes, strict=True)
        )  # type: ignore[return-value]


class Sum(_Several):
    """Structure of several kinds beside one another, each with its share.

    The shape begins with the odds of all parts but the first against the first.
    """

    def labels(self, d: int) -> tuple[str, ...]:
        """Return the names of the odds, then those of the parts."""
        return tuple(f"{name}.odds" for name in self.names[1:]) + super().labels(d)

    def prior(self, d: int) -> Prior:
        """Return equal odds, then the priors of the parts."""
        median, sd = super().prior(d)
        more = len(self.parts) - 1
        return (
            np.concatenate([np.zeros(more), median]),
            np.concatenate([np.full(more, ODDS_SD), sd]),
        )

    def shares(self, shape: Array) -> Array:
        """Return the share of each part, which sum to 1."""
        odds = jnp.concatenate([jnp.ones(1, shape.dtype), shape[: self._more]])
        return odds / jnp.sum(odds)

    @property
    def _more(self) -> int:
        return len(self.parts) - 1

    def correlation(self, shape: Array, A: Array, B: Array) -> Array:
        """Return the weighted mean of the parts' correlations, (n, m)."""
        shares, shapes = self.shares(shape), self.split(shape[self._more :], A.shape[1])
        total = jnp.zeros((), A.dtype)
        for k, part in enumerate(self.parts):
            total = total + shares[k] * part.correlation(shapes[k], A, B)
        return total

    def frequencies(self, key: Array, shape: Array, count: int, d: int) -> Array:
        """Draw each of one part, which is drawn by its share."""
        key_part, *keys = jax.random.split(key, len(self.parts) + 1)
        logits = jnp.log(self.shares(shape))
        which = jax.random.categorical(key_part, logits, shape=(count, 1))
        total = jnp.zeros((count, d), shape.dtype)
        for k, own in enumerate(self.split(shape[self._more :], d)):
            drawn = self.parts[k].frequencies(keys[k], own, count, d)
            total = total + jnp.where(which == k, drawn, 0.0)
        return total


@cache
def named(text: str) -> Kernel:
    """Return the kernel of a name, or of a sum or product of names.

    Raises:
        UnknownName: If there is no kernel of a name in it.
        BadConfig: If it is no expression of names, +, * and brackets.

    >>> named("rbf * periodic + matern32").labels(1)[:3]
    ('matern32.odds', 'rbf*periodic.rbf.length_0', 'rbf*periodic.periodic.period_0')
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, TypeError, ValueError):
        raise _refused(text) from None
    return _built(tree, text)


def _built(tree: ast.expr, text: str) -> Kernel:
    if isinstance(tree, ast.Name):
        if tree.id not in KERNELS:
            raise unknown("kernel", tree.id, KERNELS, "Set it in [surrogate].")
        return KERNELS[tree.id]
    if not isinstance(tree, ast.BinOp) or not isinstance(tree.op, ast.Add | ast.Mult):
        raise _refused(text)
    terms = _terms(tree, type(tree.op))
    parts = tuple(_built(term, text) for term in terms)
    return (Sum if isinstance(tree.op, ast.Add) else Product)(parts, _distinct(terms))


def _terms(tree: ast.expr, op: type[ast.operator]) -> list[ast.expr]:
    """Return the terms of a chain of one operator, from left to right."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, op):
        return [*_terms(tree.left, op), *_terms(tree.right, op)]
    return [tree]


def _distinct(terms: Sequence[ast.expr]) -> tuple[str, ...]:
    names = [ast.unparse(term).replace(" ", "") for term in terms]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{name}_{k}" for k, name in enumerate(names))


def _refused(text: object) -> BadConfig:
    return BadConfig(
        f"The kernel {text!r} cannot be read; it is a name ({', '.join(KERNELS)}) or "
        "names joined by +, * and brackets, such as 'matern52 + rbf * periodic'."
    )
