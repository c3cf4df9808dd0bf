"""The loop: ask the surrogate where to measure, measure there, tell it what was found.

`step` is one turn, on one screen; the rest is what it needs. State is explicit and
every decision depends on (configuration, seed, step, what was measured) alone, so that
a run that was killed goes on from its journal bit for bit. Of the microscope the loop
knows `Instrument` and nothing more; `aemtwin.runs` gives it one, and a folder.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import acquisition, designs, documents, scalarizers, surrogates
from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.policies import random_order
from aemtwin.acquisition.registry import Policy
from aemtwin.config import CampaignConfig, measured_mode, overview_channel
from aemtwin.decisions import Belief, Decision, State
from aemtwin.errors import AemtwinError, MeasurementFailed
from aemtwin.instruments.protocol import Instrument
from aemtwin.journal import Journal, load_maps
from aemtwin.measurement import Measurement
from aemtwin.scalarizers.built_in import require_turning
from aemtwin.surrogates.base import pad, step_keys

log = logging.getLogger(__name__)

CANDIDATES = (50, 50)  # (rows, columns), where neither file nor instrument has a grid
KEEP_ALL_MAPS = 2**14  # candidates up to which the maps of every step are kept


class Campaign:
    """One run of the loop on one instrument, writing one journal.

    Raises:
        BadConfig: If the instrument cannot do what the configuration asks.
        UnknownName: If a part of the configuration does not exist.
    """

    def __init__(
        self,
        instrument: Instrument,
        config: CampaignConfig,
        journal: Journal,
        uid: str,
        *,
        scalarizer: scalarizers.Scalarizer | None = None,
    ) -> None:
        self.instrument, self.config, self.uid = instrument, config, uid
        self.journal = journal
        self.spec = instrument.describe()
        self.mode = measured_mode(self.spec, config)
        self.first_frame = overview_channel(self.spec, config)
        arguments = {"mode": self.mode.name, **config.parameters}
        if config.dwell_s is not None:
            arguments["dwell_s"] = config.dwell_s
        # Asking how long a measurement takes checks its arguments before any is made.
        instrument.duration({"call": "measure", "arguments": arguments})
        if self.first_frame is not None:
            frame = {"channels": [self.first_frame.name]}
            instrument.duration({"call": "scan", "arguments": frame})
        self.scalarizer = scalarizer or scalarizers.get(
            config.scalarizer.name, **config.scalarizer.params
        )
        if len(self.mode.axes) == 1:
            require_turning(self.scalarizer.name, self.mode.axes[0])
        self.surrogate = surrogates.get(
            config.surrogate.name, **config.surrogate.params
        )
        self.acquire = acquisition.get(
            config.acquisition.name, **config.acquisition.params
        )
        self.shape = config.candidates or self.mode.shape or CANDIDATES
        bounds = self.mode.extent or self.spec.bounds
        self.candidates = designs.candidate_grid(bounds, self.shape)
        sides = np.ptp(bounds, axis=1) / np.maximum(np.array(self.shape[::-1]) - 1, 1)
        self._half_pixel = 0.5 * sides + 1e-15  # (2,) m; farther is another candidate
        self._inputs = designs.scale_to_box(self.candidates, bounds)
        first = min(config.first, len(self.candidates))
        self._first = designs.first_points(config.seed, self.shape, first)
        self._order = self._policy_order()

    def init(self) -> State:
        """Return the state before the first measurement."""
        return State(learned=self.surrogate.init(self._inputs.shape[1]))

    def steps(self) -> int:
        """Return how many measurements the whole run has."""
        return min(self.config.first + self.config.steps, len(self.candidates))

    def step(self, state: State) -> tuple[State, Decision]:
        """Decide, measure, record: one turn of the loop."""
        begin = time.perf_counter()
        decision = self.ask(state)
        measurement = self.measure(decision)
        decision.timings["total_s"] = time.perf_counter() - begin
        return self.tell(state, decision, measurement), decision

    def ask(self, state: State) -> Decision:
        """Return the next candidate to measure; the state is not changed."""
        begin = time.perf_counter()
        belief = None
        if len(state.indices) < len(self._first):
            index, phase = int(self._first[len(state.indices)]), "first"
        else:
            phase = "search"
            if self._order is None:
                belief = self.believe(state)
            if belief is None:
                index = self._next_in_order(state)
            else:
                index = int(np.argmax(belief.scores))
        decision = Decision(state.seq_num, index, self.candidates[index], phase, belief)
        fit_s = belief.fit_s if belief is not None else 0.0
        decision.timings.update(
            {
                "fit_s": fit_s,
                "decide_s": time.perf_counter() - begin - fit_s,
            }
        )
        return decision

    def believe(self, state: State) -> Belief | None:
        """Fit the surrogate and read it everywhere; None with fewer than 2 values."""
        values = np.array(state.values)
        valid = np.isfinite(values)
        if valid.sum() < 2:
            return None
        measured = np.zeros(len(self.candidates), bool)
        measured[list(state.indices)] = True
        data = pad(self._inputs[list(state.indices)][valid], values[valid])
        key_fit, key_read = step_keys(self.config.seed, state.seq_num)
        begin = time.perf_counter()
        learned, info = self.surrogate.fit(key_fit, state.learned, data)
        fit_s = time.perf_counter() - begin
        if not info.get("finite", 1):
            raise MeasurementFailed(
                f"The surrogate {self.surrogate.name} found no finite fit to "
                f"{int(valid.sum())} values of {self.scalarizer.name}, from "
                f"{values[valid].min():g} to {values[valid].max():g}. Look at them in "
                "the journal; another surrogate or scalarizer may suit them."
            )
        posterior = self.surrogate.predict(key_read, learned, self._inputs)
        mean = np.asarray(posterior.mean)
        variance = np.asarray(posterior.variance)
        # Values are noisy, so the best so far is the best that is believed of them.
        best = float(mean[measured].max())
        scores = np.where(measured, -np.inf, 0.0)
        if not isinstance(self.acquire, Policy):
            scores = np.asarray(self.acquire(posterior, Context(best, measured)))
        return Belief(
            mean=mean,
            sd=np.sqrt(np.maximum(variance, 0.0)),
            scores=scores,
            learned=learned,
            info=info,
            fit_s=fit_s,
        )

    def measure(self, decision: Decision) -> Measurement:
        """Go there and measure; the request ids make both safe to repeat."""
        begin = time.perf_counter()
        rid = f"{self.uid}/{decision.seq_num}"
        self.instrument.move_to(decision.position, rid=f"{rid}/move")
        there = time.perf_counter()
        measurement = self.instrument.measure(
            self.mode.name,
            self.config.dwell_s,
            rid=f"{rid}/measure",
            **dict(self.config.parameters),  # type: ignore[arg-type]
        )
        decision.timings.update(
            {
                "move_s": there - begin,
                "measure_s": time.perf_counter() - there,
            }
        )
        return measurement

    def tell(self, state: State, decision: Decision, measurement: Measurement) -> State:
        """Record a measurement, durably, and return the state that it leads to."""
        value = self._value(decision, measurement)
        notices = list(measurement.info.get("notices", ()))
        apart = np.abs(measurement.actual - decision.position)
        if (apart > self._half_pixel).any():
            notices.append(
                f"decided on {decision.position.tolist()}, but measured at "
                f"{np.asarray(measurement.actual).tolist()}"
            )
        for notice in notices:
            log.warning("measurement %d: %s", decision.seq_num, notice)
        self.journal.save_spectrum(decision.seq_num, measurement)
        belief = decision.belief
        if belief is not None:
            self._save_maps(f"{decision.seq_num:06d}", decision.seq_num, belief)
        if "descriptor" not in self.journal.names:
            self._describe(measurement)
        data = {
            "index": decision.index,
            "x": float(decision.position[0]),
            "y": float(decision.position[1]),
            "actual_x": float(measurement.actual[0]),
            "actual_y": float(measurement.actual[1]),
            "value": value if math.isfinite(value) else None,
            "valid": math.isfinite(value),
            "phase": decision.phase,
            "acquisition": None
            if belief is None
            else _finite(belief.scores[decision.index]),
            "rid": measurement.rid,
            "notices": "; ".join(notices),
            "info": json.dumps({} if belief is None else dict(belief.info)),
            "instrument_time_s": measurement.time_s[1],
            "dose": measurement.dose,
            **{"total_s": 0.0, **decision.timings},
        }
        self.journal.append(
            "event",
            documents.event(self.uid, decision.seq_num, time.time(), data),
        )
        self._prune(decision.seq_num)
        return State(
            indices=(*state.indices, decision.index),
            values=(*state.values, value),
            learned=state.learned if belief is None else belief.learned,
        )

    def _value(self, decision: Decision, measurement: Measurement) -> float:
        """Return the number sought; a function that fails is named, with its place."""
        try:
            return self.scalarizer(measurement)
        except AemtwinError:
            raise
        except Exception as error:
            raise MeasurementFailed(
                f"The scalarizer {self.scalarizer.name} failed on measurement "
                f"{decision.seq_num} ({type(error).__name__}: {error}). Mend it, then: "
                f"aemtwin resume {self.journal.folder}"
            ) from error

    def run(
        self,
        state: State,
        on_step: Callable[[State, Decision], None] | None = None,
    ) -> State:
        """Step until the run is whole; `on_step` is told of each measurement."""
        while len(state.indices) < self.steps():
            state, decision = self.step(state)
            if on_step is not None:
                on_step(state, decision)
        return state

    def overview(self) -> None:
        """Take the first frame, as a microscopist would, unless told not to."""
        if self.first_frame is not None:
            frame = self.instrument.scan(
                channels=[self.first_frame.name], rid=f"{self.uid}/0/overview"
            )
            self.journal.save_spectrum(0, frame)

    def finish(self, state: State) -> Belief | None:
        """Fit once more, with the last measurement too, and keep the maps."""
        belief = self.believe(state)
        if belief is not None:
            self._save_maps("final", len(state.indices), belief)
        return belief

    def replay(self, events: list[dict[str, Any]]) -> State:
        """Return the state that these recorded events lead to.

        Args:
            events: As `RunRecord.events`.
        """
        state = self.init()
        if not events:
            return state
        learned = state.learned
        maps = load_maps(self.journal.folder, f"{len(events):06d}")
        carried = {
            key.removeprefix("carry_"): value
            for key, value in (maps or {}).items()
            if key.startswith("carry_")
        }
        if carried:
            learned = self.surrogate.restore(carried, self._inputs.shape[1])
        return State(
            indices=tuple(int(e["data"]["index"]) for e in events),
            values=tuple(float(e["data"]["value"]) for e in events),
            learned=learned,
        )

    def _policy_order(self) -> NDArray[np.int64] | None:
        """Return the fixed order of a policy; None where the surrogate decides."""
        if isinstance(self.acquire, Policy):
            return self.acquire.order(self.config.seed, self.shape)
        return None

    def _next_in_order(self, state: State) -> int:
        order = self._order
        if order is None:
            order = random_order(self.config.seed, len(self.candidates))
        done = set(state.indices)
        return next(int(i) for i in order if int(i) not in done)

    def _save_maps(self, name: str, seq_num: int, belief: Belief) -> None:
        carried = self.surrogate.carry(belief.learned)
        self.journal.save_maps(
            name,
            {
                "mean": belief.mean,
                "sd": belief.sd,
                "acquisition": belief.scores,
                "seq_num": np.array(seq_num),
                **{f"carry_{key}": value for key, value in carried.items()},
            },
        )

    def _describe(self, measurement: Measurement) -> None:
        self.journal.append(
            "descriptor",
            documents.descriptor(
                self.uid,
                time.time(),
                value_name=self.scalarizer.name,
                value_units=self.scalarizer.units(measurement),
            ),
        )

    def _prune(self, seq_num: int) -> None:
        """Of large maps keep the last two: what resuming and looking need."""
        if len(self.candidates) > KEEP_ALL_MAPS:
            old = self.journal.folder / "maps" / f"{seq_num - 2:06d}.npz"
            old.unlink(missing_ok=True)


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
