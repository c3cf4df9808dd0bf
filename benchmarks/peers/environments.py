"""Environments of the peers, each with the versions that `NAME/requirements.txt` pins.

They are made once, under `.cache/peers/NAME`. Where one is not there and cannot be
made, `python_of` says why, and a comparison goes on without that peer. uv makes them,
but for torch: there pip alone finds the build for a CPU.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "peers"
BY_PIP = ("botorch",)
MODULES = {"gpax": "gpax", "botorch": "botorch", "gpcam": "gpcam"}  # what is imported


class Absent(Exception):
    """A peer that is not here; the message is the reason."""


def python_of(name: str, folder: Path = CACHE) -> Path:
    """Return the Python of a peer's environment, which is made if it is not there.

    Raises:
        Absent: If it cannot be made, or the peer cannot be imported in it.
    """
    home = folder / name
    python = home / "bin" / "python"
    if not python.exists():
        try:
            for command in makes(name, home):
                _do(command)
        except Absent:
            shutil.rmtree(home, ignore_errors=True)  # not half of one
            raise
    _do([str(python), "-c", f"import {MODULES.get(name, name)}"])
    return python


def makes(name: str, home: Path) -> list[list[str]]:
    """Return the commands that make an environment."""
    python, pins = str(home / "bin" / "python"), HERE / name / "requirements.txt"
    if not pins.is_file():
        raise Absent(f"there is no requirements.txt for {name}")
    if name in BY_PIP:
        pip = [python, "-m", "pip", "install", "--quiet", "-r", str(pins)]
        return [[sys.executable, "-m", "venv", str(home)], pip]
    uv = shutil.which("uv")
    if uv is None:
        raise Absent("uv, which makes its environment, is not installed")
    fill = [uv, "pip", "install", "--no-config", "--python", python, "-r", str(pins)]
    return [[uv, "venv", "--no-config", "--python", "3.11", str(home)], fill]


def _do(command: list[str]) -> None:
    """Run a command; the last line that it wrote is the reason where it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
    except OSError as error:
        raise Absent(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Absent(said[-1] if said else f"{command[0]} ended with {done.returncode}")
