"""Scalarizers by name, by function and by text, and what they refuse."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from aemtwin import scalarizers
from aemtwin.errors import BadConfig, ShapeMismatch, UnknownName, WrongType
from aemtwin.measurement import Measurement
from aemtwin.scalarizers import registry
from aemtwin.scalarizers.built_in import require_turning
from aemtwin.specs import Axis


def measured(values, *axes, call="measure", units="counts") -> Measurement:
    return Measurement(
        call=call,
        mode="spectrum",
        arrays={"signal": np.asarray(values)},
        units={"signal": units},
        quantities={"signal": "Intensity"},
        axes=axes,
        asked=np.zeros(2),
        actual=np.zeros(2),
        time_s=(0.0, 1.0),
        dwell_s=1.0,
        dose=0.0,
        rid="run/0/measure",
    )


ENERGY = Axis("energy", "eV", np.linspace(1, 3, 21))
SPECTRUM = measured(4 - (ENERGY.values - 2.03) ** 2, ENERGY)
BIAS = Axis("bias", "V", np.array([-2.0, 2, 2, -2]))
LOOP = measured([-1.0, -1, 1, 1], BIAS, units="pm")


def brightest(measurement, floor=0.0):
    return max(float(measurement.values.max()), floor)


def needs_floor(measurement, floor):
    return floor


brightest.units = "counts"


def test_every_built_in_one_has_a_name_a_line_and_a_number_with_a_unit():
    loops = {"loop_area": "pm·V", "coercive_bias": "V", "imprint": "V"}
    loops |= {"switching": "pm", "pca": "pm"}
    spectra = {"band_intensity": "counts·eV", "band_ratio": "", "pca": "counts"}
    spectra |= {"peak_position": "eV", "peak_width": "eV"}
    spectra |= {"lowest": "counts", "highest": "counts", "clipped": "", "snr": ""}
    patterns = {"deflection": "rad", "deflection_x": "rad", "deflection_y": "rad"}
    patterns |= {"annular": "counts"}
    angles = [
        Axis(name, "rad", np.arange(3.0), "Angle", "reciprocal")
        for name in ("theta_y", "theta_x")
    ]
    disk = replace(SPECTRUM, arrays={SPECTRUM.name: np.eye(3)}, axes=tuple(angles))
    assert {*loops, *spectra, *patterns} == set(registry.BUILT_IN)
    for (name, unit), measurement in [
        *((pair, LOOP) for pair in loops.items()),
        *((pair, SPECTRUM) for pair in spectra.items()),
        *((pair, disk) for pair in patterns.items()),
    ]:
        params = {"low": 1.5} if name == "band_ratio" else {}
        scalarizer = scalarizers.get(name, **params)
        assert scalarizers.available()[name].endswith(".")
        assert scalarizer.name == name
        assert type(scalarizer(measurement)) is float
        assert scalarizer.units(measurement) == unit


def test_the_values_are_those_of_the_plain_functions():
    assert scalarizers.get("loop_area")(LOOP) == 8.0
    assert scalarizers.get("coercive_bias")(LOOP) == 2.0
    assert scalarizers.get("imprint")(LOOP) == 0.0
    assert scalarizers.get("switching")(LOOP) == 2.0
    assert scalarizers.get("band_ratio", high=2, low2=2)(SPECTRUM) < 1.0
    peak = measured(np.maximum(0, 1 - np.abs(ENERGY.values - 2)), ENERGY)
    assert scalarizers.get("peak_width")(peak) == pytest.approx(1)
    assert scalarizers.get("peak_width", baseline=0.5)(peak) == pytest.approx(0.5)
    assert scalarizers.get("peak_position")(SPECTRUM) == pytest.approx(2.03)
    whole, band = (
        scalarizers.get("band_intensity", **edges)(SPECTRUM)
        for edges in ({}, {"low": 1.52, "high": 1.9})
    )
    expected = scalarizers.band_intensity(ENERGY.values, SPECTRUM.values, 1.52, 1.9)
    assert band == float(expected)
    assert whole > band


def test_text_function_and_keyword_give_the_same_scalarizer():
    by_keyword = scalarizers.get("band_intensity", low=1.5, high=2)
    assert scalarizers.get("band_intensity:low=1.5,high=2") == by_keyword
    assert scalarizers.get(str(by_keyword)) == by_keyword
    assert scalarizers.get(by_keyword) is by_keyword
    assert scalarizers.get(by_keyword, low=1.6).params == {"low": 1.6, "high": 2.0}
    assert scalarizers.get("band_intensity:low=none", high=2).params == {"high": 2.0}


def test_a_scalarizer_travels_to_another_process():
    scalarizer = scalarizers.get("band_intensity", low=1.5)
    assert pickle.loads(pickle.dumps(scalarizer)) == scalarizer


def test_the_line_of_a_built_in_one_ends_with_its_parameters():
    lines = scalarizers.available()
    assert lines["pca"].endswith(" (component=1, low, high).")
    assert lines["band_ratio"].endswith(" (low, high, low2, high2).")
    assert lines["peak_width"].endswith(" (low, high, baseline).")
    assert lines["loop_area"].endswith(", the work of switching.")


def test_the_factory_is_the_function_a_measurement_goes_in_first():
    for name in registry.BUILT_IN:
        takes = list(inspect.signature(registry.factory(name)).parameters)
        assert takes[0] == "measurement"
        assert inspect.getdoc(registry.factory(name))
    assert registry.factory("builtins:id") is id
    with pytest.raises(UnknownName, match="Did you mean 'loop_area'"):
        registry.factory("lop_area")
    with pytest.raises(BadConfig, match="not a function"):
        registry.factory("math:pi")


@pytest.mark.parametrize("name", ["loop_area", "coercive_bias", "imprint", "switching"])
def test_a_loop_is_not_sought_where_the_sweep_does_not_turn(name):
    require_turning(name, BIAS)
    with pytest.raises(BadConfig, match=f"{name} takes a loop, and 'energy' only goes"):
        require_turning(name, ENERGY)
    require_turning("pca", ENERGY)


def test_any_function_of_a_measurement_serves():
    scalarizer = scalarizers.get(brightest, floor=9)
    assert scalarizer(SPECTRUM) == 9.0
    assert scalarizer.units(SPECTRUM) == "counts"
    assert scalarizer.name.endswith(":brightest")
    assert scalarizers.get(scalarizer, floor=1)(SPECTRUM) == pytest.approx(4, abs=1e-2)
    assert scalarizers.get(lambda m: 1).units(SPECTRUM) == ""


def test_a_function_may_tell_its_unit_from_the_measurement():
    def first(measurement):
        return measurement.values[0]

    first.units = lambda measurement: measurement.units["signal"]
    assert scalarizers.get(first).units(LOOP) == "pm"


def test_a_function_is_found_by_module_and_name_also_with_parameters():
    assert scalarizers.get("builtins:id").function is id
    found = scalarizers.get("aemtwin.scalarizers.built_in:_band_intensity:low=1.5")
    assert found.params == {"low": 1.5}
    assert found.name == "aemtwin.scalarizers.built_in:_band_intensity"


def test_plugins_are_listed_unread_and_loaded_when_asked_for(monkeypatch):
    plugin = EntryPoint("mine", "aemtwin.scalarizers.built_in:_loop_area", "-")
    broken = EntryPoint("broken", "no_such_module:function", "-")
    monkeypatch.setattr(registry, "entry_points", lambda group: (plugin, broken))
    assert scalarizers.available()["broken"] == "A plugin, no_such_module:function."
    assert scalarizers.get("mine")(LOOP) == 8.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lop_area", "Did you mean 'loop_area'"),
        ("no_such_module:function", "No module named"),
        ("math:no_such_function", "no attribute"),
        ("", "allowed: annular"),
    ],
)
def test_an_unknown_name_is_told_what_there_is(name, message):
    with pytest.raises(UnknownName, match=message):
        scalarizers.get(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("band_intensity:hihg=2", r"'hihg'; it takes low, high. Did you mean 'high'"),
        ("loop_area:low=2", "it takes none"),
        ("band_intensity:low=x", "low = 'x'; it takes a finite number"),
        ("band_intensity:low=true", "finite number"),
        ("band_intensity:low=nan", "finite number"),
        ("band_intensity:low=2,high=1", "low must be below high"),
        ("band_intensity:low=2,high", "key=value"),
        ("band_intensity:low=2,low=3", "no key twice"),
        ("math:pi", "not a function"),
        ("band_ratio", "twice the same band"),
        ("band_ratio:low=1,high=2,low2=1,high2=2", "twice the same band"),
        ("band_ratio:low=1,low2=3,high2=2", "low2 must be below high2"),
        ("peak_width:baseline=x", "baseline = 'x'; it takes .* unit of the spectrum"),
        ("pca:component=0", "component = 0; it takes .* from 1 up, whole"),
        ("pca:component=1.5", "component = 1.5"),
        ("pca:component=none", "component = None"),
        ("pca:component=true", "component = True"),
        ("pca:component=inf", "component = inf"),
        ("pca:low=2,high=1", "low must be below high"),
    ],
)
def test_wrong_parameters_are_refused_in_a_sentence(text, message):
    with pytest.raises(BadConfig, match=message):
        scalarizers.get(text)


def test_parameters_of_a_function_are_held_against_its_signature():
    with pytest.raises(
        BadConfig, match=r"'flor'; it takes floor\. Did you mean 'floor'"
    ):
        scalarizers.get(brightest, flor=1)
    with pytest.raises(BadConfig, match="not given floor"):
        scalarizers.get(needs_floor)


@pytest.mark.parametrize(
    "value", [True, np.True_, 1j, np.ones(1), np.array(1.0), "1", None]
)
def test_a_result_that_is_not_a_real_number_is_refused(value):
    with pytest.raises(WrongType, match="must return one real number"):
        scalarizers.get(lambda m: value)(SPECTRUM)


@pytest.mark.parametrize("value", [1, np.float32(1), np.int64(1)])
def test_real_numbers_of_every_kind_become_a_float(value):
    assert scalarizers.get(lambda m: value)(SPECTRUM) == 1.0


def test_nan_says_that_there_is_no_number():
    flat = measured(np.zeros(4), BIAS)
    assert np.isnan(scalarizers.get("coercive_bias")(flat))


def test_only_one_spectrum_at_a_time_is_taken():
    cycle = Axis("cycle", "", np.arange(2.0))
    with pytest.raises(ShapeMismatch, match=r"'signal' of shape \(2, 4\) \(cycle 2"):
        scalarizers.get("loop_area")(measured(np.zeros((2, 4)), cycle, BIAS))
    once = Axis("cycle", "", np.arange(1.0))
    assert scalarizers.get("loop_area")(measured([[-1.0, -1, 1, 1]], once, BIAS)) == 8
    with pytest.raises(ShapeMismatch):
        scalarizers.get("loop_area")(measured(1.0))


def test_a_frame_is_not_a_spectrum():
    with pytest.raises(WrongType, match="result of 'scan'"):
        scalarizers.get("loop_area")(measured(np.zeros(4), BIAS, call="scan"))


def test_something_that_is_neither_name_nor_function_is_refused():
    with pytest.raises(WrongType, match="takes a name"):
        scalarizers.get(3)


class Excess:
    """How far the highest sample lies above the mean of all those measured so far."""

    units = "counts"

    def __init__(self, mean=float("nan")):
        self.mean = mean

    def __call__(self, measurement, factor=1.0):
        return factor * float(measurement.values.max() - self.mean)

    def fit(self, measurements, factor=1.0):
        tops = [float(m.values.max()) for m in measurements]
        made = Excess(float(np.mean(tops)))
        return lambda measurement: made(measurement, factor)


excess = Excess()


def test_only_what_has_a_fit_learns():
    for name in registry.BUILT_IN:
        params = {"low": 1} if name == "band_ratio" else {}
        scalarizer = scalarizers.get(name, **params)
        assert scalarizer.learns == (name == "pca")
        if not scalarizer.learns:
            assert scalarizer.fit([SPECTRUM]) is scalarizer
            assert scalarizer.settled() is scalarizer
    assert not scalarizers.get(brightest).learns
    assert isinstance(excess, scalarizers.Learner)
    assert not isinstance(brightest, scalarizers.Learner)


def test_an_own_object_is_learned_from_what_was_measured():
    scalarizer = scalarizers.get(excess, factor=2)
    assert scalarizer.learns
    assert scalarizer.name == "Excess"
    assert scalarizer.units(SPECTRUM) == "counts"
    assert np.isnan(scalarizer(SPECTRUM))
    brighter = measured(SPECTRUM.values + 2, ENERGY)
    learned = scalarizer.fit([SPECTRUM, brighter])
    assert [learned(SPECTRUM), learned(brighter)] == pytest.approx([-2, 2])
    assert learned.learns
    assert learned.units(SPECTRUM) == "counts"
    assert np.isnan(scalarizer(SPECTRUM))  # as it was
    assert learned.fit([brighter])(brighter) == 0.0
    assert np.isnan(learned.fit([])(brighter))


def test_what_is_settled_learns_no_more():
    final = scalarizers.get("pca").fit(three_spectra()).settled()
    assert not final.learns
    assert final.fit(three_spectra()[:2]) is final
    assert np.isfinite(final(SPECTRUM))
    assert final.settled() is final
    assert str(final) == "pca"


def three_spectra():
    return [measured(factor * SPECTRUM.values, ENERGY) for factor in (1.0, 2, 4)]


def test_a_fit_must_return_a_function_and_take_the_parameters():
    class Wrong:
        def __call__(self, measurement, floor=0.0):
            return floor

        def fit(self, measurements):
            return 3.0

    with pytest.raises(WrongType, match=r"fit of the scalarizer Wrong .* float 3\.0"):
        scalarizers.get(Wrong()).fit([SPECTRUM])
    with pytest.raises(BadConfig, match="got the parameter 'floor'; it takes none"):
        scalarizers.get(Wrong(), floor=1.0)
    with pytest.raises(BadConfig, match="a class that learns; it takes an object"):
        scalarizers.get(Excess)


def test_a_learner_is_found_by_module_and_name():
    found = scalarizers.get(f"{__name__}:excess:factor=3")
    assert found.function is excess
    assert found.learns
    assert scalarizers.get(str(found)) == found
