"""The loop: what it decides depends on what it was told, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.campaign import Campaign
from aemtwin.choices import overview_channel
from aemtwin.config import build
from aemtwin.documents import run_start
from aemtwin.errors import BadConfig, MeasurementFailed
from aemtwin.journal import Journal
from aemtwin.record import read_run
from tests.small import small_twin

SMALL = {"twin": {"source": "small"}, "first": 4, "steps": 6, "seed": 2}


@pytest.fixture
def campaign(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append("start", run_start("run", 0.0))
        yield Campaign(small_twin(), build(SMALL), journal, "run")


def advance(campaign, state, n):
    for _ in range(n):
        state, _ = campaign.step(state)
    return state


def test_asking_changes_nothing(campaign):
    state = advance(campaign, campaign.init(), 6)
    first, again = campaign.ask(state), campaign.ask(state)
    assert first.index == again.index
    np.testing.assert_array_equal(first.belief.mean, again.belief.mean)
    assert len(campaign.instrument.events()) == 12


def test_it_goes_where_the_acquisition_is_highest_and_never_back(campaign):
    state = campaign.init()
    for _ in range(10):
        state, decision = campaign.step(state)
        if decision.belief is not None:
            scores = decision.belief.scores
            assert decision.index == np.argmax(scores)
            assert np.isneginf(scores[list(state.indices[:-1])]).all()
    assert len(set(state.indices)) == 10


def test_the_first_points_are_spread_and_seeded(campaign, tmp_path):
    state = advance(campaign, campaign.init(), 4)
    points = campaign.candidates[list(state.indices)]
    assert np.ptp(points, axis=0) == pytest.approx(
        np.ptp(campaign.candidates, axis=0), rel=0.6
    )
    with Journal(tmp_path / "b") as journal:
        other = Campaign(small_twin(), build({**SMALL, "seed": 3}), journal, "run")
        assert advance(other, other.init(), 4).indices != state.indices


def test_the_event_is_durable_before_the_state_advances(campaign):
    state = advance(campaign, campaign.init(), 5)
    decision = campaign.ask(state)
    measured = campaign.measure(decision)
    decision.timings["total_s"] = 0.0

    def full(*_):
        raise OSError("the disk is full")

    campaign.journal.append = full
    with pytest.raises(OSError, match="full"):
        campaign.tell(state, decision, measured)
    assert len(state.indices) == 5
    assert len(read_run(campaign.journal.folder).events) == 5


def test_an_instrument_that_measures_elsewhere_is_told_of(campaign):
    state = campaign.init()
    decision = campaign.ask(state)
    campaign.measure(decision)
    campaign.instrument.move_to((0, 0))
    elsewhere = campaign.instrument.measure()
    decision.timings["total_s"] = 0.0
    campaign.tell(state, decision, elsewhere)
    notices = read_run(campaign.journal.folder).events[0]["data"]["notices"]
    assert "decided on" in notices


def test_a_derived_image_is_no_overview():
    import dataclasses

    spec = small_twin().describe()
    derived = dataclasses.replace(spec.channels[0], derived="mean over bias")
    changed = dataclasses.replace(spec, channels=(derived, *spec.channels[1:]))
    assert overview_channel(changed, build(SMALL)).name == "counts"
    assert overview_channel(spec, build({**SMALL, "overview": ""})) is None
    assert (
        overview_channel(spec, build({**SMALL, "overview": "counts"})).name == "counts"
    )


def test_a_fit_that_is_not_finite_stops_the_run(campaign, monkeypatch):
    state = advance(campaign, campaign.init(), 5)
    fit = campaign.surrogate.fit

    class Broken:
        name = "gp"

        def fit(self, *arguments):
            learned, info = fit(*arguments)
            return learned, {**info, "finite": 0}

    monkeypatch.setattr(campaign, "surrogate", Broken())
    with pytest.raises(MeasurementFailed, match="no finite fit to 5 values"):
        campaign.ask(state)


def test_with_one_valid_value_it_measures_in_the_random_order(campaign):
    from dataclasses import replace

    state = advance(campaign, campaign.init(), 4)
    blind = replace(state, values=(1.0, np.nan, np.nan, np.nan))
    decision = campaign.ask(blind)
    assert decision.belief is None
    assert decision.index not in blind.indices


def test_of_large_maps_the_last_two_are_kept(campaign, monkeypatch):
    monkeypatch.setattr("aemtwin.maps.KEEP_ALL", 10)
    advance(campaign, campaign.init(), 10)
    kept = sorted(p.name for p in (campaign.journal.folder / "maps").iterdir())
    assert kept == ["000009.npz", "000010.npz"]


def test_a_whole_run_compiles_once_a_bucket(tmp_path):
    from aemtwin.surrogates.base import bucket, count_compilations

    config = build({**SMALL, "first": 3, "steps": 24})
    for name in ("first", "second"):
        with Journal(tmp_path / name) as journal, count_compilations() as seen:
            campaign = Campaign(small_twin(), config, journal, name)
            advance(campaign, campaign.init(), 27)
    assert bucket(27) == 32
    assert seen.count == 0  # another campaign of the same shapes compiles nothing


def test_a_loop_is_not_sought_where_the_sweep_never_turns(tmp_path):
    from aemtwin.formats.specimens import make_sample
    from aemtwin.instruments.afm import AFM
    from aemtwin.instruments.twin import Twin
    from aemtwin.sample import StoredArray
    from aemtwin.specs import Axis
    from tests.small import small_arrays

    loops = small_arrays()[2]
    energy = Axis("energy", "eV", np.arange(12.0), "Energy", "spectral")
    spectra = StoredArray("eels", "", "", loops.data, (*loops.axes[:2], energy))
    twin = Twin(make_sample([spectra]), AFM, name="eels")
    with Journal(tmp_path) as journal:
        for name in ("loop_area", "coercive_bias"):
            with pytest.raises(BadConfig, match="takes a loop, and 'energy' only goes"):
                Campaign(twin, build({**SMALL, "scalarizer": name}), journal, "run")
    assert twin.ledger() == []


def test_a_scalarizer_that_fails_is_named_with_the_way_on(campaign):
    def broken(measurement):
        return measurement.vals

    from aemtwin import scalarizers

    campaign.scalarizer = scalarizers.get(broken)
    with pytest.raises(
        MeasurementFailed, match=r"measurement 1 \(AttributeError.*resume"
    ):
        campaign.step(campaign.init())
