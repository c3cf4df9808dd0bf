"""The conformance suite: every law, and what an instrument makes of each.

`check` holds an instrument to the laws of the protocol, whatever it is and wherever:
each law that says nothing of it (it has no spectra, no pulse, no truth) skips itself
with a reason. `check_twin` holds a twin that can be made again to those of repetition.
`aemtwin check` does both; `tests/test_conformance.py` runs every law by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from aemtwin.errors import DoseRefused, InstrumentFault
from aemtwin.instruments.protocol import Instrument
from aemtwin.testing.acting import ACTING
from aemtwin.testing.asking import ASKING
from aemtwin.testing.bad_input import REFUSING
from aemtwin.testing.dosing import DOSING
from aemtwin.testing.keeping import KEEPING
from aemtwin.testing.laws import Law, Skip
from aemtwin.testing.repeating import REPEATING, Make
from aemtwin.testing.telling import TELLING

Subject = TypeVar("Subject")
Outcome = Literal["ok", "failed", "skipped"]
FAULTS = 3  # attempts at a law, where the instrument fails as instruments do

LAWS: dict[str, Law[Instrument]] = {
    **ASKING,
    **ACTING,
    **KEEPING,
    **DOSING,
    **TELLING,
    **REFUSING,
}
"""Laws of any instrument, by name."""

TWIN_LAWS: dict[str, Law[Make]] = dict(REPEATING)
"""Laws of a twin that can be made again, by name."""


@dataclass(frozen=True)
class Result:
    """What came of holding one instrument to one law."""

    name: str  # of the law
    outcome: Outcome
    told: str = ""  # why it is skipped, or what failed

    def __str__(self) -> str:
        sentence = self.name.replace("_", " ")
        if self.outcome == "ok":
            return f"ok       {sentence}"
        said = self.told.strip().replace("\n", " ")
        word = "FAILED  " if self.outcome == "failed" else "skipped "
        return f"{word} {sentence}: {said}"


def hold(law: Law[Subject], subject: Subject) -> None:
    """Hold a subject to a law; a fault of the instrument is no breach: once more.

    Raises:
        AssertionError: If the law is broken.
        Skip: If it says nothing of this subject.
    """
    for attempt in range(FAULTS):
        try:
            law(subject)
        except InstrumentFault:
            if attempt == FAULTS - 1:
                raise
        except DoseRefused as error:
            raise Skip(f"its budget of dose is spent ({error})") from None
        else:
            return


def check(
    scope: Instrument, laws: Iterable[Law[Instrument]] | None = None
) -> list[Result]:
    """Hold an instrument to laws (default: all of `LAWS`).

    It acts on the instrument: `[law for law in LAWS.values() if not law.acts]` are the
    laws that only look.

    >>> from aemtwin.instruments.opening import open_twin
    >>> twin = open_twin("pfm_loops")
    >>> [str(one) for one in check(twin, [LAWS["it_rests_where_it_was_sent"]])]
    ['ok       it rests where it was sent']
    """
    return list(held(scope, LAWS.values() if laws is None else laws))


def check_twin(make: Make, laws: Iterable[Law[Make]] | None = None) -> list[Result]:
    """Hold a twin that `make(ledger=None)` opens to laws (default: `TWIN_LAWS`)."""
    return list(held(make, TWIN_LAWS.values() if laws is None else laws))


def held(subject: Subject, laws: Iterable[Law[Subject]]) -> Iterator[Result]:
    """Yield what comes of each law, as it comes."""
    for law in laws:
        try:
            hold(law, subject)
        except Skip as reason:
            yield Result(law.name, "skipped", str(reason))
        except AssertionError as failure:
            yield Result(law.name, "failed", str(failure))
        except Exception as error:  # whatever breaks a law is what is told
            yield Result(law.name, "failed", f"{type(error).__name__}: {error}")
        else:
            yield Result(law.name, "ok")
