"""Novelty against another search for neighbours, and cells against counting."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from aemtwin.acquisition.hypervolume import Several
from aemtwin.acquisition.novelty import Cells, Novelty, cells_of, novelty, reached
from aemtwin.acquisition.registry import Acquisition
from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch, UnknownName
from aemtwin.surrogates.base import Posterior, count_compilations, float64


def scores(outcomes, values, measured=None, **params):
    """Score where outcomes are drawn; the posterior says something else."""
    outcomes = np.asarray(outcomes, float)
    known = np.zeros(len(outcomes), bool) if measured is None else np.array(measured)
    at = Posterior(np.zeros_like(outcomes), np.ones_like(outcomes))
    return Novelty(**params)(at, Several(values, known, draw=outcomes))


def nearest(outcomes, seen, k):
    found, _ = NearestNeighbors(n_neighbors=k).fit(seen).kneighbors(outcomes)
    return found.mean(axis=1)


@pytest.mark.parametrize("p", [1, 3, 16])
@pytest.mark.parametrize("k", [1, 10])
def test_novelty_is_the_mean_distance_that_scikit_learn_finds(p, k):
    random = np.random.default_rng(p)
    outcomes, seen = random.normal(size=(5001, p)), random.normal(size=(40, p))
    found = scores(outcomes, seen, k=k, scale="same")
    np.testing.assert_allclose(found, nearest(outcomes, seen, k), rtol=1e-10)


def test_equal_distances_count_as_often_as_they_occur():
    random = np.random.default_rng(0)
    seen = random.integers(0, 3, size=(40, 2)).astype(float)  # many alike
    outcomes = random.integers(0, 4, size=(50, 2)).astype(float)
    for k in (1, 2, 7, 40):
        found = scores(outcomes, seen, k=k, scale="same")
        np.testing.assert_allclose(found, nearest(outcomes, seen, k), rtol=1e-12)


def test_a_near_copy_of_something_seen_keeps_its_digits():
    seen = np.array([[1e6, 1e6]])
    near = seen + np.array([[3e-6, 4e-6], [0.0, 0.0]])
    found = scores(near, seen, k=1, scale="same")
    np.testing.assert_allclose(found, [5e-6, 0.0], rtol=1e-4)


def test_padded_rows_count_for_nothing_and_fewer_than_k_count_all():
    random = np.random.default_rng(1)
    outcomes, seen = random.normal(size=(50, 3)), random.normal(size=(40, 3))
    mask = np.arange(40) % 5 == 0
    with float64():
        for k in (3, 8, 12):
            found = np.asarray(novelty(*map(jnp.asarray, (outcomes, seen, mask)), k))
            expected = nearest(outcomes, seen[mask], min(k, 8))
            np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_by_default_the_units_of_the_outputs_decide_nothing():
    random = np.random.default_rng(2)
    outcomes, seen = random.normal(size=(50, 2)), random.normal(size=(20, 2))
    seen[:, 1] = random.normal(size=20) * 3
    unit = np.array([1e-9, 1e5])
    found = scores(outcomes, seen)
    np.testing.assert_allclose(scores(outcomes * unit, seen * unit), found, rtol=1e-9)
    sd = seen.std(axis=0)
    np.testing.assert_allclose(found, nearest(outcomes / sd, seen / sd, 10), rtol=1e-10)
    flat = np.column_stack([seen[:, 0], np.ones(20)])  # never changed so far
    assert np.all(np.isfinite(scores(outcomes, flat)))


def test_the_mean_stands_in_for_the_draw_on_demand():
    random = np.random.default_rng(3)
    mean, seen = random.normal(size=(50, 2)), random.normal(size=(20, 2))
    at, known = Posterior(mean, mean**2), Several(seen, np.zeros(50, bool))
    assert Novelty().draws
    assert not Novelty(of="mean").draws
    assert np.array_equal(Novelty(of="mean")(at, known), scores(mean, seen))


def test_a_measured_candidate_is_never_the_highest():
    found = scores([[9.0], [0.0], [5.0]], [[0.0]], measured=[True, False, False])
    assert np.isneginf(found[0])
    assert found.argmax() == 2
    assert isinstance(Novelty(), Acquisition)


def test_a_draw_that_is_no_number_scores_as_none():
    found = scores([[1.0, 2.0], [0.0, np.nan], [np.nan, 0.0]], np.eye(2))
    assert np.isnan(found).tolist() == [False, True, True]


def test_a_growing_run_compiles_nothing_inside_a_bucket():
    random = np.random.default_rng(4)
    outcomes, seen = random.normal(size=(50, 2)), random.normal(size=(24, 2))
    scores(outcomes, seen[:3])
    with count_compilations() as counted:
        for n in (1, 9, 16):
            scores(outcomes, seen[:n])
    assert counted.count == 0


def test_seeking_novelty_reaches_rare_behaviour_that_chance_misses():
    random = np.random.default_rng(5)
    common = 0.5 + 0.02 * random.normal(size=(475, 2))
    pool = random.permutation(np.concatenate([common, random.uniform(size=(25, 2))]))
    cells, steps = cells_of(pool, 10), 25
    chosen = [0]
    while len(chosen) < steps:
        measured = np.isin(np.arange(500), chosen)
        chosen.append(int(scores(pool, pool[chosen], measured, k=3).argmax()))
    chance = [reached(pool[random.permutation(500)[:steps]], cells) for _ in range(20)]
    found = reached(pool[chosen], cells, pool)
    assert reached(pool[chosen], cells) > 2 * max(chance)
    assert found > 0.8


# ------------------------------------------------------------------------------ cells


def test_the_share_of_cells_is_that_of_counting_each():
    random = np.random.default_rng(6)
    values = random.uniform(-0.2, 1.2, size=(60, 2))
    cells = Cells(np.array([0.0, 0.5]), np.array([1.0, 1.0]), np.array([4, 3]))
    histogram, _, _ = np.histogram2d(
        *values.T, bins=[4, 3], range=[[0.0, 1.0], [0.5, 1.0]]
    )
    assert reached(values, cells) == np.count_nonzero(histogram) / 12
    possible = random.uniform(0, 1, size=(7, 2))
    there, _, _ = np.histogram2d(
        *possible.T, bins=[4, 3], range=[[0.0, 1.0], [0.5, 1.0]]
    )
    both = np.count_nonzero((histogram > 0) & (there > 0))
    assert reached(values, cells, possible) == both / np.count_nonzero(there)


def test_a_whole_field_reaches_every_possible_cell_even_of_sixteen_outputs():
    random = np.random.default_rng(7)
    field = random.normal(size=(300, 16))
    cells = cells_of(field, 5)
    assert reached(field, cells, field) == 1.0
    assert reached(field, cells) == pytest.approx(300 / 5**16, rel=0.01)
    assert reached(field[:30], cells, field) == pytest.approx(0.1, rel=0.05)
    assert reached(np.zeros((0, 16)), cells, field) == 0.0


def test_more_values_never_reach_less():
    random = np.random.default_rng(8)
    values = random.normal(size=(50, 3))
    cells = cells_of(values, 4)
    shares = [reached(values[:n], cells) for n in range(51)]
    assert np.all(np.diff(shares) >= 0)


def test_misuse_is_told_in_a_sentence():
    at, none = Posterior(np.zeros((3, 2)), np.ones((3, 2))), np.zeros(3, bool)
    with pytest.raises(BadConfig, match='set of = "mean"'):
        Novelty()(at, Several(np.zeros((4, 2)), none))
    with pytest.raises(ShapeMismatch, match="every output"):
        Novelty(of="mean")(at, Several(np.zeros((4, 3)), none))
    with pytest.raises(ShapeMismatch, match="measure first"):
        Novelty(of="mean")(at, Several(np.zeros((0, 2)), none))
    with pytest.raises(OutOfRange, match=r"values\[0\]"):
        Novelty(of="mean")(at, Several(np.full((1, 2), np.nan), none))
    with pytest.raises(BadConfig, match="k = 0"):
        Novelty(k=0)
    with pytest.raises(UnknownName, match="Did you mean 'mean'"):
        Novelty(of="means")
    with pytest.raises(UnknownName, match="scale"):
        Novelty(scale="unit")
    cells = Cells(np.zeros(2), np.ones(2), np.array([2, 2]))
    with pytest.raises(ShapeMismatch, match="cells of 2 outputs"):
        reached(np.zeros((3, 1)), cells)
    with pytest.raises(OutOfRange, match="finite range"):
        reached(np.zeros((3, 2)), cells._replace(high=np.zeros(2)))
    with pytest.raises(OutOfRange, match="cells_of"):
        reached(np.zeros((3, 2)), cells, np.full((2, 2), 9.0))
