"""What a person sees on a terminal: progress, what was found, what a file holds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from aemtwin.errors import BadJournal, MissingExtra
from aemtwin.interrupts import Interrupts
from aemtwin.watching import HEAD, Seen

if TYPE_CHECKING:  # who only watches shall not wait for JAX
    from aemtwin.campaign import Campaign
    from aemtwin.decisions import Decision, State
    from aemtwin.runs import Run

EVERY = 10  # measurements between lines where nobody watches a bar
DEMO = {  # experiment -> what is about to happen
    "pfm_line": "A piezoresponse force microscope (synthetic, pfm_loops) is served "
    "from a process of its own;\na neural network that looks at its images, with a "
    "Gaussian process on top, seeks the widest\nswitching loop on a field of 2 µm: "
    "{} first points, then {} that it chooses.",
    "stem_line": "A scanning transmission electron microscope (synthetic, stem_eels) "
    "is served from a process\nof its own; a neural network that looks at its image, "
    "with a Gaussian process on top, seeks\nthe strongest surface plasmon: {} first "
    "points, then {} that it chooses.",
}


class Watcher:
    """Told of each measurement; remembers the split of the time and the folder."""

    def __init__(
        self, bar: Progress | None, console: Console, stopping: Interrupts
    ) -> None:
        self.folder: Path | None = None
        self._stopping = stopping
        self._bar, self._console = bar, console
        self._begin = time.monotonic()
        self._task = (
            None
            if bar is None
            else bar.add_task("starting", total=None, best="", split="")
        )
        self._spent = dict.fromkeys(("move", "measure", "fit", "decide"), 0.0)

    def begun(self, campaign: Campaign) -> None:
        """Tell what was settled; from now on the run can be resumed."""
        self.folder = campaign.journal.folder
        for line in choices(campaign):
            self._console.print(line, highlight=False)
        self._stopping.begin()

    def __call__(self, campaign: Campaign, state: State, decision: Decision) -> None:
        """Show one more measurement."""
        for name in self._spent:
            self._spent[name] += decision.timings.get(f"{name}_s", 0.0)
        done, total = len(state.indices), campaign.steps()
        finite = [v for v in state.values if v == v]
        best = f"best {max(finite):.4g}" if finite else "no value yet"
        whole = sum(self._spent.values()) or 1.0
        split = " ".join(f"{k} {v / whole:.0%}" for k, v in self._spent.items())
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                completed=done,
                total=total,
                description=decision.phase,
                best=best,
                split=split,
            )
        elif done % EVERY == 0 or done == total:
            left = (total - done) * (time.monotonic() - self._begin) / max(done, 1)
            line = f"{done}/{total}  {best}  {split}  about {left:.0f} s left"
            self._console.print(line, highlight=False)
        self._stopping.step_done(more=done < total)


def follow(looks: Iterator[Seen], *, once: bool = False) -> None:
    """Show what passes at an instrument: a line an operation, and how it stands."""
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(HEAD)
    with Live("", console=console, auto_refresh=False, transient=True) as bottom:
        told = ""
        for seen in looks:
            for text in seen.lines:
                say(text)
            if once or (not console.is_terminal and seen.lines):
                say(seen.status)
            elif console.is_terminal and seen.status != told:
                told = seen.status
                bottom.update(Text(told), refresh=True)
            if once:
                return


def choices(campaign: Campaign) -> list[str]:
    """Return what was settled without anybody saying so: the mode, the images read."""
    lines = []
    others = [m.name for m in campaign.spec.modes if m.name != campaign.mode.name]
    if others and campaign.config.mode is None:
        lines.append(f"measuring {campaign.mode.name} (or --mode: {', '.join(others)})")
    inputs, name = campaign.config.inputs, campaign.surrogate.name
    if campaign.images:
        scales = ", ".join(str(scale) for scale in inputs.scales)
        lines.append(
            f"{name} reads patches of {', '.join(campaign.images)}: {inputs.size} x "
            f"{inputs.size} pixels at scale {scales}"
        )
    elif getattr(campaign.surrogate, "patches", False):
        lines.append(
            f"{name} sees positions alone: no image here was measured by itself"
        )
    if any(campaign.spec.channel(name).derived for name in campaign.images):
        lines.append(
            "leaky: images computed from the spectra are read, so the scores say "
            "nothing about an experiment"
        )
    return lines


def require_pictures() -> None:
    """Refuse to begin what ends in a report that cannot be written.

    Raises:
        MissingExtra: If the packages of pictures and report are not there.
    """
    for name in ("matplotlib", "jinja2"):
        if find_spec(name) is None:
            raise MissingExtra(
                f"The report needs {name}, which is not installed. Install it with: "
                "pip install 'aemtwin[view]'."
            )


@contextmanager
def progress() -> Iterator[Watcher]:
    """Show progress while the block runs: a bar on a terminal, lines elsewhere.

    Ctrl-C stops cleanly meanwhile, as `aemtwin.interrupts` says.
    """
    console = Console(stderr=True)
    with Interrupts().listening() as stopping:
        if not sys.stderr.isatty():
            yield Watcher(None, console, stopping)
            return
        with Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}", style="bold"),
            TextColumn("{task.fields[split]}", style="dim"),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            yield Watcher(bar, console, stopping)


def summary(done: Run) -> str:
    """Return what a run found, and its scores beside chance if they are known."""
    try:
        best = done.best
    except BadJournal:
        n, name = len(done.record.events), done.record.value_name
        return f"none of {n} measurements gave a value of {name}"
    x, y = (value * 1e9 for value in best["position"])
    found = (
        f"best found: {best['value']:.4g} {best['units']} at x = {x:.1f} nm, "
        f"y = {y:.1f} nm ({done.record.value_name}, measurement {best['seq_num']})"
    )
    if best["true_value"] is not None:  # what was read is noisy, what is true is not
        found += f"; the truth there is {best['true_value']:.4g}"
    why = (done.record.stop or {}).get("reason")
    if why:
        found += f"; ended after {len(done.record.events)} by the {why}"
    identity = done.record.start["instrument"]["identity"]
    if identity.get("calibrated") is False:
        found += "; lengths are not calibrated: one unit of the file counts as 1 nm"
    scores = done.record.scores
    if scores is None:
        return found
    lines = [found + f"; the truth's best is {scores['truth_best']:.4g}"]
    for row in scores["rows"]:
        lines.append(
            f"  {row['method']:<14} top 1 % found {row['top_1_percent_found']:6.1%}   "
            f"regret {row['regret']:.4g}   map RMSE {_number(row['rmse'])}   "
            f"90 % interval covers {_number(row['coverage_90'], '.0%')}"
        )
    return "\n".join(lines)


def _number(value: float | None, form: str = ".4g") -> str:
    return "-" if value is None else format(value, form)


def _axis_line(axis: dict[str, Any]) -> str:
    ends = f"{axis['low']:g} to {axis['high']:g} {axis['units']}"
    return f"{axis['name']} ({axis['length']}): {ends}"


def tell_twin(lines: Sequence[str], arrays: Sequence[dict[str, Any]]) -> None:
    """Print what a twin is, and what its file holds, one row an array.

    The arrays are as `aemtwin.formats.nsid.summary` gives them.
    """
    console = Console()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    table = Table(title="arrays of the file", title_justify="left")
    for column in ("array", "shape", "dtype", "quantity (unit)", "axes"):
        table.add_column(column, overflow="fold")
    for array in arrays:
        table.add_row(
            array["name"],
            " x ".join(str(n) for n in array["shape"]),
            array["dtype"],
            f"{array['quantity']} ({array['units']})",
            "\n".join(_axis_line(axis) for axis in array["axes"]),
        )
    console.print(table)
