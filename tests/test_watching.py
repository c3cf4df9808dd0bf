"""Watching an instrument: what passes is seen once, and nobody is disturbed."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

import pytest

import aemtwin
from aemtwin import watching
from aemtwin.instruments.protocol import Instrument
from aemtwin.watching import watched
from tests.small import small_twin
from tests.test_cli import ENV


def looks(twin: Instrument, **options):
    ticks = itertools.count(0.0, 1.0)
    options = {"sleep": lambda s: None, "clock": lambda: next(ticks), **options}
    return watched(twin, **options)


def test_every_operation_is_seen_once_in_its_order(twin):
    for step in range(15):
        twin.measure(rid=f"r/{step}/measure")
    seen = looks(twin)
    first = next(seen)
    assert [line.split()[0] for line in first.lines] == [str(n) for n in range(6, 16)]
    assert next(seen).lines == ()
    twin.move_to((1e-7, 2e-7), rid="r/99/move")
    twin.scan(rid="r/100/scan")
    move, scan = next(seen).lines
    assert move.split()[2:] == ["move_to", "100.0,", "200.0", "-", "r/99/move"]
    assert "scan" in scan
    assert "0.03 s" in scan
    assert next(seen).lines == ()


def test_it_tells_how_the_instrument_stands(twin):
    seen = looks(twin)
    assert "0 operations, 0.0 a second" in next(seen).status
    lease = twin.lease(30.0, "the loop")
    for step in range(20):
        twin.measure(rid=f"r/{step}/measure", token=lease.token)
    status = next(seen).status
    assert "20 operations, 10.0 a second; dose 20 s" in status
    assert status.endswith("under way: nothing; held by: the loop")


def test_many_operations_are_seen_in_blocks(twin, monkeypatch):
    monkeypatch.setattr(watching, "BLOCK", 7)
    monkeypatch.setattr(watching, "EARLIER", 1000)
    for step in range(30):
        twin.measure(rid=f"r/{step}/measure")
    waits = []
    seen = looks(twin, sleep=waits.append)
    found = [line for look in itertools.islice(seen, 5) for line in look.lines]
    assert [int(line.split()[0]) for line in found] == list(range(1, 31))
    assert waits == []  # it catches up first


def test_what_is_under_way_is_told_and_what_failed_says_how():
    twin = small_twin(real_time=True)
    seen = looks(twin)
    twin.submit({"call": "measure", "rid": "r/1/m", "arguments": {"dwell_s": 30.0}})
    while not twin.state().busy:
        time.sleep(0.001)
    look = next(seen)
    assert look.lines == ()
    assert "under way: r/1/m;" in look.status
    twin.stop()
    while twin.state().busy:
        time.sleep(0.001)
    (line,) = next(seen).lines
    assert line.endswith("r/1/m  OperationStopped")
    twin.close()


def test_the_command_shows_what_passes_and_takes_no_lease(twin):
    with aemtwin.serve(twin) as server:
        twin.measure(rid="r/1/measure")
        done = subprocess.run(
            [sys.executable, "-m", "aemtwin", "watch", server.uri, "--once"],
            capture_output=True,
            text=True,
            timeout=60,
            env=ENV,
        )
        assert done.returncode == 0, done.stderr
        head, line, status = done.stdout.splitlines()
        assert head.split() == [
            "n",
            "time",
            "s",
            "what",
            "x,",
            "y",
            "nm",
            "dose",
            "id,",
            "by",
        ]
        assert "r/1/measure" in line
        assert status.endswith("held by: nobody")
        assert twin.state().operations == 1


def test_the_command_of_keys_makes_them_and_says_what_to_do(tmp_path):
    pytest.importorskip("cryptography")
    command = [sys.executable, "-m", "aemtwin", "keys", str(tmp_path / "k")]
    asked = [*command, "--host", "scope.lab", "--client", "loop=operate"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, env=ENV)
    assert done.returncode == 0, done.stderr
    assert "aemtwin serve SOURCE --host scope.lab --keys" in done.stdout
    assert (tmp_path / "k" / "clients" / "loop" / "key.pem").is_file()
    for wrong in ("loop", "loop=king"):
        asked = [*command, "--client", wrong]
        done = subprocess.run(asked, capture_output=True, text=True, env=ENV)
        assert done.returncode == 2
        assert done.stderr.startswith("aemtwin: ")


def test_a_server_that_is_gone_is_told_and_a_new_one_is_seen_from_its_begin(twin):
    twin.measure(rid="r/1/measure")
    twin.measure(rid="r/2/measure")
    server = aemtwin.serve(twin)
    scope = aemtwin.connect(server.uri, timeout_s=0.3)
    seen = watched(scope, poll_s=0.0)
    assert len(next(seen).lines) == 2
    port = int(server.uri.rpartition(":")[2])
    server.close()
    assert next(seen).status.startswith(
        "no answer for 0 s: No instrument answers state"
    )
    other = small_twin(seed=4)
    other.measure(rid="other/1/measure")
    with aemtwin.serve(other, port=port):
        assert next(seen).lines == (watching.ANEW,)
        (line,) = next(seen).lines
        assert "other/1/measure" in line
    scope.close()


def test_who_only_watches_does_not_wait_for_jax():
    code = "import sys, aemtwin.screen, aemtwin.watching; print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENV
    )
    assert done.stdout.strip() == "False", done.stderr
