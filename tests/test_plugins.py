"""Plugins by entry point, read from real packages on the path, good and broken."""

import logging
import subprocess
import sys
from types import ModuleType

import pytest

from aemtwin import acquisition, plugins, scalarizers, surrogates
from aemtwin.errors import BadConfig, MissingExtra, UnknownName

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
