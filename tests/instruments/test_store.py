"""Large arrays in files: had by range as they were, by whoever has the reference."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aemtwin.codec import to_wire
from aemtwin.errors import BadFile, BadRequest, OutOfRange, UnknownName
from aemtwin.instruments.ledger import Ledger
from aemtwin.instruments.protocol import Request
from aemtwin.instruments.store import INLINE, Store, reference_of
from aemtwin.measurement import Measurement
from aemtwin.specs import Axis

LARGE = np.arange(INLINE, dtype="<f4").reshape(128, -1)


def measured(rid: str, **arrays: np.ndarray) -> Measurement:
    first = next(iter(arrays.values()))
    axes = tuple(Axis(f"a{i}", "", np.arange(n)) for i, n in enumerate(first.shape))
    at = np.zeros(2)
    return Measurement(
        call="measure",
        mode="m",
        arrays=arrays,
        units=dict.fromkeys(arrays, "V"),
        quantities=dict.fromkeys(arrays, "Voltage"),
        axes=axes,
        asked=at,
        actual=at,
        time_s=(0.0, 1.0),
        dwell_s=1.0,
        dose=1.0,
        rid=rid,
    )


def noted(ledger: Ledger, rid: str, answer: Measurement) -> None:
    entry = ledger.begin(Request("measure", rid, {}), 0.0)
    ledger.end(entry, 1.0, answer=answer)


@pytest.fixture
def store(tmp_path):
    one = Store(tmp_path / "data")
    yield one
    one.close()


def test_a_reference_tells_what_the_bytes_must_be(store):
    reference = store.keep("r/1/measure", 2, LARGE, "height", "nm")
    assert reference.sha256 == hashlib.sha256(LARGE.tobytes()).hexdigest()
    assert (reference.rid, reference.seq) == ("r/1/measure", 2)
    assert (reference.dtype, reference.shape) == ("<f4", LARGE.shape)
    assert reference.nbytes == LARGE.nbytes
    assert reference_of(to_wire(reference)) == reference


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<c8", "|u1", "<i2", "|b1"])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_what_is_kept_is_read_as_it_was(store, dtype, order):
    values = np.random.default_rng(0).normal(scale=99, size=(30, 40))
    array = np.asarray(values, order="F" if order == "F" else "C").astype(dtype)
    array = array[::2, ::-3] if order == "strided" else array
    found = store.load(store.keep("r/1/scan", 0, array))
    assert np.array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert not found.flags.writeable


@settings(max_examples=50, deadline=None)
@given(st.integers(0, LARGE.nbytes), st.integers(0, LARGE.nbytes))
def test_any_range_is_the_bytes_that_are_there(begin, end):
    store = Store(None)
    store.keep("r/1/scan", 0, LARGE)
    begin, end = sorted((begin, end))
    assert store.read("r/1/scan", 0, begin, end - begin) == LARGE.tobytes()[begin:end]
    store.close()


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (("r/1/scan", 0, 0, LARGE.nbytes + 1), OutOfRange, "there are 262144"),
        (("r/1/scan", 0, -1, 2), OutOfRange, "there are"),
        (("r/1/scan", 0, 5, -2), OutOfRange, "there are"),
        (("r/1/scan", 0, 2**62, 2**62), OutOfRange, "there are"),
        (("r/1/scan", 0, 0.0, 1), BadRequest, "whole numbers"),
        (("r/1/scan", 0, True, 1), BadRequest, "whole numbers"),
        (("r/1/scan", 1, 0, 1), UnknownName, "no large array"),
        (("r/2/scan", 0, 0, 1), UnknownName, "no large array"),
        (("../data", 0, 0, 1), UnknownName, "no large array"),
    ],
)
def test_what_is_not_there_is_a_named_error(store, given, error, says):
    store.keep("r/1/scan", 0, LARGE)
    with pytest.raises(error, match=says):
        store.read(*given)


def test_the_same_array_is_written_once(store, tmp_path):
    store.keep("r/1/scan", 0, LARGE)
    (path,) = (tmp_path / "data").iterdir()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    store.keep("r/1/scan", 0, LARGE)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_only_what_is_large_is_kept(store):
    small = LARGE.reshape(-1)[: INLINE // 4]
    told = store.refer(measured("r/1/measure", a=small, b=LARGE.reshape(-1)))
    assert [*told] == ["b"]
    assert told["b"].seq == 1


@pytest.mark.parametrize("damage", ["flipped", "shorter", "gone"])
def test_damage_is_found_by_the_next_process_and_never_told_as_values(tmp_path, damage):
    reference = Store(tmp_path).keep("r/1/scan", 0, LARGE)
    (path,) = tmp_path.iterdir()
    if damage == "flipped":
        data = bytearray(path.read_bytes())
        data[1000] ^= 1
        path.write_bytes(data)
    elif damage == "shorter":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with pytest.raises(BadFile, match="damaged" if damage != "gone" else "is gone"):
        Store(tmp_path).load(reference)


def test_a_ledger_keeps_what_is_large_beside_its_file(tmp_path):
    answer = measured("r/1/measure", a=LARGE)
    ledger = Ledger(tmp_path / "l.sqlite", {"name": "x"})
    noted(ledger, "r/1/measure", answer)
    ledger.close()
    assert (tmp_path / "l.sqlite").stat().st_size < LARGE.nbytes
    again = Ledger(tmp_path / "l.sqlite", {"name": "x"})
    found = again.last("r/1/measure").answer
    assert np.array_equal(found.arrays["a"], LARGE)
    assert isinstance(found.arrays["a"].base, np.memmap)
    again.close()


def test_an_answer_that_was_lost_is_told_as_such_and_the_others_are_there(tmp_path):
    ledger = Ledger(tmp_path / "l.sqlite", {"name": "x"})
    for k in range(2):
        noted(ledger, f"r/{k}/measure", measured(f"r/{k}/measure", a=LARGE + k))
    place = ledger.store.place("r/0/measure", 0)
    ledger.close()
    (tmp_path / "l.sqlite-data" / place.path.rpartition("/")[2]).unlink()
    again = Ledger(tmp_path / "l.sqlite", {"name": "x"})
    assert isinstance(again.last("r/0/measure").error, BadFile)
    assert np.array_equal(again.last("r/1/measure").answer.values, LARGE + 1)
    assert [event["n"] for event in again.events()] == [1, 2]
    again.close()


def test_memory_has_no_more_than_what_was_just_measured(tmp_path):
    ledger = Ledger(None)
    for k in range(300):
        noted(ledger, f"r/{k}/measure", measured(f"r/{k}/measure", a=LARGE + k))
    assert ledger._recent.bytes < 2**26 < 300 * LARGE.nbytes
    for k in (0, 150, 299):
        assert np.array_equal(ledger.last(f"r/{k}/measure").answer.values, LARGE + k)
    ledger.clear()
    assert ledger.last("r/0/measure") is None
    ledger.close()


def test_a_full_disk_leaves_no_part_and_can_be_tried_again(store, tmp_path):
    folder = tmp_path / "data"
    folder.write_bytes(b"in the way")
    with pytest.raises(BadFile, match="Make room"):
        store.keep("r/1/scan", 0, LARGE)
    folder.unlink()
    store.keep("r/1/scan", 0, LARGE)
    assert len(list(folder.iterdir())) == 1
