"""How far a run is, on the screen: a bar with time left and where the time goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from aemtwin.campaign import Campaign, Decision, State
from aemtwin.config import CampaignConfig

EVERY = 10  # measurements between lines where nobody watches a bar


class Watcher:
    """Told of each measurement; remembers the split of the time and the folder."""

    def __init__(self, progress: Progress | None, console: Console) -> None:
        self.folder: Path | None = None
        self._progress, self._console = progress, console
        self._task = (
            None
            if progress is None
            else progress.add_task("starting", total=None, best="", split="")
        )
        self._spent = dict.fromkeys(("move", "measure", "fit", "decide"), 0.0)

    def __call__(self, campaign: Campaign, state: State, decision: Decision) -> None:
        """Show one more measurement."""
        self.folder = campaign.journal.folder
        for name in self._spent:
            self._spent[name] += decision.timings.get(f"{name}_s", 0.0)
        done, total = len(state.indices), campaign.steps()
        finite = [v for v in state.values if v == v]
        best = f"best {max(finite):.4g}" if finite else "no value yet"
        whole = sum(self._spent.values()) or 1.0
        split = " ".join(f"{k} {v / whole:.0%}" for k, v in self._spent.items())
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task,
                completed=done,
                total=total,
                description=decision.phase,
                best=best,
                split=split,
            )
        elif done % EVERY == 0 or done == total:
            self._console.print(f"{done}/{total}  {best}  {split}", highlight=False)


@contextmanager
def shown(config: CampaignConfig) -> Iterator[Watcher]:
    """Show progress while the block runs: a bar on a terminal, lines elsewhere."""
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield Watcher(None, console)
        return
    with Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}", style="bold"),
        TextColumn("{task.fields[split]}", style="dim"),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        yield Watcher(progress, console)
