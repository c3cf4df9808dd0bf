"""What a server refuses before anything moves, to the last bit, and what it adds up."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import pairwise

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aemtwin.codec import from_wire, to_wire
from aemtwin.errors import (
    BadConfig,
    BudgetSpent,
    DoseRefused,
    OutOfRange,
    TooFast,
    UnknownName,
)
from aemtwin.instruments import planning
from aemtwin.instruments.allowed import Allowed
from aemtwin.instruments.envelope import Envelope
from aemtwin.instruments.kinds import Kind, moving
from aemtwin.instruments.protocol import Request
from aemtwin.specs import (
    Axis,
    Channel,
    InstrumentSpec,
    Limits,
    Mode,
    Parameter,
    Pulse,
)
from tests.small import small_twin

DWELL = Parameter("dwell_s", "s", 0.5, 1e-6, 100.0)
SETTINGS = (
    *moving(1e-6, 0.0, "the tip"),
    Parameter("current_A", "A", 1e-10, 0.0, 1e-6),
    Parameter("bias_V", "V", 0.0, -20.0, 20.0),
)
LIMITS = Limits(dwell_s=(1e-6, 100.0), points=1000)
KIND = Kind("probe", 0.5, 1e-3, 0.1, SETTINGS, LIMITS)


def mode(name, *parameters, axes=()):
    return Mode(name, "Signal", "1", "float64", axes, DWELL, (name,), parameters)


def volts(name, low=-20.0, units="V"):
    return Parameter(name, units, 0.0, low, 20.0)


SWEPT = Axis("bias", "mV", np.array([-4000.0, 0.0, 5000.0]))
RECORDED = ((0.5e-6, 1.5e-6), (-0.5e-6, 0.5e-6))
SPEC = InstrumentSpec(
    name="probe",
    kind="probe",
    bounds=((0.0, 2e-6), (-1e-6, 1e-6)),
    channels=(
        Channel("height", "Height", "m", "float64", (3, 5), RECORDED),
        Channel("map", "Map", "1", "float64"),
    ),
    modes=(
        mode("plain"),
        mode("sweep", volts("start_v"), volts("stop_v"), volts("ripple_v", low=0.0)),
        mode("stair", volts("offset_v"), volts("amplitude_v", low=0.0)),
        mode("ramp", volts("rate_V_s", units="V/s"), volts("tip_nA", units="nA")),
        mode("fixed", axes=(SWEPT,)),
    ),
    settings=SETTINGS,
    limits=LIMITS,
    dose_units="s",
    identity={},
    pulses=(Pulse("bias", "writes", DWELL, (volts("bias_v"),)),),
)
DEFAULTS = {p.name: p.default for p in SETTINGS}
MIDDLE = np.array([1e-6, 0.0])


def up(value):
    return math.nextafter(value, math.inf)


def down(value):
    return math.nextafter(value, -math.inf)


def request(call, **given):
    return Request(call, f"t/1/{call}", planning.complete(SPEC, KIND, call, given))


def ask(envelope, call, *, dose=0.0, settings=None, at=MIDDLE, **given):
    return envelope.require(
        request(call, **given), {**DEFAULTS, **(settings or {})}, at, dose
    )


def box(value, side):
    """Return `position` with one of its four edges at `value`."""
    edges = [0.2e-6, 1.8e-6, -0.8e-6, 0.8e-6]
    edges[side] = value
    return {"position": ((edges[0], edges[1]), (edges[2], edges[3]))}


def spot(value, side):
    return (value, 0.1e-6) if side < 2 else (1.1e-6, value)


def frame(value, side):
    region = [[1e-6, 1.2e-6], [0.0, 0.3e-6]]
    region[side // 2][side % 2] = value
    return tuple(map(tuple, region))


EDGES = (0.3e-6, 1.7e-6, -0.7e-6, 0.7e-6)
EXACT = {
    # what is asked with a value, the limit at that value, and whether it is a lowest
    **{
        f"{call}-{side}": (ask_it, (lambda v, i=side: box(v, i)), EDGES[side], not up_)
        for side, up_ in enumerate((False, True, False, True))
        for call, ask_it in (
            ("move_to", lambda v, i=side: ("move_to", {"position": spot(v, i)})),
            (
                "trace",
                lambda v, i=side: ("trace", {"points": [spot(v, i), (1e-6, 0.0)]}),
            ),
            (
                "scan",
                lambda v, i=side: ("scan", {"region": frame(v, i), "shape": (2, 3)}),
            ),
        )
    },
    "speed": (
        lambda v: ("configure", {"speed_m_s": v}),
        lambda v: {"slew_m_s": v},
        3e-6,
        False,
    ),
    "current": (
        lambda v: ("configure", {"current_A": v}),
        lambda v: {"current_A": v},
        3e-9,
        False,
    ),
    "bias high": (
        lambda v: ("configure", {"bias_V": v}),
        lambda v: {"bias_V": (-1.0, v)},
        2.3,
        False,
    ),
    "bias low": (
        lambda v: ("configure", {"bias_V": v}),
        lambda v: {"bias_V": (v, 1.0)},
        -2.3,
        True,
    ),
    "pulse high": (
        lambda v: ("pulse", {"bias_v": v}),
        lambda v: {"bias_V": (0.0, v)},
        7.1,
        False,
    ),
    "pulse low": (
        lambda v: ("pulse", {"bias_v": v}),
        lambda v: {"bias_V": (v, 0.0)},
        -7.1,
        True,
    ),
    "sweep": (
        lambda v: ("measure", {"mode": "sweep", "start_v": -1.0, "stop_v": v}),
        lambda v: {"bias_V": (-1.0, v)},
        1.3,
        False,
    ),
    "amplitude": (
        lambda v: ("measure", {"mode": "stair", "amplitude_v": v}),
        lambda v: {"bias_V": (-9.0, v)},
        8.9,
        False,
    ),
    "amplitude, the other way": (
        lambda v: ("measure", {"mode": "stair", "amplitude_v": -v}),
        lambda v: {"bias_V": (v, 9.0)},
        -8.9,
        True,
    ),
    "slew of a voltage": (
        lambda v: ("measure", {"mode": "ramp", "rate_V_s": v}),
        lambda v: {"slew_V_s": v},
        3.3,
        False,
    ),
    "dose": (
        lambda v: ("measure", {"dose": v}),
        lambda v: {"dose_per_operation": v},
        0.3,
        False,
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_value_on_a_limit_passes_and_the_next_float_is_refused(name):
    asked, allowed, limit, lowest = EXACT[name]
    beyond, within = (down, up) if lowest else (up, down)
    kind = DoseRefused if name == "dose" else OutOfRange

    def tried(value, edge):
        call, given = asked(value)
        return ask(Envelope(SPEC, Allowed(**allowed(edge))), call, **given)

    tried(limit, limit)
    tried(within(limit), limit)
    with pytest.raises(kind, match="this server allows"):
        tried(beyond(limit), limit)
    with pytest.raises(kind, match="this server allows"):
        tried(limit, within(limit))


def test_a_turned_frame_is_held_by_its_corners_after_the_turn():
    envelope = Envelope(SPEC, Allowed(position=((0.5e-6, 1.5e-6), (-0.5e-6, 0.5e-6))))
    region = ((0.5e-6, 1.5e-6), (-0.5e-6, 0.5e-6))
    for quarter in range(5):  # on all edges, but for rounding
        ask(
            envelope,
            "scan",
            region=region,
            shape=(4, 4),
            rotation=quarter * math.pi / 2,
        )
    with pytest.raises(OutOfRange, match=r"allowed\['position'\]"):
        ask(envelope, "scan", region=region, shape=(4, 4), rotation=0.01)
    narrow = ((0.6e-6, 1.4e-6), (-0.1e-6, 0.1e-6))
    tall = Envelope(SPEC, Allowed(position=((0.8e-6, 1.2e-6), (-0.4e-6, 0.4e-6))))
    with pytest.raises(OutOfRange):
        ask(tall, "scan", region=narrow, shape=(4, 4))
    ask(tall, "scan", region=narrow, shape=(4, 4), rotation=math.pi / 2)


def test_a_recording_s_own_pixels_are_held_by_where_they_lie():
    ask(Envelope(SPEC, Allowed(position=RECORDED)), "scan", channels=["height"])
    (x, y) = RECORDED
    with pytest.raises(OutOfRange):
        ask(
            Envelope(SPEC, Allowed(position=((up(x[0]), x[1]), y))),
            "scan",
            channels=["height"],
        )
    with pytest.raises(OutOfRange):  # all of the field
        ask(Envelope(SPEC, Allowed(position=RECORDED)), "scan", channels=["map"])


def test_a_probe_outside_may_come_in_and_do_nothing_else():
    envelope = Envelope(SPEC, Allowed(position=((0.0, 1e-6), (-1e-6, 1e-6))))
    outside = np.array([1.5e-6, 0.0])
    for call in ("measure", "pulse"):
        with pytest.raises(OutOfRange, match="this server allows"):
            ask(envelope, call, at=outside)
    ask(envelope, "move_to", at=outside, position=(0.5e-6, 0.0))
    ask(envelope, "configure", at=outside, speed_m_s=1e-7)


def test_a_box_out_of_reach_is_refused():
    with pytest.raises(BadConfig, match="nothing is left"):
        Envelope(SPEC, Allowed(position=((2.1e-6, 3e-6), (0.0, 1e-6))))


def test_settings_in_effect_are_held_to_a_limit_that_came_later():
    tight = Envelope(SPEC, Allowed(current_A=1e-9, bias_V=(-1.0, 1.0), slew_m_s=1e-6))
    for wrong in ({"current_A": up(1e-9)}, {"bias_V": up(1.0)}, {"speed_m_s": 2e-6}):
        for call, given_ in (
            ("measure", {}),
            ("move_to", {"position": (0.0, 0.0)}),
            ("pulse", {}),
            ("scan", {}),
        ):
            with pytest.raises(OutOfRange, match="this server allows"):
                ask(tight, call, settings=wrong, **given_)
    both = {"current_A": 1e-7, "bias_V": 5.0}
    ask(tight, "configure", settings=both, current_A=1e-9)  # one after the other
    ask(tight, "configure", settings=both, bias_V=1.0)
    with pytest.raises(OutOfRange):
        ask(tight, "configure", settings=both, bias_V=up(1.0))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["current_A", "bias_V", "speed_m_s"])
def test_a_setting_that_is_no_number_is_within_no_limit(name, value):
    limits = Allowed(current_A=1.0, bias_V=(-20.0, 20.0), slew_m_s=1.0)
    with pytest.raises(OutOfRange):
        ask(Envelope(SPEC, limits), "measure", settings={name: value})


def test_a_setting_that_is_not_told_is_within_no_limit():
    for limits in (Allowed(current_A=1.0), Allowed(bias_V=(-20.0, 20.0))):
        with pytest.raises(OutOfRange, match="nan"):
            Envelope(SPEC, limits).require(request("measure"), {}, MIDDLE, 0.0)


def test_voltages_add_up_as_they_may_come_together():
    envelope = Envelope(SPEC, Allowed(bias_V=(0.0, 10.0)))
    held = {"settings": {"bias_V": 5.0}}
    stair = {"mode": "stair", "offset_v": 4.5, **held}
    ask(envelope, "measure", **stair, amplitude_v=4.5)
    with pytest.raises(OutOfRange, match="offset_v and amplitude_v"):
        ask(envelope, "measure", **stair, amplitude_v=4.6)
    with pytest.raises(OutOfRange):
        ask(envelope, "measure", mode="sweep", start_v=1.0, stop_v=9.5, ripple_v=0.6)
    ask(envelope, "measure", mode="sweep", start_v=1.0, stop_v=9.0)
    ask(Envelope(SPEC, Allowed(bias_V=(-4.0, 5.0))), "measure", mode="fixed")
    for limits in ((up(-4.0), 5.0), (-4.0, down(5.0))):  # a recorded sweep, in mV
        with pytest.raises(OutOfRange, match="axis bias"):
            ask(Envelope(SPEC, Allowed(bias_V=limits)), "measure", mode="fixed")


def test_units_with_a_prefix_are_units():
    envelope = Envelope(SPEC, Allowed(current_A=2e-9))
    ask(envelope, "measure", mode="ramp", tip_nA=-2.0)
    with pytest.raises(OutOfRange, match="nA"):
        ask(envelope, "measure", mode="ramp", tip_nA=-2.1)


def test_a_frame_may_not_sweep_faster_than_the_probe_may_move():
    region, shape = ((0.0, 2.0**-20), (0.0, 2.0**-21)), (3, 5)
    speed = 2.0**-22 / 2.0**-10  # a quarter of a line in one dwell
    frame_ = {"region": region, "shape": shape, "dwell_s": 2.0**-10}
    slow = {"speed_m_s": 1e-9}
    ask(Envelope(SPEC, Allowed(slew_m_s=speed)), "scan", settings=slow, **frame_)
    with pytest.raises(OutOfRange, match="longer dwell_s"):
        ask(
            Envelope(SPEC, Allowed(slew_m_s=down(speed))),
            "scan",
            settings=slow,
            **frame_,
        )
    # from point to point of a trace it goes at the speed that is set, and then waits
    points = [(0.0, 0.0), (1e-6, 0.0)]
    envelope = Envelope(SPEC, Allowed(slew_m_s=1e-6))
    ask(envelope, "trace", points=points, dwell_s=1e-6)
    with pytest.raises(OutOfRange, match="speed_m_s"):
        ask(envelope, "trace", points=points, settings={"speed_m_s": up(1e-6)})


BUDGETS = {
    "dose": (DoseRefused, lambda v: {"dose": v}),
    "bias_V_s": (BudgetSpent, lambda v: {"dwell_s": v, "settings": {"bias_V": -1.0}}),
    "path_m": (BudgetSpent, lambda v: {"position": (v, 0.0), "at": np.zeros(2)}),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_is_spent_to_the_end_and_not_beyond(name):
    refused, asked = BUDGETS[name]
    each = 0.1e-6 if name == "path_m" else 0.1
    call = "move_to" if name == "path_m" else "measure"
    envelope = Envelope(SPEC, Allowed(**{name: 10 * each}))
    for _ in range(10):  # the sum of these floats is not ten times one of them
        envelope.count(ask(envelope, call, **asked(each)))
    assert envelope.totals()[name] == pytest.approx(10 * each, rel=1e-9)
    before = envelope.totals()
    with pytest.raises(refused, match="restarts included"):
        ask(envelope, call, **asked(each * 1e-4))
    assert envelope.totals() == before
    fresh = Envelope(SPEC, Allowed(**{name: each}))
    ask(fresh, call, **asked(each))
    with pytest.raises(refused):
        ask(fresh, call, **asked(each * (1 + 2e-9)))


def test_operations_are_counted_one_by_one():
    envelope = Envelope(SPEC, Allowed(operations=3))
    for call, given_ in (("configure", {}), ("move_to", {"position": (0, 0)})):
        envelope.count(ask(envelope, call, **given_))
    envelope.count(ask(envelope, "measure"))
    with pytest.raises(BudgetSpent, match="operations = 3"):
        ask(envelope, "configure")
    assert envelope.totals()["operations"] == 3


def test_asking_spends_nothing():
    envelope = Envelope(SPEC, Allowed(operations=1, rate_hz=1.0, dose=1.0))
    for _ in range(5):
        spent = ask(envelope, "measure", dose=1.0)
    assert set(envelope.totals().values()) == {0}
    with_it = envelope.totals(spent)
    envelope.count(spent)
    assert envelope.totals() == with_it
    assert with_it == {"dose": 1.0, "bias_V_s": 0.0, "path_m": 0.0, "operations": 1}


def test_the_way_of_a_frame_is_there_along_every_line_and_back():
    envelope = Envelope(SPEC, Allowed())
    region = ((0.0, 3e-6 / 2), (0.0, 2e-6 / 2))  # lines of 1.5 um, half a um apart
    spent = ask(envelope, "scan", at=np.zeros(2), region=region, shape=(3, 4))
    back = math.hypot(1.5e-6, 0.5e-6)
    assert spent.path_m == pytest.approx(3 * 1.5e-6 + 2 * back)
    far = ask(
        envelope, "scan", at=np.zeros(2), region=region, shape=(3, 4), backward=True
    )
    assert far.path_m == pytest.approx(spent.path_m + 1.5e-6)
    turn = ask(
        envelope,
        "scan",
        at=np.array([0.75e-6, 0.5e-6]),
        region=region,
        shape=(3, 4),
        rotation=math.pi,
    )
    assert turn.path_m == pytest.approx(spent.path_m + math.hypot(0.75e-6, 0.5e-6))


amounts = st.floats(0.0, 10.0)
spots = st.tuples(st.floats(0.0, 2e-6), st.floats(-1e-6, 1e-6))
calls = st.one_of(
    st.tuples(st.just("move_to"), st.fixed_dictionaries({"position": spots})),
    st.tuples(
        st.just("trace"),
        st.fixed_dictionaries(
            {
                "points": st.lists(spots, min_size=1, max_size=4),
                "dwell_s": st.floats(1e-6, 1.0),
            }
        ),
    ),
    st.tuples(
        st.just("pulse"),
        st.fixed_dictionaries(
            {"bias_v": st.floats(-20.0, 20.0), "dwell_s": st.floats(1e-6, 5.0)}
        ),
    ),
    st.tuples(st.just("configure"), st.just({})),
)
budgets = st.fixed_dictionaries(
    {},
    optional={
        "dose": st.floats(0.0, 60.0),
        "bias_V_s": st.floats(0.0, 200.0),
        "path_m": st.floats(0.0, 1e-5),
        "operations": st.integers(0, 12),
    },
)


def by_hand(call, given_, at, bias):
    """Way, volt seconds and last place of an operation, plainly."""
    if call == "move_to":
        return math.dist(at, given_["position"]), 0.0, given_["position"]
    if call == "trace":
        way = [at, *given_["points"]]
        path = math.fsum(math.dist(a, b) for a, b in pairwise(way))
        return path, abs(bias) * given_["dwell_s"] * len(given_["points"]), way[-1]
    if call == "pulse":
        most = max(abs(bias), abs(given_["bias_v"]))
        return 0.0, most * given_["dwell_s"], at
    return 0.0, 0.0, at


@given(
    limits=budgets,
    bias=st.floats(-20.0, 20.0),
    asked=st.lists(st.tuples(calls, amounts, st.booleans()), max_size=25),
)
def test_no_budget_is_ever_exceeded_and_a_restart_changes_nothing(limits, bias, asked):
    steady, killed = (Envelope(SPEC, Allowed(**limits)) for _ in range(2))
    done = dict.fromkeys(("dose", "bias_V_s", "path_m", "operations"), Fraction(0))
    at = (1e-6, 0.0)
    for (call, given_), dose, dies in asked:
        dose = dose if call in ("pulse", "trace") else 0.0
        how = {"dose": dose, "settings": {"bias_V": bias}, "at": np.array(at)}
        path, volt_s, to = by_hand(call, given_, at, bias)
        more = {"dose": dose, "bias_V_s": volt_s, "path_m": path, "operations": 1}
        after = {name: done[name] + Fraction(more[name]) for name in done}
        try:
            spent = ask(steady, call, **how, **given_)
        except (DoseRefused, BudgetSpent):
            with pytest.raises((DoseRefused, BudgetSpent)):
                ask(killed, call, **how, **given_)
            assert any(
                after[name] > Fraction(limit) * (1 - Fraction(1e-12))
                for name, limit in limits.items()
            )
            continue
        assert ask(killed, call, **how, **given_) == spent
        steady.count(spent)
        stored = json.dumps(killed.totals(spent))  # with the begin on disk
        if dies:  # and then killed
            killed = Envelope(SPEC, Allowed(**limits))
            killed.restore(json.loads(stored))
        else:
            killed.count(spent)
        done, at = after, to
        for name, limit in limits.items():
            assert done[name] <= Fraction(limit) * (1 + Fraction(2e-9))
    assert killed.totals() == steady.totals()
    for name, value in done.items():
        assert steady.totals()[name] == pytest.approx(float(value), rel=1e-12)


def test_sums_never_lose_what_rounding_would_drop():
    envelope = Envelope(SPEC, Allowed())
    envelope.count(ask(envelope, "measure", dose=1e16))
    for _ in range(8):
        envelope.count(ask(envelope, "measure", dose=0.9))  # below half a step
    assert envelope.totals()["dose"] >= 1e16 + 8 * 0.9


@pytest.mark.parametrize("dose", [math.nan, -1.0, math.inf])
def test_a_dose_that_is_none_is_refused(dose):
    with pytest.raises(OutOfRange):
        ask(Envelope(SPEC, Allowed()), "measure", dose=dose)


@pytest.mark.parametrize("wrong", [{"dose": math.nan}, {"path_m": -1}, {"doze": 1}])
def test_totals_that_cannot_be_are_not_taken_up(wrong):
    with pytest.raises((OutOfRange, UnknownName)):
        Envelope(SPEC, Allowed()).restore(wrong)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_after_a_burst_operations_come_at_the_rate_and_it_says_how_long_to_wait():
    clock = Clock()
    envelope = Envelope(SPEC, Allowed(rate_hz=4.0, burst=2), clock)
    for _ in range(2):
        envelope.count(ask(envelope, "measure"))
    with pytest.raises(TooFast, match=r"Wait 0\.25 s") as raised:
        ask(envelope, "measure")
    assert isinstance(raised.value, BlockingIOError)
    clock.now += 0.2499
    with pytest.raises(TooFast, match=r"Wait 0\.001 s"):
        ask(envelope, "measure")
    clock.now += 0.001
    envelope.count(ask(envelope, "measure"))
    clock.now += 1000.0  # a rest saves up one burst and no more
    for _ in range(2):
        envelope.count(ask(envelope, "measure"))
    with pytest.raises(TooFast):
        ask(envelope, "measure")


@given(
    rate=st.floats(0.1, 50.0),
    burst=st.none() | st.integers(1, 5),
    pauses=st.lists(st.tuples(st.floats(0.0, 2.0), st.booleans()), max_size=40),
)
def test_in_no_stretch_of_time_come_more_than_a_burst_and_the_rate(rate, burst, pauses):
    clock, begun = Clock(), []
    limits = Allowed(rate_hz=rate, burst=burst)
    envelope = Envelope(SPEC, limits, clock)
    for pause, dies in pauses:
        clock.now += pause
        if dies:
            totals = envelope.totals()
            envelope = Envelope(SPEC, limits, clock)
            envelope.restore(totals)
        try:
            envelope.count(ask(envelope, "configure"))
        except TooFast:
            continue
        begun.append(clock.now)
    for i, first in enumerate(begun):
        for j in range(i, len(begun)):
            assert j - i + 1 <= limits.at_once + rate * (begun[j] - first) + 1e-6


def test_clients_are_told_and_older_ones_ignore_it():
    limits = Allowed(position=RECORDED, bias_V=(-1.0, 2.0), operations=5)
    spec = Envelope(small_twin().describe(), limits_of_small(limits)).spec
    packed = msgpack.unpackb(msgpack.packb(to_wire(spec)), raw=False)
    assert from_wire(InstrumentSpec, packed) == spec
    assert packed["limits"]["allowed"] == limits_of_small(limits).told()
    assert json.loads(json.dumps(spec.limits.allowed)) == spec.limits.allowed
    older = {k: v for k, v in packed["limits"].items() if k != "allowed"}
    assert from_wire(Limits, older).allowed == {}
    newer = {**packed, "limits": {**packed["limits"], "later": 1}}
    assert from_wire(InstrumentSpec, newer) == spec
    assert hash(spec.limits) == hash(small_twin().describe().limits)


def limits_of_small(limits):
    """Leave out the box, which is that of another instrument."""
    return Allowed(bias_V=limits.bias_V, operations=limits.operations)


def test_limits_that_find_nothing_to_limit_are_named():
    limits = Allowed(bias_V=(-1, 1), current_A=1.0, slew_V_s=1.0)
    assert Envelope(SPEC, limits).idle == ()
    assert set(Envelope(small_twin().describe(), limits).idle) == {
        *("current_A", "slew_V_s")
    }


def test_what_is_counted_is_what_a_twin_did():
    twin = small_twin()
    spec = twin.describe()
    (left, right), (low, high) = spec.bounds
    side = (high - low) * 0.3
    middle = ((left + right) / 2, (low + high) / 2)
    region = tuple((m - side / 2, m + side / 2) for m in middle)
    envelope = Envelope(spec, Allowed(position=region))

    def act(call, **given_):
        arguments = planning.complete(spec, twin._kind, call, given_)
        asked = Request(call, "t/1/x", arguments)
        state = twin.state()
        dose = planning.dose_of(twin._kind, state.settings, call, arguments)
        envelope.count(envelope.require(asked, state.settings, state.position, dose))
        return getattr(twin, call)(**given_)

    act("move_to", position=middle)
    for turn in (0.0, math.pi / 2, math.pi, -math.pi / 2):
        act("scan", region=region, shape=(4, 4), rotation=turn)
        act("measure", dwell_s=0.2)  # at a corner, where turning may have rounded
    act("trace", points=[middle, (region[0][0], region[1][1])], dwell_s=0.1)
    act("configure", speed_m_s=1e-6)
    state, totals = twin.state(), envelope.totals()
    assert totals["dose"] == pytest.approx(state.dose, rel=1e-12)
    assert totals["operations"] == state.operations
