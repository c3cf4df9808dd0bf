"""The conformance suite of surrogates: every law, and what a surrogate makes of each.

Here are the laws of the contract (`aemtwin.surrogates.base`); `posteriors` has those of
what is believed. Each law is given a `Learner`, which makes the surrogate again as
often as it likes, and skips itself with a reason where it says nothing of it (there is
no draw, chance decides). `aemtwin check` holds a surrogate to all of them.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from aemtwin.errors import AemtwinError, BadConfig, OutOfRange
from aemtwin.surrogates.base import (
    Data,
    Draws,
    Joint,
    Surrogate,
    bucket,
    count_compilations,
    pad,
)
from aemtwin.testing.conformance import Result, held
from aemtwin.testing.laws import Law, Laws, Skip, refused, require
from aemtwin.testing.learners import (
    POINTS,
    Learner,
    apart,
    digest,
    key,
    learner,
    require_plain,
    require_same,
)
from aemtwin.testing.posteriors import POSTERIOR_LAWS

SMALL = 1_000_000  # bytes that may be carried from one fit to the next
MORE = 48  # a capacity that holds `POINTS` with room to spare
SEARCH = 1e-4  # of the spread of y: how far rounding may move the end of a search
CHANCE = 4.0  # times what another key does: where chance decides, no more is asked
SETTLED = 1e-3  # of the spread of y: a key that moves more decides

CONTRACT_LAWS: Laws[Learner] = Laws()
law = CONTRACT_LAWS


def check_surrogate(
    surrogate: Surrogate | Callable[[], Surrogate],
    d: int = 2,
    laws: Iterable[Law[Learner]] | None = None,
) -> list[Result]:
    """Hold a surrogate to laws (default: all of `SURROGATE_LAWS`).

    Args:
        surrogate: A surrogate, or a class or function that makes one without arguments.
        d: Input dimensions; columns behind the position, as patches are, included.
        laws: Those to hold it to.

    Returns:
        What came of each law, in order.

    >>> from aemtwin.surrogates import get
    >>> named = [SURROGATE_LAWS["it_satisfies_the_protocol_and_names_itself"]]
    >>> [str(one) for one in check_surrogate(get("gp"), laws=named)]
    ['ok       it satisfies the protocol and names itself']
    """
    chosen = SURROGATE_LAWS.values() if laws is None else laws
    return list(held(learner(surrogate, d), chosen))


@law()
def it_satisfies_the_protocol_and_names_itself(of: Learner) -> None:
    """Every method of `base.Surrogate` is there, and the name is a word."""
    surrogate = of.make()
    calls = ("name", "init", "fit", "predict", "carry", "restore")
    missing = [call for call in calls if not hasattr(surrogate, call)]
    require(isinstance(surrogate, Surrogate), f"it has no {', '.join(missing)}")
    named = isinstance(surrogate.name, str) and bool(surrogate.name.strip())
    require(named, f"its name is {surrogate.name!r}; it is a word")


@law()
def the_same_key_gives_the_same_bits(of: Learner) -> None:
    """A fit and a read are functions of their arguments: another object, the same bits.

    Nothing of a fit stays in the object, so one made anew reads the state as well.
    """
    (one, info), (two, told) = (of.fit(of.data()) for _ in range(2))
    require(info == told, f"info was {info} and is {told}")
    first = of.read(one, of.candidates)
    require_same(first, of.read(two, of.candidates), "fitted again")
    require_same(first, of.read(one, of.candidates), "read again")


@law()
def a_fit_goes_on_from_what_was_carried(of: Learner) -> None:
    """The law of resuming: what went through a JSON journal is fitted to the same bits.

    `fit(key, restore(carry(s), d), data)` equals `fit(key, s, data)` in info, belief
    and what is carried on.
    """
    surrogate, state = of.make(), of.make().init(of.d)
    for n in (POINTS - 2, POINTS - 1):
        state, _ = surrogate.fit(key(n), state, of.data(n))
    carried = surrogate.carry(state)
    written = json.dumps({k: np.asarray(a).tolist() for k, a in carried.items()})
    read = {k: np.array(a, carried[k].dtype) for k, a in json.loads(written).items()}
    one, info = surrogate.fit(key(1), state, of.data())
    fresh = of.make()
    two, told = fresh.fit(key(1), fresh.restore(read, of.d), of.data())
    require(info == told, f"info is {info}, and {told} after what was carried")
    now, later = (of.read(s, of.candidates) for s in (one, two))
    require_same(now, later, "after what was carried")
    same = digest(dict(surrogate.carry(one))) == digest(dict(surrogate.carry(two)))
    require(same, "what it carries on differs after what was carried")


@law()
def what_is_carried_is_small(of: Learner) -> None:
    """A journal keeps what is carried after every step: a megabyte at most."""
    carried = of.make().carry(of.fitted)
    wrong = [name for name, array in carried.items() if not hasattr(array, "nbytes")]
    require(not wrong, f"it carries {wrong}, which are no arrays")
    size = sum(array.nbytes for array in carried.values())
    require(size < SMALL, f"it carries {size} bytes; {SMALL} are allowed")


@law()
def inside_a_bucket_nothing_is_compiled_after_the_first_step(of: Learner) -> None:
    """A growing run compiles at the first step of each capacity, and then no more.

    A step is a fit and a read of another object of the same settings. All threads
    count, so hold this law where nothing else compiles.
    """
    state, numbers = of.make().init(of.d), range(15, 21)  # capacities 16 and 32
    keys = {n: (key(n), key(n, 1)) for n in numbers}
    counts: dict[int, list[int]] = {}
    for n in numbers:
        surrogate, data = of.make(), of.data(n)
        with count_compilations() as seen:
            state, _ = surrogate.fit(keys[n][0], state, data)
            surrogate.predict(keys[n][1], state, of.candidates.copy())
        counts.setdefault(bucket(n), []).append(seen.count)
    for capacity, steps in counts.items():
        require(
            not any(steps[1:]),
            f"the steps at capacity {capacity} compiled {steps} programs; after the "
            "first there is none",
        )


@law()
def padding_does_not_matter(of: Learner) -> None:
    """More rows outside the mask leave the belief as it is.

    To 1e-4 of the spread of y, since a search may end a rounding earlier; where another
    key moves the belief, to 4 times as much.
    """
    data = of.data()
    more = MORE - len(data.y)
    roomy = Data(
        np.pad(data.X, ((0, more), (0, 0))),
        np.pad(data.y, (0, more)),
        np.pad(data.mask, (0, more)),
    )
    gap, allowed = apart(of.belief, of.believe(roomy), of.unit), _allowed(of)
    told = f"at capacity {MORE} it believes otherwise, by {gap:.2g} spreads of y"
    require(gap <= allowed, f"{told}; {allowed:.2g} are allowed")


@law()
def the_order_of_points_does_not_matter(of: Learner) -> None:
    """Measured in another order, points are believed the same, to 1e-4 of y's spread.

    Where another key moves the belief by more than 1e-3 (members of an ensemble that
    are dealt other points, chains), order cannot be told from chance.
    """
    if of.chance > SETTLED:
        raise Skip(f"chance decides: another key moves it by {of.chance:.2g} spreads")
    order = np.random.default_rng(4).permutation(POINTS)
    belief = of.believe(pad(of.X[order], of.y[order]))
    gap, allowed = apart(of.belief, belief, of.unit), _allowed(of)
    told = f"in another order it believes otherwise, by {gap:.2g} spreads of y"
    require(gap <= allowed, f"{told}; {allowed:.2g} are allowed")


@law()
def the_unit_of_y_changes_nothing_but_the_unit(of: Learner) -> None:
    """With y times 1e9 or 1e-9, mean and sd are that many times as large, to 1e-6.

    The factors are 2^30 and 2^-30, which no rounding can tell from 1.
    """
    for factor in (2.0**30, 2.0**-30):
        found = of.believe(pad(of.X[:POINTS], factor * of.y[:POINTS]))
        mean, variance = found.mean / factor, found.variance / factor**2
        gap = apart(of.belief, found._replace(mean=mean, variance=variance), of.unit)
        told = f"with y times {factor:.1e} it believes otherwise, by {gap:.2g} spreads"
        require(gap <= 1e-6, f"{told} of y; 1e-06 are allowed")


@law()
def where_y_is_zero_changes_nothing_but_the_mean(of: Learner) -> None:
    """With 1000 added to y, the mean is 1000 higher and the sd what it was.

    To 1e-4 of the spread of y, or 4 times what another key does: the sum is rounded.
    """
    found = of.believe(pad(of.X[:POINTS], 1e3 + of.y[:POINTS]))
    moved = found._replace(mean=np.asarray(found.mean) - 1e3)
    gap, allowed = apart(of.belief, moved, of.unit), _allowed(of)
    told = f"with 1000 added to y it believes otherwise, by {gap:.2g} spreads of y"
    require(gap <= allowed, f"{told}; {allowed:.2g} are allowed")


@law()
def data_that_are_not_finite_are_refused_or_told(of: Learner) -> None:
    """`pad` refuses a NaN; past it, `fit` raises or says `info["finite"]` is 0."""
    y = np.where(np.arange(POINTS) == 3, np.nan, of.y[:POINTS])
    refused(OutOfRange, pad, of.X[:POINTS], y)
    data = of.data()
    try:
        _, info = of.fit(data._replace(y=np.where(data.mask, np.append(y, [0, 0]), 0)))
    except AemtwinError:
        return
    told = info.get("finite")
    require(told == 0, f"it was fitted to a NaN, and info['finite'] is {told}, not 0")


@law()
def info_holds_plain_finite_numbers(of: Learner) -> None:
    """`info` is for people and logs: Python's int and float, finite, `finite` = 1."""
    surrogate, state = of.make(), of.make().init(of.d)
    for n in (1, POINTS):
        state, info = surrogate.fit(key(n), state, of.data(n))
        require_plain(info)


