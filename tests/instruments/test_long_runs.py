"""What must stay true after many operations, and of what twins state."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.formats.catalog import find_twin, twin_names
from aemtwin.formats.nsid import write_nsid
from aemtwin.instruments.identity import same_instrument
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis


def displacement(twin, effect: str):
    """How far off a frame's pixels are because of one effect, (k, 2), metres."""
    stage = twin._probe._stage
    found = []
    for one in stage.effects:
        if one.name == effect:
            usual = one.displacement
            one.displacement = lambda shot, usual=usual: (
                found.append(usual(shot)) or found[-1]
            )
    twin.scan(channels=[twin.describe().channels[0].name])
    return found[-1]


@pytest.mark.parametrize("name", ["pfm_loops", "afm_ir", "stm_spectroscopy"])
def test_creep_stays_bounded_over_forty_frames(name):
    twin = aemtwin.open_twin(name, effects=["creep"])
    (low, high), _ = twin.describe().bounds
    first = np.abs(displacement(twin, "creep")).mean()
    for _ in range(38):
        twin.scan(channels=[twin.describe().channels[0].name], shape=(8, 8))
    last = np.abs(displacement(twin, "creep")).mean()
    assert last < 0.03 * (high - low)
    assert last < 5 * first


@pytest.mark.parametrize("name", twin_names())
def test_flyback_can_be_seen_where_a_twin_states_it(name):
    if "flyback" not in find_twin(name).toml.get("effects", {}):
        pytest.skip("it states none")
    twin = aemtwin.open_twin(name, effects=["flyback"])
    off = np.abs(displacement(twin, "flyback")).max()
    shape = twin.describe().channels[0].shape
    (low, high), _ = twin.describe().bounds
    assert 0.05 < off / ((high - low) / (shape[1] - 1)) < 20


def counts_beside(folder):
    """Two spectra recorded together, of which one is counts."""
    random = np.random.default_rng(0)
    axes = [Axis(n, "m", np.arange(4) * 1e-9, "Length", "spatial") for n in "yx"]
    energy = Axis("energy", "eV", np.arange(64.0), "Energy", "spectral")
    path = folder / "both.nsid.h5"
    counts = random.poisson(50.0, (4, 4, 64)).astype("u2")
    other = random.normal(100.0, 5.0, (4, 4, 64)).astype("f4")
    arrays = [
        StoredArray("eds", "Intensity", "counts", counts, (*axes, energy)),
        StoredArray("eels", "Intensity", "", other, (*axes, energy)),
    ]
    write_nsid(path, arrays)
    return path, counts


def test_counts_are_dealt_once_whichever_mode_asks_for_them(tmp_path):
    path, counts = counts_beside(tmp_path)
    twin = aemtwin.open_twin(path, counts={"eds": "recorded"})
    twin.move_to((1e-9, 2e-9))
    usual = twin.describe().mode("eds").dwell_s.default
    taken = np.zeros(64)
    for k in range(6):
        found = twin.measure("eels" if k % 2 else "eds", 0.3 * usual)
        taken += found.arrays["eds"]
        assert found.arrays["eels"].mean() == pytest.approx(100, rel=0.1)
    np.testing.assert_array_equal(taken, counts[2, 1])
    twin.close()


def test_a_blanked_beam_brings_no_dose_and_does_no_damage():
    table = {"faults": {"blanked": 1.0}, "damage": {"critical": {"eels": 1e20}}}
    twin = aemtwin.open_twin("stem_eels", effects=table)
    found = twin.measure()
    frame = twin.scan(shape=(4, 4))
    assert found.dose == frame.dose == twin.state().dose == 0.0
    assert "blanked" in " ".join(found.info["notices"])
    assert twin._probe._stage.effects[0].digest() == ""


def test_who_drifts_off_the_specimen_is_told():
    fast = {"drift": {"velocity_m_s": [1e-8, 0.0]}}
    twin = aemtwin.open_twin("pfm_loops", effects=fast)
    assert not any("beyond" in n for n in twin.measure(dwell_s=1.0).info["notices"])
    for _ in range(13):
        found = twin.measure(dwell_s=10.0)
    assert any("beyond the specimen" in n for n in found.info["notices"])


def test_a_spot_is_dosed_over_the_width_of_the_probe_and_not_of_a_cell():
    twin = aemtwin.open_twin("raman_map", effects=["damage"])
    at = np.mean(twin.describe().bounds, axis=1)
    twin.move_to(at)
    twin.measure(dwell_s=300.0)
    field = twin._probe._stage.effects[0]._field
    near, far = field.at(np.array([at, at + np.array([0.35e-6, 0.0])]))
    assert 0.4 * near < far < 0.95 * near


def test_a_mode_of_ones_own_has_noise_where_none_is_stated(tmp_path):
    axes = [Axis(n, "m", np.arange(5) * 1e-8, "Length", "spatial") for n in "yx"]
    random = np.random.default_rng(0)
    maps = {"modulus": (1e9, "Pa"), "adhesion": (0.05, "J/m^2")}
    arrays = [
        StoredArray(n, "Map", unit, v * random.uniform(0.5, 1, (5, 5)), tuple(axes))
        for n, (v, unit) in maps.items()
    ]
    write_nsid(tmp_path / "own.nsid.h5", arrays)
    (tmp_path / "twin.toml").write_text(
        'name = "own"\nversion = "1.0.0"\nkind = "afm"\ndescription = "mine"\n'
        'dataset = "own.nsid.h5"\n[modes.force_curve]\nshape = [5, 5]\n',
        "utf-8",
    )
    from aemtwin.formats.catalog import array_sha256

    with (tmp_path / "twin.toml").open("a", encoding="utf-8") as toml:
        toml.write("[sha256]\n")
        toml.writelines(f'{a.name} = "{array_sha256(a.data)}"\n' for a in arrays)
    twin = aemtwin.open_twin(tmp_path)
    first, again = twin.measure().values, twin.measure().values
    assert not np.array_equal(first, again)
    assert np.std(first - again) < 0.1 * np.std(first)


def test_an_older_record_of_the_same_twin_is_recognised():
    old = {"data_sha256": "a", "noise": {}, "seed": 0}
    new = {**old, "counts": {}, "effects": {}, "guessed": "by its axes"}
    assert same_instrument(old, new)
    assert not same_instrument(old, {**new, "effects": {"drift": {}}})
