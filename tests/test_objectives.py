"""What several scalarizers make of a measurement, and which parts go together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aemtwin.campaign import Campaign
from aemtwin.config import build
from aemtwin.decisions import State
from aemtwin.errors import BadConfig
from aemtwin.journal import Journal
from aemtwin.objectives import Objectives, told_apart
from aemtwin.scalarizers import get
from aemtwin.values import Values
from tests.small import small_twin

TWO = {"scalarizer": ["loop_area", "imprint"], "surrogate": "multi_gp"}


def measurements(n):
    twin, found = small_twin(), []
    for i in range(n):
        twin.move_to((4e-7 * (i % 5) / 4, 1e-6 * (i // 5) / 5))
        found.append(twin.measure("loops"))
    return found


def told(folder, names, found):
    """Tell one measurement after the other; return what is known by then."""
    first, *_ = sought = [get(name) for name in names]
    objectives, state = Objectives(sought, Values(folder)), State()
    for i, one in enumerate(found):
        with Journal(folder) as journal:
            scalarizer, values, others = objectives.after(state, first, one)
            if one is not None:
                journal.save_spectrum(i + 1, one)
        indices = (*state.indices, i)
        state = State(indices, values, None, scalarizer, others=others)
    return objectives, state


def seldom(measurement):
    """A number that every second measurement of a loop lacks."""
    area = get("loop_area")(measurement)
    return area if int(area * 1e6) % 2 else math.nan


def test_a_measurement_that_lacks_one_number_counts_as_none(tmp_path):
    found = measurements(8)
    objectives, state = told(tmp_path, ["loop_area", seldom, "imprint"], found)
    lacks = np.isnan([seldom(one) for one in found])
    assert 0 < lacks.sum() < 8
    np.testing.assert_array_equal(np.isnan(state.values), lacks)
    rows = np.array(state.others.values)
    np.testing.assert_array_equal(np.isnan(rows), np.repeat(lacks[:, None], 2, 1))
    expected = [get("imprint")(one) for one in found]
    np.testing.assert_array_equal(rows[~lacks, 1], np.array(expected)[~lacks])
    notices = objectives.notices(found[-1], state.others)
    assert bool(notices) == lacks[-1]
    data = objectives.data(state.others)
    assert list(data) == ["value_2", "value_3"]
    assert (data["value_2"] is None) == lacks[-1]


def test_a_failed_spot_has_no_number_and_no_notice(tmp_path):
    objectives, state = told(tmp_path, ["loop_area", "imprint"], [None])
    assert np.isnan(state.values + state.others.values[0]).all()
    assert objectives.notices(None, state.others) == []


def test_what_is_learned_of_all_spectra_changes_earlier_numbers_of_all(tmp_path):
    found = measurements(6)
    names = ["loop_area", "pca:component=1", "pca:component=2"]
    _, state = told(tmp_path, names, found)
    np.testing.assert_array_equal(state.values, [get(names[0])(m) for m in found])
    for k, name in enumerate(names[1:]):
        learned = get(name).fit(found)
        column = [row[k] for row in state.others.values]
        np.testing.assert_array_equal(column, [learned(m) for m in found])
    again = Objectives([get(name) for name in names], Values(tmp_path))
    events = [{"data": {}}] * 6
    assert again.read(get(names[0]), events)[1:][0] == state.values
    assert again.read(get(names[0]), events)[2].values == state.others.values


def test_one_scalarizer_is_as_it_was(tmp_path):
    objectives, state = told(tmp_path, ["loop_area"], measurements(3))
    assert state.others == ((), ())
    assert objectives.data(state.others) == {}
    assert objectives.units(None) == []


def test_a_minus_before_a_name_seeks_low_values():
    (loop,) = measurements(1)
    low, high = get("-imprint"), get("imprint")
    assert low(loop) == -high(loop) != 0
    assert (str(low), low.units(loop)) == ("-imprint", high.units(loop))
    assert get("--imprint")(loop) == high(loop)
    both = [get("highest:high=2"), get("-highest:high=2")]
    assert both[0](loop) == -both[1](loop) == -get(both[1], high=2.0)(loop)
    learned = get("-pca").fit(measurements(5))
    assert learned(loop) == -get("pca").fit(measurements(5))(loop)
    assert get(get(f"-{__name__}:seldom")).sign == -1.0


def test_names_are_told_apart_by_parameters_alone_where_they_must_be():
    sought = [get("highest:high=2"), get("imprint"), get("highest:high=3")]
    assert told_apart(sought) == ("highest:high=2.0", "imprint", "highest:high=3.0")


def test_a_list_of_one_is_that_one_and_a_list_survives_its_file():
    assert build({"scalarizer": ["imprint"]}) == build({"scalarizer": "imprint"})
    config = build({"scalarizer": ["loop_area", "-highest:low=1,high=2"]})
    import tomllib

    assert build(tomllib.loads(config.to_toml())) == config
    assert [one.text for one in config.sought] == [
        "loop_area",
        "-highest:low=1,high=2",
    ]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"scalarizer": ["imprint", "imprint"]}, "twice"),
        ({"scalarizer": []}, "one scalarizer, or a list"),
        ({"scalarizer": ["imprint", {"nme": 1}]}, r"scalarizer\.1\.name"),
        ({"scalarizer": "loop_area", "acquisition": "ehvi"}, "2 to 3 scalarizers"),
        ({"scalarizer": "pca", "acquisition": "novelty"}, r"\[\"pca:component=1\""),
        ({**TWO, "acquisition": "log_ei"}, "seeks one number and got 2"),
        ({**TWO, "acquisition": "ehvi", "surrogate": "gp"}, "Choose multi_gp"),
        ({**TWO, "acquisition": "ehvi", "stop": "bounds"}, "watches one number"),
        ({**TWO, "scalarizer": ["loop_area", "imprint", "switching", "pca"],
          "acquisition": "ehvi"}, "2 to 3 scalarizers and got 4"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_before_anything_is_measured(
    tmp_path, said, why
):
    twin = small_twin()
    with pytest.raises(BadConfig, match=why), Journal(tmp_path) as journal:
        Campaign(twin, build(said), journal, "run")
    assert twin.ledger() == []
