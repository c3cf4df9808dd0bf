"""Campaigns that decide on several spots at once, and go on from within a batch."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.acquisition import get
from aemtwin.acquisition.analytic import Context
from aemtwin.batches import picks
from aemtwin.documents import steady
from aemtwin.errors import BadConfig
from aemtwin.journal import load_maps
from aemtwin.surrogates.base import Cross, Posterior
from aemtwin.terms import Terms
from tests.small import small_twin

RUN = {"first": 4, "steps": 10, "candidates": (9, 8), "seed": 3, "baseline": False}
SHAPE = (5, 6)
AT = np.stack(np.meshgrid(np.arange(5.0), np.arange(6.0), indexing="ij"), -1)
AT = 1e-9 * AT.reshape(-1, 2)[:, ::-1]
DISTANCE = np.linalg.norm(AT[:, None] - AT[None], axis=-1) / 1e-9
COVARIANCE = np.exp(-0.5 * (DISTANCE / 1.5) ** 2)
MEAN = 0.1 * np.sin(np.arange(30.0))
POSTERIOR = Posterior(MEAN, np.ones(30))


def run(tmp_path, batch, **options):
    told = {**RUN, "search": {"batch": batch, **options.pop("search", {})}, **options}
    return aemtwin.run(small_twin(), out=str(tmp_path), **told)


def context(joint=True):
    def cross(indices):
        return Cross(COVARIANCE[indices], np.full(len(indices), 0.01))

    return Context(0.5, np.zeros(30, bool), joint=cross if joint else None)


def chosen(name="log_ei", joint=True, draw=None, **terms):
    acquire, known = get(name), context(joint)
    if draw is not None:
        known = known._replace(draw=draw(0))
    scores = np.asarray(acquire(POSTERIOR, known), float)
    told = Terms(**{"batch": 4, "positions": AT, "shape": SHAPE, **terms})
    return picks(acquire, POSTERIOR, known, scores, told, draw), scores


@pytest.mark.parametrize("joint", [True, False])
def test_the_first_pick_is_that_of_no_batch_and_none_comes_twice(joint):
    found, scores = chosen(joint=joint)
    assert found[0] == np.argmax(scores)
    assert len(set(found)) == 4


@pytest.mark.parametrize("joint", [True, False])
def test_picks_of_one_belief_keep_apart_where_the_best_scores_lie_together(joint):
    found, scores = chosen(joint=joint)
    naive = np.argsort(-scores)[:4]
    least = [
        min(DISTANCE[a, b] for a in of for b in of if a != b) for of in (found, naive)
    ]
    assert least[0] > least[1]


def test_each_pick_of_chance_has_a_draw_of_its_own():
    random = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 4)
    found, _ = chosen("thompson", joint=False, draw=lambda k: random[k])
    left = np.zeros(30, bool)
    for k, index in enumerate(found):
        assert index == np.argmax(np.where(left, -np.inf, random[k]))
        left[index] = True


def test_picks_keep_the_distance_that_is_asked_for():
    for joint in (True, False):
        found, _ = chosen(joint=joint, apart_m=2.1e-9)
        assert min(DISTANCE[a, b] for a in found for b in found if a != b) > 2.1


def test_picks_are_visited_by_a_shortest_way():
    from itertools import permutations

    found, _ = chosen(probe=AT[0])
    unordered, _ = chosen()
    assert set(found) == set(unordered)
    ways = {
        order: sum(np.linalg.norm(np.diff(AT[[0, *order]], axis=0), axis=1))
        for order in permutations(unordered)
    }
    assert ways[found] == pytest.approx(min(ways.values()))


def test_no_candidate_left_is_no_pick_and_fewer_are_fewer():
    acquire, known = get("log_ei"), context()
    scores = np.full(30, -np.inf)
    terms = Terms(batch=4, positions=AT, shape=SHAPE)
    assert picks(acquire, POSTERIOR, known, scores, terms) == ()
    closed = np.arange(30) > 1
    known = known._replace(measured=closed)
    scores = np.asarray(acquire(POSTERIOR, known), float)
    assert set(picks(acquire, POSTERIOR, known, scores, terms)) == {0, 1}


@pytest.mark.parametrize(
    ("surrogate", "acquisition"),
    [
        ("gp", "log_ei"),
        ("gp", "thompson"),
        ("gp", "kg"),
        pytest.param("dkl:members=2", "log_ei", marks=pytest.mark.slow),
        pytest.param("bayes_gp:samples=16", "mes", marks=pytest.mark.slow),
    ],
)
def test_a_run_in_batches_resumes_from_within_one_bit_for_bit(
    tmp_path, surrogate, acquisition
):
    said = {"surrogate": surrogate, "acquisition": acquisition}
    whole = run(tmp_path, 4, **said)
    events = [steady(e)["data"] for e in whole.record.events]
    assert len({data["index"] for data in events}) == 14
    begun = [n for n in range(1, 15) if load_maps(whole.path, f"{n:06d}") is not None]
    assert begun == [5, 9, 13]
    journal = whole.path / "journal.jsonl"
    text = journal.read_text()
    lines = text.splitlines(keepends=True)
    at = [i for i, line in enumerate(lines) if line.startswith('["event"')]
    for done in (4, 5, 7, 8, 13):
        journal.write_text("".join(lines[: at[done]]))
        for n in range(done + 1, 15):
            (whole.path / "maps" / f"{n:06d}.npz").unlink(missing_ok=True)
        again = aemtwin.resume(whole.path, small_twin())
        found = [steady(e)["data"] for e in again.record.events]
        for one, other in zip(found, events, strict=True):
            skip = "instrument_time_s", "notices"
            assert {k: v for k, v in one.items() if k not in skip} == {
                k: v for k, v in other.items() if k not in skip
            }


def test_a_batch_fits_once_and_the_last_is_as_large_as_what_is_left(tmp_path):
    done = run(tmp_path, 8)
    fits = [row["fit_s"] > 0 for row in done.table()]
    assert fits == [False] * 4 + [True] + [False] * 7 + [True, False]
    assert (done.path / "report.html").exists() or done.report().is_file()


def test_a_batch_of_none_is_refused(tmp_path):
    with pytest.raises(BadConfig, match=r"search\.batch = 0"):
        run(tmp_path, 0)
