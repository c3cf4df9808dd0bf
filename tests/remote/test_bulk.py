"""The data channel: what comes is what was measured, whatever happens to it."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq

import aemtwin
from aemtwin.errors import (
    AccessRefused,
    BadFile,
    OutOfRange,
    TruthRefused,
    UnknownName,
    Unreachable,
)
from aemtwin.instruments.store import INLINE, Store
from aemtwin.remote import bulk, curve, link, pull
from aemtwin.remote.bulk import CREDIT, PIECE, Bulk
from aemtwin.remote.link import Link, Ranges
from aemtwin.testing import network
from aemtwin.testing.faults import KINDS, Fault, seeded
from aemtwin.testing.network import Network
from tests.small import small_twin

ROOT = Path(__file__).parents[2]
FRAME = {"shape": (300, 200), "channels": ["height", "counts"]}
RID = "r/1/scan"


@pytest.fixture(scope="module")
def frame():
    twin = small_twin()
    yield twin.scan(**FRAME, rid=RID)
    twin.close()


@pytest.fixture
def twin():
    one = small_twin()
    yield one
    one.close()


def same(one, other):
    return [*one.arrays] == [*other.arrays] and all(
        np.array_equal(values, other.arrays[name])
        and values.dtype == other.arrays[name].dtype
        and not values.flags.writeable
        for name, values in one.arrays.items()
    )


def network_of(server):
    """The address of the data channel of a server: who says it is not on its disk."""
    return server._offered._endpoints["data"].replace("*", "127.0.0.1")


# By reference, and in every other way


def test_on_the_same_machine_a_large_array_is_the_file_of_its_server(twin, frame):
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri)
        found = scope.scan(**FRAME, rid=RID)
        assert same(found, frame)
        assert isinstance(found.arrays["height"].base, np.memmap)
        assert same(scope.fetch(RID), frame)
        told = scope.submit({"call": "scan", "rid": RID, "arguments": FRAME})
        assert same(told["answer"], frame)
        scope.close()
    assert same(found, frame)  # what is mapped stays


def test_from_elsewhere_it_comes_in_pieces(twin, frame, monkeypatch):
    monkeypatch.setattr(pull, "this_machine", lambda: "another")
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri)
        found = scope.scan(**FRAME, rid=RID)
        assert same(found, frame)
        assert not isinstance(found.arrays["height"].base, np.memmap)
        assert scope._puller._free[0].asked == 2  # of two arrays
        scope.close()


def test_where_there_is_no_data_channel_nobody_notices(twin, frame):
    with aemtwin.serve(twin, data_port=None) as server:
        scope = aemtwin.connect(server.uri)
        assert not scope._puller.on
        assert same(scope.scan(**FRAME, rid=RID), frame)
        scope.close()
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri, data=False)
        assert same(scope.scan(**FRAME, rid=RID), frame)
        scope.close()


def test_where_its_port_is_closed_the_control_channel_carries_it(
    twin, frame, monkeypatch, caplog
):
    monkeypatch.setattr(link, "GREETING_S", 0.2)
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri, data="tcp://127.0.0.1:1")
        assert same(scope.scan(**FRAME, rid=RID), frame)
        assert "Going on by the control channel" in caplog.text
        told = scope.references(RID)
        assert np.array_equal(scope.pull(told[0]), frame.arrays["height"])
        scope.close()


def test_a_description_is_the_same_near_and_far(twin):
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri)
        assert scope.describe().endpoints == {}
        scope.close()


def test_a_disk_without_room_is_in_nobodys_way(twin, frame, monkeypatch, caplog):
    def full(answer):
        raise BadFile("no room")

    monkeypatch.setattr(twin.parts, "refer", full)
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri)
        assert same(scope.scan(**FRAME, rid=RID), frame)
        assert "no room" in caplog.text
        scope.close()


def test_a_recording_is_had_only_with_the_truth(twin):
    for truth in (True, False):
        with aemtwin.serve(twin, truth=truth) as server:
            scope = aemtwin.connect(server.uri)
            if truth:
                for one in scope.recordings():
                    stored = twin.parts._recorded[one.seq].data
                    assert np.array_equal(scope.pull(one), stored)
                    where = network_of(server)
                    far = aemtwin.connect(server.uri, data=where)
                    assert np.array_equal(far.pull(one), stored)
                    far.close()
                kept = one
            else:
                with pytest.raises(TruthRefused):
                    scope.recordings()
                far = aemtwin.connect(server.uri, data=network_of(server))
                with pytest.raises(TruthRefused):
                    far.pull(kept)
                far.close()
            scope.close()


# Pieces, on a network that is none


class Kept:
    """A store with one array of so many pieces, behind a data channel."""

    def __init__(self, folder, pieces=8.5):
        self.store = Store(folder)
        size = int(pieces * PIECE)
        self.array = np.random.default_rng(1).integers(0, 256, size, "u1")
        self.reference = self.store.keep("r/1/scan", 0, self.array)
        self.read = 0
        self.bulk = Bulk(self._read, "127.0.0.1")
        self.where = self.bulk.endpoint.replace("*", "127.0.0.1")

    def _read(self, *asked):
        self.read += 1
        return self.store.read(*asked)

    def puller(self, where=None, timeout_s=20.0):
        def piece(*asked):
            raise Unreachable("the control channel is not asked")

        endpoints = {"data": where or self.where}
        one = pull.Puller(
            piece,
            lambda: endpoints,
            host="127.0.0.1",
            folder=None,
            use=True,
            timeout_s=timeout_s,
        )
        one.told(endpoints)
        return one

    def close(self):
        self.bulk.close()
        self.store.close()


@pytest.fixture
def kept(tmp_path):
    one = Kept(tmp_path / "kept")
    yield one
    one.close()


def test_each_piece_is_asked_for_once(kept):
    puller = kept.puller()
    assert np.array_equal(puller.array(kept.reference), kept.array)
    assert kept.read == 9
    puller.close()


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("toward", ["server", "client"])
def test_whatever_the_network_does_the_array_is_right(kept, kind, toward, monkeypatch):
    monkeypatch.setattr(network, "LATE_S", 0.05)
    monkeypatch.setattr(link, "SILENT_S", 0.4)
    # greeting, ready, then questions or answers
    plan = [Fault(toward, frame, kind, 0.6) for frame in (3, 6, 11)]
    with Network(kept.where, plan) as net:
        puller = kept.puller(net.uri)
        assert np.array_equal(puller.array(kept.reference), kept.array)
        assert net.struck
        puller.close()
    # of what was on its way when a fault struck, at most the credit is sent again
    assert kept.read <= 9 + 3 * CREDIT


def test_a_damaged_array_is_refetched_in_its_damaged_piece_alone(kept):
    came = []
    puller = kept.puller()
    array = kept.array.copy()
    array[5 * PIECE + 7] ^= 1

    def put(offset, data):
        came.append(offset)
        array[offset : offset + len(data)] = np.frombuffer(data, "u1")

    def get(offset, size):
        return array[offset : offset + size]

    puller.pull(kept.reference, put, get, [])
    assert came == [5 * PIECE]
    assert np.array_equal(array, kept.array)
    puller.close()


def test_what_is_damaged_where_it_is_kept_is_refused(kept):
    path = Path(kept.store.place("r/1/scan", 0).path)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    puller = kept.puller()
    with pytest.raises(BadFile, match="not those that were measured"):
        puller.array(kept.reference)
    puller.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_seeded_schedule_of_all_faults_does_no_harm(tmp_path, seed, monkeypatch):
    monkeypatch.setattr(network, "LATE_S", 0.02)
    monkeypatch.setattr(link, "SILENT_S", 0.1)
    monkeypatch.setattr(pull, "PIECE", 2**13)
    kept = Kept(tmp_path / "kept", 8.5 * 2**13 / PIECE)
    plan = seeded(seed, 60, frames=600)
    with Network(kept.where, plan) as net:
        puller = kept.puller(net.uri, timeout_s=60.0)
        for _ in range(50):
            assert np.array_equal(puller.array(kept.reference), kept.array)
        puller.close()
        assert len(net.struck) >= 30
    kept.close()


@pytest.mark.slow
def test_a_server_killed_at_each_piece_sends_none_of_them_twice(tmp_path):
    Kept(tmp_path / "kept").close()
    store = Store(tmp_path / "kept")
    array = np.random.default_rng(1).integers(0, 256, int(8.5 * PIECE), "u1")
    reference = store.keep("r/1/scan", 0, array)
    port = free_port()
    for at in range(9):
        server, came = started(port, tmp_path / "kept"), []
        one = Link(lambda again: (f"tcp://127.0.0.1:{port}", ""), **FAR)
        found = np.zeros_like(array)

        def put(offset, data, found=found, came=came, at=at):
            nonlocal server
            found[offset : offset + len(data)] = np.frombuffer(data, "u1")
            came.append(offset)
            if len(came) == at:
                ended(server)
                server = started(port, tmp_path / "kept")

        ranges = {
            k: min(PIECE, array.nbytes - k) for k in range(0, array.nbytes, PIECE)
        }
        one.pull(reference.rid, 0, Ranges(ranges), put)
        digest = hashlib.sha256(found.tobytes()).hexdigest()
        assert digest == reference.sha256
        assert len(came) == len(set(came)) == 9  # no finished piece twice
        assert one.asked <= 9 + CREDIT
        one.close()
        ended(server)


FAR = {"folder": None, "timeout_s": 30.0}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def started(port, folder):
    command = [sys.executable, "-m", "tests.remote.data_server", str(port), str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout.readline()
    return process


def ended(process):
    process.kill()
    process.communicate()


def test_a_server_that_moved_is_found_again(kept, monkeypatch):
    monkeypatch.setattr(link, "SILENT_S", 0.3)
    other = Bulk(kept.store.read, "127.0.0.1")
    asked = []

    def where(again):
        asked.append(again)
        if again:
            return other.endpoint.replace("*", "127.0.0.1"), ""
        return kept.where, ""

    one, found = Link(where, **FAR), bytearray(kept.array.nbytes)

    def put(offset, data):
        found[offset : offset + len(data)] = data
        kept.bulk.close()

    size = kept.array.nbytes
    ranges = Ranges({k: min(PIECE, size - k) for k in range(0, size, PIECE)})
    one.pull("r/1/scan", 0, ranges, put)
    assert found == kept.array.tobytes()
    assert asked[0] is False
    one.close()
    other.close()


def test_who_is_gone_for_good_is_unreachable_in_time(kept, monkeypatch):
    monkeypatch.setattr(link, "SILENT_S", 0.1)
    monkeypatch.setattr(link, "GREETING_S", 0.1)
    monkeypatch.setattr(link, "CREDIT", 2)
    one = Link(lambda again: (kept.where, ""), folder=None, timeout_s=0.5)
    ranges = {k * PIECE: PIECE for k in range(8)}
    begin = time.monotonic()
    with pytest.raises(Unreachable):
        one.pull("r/1/scan", 0, Ranges(ranges), lambda *came: kept.bulk.close())
    assert time.monotonic() - begin < 10.0
    one.close()


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (("r/2/scan", 0, 0, 10), UnknownName),
        (("r/1/scan", 1, 0, 10), UnknownName),
        (("r/1/scan", 0, 2**40, 10), OutOfRange),
    ],
)
def test_what_is_not_there_is_said(kept, asked, error):
    rid, seq, offset, size = asked
    one = Link(lambda again: (kept.where, ""), **FAR)
    with pytest.raises(error):
        one.pull(rid, seq, Ranges({offset: size}), lambda *came: None)
    one.close()


# As a file


def test_a_file_that_was_cut_off_goes_on_where_it_was(kept, tmp_path):
    puller, path = kept.puller(), tmp_path / "out.npy"
    file = pull.PulledFile(path, kept.reference)

    class Cut(Exception):
        pass

    def put(offset, data):
        if offset >= 4 * PIECE:
            raise Cut
        file.put(offset, data)

    with pytest.raises(Cut):
        puller.pull(kept.reference, put, file.get, file.missing)
    file.close(whole=False)
    assert not path.exists()
    with (tmp_path / "out.npy.part.log").open("ab") as log:
        log.write(b"torn")
    until = time.monotonic() + 10
    while kept.read < 9 and time.monotonic() < until:
        time.sleep(0.01)  # what had been asked for was on its way
    kept.read = 0
    found = pull.pull_file(puller, kept.reference, path)
    assert kept.read == 9 - 4
    assert np.array_equal(found, kept.array)
    assert np.array_equal(np.load(path), kept.array)
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == ["out.npy"]
    puller.close()


def test_a_part_of_something_else_is_not_taken_for_it(kept, tmp_path):
    puller, path = kept.puller(), tmp_path / "out.npy"
    other = kept.store.keep("r/2/scan", 0, kept.array[::-1])
    file = pull.PulledFile(path, other)
    file.put(0, kept.array[::-1][:PIECE].tobytes())
    file.close(whole=False)
    assert np.array_equal(pull.pull_file(puller, kept.reference, path), kept.array)
    puller.close()


def test_a_file_that_cannot_be_written_is_a_named_error(kept, tmp_path):
    puller = kept.puller()
    with pytest.raises(BadFile, match="cannot be written"):
        pull.pull_file(puller, kept.reference, tmp_path / "no" / "such" / "out.npy")
    puller.close()


# Who asks for too much, or for nothing


def raw(where):
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(where)
    return context, dealer


def question(n, **said):
    usual = {"n": n, "rid": "r/1/scan", "seq": 0, "offset": 0, "size": PIECE}
    return msgpack.packb({**usual, **said})


def test_who_asks_and_never_reads_has_little_on_its_way_and_harms_nobody(kept):
    context, dealer = raw(kept.where)
    dealer.setsockopt(zmq.RCVHWM, 1)
    for n in range(1000):
        dealer.send(question(n))
    until = time.monotonic() + 10
    while kept.read < 20 and time.monotonic() < until:
        time.sleep(0.01)
    puller = kept.puller()
    assert np.array_equal(puller.array(kept.reference), kept.array)
    away = [size for tracker, _, size in kept.bulk._away if not tracker.done]
    assert sum(away) <= bulk.MOST_OF_ALL
    puller.close()
    context.destroy(0)


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xc1"],
        [b"\x93\x01\x02\x03"],
        [msgpack.packb({"n": "one"})],
        [msgpack.packb({"n": 1, "rid": ["r"], "seq": 0, "offset": 0, "size": 1})],
        [question(1, size=-1)],
        [question(1, size=2**40)],
        [question(1, offset="here")],
        [question(1, seq=None)],
        [question(1), b"more"],
        [b"x" * 3000],
        [],
    ],
    ids=lambda frames: str(frames)[:40],
)
def test_nonsense_is_refused_or_ignored_and_the_server_lives(kept, frames):
    context, dealer = raw(kept.where)
    dealer.send_multipart(frames or [b""])
    if dealer.poll(100):
        head, data = dealer.recv_multipart()
        assert "error" in msgpack.unpackb(head)
        assert data == b""
    puller = kept.puller()
    assert np.array_equal(puller.array(kept.reference), kept.array)
    puller.close()
    context.destroy(0)


def test_a_port_that_is_taken_is_said(kept, twin):
    port = int(kept.where.rpartition(":")[2])
    with pytest.raises(OutOfRange, match="data-port"):
        aemtwin.serve(twin, data_port=port)
    with pytest.raises(OutOfRange, match="1 to 65535"):
        aemtwin.serve(twin, data_port=70000)


# CURVE


@pytest.fixture
def guarded(kept, tmp_path):
    """The same behind CURVE, with one key that is let in."""
    admitted = curve.Admitted()
    public, secret = curve.new_pair()
    admitted.admit({"subjectAltName": (("URI", f"{curve.KEY}{public}"),)}, "loop")
    (tmp_path / "data.key").write_text(secret)
    heard = []

    def read(*asked):
        heard.append(asked)
        return kept.store.read(*asked)

    one = Bulk(read, "127.0.0.1", 0, admitted)
    one.key, one.heard, one.folder = admitted.key, heard, tmp_path
    one.where = one.endpoint.replace("*", "127.0.0.1")
    yield one
    one.close()


def pulled(guarded, key=None, folder=None):
    where = guarded.where, guarded.key if key is None else key
    one, came = (
        Link(lambda again: where, folder=folder or guarded.folder, timeout_s=5),
        [],
    )
    try:
        one.pull("r/1/scan", 0, Ranges({0: 100}), lambda o, d: came.append(bytes(d)))
    finally:
        one.close()
    return came


def test_who_has_a_key_that_is_known_is_let_in(guarded, kept):
    assert pulled(guarded) == [kept.array[:100].tobytes()]


@pytest.mark.parametrize("wrong", ["our key", "the server's key"])
def test_a_wrong_key_is_a_clear_error_within_a_second(guarded, tmp_path, wrong):
    key, folder = None, tmp_path / "stranger"
    folder.mkdir()
    (folder / "data.key").write_text(curve.new_pair()[1])
    if wrong == "the server's key":
        key, folder = zmq.curve_keypair()[0].decode(), None
    begin = time.monotonic()
    with pytest.raises(AccessRefused, match="does not let us in"):
        pulled(guarded, key, folder)
    assert time.monotonic() - begin < 1.0
    assert guarded.heard == []


def test_without_a_key_that_can_be_used_it_is_said_how_to_get_one(guarded, tmp_path):
    with pytest.raises(BadFile, match="renew"):
        pulled(guarded, folder=tmp_path / "nobody")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "data.key").write_text("not a key")
    with pytest.raises(BadFile, match="renew"):
        pulled(guarded, folder=tmp_path / "bad")


def garbage(where, count, seed=0):
    """Bytes that are none of ZeroMQ's, of its greeting, and of a greeting and more."""
    host, port = where.removeprefix("tcp://").split(":")
    dice = np.random.default_rng(seed)
    null = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
    secure = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(47)
    ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    said = [b"", null, null + ready, secure, secure + ready]
    for k in range(count):
        with socket.create_connection((host, int(port)), 5.0) as sock:
            try:
                sock.sendall(said[k % len(said)] + dice.bytes(dice.integers(1, 3000)))
                sock.sendall(b"\x00" + bytes([len(question(1))]) + question(1))
            except OSError:
                continue


