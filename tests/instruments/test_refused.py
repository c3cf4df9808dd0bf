"""What a twin refuses before motion: each stated limit one float beyond, and no number.

Instrument and specimen are as if nobody had asked: state, time, dose and ledger.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments import planning
from aemtwin.instruments.opening import open_twin

WRONG = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "huge": 10**300,
    "-huge": -(10**300),
    "beyond any float": 10**400,
    "bool": True,
    "numpy bool": np.True_,
    "numpy nan": np.float64("nan"),
    "numpy inf": np.float32("inf"),
    "array of nan": np.array(math.nan),
    "array of bool": np.array(True),
    "text": "1.0",
    "numpy text": np.str_("1.0"),
    "bytes": b"1.0",
    "list": [1.0],
    "complex": 1.0 + 0.0j,
    "numpy complex": np.complex128(1.0),
    "time": np.timedelta64(1, "s"),
    "decimal": Decimal("1.0"),
    "masked": np.ma.masked,
}
REFUSED = OutOfRange, WrongType, ShapeMismatch
TWINS = {
    "pfm_loops": {"effects": "writing"},
    "stem_eels": {},
    "stm_spectroscopy": {},
}


@pytest.fixture(scope="module", params=TWINS)
def twin(request):
    with_it = open_twin(request.param, **TWINS[request.param])
    yield with_it
    with_it.close()


@pytest.fixture(autouse=True)
def _nothing_happens(twin):
    before = twin.state_hash(), twin.events()
    yield
    assert (twin.state_hash(), twin.events()) == before


def numbers(spec):
    """Give every number that a call takes: the call, what else, and its parameter."""
    for p in spec.settings:
        yield "configure", {}, p
    for mode in spec.modes:
        for p in (mode.dwell_s, *mode.parameters):
            yield "measure", {"mode": mode.name}, p
    for pulse in spec.pulses:
        for p in (pulse.dwell_s, *pulse.parameters):
            yield "pulse", {"name": pulse.name}, p


def act(twin, call, **given):
    """Ask as a caller would, so that nothing is checked before the twin does."""
    return getattr(twin, call)(**given)


def beyond(low, high):
    return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)


def test_every_number_is_allowed_on_its_limits_and_refused_one_float_beyond(twin):
    spec = twin.describe()
    asked = list(numbers(spec))
    assert {call for call, _, _ in asked} >= {"configure", "measure"}
    for call, given, p in asked:
        for value in (p.low, p.high):
            planning.complete(spec, twin._kind, call, {**given, p.name: value})
        for value in beyond(p.low, p.high):
            with pytest.raises(OutOfRange, match=p.name):
                act(twin, call, **given, **{p.name: value})


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_no_number_is_refused_wherever_one_is_taken(twin, value):
    for call, given, p in numbers(twin.describe()):
        with pytest.raises(REFUSED):
            act(twin, call, **given, **{p.name: value})
    for call in ("scan", "trace"):
        given = {"points": [twin.state().position]} if call == "trace" else {}
        with pytest.raises(REFUSED):
            act(twin, call, dwell_s=value, **given)
    with pytest.raises(REFUSED):
        twin.scan(rotation=value)


@pytest.mark.filterwarnings("ignore:Warning. converting a masked element")
@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_no_number_is_refused_in_every_place(twin, value):
    x, y = (float(v) for v in twin.state().position)
    for position in ((value, y), (x, value), value, [value], np.array([x, y, x])):
        with pytest.raises(REFUSED):
            twin.move_to(position)
    with pytest.raises(REFUSED):
        twin.trace([(x, y), (x, value)])
    with pytest.raises(REFUSED):
        twin.scan(region=((x, value), (y, y)), shape=(2, 2))


def test_a_place_on_the_bounds_is_reached_and_one_float_beyond_is_refused(twin):
    spec = twin.describe()
    x, y = (float(v) for v in twin.state().position)
    (left, right), (low, high) = spec.bounds
    inside = [(left, y), (right, y), (x, low), (x, high)]
    outside = [(v, y) for v in beyond(left, right)]
    outside += [(x, v) for v in beyond(low, high)]
    for at in inside:
        planning.complete(spec, twin._kind, "move_to", {"position": at})
    for at in outside:
        with pytest.raises(OutOfRange):
            twin.move_to(at)
        with pytest.raises(OutOfRange):
            twin.trace([(x, y), at, (x, y)])
        region = [sorted(pair) for pair in zip((x, y), at, strict=True)]
        with pytest.raises(OutOfRange):
            twin.scan(region=region, shape=(2, 2))


def test_the_dwell_of_a_pixel_has_limits_to_the_last_bit(twin):
    spec = twin.describe()
    at = [tuple(twin.state().position)]
    for value in spec.limits.dwell_s:
        planning.complete(spec, twin._kind, "trace", {"points": at, "dwell_s": value})
    for value in beyond(*spec.limits.dwell_s):
        with pytest.raises(OutOfRange, match="dwell_s"):
            twin.trace(at, dwell_s=value)
        with pytest.raises(OutOfRange, match="dwell_s"):
            twin.scan(dwell_s=value)


def test_numbers_of_numpy_are_numbers(twin):
    spec, kind = twin.describe(), twin._kind
    for of in (np.float64, np.float32, np.array):
        given = {"dwell_s": of(0.5)}
        found = planning.complete(spec, kind, "measure", given)["dwell_s"]
        assert (type(found), found) == (float, 0.5)
