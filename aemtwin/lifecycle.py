"""The life of a run folder: begun or found again, measured, scored, closed.

`aemtwin.runs` gives it an instrument and a folder. Every function may be stopped at any
write and called again: what is missing is done, what is there is kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin import config as configuration
from aemtwin import documents, journal, scoring
from aemtwin.campaign import Campaign
from aemtwin.codec import to_wire
from aemtwin.decisions import Belief, Decision, State
from aemtwin.environment import environment
from aemtwin.errors import BadJournal
from aemtwin.instruments.identity import same_instrument
from aemtwin.journal import Journal
from aemtwin.record import read_run
from aemtwin.scalarizers import Scalarizer

log = logging.getLogger(__name__)

Told = Callable[[State, Decision], None]


def written(folder: Path) -> list[tuple[str, documents.Document]]:
    """Return what the journal of a run folder holds so far, if there is one."""
    file = folder / journal.JOURNAL
    return journal.read_documents(file)[0] if file.is_file() else []


def is_whole(folder: Path) -> bool:
    """Say whether the run in this folder ended well."""
    found = written(folder)
    return bool(found) and found[-1][1].get("exit_status") == "success"


def require_same_instrument(campaign: Campaign) -> None:
    """Refuse to go on with a run on an instrument that it was not measured on.

    Raises:
        BadJournal: If the journal names another one.
    """
    folder = campaign.journal.folder
    for name, document in written(folder):
        if name == "start":
            was = document["instrument"]["identity"]
            now = campaign.spec.identity
            if not same_instrument(was, now):
                raise BadJournal(
                    f"{folder} was measured on another instrument ({was}) than this "
                    f"one ({dict(now)}). Resume it on that one."
                )


def measure(campaign: Campaign, told: Told | None) -> tuple[State, Belief | None]:
    """Begin or go on, until everything is measured; then fit once more."""
    state = campaign.run(_begin(campaign), told)
    return state, campaign.finish(state)


def _begin(campaign: Campaign) -> State:
    """Open the record, or find out where it stopped."""
    folder, found = campaign.journal.folder, written(campaign.journal.folder)
    if not (folder / journal.CONFIG).exists():
        text = campaign.config.to_toml().encode()
        journal.write_whole(folder / journal.CONFIG, text)
    if not (folder / journal.ENVIRONMENT).exists():
        campaign.journal.save_json(journal.ENVIRONMENT, environment())
    if journal.load_maps(folder, "candidates") is None:
        campaign.journal.save_maps(
            "candidates",
            {"positions": campaign.candidates, "shape": np.array(campaign.shape)},
        )
    if "start" not in campaign.journal.names:  # written last: then the rest is there
        campaign.journal.append(
            "start",
            documents.run_start(
                campaign.uid,
                time.time(),
                config=campaign.config.model_dump(mode="json"),
                instrument=to_wire(campaign.spec, "list"),
                images=list(campaign.images),  # of which the surrogate reads patches
            ),
        )
    campaign.look()
    events = [document for name, document in found if name == "event"]
    if not events:
        return campaign.init()
    if campaign.instrument.state().time_s < events[-1]["data"]["instrument_time_s"]:
        log.warning(
            "The instrument's clock stands before the last measurement of %s: it was "
            "started anew, without its ledger. Times and notices begin again.",
            folder,
        )
    return campaign.replay(read_run(folder).events)


def close(
    campaign: Campaign, status: str, error: BaseException | None, compilations: int
) -> None:
    """Write how the run ended: "success", "abort" or "fail"."""
    if is_whole(campaign.journal.folder) or "start" not in campaign.journal.names:
        return
    reason = (
        campaign.ended
        if error is None
        else f"{type(error).__name__}: {error}".rstrip(": ")
    )
    found = written(campaign.journal.folder)
    campaign.journal.append(
        "stop",
        documents.run_stop(
            campaign.uid,
            time.time(),
            exit_status=status,
            reason=reason,
            events=sum(name == "event" for name, _ in found),
            compilations=compilations,
        ),
    )


def keep_data(folder: Path, n: int) -> None:
    """Write all spectra as one NSID file, which pyNSID and SciFiReaders open."""
    from aemtwin.formats.nsid import write_nsid
    from aemtwin.formats.runs import measurements_to_arrays

    there = [i for i in range(1, n + 1) if journal.spectrum_path(folder, i).exists()]
    spectra = [journal.load_spectrum(folder, i) for i in there]  # not those that failed
    if spectra:
        write_nsid(folder / journal.DATA, measurements_to_arrays(spectra))


def score(campaign: Campaign, state: State, belief: Belief | None) -> None:
    """Compare with the truth, and with a random run on the same twin.

    The run is whole before this, so a score that fails costs the score alone.
    """
    try:
        _score(campaign, state, belief)
    except Exception:
        log.exception("The run is whole, but it could not be scored.")


def _score(campaign: Campaign, state: State, belief: Belief | None) -> None:
    learned = state.scalarizer or campaign.scalarizer
    others = state.others.scalarizers or campaign.sought[1:]
    sought = tuple(one.settled() for one in (learned, *others))
    truths = [scoring.true_values(campaign.instrument, campaign, one) for one in sought]
    known = [one for one in truths if one is not None]
    if len(known) < len(truths):
        return
    config, folder, truth = campaign.config, campaign.journal.folder, known[0]
    maps = {"values": truth} | ({"others": np.stack(known[1:])} if others else {})
    campaign.journal.save_maps("truth", maps)
    name = config.acquisition.name
    policy = name in ("random", "grid")
    label = name if policy else f"{config.surrogate.name} + {name}"
    methods = {label: (state, belief)}
    if config.baseline and name != "random":
        methods["random"] = _baseline(campaign, sought, len(state.indices))
    record = read_run(folder)
    scores = scoring.table(truth, methods, record)
    if others:
        scores |= {"several": scoring.several(np.column_stack(known), methods, record)}
    campaign.journal.save_json(journal.SCORES, scores)


def _baseline(
    campaign: Campaign, sought: tuple[Scalarizer, ...], measured: int
) -> tuple[State, Belief | None]:
    """Measure at random on the same twin, as often, after the same first points.

    Request ids share step and part with the run, so that noise is drawn alike. It sees
    the run's first frame, and seeks what the run sought in the end.
    """
    said = campaign.config.model_dump() | {"stop": None}
    changed: dict[str, Any] = {"acquisition": {"name": "random"}, "baseline": False}
    changed["search"] = {**said["search"], "dwell_s": None}  # the usual one
    changed["inputs"] = {**said["inputs"], "refresh": 0}  # it looks at no image
    if campaign.ended:
        changed["steps"] = max(0, measured - campaign.config.first)
    config = configuration.build(said, changed)
    frame = journal.spectrum_path(campaign.journal.folder, 0)
    with Journal(campaign.journal.folder / "random") as record:
        if frame.exists():
            own = journal.spectrum_path(record.folder, 0)
            journal.write_whole(own, frame.read_bytes())
        random = Campaign(
            campaign.instrument,
            config,
            record,
            f"{campaign.uid}-random",
            scalarizer=sought,
        )
        state, belief = measure(random, None)
        close(random, "success", None, 0)
        return state, belief
