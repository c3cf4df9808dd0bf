"""Acquisitions that ask for more than mean and variance, and pools, in whole runs."""

import pytest

import aemtwin
from aemtwin.errors import BadConfig
from aemtwin.surrogates.gp import GP
from tests.small import small_twin

SHORT = {"first": 6, "steps": 8, "candidates": (7, 6), "seed": 2, "baseline": False}


def run(tmp_path, **options):
    return aemtwin.run(small_twin(), out=str(tmp_path), **{**SHORT, **options})


@pytest.mark.parametrize(
    "acquisition",
    [
        "kg:shortlist=8",
        "mes",
        "log_poi",
        "level_set:quantile=0.8",
        "ucb:schedule=decay",
    ],
)
def test_a_run_by_any_acquisition_measures_each_candidate_once(tmp_path, acquisition):
    done = run(tmp_path, acquisition=acquisition, surrogate="gp")
    rows = done.table()
    assert len({row["index"] for row in rows}) == len(rows) == 14
    assert sum(row["acquisition"] is not None for row in rows) == 8


def test_what_needs_a_covariance_is_refused_beside_a_surrogate_without(tmp_path):
    with pytest.raises(BadConfig, match=r"no method `covariance`\. Choose gp"):
        run(tmp_path, acquisition="kg", surrogate="dkl:members=2")


def test_a_run_that_searches_seldom_follows_its_pool(tmp_path, monkeypatch):
    looks = []
    look = GP.look

    def counted(self, state, pool, candidates):
        looks.append(pool is not None)
        return look(self, state, pool, candidates)

    monkeypatch.setattr(GP, "look", counted)
    run(tmp_path, surrogate="gp:refit_every=4,drift=1e9", acquisition="ucb")
    # Searches at 6 and 10 points, and after 14; the first look after each is anew.
    assert looks == [False, True, True, False, True, True]


def test_two_functions_of_one_name_are_refused_before_anything_happens(tmp_path):
    with pytest.raises(BadConfig, match=r"Two scalarizers are called .*lambda"):
        aemtwin.run(
            small_twin(),
            scalarizer=[lambda one: 1.0, lambda one: 2.0],
            surrogate="multi_gp",
            out=str(tmp_path),
        )
    assert list(tmp_path.iterdir()) == []
