"""What a decision weighs besides the belief: time to get there, and distance kept."""

import numpy as np
import pytest

import aemtwin
from aemtwin.errors import BadConfig
from aemtwin.sections import Search
from aemtwin.terms import Terms, seconds_of, terms_of
from tests.small import small_twin

RUN = {"first": 4, "steps": 12, "candidates": (9, 8), "seed": 3, "baseline": False}


def run(tmp_path, **options):
    return aemtwin.run(small_twin(), out=str(tmp_path), **{**RUN, **options})


def way(done):
    at = np.array([[row["x"], row["y"]] for row in done.table()])
    return np.linalg.norm(np.diff(at, axis=0), axis=1).sum()


def test_the_seconds_of_each_candidate_are_those_of_the_instrument(tmp_path):
    twin = small_twin()
    twin.move_to([3e-9, 1e-9])
    (x0, x1), (y0, y1) = twin.describe().bounds
    at = np.random.default_rng(0).uniform([x0, y0], [x1, y1], (9, 2))
    mode = twin.describe().modes[0].name
    found = seconds_of(twin, at, {"mode": mode})
    for seconds, position in zip(found, at, strict=True):
        move = {"call": "move_to", "arguments": {"position": position.tolist()}}
        told = twin.duration(move) + twin.duration(
            {"call": "measure", "arguments": {"mode": mode}}
        )
        assert seconds == pytest.approx(told, rel=1e-9)


def test_a_search_that_counts_seconds_goes_a_shorter_way(tmp_path):
    ways = {}
    for travel in (0.0, 5.0):
        done = [
            run(tmp_path / f"{travel}-{seed}", search={"travel": travel}, seed=seed)
            for seed in range(3)
        ]
        ways[travel] = np.mean([way(one) for one in done])
    assert ways[5.0] < 0.75 * ways[0.0]


def test_spots_keep_the_distance_that_is_asked_for(tmp_path):
    done = run(tmp_path, search={"apart_m": 1.2e-9}, acquisition="ucb:beta=0")
    at = np.array([[row["x"], row["y"]] for row in done.table()])
    search = [row["phase"] == "search" for row in done.table()]
    for k in np.flatnonzero(search):
        nearest = np.linalg.norm(at[:k] - at[k], axis=1).min()
        asked = done.table()[k]["info"]["apart_m"]
        assert nearest > asked - 1e-12


def test_where_all_is_near_the_radius_shrinks_and_no_run_ends_early():
    twin = small_twin()
    mode = twin.describe().modes[0].name
    at = np.stack(np.meshgrid([0.0, 1e-9, 2e-9], [0.0, 1e-9]), -1).reshape(-1, 2)
    said, allowed = Search(apart_m=1e-6), np.ones(6, bool)
    found = terms_of(said, twin, at, allowed, np.array([0]), {"mode": mode})
    assert not found.near.all()
    assert 0 < found.apart_m < 3e-9
    every = terms_of(said, twin, at, allowed, np.arange(6), {"mode": mode})
    assert every.near is None


def test_nothing_is_asked_of_the_instrument_where_nothing_is_weighed():
    none = terms_of(
        Search(), None, np.zeros((3, 2)), np.ones(3, bool), np.array([0]), {}
    )
    assert none == Terms()
    scores = np.array([1.0, -np.inf, 3.0])
    assert none.score(scores, "any") is scores


@pytest.mark.parametrize(("key", "value"), [("travel", -1), ("apart_m", "far")])
def test_a_wrong_term_is_refused_by_its_key(tmp_path, key, value):
    with pytest.raises(BadConfig, match=f"search.{key}"):
        run(tmp_path, search={key: value})
