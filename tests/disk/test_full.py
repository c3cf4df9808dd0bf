"""Row R8: a disk that is full, at each byte of what is written."""

from __future__ import annotations

import json

import pytest

from tests.disk.disks import watched

LEDGER = """
import json, sys
from pathlib import Path
from aemtwin.errors import BadFile
from aemtwin.instruments.ledger import Ledger
from tests.disk.marked import marked, room
from tests.remote.bench import value_of

path = Path(sys.argv[1])
every = int(sys.argv[2])
bench, wire = marked(path)
refused = unread = wrong = places = streak = 0
at = k = 0
while True:
    rid = f"r/{k}/measure"
    before = len(wire.exposed)
    room(at)
    try:
        found = bench.measure(rid=rid)
        said = None
    except BadFile as error:
        said = error
    room(-1)
    begun = {e["rid"] for e in bench.events(max(len(bench._ledger) - 2, 0))}
    exposed = rid in wire.exposed[before:]
    wrong += exposed and rid not in begun
    wrong += said is not None and exposed  # it was refused, and done
    if said is not None:
        refused += 1
        assert "cannot be written" in str(said), said
        found = bench.measure(rid=rid)  # there is room again
    wrong += wire.exposed[before:].count(rid) != 1
    wrong += found.values.tolist() != value_of(rid).tolist()
    k += 1
    places += 1
    streak = streak + 1 if said is None else 0
    if streak * every > 8_300:  # two pages more: its end fits as well by now
        break
    at += every
bench.close()
again = Ledger(path, bench.describe().identity)
for j in range(k):
    entry = again.last(f"r/{j}/measure")
    unread += entry is None or entry.answer is None
    if entry is not None and entry.answer is not None:
        wrong += entry.answer.values.tolist() != value_of(f"r/{j}/measure").tolist()
again.close()
print(json.dumps([places, refused, int(wrong), int(unread)]))
"""

JOURNAL = """
import json, sys
from pathlib import Path
import numpy as np
from aemtwin.errors import AemtwinError
from aemtwin.journal import Journal, load_maps, read_documents
from tests.disk.marked import room

folder, every = Path(sys.argv[1]), int(sys.argv[2])
text = "x" * 300
at = refused = wrong = places = 0
written = []
journal = Journal(folder)
maps = {"mean": np.arange(50.0)}
while True:
    event = {"seq_num": len(written), "text": text}
    room(at)
    try:
        journal.save_maps("belief", {"mean": maps["mean"] + at})
        journal.append("event", event)
        said = None
    except AemtwinError as error:
        said = error
    room(-1)
    if said is not None:
        refused += 1
        assert "Make room" in str(said), said
        journal.close()
        journal = Journal(folder)
        found = [d for _, d in read_documents(folder / "journal.jsonl")[0]]
        wrong += found != written
        kept = load_maps(folder, "belief")
        wrong += kept is not None and len(kept["mean"]) != 50
        journal.append("event", event)
    written.append(event)
    places += 1
    if said is None:
        break
    at += every
journal.close()
found = [d for _, d in read_documents(folder / "journal.jsonl")[0]]
wrong += found != written
print(json.dumps([places, refused, int(wrong)]))
"""


@pytest.mark.parametrize(
    "every", [97, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_a_ledger_without_room_begins_nothing_and_loses_nothing(tmp_path, every):
    folder = tmp_path / "watched" / "l"
    folder.mkdir(parents=True)
    path = folder / "ledger.sqlite"
    told = watched(LEDGER, [str(path), str(every)], tmp_path / "watched")
    places, refused, wrong, unread = json.loads(told)
    assert (wrong, unread) == (0, 0)
    assert refused >= 4000 // every
    assert places > refused


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_journal_without_room_says_so_and_keeps_what_it_had(tmp_path, every):
    folder = tmp_path / "watched" / "run"
    folder.mkdir(parents=True)
    told = watched(JOURNAL, [str(folder), str(every)], tmp_path / "watched")
    places, refused, wrong = json.loads(told)
    assert wrong == 0
    assert refused >= 700 // every
    assert places == refused + 1
