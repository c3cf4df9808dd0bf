"""One model behind flags, TOML and Python; what is wrong is said by key and value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aemtwin.choices import input_channels, surrogate_params
from aemtwin.config import (
    CampaignConfig,
    build,
    load,
    seeded,
)
from aemtwin.errors import BadConfig, UnknownName
from tests.small import small_twin


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
        ({"inputs": {"sise": 8}}, r"'inputs.sise'.*Did you mean 'size'"),
        ({"inputs": {"scales": [1, 1]}}, "none of them twice"),
        ({"inputs": {"border": "crop"}}, "inputs.border = 'crop' is not allowed"),
        ({"twin": {"source": "a", "calibrate": {"x": "3"}}}, "x=0.39nm/px"),
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


def test_a_length_may_be_written_as_on_the_command_line(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        '[twin]\nsource = "a.h5"\n'
        'calibrate = { x = "0.39nm/SI px", y = ["px", 1e-9] }\n'
    )
    lengths = load(path).twin.calibrate
    assert lengths == {"x": ("SI px", pytest.approx(0.39e-9)), "y": ("px", 1e-9)}
    again = tmp_path / "again.toml"
    again.write_text(load(path).to_toml())
    assert load(again) == load(path)


def test_what_a_flag_says_of_the_inputs_leaves_the_rest_of_them(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[inputs]\nsize = 6\nscales = [1, 3]\n")
    inputs = load(path, {"inputs": {"channels": ["height"]}}).inputs
    assert (inputs.size, inputs.scales, inputs.channels) == (6, (1, 3), ("height",))


def channels(*derived: str):
    spec = small_twin().describe()
    told = zip(spec.channels, derived, strict=True)
    return replace(spec, channels=tuple(replace(c, derived=d) for c, d in told))


def test_images_computed_from_the_spectra_are_no_input_unless_that_is_said():
    spec = channels("", "mean over bias")
    dkl = {"surrogate": "dkl"}
    assert input_channels(spec, build(dkl), patches=True) == ("height",)
    named = {**dkl, "inputs": {"channels": ["counts"]}}
    with pytest.raises(BadConfig, match=r"computed from the spectra \(mean over bias"):
        input_channels(spec, build(named), patches=True)
    leaky = {**dkl, "inputs": {"channels": ["counts"], "leaky": True}}
    assert input_channels(spec, build(leaky), patches=True) == ("counts",)
    every = {**dkl, "inputs": {"leaky": True}}
    assert input_channels(spec, build(every), patches=True) == ("height", "counts")


def test_a_surrogate_that_sees_no_images_refuses_them_by_name():
    spec = channels("", "")
    assert input_channels(spec, build({}), patches=False) == ()
    with pytest.raises(BadConfig, match="The surrogate gp learns from positions"):
        input_channels(spec, build({"inputs": {"channels": ["height"]}}), patches=False)
    with pytest.raises(UnknownName, match="Did you mean 'height'"):
        input_channels(spec, build({"inputs": {"channels": ["heigth"]}}), patches=True)


def test_a_file_for_a_source_that_is_a_variable_keeps_what_was_said_of_it(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[twin]\nsource = "$D/a.h5"\nkind = "stem"\nselect = "s"\n')
    twin = load(path, {"twin": {"source": "b.h5"}}).twin
    assert (twin.source, twin.kind, twin.select) == ("b.h5", "stem", "s")


@pytest.mark.parametrize("said", ["0nm/px", "2m/px", ["px", 0.0], ["px", -1e-9]])
def test_a_length_is_longer_than_nothing(said):
    with pytest.raises(BadConfig, match=r"longer than nothing|longer\nthan nothing"):
        build({"twin": {"source": "a", "calibrate": {"x": said}}})


def test_dkl_is_told_the_size_of_its_patches_and_no_other():
    assert surrogate_params(build({"inputs": {"size": 6}})) == {}
    dkl = {"surrogate": "dkl", "inputs": {"size": 6}}
    assert surrogate_params(build(dkl)) == {"size": 6}
    assert surrogate_params(build({**dkl, "surrogate": "dkl:size=0"})) == {"size": 0}
    with pytest.raises(BadConfig, match=r"Set size in \[inputs\] alone"):
        surrogate_params(build({**dkl, "surrogate": "dkl:size=3"}))


def test_one_seed_is_that_of_decisions_and_of_noise():
    config = seeded(build({"twin": {"source": "a"}, "seed": 1}), 7)
    assert (config.seed, config.twin.seed) == (7, 7)
    assert seeded(build({"uri": "PYRO:b@c:1"}), 7).seed == 7


def test_the_defaults_are_those_of_the_first_experiment():
    config = CampaignConfig()
    assert (config.scalarizer.name, config.surrogate.name) == ("loop_area", "gp")
    assert (config.acquisition.name, config.first) == ("log_ei", 10)


def test_several_scalarizers_without_a_bound_are_written_and_read(tmp_path):
    names = ["pca:component=1,low=none", "pca:component=2"]
    said = build({"twin": {"source": "pfm_loops"}, "scalarizer": names})
    path = tmp_path / "campaign.toml"
    path.write_text(said.to_toml(), encoding="utf-8")
    assert [part.name for part in load(path).sought] == ["pca", "pca"]
