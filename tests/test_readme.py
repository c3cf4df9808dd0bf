"""What the README tells people to type works as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (pip install -q uv && uv run .+)$", README, re.M)


def test_there_are_two_commands_and_ci_calls_the_second_word_for_word():
    assert COMMANDS == [
        "pip install -q uv && uv run aemtwin demo",
        "pip install -q uv && uv run pytest",
    ]
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert COMMANDS[1] in [line.strip() for line in lines]


def test_the_python_example_runs(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert "'value'" in done.stdout
    assert (tmp_path / "learning.png").is_file()


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists(), target


def test_the_commands_for_own_data_are_those_of_the_command_line(tmp_path):
    shown = subprocess.run(
        [sys.executable, "-m", "aemtwin", "run", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    for line in re.findall(r"^ *(?:[-+] )?(?:uv run )?aemtwin run (.+)$", README, re.M):
        for flag in re.findall(r"--\w+", line):
            assert flag in shown
