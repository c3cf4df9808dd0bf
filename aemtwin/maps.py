"""What a belief leaves in a run folder, and what a resumed run takes up from there.

`maps/<seq_num>.npz` has mean, sd and scores of the belief on which a measurement was
decided, the whole batch where it decided on several, and what the surrogate carries
from one fit to the next, without which a resumed run would not be the same bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aemtwin.decisions import Belief
from aemtwin.journal import Journal, load_maps
from aemtwin.surrogates.base import Surrogate

KEEP_ALL = 2**14  # candidates up to which the maps of every step are kept
CARRY = "carry_"


def save(
    journal: Journal, surrogate: Surrogate, belief: Belief, seq_num: int, name: str = ""
) -> None:
    """Keep a belief, durably, under the number of the measurement or a name."""
    carried = surrogate.carry(belief.learned)
    maps = {
        "mean": belief.mean,
        "sd": belief.sd,
        "acquisition": belief.scores,
        "seq_num": np.array(seq_num),
        **{f"{CARRY}{key}": value for key, value in carried.items()},
    }
    if len(belief.batch) > 1:
        maps["batch"] = np.array(belief.batch)
    if belief.others is not None:
        maps |= {"others_mean": belief.others.mean, "others_sd": belief.others.sd}
    if belief.latent is not None:
        maps["latent"] = belief.latent
    journal.save_maps(name or f"{seq_num:06d}", maps)


def prune(journal: Journal, seq_num: int, candidates: int) -> None:
    """Of large maps keep the last two: what resuming and looking need."""
    if candidates <= KEEP_ALL:
        return
    there = sorted((journal.folder / "maps").glob("[0-9]*.npz"))
    for old in [path for path in there if int(path.stem) <= seq_num][:-2]:
        old.unlink(missing_ok=True)


def taken_up(
    journal: Journal, surrogate: Surrogate, d: int, done: int, batch: int = 1
) -> tuple[Any, tuple[int, ...]]:
    """Return what the surrogate had learned, and what was decided and is not measured.

    Args:
        journal: Of the run.
        surrogate: Which `init`s and `restore`s.
        d: Its input dimensions.
        done: Measurements on record.
        batch: The most candidates that one belief decides on.
    """
    for seq_num in range(done, max(0, done - batch), -1):
        maps = load_maps(journal.folder, f"{seq_num:06d}")
        if maps is None:
            continue
        carried = {
            key.removeprefix(CARRY): value
            for key, value in maps.items()
            if key.startswith(CARRY)
        }
        learned = surrogate.restore(carried, d) if carried else surrogate.init(d)
        left = maps.get("batch", np.zeros(0, np.int64))[1 + done - seq_num :]
        return learned, tuple(int(index) for index in left)
    return surrogate.init(d), ()
