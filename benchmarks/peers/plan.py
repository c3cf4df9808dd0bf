"""What is compared with what: the cells of a comparison, and the ratios between them.

A cell is one process, ours or a peer's, on one task. Cells that follow each other are
measured one after the other, ours and the peers' in turn, so that the machine is the
same for all that a ratio compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

OURS = "aemtwin"
KINDS = ("steps", "budget", "bayes", "campaigns")
TASKS = ("coordinates", "patches")
FIRST, LAST = 20, 200  # points of a campaign


class Cell(NamedTuple):
    """One process."""

    what: str  # of KINDS
    who: str  # "aemtwin" or a peer
    model: str
    task: str  # "coordinates", pool 2500, or "patches", pool 1849
    n: tuple[int, ...] = ()
    repeat: int = 3
    against: str = ""  # "peer/model" whose evaluations ours shall spend
    cache: str = ""  # of a campaign: "empty", "filled"


STEPS: tuple[tuple[str, str, str, tuple[int, ...], int], ...] = (
    (OURS, "gp", "coordinates", (50, 100, 200), 5),
    ("gpax", "viGP", "coordinates", (50, 100, 200), 1),
    ("botorch", "SingleTaskGP", "coordinates", (50, 100, 200), 5),
    ("botorch", "SingleTaskGP warm", "coordinates", (50, 100, 200), 5),
    ("botorch", "SingleTaskGP plain", "coordinates", (50, 100, 200), 3),
    ("gpcam", "local", "coordinates", (50, 100, 200), 5),
    (OURS, "gp, 1 search", "coordinates", (50, 100, 200), 5),
    (OURS, "gp append", "coordinates", (50, 100, 200), 5),
    (OURS, "dkl x 1", "patches", (50, 100, 200), 5),
    ("gpax", "viDKL", "patches", (50, 100, 200), 1),
    (OURS, "dkl x 8", "patches", (50, 100, 200), 5),
    ("gpax", "viDKL x 8", "patches", (50, 100), 1),
    (OURS, "bayes_gp", "coordinates", (50, 100), 5),
    ("gpax", "ExactGP NUTS", "coordinates", (50, 100), 1),
)
BUDGET = (  # ours, whose budget, the peer's model, task
    ("gp", "botorch", "SingleTaskGP", "coordinates"),
    ("gp", "gpax", "viGP", "coordinates"),
    ("dkl x 1", "gpax", "viDKL", "patches"),
    ("dkl x 8", "gpax", "viDKL x 8", "patches"),
)
BAYES = (
    (OURS, "bayes_gp to 1.01"),
    (OURS, "bayes_gp to 1.01, anew"),
    (OURS, "bayes_gp to 1.01, 200 draws"),
    ("gpax", "ExactGP NUTS"),
)
CAMPAIGNS = (
    (OURS, "gp", "coordinates"),
    (OURS, "gp, 1 search", "coordinates"),
    ("botorch", "SingleTaskGP", "coordinates"),
    ("botorch", "SingleTaskGP warm", "coordinates"),
    ("gpcam", "local", "coordinates"),
    (OURS, "dkl x 8", "patches"),
    (OURS, "dkl x 1", "patches"),
    ("gpax", "viGP", "coordinates"),
    ("gpax", "viDKL", "patches"),
)
RATIOS = (  # ours, the peer's: whose cells are compared
    ("gp", "viGP"),
    ("gp", "SingleTaskGP"),
    ("gp", "SingleTaskGP warm"),
    ("gp", "local"),
    ("gp, 1 search", "viGP"),
    ("gp, 1 search", "SingleTaskGP"),
    ("gp, 1 search", "SingleTaskGP warm"),
    ("dkl x 1", "viDKL"),
    ("dkl x 8", "viDKL x 8"),
    ("dkl x 8", "viDKL"),
    ("bayes_gp", "ExactGP NUTS"),
    ("bayes_gp to 1.01", "ExactGP NUTS"),
    ("bayes_gp to 1.01, anew", "ExactGP NUTS"),
    ("bayes_gp to 1.01, 200 draws", "ExactGP NUTS"),
)
MODELS = tuple(
    dict.fromkeys(
        [one[1] for one in (*STEPS, *BAYES, *CAMPAIGNS)] + [one[0] for one in BUDGET]
    )
)


def cells(what: str, peers: list[str], only: list[str], n: list[int]) -> Iterator[Cell]:
    """Yield the cells of one kind, in the order in which they are measured.

    Args:
        what: Of `KINDS`.
        peers: Who takes part beside ours.
        only: Models that are wanted.
        n: Numbers of points that are wanted, where a cell has several.
    """
    for cell in _all(what):
        some = cell._replace(n=tuple(k for k in cell.n if k in n))
        if cell.who not in (OURS, *peers) or cell.model not in only:
            continue
        if cell.against.partition("/")[0] not in ("", *peers):
            continue
        if some.n or not cell.n:
            yield some


def _all(what: str) -> Iterator[Cell]:
    if what == "steps":
        for who, model, task, n, repeat in STEPS:
            yield Cell(what, who, model, task, n, repeat)
    elif what == "budget":
        for ours, peer, model, task in BUDGET:
            ns = (50, 100) if model == "viDKL x 8" else (50, 100, 200)
            for n in ns:  # each has a number of its own to spend
                cell = Cell(what, OURS, ours, task, (n,), 3, f"{peer}/{model}")
                yield cell._replace(repeat=1) if "dkl" in ours else cell
    elif what == "bayes":
        for who, model in BAYES:
            repeat = 5 if who == OURS else 3
            yield Cell(what, who, model, "coordinates", (50,), repeat)
    else:
        for who, model, task in CAMPAIGNS:
            for cache in ("empty", "filled") if who == OURS else ("",):
                yield Cell(what, who, model, task, cache=cache)
