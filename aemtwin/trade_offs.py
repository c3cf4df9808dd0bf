"""What is believed where several numbers are sought, and where to measure therefore.

As `aemtwin.beliefs`, with a surrogate that learns several outputs (`multi_gp`) and an
acquisition that weighs them (`ehvi`, `novelty`). A belief is a function of
(configuration, seed, step, values) alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import jax
import numpy as np
from numpy.typing import NDArray

from aemtwin.acquisition.cost import short_path
from aemtwin.acquisition.hypervolume import Several
from aemtwin.acquisition.registry import Acquisition, Policy
from aemtwin.decisions import Belief, OtherMaps, State
from aemtwin.errors import MeasurementFailed
from aemtwin.fronts import pareto
from aemtwin.inputs import View
from aemtwin.surrogates.base import Cross, Draws, Joint, Posterior, Surrogate, step_keys
from aemtwin.surrogates.multi_gp import pad_several
from aemtwin.terms import Terms
from aemtwin.values import tamed

Array = NDArray[np.float64]


def believe_several(
    surrogate: Surrogate,
    acquire: Acquisition | Policy,
    view: View,
    state: State,
    seed: int,
    pool: Any = None,
    terms: Terms | None = None,
) -> Belief | None:
    """Fit the surrogate to all numbers sought and read each of them everywhere.

    Args:
        surrogate: What learns p outputs: `predict` and `draw` give (p, m).
        acquire: What scores, given (m, p); a policy scores nothing.
        view: The candidates as the surrogate sees them, m of them.
        state: What was measured so far.
        seed: Of the run.
        pool: Not used.
        terms: What else is weighed; None: nothing.

    Returns:
        The belief; None with fewer than two measurements that have all numbers.

    Raises:
        MeasurementFailed: If the fit found nothing finite.
    """
    del pool
    Y = np.column_stack([state.values, np.array(state.others.values)])  # (n, p)
    valid = np.isfinite(Y).all(axis=1)
    if valid.sum() < 2:
        return None
    indices = np.array(state.indices)
    closed = ~view.allowed  # measured, or not to be
    closed[indices] = True
    Y = np.column_stack([tamed(column) for column in Y[valid].T])
    data = pad_several(view.X[indices[valid]], Y)
    key_fit, key_read, key_draw = step_keys(seed, state.seq_num)
    begin = time.perf_counter()
    learned, info = surrogate.fit(key_fit, state.learned, data)
    fit_s = time.perf_counter() - begin
    if not info.get("finite", 1):
        raise MeasurementFailed(
            f"The surrogate {surrogate.name} found no finite fit to {Y.shape[1]} "
            f"numbers of {len(Y)} measurements. Look at them in the journal; other "
            "scalarizers may suit them."
        )
    at = surrogate.predict(key_read, learned, view.X)
    mean, variance = (np.asarray(one, np.float64) for one in at)  # (p, m)
    sd = np.sqrt(np.maximum(variance, 0.0))
    belief = Belief(
        mean=mean[0],
        sd=sd[0],
        scores=np.where(closed, -np.inf, 0.0),
        learned=learned,
        info=info,
        fit_s=fit_s,
        others=OtherMaps(mean[1:], sd[1:]),
    )
    if isinstance(acquire, Policy):
        return belief

    def draw(k: int) -> Array:
        key = key_draw if k == 0 else jax.random.fold_in(key_draw, k)
        drawn = cast("Draws", surrogate).draw(key, learned, view.X)
        return np.asarray(drawn, np.float64).T

    def cross(index: int) -> Cross:
        return cast("Joint", surrogate).covariance(learned, view.X[[index]], view.X)

    # Values are noisy, so the front so far is that of what is believed of them.
    seen = mean.T[indices[valid]]
    terms = terms or Terms()
    batch = _Batch(acquire, terms, draw if getattr(acquire, "draws", False) else None)
    scores = batch.score(Posterior(mean.T, variance.T), seen, closed)
    picks = batch.picks(Posterior(mean.T, variance.T), seen, closed, scores, cross)
    told = {**info, **terms.info(), "front": int(pareto(seen).sum())}
    return replace(belief, scores=scores, info=told, batch=picks)


class _Batch:
    """Chooses candidates one after the other, each believed in before the next.

    Args:
        acquire: What scores.
        terms: What else is weighed.
        draw: Gives draw k of all outputs, (m, p), where the acquisition reads one.
    """

    def __init__(
        self,
        acquire: Acquisition,
        terms: Terms,
        draw: Callable[[int], Array] | None,
    ) -> None:
        self._acquire: Any = acquire
        self._terms, self._draw = terms, draw

    def score(
        self, at: Posterior, seen: Array, closed: NDArray[np.bool_], k: int = 0
    ) -> Array:
        """Return the scores of pick k, (m,), weighed; −∞ where not to measure."""
        drawn = None if self._draw is None else self._draw(k)
        scores = np.array(self._acquire(at, Several(seen, closed, None, drawn)))
        scores[np.isnan(scores) | closed] = -np.inf
        return self._terms.score(scores, getattr(self._acquire, "scores", "any"))

    def picks(
        self,
        at: Posterior,
        seen: Array,
        closed: NDArray[np.bool_],
        scores: Array,
        cross: Callable[[int], Cross],
    ) -> tuple[int, ...]:
        """Return the candidates to measure next, in the order of a short way.

        A pick is believed in at its mean: it joins what was seen, and every output is
        as much surer everywhere as a measurement there would make it, which its value
        does not change.

        Args:
            at: What is believed, (m, p) each.
            seen: Outputs at what was measured, (n, p).
            closed: Where not to measure, (m,).
            scores: Of the first pick, (m,).
            cross: How beliefs at a candidate vary with those at all, (p, 1, m).

        Source: Rasmussen and Williams (2006), eq. 2.24, for the variance; the fantasy
        at the mean as in `batch.greedy`.
        """
        found = list[int]()
        variance = np.array(at.variance)
        rows = list[Array]()  # (p, m), of the factor of the covariance
        while not np.isneginf(scores).all():
            best = int(np.argmax(scores))
            found.append(best)
            if len(found) == self._terms.batch:
                break
            C, noise = (np.asarray(one)[:, 0] for one in cross(best))
            for row in rows:
                C = C - row[:, [best]] * row
            root = np.sqrt(np.maximum(C[:, best] + noise, np.finfo(float).tiny))
            rows.append(C / root[:, None])
            variance = np.maximum(variance - rows[-1].T ** 2, 0.0)
            seen = np.vstack([seen, at.mean[best]])
            closed = closed | (np.arange(closed.size) == best)
            then = Posterior(at.mean, variance)
            scores = self.score(then, seen, closed, len(found))
            scores = self._terms.apart(scores, np.array(found, np.int64))
        if len(found) > 1 and self._terms.probe is not None:
            positions = self._terms.positions
            assert positions is not None
            found = [found[i] for i in short_path(self._terms.probe, positions[found])]
        return tuple(found)
