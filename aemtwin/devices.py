"""The instrument of a run: one at hand, one at a URI, or a twin served for it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from aemtwin.config import CampaignConfig
from aemtwin.errors import BadConfig, Unreachable
from aemtwin.formats import catalog
from aemtwin.instruments.protocol import Instrument
from aemtwin.sections import TwinSource

LEASE_S = 10.0  # as long as the locks of Tango last, if nobody says otherwise


@contextmanager
def instrument_of(
    config: CampaignConfig, given: Instrument | None, ledger: Path
) -> Iterator[Instrument]:
    """Give the instrument of a run: the one at hand, at the URI, or a twin served.

    One at a URI is held by a lease while the run lasts, renewed in the background.

    Raises:
        LeaseRefused: If another holds it, and does not let go while we wait.
    """
    if given is not None:
        with _held(given, ledger.parent.name):
            yield given
        return
    from aemtwin.remote.client import connect
    from aemtwin.remote.launch import launched

    twin = config.twin
    server: AbstractContextManager[str]
    if twin is None:
        server = nullcontext(str(config.uri))
    else:
        server = launched(
            twin.source,
            kind=twin.kind,
            select=twin.select,
            ideal=twin.ideal,
            seed=twin.seed,
            noise=[f"{name}={sd!r}" for name, sd in twin.noise.items()],
            counts=[f"{name}={how}" for name, how in twin.counts.items()],
            effects=_said(twin.effects),
            calibrate=[f"{a}={m!r}m/{u}" for a, (u, m) in twin.calibrate.items()],
            real_time=twin.real_time,
            ledger=ledger,
        )
    with server as uri:
        instrument = connect(uri, keys=config.keys if twin is None else None)
        try:
            with _held(instrument, ledger.parent.name):
                yield instrument
        finally:
            instrument.close()


@contextmanager
def _held(instrument: Instrument, run: str) -> Iterator[None]:
    """Hold an instrument elsewhere, unless the caller does already."""
    from aemtwin.remote.client import RemoteInstrument

    if not isinstance(instrument, RemoteInstrument):
        yield
        return
    if instrument.holds or not instrument.may_be_leased:
        yield
        return
    # one that was killed has let go after its time; then it is ours
    instrument.lease(LEASE_S, f"run {run}", wait_s=LEASE_S + 1.0)
    try:
        yield
    except Unreachable:
        instrument.close()  # the lease ends by itself: nobody is there to take it back
        raise
    finally:
        with suppress(Unreachable):
            instrument.release()


def address_of(instrument: Instrument) -> dict[str, Any]:
    """Return how to find this instrument again: its URI, or the twin it is."""
    if uri := getattr(instrument, "uri", None):
        return {"uri": uri}
    spec = instrument.describe()
    identity = spec.identity
    return {
        "twin": TwinSource(
            source=identity.get("source", spec.name),
            kind=spec.kind,
            select=identity.get("sample"),
            ideal=bool(identity.get("ideal", False)),
            seed=int(identity.get("seed", 0)),
            noise=identity.get("noise", {}),
            counts=identity.get("counts", {}),
            effects=identity.get("effects"),
            calibrate=identity.get("calibrate", {}),
        ).model_dump()
    }


def _said(effects: str | list[str] | dict[str, Any] | None) -> str | None:
    """Return effects as the command line takes them."""
    if isinstance(effects, list):
        return ",".join(effects) or "none"
    return json.dumps(effects) if isinstance(effects, dict) else effects


def located(config: CampaignConfig) -> CampaignConfig:
    """Write a twin's place as an absolute path: a run may be resumed from anywhere.

    Variables of the environment in it, as in `$AEMTWIN_DATA/nsid/mine.nsid.h5`, are
    replaced by their values.

    Raises:
        BadConfig: If one of them is not set.
    """
    if config.twin is None:
        return config
    source = config.twin.source
    if os.path.exists(source):  # whatever it is called
        twin = config.twin.model_copy(update={"source": catalog.located(source)})
        return config.model_copy(update={"twin": twin})
    source = os.path.expandvars(source)
    if unset := re.search(r"\$\{?(\w+)", source):
        raise BadConfig(
            f"twin.source = {config.twin.source!r} needs the variable {unset[1]} of "
            "the environment, which is not set. Set it, or name the file: --twin FILE."
        )
    twin = config.twin.model_copy(update={"source": catalog.located(source)})
    return config.model_copy(update={"twin": twin})
