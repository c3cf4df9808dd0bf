"""Row R9: a file that is changed after it was opened is refused, and never believed."""

from __future__ import annotations

import os
import random
import shutil
import time

import numpy as np
import pytest

import aemtwin
from aemtwin import sample
from aemtwin.errors import AemtwinError, BadFile
from aemtwin.formats import nsid
from tests.small import small_arrays

SETTLED_S = 0.03  # until a file system's clock has moved on


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "small.nsid.h5"
    nsid.write_nsid(path, small_arrays())
    return path


def changed(path, how, dice):
    """Cut a file, or turn one bit of it; the times of it set back, or not."""
    before = path.stat()
    if how == "cut":
        os.truncate(path, dice.randrange(before.st_size))
    else:
        with path.open("r+b") as file:
            at = dice.randrange(before.st_size)
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1 << dice.randrange(8)]))
    if dice.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def asked(twin):
    """What a twin says of a few spots and a frame: values, or the name of an error."""
    found = []
    for k, call in enumerate(["loops", "lockin", "height"]):
        try:
            if call == "height":
                one = twin.scan(channels=["height"], shape=(3, 3), rid=f"r/{k}/scan")
            else:
                twin.move_to((1e-7, 2e-7), rid=f"r/{k}/move")
                one = twin.measure(call, rid=f"r/{k}/measure")
            found.append(one.values)
        except AemtwinError as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def held(original, folder, places, seed):
    """Count refusals, right values and wrong ones over so many changes."""
    dice, counts = random.Random(seed), {"refused": 0, "right": 0, "wrong": 0}
    path = folder / "small.nsid.h5"
    shutil.copy(original, path)
    twin = aemtwin.open_twin(path, seed=1)
    want = asked(twin)
    twin.close()
    for k in range(places):
        shutil.copy(original, path)
        time.sleep(SETTLED_S)
        twin = aemtwin.open_twin(path, seed=1)
        if k % 2:  # it has read a part of it already
            twin.parts.piece("recording/0/stored", 0, 0, 8)
        changed(path, dice.choice(["cut", "flip"]), dice)
        for one, values in zip(asked(twin), want, strict=True):
            if isinstance(one, str):
                assert "was changed after it was opened" in one or "damaged" in one
                counts["refused"] += 1
            else:
                same = np.array_equal(one, values)
                counts["right" if same else "wrong"] += 1
        twin.close()
    return counts


def test_what_is_read_after_a_change_is_refused(original, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "IN_MEMORY", 0)
    counts = held(original, tmp_path, 25, 0)
    assert counts["wrong"] == 0
    assert counts["refused"] >= 50


@pytest.mark.slow
def test_a_thousand_changes_are_refused_or_make_no_difference(
    original, tmp_path, monkeypatch
):
    monkeypatch.setattr(sample, "IN_MEMORY", 0)
    counts = held(original, tmp_path, 1000, 1)
    assert counts["wrong"] == 0
    assert counts["refused"] + counts["right"] == 3000
    assert counts["refused"] >= 2000


def test_another_file_in_its_place_is_not_taken_for_it(original, tmp_path):
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    shutil.copy(original, path)
    shutil.copy(original, other)
    with nsid.open_nsid(path) as file:
        array = file.arrays[0].data
        assert array[0].shape
        os.replace(other, path)
        with pytest.raises(BadFile, match="changed after it was opened"):
            array[0]


def test_what_is_in_memory_stays_right(original, tmp_path):
    path = tmp_path / "small.nsid.h5"
    shutil.copy(original, path)
    twin = aemtwin.open_twin(path, seed=1)
    want = asked(twin)
    twin.reset()
    os.truncate(path, 100)
    for one, values in zip(asked(twin), want, strict=True):
        assert np.array_equal(one, values)
    twin.close()
