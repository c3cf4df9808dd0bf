"""Plugins by entry point, read from real packages on the path, good and broken."""

import importlib
import logging
import math
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import aemtwin
from aemtwin import acquisition, listing, plugins, scalarizers, surrogates
from aemtwin.errors import BadConfig, MissingExtra, UnknownName
from aemtwin.surrogates.base import Surrogate, pad
from aemtwin.testing import sources
from tests.small import small_twin

KINDS = {  # entry point group -> who reads it, what it calls one, a built-in
    "aemtwin.surrogates": (surrogates, "surrogate", "gp"),
    "aemtwin.acquisitions": (acquisition, "acquisition", "ucb"),
    "aemtwin.scalarizers": (scalarizers, "scalarizer", "loop_area"),
}
MODULE = """
class Mine:
    def __init__(self, depth=3):
        self.depth = depth

def brightest(measurement, floor=0.0):
    return floor

number = 7
"""

PROJECT = """
[project]
name = "my-lab-surrogate"
version = "1.0"

[project.entry-points."aemtwin.surrogates"]
nearest = "my_lab_surrogate:Nearest"

[build-system]
requires = ["uv_build"]
build-backend = "uv_build"

[tool.uv.build-backend]
module-root = ""
"""
PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
(SURROGATE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(params=KINDS)
def group(request):
    return request.param


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package of that name with those lines of entry points on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(package, entry_points, *, metadata=True):
        module = f"{package.replace('-', '_')}_module"
        (tmp_path / f"{module}.py").write_text(MODULE)
        monkeypatch.delitem(sys.modules, module, raising=False)
        folder = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        if metadata:
            text = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
            (folder / "METADATA").write_text(text)
        (folder / "entry_points.txt").write_text(entry_points)
        return module

    yield add
    for name in [name for name in sys.modules if name.endswith("_module")]:
        sys.modules.pop(name)


def value(module, group):
    return f"{module}:{'brightest' if 'scalarizers' in group else 'Mine'}"


def test_a_plugin_is_listed_unread_and_made_when_asked_for(group, install):
    home, _, built_in = KINDS[group]
    target = value("my_lab_module", group)
    module = install("my-lab", f"[{group}]\nmine = {target}\n")
    line = home.available()["mine"]
    assert line == f"A plugin, {target} of my-lab."
    assert built_in in home.available()
    assert module not in sys.modules
    made = home.get("mine")
    assert isinstance(sys.modules[module], ModuleType)
    name = made.function.__name__ if "scalar" in group else type(made).__name__
    assert name == target.split(":")[1]


def test_a_plugin_gets_its_parameters_and_refuses_others(group, install):
    home, what, _ = KINDS[group]
    install("my-lab", f"[{group}]\nmine = {value('my_lab_module', group)}\n")
    key = "floor" if "scalar" in group else "depth"
    made = home.get("mine", **{key: 5})
    assert (made.params[key] if "scalar" in group else made.depth) == 5
    with pytest.raises(
        BadConfig, match=f"{what} mine got the parameter '{key}s'.*mean '{key}'"
    ):
        home.get("mine", **{f"{key}s": 5})


def test_a_built_in_hides_a_plugin_of_its_name(group, install):
    home, _, built_in = KINDS[group]
    line, ours = home.available()[built_in], home.get(built_in)
    install("my-lab", f"[{group}]\n{built_in} = {value('my_lab_module', group)}\n")
    assert home.available()[built_in] == line
    assert home.get(built_in) == ours


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module_at_all:Mine", "ModuleNotFoundError: No module named"),
        ("my_lab_module:no_such_name", "AttributeError"),
        ("not a place", "could not be imported"),
    ],
)
def test_a_broken_plugin_is_listed_and_tells_its_package_when_asked_for(
    group, install, target, reason
):
    home, _, built_in = KINDS[group]
    install("my-lab", f"[{group}]\nbroken = {target}\n")
    assert {"broken", built_in} <= set(home.available())
    home.get(built_in)
    with pytest.raises(MissingExtra, match=f"{target} of my-lab.*{reason}"):
        home.get("broken")


@pytest.mark.parametrize("metadata", [True, False])
def test_a_package_with_a_malformed_file_hides_no_other(
    group, install, metadata, caplog
):
    home, _, built_in = KINDS[group]
    install("my-lab", f"[{group}]\nmine = {value('my_lab_module', group)}\n")
    install("bad-lab", f"[{group}]\nno equals sign\n", metadata=metadata)
    with caplog.at_level(logging.WARNING):
        assert {"mine", built_in} <= set(home.available())
    home.get("mine")


def test_a_package_without_metadata_is_listed_all_the_same(group, install):
    home, _, _ = KINDS[group]
    target = value("my_lab_module", group)
    install("my-lab", f"[{group}]\nmine = {target}\n", metadata=False)
    assert home.available()["mine"].startswith(f"A plugin, {target}")


def test_an_unknown_name_is_told_the_nearest_plugin(group, install):
    home, _, _ = KINDS[group]
    install("my-lab", f"[{group}]\nimprint_map = {value('my_lab_module', group)}\n")
    with pytest.raises(UnknownName, match="Did you mean 'imprint_map'"):
        home.get("imprint_mop")


def test_of_two_plugins_with_one_name_the_first_counts_everywhere(group, monkeypatch):
    points = [
        plugins.EntryPoint("mine", f"{name}_module:Mine", group)
        for name in ("one", "two")
    ]
    assert "one_module" in plugins.listing({}, points)["mine"]
    assert plugins.by_name(points)["mine"] is points[0]


