"""Laws of time and dose: what is told before is what happens, and nothing is lost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from aemtwin.instruments.dose import dose_map
from aemtwin.instruments.protocol import Instrument
from aemtwin.testing.laws import (
    SHAPE,
    Laws,
    Skip,
    a_second,
    changed,
    close,
    doses,
    fresh,
    is_twin,
    names,
    nudged,
    place,
    pulses,
    read,
    require,
    somewhere,
)

DOSING: Laws[Instrument] = Laws()
law = DOSING
EPS = 1e-15  # of the clock: what one addition rounds


def _calls(scope: Instrument) -> list[tuple[str, dict[str, Any], int]]:
    """Return a call of each kind that takes dwell, with how many spots it reads."""
    spec, found = scope.describe(), []
    at = [somewhere(scope), place(scope, 0.5, 0.5), somewhere(scope)]
    if spec.channels:
        low, high = spec.limits.dwell_s
        short = min(max(1.25 * low, 1e-4), high)
        found.append(("scan", {"shape": SHAPE, "dwell_s": short}, math.prod(SHAPE)))
        found.append(("trace", {"points": at, "dwell_s": short}, len(at)))
    for call, key, some in (
        ("measure", "mode", spec.modes),
        ("pulse", "name", spec.pulses),
    ):
        for one in some:
            dwell = 0.75 * one.dwell_s.default + 0.25 * one.dwell_s.low
            found.append((call, {key: one.name, "dwell_s": dwell}, 1))
    return found


@law()
def duration_says_what_the_clock_then_does(scope: Instrument) -> None:
    """The clock of a twin goes on by what `duration` told, that of another forward."""
    exact, at = is_twin(scope), {"position": somewhere(scope)}
    for call, arguments, _ in (("move_to", at, 0), *_calls(scope)):
        told = scope.duration({"call": call, "arguments": arguments})
        before = scope.state().time_s
        getattr(scope, call)(**arguments)
        now = scope.state().time_s
        require(now >= before, f"the clock ran back in {call}: {before} to {now} s")
        if exact:
            ok = close(now - before, told, slack=8 * EPS * now)
            require(ok, f"{call} was to take {told} s and took {now - before} s")


@law()
def dose_is_the_time_on_the_specimen_or_what_came_down_in_it(scope: Instrument) -> None:
    """Dwell times spots times the dose of a second, in answer, event and state."""
    second = a_second(scope)
    for call, arguments, spots in _calls(scope):
        before = scope.state()
        answer = getattr(scope, call)(**arguments)
        dwell = answer["dwell_s"] if call == "pulse" else answer.dwell_s
        dose = answer["dose"] if call == "pulse" else answer.dose
        asked = arguments["dwell_s"]
        require(close(dwell, asked), f"{call} of {asked} s tells {dwell} s")
        want = dwell * spots * second
        units = scope.describe().dose_units
        told = f"{call} of {spots} spots, {dwell} s each, tells {dose} {units}"
        require(close(dose, want), f"{told}; it is {want}")
        event = doses(scope.events(before.operations))
        require(event == [dose], f"{call} added {dose}, and its event tells {event}")
        added, so_far = scope.state().dose - before.dose, scope.state().dose
        ok = close(added, dose, slack=8 * EPS * so_far)
        require(ok, f"{call} added {dose}, and state().dose grew by {added}")


@law()
def what_only_moves_or_sets_adds_no_dose(scope: Instrument) -> None:
    """`move_to` and `configure` leave the dose as it was."""
    before = scope.state().dose
    scope.move_to(somewhere(scope))
    settings: dict[str, Any] = dict(scope.state().settings)
    scope.configure(**settings)
    now = scope.state().dose
    require(now == before, f"moving brought the dose from {before} to {now}")


@law()
def dose_follows_the_flux_that_is_set(scope: Instrument) -> None:
    """With less current, or power, the same time on the specimen is less dose."""
    units = scope.describe().dose_units
    if units == "s":
        raise Skip("its dose is time alone")
    usual: dict[str, Any] = dict(scope.state().settings)
    whole = a_second(scope)
    flux = [p for p in scope.describe().settings if p.name in ("current_A", "power_W")]
    first = read(scope).dose
    try:
        for p in flux:
            scope.configure(**changed(p.name, nudged(p, usual[p.name])))
        share = a_second(scope) / whole
        dose = read(scope).dose
    finally:
        scope.configure(**usual)
    told = f"with {share:.6f} of the flux the dose is {dose / first:.6f} of the usual"
    require(close(dose, share * first), told)


@law()
def the_dose_is_the_sum_of_what_the_events_tell_bit_for_bit(scope: Instrument) -> None:
    """Added up in order, the doses of all events are `state().dose`, to the bit."""
    for call, arguments, _ in _calls(scope):
        scope.move_to(fresh(scope))
        getattr(scope, call)(**arguments)
    total = 0.0
    for dose in doses(scope.events()):
        total += dose
    found = scope.state().dose
    require(found == total, f"state().dose is {found!r}, the events add to {total!r}")


@law()
def a_map_of_the_dose_has_all_of_it_where_it_was_given(scope: Instrument) -> None:
    """A reading at a spot raises the map there, by its dose, and nowhere else."""
    bounds = scope.describe().bounds
    if not all(low < high for low, high in bounds):
        raise Skip("its field has no area")
    cell = float(np.prod(np.diff(bounds))) / (8 * 5)
    scope.move_to(somewhere(scope))

    def there() -> Any:
        return dose_map(scope.events(), bounds, (8, 5)) * cell

    before, so_far = there(), scope.state().dose
    added = read(scope).dose
    if scope.describe().pulses:
        added += scope.pulse(pulses(scope)[0].name)["dose"]
    grown = there() - before
    row, column = int(0.7 * 8), int(0.3 * 5)
    slack = 1e-12 * (so_far + added)
    ok = close(float(grown[row, column]), added, slack=slack)
    require(ok, f"{added} were added at a spot, the map has {grown[row, column]} there")
    grown[row, column] = 0.0
    require((abs(grown) <= slack).all(), "the map of the dose grew elsewhere too")
    total, dose = float(there().sum()), scope.state().dose
    ok = close(total, dose, slack=slack)
    require(ok, f"the map holds {total} of the dose {dose}")


@law()
def a_longer_dwell_is_a_longer_time(scope: Instrument) -> None:
    """An answer's window on the clock is at least as long as its dwells."""
    for call, arguments, spots in _calls(scope):
        answer = getattr(scope, call)(**arguments)
        begin, end = answer["time_s"] if call == "pulse" else answer.time_s
        least = spots * arguments["dwell_s"]
        slack = 8 * EPS * end
        ok = end - begin >= least * (1 - 1e-9) - slack
        require(ok, f"{call} of {least} s lasted from {begin} to {end} s")


@law()
def a_frame_doses_as_its_pixels_do(scope: Instrument) -> None:
    """A frame of one pixel adds what a trace of one point adds."""
    names(scope)
    dwell = 1.5 * scope.describe().limits.dwell_s[0]
    at = somewhere(scope)
    frame = scope.scan(((at[0], at[0]), (at[1], at[1])), (1, 1), dwell_s=dwell)
    trace = scope.trace([at], dwell_s=dwell)
    told = f"a pixel of a frame is {frame.dose}, a point of a trace {trace.dose}"
    require(close(frame.dose, trace.dose), told)
