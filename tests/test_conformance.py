"""Every law of `aemtwin.testing` on every instrument, in process and over the wire.

A twin of the catalogue joins by itself. Bad input by the hundred is put to a few. What
effects there are does not change what a wire carries: without them and with all, the
twins of the catalogue are held to the laws over the wire by `-m slow`.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import aemtwin
from aemtwin.formats import catalog, nsid
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.protocol import Instrument
from aemtwin.instruments.twin import Twin
from aemtwin.testing.bad_input import REFUSING, breaches
from aemtwin.testing.cases import cases
from aemtwin.testing.conformance import LAWS, TWIN_LAWS, Skip, hold
from aemtwin.testing.sources import check_source
from tests.small import small_twin

Make = Callable[..., Twin]


def instruments() -> dict[str, Make]:
    """How to make each; with effects, without, and with all that there are."""
    found: dict[str, Make] = {
        "small": small_twin,
        "small ideal": functools.partial(small_twin, ideal=True),
    }
    for name in catalog.twin_names():
        make = functools.partial(aemtwin.open_twin, name, seed=5)
        found[name] = make
        found[f"{name} ideal"] = functools.partial(make, ideal=True)
        if catalog.find_twin(name).toml.get("generator"):
            found[f"{name} all"] = functools.partial(make, effects="all")
    return found


INSTRUMENTS = instruments()
REFUSED = ("small", "small ideal", "pfm_loops", "stem_eels", "stm_spectroscopy")
REFUSED_FAR = ("small", "pfm_loops", "stem_eels")
NEAR, FAR = "in process", "over the wire"
SERVED = ("small ideal", "stm_spectroscopy", "stem_4d")  # and those of REFUSED_FAR
ALWAYS = ("pfm_loops", "stem_eels")  # with all effects and with none


@pytest.fixture(scope="module")
def at() -> Iterator[Callable[[str, str], Instrument]]:
    """Make each instrument once, as at time zero; one served is another."""
    with ExitStack() as stack:

        @functools.cache
        def opened(name: str, where: str) -> tuple[Twin, Instrument]:
            twin = INSTRUMENTS[name]()
            if where == NEAR:
                return twin, twin
            server = stack.enter_context(aemtwin.serve(twin, truth=True))
            client = aemtwin.connect(server.uri)
            stack.callback(client.close)
            return twin, client

        used: list[Twin] = []

        def again(name: str, where: str) -> Instrument:
            while used:
                used.pop().reset()  # what a law measured is kept until then
            twin, scope = opened(name, where)
            twin.reset()
            used.append(twin)
            return scope

        yield again


def every() -> Iterator[Any]:
    """Every law with every instrument at either place, but bad input with a few."""
    for name, where, law in itertools.product(INSTRUMENTS, (NEAR, FAR), LAWS):
        plain = name in catalog.twin_names() or name.startswith("small")
        slow = not plain and (where == FAR or not name.startswith(ALWAYS))
        slow |= where == FAR and name not in (*SERVED, *REFUSED_FAR)
        if law in REFUSING:
            slow |= name not in (REFUSED if where == NEAR else REFUSED_FAR)
        marks = [pytest.mark.slow] if slow else []
        yield pytest.param(name, where, law, marks=marks)


@pytest.mark.parametrize(("name", "where", "law"), list(every()))
def test_the_law_holds(at, name, where, law):
    try:
        hold(LAWS[law], at(name, where))
    except Skip as reason:
        pytest.skip(str(reason))


def made() -> Iterator[Any]:
    """Every instrument that can be made again; some only in the slow tier."""
    for name in INSTRUMENTS:
        marks = [] if name.startswith(("small", *ALWAYS)) else [pytest.mark.slow]
        yield pytest.param(name, marks=marks)


@pytest.mark.parametrize("law", TWIN_LAWS)
@pytest.mark.parametrize("name", list(made()))
def test_the_law_of_repetition_holds(name, law):
    hold(TWIN_LAWS[law], INSTRUMENTS[name])


def test_bad_input_is_hundreds_of_cases_and_none_is_accepted_in_silence():
    twin = aemtwin.open_twin("pfm_loops")
    some = cases(twin.describe(), truth=True)
    assert len(some) >= 300
    assert len({str(case) for case in some}) >= 300
    assert {case.call for case in some} >= {"move_to", "scan", "trace", "truth"}
    before = twin.state_hash()
    assert breaches(twin, some) == []
    assert twin.state_hash() == before


def test_every_parameter_is_tried_beyond_both_ends():
    spec = aemtwin.open_twin("stm_spectroscopy").describe()
    some = [case for case in cases(spec) if case.call == "measure"]
    for mode in spec.modes:
        for p in (mode.dwell_s, *mode.parameters):
            tried = [
                case.arguments[p.name]
                for case in some
                if case.arguments.get("mode") == mode.name and p.name in case.arguments
            ]
            numbers = [v for v in tried if type(v) is float]
            assert any(p.low - abs(p.low) - 1 < v < p.low for v in numbers), p.name
            assert any(p.high < v < 1.1 * abs(p.high) + 1 for v in numbers), p.name


def samples() -> list[tuple[str, str]]:
    """The real files, where somebody said where they are, with their samples."""
    folder = os.environ.get("AEMTWIN_DATA")
    found = []
    for path in sorted(Path(folder).glob("nsid/*.nsid.h5")) if folder else ():
        with nsid.open_nsid(path) as file:
            first = make_sample(file.arrays)
        found += [(str(path), name) for name in (first.name, *first.others)]
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_real_files_keep_every_law(data_folder):
    found = samples()
    assert found, f"no nsid/*.nsid.h5 in {data_folder}"
    failed = [
        f"{Path(path).name}, {name}, {where}: {result}"
        for path, name in found
        for where, result in check_source(path, select=name)
        if result.outcome == "failed"
    ]
    assert not failed
