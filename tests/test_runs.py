"""Runs: whole, resumed, repeated; what the folder holds and what it says."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

import aemtwin
from aemtwin import documents, journal
from aemtwin.config import CampaignConfig, load
from aemtwin.documents import steady
from aemtwin.errors import (
    BadConfig,
    BadJournal,
    OperationStopped,
    OutOfRange,
    UnknownName,
)
from aemtwin.instruments.ledger import Ledger
from aemtwin.record import read_run
from aemtwin.sections import TwinSource
from tests.small import small_twin

SMALL = {"first": 4, "steps": 6, "candidates": (6, 5), "seed": 2}
FIRST_SEARCH = 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> aemtwin.Run:
    """A run over the wire, on a twin in a process of its own."""
    out = tmp_path_factory.mktemp("runs")
    twin = TwinSource(source="pfm_loops", seed=2)
    config = CampaignConfig(twin=twin, first=4, steps=6, seed=2, out=str(out))
    return aemtwin.run(config=config)


def told(record) -> list[object]:
    """The events without identities and wall clocks."""
    return [steady(e) for e in record.events]


def test_the_folder_holds_what_was_promised(whole):
    for name in (
        "config.toml",
        "environment.json",
        "journal.jsonl",
        "data.nsid.h5",
        "scores.json",
        "ledger.sqlite",
        "maps/final.npz",
        "maps/truth.npz",
        "maps/candidates.npz",
        "random/journal.jsonl",
    ):
        assert (whole.path / name).is_file(), name


def test_events_are_numbered_and_each_spot_is_measured_once(whole):
    events = whole.record.events
    assert [e["seq_num"] for e in events] == list(range(1, 11))
    assert len({e["data"]["index"] for e in events}) == 10
    assert [e["data"]["phase"] for e in events] == ["first"] * 4 + ["search"] * 6
    for event in events:
        assert event["data"]["rid"] == f"{whole.record.uid}/{event['seq_num']}/measure"
        assert event["data"]["notices"] == ""
        x, y = whole.record.candidates[event["data"]["index"]]
        assert (event["data"]["x"], event["data"]["y"]) == (x, y)


def test_the_journal_is_in_the_event_models_form(whole):
    written, _ = journal.read_documents(whole.path / journal.JOURNAL)
    names = [name for name, _ in written]
    assert names == ["start", "descriptor", *["event"] * 10, "stop"]
    start, descriptor, stop = written[0][1], written[1][1], written[-1][1]
    assert descriptor["run_start"] == stop["run_start"] == start["uid"]
    assert set(descriptor["data_keys"]) == set(documents.DATA_KEYS)
    for _, event in written[2:-1]:
        assert event["descriptor"] == descriptor["uid"]
        assert (
            set(event["data"]) == set(event["timestamps"]) == set(documents.DATA_KEYS)
        )
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"primary": 10})
    assert stop["compilations"] >= 0  # what other tests compiled is in memory


def test_the_instrument_did_what_the_journal_says(whole):
    acts = [r for r in _ledger(whole.path) if "-random" not in r["rid"]]
    assert [a["call"] for a in acts] == ["scan", *["move_to", "measure"] * 10]
    moves = [a["arguments"]["position"] for a in acts if a["call"] == "move_to"]
    asked = [[e["data"]["x"], e["data"]["y"]] for e in whole.record.events]
    assert moves == asked


def _ledger(path: Path):
    ledger = Ledger(path / journal.LEDGER)
    events = ledger.events()
    ledger.close()
    return events


def test_best_table_posterior_and_scores_tell_the_run(whole):
    values = [row["value"] for row in whole.table()]
    assert whole.best["value"] == max(values)
    assert whole.best["seq_num"] == 1 + values.index(max(values))
    posterior = whole.posterior()
    assert posterior["mean"].shape == posterior["sd"].shape == (2500,)
    assert np.all(posterior["sd"] > 0)
    assert 0 <= whole.scores["top_1_percent_found"] <= 1
    truth = whole.record.truth
    measured = [row["index"] for row in whole.table()]
    regret = np.max(truth) - np.max(truth[measured])
    assert whole.scores["regret"] == pytest.approx(regret)
    error = np.sqrt(np.mean((posterior["mean"] - truth) ** 2))
    assert whole.scores["rmse"] == pytest.approx(error)


def test_random_is_in_the_same_table(whole):
    methods = [row["method"] for row in whole.record.scores["rows"]]
    assert methods == ["gp + log_ei", "random"]
    random = read_run(whole.path / "random")
    ours = whole.record.events
    for one, other in zip(ours[:4], random.events[:4], strict=True):
        assert one["data"]["index"] == other["data"]["index"]
        assert one["data"]["value"] == other["data"]["value"]  # the same chance
    assert len(random.events) == len(ours)


def test_the_data_file_holds_the_spectra_that_were_measured(whole):
    from aemtwin.formats.nsid import open_nsid

    with open_nsid(whole.path / journal.DATA) as file:
        loops = file.array("loops")
        kept = np.asarray(loops.data[()])
    for i in range(10):
        np.testing.assert_array_equal(kept[i], whole.record.spectrum(i).values)


def test_the_same_description_makes_the_same_run(whole, tmp_path):
    again = aemtwin.run(config=load(whole.path / "config.toml"), out=str(tmp_path))
    assert told(again.record) == told(whole.record)
    assert again.record.scores == whole.record.scores
    assert (
        load(again.path / "config.toml").twin == load(whole.path / "config.toml").twin
    )


SOME = [pytest.param(kept, marks=pytest.mark.slow) for kept in (3, 4, 8)]


@pytest.mark.parametrize("kept", [0, FIRST_SEARCH, 10, *SOME])
def test_a_run_cut_off_goes_on_as_if_it_had_not_been(whole, tmp_path, kept):
    """As after kill -9: `kept` events, half a line, and maps that were ahead of it."""
    cut = cut_off(whole.path, tmp_path / whole.path.name, kept)
    resumed = aemtwin.resume(cut)
    assert told(resumed.record) == told(whole.record)
    assert resumed.record.scores == whole.record.scores
    assert resumed.record.stop["exit_status"] == "success"
    begun = [r["rid"] for r in _ledger(cut)]
    assert len(begun) == len(set(begun))


def cut_off(source: Path, target: Path, kept: int) -> Path:
    shutil.copytree(source, target)
    shutil.rmtree(target / "random")
    lines = (target / journal.JOURNAL).read_text().splitlines(keepends=True)
    head = [line for line in lines if not line.startswith(('["event"', '["stop"'))]
    events = [line for line in lines if line.startswith('["event"')]
    torn = lines[len(head) + kept][: len(lines[-1]) // 2]
    (target / journal.JOURNAL).write_text("".join(head + events[:kept]) + torn)
    for name in ("scores.json", "data.nsid.h5", "maps/final.npz", "maps/truth.npz"):
        (target / name).unlink()
    # The instrument was one request ahead of the journal, and knows nothing later.
    ahead = f"{source.name}/{min(kept + 1, 10)}/measure"
    with sqlite3.connect(target / journal.LEDGER) as ledger:
        last = "(SELECT n FROM operation WHERE rid = ?)"
        ledger.execute(f"DELETE FROM operation WHERE n > {last}", (ahead,))
        unended = "UPDATE operation SET end_s = NULL, told = '{}', answer = NULL"
        ledger.execute(f"{unended} WHERE rid = ?", (ahead,))
    ledger.close()
    return target


def test_resuming_a_whole_run_changes_nothing(whole):
    before = (whole.path / journal.JOURNAL).read_bytes()
    assert aemtwin.resume(whole.path).best == whole.best
    assert (whole.path / journal.JOURNAL).read_bytes() == before


def test_in_process_and_over_the_wire_decide_the_same(whole, tmp_path):
    near = aemtwin.run(
        aemtwin.open_twin("pfm_loops", seed=2),
        first=4,
        steps=6,
        seed=2,
        out=str(tmp_path),
    )
    assert told(near.record) == told(whole.record)


def test_a_real_instrument_has_no_scores(tmp_path):
    with aemtwin.serve(small_twin()) as server:  # no truth, as a controller
        client = aemtwin.connect(server.uri)
        run = aemtwin.run(client, out=str(tmp_path), **SMALL)
        client.close()
    assert run.record.scores is None
    assert run.scores == {}
    assert not (run.path / "random").exists()


def test_a_run_ends_when_everything_is_measured(tmp_path):
    twin = small_twin()
    run = aemtwin.run(twin, out=str(tmp_path), first=4, steps=500)
    assert len(run.table()) == 30
    assert run.record.stop["exit_status"] == "success"


@pytest.mark.parametrize("acquisition", ["random", "grid", "ucb:beta=3", "variance"])
def test_every_acquisition_runs(tmp_path, acquisition):
    run = aemtwin.run(small_twin(), out=str(tmp_path), acquisition=acquisition, **SMALL)
    assert len({row["index"] for row in run.table()}) == 10


def test_a_value_that_is_no_number_is_recorded_and_left_out(tmp_path):
    calls = iter(range(100))

    def sometimes(measurement):
        value = float(np.ptp(measurement.values))
        return math.nan if next(calls) % 3 == 1 else value

    run = aemtwin.run(
        small_twin(), out=str(tmp_path), scalarizer=sometimes, baseline=False, **SMALL
    )
    valid = [row["valid"] for row in run.table()]
    assert valid[:5] == [True, False, True, True, False]
    assert math.isnan(run.table()[1]["value"])


def test_any_callable_is_a_scalarizer(tmp_path):
    run = aemtwin.run(
        small_twin(ideal=True), out=str(tmp_path), scalarizer=largest, **SMALL
    )
    assert run.record.value_name.endswith("largest")
    for row, spectrum in zip(
        run.table(), map(run.record.spectrum, range(10)), strict=True
    ):
        assert row["value"] == float(np.max(spectrum.values))


def largest(measurement):
    return float(np.max(measurement.values))


def test_a_failure_is_recorded_and_can_be_resumed(tmp_path):
    class Failing:
        def __init__(self, twin):
            self.twin, self.left = twin, 7

        def __getattr__(self, name):
            return getattr(self.twin, name)

        def measure(self, *args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("the tip broke")
            return self.twin.measure(*args, **kwargs)

    twin = small_twin()
    with pytest.raises(RuntimeError, match="the tip broke"):
        aemtwin.run(Failing(twin), out=str(tmp_path), **SMALL)
    folder = next(tmp_path.iterdir())
    record = read_run(folder)
    assert record.stop["exit_status"] == "fail"
    assert "the tip broke" in record.stop["reason"]
    assert len(record.events) == 6
    resumed = aemtwin.resume(folder, twin)
    whole = aemtwin.run(small_twin(), out=str(tmp_path / "whole"), **SMALL)
    assert told(resumed.record) == told(whole.record)


def test_a_run_is_resumed_on_its_own_instrument_only(whole, tmp_path):
    cut = cut_off(whole.path, tmp_path / whole.path.name, 4)
    with pytest.raises(BadJournal, match="another instrument"):
        aemtwin.resume(cut, aemtwin.open_twin("pfm_loops", seed=3))


def test_a_folder_that_is_no_run_is_said(tmp_path):
    for act in (aemtwin.resume, aemtwin.Run, read_run):
        with pytest.raises(BadJournal, match="is not a run folder"):
            act(tmp_path)


def test_a_journal_damaged_in_the_middle_is_said(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "run")
    path = tmp_path / "run" / journal.JOURNAL
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], lines[4][:30] + "\n", *lines[5:]]))
    with pytest.raises(BadJournal, match="line 5 is not JSON"):
        read_run(tmp_path / "run")


def test_a_run_needs_an_instrument(tmp_path):
    with pytest.raises(BadConfig, match="needs an instrument"):
        aemtwin.run(out=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"surrogate": "gpp"},
        {"acquisition": "log_e"},
        {"scalarizer": "loop_aera"},
        {"mode": "lops"},
        {"overview": "heigth"},
    ],
)
def test_an_unknown_name_is_said_before_anything_is_measured(tmp_path, options):
    twin = small_twin()
    with pytest.raises(UnknownName, match="Did you mean"):
        aemtwin.run(twin, out=str(tmp_path), **options)
    assert twin.ledger() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"dwell_s": 1e9}, OutOfRange),
        ({"parameters": {"frequency": 1.0}}, UnknownName),
        ({"scalarizer": "band_intensity:high=1,low=2"}, BadConfig),
        ({"surrogate": "gp:starts=0"}, BadConfig),
    ],
)
def test_a_wrong_parameter_is_said_before_anything_is_measured(tmp_path, options, kind):
    twin = small_twin()
    with pytest.raises(kind):
        aemtwin.run(twin, out=str(tmp_path), **options)
    assert twin.ledger() == []
    assert list(tmp_path.iterdir()) == []


def test_a_sample_without_spectra_cannot_be_run(tmp_path):
    from aemtwin.formats.specimens import make_sample
    from aemtwin.instruments.afm import AFM
    from aemtwin.instruments.twin import Twin
    from tests.small import small_arrays

    images = Twin(make_sample(small_arrays()[:2]), AFM, name="images")
    with pytest.raises(BadConfig, match="images alone"):
        aemtwin.run(images, out=str(tmp_path))


def test_the_environment_is_told(whole):
    told = json.loads((whole.path / "environment.json").read_text())
    assert told["packages"]["jax"]
    assert told["python"]
    start = whole.record.start
    assert len(start["instrument"]["identity"]["data_sha256"]) == 64


@pytest.mark.slow
def test_a_run_on_a_file_is_resumed_from_any_folder(tmp_path, monkeypatch):
    from aemtwin.formats.catalog import find_twin

    shutil.copy(find_twin("pfm_loops").data, tmp_path / "my.nsid.h5")
    monkeypatch.chdir(tmp_path)
    config = CampaignConfig(twin=TwinSource(source="my.nsid.h5"), first=3, steps=1)
    run = aemtwin.run(config=config)
    folder = tmp_path / run.path
    lines = (folder / journal.JOURNAL).read_text().splitlines(keepends=True)
    (folder / journal.JOURNAL).write_text("".join(lines[:-2]))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert told(aemtwin.resume(folder).record) == told(aemtwin.Run(folder).record)
    again = aemtwin.run(config=load(folder / "config.toml"))
    assert again.best == aemtwin.Run(folder).best


def test_a_run_whose_data_was_moved_is_resumed_on_it(tmp_path):
    from aemtwin.formats.catalog import find_twin

    shutil.copy(find_twin("pfm_loops").data, tmp_path / "a.nsid.h5")
    run = aemtwin.run(
        aemtwin.open_twin(tmp_path / "a.nsid.h5"), first=3, steps=1, out=str(tmp_path)
    )
    journal_file = run.path / journal.JOURNAL
    lines = journal_file.read_text().splitlines(keepends=True)
    journal_file.write_text("".join(lines[:-2]))
    (tmp_path / "a.nsid.h5").rename(tmp_path / "b.nsid.h5")
    resumed = aemtwin.resume(run.path, aemtwin.open_twin(tmp_path / "b.nsid.h5"))
    assert resumed.best == run.best


class Killed(BaseException):
    """What kill -9 would do, at one write and all after it."""


def test_killed_at_any_write_it_is_resumed_as_if_it_had_not_been(tmp_path, monkeypatch):
    """Start, candidates, frame, maps, spectra, events, scores, baseline: any write."""
    options = {"first": 3, "steps": 2, "candidates": (6, 5), "seed": 1}
    fsync, left = os.fsync, [10**9]

    def counted(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", counted)
    whole = aemtwin.run(small_twin(), out=str(tmp_path / "whole"), **options)
    writes = 10**9 - left[0]
    assert writes > 30
    for k in range(writes):
        twin, out = small_twin(), tmp_path / str(k)
        left[0] = k
        with contextlib.suppress(Killed):
            aemtwin.run(twin, out=str(out), **options)
        left[0] = 10**9
        folders = list(out.iterdir())
        if not folders:  # nothing had been written: begin again
            continue
        resumed = aemtwin.resume(folders[0], twin)
        assert told(resumed.record) == told(whole.record), k
        assert resumed.record.scores == whole.record.scores, k
        assert resumed.record.stop["exit_status"] == "success"
        assert len(twin.events()) == len({e["rid"] for e in twin.events()})
        assert (
            resumed.posterior()["mean"].tolist() == whole.posterior()["mean"].tolist()
        )
        assert (resumed.path / "environment.json").is_file()
        assert read_run(resumed.path / "random").stop is not None


def test_a_stopped_run_is_resumed(tmp_path):
    twin = small_twin(real_time=True)
    twin.configure(settle_s=0.0, speed_m_s=1e-3)
    options = {**SMALL, "dwell_s": 0.02, "overview": "", "baseline": False}
    stopped_once = []

    def stop(campaign, state, decision):
        if len(state.indices) == 6 and not stopped_once:
            stopped_once.append(True)
            threading.Timer(0.01, twin.stop).start()

    with contextlib.suppress(OperationStopped):
        aemtwin.run(twin, out=str(tmp_path), on_step=stop, **options)
    resumed = aemtwin.resume(next(tmp_path.iterdir()), twin)
    assert resumed.record.stop["exit_status"] == "success"
    assert len(resumed.table()) == 10


def test_a_random_run_is_a_run_too(whole):
    random = aemtwin.Run(whole.path / "random")
    assert random.record.stop["exit_status"] == "success"
    assert random.posterior()["mean"].shape == (2500,)
    assert random.record.config["acquisition"]["name"] == "random"


def test_a_scalarizer_may_look_at_all_of_a_measurement(tmp_path):
    run = aemtwin.run(
        small_twin(ideal=True), scalarizer=where, out=str(tmp_path), **SMALL
    )
    values = [row["value"] for row in run.table()]
    truth = run.record.truth[[row["index"] for row in run.table()]]
    np.testing.assert_array_equal(values, truth)


def where(measurement):
    x, y = measurement.actual
    assert measurement.values.shape == (12,)
    return x / 4e-7 + y / 1e-6 + measurement.dwell_s + len(measurement.info["mode"])


def test_spots_without_a_true_value_count_for_nobody(tmp_path):
    run = aemtwin.run(
        small_twin(ideal=True), scalarizer=sometimes_none, out=str(tmp_path), **SMALL
    )
    truth = run.record.truth
    assert 0 < np.isnan(truth).sum() < 30
    assert run.scores["regret"] >= 0
    assert np.isnan(run.record.scores["curves"]["random"]).sum() <= 10
    run.report()


def sometimes_none(measurement):
    value = float(np.ptp(measurement.values))
    return math.nan if value > 4.0 else value


def test_where_nothing_is_true_nothing_is_scored(tmp_path):
    calls = []

    def only_noise(measurement):
        calls.append(measurement.rid)
        return 1.0 if measurement.rid else math.inf

    run = aemtwin.run(small_twin(), scalarizer=only_noise, out=str(tmp_path), **SMALL)
    assert run.record.scores is None
    assert run.record.stop["exit_status"] == "success"


def test_a_score_that_fails_costs_the_score_alone(tmp_path):
    def fails_on_truth(measurement):
        if not measurement.rid:
            raise RuntimeError("never meant for this")
        return float(np.ptp(measurement.values))

    run = aemtwin.run(
        small_twin(), scalarizer=fails_on_truth, out=str(tmp_path), **SMALL
    )
    assert run.record.stop["exit_status"] == "success"
    assert "could not be scored" in (run.path / "log.jsonl").read_text()


def test_two_writers_of_one_run_are_refused(whole, tmp_path):
    cut = cut_off(whole.path, tmp_path / whole.path.name, 4)
    with (
        journal.Journal(cut),
        pytest.raises(BadJournal, match="written by another process"),
    ):
        aemtwin.resume(cut, aemtwin.open_twin("pfm_loops", seed=2))


def test_a_first_frame_beyond_the_limits_is_said_before_anything_is_done(tmp_path):
    from aemtwin.formats.catalog import find_twin

    folder = shutil.copytree(find_twin("pfm_loops").folder, tmp_path / "mine")
    toml = folder / "twin.toml"
    toml.write_text(toml.read_text().replace("points = 1048576", "points = 100"))
    twin = aemtwin.open_twin(folder)
    with pytest.raises(OutOfRange, match=r"allowed is 1 to 100"):
        aemtwin.run(twin, out=str(tmp_path / "runs"))
    assert twin.ledger() == []
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.slow
def test_scifireaders_opens_the_data_of_a_run(whole):
    reader = pytest.importorskip("SciFiReaders", reason="needs aemtwin[readers]")
    datasets = reader.NSIDReader(str(whole.path / journal.DATA)).read()
    loops = next(d for d in datasets.values() if d.quantity == "Piezoresponse")
    kept = np.stack([whole.record.spectrum(i).values for i in range(10)])
    np.testing.assert_array_equal(np.asarray(loops), kept)
    assert loops.units == "pm"


def test_noise_and_calibration_are_part_of_the_description(tmp_path):
    twin = aemtwin.open_twin("pfm_loops", noise={"loops": 30.0}, seed=1)
    near = aemtwin.run(twin, first=3, steps=0, out=str(tmp_path))
    assert load(near.path / "config.toml").twin.noise == {"loops": 30.0}
    again = aemtwin.run(config=load(near.path / "config.toml"), out=str(tmp_path))
    assert told(again.record) == told(near.record)
