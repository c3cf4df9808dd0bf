"""The ledger: one file, found by id, whole after any death, flat in memory."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aemtwin.codec import to_wire
from aemtwin.errors import BadFile, BadRequest, OperationStopped
from aemtwin.instruments import recent
from aemtwin.instruments.ledger import Ledger
from aemtwin.instruments.protocol import Request
from aemtwin.instruments.summaries import array_hash
from tests.small import small_twin


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def request(step, **arguments):
    return Request("configure", f"r/{step}/configure", arguments or {"x": step})


def filled(ledger, count, size=1000):
    for step in range(count):
        entry = ledger.begin(request(step), float(step))
        ledger.end(entry, step + 0.5, answer={"values": "v" * size, "step": step})


@pytest.mark.parametrize("kept", ["in memory", "in a file"])
def test_an_old_answer_is_the_one_that_was_given(path, kept, monkeypatch):
    monkeypatch.setattr(recent, "KEPT", 10)
    ledger = Ledger(path if kept == "in a file" else None, {})
    filled(ledger, 100)
    assert len(ledger) == 100
    assert len(ledger._recent) <= 10
    for step in (0, 1, 50, 99):
        entry = ledger.find(request(step))
        assert entry.answer["step"] == step
        assert (entry.begin_s, entry.end_s) == (step, step + 0.5)
    with pytest.raises(BadRequest, match="one id stands for one request"):
        ledger.find(request(3, x=4))
    assert ledger.find(request(100)) is None
    assert [e["n"] for e in ledger.events(40, 7)] == list(range(41, 48))
    assert [e["n"] for e in ledger.events()] == list(range(1, 101))
    ledger.clear()
    assert (len(ledger), ledger.events(), ledger.find(request(1))) == (0, [], None)
    ledger.close()


@pytest.mark.parametrize("kept", ["in memory", "in a file"])
def test_memory_does_not_grow_with_what_was_done(path, kept):
    tracemalloc.start()
    ledger = Ledger(path if kept == "in a file" else None, {})
    filled(ledger, 1000, size=2000)
    before = tracemalloc.get_traced_memory()[0]
    filled(ledger, 4000, size=2000)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 0.1 * 4000 * 2000
    ledger.close()


def test_answers_leave_memory_by_their_size(monkeypatch):
    monkeypatch.setattr(recent, "KEPT_BYTES", 10_000)
    twin = small_twin()
    answers = [twin.scan(rid=f"r/{i}/scan") for i in range(20)]
    assert twin._ledger._recent.bytes <= 10_000
    again = twin.scan(rid="r/0/scan")
    assert again is not answers[0]
    assert to_wire(again) == to_wire(answers[0])
    assert again.values.dtype == answers[0].values.dtype
    assert twin.state().operations == 20
    told = [event["sha256"] for event in twin.events()]
    assert told == [array_hash(answer) for answer in answers]


def test_a_ledger_of_other_data_is_refused(path):
    small_twin(ledger=path, seed=1).close()
    with pytest.raises(BadFile, match="another instrument"):
        small_twin(ledger=path, seed=2)


def test_a_ledger_that_is_in_use_is_refused(path, monkeypatch):
    monkeypatch.setattr("aemtwin.instruments.archive.BUSY_S", 0.1)
    twin = small_twin(ledger=path)
    with pytest.raises(BadFile, match="Another instrument is using it"):
        small_twin(ledger=path)
    twin.measure(rid="r/1/measure")
    twin.close()


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0" + b"\0" * 84, b"{}\n" * 9])
def test_what_is_no_ledger_is_begun_only_where_it_is_empty(path, data):
    path.write_bytes(data)
    if data:
        with pytest.raises(BadFile, match="ledger"):
            small_twin(ledger=path)
        assert path.read_bytes() == data
        return
    for count in (1, 2):
        twin = small_twin(ledger=path)
        twin.measure()
        assert len(twin.events()) == count
        twin.close()


def test_a_database_of_something_else_is_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(BadFile, match="no ledger of aemtwin"):
        small_twin(ledger=path)


def changed(path, statement):
    with sqlite3.connect(path) as db:
        assert db.execute(statement).rowcount
    db.close()


def test_a_ledger_whose_values_do_not_come_again_is_refused(path):
    twin = small_twin(ledger=path)
    twin.measure()
    twin.close()
    swap = "UPDATE operation SET told = replace(told, 'sha256\": \"', 'sha256\": \"0')"
    changed(path, swap)
    with pytest.raises(BadFile, match="other values"):
        small_twin(ledger=path)


def test_a_request_begun_and_never_ended_is_done_when_opened_again(path):
    twin = small_twin(ledger=path)
    whole = twin.measure(rid="r/1/measure")
    twin.close()
    changed(path, "UPDATE operation SET end_s = NULL, told = '{}', answer = NULL")
    again = small_twin(ledger=path)
    assert again.state().dose == 1.0
    np.testing.assert_array_equal(again.measure(rid="r/1/measure").values, whole.values)
    assert len(again.ledger()) == 1
    again.close()


def test_a_damaged_ledger_is_refused(path):
    twin = small_twin(ledger=path)
    for step in range(50):
        twin.measure(rid=f"r/{step}/measure")
    twin.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(BadFile, match="ledger"):
        small_twin(ledger=path)


def test_a_ledger_can_be_read_without_its_instrument(path):
    twin = small_twin(ledger=path)
    twin.measure(rid="r/1/measure")
    told = twin.events()
    twin.close()
    ledger = Ledger(path)
    assert ledger.events() == told
    ledger.close()
    with pytest.raises(BadFile, match="There is no ledger"):
        Ledger(path.with_name("other.sqlite")).events()


KILLED = """
import os, sys
from pathlib import Path
from aemtwin.instruments.ledger import Ledger
from aemtwin.instruments.protocol import Request
from aemtwin.instruments.summaries import array_hash

