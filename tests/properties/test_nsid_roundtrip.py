"""Whatever an NSID file can hold comes back from it bit for bit."""

import string
import tempfile
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aemtwin.formats import metadata as meta
from aemtwin.formats.nsid import open_nsid, write_nsid
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

TEXT = st.text(max_size=12)
NUMBERS = st.one_of(
    hnp.floating_dtypes(endianness="<"),
    hnp.floating_dtypes(endianness=">", sizes=(32, 64)),
    hnp.integer_dtypes(endianness="="),
    hnp.unsigned_integer_dtypes(endianness="="),
    hnp.complex_number_dtypes(endianness="=", sizes=(64, 128)),
    hnp.boolean_dtypes(),
)
REAL = st.sampled_from(["f8", "f4", "i4", "u1"])
KIND = st.sampled_from(["spatial", "spectral", "reciprocal", "unknown", "Odd", ""])
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXT,
    st.binary(max_size=8),
    st.datetimes(),
    st.dates(),
    st.complex_numbers(allow_nan=False),
)
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(TEXT, st.integers()), inner, max_size=3),
    ),
    max_leaves=8,
)
METADATA = st.dictionaries(TEXT, TREE, max_size=4).filter(lambda d: "derived" not in d)


@st.composite
def stored(draw):
    shape = draw(hnp.array_shapes(max_dims=4, max_side=5))
    dtype = draw(NUMBERS)
    raw = draw(st.binary(min_size=16, max_size=16))
    if dtype.kind == "b":
        data = np.resize(np.frombuffer(raw, "u1") > 127, shape)
    else:  # any bits at all: NaN payloads, -0.0, subnormals
        data = np.resize(np.frombuffer(raw, dtype), shape)
    axes = tuple(
        Axis(
            draw(TEXT),
            draw(TEXT),
            draw(hnp.arrays(draw(REAL), n)),
            draw(TEXT),
            draw(KIND),
        )
        for n in shape
    )
    data_type = draw(st.sampled_from(["IMAGE", "spectrum", "other", ""]))
    texts = [draw(TEXT) for _ in range(5)]
    return StoredArray(
        *texts[:3], data, axes, draw(METADATA), data_type, texts[3], texts[4]
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arrays=st.lists(stored(), min_size=1, max_size=2), gzip=st.sampled_from([0, 4]))
def test_arrays_come_back_bit_for_bit(arrays, gzip):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.nsid.h5"
        write_nsid(path, arrays, gzip=gzip)
        with open_nsid(path) as file:
            for a, b in zip(arrays, file.arrays, strict=True):
                found = b.data[()]
                assert (found.dtype, found.shape) == (a.data.dtype, a.data.shape)
                assert found.tobytes() == a.data.tobytes()
                assert [
                    (x.name, x.units, x.quantity, x.kind, x.values.dtype)
                    for x in b.axes
                ] == [
                    (x.name, x.units, x.quantity, x.kind, x.values.dtype)
                    for x in a.axes
                ]
                for x, y in zip(a.axes, b.axes, strict=True):
                    assert x.values.tobytes() == y.values.tobytes()
                for key in "name quantity units data_type modality source".split():
                    assert getattr(a, key) == getattr(b, key)
                assert a.metadata == b.metadata
                assert repr(a.metadata) == repr(b.metadata)  # 1, 1.0 and True differ


@settings(max_examples=200, deadline=None)
@given(tree=TREE)
def test_metadata_comes_back_with_its_types(tree):
    text = meta.dumps(tree)
    assert repr(meta.loads(text)) == repr(tree)
    assert text.isascii()
    assert meta.dumps(meta.loads(text)) == text


@settings(max_examples=50, deadline=None)
@given(text=st.text(string.printable, max_size=30))
def test_text_that_is_no_metadata_is_a_value_error(text):
    try:
        found = meta.loads(text.encode())
    except ValueError:
        return
    assert repr(meta.loads(text.encode())) == repr(found)  # metadata by chance