@law()
def without_data_it_refuses_to_be_read(of: Learner) -> None:
    """A state that was never fitted, or only restored, is refused with `BadConfig`."""
    surrogate = of.make()
    restored = surrogate.restore(surrogate.carry(of.fitted), of.d)
    for state in (surrogate.init(of.d), restored):
        refused(BadConfig, surrogate.predict, key(0, 1), state, of.candidates)
        if isinstance(surrogate, Draws):
            refused(BadConfig, surrogate.draw, key(0, 2), state, of.candidates)
        if isinstance(surrogate, Joint):
            given = of.candidates[:2], of.candidates
            refused(BadConfig, surrogate.covariance, state, *given)


@law()
def nothing_changes_what_it_is_given(of: Learner) -> None:
    """A fit, a read, a draw and what is carried leave state and data as they were."""
    surrogate, data, candidates = of.make(), of.data(), of.candidates.copy()
    state, _ = of.fit(of.data())
    calls: dict[str, Callable[[], Any]] = {
        "fit": lambda: surrogate.fit(key(1), state, data),
        "predict": lambda: surrogate.predict(key(1, 1), state, candidates),
        "carry": lambda: surrogate.carry(state),
        "restore": lambda: surrogate.restore(surrogate.carry(state), of.d),
    }
    if isinstance(surrogate, Draws):
        calls["draw"] = lambda: surrogate.draw(key(1, 2), state, candidates)
    if isinstance(surrogate, Joint):
        near = candidates[:3].copy()
        calls["covariance"] = lambda: surrogate.covariance(state, near, candidates)
    for name, call in calls.items():
        before = digest(state), digest(data), digest(candidates)
        call()
        after = digest(state), digest(data), digest(candidates)
        named = zip(("state", "data", "candidates"), before, after, strict=True)
        changed = [what for what, was, now in named if was != now]
        require(
            not changed, f"{name} changed the {' and the '.join(changed)} it was given"
        )


