"""Runs from begin to end: `run`, `resume` and what one finds afterwards, a `Run`.

Here the halves meet: an instrument (given, or opened from the configuration), the loop
of `aemtwin.campaign`, a folder, and, for a twin that tells its truth, scores beside a
random run. The folder is the interface: everything later is read from it.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import config as configuration
from aemtwin import journal, lifecycle, scalarizers
from aemtwin.ahead import Ahead
from aemtwin.campaign import Campaign
from aemtwin.config import CampaignConfig
from aemtwin.decisions import Decision, State
from aemtwin.devices import address_of, instrument_of, located
from aemtwin.environment import logging_to, prepare_jax
from aemtwin.errors import BadConfig, BadJournal
from aemtwin.instruments.protocol import Instrument
from aemtwin.journal import Journal
from aemtwin.measurement import Measurement
from aemtwin.objectives import Sought
from aemtwin.record import RunRecord, read_run
from aemtwin.surrogates.base import count_compilations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

OnStep = Callable[[Campaign, State, Decision], None]
OnBegin = Callable[[Campaign], None]
Asked = str | Callable[[Measurement], float]
"""A scalarizer by its name or as a function."""


class Run:
    """A finished or interrupted run, read from its folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record: RunRecord = read_run(path)

    @property
    def best(self) -> dict[str, Any]:
        """The measurement with the highest value: seq_num, position (m) and value."""
        valid = [e for e in self.record.events if e["data"]["valid"]]
        if not valid:
            raise BadJournal(f"{self.path} has no valid measurement.")
        top = max(valid, key=lambda e: e["data"]["value"])
        truth = self.record.truth
        return {
            "seq_num": top["seq_num"],
            "position": (top["data"]["x"], top["data"]["y"]),
            "value": top["data"]["value"],
            "units": self.record.value_units,
            "true_value": None if truth is None else float(truth[top["data"]["index"]]),
        }

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of this run; empty where the truth is not known."""
        rows = (self.record.scores or {}).get("rows") or [{}]
        return dict(rows[0])

    def table(self) -> list[dict[str, Any]]:
        """Return one dict a measurement: seq_num, time, data and timings, flat."""
        return [
            {"seq_num": e["seq_num"], "time": e["time"], **e["data"], **e["timings"]}
            for e in self.record.events
        ]

    def posterior(self) -> dict[str, NDArray[np.float64]]:
        """Return what is believed at the end: positions (m, 2), mean and sd (m,)."""
        maps = self.record.maps
        if maps is None:
            raise BadJournal(f"{self.path} ended before a surrogate was fitted.")
        return {
            "positions": self.record.candidates,
            "mean": maps["mean"],
            "sd": maps["sd"],
        }

    def plot(self, kind: str = "trajectory") -> Figure:
        """Draw one picture of the run; `aemtwin list plots` names the kinds."""
        from aemtwin import plots

        return plots.draw(kind, self.record)

    def report(self) -> Path:
        """Write `report.html` into the run's folder and return its path."""
        from aemtwin.report import write_report

        return write_report(self.path)


def run(
    instrument: Instrument | None = None,
    config: CampaignConfig | None = None,
    *,
    scalarizer: Asked | Sequence[Asked] | None = None,
    on_step: OnStep | None = None,
    on_begin: OnBegin | None = None,
    **options: Any,
) -> Run:
    """Run a campaign from begin to end.

    Args:
        instrument: What to measure with. None: what the configuration names, a `uri` or
            a `twin`, which is then served from a process of its own.
        config: The whole description; `options` (its fields, such as `steps=40`) win.
        scalarizer: What is sought: a name with parameters, such as
            "band_intensity:low=1.6,high=1.9", or any function of a `Measurement`; or
            two or more of them, which ehvi and novelty seek together.
        on_step: Told of each measurement.
        on_begin: Told once, before the first frame is taken.
        **options: Fields of `CampaignConfig`.

    Raises:
        AemtwinError: The kind that fits. What was measured is in the run's folder, and
            `aemtwin resume` goes on from there.
    """
    said = {} if config is None else config.model_dump(exclude_unset=True)
    if instrument is not None:
        said = {k: v for k, v in said.items() if k not in ("twin", "uri")}
        said |= address_of(instrument)
    sought = _functions(scalarizer)
    if sought is not None:
        options["scalarizer"] = [
            {"name": one.name, "params": dict(one.params)} for one in sought
        ]
    elif scalarizer is not None:
        options["scalarizer"] = scalarizer
    resolved = located(configuration.build({**said, **options}))
    if resolved.twin is None and resolved.uri is None:
        raise BadConfig(
            "A run needs an instrument: give one, or a twin or a uri in the "
            "configuration (--twin pfm_loops, --uri PYRO:...)."
        )
    uid = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    folder = Path(resolved.out) / uid
    folder.mkdir(parents=True)
    (folder / journal.CONFIG).write_text(resolved.to_toml(), encoding="utf-8")
    try:
        with instrument_of(resolved, instrument, folder / journal.LEDGER) as device:
            _go(device, resolved, folder, uid, sought, on_step, on_begin)
    except BaseException:
        if not lifecycle.written(folder):  # nothing was done: leave nothing behind
            shutil.rmtree(folder)
        raise
    return Run(folder)