@pytest.mark.parametrize("group", list(KINDS)[:2])
def test_an_entry_point_that_names_no_factory_is_refused(group, install):
    home, what, _ = KINDS[group]
    install("my-lab", f"[{group}]\nmine = my_lab_module:number\n")
    with pytest.raises(BadConfig, match=f"{what} 'mine' stands for 7"):
        home.get("mine")


def test_a_parameter_that_is_needed_is_asked_for():
    def needs(measurement, floor, *, top=1.0, **rest):
        return floor

    with pytest.raises(BadConfig, match="not given floor; it takes floor, top"):
        plugins.require_params("scalarizer", "needs", needs, {"more": 1}, given=1)
    plugins.require_params("scalarizer", "needs", needs, {"floor": 1, "x": 2}, given=1)
    plugins.require_params("scalarizer", "print", dict.fromkeys, {}, given=1)


def test_reading_plugins_imports_neither_numpy_nor_jax():
    code = (
        "import sys, aemtwin.plugins as p; p.entry_points('aemtwin.surrogates');"
        "print({'numpy', 'jax'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "set()"


def write_project(folder):
    """Write the source of the package my-lab-surrogate, as its author has it."""
    (folder / "my_lab_surrogate").mkdir(parents=True)
    (folder / "my_lab_surrogate" / "__init__.py").write_text(SURROGATE)
    (folder / "pyproject.toml").write_text(PROJECT)


@contextmanager
def lab_installed(folder):
    """Put the package on the path, as an installer would write it; forget it after."""
    write_project(folder)
    info = folder / "my_lab_surrogate-1.0.dist-info"
    info.mkdir()
    text = "Metadata-Version: 2.1\nName: my-lab-surrogate\nVersion: 1.0\n"
    (info / "METADATA").write_text(text)
    points = "[aemtwin.surrogates]\nnearest = my_lab_surrogate:Nearest\n"
    (info / "entry_points.txt").write_text(points)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        try:
            yield folder
        finally:
            sys.modules.pop("my_lab_surrogate", None)
    importlib.invalidate_caches()


LINE = "A plugin, my_lab_surrogate:Nearest of my-lab-surrogate."


def test_a_surrogate_of_thirty_lines_is_listed_by_its_name(tmp_path):
    with lab_installed(tmp_path):
        assert listing.sections("surrogates")["surrogates"]["nearest"] == LINE
        assert "my_lab_surrogate" not in sys.modules
        told = listing.details("surrogates", "nearest")
        assert told.startswith("nearest:reach=0.2\n\nThe value of the nearest point")
    assert "nearest" not in surrogates.available()


def test_a_surrogate_of_thirty_lines_is_one_by_the_contract(tmp_path):
    with lab_installed(tmp_path):
        nearest = surrogates.get("nearest", reach=0.5)
        assert isinstance(nearest, Surrogate)
        X = np.array([[0.0, 0.0], [1.0, 1.0]])
        learned, info = nearest.fit(None, nearest.init(2), pad(X, [3.0, 5.0]))
        assert info == {"finite": 1}
        mean, variance = nearest.predict(None, learned, [*X, [0.9, 0.9]])
        assert mean.tolist() == [3.0, 5.0, 5.0]
        assert variance[2] > variance[1] == 0


@pytest.mark.parametrize("source", ["nearest", "my_lab_surrogate:Nearest:reach=0.5"])
def test_the_surrogate_of_the_page_keeps_the_laws_as_the_page_says(tmp_path, source):
    with lab_installed(tmp_path):
        failed = []
        lines = list(sources.lines(sources.check_source(source), failed))
    assert failed == []
    (told,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    shown = [line for line in told.splitlines() if line != "  ..."]
    assert [line for line in lines if line in shown] == shown


@pytest.mark.parametrize("acquisition", ["log_ei", "ucb:beta=3"])
def test_a_campaign_runs_with_the_surrogate_of_a_lab(tmp_path, acquisition):
    with lab_installed(tmp_path / "site"):
        run = aemtwin.run(
            small_twin(),
            surrogate="nearest:reach=0.3",
            acquisition=acquisition,
            first=4,
            steps=4,
            candidates=(6, 5),
            seed=2,
            out=str(tmp_path / "runs"),
        )
    assert len({row["index"] for row in run.table()}) == 8
    assert np.isfinite(run.posterior()["mean"]).all()
    method = f"nearest + {acquisition.partition(':')[0]}"
    assert [row["method"] for row in run.record.scores["rows"]] == [method, "random"]
    for row in run.record.scores["rows"]:
        numbers = [number for key, number in row.items() if key != "method"]
        assert all(number is not None and math.isfinite(number) for number in numbers)
    assert "nearest" not in surrogates.available()


@pytest.mark.slow
def test_a_surrogate_that_was_really_installed_runs_from_the_command_line(tmp_path):
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed: nothing to install a package with")
    project, site = tmp_path / "project", tmp_path / "site"
    write_project(project)
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}

    def call(*words):
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    install = ("pip", "install", "--offline", "--no-deps", "--target", str(site))
    call(uv, *install, "--python", sys.executable, str(project))
    aem = sys.executable, "-m", "aemtwin"
    assert LINE in " ".join(call(*aem, "list", "surrogates").split())
    short = ("--first", "4", "--steps", "3", "--out", "runs")
    call(*aem, "run", "--twin", "pfm_loops", "--surrogate", "nearest", *short)
    (run,) = (aemtwin.Run(folder) for folder in (tmp_path / "runs").iterdir())
    assert len(run.table()) == 7
    assert run.record.scores["rows"][0]["method"].startswith("nearest + ")
    assert math.isfinite(run.scores["rmse"])
