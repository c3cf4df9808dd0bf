"""The ten-line client, in an environment that holds Pyro4 and serpent alone."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

import aemtwin

CLIENT = Path(__file__).parents[2] / "experiments" / "plain_client" / "client.py"


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that finds Pyro4, serpent and the standard library."""
    home = tmp_path_factory.mktemp("bare")
    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(home)
    python = next(p for p in home.glob("*/python*") if p.stem == "python")
    where = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    for name in ("Pyro4", "serpent"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, Path(where.strip()) / name)
        else:
            shutil.copy(origin, where.strip())
    return python


def run(python: Path, *arguments: str) -> str:
    """Run it without what this process could lend to it, and return what it prints."""
    lent = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if k not in lent}
    done = subprocess.run(
        [str(python), *arguments],
        env=environment,
        cwd=python.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines_of_code(path: Path) -> set[int]:
    """The lines that statements cover; the docstring is none."""
    body = ast.parse(path.read_text(encoding="utf-8")).body[1:]
    return {line for s in body for line in range(s.lineno, (s.end_lineno or 0) + 1)}


@pytest.mark.parametrize("name", ["aemtwin", "numpy", "msgpack"])
def test_the_environment_has_nothing_of_ours(bare_python, name):
    code = f"import importlib.util as u; print(u.find_spec({name!r}))"
    assert run(bare_python, "-c", code).strip() == "None"


def test_the_client_has_ten_lines():
    assert len(lines_of_code(CLIENT)) <= 10


@pytest.mark.parametrize("ideal", [True, False])
def test_it_prints_the_spectrum_that_the_twin_gave(bare_python, ideal):
    twin = aemtwin.open_twin("pfm_loops", seed=7, ideal=ideal)
    with aemtwin.serve(twin) as server:
        units, *printed = run(bare_python, str(CLIENT), server.uri).split()
    values = np.array([float(text) for text in printed])
    middle = np.mean(twin.describe().bounds, axis=1)
    move, measure = twin.ledger()
    assert (move["call"], measure["call"]) == ("move_to", "measure")
    assert measure["actual"] == middle.tolist()
    assert units == twin.describe().mode().units
    truth = twin.truth(points=[middle]).values[0]
    assert values.shape == truth.shape
    if ideal:
        np.testing.assert_array_equal(values, truth)
    else:  # the same request on a twin of the same seed has the same noise
        again = aemtwin.open_twin("pfm_loops", seed=7)
        again.move_to(middle)
        gave = again.measure()  # the second call without an id, there and here
        np.testing.assert_array_equal(values, gave.values)
        assert not np.array_equal(values, truth)
