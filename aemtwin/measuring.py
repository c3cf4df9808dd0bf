"""To a spot and back with a measurement: what is asked again, and what is not.

An answer that was lost is asked for again under the same request id, which the client
does (`aemtwin.remote.client`) and the ledger answers without a second dose. A failure
that the instrument recorded is final for its id, so the measurement is begun anew under
another part, once; after a second failure the spot is skipped, and the journal says so.
A spot that may get no more dose is skipped at once, and so is one of which nobody knows
whether it was measured: it may have had its dose.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from aemtwin.decisions import Decision, Failure
from aemtwin.errors import Indeterminate, InstrumentFault, SpotSpent
from aemtwin.instruments.protocol import Instrument
from aemtwin.measurement import Measurement

log = logging.getLogger(__name__)

PARTS = ("", "-again")  # of the request ids of a first and a second attempt
NO_FRAME = "The first frame failed twice"  # how a run says that it ended so


def measure_at(
    instrument: Instrument,
    uid: str,
    decision: Decision,
    mode: str,
    dwell_s: float | None,
    parameters: Mapping[str, float],
) -> Measurement | Failure:
    """Move to the spot decided on and measure there.

    Args:
        instrument: What to measure with.
        uid: Of the run, the beginning of every request id.
        decision: Where; its timings get `move_s` and `measure_s`.
        mode: What to measure.
        dwell_s: How long; None: as the instrument usually does.
        parameters: Of the mode.

    Returns:
        The measurement, or, where two attempts failed, what was said of the second.

    Raises:
        AemtwinError: Whatever is not the failure of one operation: the instrument is
            gone, was stopped, or refuses what is asked.
    """
    rid = f"{uid}/{decision.seq_num}"
    spent = {"move_s": 0.0, "measure_s": 0.0}
    reasons: list[str] = []
    for again in PARTS:
        begin = there = time.perf_counter()
        try:
            instrument.move_to(decision.position, rid=f"{rid}/move{again}")
            there = time.perf_counter()
            found = instrument.measure(
                mode,
                dwell_s,
                rid=f"{rid}/measure{again}",
                **dict(parameters),  # type: ignore[arg-type]
            )
            return found
        except SpotSpent as error:  # asking again would not help
            time_s = instrument.state().time_s
            return Failure(f"{rid}/measure{again}", str(error), time_s, refused=True)
        except Indeterminate as error:  # it may have been done: not a second time
            log.warning("measurement %d: %s", decision.seq_num, error)
            time_s = instrument.state().time_s
            return Failure(f"{rid}/measure{again}", str(error), time_s)
        except InstrumentFault as error:
            log.warning("measurement %d failed: %s", decision.seq_num, error)
            reasons.append(str(error))
        finally:
            end = time.perf_counter()
            there = end if there == begin else there  # it never came there
            spent["move_s"] += there - begin
            spent["measure_s"] += end - there
            decision.timings.update(spent)
    time_s = instrument.state().time_s
    return Failure(f"{rid}/measure{PARTS[-1]}", reasons[-1], time_s)


def scan_first(
    instrument: Instrument, uid: str, channels: Sequence[str], before: int, reads: str
) -> Measurement | None:
    """Take the first frame; as `measure_at`, once more where it failed.

    Args:
        instrument: What to measure with.
        uid: Of the run.
        channels: Images of the frame.
        before: How often this run has ended so before: an id that failed is used up.
        reads: The surrogate that cannot do without the frame; "" where it is a picture.

    Returns:
        The frame; None where it failed twice and is not needed.

    Raises:
        InstrumentFault: Where it is needed.
    """
    part = f"overview-{before}" if before else "overview"
    reason = ""
    for again in PARTS:
        try:
            rid = f"{uid}/0/{part}{again}"
            return instrument.scan(channels=list(channels), rid=rid)
        except (InstrumentFault, Indeterminate) as error:
            log.warning("the first frame failed: %s", error)
            reason = str(error)
            if isinstance(error, Indeterminate):
                break  # it may have been taken
    if reads:
        raise InstrumentFault(
            f"{NO_FRAME} ({reason}), and {reads} reads its images. "
            "Mend the instrument, then resume the run."
        )
    return None
