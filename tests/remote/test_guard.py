"""What may come in: whatever the bytes are, a frame, a value or a named refusal."""

from __future__ import annotations

import gc
import struct
import threading
import tracemalloc

import hypothesis.strategies as st
import msgpack
import pytest
import serpent
from hypothesis import given
from Pyro4 import constants, message

from aemtwin.errors import BadRequest, WrongType
from aemtwin.remote import guard
from tests.remote import raw

MSGPACK, SERPENT = guard.MSGPACK, guard.SERPENT
REFUSED = (BadRequest, WrongType)


def test_a_head_is_read_as_it_was_written():
    data = raw.frame(message.MSG_INVOKE, b"x" * 9, SERPENT, 2, 5, {"CORR": b"1" * 16})
    head = guard.header(data[: guard.HEADER])
    assert head == (message.MSG_INVOKE, 2, 5, SERPENT, 22, 9)
    assert raw.header(version=constants.PROTOCOL_VERSION)[:4] == b"PYRO"


@given(st.binary(max_size=40))
def test_any_bytes_are_a_head_or_none(data):
    try:
        head = guard.header(data)
    except guard.BadFrame:
        return
    assert head.size >= 0


@given(
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 65535]),
    st.integers(0, 2**16 - 1),
    st.booleans(),
)
def test_what_passes_is_small_and_of_one_kind(kind, flags, size, which, notes, plain):
    data = struct.pack(
        "!4sHHHHiHHHH", b"PYRO", 48, kind, flags, 1, size, which, notes, 0, 0
    )
    total = sum((kind, 48, size, notes, flags, which, 1, 0x34E9)) & 0xFFFF
    data = data[:-2] + struct.pack("!H", total)
    for check, most in ((guard.greeting, 4096), (guard.request, 65536)):
        try:
            head = check(guard.header(data), serpent=plain)
        except guard.BadFrame:
            continue
        assert 0 <= head.size <= most
        assert head.ignored <= guard.IGNORED_BYTES
        assert not head.flags & ~message.FLAGS_META_ON_CONNECT
        assert head.type == message.MSG_PING or head.serializer in (
            (MSGPACK, SERPENT) if plain else (MSGPACK,)
        )
        assert head.serializer != SERPENT or head.size <= 4096


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"serializer": 2}, "serializer of number 2"),
        ({"serializer": 3}, "serializer of number 3"),
        ({"serializer": 4}, "serializer of number 4"),
        ({"serializer": 5}, "serializer of number 5"),
        ({"flags": message.FLAGS_COMPRESSED}, "compressed"),
        ({"flags": message.FLAGS_ONEWAY}, "oneway"),
        ({"flags": message.FLAGS_BATCH}, "batched"),
        ({"flags": message.FLAGS_ITEMSTREAMRESULT}, "streamed"),
        ({"flags": message.FLAGS_KEEPSERIALIZED}, "flags 0x40"),
        ({"size": 65537}, "too large"),
        ({"size": 2**31 - 1}, "too large"),
        ({"size": 4097, "serializer": SERPENT}, "4096 are allowed as serpent"),
        ({"annotations": 65}, "annotations"),
        ({"type": message.MSG_CONNECT}, "not type 1"),
        ({"type": message.MSG_RESULT}, "not type 5"),
        ({"type": message.MSG_PING, "size": 65}, "too large"),
    ],
)
def test_what_may_not_come_in_is_said(changed, said):
    with pytest.raises(guard.BadFrame, match=said):
        guard.request(guard.header(raw.header(**changed)))


def test_serpent_can_be_shut_out():
    head = guard.header(raw.header(serializer=SERPENT))
    assert guard.request(head) == head
    with pytest.raises(guard.BadFrame, match="msgpack alone is"):
        guard.request(head, serpent=False)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def alike(one, other) -> bool:
    if isinstance(one, float) and one != one:
        return isinstance(other, float) and other != other
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    return bool(one == other)


@given(values.filter(lambda v: not isinstance(v, dict) or "__class__" not in v))
def test_builtins_come_in_as_they_are(value):
    packed = msgpack.packb(value, use_bin_type=True)
    assert alike(value, guard.decoded(MSGPACK, packed))


@given(st.floats() | st.lists(st.floats(), max_size=3))
def test_numbers_come_in_by_serpent_as_they_are(value):
    assert alike(value, guard.decoded(SERPENT, serpent.dumps(value)))


@given(st.binary(max_size=300), st.sampled_from([MSGPACK, SERPENT]))
def test_any_payload_is_a_call_or_is_refused(payload, serializer):
    try:
        target, method, args, kwargs = guard.call(serializer, payload)
    except REFUSED:
        return
    assert isinstance(target, str)
    assert isinstance(method, str)
    assert isinstance(args, list)
    assert isinstance(kwargs, dict)


