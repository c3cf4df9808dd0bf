"""The project around the library: pins, names, versions, what may stand in a file."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

import aemtwin

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

FOLDERS = ("aemtwin", "twins", "experiments", "tests", "benchmarks", "paper", "docs")
FILES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "constraints.txt",
    ".gitignore",
)
EXTRAS = {
    *("learn", "nsid", "view", "readers", "usid", "study"),
    *("keys", "test", "docs", "all"),
}
TEST_COMMAND = "pip install -q uv && uv run pytest"

# Written in two parts, so that this file does not hold them itself.
HOSTS = re.compile(
    "|".join(
        (
            "py" + r"pi\.(org|io)",
            "python" + "hosted",
            "npm" + r"js\.",
            "debian" + r"\.(org|net)",
            "ubuntu" + r"\.com",
            "anaconda" + r"\.(org|com)",
            r"index[-_]url\s*=",
            r"--(extra-)?index-url\s",
        )
    ),
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(
    r"(?<![\w.}$)/-])/(home|root|work|workspace|Users|tmp|mnt|srv)/\w"
    r"|\b[A-Z]:\\Users\\"
)


@cache
def in_git() -> tuple[str, ...]:
    """What git has, or would have: tracked, and new files that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = _git(*command[1:])
    found = [name for name in done.stdout.split("\0") if (ROOT / name).is_file()]
    return tuple(sorted(set(found)))


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if "not a git repository" in done.stderr or "dubious ownership" in done.stderr:
        pytest.skip("this is not a git checkout")
    return done


def pinned_for_pip() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_pip_and_uv_have_the_same_pins():
    pins = PROJECT["tool"]["uv"]["constraint-dependencies"]
    assert pins == pinned_for_pip()
    assert all("==" in pin for pin in pins)


def test_every_dependency_is_pinned():
    def name(requirement: str) -> str:
        found = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert found is not None
        return re.sub(r"[-_.]+", "-", found[0]).lower()

    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(r for e in extras for r in e)]
    pinned = {name(pin) for pin in pinned_for_pip()}
    assert {name(r) for r in wanted} - {"aemtwin"} <= pinned


def test_the_lock_file_stays_out_of_git():
    assert _git("ls-files", "uv.lock").stdout == ""
    assert _git("check-ignore", "-q", "uv.lock").returncode == 0


def test_the_extras_are_those_of_the_design():
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras) == EXTRAS
    assert extras["all"] == [f"aemtwin[{','.join(k for k in extras if k != 'all')}]"]
    assert PROJECT["dependency-groups"]["dev"] == ["aemtwin[learn,nsid,view,keys,test]"]


def test_no_file_names_a_package_host_or_a_place_on_a_machine():
    wrong = []
    for name in in_git():
        text = (ROOT / name).read_bytes().decode("latin-1")
        for pattern in (HOSTS, MACHINE_PATH):
            if found := pattern.search(text):
                line = text.count("\n", 0, found.start()) + 1
                wrong.append(f"{name}, line {line}: {found[0]!r}")
    assert not wrong


def test_the_names_at_the_top_are_the_known_ones():
    top = {name.split("/")[0] for name in in_git()}
    assert top <= {*FOLDERS, *FILES, ".ci"}
    assert {*FOLDERS, *FILES, ".ci"} <= {path.name for path in ROOT.iterdir()}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_holds_something_or_says_what_belongs_there(folder):
    code = [p for p in (ROOT / folder).rglob("*.py") if p.stat().st_size > 100]
    readme = ROOT / folder / "README.md"
    assert code or readme.stat().st_size > 200
    assert folder == "aemtwin" or readme.is_file()


def test_the_version_is_the_same_everywhere():
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    said = re.search(r"^version: *\"?([^\"\n]+)", cited, re.MULTILINE)
    assert said is not None
    assert said[1] == aemtwin.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(aemtwin.__version__)}\b", changes, re.M)


@pytest.mark.parametrize(
    "path",
    [p for p in sorted((ROOT / "aemtwin").rglob("*.py")) if "_data" not in p.parts],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_module_says_what_it_is_for_and_stays_short(path):
    text = path.read_text(encoding="utf-8")
    told = ast.get_docstring(ast.parse(text))
    assert told, "it has no docstring"
    first = told.split("\n\n")[0]
    assert first.rstrip().endswith((".", ":")), "its first words are no sentence"
    assert text.count("\n") < 350, "it holds more than one idea"


def test_shipped_twins_are_small():
    data = (p for p in (ROOT / "twins").rglob("*") if p.is_file())
    assert not [
        f"{p.name}: {p.stat().st_size}" for p in data if p.stat().st_size > 2**20
    ]


def test_ci_runs_the_test_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    lines = [line.strip() for line in script.read_text(encoding="utf-8").splitlines()]
    assert TEST_COMMAND in lines
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert TEST_COMMAND in [line.strip() for line in readme]
    assert os.name == "nt" or os.access(script, os.X_OK)
