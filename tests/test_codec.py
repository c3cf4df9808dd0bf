"""Records to builtins and back: nothing is lost, whatever carries them."""

from __future__ import annotations

import json

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aemtwin.codec import array_from_wire, from_wire, to_wire
from aemtwin.instruments.protocol import State
from aemtwin.measurement import Measurement
from aemtwin.specs import InstrumentSpec
from tests.small import small_twin

dtypes = st.one_of(
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(sizes=(32, 64), endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.boolean_dtypes(),
)
arrays = dtypes.flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)
    )
)


@given(arrays)
def test_arrays_cross_bit_for_bit(array):
    packed = msgpack.unpackb(msgpack.packb(to_wire(array)))
    found = array_from_wire(packed)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.shape == array.shape
    assert found.tobytes() == array.astype(found.dtype).tobytes()


@given(arrays.filter(lambda a: a.dtype.kind != "c"))
def test_lists_hold_the_same_numbers(array):
    np.testing.assert_array_equal(array_from_wire(to_wire(array, "list")), array)


def records():
    twin = small_twin()
    yield InstrumentSpec, twin.describe()
    yield State, twin.state()
    yield Measurement, twin.measure()
    yield Measurement, twin.scan(shape=(2, 3), rotation=np.pi)
    yield Measurement, twin.trace([[0, 0], [1e-8, 1e-8]])


@pytest.mark.parametrize(("kind", "record"), list(records()))
def test_records_come_back_as_they_were(kind, record):
    packed = msgpack.unpackb(msgpack.packb(to_wire(record)), raw=False)
    again = from_wire(kind, packed)
    assert type(again) is type(record)
    assert to_wire(again) == to_wire(record)


def test_lists_make_the_record_json():
    assert json.loads(json.dumps(to_wire(small_twin().measure(), "list")))


def test_a_key_of_a_newer_version_is_left_out():
    packed = to_wire(small_twin().state()) | {"mood": "fine"}
    assert to_wire(from_wire(State, packed)) == to_wire(small_twin().state())
