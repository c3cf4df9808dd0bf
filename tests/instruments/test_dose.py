"""The map of the dose: all of it, where it came down, also from older ledgers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aemtwin
from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.dose import dose_map
from tests.small import small_twin

BOX = ((0.0, 400e-9), (0.0, 1000e-9))
CELL = 400e-9 * 1000e-9
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
inside = st.tuples(st.floats(0, 400e-9), st.floats(0, 1000e-9))
edge = st.floats(0.0, 1.0)


@st.composite
def scans(draw):
    low, high = (sorted(draw(st.tuples(edge, edge))) for _ in range(2))
    region = [[400e-9 * v for v in low], [1000e-9 * v for v in high]]
    turn = draw(st.sampled_from([0.0, math.pi, -math.pi, 2 * math.pi]))
    shape = draw(st.sampled_from([(1, 1), (1, 3), (4, 1), (3, 5)]))
    return "scan", {"region": region, "shape": shape, "rotation": turn}


calls = st.one_of(
    st.tuples(st.just("move_to"), st.fixed_dictionaries({"position": inside})),
    st.tuples(
        st.just("measure"),
        st.fixed_dictionaries({"dwell_s": st.sampled_from([1e-3, 0.7])}),
    ),
    st.tuples(
        st.just("trace"),
        st.fixed_dictionaries({"points": st.lists(inside, min_size=1, max_size=5)}),
    ),
    scans(),
    st.just(("scan", {})),
)


@given(st.lists(calls, max_size=6), shapes)
def test_the_cells_hold_all_of_the_dose(program, shape):
    twin = small_twin()
    for call, arguments in program:
        getattr(twin, call)(**arguments)
    found = twin.dose_map(shape)
    assert found.shape == shape
    assert (found >= 0).all()
    total = found.sum() * CELL / math.prod(shape)
    assert total == pytest.approx(twin.state().dose, rel=1e-9, abs=1e-12)


def test_the_map_is_that_of_the_recording_by_default(twin):
    assert twin.dose_map().shape == (6, 5)
    assert not twin.dose_map().any()


def test_a_spot_is_in_its_cell_and_the_last_cell_has_its_edge(twin):
    for position, cell in [
        ((0.0, 0.0), (0, 0)),
        ((400e-9, 1000e-9), (1, 3)),
        ((399e-9, 1e-9), (0, 3)),
        ((101e-9, 501e-9), (1, 1)),
    ]:
        twin.reset()
        twin.move_to(position)
        twin.measure(dwell_s=2.0)
        found = twin.dose_map((2, 4)) * CELL / 8
        assert found[cell] == pytest.approx(2.0)
        assert np.count_nonzero(found) == 1


def test_a_whole_frame_is_even_and_half_a_frame_is_half(twin):
    twin.scan(dwell_s=0.1)
    found = twin.dose_map((4, 4)) * CELL / 16
    np.testing.assert_allclose(found, 30 * 0.1 / 16, rtol=1e-12)
    twin.reset()
    twin.scan(((0.0, 200e-9), (0.0, 1000e-9)), (2, 2), dwell_s=1.0)
    found = twin.dose_map((1, 4)) * CELL / 4
    np.testing.assert_allclose(found, [[2, 2, 0, 0]], rtol=1e-12)


def test_a_quarter_turn_lays_the_frame_across(twin):
    region = ((100e-9, 300e-9), (460e-9, 540e-9))
    twin.scan(region, (3, 3), dwell_s=1.0, rotation=math.pi / 2)
    found = twin.dose_map((10, 10)) * CELL / 100
    want = np.zeros((10, 10))
    want[4:6, 4:6] = 9 / 4  # 80 nm wide, 200 nm high, about the same centre
    np.testing.assert_allclose(found, want, rtol=1e-9)


def test_one_line_of_pixels_is_a_line(twin):
    twin.scan(BOX, (1, 5), dwell_s=1.0)
    found = twin.dose_map((5, 2)) * CELL / 10
    np.testing.assert_allclose(found[2], [2.5, 2.5])
    assert found.sum() == pytest.approx(5)


def test_a_trace_is_point_by_point(twin):
    twin.trace([(10e-9, 10e-9), (390e-9, 10e-9), (20e-9, 20e-9)], dwell_s=1.0)
    found = twin.dose_map((1, 2)) * CELL / 2
    np.testing.assert_allclose(found, [[2, 1]])


def test_what_lies_outside_the_map_is_left_out(twin):
    twin.scan(dwell_s=0.1)
    half = ((0.0, 400e-9), (0.0, 500e-9))
    found = dose_map(twin.events(), half, (3, 3)) * CELL / 2 / 9
    assert found.sum() == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("call", "arguments", "cell"),
    [
        ("move_to", {"position": [390e-9, 10e-9]}, (0, 1)),
        ("trace", {"points": [[0, 0], [390e-9, 990e-9]]}, (1, 1)),
        (
            "scan",
            {"region": [[0, 390e-9], [0, 10e-9]], "shape": [2, 2], "rotation": 0.0},
            (0, 1),
        ),
    ],
)
def test_an_older_ledger_is_read(call, arguments, cell):
    """It had no extent of a frame, and no position of what was stopped."""
    events = [
        {"call": call, "arguments": arguments, "dose": 0.0},
        {
            "call": "measure",
            "arguments": {},
            "dose": 3.0,
            "error": ["OperationStopped", "."],
        },
    ]
    if call == "move_to":
        events[0]["actual"] = arguments["position"]
    found = dose_map(events, BOX, (2, 2)) * CELL / 4
    assert found[cell] == pytest.approx(3.0)


def test_a_native_frame_is_where_the_recording_is():
    twin = aemtwin.open_twin("stem_eels")
    twin.scan()
    (event,) = twin.events()
    assert event["extent"] == [[0.0, 140e-9], [0.0, 140e-9]]
    found = twin.dose_map()
    assert found.shape == (48, 48)
    per_m2 = 128 * 128 * 2e-5 * 50e-12 / 1.602176634e-19 / (140e-9) ** 2
    np.testing.assert_allclose(found, per_m2, rtol=1e-9)


@pytest.mark.parametrize(
    ("bounds", "shape", "kind"),
    [
        (((0, 0), (0, 1)), (2, 2), OutOfRange),
        (((1, 0), (0, 1)), (2, 2), OutOfRange),
        (((0, 1), (0, math.nan)), (2, 2), OutOfRange),
        (((0, 1), (0, 1)), (0, 2), OutOfRange),
        (((0, 1), (0, 1)), (2,), ShapeMismatch),
        ((0, 1), (2, 2), ShapeMismatch),
    ],
)
def test_a_map_without_area_or_cells_is_refused(bounds, shape, kind):
    with pytest.raises(kind, match="dose_map got"):
        dose_map([], bounds, shape)
