"""Laws of twins: their truth, the noise about it, and what they say of a spot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.kinds import FLUX
from aemtwin.instruments.protocol import Instrument
from aemtwin.measurement import Measurement
from aemtwin.specs import Mode
from aemtwin.testing.laws import (
    SHAPE,
    Laws,
    Skip,
    changed,
    fresh,
    is_ideal,
    is_twin,
    modes,
    names,
    place,
    require,
    require_ideal,
    require_still,
    somewhere,
    still,
    told,
)

TELLING: Laws[Instrument] = Laws()
law = TELLING
TRIES = 5  # places, until one is not used up
SIGMA = 6.0  # of Poisson's law, that a count may be off


@law(acts=False)
def truth_is_told_of_every_mode_and_does_nothing(scope: Instrument) -> None:
    """It has the arrays of the mode at each point, no noise, no dose, no trace left."""
    before = still(scope)
    points = [somewhere(scope), place(scope, 0.5, 0.5), somewhere(scope)]
    for mode in modes(scope):
        truth = told(scope, mode.name, points)
        what = f"truth({mode.name!r})"
        require(tuple(truth.arrays) == mode.channels, f"{what} has {[*truth.arrays]}")
        shape = (3, *(len(axis) for axis in mode.axes))
        require(truth.values.shape == shape, f"{what} is {truth.values.shape}")
        require(truth.axes[1:] == mode.axes, f"{what} has other axes than the mode")
        require(truth.dose == 0, f"{what} tells the dose {truth.dose}")
        one, two = truth.values[0], truth.values[2]
        slack = 1e-9 * float(np.nanmax(abs(one), initial=0.0))
        equal = np.allclose(one, two, rtol=1e-6, atol=slack, equal_nan=True)
        require(equal, f"{what} is two things at one place: it has noise")
        there = np.array_equal(truth.actual, points)
        require(there, f"{what} is of other places")
    require_still(scope, before, "asking for the truth")


@law()
def counts_are_in_proportion_to_dwell_and_flux(scope: Instrument) -> None:
    """The truth of counts grows as the time and the current; of the rest it stays."""
    point = [fresh(scope)]
    for mode in modes(scope):
        usual, least = mode.dwell_s.default, mode.dwell_s.low
        other = max(0.5 * usual, least) if usual > least else mode.dwell_s.high
        one = told(scope, mode.name, point)
        two = told(scope, mode.name, point, other)
        _require_times(mode, one, two, other / usual, f"{other:g} s, not {usual:g} s")
    settings: dict[str, Any] = dict(scope.state().settings)
    for p in scope.describe().settings:
        if p.name not in FLUX:
            continue
        mode = modes(scope)[0]
        one, value = told(scope, mode.name, point), math.sqrt(p.low * settings[p.name])
        try:
            scope.configure(**changed(p.name, value))
            two = told(scope, mode.name, point)
        finally:
            scope.configure(**settings)
        share = value / settings[p.name]
        _require_times(mode, one, two, share, f"{p.name} = {value:g}")


def _require_times(
    mode: Mode, one: Measurement, two: Measurement, share: float, what: str
) -> None:
    factor = share if mode.counts else 1.0
    want = one.values * factor
    whole = one.values.dtype.kind in "iu"
    slack = 0.5 * (1.0 + factor) if whole and mode.counts else 0.0
    near = np.isclose(two.values, want, rtol=1e-5, atol=slack, equal_nan=True)
    require(near.all(), f"the truth of {mode.name!r} is not {factor:g} times at {what}")


@law()
def an_ideal_twin_measures_the_truth(scope: Instrument) -> None:
    """Without effects a measurement is the truth of its place, bit for bit."""
    require_ideal(scope)
    for position in (somewhere(scope), place(scope, 1.0, 0.0), fresh(scope)):
        for mode in modes(scope):
            at = scope.move_to(position)
            found, truth = scope.measure(mode.name), told(scope, mode.name, [at])
            for name, values in found.arrays.items():
                want = truth.arrays[name][0].astype(values.dtype)
                ok = values.tobytes() == want.tobytes()
                require(ok, f"{name!r} at {at.tolist()} is not what truth() tells")


@law()
def counts_are_whole_and_about_what_is_expected(scope: Instrument) -> None:
    """Where counting alone is between: no count is broken or beyond 6 sigma."""
    counting = [mode for mode in modes(scope) if mode.counts]
    if not counting:
        raise Skip("no mode counts")
    identity = scope.describe().identity
    if is_ideal(scope) or identity.get("effects") != {} or identity.get("noise"):
        raise Skip("more than counting is between the truth and a measurement")
    for mode in counting:
        for _ in range(TRIES):
            at = scope.move_to(fresh(scope))
            found = scope.measure(mode.name)
            said = " ".join(found.info.get("notices", []))
            if "before" not in said and "left here" not in said:
                break
        else:
            raise Skip(f"no place is left where {mode.name!r} was not measured")
        counts = found.values.astype(np.float64)
        want = told(scope, mode.name, [at]).values[0].astype(np.float64)
        finite = np.isfinite(want)
        counts, want = counts[finite], np.clip(want[finite], 0.0, None)
        require((counts == np.rint(counts)).all(), f"{mode.name!r} has broken counts")
        off = abs(counts - want) <= SIGMA * np.sqrt(want + 1.0) + SIGMA
        require(off.all(), f"{mode.name!r} is far from what is expected at {at}")
        total = abs(counts.sum() - want.sum())
        ok = total <= SIGMA * np.sqrt(want.sum() + 1.0) + 1.0
        require(ok, f"{mode.name!r} is {total:g} counts off in all")


@law()
def repeats_differ_by_fresh_noise_unless_ideal(scope: Instrument) -> None:
    """Two requests alike are two draws; of an ideal twin they are the same bits."""
    if not is_twin(scope):
        raise Skip("it is no twin: nobody knows its noise")
    scope.move_to(somewhere(scope))
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for mode in scope.describe().modes:
        one, two = scope.measure(mode.name), scope.measure(mode.name)
        pairs += [(one.arrays[name], two.arrays[name]) for name in one.arrays]
    if scope.describe().channels:
        one, two = scope.scan(shape=SHAPE), scope.scan(shape=SHAPE)
        pairs += [(one.arrays[name], two.arrays[name]) for name in one.arrays]
    equal = [one.tobytes() == two.tobytes() for one, two in pairs]
    if is_ideal(scope):
        require(all(equal), "an ideal twin gave two answers to one question")
        return
    if all((one == one.flat[0]).all() for one, _ in pairs):
        raise Skip("everything it reads is constant")
    require(not all(equal), "two measurements have the same noise, bit for bit")


@law()
def a_spot_measured_twice_is_told(scope: Instrument) -> None:
    """The second measurement of a run at one place names the first."""
    if not is_twin(scope):
        raise Skip("it is no twin: what it notices is its own")
    modes(scope)
    scope.move_to(fresh(scope))
    scope.measure()
    notices = " ".join(scope.measure().info["notices"])
    said = f"of a second measurement at one place it said: {notices or 'nothing'}"
    require("measured here before, by " in notices, said)


@law()
def a_frame_and_a_trace_along_its_pixels_agree(scope: Instrument) -> None:
    """Rows are y and columns are x: what a frame holds is read again point by point."""
    require_ideal(scope)
    names(scope)
    (x_low, y_low), (x_high, y_high) = place(scope, 0.1, 0.3), place(scope, 0.6, 0.95)
    frame = scope.scan(((x_low, x_high), (y_low, y_high)), SHAPE)
    x, y = frame.axis("x").values, frame.axis("y").values
    trace = scope.trace([(x[j], y[i]) for i in range(len(y)) for j in range(len(x))])
    for name, values in frame.arrays.items():
        equal = values.ravel().tobytes() == trace.arrays[name].tobytes()
        require(equal, f"{name!r} of a frame is not what a trace reads at its pixels")


@law()
def a_line_backwards_shows_the_same_place(scope: Instrument) -> None:
    """`backward` changes when a pixel is read, not where it lies in the frame."""
    require_ideal(scope)
    for name in names(scope):
        one = scope.scan(shape=SHAPE, channels=[name])
        two = scope.scan(shape=SHAPE, channels=[name], backward=True)
        equal = one.values.tobytes() == two.values.tobytes()
        require(equal, f"{name!r} is another image when its lines are read backwards")


@law()
def half_a_turn_turns_the_frame_round(scope: Instrument) -> None:
    """Turned by pi about its centre, a frame has its last pixel first."""
    require_ideal(scope)
    turned = 0
    for name in names(scope):
        if np.dtype(scope.describe().channel(name).dtype).kind not in "fc":
            continue  # of whole numbers the nearest pixel is read, here or beside
        one = scope.scan(shape=SHAPE, channels=[name]).values
        two = scope.scan(shape=SHAPE, channels=[name], rotation=math.pi).values
        both = np.isfinite(one) & np.isfinite(two[::-1, ::-1])
        slack = 1e-5 * float(np.ptp(abs(one[both]))) if both.any() else 0.0
        near = np.isclose(one, two[::-1, ::-1], rtol=1e-5, atol=slack)
        require(near[both].all(), f"{name!r} turned by pi is not turned round")
        turned += 1
    if not turned:
        raise Skip("no channel has broken numbers")