ledger = Ledger(Path(sys.argv[1]), {"name": "killed"})
one = ledger.begin(Request("move_to", "r/1/move", {"position": [0, 0]}), 0.25)
ledger.end(one, 0.5, answer={"at": 1})
two = ledger.begin(Request("move_to", "r/2/move", {"position": [1, 1]}), 0.75)
os._exit(9)
"""


def test_begin_and_end_outlive_the_process(path):
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    ledger = Ledger(path, {"name": "killed"})
    one, two = ledger
    assert ledger.last("r/1/move").answer == {"at": 1}
    assert (one.end_s, two.end_s, two.begin_s) == (0.5, None, 0.75)
    ledger.close()


class FullDisk:
    """An archive that takes no more."""

    def __init__(self, archive):
        self._archive, self.full = archive, True

    def __getattr__(self, name):
        return getattr(self._archive, name)

    def commit(self, statement, rows, **how):
        if self.full:
            raise BadFile("cannot be written (database or disk is full)")
        self._archive.commit(statement, rows, **how)


def test_nothing_is_done_where_begin_cannot_be_written(path):
    twin = small_twin(ledger=path)
    twin.measure(rid="r/1/measure")
    before = to_wire(twin.state())
    twin._ledger._archive = disk = FullDisk(twin._ledger._archive)
    with pytest.raises(BadFile, match="disk is full"):
        twin.measure(rid="r/2/measure")
    assert to_wire(twin.state()) == before
    disk.full = False
    assert twin.measure(rid="r/2/measure").rid == "r/2/measure"
    twin.close()


def test_an_end_that_could_not_be_written_is_written_later(path, caplog):
    ledger = Ledger(path, {})
    entry = ledger.begin(request(1), 0.0)
    ledger._archive = disk = FullDisk(ledger._archive)
    ledger.end(entry, 1.0, answer={"x": 1})
    assert "that is not written" in caplog.text
    disk.full = False
    assert ledger.find(request(1)).answer == {"x": 1}
    ledger.begin(request(2), 2.0)
    ledger.close()
    again = Ledger(path, {})
    assert again.find(request(1)).answer == {"x": 1}
    assert again.find(request(2)) is None
    again.close()


def test_an_end_may_wait_until_the_answer_is_sent(path):
    ledger = Ledger(path, {})
    ledger.later = True
    for k in (1, 2, 3):
        entry = ledger.begin(request(k), float(k))
        ledger.end(entry, k + 0.5, answer={"x": k})
        assert ledger.find(request(k)).answer == {"x": k}
        written = ledger._archive.rows("SELECT n FROM operation WHERE end_s > 0")
        assert len(written) == k - 1  # the last but one: with the begin of this
    ledger.settle()
    assert len(ledger._archive.rows("SELECT n FROM operation WHERE end_s > 0")) == 3
    entry = ledger.begin(request(4), 4.0)
    ledger.end(entry, 4.5, answer={"x": 4})
    ledger.close()  # that is no crash
    again = Ledger(path, {})
    assert [again.find(request(k)).answer["x"] for k in (1, 2, 3, 4)] == [1, 2, 3, 4]
    again.close()


def test_what_was_stopped_is_not_found_and_may_be_begun_again():
    ledger = Ledger()
    for end in (OperationStopped("so"), None):
        entry = ledger.begin(request(1), 0.0)
        ledger.end(entry, 1.0, error=end, answer=None if end else {"done": True})
    assert [e["n"] for e in ledger.events()] == [1, 2]
    assert ledger.find(request(1)).answer == {"done": True}


def test_what_is_noted_is_there_again(path):
    ledger = Ledger(path, {})
    assert ledger.about("fence") is None
    ledger.note("fence", 7)
    ledger.close()
    assert Ledger(path, {}).about("fence") == 7


@pytest.mark.parametrize("kept", ["in memory", "in a file"])
@settings(max_examples=40)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from(["done", "large", "failed", "interrupted", "settle"]),
            st.integers(0, 12),
        ),
        max_size=60,
    ),
    later=st.booleans(),
    after=st.integers(0, 40),
    most=st.integers(1, 40),
)
def test_whatever_has_left_memory_it_tells_the_same(
    kept, plan, later, after, most, tmp_path_factory
):
    """Beside a ledger that keeps everything in memory."""
    folder = tmp_path_factory.mktemp("ledger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent, "KEPT", 6)
        patch.setattr(recent, "KEPT_BYTES", 20_000)
        ledger = Ledger(folder / "l.sqlite" if kept == "in a file" else None, {})
        ledger.later = later
        told: list[dict] = []
        answers: dict[str, np.ndarray] = {}
        for n, (what, step) in enumerate(plan, 1):
            if what == "settle":
                ledger.settle()
                continue
            asked, number = request(step), len(told) + 1
            if answers.get(asked.rid) is not None:
                found = ledger.find(asked).answer
                assert np.array_equal(found, answers[asked.rid])
                continue
            assert ledger.find(asked) is None
            entry = ledger.begin(asked, float(n))
            told.append({"n": number, "rid": asked.rid, "end_s": None})
            if what == "interrupted":
                continue
            told[-1]["end_s"] = n + 0.5
            if what == "failed":
                ledger.end(entry, n + 0.5, error=OperationStopped("so"))
                continue
            answer = np.full(1200 if what == "large" else 2, float(n))
            ledger.end(entry, n + 0.5, answer=answer)
            answers[asked.rid] = answer
        found = [{k: e[k] for k in ("n", "rid", "end_s")} for e in ledger.events()]
        assert found == told
        part = ledger.events(after, most)
        assert [e["n"] for e in part] == [e["n"] for e in told if e["n"] > after][:most]
        for rid, answer in answers.items():
            assert np.array_equal(ledger.last(rid).answer, answer)
        assert ledger._recent.bytes >= 0
        ledger.close()
        if kept == "in a file":
            again = Ledger(folder / "l.sqlite", {})
            assert [e["end_s"] for e in again.events()] == [e["end_s"] for e in told]
            again.close()
