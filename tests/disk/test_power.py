"""Rows R15 and R16: power that fails, at a thousand points of what is written."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from aemtwin.errors import AemtwinError, BadFile
from aemtwin.instruments.ledger import Ledger
from aemtwin.journal import Journal, load_maps, load_spectrum, read_documents
from tests.disk.disks import after_a_cut, records, watched
from tests.remote.bench import value_of

INSTRUMENT = """
import sys
from pathlib import Path
from tests.disk.marked import mark, marked

bench, wire = marked(Path(sys.argv[1]))
for k in range(int(sys.argv[2])):
    if k % 7 == 3:
        bench.move_to((k * 1e-9, 0.0), rid=f"r/{k}/move")
    if k % 11 == 5:
        lease = bench.lease(10.0, "somebody")
        mark(f"lease {lease.fence}")
        bench.release(lease.token)
    bench.measure(rid=f"r/{k}/measure")
bench.close()
"""

RECORD = """
import sys
from pathlib import Path
import numpy as np
from aemtwin.journal import Journal
from aemtwin.codec import to_wire
from tests.disk.marked import mark
from tests.instruments.test_store import measured

with Journal(Path(sys.argv[1])) as journal:
    for k in range(int(sys.argv[2])):
        values = np.arange(200.0) + k
        journal.save_spectrum(k, measured(f"r/{k}/measure", loop=values))
        journal.save_maps("belief", {"mean": values})
        journal.append("event", {"seq_num": k, "text": "x" * (k * 37 % 900)})
        mark(f"event {k}")
"""


def cuts(tmp_path, script, name, count, points, seed):
    """Yield what a disk may hold at so many points, and what was marked by then."""
    folder = tmp_path / "watched" / "on disk"
    folder.mkdir(parents=True)
    trace = tmp_path / "trace"
    watched(script, [str(folder / name), str(count)], tmp_path / "watched", trace)
    done, dice = records(trace), random.Random(seed)
    assert sum(one.kind == "S" for one in done) >= count
    for k in range(points):
        until = dice.randrange(1, len(done) + 1)
        made = tmp_path / f"cut {k}"
        yield made, after_a_cut(done[:until], folder, made, dice)


def held_by_the_ledger(tmp_path, points, seed):
    """Count what was found after power cuts; fail where something is not as it must."""
    found = Counter()
    for made, marks in cuts(tmp_path, INSTRUMENT, "ledger.sqlite", 40, points, seed):
        exposed = [text for text in marks if not text.startswith("lease")]
        assert len(exposed) == len(set(exposed))
        path = made / "ledger.sqlite"
        found["cuts"] += 1
        if not exposed and not path.exists():
            continue
        try:
            ledger = Ledger(path, {"name": "bench", "kind": "afm", "serial": "0001"})
        except BadFile:
            assert not exposed, "what was exposed is in no ledger"
            found["no ledger yet"] += 1
            continue
        events = ledger.events()
        begun = Counter(e["rid"] for e in events if e["call"] == "measure")
        missing = set(exposed) - set(begun)
        assert not missing, f"exposed without a durable begin: {missing}"  # R15
        assert max(begun.values(), default=1) == 1
        assert len(begun) - len(exposed) in (0, 1)  # R16: begun, and not yet exposed
        assert [e["n"] for e in events] == list(range(1, len(events) + 1))
        for rid in begun:
            entry = ledger.last(rid)
            if entry.answer is not None:
                assert entry.answer.values.tolist() == value_of(rid).tolist()
                found["answers"] += 1
            else:
                found["ends lost"] += 1
        fences = [int(text.split()[1]) for text in marks if text.startswith("lease")]
        assert (ledger.about("fence") or 0) >= max(fences, default=0)
        found["exposures"] += len(exposed)
        ledger.close()
    return found


def test_no_exposure_is_without_a_begin_after_a_power_cut(tmp_path):
    found = held_by_the_ledger(tmp_path, 60, 0)
    assert found["exposures"] > 500


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nor_at_a_thousand_points(tmp_path):
    found = held_by_the_ledger(tmp_path, 1000, 1)
    assert found["exposures"] > 10_000


def held_by_the_journal(tmp_path, points, seed):
    kept = 0
    for made, marks in cuts(tmp_path, RECORD, "run", 40, points, seed):
        made = made / "run"
        acknowledged = len(marks)
        if not acknowledged and not (made / "journal.jsonl").exists():
            continue
        documents, _ = read_documents(made / "journal.jsonl")
        told = [document["seq_num"] for _, document in documents]
        assert told == list(range(len(told)))
        assert len(told) - acknowledged in (0, 1)
        for k in told:  # whatever an event names is there, and right
            assert load_spectrum(made, k).values[0] == k
        if told:
            assert load_maps(made, "belief")["mean"][0] >= told[-1]
        with Journal(made) as journal:  # and it goes on
            journal.append("event", {"seq_num": len(told)})
        assert len(read_documents(made / "journal.jsonl")[0]) == len(told) + 1
        kept += acknowledged
    return kept


def test_what_a_run_was_told_is_recorded_is_there_after_a_power_cut(tmp_path):
    assert held_by_the_journal(tmp_path, 60, 0) > 500


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_so_it_is_at_a_thousand_points(tmp_path):
    assert held_by_the_journal(tmp_path, 1000, 1) > 10_000


def test_a_ledger_that_did_not_synchronize_would_be_found_out(tmp_path, monkeypatch):
    """The test can fail: with begins that are not durable, it does."""
    careless = INSTRUMENT.replace(
        "bench, wire",
        "from aemtwin.instruments.archive import Archive\n"
        "plain = Archive.commit\n"
        "Archive.commit = lambda self, *a, durable=False: plain(self, *a)\n"
        "bench, wire",
    )
    monkeypatch.setitem(globals(), "INSTRUMENT", careless)
    with pytest.raises((AssertionError, AemtwinError)):
        held_by_the_ledger(tmp_path, 60, 0)
