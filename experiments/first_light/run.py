"""Run the campaign of this folder once a seed, each on a twin behind its own URI.

    python experiments/first_light/run.py --seeds 5

The seed is that of the decisions and of the twin's noise. Every run also measures a
random one on the same twin, after the same first points. `analysis.py` reads what is
written here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from aemtwin import config, runs

CAMPAIGN = Path(__file__).with_name("campaign.toml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="runs: seeds 0, 1, ...")
    parser.add_argument("--steps", type=int, help="instead of those of campaign.toml")
    parser.add_argument("--out", default="runs/first_light", help="folder for the runs")
    said = parser.parse_args()
    described = config.load(CAMPAIGN)
    for seed in range(said.seeds):
        changes = {
            "seed": seed,
            "twin": {**described.twin.model_dump(), "seed": seed},
            "steps": said.steps,
            "out": said.out,
        }
        done = runs.run(config=config.build(described.model_dump(), changes))
        found = done.scores["top_1_percent_found"]
        print(f"seed {seed}: {found:.0%} of the best 1 % found; {done.path}")


if __name__ == "__main__":
    main()
