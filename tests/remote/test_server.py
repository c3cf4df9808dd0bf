"""The door: two serializers and no third, one microscope, coded errors."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import msgpack
import numpy as np
import Pyro4
import pytest
import serpent

import aemtwin
from aemtwin import errors
from aemtwin.remote.launch import launched
from aemtwin.remote.server import Server
from tests.small import small_arrays, small_twin


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with aemtwin.serve(small_twin(ideal=True), truth=True) as served:
        yield served


@pytest.fixture
def plain(server: Server) -> Iterator[Pyro4.Proxy]:
    """A proxy as somebody has it who never heard of aemtwin."""
    with Pyro4.Proxy(server.uri) as proxy:
        yield proxy


def only_builtins(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and only_builtins(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(only_builtins(item) for item in value)
    return type(value) in (str, int, float, bool, bytes, type(None))


def test_the_uri_names_the_object(server):
    assert server.uri.startswith("PYRO:Instrument_Server@127.0.0.1:")


def test_a_plain_client_gets_builtins_only(plain):
    for answer in (plain.describe(), plain.state(), plain.measure(), plain.events()):
        assert only_builtins(answer)


def test_a_plain_client_reads_an_array_by_serpent(plain):
    plain.move_to([300e-9, 800e-9])
    packed = plain.measure("loops")["arrays"]["loops"]
    values = np.frombuffer(serpent.tobytes(packed["data"]), packed["dtype"])
    np.testing.assert_array_equal(values, small_arrays()[2].data[3, 1])
    assert (packed["shape"], packed["units"]) == ([12], "pm")


def test_a_plain_client_may_ask_for_lists(plain):
    plain.move_to([300e-9, 800e-9])
    packed = plain.measure("loops", encoding="list")["arrays"]["loops"]
    np.testing.assert_array_equal(packed["data"], small_arrays()[2].data[3, 1])


@pytest.mark.parametrize(
    ("call", "arguments", "builtin", "code"),
    [
        ("move_to", ([9.0, 9.0],), ValueError, "OutOfRange"),
        ("measure", ("nothing",), LookupError, "UnknownName"),
        ("move_to", ("here",), TypeError, "WrongType"),
        ("measure", (None, None, "list"), TypeError, None),
    ],
)
def test_a_plain_client_gets_the_builtin_with_our_code(
    plain, call, arguments, builtin, code
):
    with pytest.raises(builtin) as caught:
        getattr(plain, call)(*arguments)
    assert code is None or str(caught.value).startswith(f"{code}: ")


def test_every_error_crosses_as_itself():
    class Failing:
        def describe(self):
            return small_twin().describe()

        def measure(self, mode, **_):
            raise errors.by_code()[mode]("It did.")

    with aemtwin.serve(Failing()) as server:  # type: ignore[arg-type]
        client = aemtwin.connect(server.uri)
        for code, kind in errors.by_code().items():
            with pytest.raises(kind, match="It did") as caught:
                client.measure(code)
            assert type(caught.value) is kind
        client.close()
        with Pyro4.Proxy(server.uri) as plain:
            for code, kind in errors.by_code().items():
                with pytest.raises(errors.builtin_base(kind), match=f"{code}: It did"):
                    plain.measure(code)


def test_a_plain_client_exposes_a_spot_and_gets_builtins(plain):
    with pytest.raises(TypeError, match="NotSupported: small has no pulse"):
        plain.pulse("exposure")
    with aemtwin.serve(aemtwin.open_twin("stem_eels"), truth=True) as server:
        with Pyro4.Proxy(server.uri) as scope:
            scope.move_to([10e-9, 20e-9])
            told = scope.pulse("exposure", 0.01, rid="r/1/pulse")
            assert only_builtins(told)
            assert told["position"] == [10e-9, 20e-9]
            assert scope.pulse("exposure", 0.01, rid="r/1/pulse") == told
            assert scope.state()["dose"] == told["dose"]
            assert scope.describe()["pulses"][0]["name"] == "exposure"
            one, two = (
                scope.truth("eels", [[10e-9, 20e-9]], dwell_s, encoding="list")
                for dwell_s in (None, 2e-3)
            )
            one, two = (np.array(t["arrays"]["eels"]["data"]) for t in (one, two))
            np.testing.assert_allclose(two, 2 * one, rtol=1e-6)
            with pytest.raises(LookupError, match=r"UnknownName: There is no pulse"):
                scope.pulse("exposre")


def test_a_server_of_version_1_0_is_asked_for_truth_as_it_knows_it(monkeypatch):
    twin = small_twin()
    tell = twin.truth
    monkeypatch.setattr(twin, "truth", lambda mode, points: tell(mode, points))
    with aemtwin.serve(twin, truth=True) as server:
        client = aemtwin.connect(server.uri)
        assert client.truth(points=[(0.0, 0.0)]).values.shape == (1, 12)
        client.close()


@pytest.mark.parametrize("serializer", ["marshal", "json"])
def test_other_serializers_are_refused(server, serializer):
    with Pyro4.Proxy(server.uri) as proxy:
        proxy._pyroSerializer = serializer
        with pytest.raises(Pyro4.errors.CommunicationError, match="not accepted"):
            proxy.state()


def test_all_clients_see_one_microscope(server, plain):
    client = aemtwin.connect(server.uri)
    client.move_to((100e-9, 200e-9))
    assert (
        serpent.tobytes(plain.state()["position"]["data"])
        == np.array([100e-9, 200e-9]).tobytes()
    )
    client.close()


def test_looking_does_not_wait_for_a_scan_and_anybody_stops_it():
    twin = small_twin(ideal=True, real_time=True)
    with aemtwin.serve(twin) as server:
        scope, other = aemtwin.connect(server.uri), aemtwin.connect(server.uri)
        rid = "r/1/scan"
        given = {"shape": [100, 100], "dwell_s": 0.01}  # 100 s and more
        scope.submit({"call": "scan", "rid": rid, "arguments": given})
        while other.state().busy != rid:
            time.sleep(0.001)
        for _ in range(20):  # all of them while the scan is under way
            assert other.state().busy == rid
            assert other.events()[-1]["end_s"] is None
            assert other.status(rid)["status"] == "running"
            with pytest.raises(errors.NotReady):
                other.fetch(rid)
        with Pyro4.Proxy(server.uri) as plain:
            plain.stop()
        with pytest.raises(errors.OperationStopped):
            scope.fetch(rid, wait_s=10.0)
        assert other.status(rid)["status"] == "stopped"
        scope.close()
        other.close()


def test_private_names_do_not_answer(plain):
    for name in ("_instrument", "_truth", "_tell_truth"):
        with pytest.raises(AttributeError):
            getattr(plain, name)()


def test_truth_is_given_only_where_it_was_allowed():
    with aemtwin.serve(small_twin()) as server:
        client = aemtwin.connect(server.uri)
        with pytest.raises(errors.TruthRefused, match="--truth"):
            client.truth()
        client.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "example.org", ""])
def test_beyond_this_machine_is_refused(host):
    with pytest.raises(errors.NotSupported, match="loopback"):
        aemtwin.serve(small_twin(), host=host)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_port_that_is_taken_is_said(server):  # Pyro4 leaves that socket open
    port = int(server.uri.rsplit(":", 1)[1])
    with pytest.raises(errors.OutOfRange, match="Choose another port"):
        aemtwin.serve(small_twin(), port=port)


@pytest.mark.parametrize(
    "uri", ["PYRO:Instrument_Server@127.0.0.1:1", "http://here", "PYRO:x", ""]
)
def test_nobody_there_is_one_sentence(uri):
    with pytest.raises(errors.Unreachable, match=r"aemtwin serve.* prints"):
        aemtwin.connect(uri)


def test_another_object_at_the_address_is_said(server):
    uri = server.uri.replace("Instrument_Server", "Nothing")
    with pytest.raises(errors.Unreachable, match="No instrument answers"):
        aemtwin.connect(uri)


def test_a_newer_minor_version_is_read_and_another_major_refused(monkeypatch):
    import dataclasses

    twin = small_twin()
    spec = twin.describe()
    for protocol, kind in (("1.7", None), ("2.0", errors.ProtocolMismatch)):
        changed = dataclasses.replace(spec, protocol=protocol)
        monkeypatch.setattr(twin, "describe", lambda changed=changed: changed)
        with aemtwin.serve(twin) as server:
            if kind is None:
                aemtwin.connect(server.uri).close()
            else:
                with pytest.raises(kind, match=r"version '2\.0'"):
                    aemtwin.connect(server.uri)


def test_a_call_with_an_id_outlives_a_server_that_was_restarted(tmp_path):
    path = tmp_path / "ledger.sqlite"
    twin = small_twin(ledger=path)
    first = aemtwin.serve(twin)
    port = int(first.uri.rsplit(":", 1)[1])
    client = aemtwin.connect(first.uri)
    before = client.measure(rid="r/1/measure")
    first.close()
    twin.close()
    restarted = small_twin(ledger=path)
    with aemtwin.serve(restarted, port=port):
        again = client.measure(rid="r/1/measure")
        np.testing.assert_array_equal(again.values, before.values)
        assert client.state().dose == 1.0
    client.close()
    restarted.close()


def test_a_launched_twin_answers_and_ends_with_the_block():
    with launched("pfm_loops", seed=3) as uri:
        client = aemtwin.connect(uri)
        assert client.describe().identity["seed"] == 3
        near = aemtwin.open_twin("pfm_loops", seed=3).measure(rid="r/1/measure")
        far = client.measure(rid="r/1/measure")
        np.testing.assert_array_equal(far.values, near.values)
        client.close()
    with pytest.raises(errors.Unreachable):
        aemtwin.connect(uri)


def test_a_twin_that_cannot_start_says_why():
    with (
        pytest.raises(errors.UnknownName, match="Did you mean 'pfm_loops'"),
        launched("pfm_lops"),
    ):
        pass


def test_a_launched_twin_dies_with_its_parent():
    code = (
        "import os, sys\n"
        "from aemtwin.remote.launch import launched\n"
        "with launched('pfm_loops') as uri:\n"
        "    print(uri, flush=True)\n"
        "    sys.stdout.close()\n"
        "    os._exit(1)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    uri = parent.stdout.strip()
    assert uri.startswith("PYRO:")
    for _ in range(100):
        try:
            aemtwin.connect(uri).close()
        except errors.Unreachable:
            return
        time.sleep(0.1)
    raise AssertionError("the twin outlived its parent by 10 s")


def test_an_array_travels_as_its_bytes(server):
    with Pyro4.Proxy(server.uri) as proxy:
        proxy._pyroSerializer = "msgpack"
        packed = proxy.scan()["arrays"]["height"]
    assert packed["data"] == small_arrays()[0].data[::-1].tobytes()
    assert len(msgpack.packb(packed)) < small_arrays()[0].data.nbytes + 100


def test_a_closed_server_moves_nothing_for_anybody():
    twin = small_twin()
    with aemtwin.serve(twin) as server:
        client = aemtwin.connect(server.uri)
        client.move_to((0.0, 0.0))
        plain = Pyro4.Proxy(server.uri)
        plain.state()
    with pytest.raises(errors.Unreachable):
        client.move_to((1e-9, 0.0))
    with pytest.raises(Pyro4.errors.CommunicationError):
        plain.move_to([1e-9, 0.0])
    assert twin.state().operations == 1
    plain._pyroRelease()


def test_an_address_that_listens_and_says_nothing_is_given_up():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(errors.Unreachable, match="No instrument answers"):
            aemtwin.connect(f"PYRO:Instrument_Server@127.0.0.1:{port}", timeout_s=0.2)


@pytest.mark.parametrize("uri", [None, 7])
def test_what_is_no_uri_is_said(uri):
    with pytest.raises(errors.Unreachable, match="is not the address"):
        aemtwin.connect(uri)


def test_what_a_launched_twin_warns_of_is_heard(tmp_path, caplog):
    from aemtwin.formats.nsid import write_nsid
    from aemtwin.sample import StoredArray
    from tests.small import spatial

    axes = spatial("y", "nm", [0, 1]), spatial("x", "nm", [0, 1])
    two = [
        StoredArray(name, "", "", np.zeros((2, 2)), axes, {"sample": name})
        for name in ("one", "two")
    ]
    write_nsid(tmp_path / "two.h5", two)
    with launched(str(tmp_path / "two.h5")):
        pass
    assert "holds 2 samples" in caplog.text
