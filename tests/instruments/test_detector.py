"""Recorded counts are given out once each, and only where they are counts."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.errors import NotSupported
from aemtwin.formats.nsid import write_nsid
from tests.instruments.effects.making import counts


def test_quarters_of_recorded_counts_add_up_to_the_file_bit_for_bit(tmp_path):
    write_nsid(tmp_path / "made.nsid.h5", counts())
    check_quarters(tmp_path / "made.nsid.h5", counts()[1].data[3, 5], (3, 5))


def check_quarters(path, recorded, pixel):
    twin = aemtwin.open_twin(path, kind="stem", counts={"eds": "recorded"}, seed=2)
    grid = twin._probe._sample.field("eds").grid
    twin.move_to((grid.x[pixel[1]], grid.y[pixel[0]]))
    usual = twin.describe().mode("eds").dwell_s.default
    parts = [twin.measure("eds", usual / 4) for _ in range(4)]
    total = sum(part.values.astype(int) for part in parts)
    np.testing.assert_array_equal(total, recorded)
    assert all("recording" not in str(part.info["notices"]) for part in parts)
    assert 0 < parts[0].values.sum() < 0.5 * recorded.sum()
    fifth = twin.measure("eds", usual / 4)
    assert not fifth.values.any()
    assert "had 0 of the dose asked for" in str(fifth.info["notices"])
    assert fifth.values.dtype == recorded.dtype


def test_nothing_is_said_to_be_missing_by_rounding_alone(tmp_path):
    write_nsid(tmp_path / "made.nsid.h5", counts())
    about = {"kind": "stem", "counts": {"eds": "recorded"}}
    twin = aemtwin.open_twin(tmp_path / "made.nsid.h5", **about)
    usual = twin.describe().mode("eds").dwell_s.default
    parts = [twin.measure("eds", usual / 9) for _ in range(9)]
    assert not any("recording" in str(part.info["notices"]) for part in parts)
    much = twin.measure("eds", usual)
    assert "had 0 of the dose" in str(much.info["notices"])


def test_what_a_blanked_beam_did_not_bring_is_still_to_be_given_out(tmp_path):
    write_nsid(tmp_path / "made.nsid.h5", counts())
    about = {"kind": "stem", "counts": {"eds": "recorded"}, "seed": 1}
    faults = {"faults": {"blanked": 0.5}}
    twin = aemtwin.open_twin(tmp_path / "made.nsid.h5", **about, effects=faults)
    twin.move_to(twin.truth("eds").actual[30])
    found = [twin.measure("eds") for _ in range(6)]
    dark = ["blanked" in str(one.info["notices"]) for one in found]
    first = dark.index(False)
    assert first > 0  # a blanked one came before
    assert not any(one.values.any() for one in found[:first])
    np.testing.assert_array_equal(found[first].values, counts()[1].data[2, 6])


def test_a_truth_is_the_whole_recording_and_an_ideal_twin_gives_it(tmp_path):
    write_nsid(tmp_path / "made.nsid.h5", counts())
    about = {"kind": "stem", "counts": {"eds": "recorded"}}
    ideal = aemtwin.open_twin(tmp_path / "made.nsid.h5", **about, ideal=True)
    twin = aemtwin.open_twin(tmp_path / "made.nsid.h5", **about)
    at = twin.truth("eds").actual[17]
    for _ in range(2):
        ideal.move_to(at)
        twin.move_to(at)
        recorded = counts()[1].data[1, 5]
        np.testing.assert_array_equal(ideal.measure("eds").values, recorded)
        twin.measure("eds")
        np.testing.assert_array_equal(twin.truth("eds").values[17], recorded)
    assert not twin.measure("eds").values.any()


def test_a_real_recording_of_counts_is_given_out_once(data_folder):
    path = real(data_folder, "eds_si_fei")
    sample = aemtwin.open_twin(path, ideal=True)
    field = sample._probe._sample.field("eds")
    check_quarters(path, field.pixel(7, 4), (7, 4))


def test_a_real_recording_of_no_counts_is_refused_with_its_fano_factor(data_folder):
    with pytest.raises(NotSupported, match=r"variance over mean is 6\.\d+ ± 0\.\d+"):
        aemtwin.open_twin(real(data_folder, "sto_eels_si"), counts={"eels": "recorded"})


def real(data_folder, name):
    path = next(iter(sorted(data_folder.rglob(f"{name}.nsid.h5"))), None)
    if path is None:
        pytest.skip(f"{name} is not there")
    return path