@law()
def global_settings_are_left_alone(of: Learner) -> None:
    """A fit and a read change no setting of JAX or NumPy, and no global chance."""
    before = _globals()
    of.believe(of.data())
    after = _globals()
    changed = [name for name, value in before.items() if after[name] != value]
    require(not changed, f"it changed {', '.join(changed)}")


@law()
def any_array_of_candidates_is_read(of: Learner) -> None:
    """Lists and float32 are read as the float64 of the same numbers; one is enough."""
    short = of.candidates.astype(np.float32)
    plain = of.read(of.fitted, short.astype(np.float64))
    require_same(plain, of.read(of.fitted, short), "of float32 candidates")
    require_same(plain, of.read(of.fitted, short.tolist()), "of a list of candidates")
    of.read(of.fitted, short[:1])


def _allowed(of: Learner) -> float:
    """Return what rounding may do to a belief, directly and by way of chance."""
    return SEARCH + CHANCE * of.chance


def _globals() -> dict[str, Any]:
    """Return settings of this process that others depend on."""
    jax = sys.modules.get("jax")
    return {
        "jax_enable_x64": None if jax is None else jax.config.jax_enable_x64,
        "the error handling of NumPy": np.geterr(),
        "the state of numpy.random": digest(np.random.get_state()),  # noqa: NPY002
        "the state of random": random.getstate(),
    }


SURROGATE_LAWS: Laws[Learner] = Laws({**CONTRACT_LAWS, **POSTERIOR_LAWS})
"""Laws of any surrogate, by name."""
