"""Effects by name: which are on, in which order, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.errors import BadFile, UnknownName
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.effects import base, registry
from aemtwin.instruments.effects.motion import Drift
from aemtwin.instruments.stem import STEM

HERE = "here"


def names(tables, said, kind=AFM):
    return [effect.name for effect in registry.chosen(tables, said, kind, HERE)]


def test_every_effect_is_found_says_what_it_does_and_has_its_name():
    for name, says in registry.names().items():
        assert registry.find(name).name == name
        assert says.endswith(".")
        made = base.make(registry.find(name), {}, HERE)
        assert base.stated(made).keys() == base.parameters(type(made)).keys()
        told = registry.details(name)
        assert all(f"  {key} = " in told for key in base.parameters(type(made)))


def test_effects_act_in_one_order_however_they_are_asked_for():
    order = list(registry.EFFECTS)
    asked = ["faults", "tip", "drift", "flicker", "creep"]
    want = [name for name in order if name in asked]
    assert names({}, asked) == want
    assert names({}, ",".join(asked)) == want
    assert names({}, {name: {} for name in asked}) == want
    assert names({"on": asked}, None) == want


def test_all_are_those_of_the_kind_and_none_is_none():
    assert names({}, "all") == registry.of_kind("afm")
    assert "tip" in names({}, "all")
    assert "optics" not in names({}, "all")
    assert "optics" in names({}, "all", STEM)
    assert "tip" not in names({}, "all", STEM)
    stated = {"on": ["creep"], "tip": {"radius_m": 1e-9}}
    assert names(stated, "all") == ["creep", "tip"]  # what the twin knows of
    assert names({**stated, "optics": {}}, "all") == ["creep", "tip"]
    assert names({"on": ["drift"]}, "none") == []
    assert names({"on": ["drift"]}, None) == ["drift"]
    assert names({}, None) == []
    assert names({"on": ["drift"]}, []) == []


def test_what_is_said_goes_before_the_tables_and_these_before_the_usual():
    tables = {"on": ["drift"], "tip": {"radius_m": 3e-8, "change": 0.5}}
    drift, tip = registry.chosen(tables, {"tip": {"change": 0.1}, "drift": {}}, AFM, "")
    assert (tip.radius_m, tip.change, tip.crash) == (3e-8, 0.1, 0.0)
    assert drift == Drift()


def test_numbers_of_numpy_are_numbers():
    said = {"drift": {"velocity_m_s": np.array([1e-11, 2e-11])}}
    said["tip"] = {"radius_m": np.float32(0.25), "wear_m2": np.int64(0)}
    with pytest.raises(BadFile, match="radius_m"):
        registry.chosen({}, said, AFM, HERE)
    said["tip"]["radius_m"] = np.float64(2e-9)
    drift, tip = registry.chosen({}, said, AFM, HERE)
    assert drift.velocity_m_s == (1e-11, 2e-11)
    assert type(drift.velocity_m_s[0]) is type(tip.wear_m2) is float


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ("wind", "wind"),
        (["drift", "wind"], "wind"),
        ({"wind": {}}, "wind"),
        ({"drift": {"speed": 1.0}}, "speed"),
        ("optics", "afm"),
        ("", "effect"),
        ("all,drift", "all"),
    ],
)
def test_what_there_is_not_is_refused_by_name(said, match):
    with pytest.raises(UnknownName, match=match):
        registry.chosen({}, said, AFM, HERE)


@pytest.mark.parametrize(
    "said",
    [
        3,
        [3],
        {"drift": 3},
        {"drift": {"velocity_m_s": 1e-11}},
        {"drift": {"velocity_m_s": [1e-11]}},
        {"drift": {"velocity_m_s": [[1e-11, 0.0]]}},
        {"drift": {"velocity_m_s": [1e-11, float("nan")]}},
        {"drift": {"velocity_m_s": [1.0, 0.0]}},
        {"tip": {"radius_m": -1e-9}},
        {"tip": {"radius_m": "10 nm"}},
        {"tip": {"radius_m": True}},
        {"tip": {"radius_m": float("inf")}},
        {"faults": {"stuck": 1.5}},
        {"flicker": {"density": 3.0}},
        {"flicker": {"density": {"height": -1.0}}},
        {"flicker": {"density": {"height": "loud"}}},
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(said):
    with pytest.raises(BadFile, match=r"takes|it is"):
        registry.chosen({}, said, AFM, HERE)


@pytest.mark.parametrize(
    ("tables", "error"),
    [
        ({"on": ["wind"]}, UnknownName),
        ({"on": 3}, BadFile),
        ({"wind": {}}, UnknownName),
        ({"drift": 3}, BadFile),
        ({"drift": {"speed": 1.0}}, UnknownName),
        ({"tip": {"radius_m": -1.0}}, BadFile),  # even where it is not on
    ],
)
def test_tables_of_a_twin_are_checked_whether_they_are_on_or_not(tables, error):
    with pytest.raises(error):
        registry.chosen(tables, None if "on" in tables else "none", AFM, HERE)


def test_a_twin_says_which_effects_are_on_and_with_what():
    said = {"tip": {"change": 0.1}, "drift": {"velocity_m_s": (2e-11, 1e-11)}}
    twin = aemtwin.open_twin("pfm_loops", effects=said)
    told = twin.describe().identity["effects"]
    assert list(told) == ["drift", "tip"]
    assert told["drift"] == {"velocity_m_s": [2e-11, 1e-11]}
    assert told["tip"]["change"] == 0.1
    assert aemtwin.open_twin("pfm_loops", effects="none").describe().identity[
        "effects"
    ] == {}  # fmt: skip
    with pytest.raises(UnknownName, match="wind"):
        aemtwin.open_twin("pfm_loops", effects="wind")
    with pytest.raises(UnknownName, match="optics"):
        aemtwin.open_twin("pfm_loops", effects="optics")


def test_an_effect_that_overrides_nothing_changes_nothing():
    effect = base.Effect()
    assert effect.digest() == ""
    assert effect.settings() == effect.pulses(None) == ()
    assert effect.notices(None) == []
