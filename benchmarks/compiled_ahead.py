"""How long the loop is held up by compiling, where the next capacity is made ahead.

    python -m benchmarks.compiled_ahead [--surrogate gp] [--seconds 0.6]

A run on `pfm_loops` whose every measurement takes some time more, each with an empty
compilation cache: first without `aemtwin.ahead`, then with it. One JSON line each: fit
and decision, in wall seconds, of the steps after which data have outgrown a capacity.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

STEPS, HELD_UP_S = 60, 0.2  # what takes less is no compilation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surrogate", default="gp")
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--one", choices=("without", "with"), help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.one:
        held = steps(said.surrogate, said.seconds, ahead=said.one == "with")
        print(json.dumps({"ahead": said.one, "points and seconds": held}))
        return
    asked = ["--surrogate", said.surrogate, "--seconds", str(said.seconds)]
    command = [sys.executable, "-m", "benchmarks.compiled_ahead", *asked]
    for way in ("without", "with"):
        with tempfile.TemporaryDirectory() as cache:
            variables = {**os.environ, "AEMTWIN_CACHE": cache}
            subprocess.run([*command, "--one", way], env=variables, check=True)


def steps(surrogate: str, seconds: float, *, ahead: bool) -> list[tuple[int, float]]:
    """Make a run; return points and seconds of the steps that were held up."""
    import aemtwin
    import aemtwin.ahead

    class Slow:
        """A twin of which every measurement takes longer."""

        def __init__(self) -> None:
            self._twin = aemtwin.open_twin("pfm_loops")

        def __getattr__(self, name: str) -> Any:
            return getattr(self._twin, name)

        def measure(self, *args: Any, **kwargs: Any) -> Any:
            time.sleep(seconds)
            return self._twin.measure(*args, **kwargs)

    if not ahead:
        aemtwin.ahead.SLOW_S = float("inf")
    held: list[tuple[int, float]] = []

    def look(campaign: Any, state: Any, decision: Any) -> None:
        spent = sum(decision.timings[name] for name in ("fit_s", "decide_s"))
        if spent > HELD_UP_S:
            held.append((len(state.indices), round(spent, 2)))

    with tempfile.TemporaryDirectory() as out:
        aemtwin.run(Slow(), surrogate=surrogate, steps=STEPS, on_step=look, out=out)
    return held


if __name__ == "__main__":
    main()
