"""Calls by the hundred thousand over a network that does harm, and a long way apart.

    python -m benchmarks.network --calls 100000 --seed 0 --out .../network.json
    python -m benchmarks.network --apart 20

`tests/remote/conversation.py` is the machinery: about one fault in twelve frames, of
all kinds, by a seed. Four of five calls are an instrument's, whose exposures somebody
else counts; the others are a twin's, compared with one that is near. `--apart`: a
campaign of so many steps with 50 ms and 1 % loss between three processes
(`tests/remote/apart.py`), beside the same one near.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.remote.apart import through_a_proxy
from tests.remote.conversation import Found, with_a_twin, with_an_instrument

ROUND = 1000  # calls of one server, one plan and one client


def drill(calls: int, seed: int) -> dict[str, Any]:
    rounds: dict[str, list[Found]] = {"instrument": [], "twin": []}
    for k in range(calls // ROUND):
        with tempfile.TemporaryDirectory() as folder:
            if k % 5 < 4:
                found = with_an_instrument(ROUND, seed + k, Path(folder))
                rounds["instrument"].append(found)
            else:
                found = with_a_twin(ROUND, seed + k)
                rounds["twin"].append(found)
        print(k, found.calls, dict(found.struck), found.harm[:3], flush=True)
    return {kind: summary(found) for kind, found in rounds.items() if found}


def summary(rounds: list[Found]) -> dict[str, Any]:
    return {
        "calls": sum(found.calls for found in rounds),
        "faults": dict(sum((found.struck for found in rounds), Counter())),
        "exposed twice": sum(len(found.twice) for found in rounds),
        "wrong": [text for found in rounds for text in found.wrong],
        "errors": [text for found in rounds for text in found.errors],
        "longest call, s": round(max(found.longest_s for found in rounds), 2),
        "calls a second": round(
            sum(found.calls for found in rounds) / sum(found.took_s for found in rounds)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--apart", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    told: dict[str, Any] = {"seed": said.seed}
    if said.calls:
        told |= drill(said.calls, said.seed)
    if said.apart:
        with tempfile.TemporaryDirectory() as folder:
            told["apart"] = through_a_proxy(Path(folder), said.apart)
    text = json.dumps(told, indent=1)
    print(text)
    if said.out:
        said.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
