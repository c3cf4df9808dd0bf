"""From what was measured to what is believed of every candidate, and how attractive.

Here the loop meets its surrogate and its acquisition; `aemtwin.campaign` measures where
the score is highest. A belief is a function of (configuration, seed, step, values)
alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import jax
import numpy as np
from numpy.typing import NDArray

from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.registry import Acquisition, Policy
from aemtwin.acquisition.stopping import Rule, Standing, Verdict
from aemtwin.batches import picks
from aemtwin.decisions import Belief, State
from aemtwin.dwells import decide, known_noise
from aemtwin.errors import BadConfig, MeasurementFailed
from aemtwin.inputs import View
from aemtwin.surrogates.base import (
    Cross,
    Draws,
    Joint,
    Posterior,
    Resident,
    Surrogate,
    pad,
    step_keys,
)
from aemtwin.terms import Terms
from aemtwin.values import tamed


def require_together(
    surrogate: Surrogate, acquire: Acquisition | Policy, rule: Rule | None = None
) -> None:
    """Refuse an acquisition or a stopping rule that asks for more than there is.

    Raises:
        BadConfig: If they do not go together.
    """
    if rule is not None and isinstance(acquire, Policy):
        raise BadConfig(
            f"The stopping rule {rule.name} reads what is believed, and {acquire.name} "
            "believes nothing. Leave out stop, or choose an acquisition such as log_ei."
        )
    if getattr(rule, "joint", False) and not isinstance(surrogate, Joint):
        raise BadConfig(
            f"The stopping rule {getattr(rule, 'name', '')} reads how beliefs hang "
            f"together, and {surrogate.name} has no method `covariance`. Choose gp or "
            "bayes_gp, or the rule bounds, which any surrogate serves."
        )
    needs = {
        "draws": (Draws, "a draw of the surrogate", "draw", "gp, bayes_gp, dkl or bnn"),
        "joint": (Joint, "how beliefs hang together", "covariance", "gp or bayes_gp"),
    }
    for need, (protocol, what, method, which) in needs.items():
        if getattr(acquire, need, False) and not isinstance(surrogate, protocol):
            raise BadConfig(
                f"The acquisition {acquire.name} reads {what}, and {surrogate.name} "
                f"has no method `{method}`. Choose {which}, or another acquisition, "
                "such as log_ei."
            )


def believe(
    surrogate: Surrogate,
    acquire: Acquisition | Policy,
    view: View,
    state: State,
    seed: int,
    pool: Any = None,
    terms: Terms | None = None,
) -> Belief | None:
    """Fit the surrogate and read it everywhere.

    Args:
        surrogate: What learns.
        acquire: What scores; a policy scores nothing.
        view: The candidates as the surrogate sees them, m of them.
        state: What was measured so far.
        seed: Of the run.
        pool: Of the last belief, if there is one at hand; it spares time and changes
            no bit.
        terms: What else is weighed; None: nothing.

    Returns:
        The belief; None with fewer than two values.

    Raises:
        MeasurementFailed: If the fit found nothing finite.
    """
    values = np.array(state.values)
    valid = np.isfinite(values)
    if valid.sum() < 2:
        return None
    indices = np.array(state.indices)
    closed = ~view.allowed  # measured, or not to be
    closed[indices] = True
    terms = terms or Terms()
    noise = known_noise(state.known.sds, terms.dwells)
    known = None if noise is None else noise[valid]
    data = pad(view.X[indices[valid]], tamed(values[valid]), known)
    key_fit, key_read, key_draw = step_keys(seed, state.seq_num)
    begin = time.perf_counter()
    learned, info = surrogate.fit(key_fit, state.learned, data)
    fit_s = time.perf_counter() - begin
    if not info.get("finite", 1):
        raise MeasurementFailed(
            f"The surrogate {surrogate.name} found no finite fit to "
            f"{int(valid.sum())} values, from {values[valid].min():g} to "
            f"{values[valid].max():g}. Look at them in the journal; another surrogate "
            "or scalarizer may suit them."
        )
    posterior, pool = None, pool if not info.get("searched", 1) else None
    if isinstance(surrogate, Resident) and not info.get("searched", 1):
        pool, posterior = surrogate.look(learned, pool, view.X)
    if posterior is None:
        posterior = surrogate.predict(key_read, learned, view.X)
    mean = np.asarray(posterior.mean, np.float64)
    variance = np.asarray(posterior.variance, np.float64)
    belief = Belief(
        mean=mean,
        sd=np.sqrt(np.maximum(variance, 0.0)),
        scores=np.where(closed, -np.inf, 0.0),
        learned=learned,
        info=info,
        fit_s=fit_s,
        pool=pool,
    )
    if isinstance(acquire, Policy):
        return belief

    def draw(k: int) -> NDArray[np.float64]:
        key = key_draw if k == 0 else jax.random.fold_in(key_draw, k)
        return np.asarray(cast("Draws", surrogate).draw(key, learned, view.X))

    # Values are noisy, so the best so far is the best that is believed of them.
    context = Context(float(mean[indices[valid]].max()), closed, n=int(valid.sum()))
    if getattr(acquire, "draws", False):
        context = context._replace(draw=draw(0))
    together = terms.batch > 1 or getattr(acquire, "joint", False)
    if together and isinstance(surrogate, Joint):
        context = context._replace(joint=_joint(surrogate, learned, view))
    at = Posterior(mean, variance)
    scores = np.array(acquire(posterior, context))
    scores[np.isnan(scores) | closed] = -np.inf
    decided = None
    if terms.dwells is not None and noise is not None:
        decided = decide(terms.dwells, at, info, data, indices, valid, state.known.sds)
        belief = replace(belief, dwell_s=decided.dwell_s)
        if terms.seconds is not None:
            terms = terms._replace(seconds=decided.seconds)
    scores = terms.score(scores, getattr(acquire, "scores", "any"))
    info, verdict = {**info, **terms.info()}, None
    if terms.rule is not None:
        done, ask = indices[valid], (seed, len(indices))
        standing = Standing(at, ~closed, done, terms.decided, seed=ask)
        verdict = _verdict(terms.rule, standing, surrogate, learned, view)
        info |= {"stop_value": verdict.value, "stop_limit": verdict.limit}
    batch = picks(acquire, at, context, scores, terms, draw)
    if decided is not None:
        info |= decided.info(batch[0] if batch else None)
    return replace(belief, scores=scores, info=info, verdict=verdict, batch=batch)


def _verdict(
    rule: Rule, standing: Standing, surrogate: Surrogate, learned: Any, view: View
) -> Verdict:
    """Ask a rule, which may read covariances among candidates."""
    if getattr(rule, "joint", False) and isinstance(surrogate, Joint):
        joint = surrogate.covariance

        def among(indices: NDArray[np.int64]) -> NDArray[np.float64]:
            at = view.X[indices]
            return joint(learned, at, at).covariance

        standing = standing._replace(among=among)
    return rule(standing)


def _joint(
    surrogate: Joint, learned: Any, view: View
) -> Callable[[NDArray[np.int64]], Cross]:
    """Return what tells of candidates by index how beliefs of them vary with others."""

    def joint(indices: NDArray[np.int64]) -> Cross:
        return surrogate.covariance(learned, view.X[indices], view.X)

    return joint


def latent_of(surrogate: Any, learned: Any, view: View) -> NDArray[np.float64] | None:
    """Return where the candidates lie in the surrogate's own space, if it has one."""
    read = getattr(surrogate, "latent", None)
    return None if read is None else np.asarray(read(learned, view.X), np.float64)
