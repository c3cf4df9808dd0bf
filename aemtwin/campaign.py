"""The loop: ask the surrogate where to measure, measure there, tell it what was found.

`step` is one turn, on one screen; the rest is what it needs. State is explicit and
every decision depends on (configuration, seed, step, what was measured) alone, so that
a run that was killed goes on from its journal bit for bit. Of the microscope the loop
knows `Instrument` and nothing more; `aemtwin.runs` gives it one, and a folder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from aemtwin import acquisition, designs, documents, maps, surrogates
from aemtwin.acquisition import stopping
from aemtwin.acquisition.policies import random_order
from aemtwin.acquisition.registry import Policy
from aemtwin.beliefs import believe, latent_of, require_together
from aemtwin.choices import (
    input_channels,
    measured_mode,
    overview_channel,
    surrogate_params,
)
from aemtwin.config import CampaignConfig
from aemtwin.decisions import Belief, Decision, Failure, State, event_data
from aemtwin.gates import gate_of
from aemtwin.inputs import (
    View,
    frame_channels,
    positions_alone,
    whole_field,
    with_patches,
)
from aemtwin.instruments.protocol import Instrument
from aemtwin.journal import Journal
from aemtwin.measurement import Measurement
from aemtwin.measuring import measure_at
from aemtwin.noises import Noises
from aemtwin.objectives import Objectives, Sought, require_several, sought_of
from aemtwin.overview import Overview, first_frame
from aemtwin.scalarizers.built_in import require_turning
from aemtwin.terms import Terms, terms_of
from aemtwin.trade_offs import believe_several
from aemtwin.values import Values, notices_of

log = logging.getLogger(__name__)

CANDIDATES = (50, 50)  # (rows, columns), where neither file nor instrument has a grid


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
        scalarizer: Sought = None,
    ) -> None:
        self.instrument, self.config, self.uid = instrument, config, uid
        self.journal = journal
        self.spec = instrument.describe()
        self.mode = measured_mode(self.spec, config)
        arguments = {"mode": self.mode.name, **config.parameters}
        if config.dwell_s is not None:
            arguments["dwell_s"] = config.dwell_s
        # Asking how long a measurement takes checks its arguments before any is made.
        instrument.duration({"call": "measure", "arguments": arguments})
        self._arguments = arguments
        self.sought = sought_of(config, scalarizer)
        self.scalarizer = self.sought[0]
        for one in self.sought:
            if len(self.mode.axes) == 1:
                require_turning(one.name, self.mode.axes[0])
        self.surrogate = surrogates.get(
            config.surrogate.name, **surrogate_params(config)
        )
        self.acquire = acquisition.get(
            config.acquisition.name, **config.acquisition.params
        )
        said = config.stop
        self.rule = None if said is None else stopping.get(said.name, **said.params)
        require_together(self.surrogate, self.acquire, self.rule)
        seek = self.surrogate, self.acquire, self.rule
        require_several(config, self.sought, *seek)
        self.ended = ""  # why it ended before all steps, by the stopping rule
        self.shape = config.candidates or self.mode.shape or CANDIDATES
        self._bounds = self.mode.extent or self.spec.bounds
        self.candidates = designs.candidate_grid(self._bounds, self.shape)
        cells = np.maximum(np.array(self.shape[::-1]) - 1, 1)
        # (2,) m; what was measured farther away belongs to another candidate
        self._half_pixel = 0.5 * np.ptp(self._bounds, axis=1) / cells + 1e-15
        self._choose_frame()
        learns = self.mode, self.surrogate, self.acquire, self.scalarizer
        self._noises = Noises(config, instrument, *learns)
        self._values = Values(journal.folder, gate_of(config.gate), self._noises.per_s)
        self._objectives = Objectives(self.sought, self._values)
        self._pool: Any = None
        self.overview: Overview | None = None  # once it was taken
        self._plan(positions_alone(self.candidates, self._bounds))

    def _choose_frame(self) -> None:
        """Settle which images are scanned first, and which the surrogate reads."""
        reads = bool(getattr(self.surrogate, "patches", False))
        self.images = input_channels(self.spec, self.config, patches=reads)
        shown = overview_channel(self.spec, self.config)
        self.frame = frame_channels(shown, self.images, self.spec)
        if not self.images and not whole_field(self.spec):
            self.frame = ()  # a picture that may not be taken
        if self.frame:
            arguments = {"channels": list(self.frame)}
            self.instrument.duration({"call": "scan", "arguments": arguments})

    def _plan(self, view: View) -> None:
        """Settle the first points and the order of a policy among the candidates."""
        self.view = view = view.within(self.candidates, self.spec)
        first = min(self.config.first, view.count)
        among = len(view.X) if view.count < len(view.X) else first
        points = designs.first_points(self.config.seed, self.shape, among)
        self._first = points[view.allowed[points]][:first]
        self._order = random_order(self.config.seed, len(view.X))
        if isinstance(self.acquire, Policy):
            self._order = self.acquire.order(self.config.seed, self.shape)
        self._order = self._order[view.allowed[self._order]]

    def look(self) -> None:
        """Take the first frame, as a microscopist would, or read it again.

        A surrogate that reads images sees the candidates as this frame shows them.
        """
        if not self.frame:
            return
        reads = self.surrogate.name if self.images else ""
        about = self.instrument, self.journal, self.uid
        if (frame := first_frame(*about, self.frame, reads)) is None:
            return
        if self.images:
            self._plan(self._see(frame))
        strips = self.config.inputs.refresh, len(self._first)
        self.overview = Overview(*about, frame, *strips, self._see)

    def _see(self, frame: Measurement) -> View:
        """Return the candidates as a frame shows them."""
        if not self.images:
            return self.view
        seen = self.candidates, self._bounds, frame, self.images
        return with_patches(*seen, self.config.inputs)

    def init(self) -> State:
        """Return the state before the first measurement."""
        learned = self.surrogate.init(self.view.X.shape[1])
        return State(learned=learned, scalarizer=self.scalarizer)

    def steps(self) -> int:
        """Return how many measurements the whole run has."""
        return min(self.config.first + self.config.steps, self.view.count)

    def step(self, state: State) -> tuple[State, Decision]:
        """Decide, measure, record: one turn of the loop; or say that it ends."""
        begin = time.perf_counter()
        if self.overview is not None:
            view = self.overview.refreshed(self.view, state.indices)
            if view is not self.view:
                self.view, self._pool = view, None
        decision = self.ask(state)
        if decision.ends:
            return state, decision
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
            if not (state.pending or isinstance(self.acquire, Policy)):
                belief = self.believe(state)
            decided = state.pending if belief is None else belief.batch
            index = decided[0] if decided else self._next_in_order(state)
        decision = Decision(state.seq_num, index, self.candidates[index], phase, belief)
        decision = replace(decision, dwell_s=self._noises.dwell_s(belief, index))
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
        pool, self._pool = self._pool, None  # a belief uses it up
        seed, about = self.config.seed, (self.surrogate, self.acquire, self.view)
        find = believe if len(self.sought) == 1 else believe_several
        belief = find(*about, state, seed, pool, self._terms(state))
        self._pool = None if belief is None else belief.pool
        return belief

    def _terms(self, state: State) -> Terms:
        """Return what else a decision weighs; nothing is asked where nothing is."""
        done = np.array(state.indices, np.int64)
        field = self.candidates, self.view.allowed, done
        about = (self.config.search, self.instrument, *field, self._arguments)
        terms = terms_of(*about, state.known)
        left = max(1, self.steps() - len(state.indices))
        return terms._replace(
            rule=self.rule,
            decided=len(state.indices) - len(self._first),
            batch=min(self.config.search.batch, left),
            positions=self.candidates,
            shape=self.shape,
            # not where the probe is: of a resumed run that may be elsewhere
            probe=self.candidates[done[-1]] if done.size else None,
        )

    def measure(self, decision: Decision) -> Measurement | Failure:
        """Go there and measure; the request ids make both safe to repeat."""
        where = self.instrument, self.uid, decision, self.mode.name
        return measure_at(*where, decision.dwell_s, self.config.parameters)

    def tell(
        self, state: State, decision: Decision, measured: Measurement | Failure
    ) -> State:
        """Record a measurement, durably, and return the state that it leads to."""
        found = None if isinstance(measured, Failure) else measured
        sought = self._objectives
        scalarizer, values, others = sought.after(state, self.scalarizer, found)
        notices = notices_of(decision, measured, values, self._half_pixel)
        notices += sought.notices(found, others)
        if self.overview is not None and self.overview.notice:
            notices.append(self.overview.notice)
        if found is not None and (why := self._values.refuses(found)):
            notices.append(why)
        for notice in notices:
            log.warning("measurement %d: %s", decision.seq_num, notice)
        if found is not None:
            self.journal.save_spectrum(decision.seq_num, found)
        if "descriptor" not in self.journal.names:
            self._describe(found)
        sd = self._values.sd(scalarizer, found, counts=self._noises.counts)
        after = State(
            indices=(*state.indices, decision.index),
            values=values,
            learned=state.learned,
            scalarizer=scalarizer,
            pending=state.pending[1:],
            known=self._noises.after(state.known, decision, sd),
            others=others,
        )
        belief = decision.belief
        if belief is not None:
            maps.save(self.journal, self.surrogate, belief, decision.seq_num)
            after = replace(after, learned=belief.learned, pending=belief.batch[1:])
        if sought.learn(scalarizer):  # what earlier measurements mean by now
            self.journal.save_maps("values", sought.maps(values, others))
        data = event_data(decision, measured, values[-1], "; ".join(notices))
        data |= self._noises.data(after.known)
        data |= sought.data(others)
        self.journal.append(
            "event",
            documents.event(self.uid, decision.seq_num, time.time(), data),
        )
        maps.prune(self.journal, decision.seq_num, len(self.candidates))
        return after

    def run(
        self,
        state: State,
        on_step: Callable[[State, Decision], None] | None = None,
    ) -> State:
        """Step to the end, telling `on_step`; of a rule's end `ended` says why."""
        while len(state.indices) < self.steps():
            state, decision = self.step(state)
            if decision.ends:
                self.ended = f"stopping rule {decision.ends}"
                break
            if on_step is not None:
                on_step(state, decision)
        return state

    def finish(self, state: State) -> Belief | None:
        """Fit once more, with the last measurement too, and keep the maps."""
        belief = self.believe(state)
        if belief is not None:
            latent = latent_of(self.surrogate, belief.learned, self.view)
            belief = replace(belief, latent=latent)
            maps.save(self.journal, self.surrogate, belief, len(state.indices), "final")
        return belief

    def replay(self, events: list[dict[str, Any]]) -> State:
        """Return the state that these recorded events lead to.

        Args:
            events: As `RunRecord.events`.
        """
        state = self.init()
        if not events:
            return state
        learned, pending = maps.taken_up(
            self.journal,
            self.surrogate,
            self.view.X.shape[1],
            len(events),
            self.config.search.batch,
        )
        scalarizer, values, others = self._objectives.read(self.scalarizer, events)
        indices = tuple(int(e["data"]["index"]) for e in events)
        if self.overview is not None:
            self.view = self.overview.again(self.view, indices)
        known = self._noises.read(events)
        return State(indices, values, learned, scalarizer, pending, known, others)

    def _next_in_order(self, state: State) -> int:
        done = set(state.indices)
        return next(int(i) for i in self._order if int(i) not in done)

    def _describe(self, found: Measurement | None) -> None:
        """Say what an event holds; where the first spot failed, without a unit."""
        self.journal.append(
            "descriptor",
            documents.descriptor(
                self.uid,
                time.time(),
                value_name=self._objectives.names[0],
                value_units="" if found is None else self.scalarizer.units(found),
                more=self._noises.keys,
                others=self._objectives.units(found),
            ),
        )