def test_of_garbage_nothing_comes_in_under_curve(guarded, kept):
    answered = []
    guarded._answer = answered.append
    garbage(guarded.where, 60)
    context, dealer = raw(guarded.where)  # who does not speak CURVE at all
    dealer.send(question(1))
    time.sleep(0.3)
    assert answered == []
    del guarded._answer
    assert pulled(guarded) == [kept.array[:100].tobytes()]
    context.destroy(0)


def test_garbage_without_keys_does_no_harm_either(kept):
    garbage(kept.where, 60)
    puller = kept.puller()
    assert np.array_equal(puller.array(kept.reference), kept.array)
    puller.close()


def test_beyond_this_machine_the_data_channel_is_never_without_keys(twin, tmp_path):
    authority = pytest.importorskip("aemtwin.remote.authority")
    pytest.importorskip("cryptography")
    authority.make_keys(tmp_path, clients={"loop": "operate"})
    with aemtwin.serve(twin, host="0.0.0.0", keys=tmp_path / "server") as server:
        endpoints = server._offered._endpoints
        assert endpoints["data_key"]
        context, dealer = raw(network_of(server))
        dealer.send(question(1))
        assert not dealer.poll(300)
        context.destroy(0)
        uri = server.uri.replace("0.0.0.0", "127.0.0.1")
        keys = tmp_path / "clients" / "loop"
        scope = aemtwin.connect(uri, keys=keys, data=network_of(server))
        assert scope.scan(**FRAME, rid=RID).values.nbytes > INLINE
        assert len(scope._puller._free) == 1
        scope.close()
        (keys / "data.key").unlink()  # keys that were made by an older version
        scope = aemtwin.connect(uri, keys=keys)
        assert not scope._puller.on
        assert scope.fetch(RID).values.nbytes > INLINE
        scope.close()


def test_a_server_that_stops_leaves_no_thread_behind(twin):
    before = threading.active_count()
    for _ in range(3):
        with aemtwin.serve(twin):
            pass
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.02)
    assert threading.active_count() <= before


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP")
def test_a_server_that_pauses_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(link, "SILENT_S", 0.3)
    kept = Kept(tmp_path / "kept")
    port = free_port()
    server = started(port, tmp_path / "kept")
    one, came = Link(lambda again: (f"tcp://127.0.0.1:{port}", ""), **FAR), []

    def put(offset, data):
        came.append(offset)
        if len(came) == 2:
            os.kill(server.pid, signal.SIGSTOP)
            threading.Timer(1.0, os.kill, (server.pid, signal.SIGCONT)).start()

    one.pull("r/1/scan", 0, Ranges({k * PIECE: PIECE for k in range(8)}), put)
    assert sorted(came) == [k * PIECE for k in range(8)]
    one.close()
    ended(server)
    kept.close()
