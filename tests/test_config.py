"""One model behind flags, TOML and Python; what is wrong is said by key and value."""

from __future__ import annotations

import pytest

from aemtwin.config import CampaignConfig, build, load
from aemtwin.errors import BadConfig


def test_what_is_written_is_what_is_read(tmp_path):
    config = build(
        {
            "twin": {"source": "a.h5", "calibrate": {"x": ["px", 0.5e-9]}},
            "scalarizer": "band_intensity:low=1.6,high=2",
            "candidates": [6, 5],
            "dwell_s": 0.1,
        }
    )
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    assert load(path) == config
    assert config.scalarizer.params == {"low": 1.6, "high": 2}
    assert config.twin.calibrate == {"x": ("px", 0.5e-9)}


def test_flags_win_over_the_file(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('steps = 5\nseed = 3\n[twin]\nsource = "pfm_loops"\n')
    config = load(path, {"steps": 7, "seed": None})
    assert (config.steps, config.seed, config.twin.source) == (7, 3, "pfm_loops")


def test_the_uri_alone_changes(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('steps = 5\n[twin]\nsource = "pfm_loops"\n')
    config = load(path, {"uri": "PYRO:Instrument_Server@127.0.0.1:9090"})
    assert config.twin is None
    assert config.model_copy(update={"uri": None, "twin": load(path).twin}) == load(
        path
    )


def test_another_twin_keeps_seed_and_ideal(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[twin]\nsource = "a"\nseed = 3\nideal = true\nselect = "s"\n')
    twin = load(path, {"twin": {"source": "b"}}).twin
    assert (twin.source, twin.seed, twin.ideal, twin.select) == ("b", 3, True, None)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"step": 5}, r"no key 'step'.*Did you mean 'steps'"),
        ({"twin": {"source": "a", "sed": 1}}, r"no key 'twin.sed'.*'seed'"),
        ({"surrogate": {"name": "gp", "parms": {}}}, r"'surrogate.parms'.*'params'"),
        ({"steps": -1}, "steps = -1 is not allowed"),
        ({"steps": "many"}, "steps = 'many' is not allowed"),
        ({"first": 0}, "first = 0 is not allowed"),
        ({"dwell_s": 0}, "dwell_s = 0 is not allowed"),
        ({"twin": {"source": "a"}, "uri": "PYRO:b"}, "a twin or a uri, not both"),
        ({"candidates": [0, 5]}, "each at least 1"),
        ({"twin": {}}, "twin.source"),
    ],
)
def test_what_is_wrong_is_named(said, message):
    with pytest.raises(BadConfig, match=message):
        build(said)


def test_a_file_that_is_no_toml_is_said(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("steps = \n")
    with pytest.raises(BadConfig, match="cannot be read as a campaign"):
        load(path)
    with pytest.raises(BadConfig, match="cannot be read as a campaign"):
        load(tmp_path / "nothing.toml")


def test_the_defaults_are_the_demo():
    config = CampaignConfig()
    assert (config.scalarizer.name, config.surrogate.name) == ("loop_area", "gp")
    assert (config.acquisition.name, config.first) == ("log_ei", 10)