def resume(
    path: str | Path,
    instrument: Instrument | None = None,
    *,
    scalarizer: Asked | Sequence[Asked] | None = None,
    on_step: OnStep | None = None,
    on_begin: OnBegin | None = None,
) -> Run:
    """Go on with a run that was cut off; the result is that of one never cut off.

    Args:
        path: The run's folder.
        instrument: The same instrument as before; None: what the configuration names.
        scalarizer: The function that was given to `run`, where it has no name by which
            it can be imported; all of them, where the run seeks several.
        on_step: Told of each further measurement.
        on_begin: Told once, before it goes on.

    Raises:
        BadJournal: If the folder is not that of a run, or of another instrument.
    """
    folder = Path(path)
    if not (folder / journal.CONFIG).is_file():
        raise BadJournal(f"{folder} is not a run folder: it has no {journal.CONFIG}.")
    if lifecycle.is_whole(folder):
        return Run(folder)
    resolved = configuration.load(folder / journal.CONFIG)
    sought = _functions(scalarizer)
    with instrument_of(resolved, instrument, folder / journal.LEDGER) as device:
        _go(device, resolved, folder, folder.name, sought, on_step, on_begin)
    return Run(folder)


def _functions(asked: Any) -> tuple[scalarizers.Scalarizer, ...] | None:
    """Return scalarizers that were given as functions; None where names tell all."""
    several = (asked,) if callable(asked) else asked
    if not isinstance(several, list | tuple) or not any(map(callable, several)):
        return None
    found = tuple(scalarizers.get(one) for one in several)
    told = [(one.name, dict(one.params)) for one in found]
    if twice := [name for k, (name, _) in enumerate(told) if told[k] in told[:k]]:
        raise BadConfig(
            f"Two scalarizers are called {twice[0]}; a run tells them apart by name. "
            "Give each a name of its own: define them by def."
        )
    return found


def _go(
    device: Instrument,
    config: CampaignConfig,
    folder: Path,
    uid: str,
    sought: Sought,
    on_step: OnStep | None,
    on_begin: OnBegin | None,
) -> None:
    """Do what is left of a run and close it."""
    prepare_jax()
    with (
        logging_to(folder / journal.LOG),
        Journal(folder) as record,
        count_compilations() as seen,
    ):
        campaign = Campaign(device, config, record, uid, scalarizer=sought)
        lifecycle.require_same_instrument(campaign)
        if on_begin is not None:
            on_begin(campaign)
        try:
            with closing(Ahead(campaign)) as ahead:
                told = _tellers(campaign, ahead, on_step)
                state, belief = lifecycle.measure(campaign, told)
            lifecycle.keep_data(folder, len(state.indices))
            lifecycle.score(campaign, state, belief)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            status = "abort" if stopped else "fail"
            lifecycle.close(campaign, status, error, seen.count)
            raise
        lifecycle.close(campaign, "success", None, seen.count)


def _tellers(
    campaign: Campaign, ahead: Ahead, on_step: OnStep | None
) -> Callable[[State, Decision], None]:
    """Return what is told of each measurement."""

    def told(state: State, decision: Decision) -> None:
        ahead(state, decision)
        if on_step is not None:
            on_step(campaign, state, decision)

    return told
