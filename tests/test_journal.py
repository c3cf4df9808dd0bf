"""The journal: whole lines or none, and every array before the event that names it."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.codec import to_wire
from aemtwin.errors import BadJournal
from aemtwin.journal import (
    JOURNAL,
    Journal,
    load_maps,
    load_spectrum,
    read_documents,
    write_whole,
)
from tests.small import small_twin


def test_documents_come_back_in_order(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append("start", {"uid": "a"})
        journal.append("event", {"seq_num": 1})
    documents, whole = read_documents(tmp_path / JOURNAL)
    assert documents == [("start", {"uid": "a"}), ("event", {"seq_num": 1})]
    assert whole == (tmp_path / JOURNAL).stat().st_size


def test_a_line_cut_anywhere_is_cut_off(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append("start", {"uid": "a"})
        journal.append("event", {"seq_num": 1})
    path = tmp_path / JOURNAL
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    for end in range(first, len(data)):
        path.write_bytes(data[:end])
        assert read_documents(path)[0] == [("start", {"uid": "a"})]
        with Journal(tmp_path) as journal:
            journal.append("event", {"seq_num": 1})
        assert path.read_bytes() == data


def test_numbers_that_json_lacks_are_refused(tmp_path):
    with Journal(tmp_path) as journal, pytest.raises(ValueError, match="JSON"):
        journal.append("event", {"value": float("nan")})


def test_a_measurement_is_kept_whole(tmp_path):
    measured = small_twin().measure(rid="r/1/measure")
    with Journal(tmp_path) as journal:
        journal.save_spectrum(1, measured)
    assert to_wire(load_spectrum(tmp_path, 1)) == to_wire(measured)
    with pytest.raises(BadJournal, match=r"000002.msgpack is missing"):
        load_spectrum(tmp_path, 2)


def test_maps_are_kept_whole(tmp_path):
    with Journal(tmp_path) as journal:
        journal.save_maps("final", {"mean": np.arange(3.0), "n": np.array(3)})
    maps = load_maps(tmp_path, "final")
    assert maps["mean"].tolist() == [0, 1, 2]
    assert load_maps(tmp_path, "none") is None


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_whole(path, b"before")

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(BadJournal, match="Make room"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
