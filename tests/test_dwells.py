"""How long to measure is decided, and what each value is worth is believed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

import aemtwin
from aemtwin.documents import DATA_KEYS, steady
from aemtwin.dwells import Dwells, decide, rough_of
from aemtwin.errors import BadConfig, MeasurementFailed, OutOfRange
from aemtwin.journal import load_spectrum, read_documents
from aemtwin.scalarizers import get
from aemtwin.surrogates.base import Posterior, pad
from aemtwin.surrogates.gp import GP
from tests.small import small_twin

LADDER = (0.1, 0.5, 2.0)
RUN = {"first": 4, "steps": 8, "candidates": (9, 8), "seed": 3, "baseline": False}
DECIDES = {**RUN, "search": {"dwell_s": LADDER}}


def run(tmp_path, twin=None, **options):
    return aemtwin.run(twin or small_twin(), out=str(tmp_path), **{**RUN, **options})


def mean(measurement):
    return float(np.mean(measurement.values))


def sd_of_mean(measurement):
    return 0.05 if measurement.actual[0] > 2e-7 else math.nan


mean.sd = sd_of_mean


@pytest.fixture
def fitted(monkeypatch):
    """What every fit was given."""
    seen, fit = [], GP.fit

    def noting(self, key, state, data):
        seen.append(data)
        return fit(self, key, state, data)

    monkeypatch.setattr(GP, "fit", noting)
    return seen


def test_the_noise_of_one_second_is_the_likeliest_one():
    rng = np.random.default_rng(0)
    x, t = rng.random((60, 1)), rng.choice([0.1, 0.5, 2.0], 60)
    K = np.exp(-0.5 * ((x - x.T) / 0.2) ** 2)
    y = rng.multivariate_normal(np.zeros(60), K + np.diag(0.3**2 / t))

    def unlikely(log_a):
        S = K + np.diag(np.exp(log_a) / t)
        return -multivariate_normal(np.zeros(60), S).logpdf(y)

    best = minimize_scalar(
        unlikely, bounds=(-8, 2), method="bounded", options={"xatol": 1e-9}
    )
    rough = 1.0
    for _ in range(60):
        S = np.linalg.inv(K + np.diag(rough**2 / t))
        variance = np.diag(K - K @ S @ K)
        rough = rough_of(t, y - K @ S @ y, variance, rough**2 / t)
    assert rough == pytest.approx(np.exp(0.5 * best.x), rel=1e-4)
    assert rough == pytest.approx(0.3, rel=0.25)


def test_each_measurement_takes_the_dwell_decided_and_noise_follows_it(
    tmp_path, fitted
):
    done = run(tmp_path, **DECIDES)
    rows = done.table()
    assert [row["dwell_s"] for row in rows[:4]] == [1.0] * 4  # the usual one
    assert {row["dwell_s"] for row in rows[4:]} <= set(LADDER)
    for n, row in enumerate(rows, 1):
        assert load_spectrum(done.path, n).dwell_s == row["dwell_s"]
        if row["phase"] == "search":
            assert row["info"]["dwell_s"] == row["dwell_s"]
            assert row["info"]["overhead_s"] > 0
    data = fitted[-1]  # of the last fit, with all twelve values
    t = np.array([row["dwell_s"] for row in rows])
    law = rows[-1]["info"]["noise_1s"] ** 2 * (1 / t - 1 / max(LADDER))
    np.testing.assert_allclose(data.noise[:12] ** 2, law, rtol=1e-12)
    assert "dwell" in dict(story_facts(done))


def story_facts(done):
    from aemtwin.plots.story import facts

    return facts(done.record)


@pytest.mark.parametrize(
    "surrogate", [pytest.param("gp", marks=pytest.mark.slow), "gp:refit_every=3"]
)
def test_a_run_that_decides_dwells_is_the_same_cut_at_every_step(tmp_path, surrogate):
    options = {**DECIDES, "surrogate": surrogate, "scalarizer": f"{__name__}:mean"}
    whole = run(tmp_path / "whole", **options)
    twin = small_twin()

    def cut(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aemtwin.run(twin, out=str(tmp_path / "cut"), on_step=cut, **options)
    folder = next((tmp_path / "cut").iterdir())
    for _ in range(1, 12):
        with pytest.raises(KeyboardInterrupt):
            aemtwin.resume(folder, twin, on_step=cut)
    again = aemtwin.resume(folder, twin)
    told = [[steady(e) for e in one.record.events] for one in (again, whole)]
    assert json.dumps(told[0]) == json.dumps(told[1])
    for name, values in whole.record.maps.items():
        np.testing.assert_array_equal(again.record.maps[name], values, err_msg=name)


def test_a_move_that_was_made_before_the_kill_changes_no_decision(tmp_path):
    whole = run(tmp_path / "whole", **DECIDES)
    twin, count = small_twin(), iter(range(99))
    measure = twin.measure

    def killed(*arguments, **options):
        if next(count) == 7:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    twin.measure = killed
    with pytest.raises(KeyboardInterrupt):
        aemtwin.run(twin, out=str(tmp_path / "cut"), **DECIDES)
    folder = next((tmp_path / "cut").iterdir())
    again = aemtwin.resume(folder, twin)
    told = [[steady(e) for e in one.record.events] for one in (again, whole)]
    assert told[0] == told[1]


def test_what_a_scalarizer_says_of_its_noise_is_kept_and_believed(tmp_path, fitted):
    done = run(tmp_path, scalarizer=f"{__name__}:mean")
    x = np.array([row["actual_x"] for row in done.table()])
    said = [row["sd"] for row in done.table()]
    assert said == [0.05 if at > 2e-7 else None for at in x]
    assert {*said} == {0.05, None}
    np.testing.assert_array_equal(fitted[-1].noise[:12], np.where(x > 2e-7, 0.05, 0))
    documents = dict(read_documents(done.path / "journal.jsonl")[0][:2])
    assert {*documents["descriptor"]["data_keys"]} == {*DATA_KEYS, "sd"}


def test_where_nothing_is_said_nothing_is_told(tmp_path, fitted):
    done = run(tmp_path)
    assert not {"sd", "dwell_s"} & {*done.table()[-1]}
    assert all(data.noise is None for data in fitted)
    assert "dwell_s" not in done.record.config["search"]


def test_counts_of_different_dwells_are_compared_at_the_usual_one(tmp_path, fitted):
    twin = aemtwin.open_twin("stem_eels", seed=1)
    usual = twin.describe().mode().dwell_s.default
    sought = get("band_intensity:low=7,high=9")
    levels = (usual / 10, usual / 2, 2 * usual)
    done = run(
        tmp_path, twin, scalarizer=str(sought), steps=4,
        search={"dwell_s": levels},
    )  # fmt: skip
    assert {row["dwell_s"] for row in done.table()} > {usual}
    for n, row in enumerate(done.table(), 1):
        raw = load_spectrum(done.path, n)
        factor = usual / row["dwell_s"]
        assert row["value"] == pytest.approx(factor * sought(raw), rel=1e-9)
        own = sought.spread(counts=True)(raw)
        assert row["sd"] == pytest.approx(factor * own, rel=1e-9)
    np.testing.assert_array_equal(
        fitted[-1].noise[:8], [row["sd"] for row in done.table()]
    )
    assert done.record.scores is not None  # the truth is told at the usual dwell


def decided(variance, noise, rough=0.0, said=math.nan, info=None):
    n, m = 6, len(variance)
    y = np.full(n, noise) * [1, -1, 1, -1, 1, -1]
    dwells = Dwells(LADDER, np.ones(n), rough, np.full(m, 0.5))
    return decide(
        dwells, Posterior(np.zeros(m), np.asarray(variance)),
        {"noise_sd": 0.1} if info is None else info,
        pad(np.zeros((n, 2)), y, np.zeros(n)), np.zeros(n, int), np.ones(n, bool),
        [said] * n,
    )  # fmt: skip


def test_what_is_well_known_is_measured_longer():
    found = decided([1e-9, 1e-2, 1.0, 100.0], noise=1.0)
    assert found.dwell_s.tolist() == [2.0, 2.0, 0.5, 0.1]
    assert found.seconds.tolist() == [2.5, 2.5, 1.0, 0.6]


def test_one_belief_changes_the_noise_by_no_more_than_a_factor():
    assert decided([1e-9], noise=100.0, rough=1.0).rough == 2.0
    assert decided([1e-9], noise=1e-3, rough=1.0).rough == 0.5
    assert decided([1e-9], noise=100.0).rough == pytest.approx(100.0, rel=1e-6)


def test_where_noise_is_said_what_is_found_besides_is_no_dwells_to_lower():
    alone = decided([1e-9], 5.0, said=0.3)
    assert alone.rough == pytest.approx(0.3)
    misfit = decided([1e-9], 5.0, said=0.3, info={"noise_sd": 50.0})
    assert misfit.rough == pytest.approx(0.3)
    assert misfit.dwell_s[0] < alone.dwell_s[0]


def test_a_fit_that_does_not_tell_its_noise_is_refused():
    with pytest.raises(MeasurementFailed, match="noise_sd = None"):
        decided([1.0], 1.0, info={"finite": 1})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(
            {"surrogate": "dkl"},
            "dkl takes all values for equally noisy",
            marks=pytest.mark.slow,
        ),
        ({"acquisition": "random"}, "random believes nothing"),
        ({"search": {"dwell_s": LADDER, "batch": 2}}, "spot by spot"),
        ({"search": {"dwell_s": [0.5]}}, "two or more"),
        ({"search": {"dwell_s": [0.5, -1.0]}}, "more than 0"),
    ],
)
def test_what_cannot_decide_a_dwell_is_refused_at_once(tmp_path, options, said):
    twin = small_twin()
    with pytest.raises(BadConfig, match=said):
        run(tmp_path, twin, **{**DECIDES, **options})
    assert twin.ledger() == []


def test_a_dwell_that_the_instrument_does_not_take_is_refused_at_once(tmp_path):
    twin = small_twin()
    with pytest.raises(OutOfRange, match="dwell_s"):
        run(tmp_path, twin, search={"dwell_s": [0.5, 1e9]})
    assert twin.ledger() == []


def test_a_mode_of_one_dwell_is_refused(tmp_path, monkeypatch):
    from dataclasses import replace

    twin = small_twin()
    spec = twin.describe()
    fixed = replace(spec.modes[0].dwell_s, low=1.0, high=1.0)
    modes = (replace(spec.modes[0], dwell_s=fixed), *spec.modes[1:])
    monkeypatch.setattr(twin, "describe", lambda: replace(spec, modes=modes))
    with pytest.raises(BadConfig, match="is 1 s and no other"):
        run(tmp_path, twin, **DECIDES)
