"""Campaigns that seek several numbers: where they measure, and that they go on."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.acquisition.hypervolume import EHVI, Several
from aemtwin.documents import steady
from aemtwin.fronts import hypervolume, volumes
from aemtwin.journal import load_maps
from aemtwin.record import read_run
from aemtwin.scalarizers import get
from aemtwin.surrogates.base import Cross, Posterior
from aemtwin.terms import Terms
from aemtwin.trade_offs import _Batch
from tests.small import small_twin
from tests.test_cli import aem
from tests.test_killed import same

RUN = {"first": 4, "steps": 4, "candidates": (6, 5), "seed": 4, "baseline": False}
LOOPS = ["loop_area", "-imprint"]
PCA = ["pca:component=1", "pca:component=2"]


def run(tmp_path, **options):
    told = {**RUN, "surrogate": "multi_gp", **options}
    return aemtwin.run(small_twin(), out=str(tmp_path), **told)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("several")
    return run(out, scalarizer=LOOPS, acquisition="ehvi")


def test_it_measures_where_most_hypervolume_is_expected(done):
    indices = [row["index"] for row in done.table()]
    for k in range(4, 8):
        maps = load_maps(done.path, f"{k + 1:06d}")
        mean = np.column_stack([maps["mean"], *maps["others_mean"]])
        sd = np.column_stack([maps["sd"], *maps["others_sd"]])
        closed = np.isin(np.arange(30), indices[:k])
        scores = EHVI()(Posterior(mean, sd**2), Several(mean[indices[:k]], closed))
        np.testing.assert_allclose(maps["acquisition"], scores, rtol=1e-9)
        assert indices[k] == np.argmax(scores)


def test_the_journal_has_every_number_with_its_unit(done):
    record = done.record
    assert record.sought == [("loop_area", "pm·V"), ("-imprint", "V")]
    expected = [[get(n)(record.spectrum(i)) for n in LOOPS] for i in range(8)]
    np.testing.assert_array_equal(record.outcomes, expected)
    np.testing.assert_array_equal(
        record.outcomes[:, 1], [row["value_2"] for row in done.table()]
    )


def test_scores_are_those_of_the_true_numbers_of_what_was_measured(done):
    truth, told = done.record.true_outcomes, done.record.scores["several"]
    assert truth.shape == (30, 2)
    found = truth[[row["index"] for row in done.table()]]
    at = told["reference"]
    assert told["hypervolume"] == pytest.approx(hypervolume(truth, at))
    share = hypervolume(found, at) / hypervolume(truth, at)
    assert told["rows"][0]["hypervolume_found"] == pytest.approx(share)
    curve = told["curves"]["multi_gp + ehvi"]
    np.testing.assert_allclose(curve, volumes(found, at))


def cut(done: aemtwin.Run, at: int) -> None:
    """Leave what a run that was killed after so many measurements left."""
    journal = done.path / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    events = [i for i, line in enumerate(lines) if line.startswith('["event"')]
    journal.write_text("".join(lines[: events[at]]))
    for name in [f"{n:06d}" for n in range(at + 1, 99)] + ["final", "truth"]:
        (done.path / "maps" / f"{name}.npz").unlink(missing_ok=True)


def events(done):
    skip = "instrument_time_s", "notices"
    told = (steady(event)["data"] for event in done.record.events)
    return [{k: v for k, v in one.items() if k not in skip} for one in told]


def test_a_run_of_two_numbers_goes_on_bit_for_bit(done):
    before, maps = events(done), done.record.maps
    for at in (3, 6):
        cut(done, at)
        again = aemtwin.resume(done.path, small_twin())
        assert events(again) == before
        for name, values in maps.items():
            np.testing.assert_array_equal(values, again.record.maps[name])


CASES = {
    "ehvi": {"scalarizer": LOOPS, "acquisition": "ehvi"},
    "three": {"scalarizer": [*LOOPS, "switching"], "acquisition": "ehvi"},
    "novelty": {"scalarizer": PCA, "acquisition": "novelty:scale=same"},
    "seldom": {"scalarizer": LOOPS, "surrogate": "multi_gp:refit_every=5",
               "acquisition": "novelty:of=mean"},
    "batch": {"scalarizer": LOOPS, "acquisition": "ehvi",
              "search": {"batch": 3, "travel": 1.0, "apart_m": 1e-7}},
    "drawn": {"scalarizer": PCA, "acquisition": "novelty", "search": {"batch": 3}},
    "gate": {"scalarizer": LOOPS, "acquisition": "ehvi",
             "gate": {"quality": "loop_area", "low": 3.0}},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_cut_at_every_step_it_is_the_run_left_alone(tmp_path, case):
    options = {**RUN, "surrogate": "multi_gp", "steps": 16, **CASES[case]}
    whole = aemtwin.run(small_twin(), out=str(tmp_path / "whole"), **options)
    assert len({row["index"] for row in whole.table()}) == 20
    twin = small_twin()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aemtwin.run(twin, out=str(tmp_path / "cut"), on_step=stop, **options)
    folder = next((tmp_path / "cut").iterdir())
    for _ in range(19):
        with pytest.raises(KeyboardInterrupt):
            aemtwin.resume(folder, twin, on_step=stop)
    again = aemtwin.resume(folder, twin)
    same(again, whole)
    np.testing.assert_array_equal(again.record.outcomes, whole.record.outcomes)
    assert (again.path / "report.html").exists() or again.report().is_file()


@pytest.mark.slow
def test_the_command_line_takes_several(tmp_path):
    said = ["run", "--twin", "pfm_loops", "--surrogate", "multi_gp"]
    said += ["--acquisition", "ehvi", "--first", "4", "--steps", "2"]
    said += ["--scalarizer", "coercive_bias", "--scalarizer", "-imprint"]
    ended = aem(*said, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    folder = next((tmp_path / "runs").iterdir())
    assert [name for name, _ in read_run(folder).sought] == [
        "coercive_bias",
        "-imprint",
    ]
    assert "on the front of coercive bias" in (folder / "report.html").read_text()


class Watch:
    """Scores each candidate by the first mean, and keeps what it was told."""

    name, scores = "watch", "any"

    def __init__(self):
        self.told = []

    def __call__(self, at, context):
        self.told.append((at, context))
        return np.where(context.measured, -np.inf, at.mean[:, 0])


def test_each_pick_is_believed_in_as_a_measurement_at_its_mean_would_be():
    m, p, q, noise = 12, 2, 3, np.array([0.1, 0.3])
    x = np.linspace(0, 1, m)
    K = np.exp(-0.5 * ((x[:, None] - x) / 0.2) ** 2)
    K = np.stack([K, 4.0 * K])
    mean = np.column_stack([np.sin(5 * x), np.cos(5 * x)])
    variance = np.stack([np.diag(one) for one in K], axis=1)
    closed, seen = np.zeros(m, bool), mean[:0]

    def cross(index):
        return Cross(K[:, [index]], noise[:, None])

    watch = Watch()
    batch = _Batch(watch, Terms(batch=q), None)
    at = Posterior(mean, variance)
    scores = batch.score(at, seen, closed)
    picks = batch.picks(at, seen, closed, scores, cross)
    assert picks == tuple(np.argsort(-mean[:, 0])[:q])
    for k, (then, context) in enumerate(watch.told):
        chosen = list(picks[:k])
        for j in range(p):
            G = K[j][np.ix_(chosen, chosen)] + noise[j] * np.eye(k)
            left = K[j] - K[j][:, chosen] @ np.linalg.solve(G, K[j][chosen])
            np.testing.assert_allclose(then.variance[:, j], np.diag(left), atol=1e-12)
        np.testing.assert_array_equal(then.mean, mean)
        np.testing.assert_array_equal(context.values, mean[chosen])
        assert set(np.flatnonzero(context.measured)) == set(chosen)


def test_picks_end_where_nothing_is_left_and_keep_their_distance():
    mean = np.column_stack([np.arange(5.0), np.arange(5.0)])
    at, closed = Posterior(mean, np.ones((5, 2))), np.array([0, 1, 0, 1, 1], bool)
    positions = 1e-9 * np.column_stack([np.arange(5.0), np.zeros(5)])
    far = Cross(np.zeros((2, 1, 5)), np.ones((2, 1)))
    for terms, expected in (
        (Terms(batch=4), {0, 2}),
        (Terms(batch=4, positions=positions, apart_m=3e-9), {2}),
        (Terms(batch=4, positions=positions, probe=positions[0]), {0, 2}),
    ):
        batch = _Batch(Watch(), terms, None)
        scores = batch.score(at, mean[:0], closed)
        found = batch.picks(at, mean[:0], closed, scores, lambda _: far)
        assert set(found) == expected
    assert found == (0, 2)  # the way from where the probe is
