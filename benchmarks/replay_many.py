"""The same requests in many processes: the same bits, and the same specimen after.

    python benchmarks/replay_many.py [--runs 100] [--twins pfm_loops stem_eels]

Each run is a fresh Python that opens the twin with all its effects on, performs the
same requests and prints the SHA-256 of every array it got and the hash of the state it
ends in. Told is how many runs agree with the first, and, within one process, how many
single operations have the noise alone that they had in the full run.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import subprocess
import sys

import numpy as np

import aemtwin
from aemtwin.instruments.twin import Twin


def perform(twin: Twin, only: int | None = None) -> list[str]:
    """Perform twelve requests, or the one of that number; return the hash of each."""
    bounds = np.array(twin.describe().bounds)
    modes = [mode.name for mode in twin.describe().modes]
    found = []
    for i in range(12):
        if only not in (None, i):
            continue
        share = np.array([(i * 37 % 11) / 10, (i * 23 % 13) / 12])
        if i % 4 == 0:
            answer = twin.scan(shape=(16, 12), rid=f"replay/{i}/scan")
        else:
            at = bounds[:, 0] + share * np.diff(bounds, axis=1)[:, 0]
            twin.move_to(at, rid=f"replay/{i}/move")
            answer = twin.measure(modes[i % len(modes)], rid=f"replay/{i}/measure")
        digest = hashlib.sha256()
        for array in answer.arrays.values():
            digest.update(np.ascontiguousarray(array).tobytes())
        found.append(digest.hexdigest())
    return found


def alone(name: str) -> tuple[int, int]:
    """Return how many operations alone have the bits that they had among the others.

    Noise alone is on: what the specimen remembers is history, and is meant to be.
    """
    full = perform(aemtwin.open_twin(name, effects="none", seed=11))
    equal = sum(
        perform(aemtwin.open_twin(name, effects="none", seed=11), i) == [full[i]]
        for i in range(len(full))
    )
    return equal, len(full)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--twins", nargs="+", default=["pfm_loops", "stem_eels"])
    parser.add_argument("--once", default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        twin = aemtwin.open_twin(given.once, effects="all", seed=11)
        print(*perform(twin), twin.state_hash())
        return
    for name in given.twins:
        command = [sys.executable, __file__, "--once", name]
        told = [
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for _ in range(given.runs)
        ]
        same = collections.Counter(told)[told[0]]
        equal, of = alone(name)
        print(f"{name}: {same} of {given.runs} processes agree; {equal} of {of} alone")


if __name__ == "__main__":
    main()
