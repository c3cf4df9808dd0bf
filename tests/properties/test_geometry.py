"""Geometry: whatever grid a file has, metres lead to the value stored there."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.twin import Twin
from aemtwin.sample import Grid, StoredArray
from aemtwin.specs import Axis

UNITS = {"m": 1.0, "nm": 1e-9, "um": 1e-6, "pm": 1e-12}


@st.composite
def axes(draw, name: str) -> Axis:
    """An axis of 1 to 7 uneven steps, up or down, with an offset, in some unit."""
    steps = draw(st.lists(st.floats(0.1, 10.0), min_size=0, max_size=6))
    values = draw(st.floats(-50, 50)) + np.cumsum([0.0, *steps])
    if draw(st.booleans()):
        values = values[::-1]
    units = draw(st.sampled_from(sorted(UNITS)))
    return Axis(name, units, values, "Length", "spatial")


@st.composite
def stored(draw) -> tuple[StoredArray, StoredArray]:
    """An image and a cube on one grid, each with its own order of axes."""
    x, y = draw(axes("x")), draw(axes("y"))
    bias = Axis("bias", "V", np.linspace(-1, 1, 4), "Bias", "spectral")
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(["f4", "f8", "i2", "u2", "c8"]))
    made = []
    for name, of in (("image", [y, x]), ("cube", [y, x, bias])):
        order = draw(st.permutations(of))
        shape = tuple(len(axis) for axis in order)
        values = random.normal(scale=100, size=shape).astype(dtype)
        if values.dtype.kind == "c":
            values = values + 1j * values[::-1]
        made.append(StoredArray(name, "", "", values.astype(dtype), tuple(order)))
    return made[0], made[1]


def expected(array: StoredArray, i: int, j: int):
    """The value at y[i], x[j] of the stored axes, read without our geometry."""
    index = [slice(None)] * len(array.axes)
    for k, axis in enumerate(array.axes):
        if axis.name in "xy":
            index[k] = {"y": i, "x": j}[axis.name]
    return array.data[tuple(index)]


def in_metres(array: StoredArray, name: str):
    axis = next(a for a in array.axes if a.name == name)
    return axis.values * UNITS[axis.units]


@given(stored())
def test_scan_trace_and_measure_agree_with_the_file(arrays):
    image, cube = arrays
    twin = Twin(make_sample(arrays), AFM, name="any", ideal=True)
    x, y = in_metres(image, "x"), in_metres(image, "y")
    frame = twin.scan()
    order_x, order_y = np.argsort(x), np.argsort(y)
    np.testing.assert_array_equal(frame.axis("x").values, x[order_x])
    np.testing.assert_array_equal(frame.axis("y").values, y[order_y])
    for i, row in enumerate(order_y):
        for j, column in enumerate(order_x):
            assert frame.values[i, j] == expected(image, row, column)
    assert frame.values.dtype == image.data.dtype
    points = np.array([(x[j], y[i]) for i in range(len(y)) for j in range(len(x))])
    trace = twin.trace(points, ["image"]).values
    k = 0
    for i in range(len(y)):
        for j in range(len(x)):
            assert trace[k] == expected(image, i, j)
            twin.move_to((x[j], y[i]))
            loop = twin.measure().values
            np.testing.assert_array_equal(loop, expected(cube, i, j))
            assert loop.dtype == cube.data.dtype
            k += 1


@given(stored())
def test_the_truth_is_the_file_row_by_row(arrays):
    _, cube = arrays
    twin = Twin(make_sample(arrays), AFM, name="any", noise={"cube": 5.0})
    x, y = in_metres(cube, "x"), in_metres(cube, "y")
    truth = twin.truth()
    rows, columns = np.argsort(y), np.argsort(x)
    want = [expected(cube, i, j) for i in rows for j in columns]
    np.testing.assert_array_equal(truth.values, np.array(want))


@given(axes("x"), axes("y"), st.data())
def test_metres_to_index_and_back(x, y, data):
    grid = Grid(
        x=np.sort(x.values) * UNITS[x.units], y=np.sort(y.values) * UNITS[y.units]
    )
    i = data.draw(st.integers(0, len(grid.y) - 1))
    j = data.draw(st.integers(0, len(grid.x) - 1))
    index, fraction = grid.locate(np.array([[grid.x[j], grid.y[i]]]))
    assert index.tolist() == [[i, j]]
    assert fraction.tolist() == [[0.0, 0.0]]


@given(stored(), st.floats(0, 1), st.floats(0, 1))
def test_between_pixels_a_value_lies_between_its_neighbours(arrays, u, v):
    sample = make_sample(arrays)
    field = sample.field("image")
    (x_low, x_high), (y_low, y_high) = sample.bounds
    at = np.array([[x_low + u * (x_high - x_low), y_low + v * (y_high - y_low)]])
    index, _ = field.grid.locate(at)
    value = field.at(at)[0]
    row, column = index[0]
    last = np.array(field.grid.shape) - 1
    near = field.image[
        row : min(row + 1, last[0]) + 1, column : min(column + 1, last[1]) + 1
    ]
    if field.dtype.kind in "iu":
        assert value in near  # a count is a neighbour's, never a mixture
    else:
        for part in (np.real, np.imag):
            slack = 1e-5 * (np.abs(near).max() + 1)
            assert part(near).min() - slack <= part(value) <= part(near).max() + slack


@given(stored())
def test_a_plane_is_interpolated_exactly(arrays):
    image, _ = arrays
    x, y = in_metres(image, "x"), in_metres(image, "y")
    width, height = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    plane = np.empty(image.data.shape)
    for i in range(len(y)):
        for j in range(len(x)):
            where = (i, j) if image.axes[0].name == "y" else (j, i)
            plane[where] = 2 * (x[j] - x.min()) / width - 3 * (y[i] - y.min()) / height
    flat = StoredArray("plane", "", "", plane, image.axes)
    sample = make_sample([flat])
    (x_low, x_high), (y_low, y_high) = sample.bounds
    u, v = np.random.default_rng(0).uniform(size=(2, 20))
    at = np.column_stack([x_low + u * (x_high - x_low), y_low + v * (y_high - y_low)])
    want = 2 * (at[:, 0] - x_low) / width - 3 * (at[:, 1] - y_low) / height
    np.testing.assert_allclose(sample.field("plane").at(at), want, atol=1e-5)
