"""Several spots for one belief: which, and in which order they are visited.

Where beliefs of candidates are known to hang together, each pick is believed in before
the next is chosen; where they are not, picks push each other away; and where chance
chooses (`thompson`), every pick has a draw of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.batch import greedy, lipschitz, spread
from aemtwin.acquisition.cost import short_path
from aemtwin.acquisition.registry import Acquisition
from aemtwin.surrogates.base import Posterior
from aemtwin.terms import Terms

Array = NDArray[np.float64]
Weigh = Callable[[Array, NDArray[np.int64]], Array]


def picks(
    acquire: Acquisition,
    posterior: Posterior,
    context: Context,
    scores: Array,
    terms: Terms,
    draw: Callable[[int], Array] | None = None,
) -> tuple[int, ...]:
    """Return the candidates to measure next, in the order of a short way.

    Args:
        acquire: What scored them.
        posterior: Mean and variance of f, (m,).
        context: What it knew; `joint` where beliefs are known to hang together.
        scores: (m,), weighed by the terms; −∞ where not to measure.
        terms: How many, how far apart, from where.
        draw: Gives draw k of f, (m,), for an acquisition that reads draws.

    Returns:
        Indices; fewer than asked for where no more are left, none where none is.
    """
    if np.isneginf(scores).all():
        return ()
    first = int(np.argmax(scores))
    if terms.batch == 1 or terms.positions is None:
        return (first,)

    def weighed(at: Array, chosen: NDArray[np.int64]) -> Array:
        at = np.where(np.isnan(at), -np.inf, at)
        return terms.apart(terms.score(at, getattr(acquire, "scores", "any")), chosen)

    if getattr(acquire, "draws", False) and draw is not None:
        found = _drawn(acquire, posterior, context, first, terms.batch, draw, weighed)
    elif context.joint is not None:
        found = greedy(acquire, posterior, context, terms.batch, adjust=weighed).indices
    else:
        found = spread(
            scores,
            posterior,
            terms.positions,
            terms.batch,
            slope=lipschitz(posterior, terms.positions, terms.shape),
            log=getattr(acquire, "scores", "any") == "log",
            adjust=terms.apart,
        ).indices
    if terms.probe is not None:
        found = found[short_path(terms.probe, terms.positions[found])]
    return tuple(int(index) for index in found)


def _drawn(
    acquire: Acquisition,
    posterior: Posterior,
    context: Context,
    first: int,
    q: int,
    draw: Callable[[int], Array],
    weighed: Weigh,
) -> NDArray[Any]:
    """Return the best of each draw that no earlier one chose."""
    found = [first]
    for k in range(1, q):
        closed = np.array(context.measured, bool)
        closed[found] = True
        known = context._replace(draw=draw(k), measured=closed)
        at = np.array(acquire(posterior, known), np.float64)
        at[np.isnan(at) | closed] = -np.inf
        at = weighed(at, np.array(found, np.int64))
        if np.isneginf(at).all():
            break
        found.append(int(np.argmax(at)))
    return np.array(found, np.int64)
