"""What is said and what is refused when a twin is opened, or before it acts."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.errors import (
    BadConfig,
    BadFile,
    NotSupported,
    OutOfRange,
    WrongType,
)
from aemtwin.formats.catalog import find_twin
from aemtwin.instruments.effects import registry
from aemtwin.instruments.identity import same_instrument
from aemtwin.instruments.opening import open_twin


def notices(twin):
    return " ".join(twin.describe().identity["notices"])


def middle(twin):
    (x0, x1), (y0, y1) = twin.describe().bounds
    return (x0 + x1) / 2, (y0 + y1) / 2


@pytest.mark.parametrize("effects", ["all", "drift", {"drift": {}}, ["drift"]])
def test_effects_of_an_ideal_twin_are_refused(effects):
    with pytest.raises(BadConfig, match="ideal = True and effects"):
        open_twin("pfm_loops", ideal=True, effects=effects)


def test_an_ideal_twin_may_be_told_that_it_has_none():
    for effects in ("none", "default", None, {}, []):
        twin = open_twin("pfm_loops", ideal=True, effects=effects)
        assert twin.describe().identity["effects"] == {}


@pytest.mark.parametrize("effects", ["pickup", {"pickup": {}}])
def test_an_effect_that_does_nothing_says_so(effects):
    plain = find_twin("pfm_loops").data
    twin = open_twin(plain, effects=effects)
    assert "effect pickup is on and does nothing" in notices(twin)
    twin = open_twin(plain, effects={"pickup": {"amplitude": {"topography": 1e-10}}})
    assert "does nothing" not in notices(twin)


def test_an_effect_that_the_specimen_cannot_show_says_why():
    plain = find_twin("stem_eels").data
    assert "no mode holds counts" in notices(open_twin(plain, effects="cosmics"))
    counted = open_twin(plain, counts={"eels": "expected"}, effects="cosmics")
    assert "does nothing" not in notices(counted)


def test_all_effects_that_a_shipped_twin_turns_on_act():
    for name in ("pfm_loops", "stem_4d", "stm_spectroscopy", "afm_topography"):
        assert "does nothing" not in notices(open_twin(name))


def test_an_array_that_calls_itself_counts_is_told_how_it_can_be_counted():
    plain = find_twin("stem_eels").data
    assert "--counts eels=expected" in notices(open_twin(plain))
    said = open_twin(plain, counts={"eels": "expected", "haadf": "expected"})
    assert "calls itself counts" not in notices(said)
    assert "calls itself counts" not in notices(open_twin("stem_eels"))


def test_the_noise_of_every_array_that_is_read_is_told():
    identity = open_twin("pfm_loops").describe().identity
    assert identity["noise_sd"]["loops"] == 1.5
    assert "offset" not in identity["noise_sd"]  # a map behind a computed mode
    assert open_twin("pfm_loops", ideal=True).describe().identity["noise_sd"] == {}


def test_what_is_said_for_people_makes_no_other_instrument():
    now = open_twin("pfm_loops").describe().identity
    was = {k: v for k, v in now.items() if k not in ("notices", "noise_sd")}
    assert same_instrument(was, now)
    assert not same_instrument({**was, "noise": {"loops": 2.0}}, now)


@pytest.mark.parametrize(
    ("name", "act", "said"),
    [
        ("stm_spectroscopy", lambda t: t.configure(bias_V=0), "carries no current"),
        (
            "stem_4d",
            lambda t: t.measure("diffraction", convergence_rad=0.09),
            "Lower the convergence",
        ),
    ],
)
def test_what_no_place_allows_is_refused_before_anything_happens(name, act, said):
    twin = open_twin(name)
    twin.move_to(middle(twin))
    before, digest = twin.events(), twin.state_hash()
    with pytest.raises(OutOfRange, match=said):
        act(twin)
    assert twin.events() == before
    assert twin.state_hash() == digest


def test_a_pulse_that_an_effect_would_bring_is_named():
    with pytest.raises(NotSupported, match="effects='writing'"):
        open_twin("pfm_loops").pulse("bias")
    assert open_twin("pfm_loops", effects="writing").describe().pulses


def test_two_numbers_for_one_position_are_a_clear_mistake():
    twin = open_twin("pfm_loops")
    with pytest.raises(WrongType, match=r"one position \(x, y\).*move_to\(\(1e-06, "):
        twin.move_to(1e-6, 1e-6)


def test_a_rotation_out_of_reach_says_that_it_is_in_radians():
    twin = open_twin("pfm_loops")
    with pytest.raises(OutOfRange, match=r"45 rad \(2578 degrees\).*in radians"):
        twin.scan(rotation=45.0)


def test_between_grid_points_whole_numbers_come_from_the_nearest(tmp_path):
    from aemtwin.formats.nsid import write_nsid
    from aemtwin.sample import StoredArray
    from aemtwin.specs import Axis

    axes = [Axis(n, "m", np.arange(3) * 1e-9, "Length", "spatial") for n in "yx"]
    energy = Axis("energy", "eV", np.arange(4.0), "Energy loss", "spectral")
    for dtype, said in (("i4", "nearest grid point"), ("f4", "are interpolated")):
        data = np.arange(36, dtype=dtype).reshape(3, 3, 4)
        array = StoredArray(
            "eels", "Intensity", "a.u.", data, (*axes, energy), {}, "SPECTRAL_IMAGE"
        )
        write_nsid(tmp_path / f"{dtype}.h5", [array])
        twin = open_twin(tmp_path / f"{dtype}.h5", ideal=True, kind="stem")
        twin.move_to((0.3e-9, 0.0))
        told = twin.measure("eels")
        assert any(said in one for one in told.info["notices"])
        np.testing.assert_allclose(
            told.values,
            data[0, 0] if dtype == "i4" else data[0, 0] + 4 * 0.3,
            rtol=1e-5,
        )


@pytest.mark.parametrize("ending", ["ibw", "dm3", "3DS", "wdf"])
def test_a_file_of_a_vendor_is_told_by_its_name(tmp_path, ending):
    path = tmp_path / f"scan.{ending}"
    path.write_bytes(b"\x00\x05" * 100)
    with pytest.raises(BadFile, match="SciFiReaders"):
        open_twin(path)


@pytest.mark.parametrize("name", registry.EFFECTS)
def test_every_effect_says_where_its_law_is_from(name):
    assert "\nSource: " in registry.details(name)