@given(st.data())
def test_any_change_of_a_call_is_a_call_or_is_refused(data):
    serializer = data.draw(st.sampled_from([MSGPACK, SERPENT]))
    whole = raw.ask("measure", "loops", 1.0, named={"a": 1}, serializer=serializer)
    payload = bytearray(whole[guard.HEADER :])
    for _ in range(data.draw(st.integers(1, 4))):
        k = data.draw(st.integers(0, len(payload) - 1))
        payload[k] = data.draw(st.integers(0, 255))
    try:
        guard.call(serializer, bytes(payload))
    except REFUSED:
        return


BOMBS = {
    "many nothings": msgpack.packb([None] * 65_000),
    "many keys": msgpack.packb({f"{k:x}": 0 for k in range(9_000)}),
    "many maps": msgpack.packb([{}] * 30_000),
    "nested lists": b"\x91" * 60_000 + b"\xc0",
    "nested maps": b"\x81\xa1a" * 20_000 + b"\xc0",
    "a list that claims 2**32": b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1000,
    "a map that claims 2**32": b"\xdf\xff\xff\xff\xff" + b"\xc0" * 1000,
    "a text that claims 2**32": b"\xdb\xff\xff\xff\xff" + b"a" * 1000,
    "extensions": b"\xd4\x31\x00" * 20_000,
}
PLAIN_BOMBS = {
    "nested lists": b"[" * 2000 + b"]" * 2000,
    "nested tuples": b"(" * 4090,
    "signs": b"-" * 4000 + b"1",
    "a power": b"9**9**9**9",
    "a call": b"__import__('os').getcwd()",
    "many nothings": b"[" + b"0," * 2040 + b"]",
    "a long number": b"9" * 4000,
    "nested dictionaries": b"{1:" * 1300 + b"1" + b"}" * 180,
    "a class": b"{'__class__':'Pyro4.core.Proxy','state':()}",
    "zeros": b"\0" * 4000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_msgpack_is_refused_and_leaves_nothing(name):
    defused(MSGPACK, BOMBS[name])


@pytest.mark.parametrize("name", PLAIN_BOMBS)
def test_a_bomb_of_serpent_is_refused_and_leaves_nothing(name):
    if name == "many nothings":  # a list like another, of 4 kB
        assert guard.decoded(SERPENT, PLAIN_BOMBS[name]) == [0] * 2040
        return
    if name == "a long number":
        assert guard.decoded(SERPENT, PLAIN_BOMBS[name]) == 10**4000 - 1
        return
    defused(SERPENT, PLAIN_BOMBS[name])


def defused(serializer, payload):
    assert len(payload) <= guard.REQUEST_BYTES[serializer]
    with pytest.raises(
        REFUSED
    ):  # once before: Python's table of names grows, and stays
        guard.call(serializer, payload)
    tracemalloc.start()
    with pytest.raises(REFUSED):
        guard.call(serializer, payload)
    gc.collect()
    left, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6
    assert left < 1e5


@pytest.mark.parametrize("name", ["many nothings", "many maps"])
def test_a_refusal_keeps_nothing_of_what_was_refused(name):
    """It is there until the other side has been told, and that may not listen."""
    tracemalloc.start()
    with pytest.raises(BadRequest) as refused:
        guard.call(MSGPACK, BOMBS[name])
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "more than 12000 values" in str(refused.value)
    assert left < 1e5


def test_the_deep_parser_has_one_stack_whoever_asks(monkeypatch):
    stacks = set()

    def loads(data):
        stacks.add(threading.get_ident())
        return 7

    monkeypatch.setattr(guard.serpent, "loads", loads)
    asking = [
        threading.Thread(target=guard.decoded, args=(SERPENT, b"7")) for _ in range(5)
    ]
    for thread in asking:
        thread.start()
    assert guard.decoded(SERPENT, b"7") == 7
    for thread in asking:
        thread.join()
    assert len(stacks) == 1
    assert threading.get_ident() not in stacks


def test_what_is_no_call_is_said():
    for value in ([], ["a", "b", []], ["a", 1, [], {}], ["a", "b", {}, {}], 7, None):
        with pytest.raises(BadRequest, match="A call is"):
            guard.call(MSGPACK, msgpack.packb(value))
    with pytest.raises(WrongType, match="extension type"):
        guard.call(MSGPACK, msgpack.packb(msgpack.ExtType(0x31, b"9" * 10)))
    assert guard.call(MSGPACK, msgpack.packb(["a", "b", [], None])) == (
        "a",
        "b",
        [],
        {},
    )
