"""Copy the pins of constraints.txt, which pip reads, into pyproject.toml, for uv.

Run it from anywhere, after `uv pip compile` (CONTRIBUTING.md has the command).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = re.compile(r"^constraint-dependencies = \[.*?^\]$", re.DOTALL | re.MULTILINE)


def renewed(project: str, constraints: str) -> str:
    """Return the text of pyproject.toml with the pins of constraints.txt."""
    lines = [line for line in constraints.splitlines() if line.strip()]
    pins = [line for line in lines if not line.startswith("#")]
    if wrong := [pin for pin in pins if "==" not in pin]:
        raise ValueError(f"constraints.txt has lines that pin nothing: {wrong}")
    quoted = (f"'{pin}'" if '"' in pin else f'"{pin}"' for pin in pins)
    body = (
        "constraint-dependencies = [\n" + "".join(f"    {p},\n" for p in quoted) + "]"
    )
    text, found = LIST.subn(lambda _: body, project)
    if found != 1:
        raise ValueError(f"pyproject.toml has {found} lists of pins, not one")
    return text


def main() -> None:
    """Write the pins; with --check, only say by the exit status whether they agree."""
    path = ROOT / "pyproject.toml"
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    text = renewed(path.read_text(encoding="utf-8"), constraints)
    if sys.argv[1:] == ["--check"]:
        sys.exit(text != path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
