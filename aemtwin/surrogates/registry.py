"""Surrogates by name: those of the house and those that a plugin brings.

Nothing here imports JAX until a surrogate is asked for, so a listing is cheap. A plugin
names a class under the entry point group `aemtwin.surrogates`; its instances satisfy
`aemtwin.surrogates.base.Surrogate`, which `tests/surrogates/test_contract.py` checks.
`aemtwin.plugins` has what all registries do alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from aemtwin.plugins import build, entry_points, find, listing

if TYPE_CHECKING:
    from aemtwin.surrogates.base import Surrogate

GROUP = "aemtwin.surrogates"

BUILT_IN = {  # name -> where it is, and one line for people
    "dkl": (
        "aemtwin.surrogates.dkl:DKL",
        "deep kernels over image patches and position: ensemble, SVI or NUTS (Flax)",
    ),
    "gp": (
        "aemtwin.surrogates.gp:GP",
        "exact Gaussian process, Matérn-5/2 or RBF, multi-start MAP",
    ),
    "bayes_gp": (
        "aemtwin.surrogates.bayes_gp:BayesGP",
        "gp, averaged over its hyperparameters (NumPyro NUTS)",
    ),
    "structured_gp": (
        "aemtwin.surrogates.structured_gp:StructuredGP",
        "gp about physical models of your own, weighed by their evidence",
    ),
    "bnn": (
        "aemtwin.surrogates.bnn:BNN",
        "Bayesian neural network over position and patches, NUTS, SVI or last layer",
    ),
    "multi_gp": (
        "aemtwin.surrogates.multi_gp:MultiGP",
        "gp of several outputs with one kernel, factorised once for all of them",
    ),
    "sparse_gp": (
        "aemtwin.surrogates.sparse_gp:SparseGP",
        "gp of more than 2,000 points, seen through variational inducing points",
    ),
}


def available() -> dict[str, str]:
    """Return what each surrogate is, in one line, by name; imports none of them.

    >>> available()["gp"]
    'exact Gaussian process, Matérn-5/2 or RBF, multi-start MAP'
    """
    lines = {name: line for name, (_, line) in BUILT_IN.items()}
    return listing(lines, entry_points(GROUP))


def factory(name: str) -> Callable[..., Any]:
    """Return what makes the surrogate of that name; errors as `get`."""
    return find("surrogate", name, BUILT_IN, GROUP)


def get(name: str, **params: Any) -> Surrogate:
    """Make the surrogate of that name.

    Args:
        name: One of `available()`.
        params: What its class takes.

    Raises:
        UnknownName: If there is none of that name.
        BadConfig: If it does not take these parameters.
        MissingExtra: If it needs packages that are not installed, or is a plugin that
            cannot be imported.

    >>> get("gp", kernel="rbf").kernel
    'rbf'
    """
    return cast("Surrogate", build("surrogate", name, params, BUILT_IN, GROUP))
