"""The catalogue of twins: found by name, checked by key and by hash."""

import shutil

import numpy as np
import pytest

from aemtwin.errors import BadFile, UnknownName
from aemtwin.formats.catalog import (
    array_sha256,
    experiments_folder,
    find_twin,
    twin_names,
    twins_folder,
    verify,
)
from aemtwin.formats.nsid import open_nsid, write_nsid


@pytest.mark.parametrize("name", twin_names())
def test_every_twin_of_the_catalogue_is_whole(name):
    entry = find_twin(name)
    assert (entry.folder / "card.md").stat().st_size > 500
    assert "(sheet.webp)" in (entry.folder / "card.md").read_text("utf-8")
    assert (entry.folder / "sheet.webp").stat().st_size < 250_000
    assert "\n" not in entry.description
    assert entry.version.count(".") == 2
    if entry.data.exists():
        assert entry.data.stat().st_size <= 2**20
        verify(entry)
        with open_nsid(entry.data) as file:
            known = {a.name for a in file.arrays} | set(entry.toml.get("modes", {}))
        assert {*entry.noise, *entry.counts, *entry.recorded} <= known


def test_a_twin_is_found_by_name_folder_and_file(tmp_path):
    entry = find_twin("pfm_loops")
    assert twins_folder() / "pfm_loops" == entry.folder
    assert entry.noise["loops"] == 1.5
    assert entry.toml["seed"] == 0
    assert entry.counts == ()
    assert find_twin("stem_eels").counts == ("haadf", "eels")
    shutil.copytree(entry.folder, tmp_path / "mine")
    for where in (
        tmp_path / "mine",
        str(tmp_path / "mine"),
        tmp_path / "mine/twin.toml",
    ):
        other = find_twin(where)
        assert other.name == "pfm_loops"
        verify(other)
    assert experiments_folder().name == "experiments"


def test_an_unknown_twin_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'pfm_loops'"):
        find_twin("pfm_loop")


def test_a_folder_without_twin_toml_is_no_twin(tmp_path):
    with pytest.raises(BadFile, match=r"no twin\.toml"):
        find_twin(tmp_path)


@pytest.fixture
def mine(tmp_path):
    return shutil.copytree(find_twin("pfm_loops").folder, tmp_path / "mine")


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("seed = 0", "sed = 0", "unknown key 'sed'"),
        ("seed = 0", 'seed = "0"', "seed = '0', which should be int"),
        ("seed = 0", "seed = true", "seed = True, which should be int"),
        ('kind = "afm"', "", "lacks the key 'kind'"),
        ("loops = 1.5", "lops = 1.5", r"unknown key 'lops' in \[noise\]"),
        ("loops = 1.5", "loops = -1.5", r"noise.loops = -1.5"),
        ("points = ", "pints = ", r"unknown key 'pints' in \[limits\]"),
        ("pixel_dwell_s", "pixel_s", r"unknown key 'pixel_s' in \[defaults\]"),
        ("dwell_s = [1e-4, 10.0]", 'dwell_s = "long"', "limits.dwell_s = 'long'"),
        ("dwell_s = [1e-4, 10.0]", "dwell_s = [2, 1]", r"limits.dwell_s = \[2, 1\]"),
        ("loops = 1.5", "loops = nan", r"noise.loops = nan"),
        ("pixel_dwell_s = 2e-3", "pixel_dwell_s = 99", r"outside limits.dwell_s"),
        ("points = 1048576", "points = 0", "limits.points = 0"),
        ("pixel_dwell_s = 2e-3", "pixel_dwell_s = 0", "defaults.pixel_dwell_s = 0"),
        ("seed = 0", "seed = = 0", "cannot be read"),
        ("[limits]", '[counts]\narrays = "loops"\n[limits]', "counts.arrays = 'loops'"),
        ("[limits]", "[counts]\narrays = [1]\n[limits]", r"counts.arrays = \[1\]"),
        (
            "[limits]",
            '[counts]\narrays = ["lops"]\n[limits]',
            r"names 'lops' in \[counts\]",
        ),
        ("[limits]", "[counts]\nloops = 1\n[limits]", r"key 'loops' in \[counts\]"),
        (
            "pixel_dwell_s = 2e-3",
            "current_A = -1.0",
            "current_A = -1.0, which should be amperes > 0",
        ),
    ],
)
def test_a_wrong_twin_toml_is_refused_by_key(mine, old, new, cause):
    path = mine / "twin.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(BadFile, match=cause):
        find_twin(mine)


def test_changed_data_is_told(mine):
    entry = find_twin(mine)
    with open_nsid(entry.data) as file:
        arrays = list(file.arrays)
        loops = arrays[3].data[()]
        loops[0, 0, 0] = np.nextafter(loops[0, 0, 0], np.float32(np.inf))
        other = type(arrays[3])("loops", "", "pm", loops, arrays[3].axes)
        write_nsid(mine / "changed.h5", [*arrays[:3], other, *arrays[4:]])
        write_nsid(mine / "fewer.h5", [*arrays[:3], *arrays[4:]])
    for name, cause in [
        ("changed.h5", "other values in 'loops'"),
        ("fewer.h5", "lacks 'loops'"),
    ]:
        shutil.copy(mine / name, entry.data)
        with pytest.raises(BadFile, match=cause):
            verify(entry)
    entry.data.unlink()
    with pytest.raises(BadFile, match="does not exist"):
        verify(entry)


def test_a_hash_is_of_values_not_of_layout():
    values = np.arange(6, dtype="f4").reshape(2, 3)
    digest = array_sha256(values)
    assert array_sha256(np.asfortranarray(values.astype(">f4"))) == digest
    assert array_sha256(values + 1) != digest
