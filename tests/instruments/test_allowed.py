"""The limits of a server as a file states them, and what is refused of a file."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from aemtwin.errors import (
    AemtwinError,
    BadConfig,
    BadFile,
    OutOfRange,
    UnknownName,
    WrongType,
)
from aemtwin.instruments.allowed import NAMES, Allowed, read_allowed, stated

ALL = """
[allowed]
position = [[0.0, 1e-6], [0, 2e-6]]
rate_hz = 5
burst = 20
slew_m_s = 1e-5
slew_V_s = 100.0
bias_V = [-5, 5.5]
current_A = 1e-9
dose_per_operation = 1e6
dose = 1e9
bias_V_s = 1000.0
path_m = 0.5
operations = 100000
"""


def written(tmp_path, text):
    path = tmp_path / "limits.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_states_every_limit_and_what_is_told_states_the_same(tmp_path):
    found = read_allowed(written(tmp_path, ALL))
    assert found.position == ((0.0, 1e-6), (0.0, 2e-6))
    assert (found.bias_V, found.burst, found.dose) == ((-5.0, 5.5), 20, 1e9)
    assert tuple(found.told()) == NAMES
    assert stated(found.told()) == found
    assert read_allowed(written(tmp_path, "[allowed]")) == Allowed()


def test_a_burst_is_what_one_second_gives_unless_it_is_stated():
    assert [Allowed(rate_hz=r).at_once for r in (0.1, 1, 2.5)] == [1, 1, 3]
    assert Allowed(rate_hz=0.1, burst=7).at_once == 7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, True, "1", 10**400, [], {}, 1j],
    ids=["nan", "inf", "-inf", "bool", "text", "huge", "list", "table", "complex"],
)
def test_a_limit_that_is_no_finite_number_is_refused(name, value):
    pair = [0.0, value] if name == "bias_V" else value
    pair = [[0.0, value], [0.0, 1.0]] if name == "position" else pair
    for wrong in (value, pair):
        with pytest.raises(AemtwinError, match=name):
            stated({"rate_hz": 1.0, name: wrong})


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ({"bias_V": [1.0, -1.0]}, OutOfRange),
        ({"position": [[1.0, 0.0], [0.0, 1.0]]}, OutOfRange),
        ({"dose": -1.0}, OutOfRange),
        ({"rate_hz": 0}, OutOfRange),
        ({"burst": 0, "rate_hz": 1.0}, OutOfRange),
        ({"burst": 2}, BadConfig),
        ({"operations": 1.5}, WrongType),
    ],
)
def test_limits_that_make_no_sense_are_refused(table, kind):
    with pytest.raises(kind):
        stated(table)


def test_an_unknown_limit_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'bias_V_s'"):
        stated({"bias_Vs": 1.0})
    wrong = written(tmp_path, "[allowed]\ndos = 1.0")
    with pytest.raises(UnknownName, match=r"limits\.toml are wrong.*'dose'"):
        read_allowed(wrong)
    with pytest.raises(UnknownName, match="Did you mean 'allowed'"):
        read_allowed(written(tmp_path, "[allowed]\n[alowed]\ndose = 1.0"))


@pytest.mark.parametrize("text", ["dose = 1.0", "[allowed", "", "allowed = 3"])
def test_a_file_without_the_table_is_refused(tmp_path, text):
    with pytest.raises(BadFile, match="bias_V"):
        read_allowed(written(tmp_path, text))


def test_a_file_that_is_not_there_serves_nothing(tmp_path):
    with pytest.raises(BadFile, match="Nothing is served"):
        read_allowed(tmp_path / "none.toml")


def test_the_example_of_the_documentation_states_every_limit(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "channels.md"
    found = re.search(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert tuple(read_allowed(written(tmp_path, found[1])).told()) == NAMES
