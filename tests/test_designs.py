"""Candidates and first points: edges, units, spread, repeatability."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aemtwin.acquisition.policies import random_order
from aemtwin.designs import candidate_grid, first_points, scale_to_box
from aemtwin.errors import OutOfRange, ShapeMismatch

BOUNDS = ((1e-6, 3e-6), (-2e-6, 2e-6))


def test_candidates_run_row_by_row_with_x_fastest_and_edges_included():
    grid = candidate_grid(BOUNDS, (5, 3))
    assert grid.shape == (15, 2)
    np.testing.assert_allclose(grid[:3, 0], [1e-6, 2e-6, 3e-6])
    np.testing.assert_array_equal(grid[:3, 1], [-2e-6] * 3)
    assert tuple(grid[-1]) == (3e-6, 2e-6)


def test_a_side_of_one_point_lies_in_the_middle():
    np.testing.assert_allclose(candidate_grid(BOUNDS, (1, 2))[:, 1], [0.0, 0.0])
    assert candidate_grid(((5.0, 5.0), (1.0, 1.0)), (1, 1)).tolist() == [[5.0, 1.0]]


def test_scaled_candidates_fill_the_unit_box():
    X = scale_to_box(candidate_grid(BOUNDS, (5, 3)), BOUNDS)
    assert X.min(axis=0).tolist() == [0.0, 0.0]
    assert X.max(axis=0).tolist() == [1.0, 1.0]


def test_an_axis_without_extent_scales_to_zero():
    X = scale_to_box([[5.0, 1.0], [5.0, 2.0]], ((5.0, 5.0), (1.0, 2.0)))
    assert X.tolist() == [[0.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (9, 3), (50, 50)])
def test_first_points_are_cells_of_the_grid_and_none_comes_twice(shape):
    m = shape[0] * shape[1]
    for n in {0, 1, m // 2, m}:
        points = first_points(1, shape, n)
        assert points.shape == (n,)
        assert len(set(points.tolist())) == n
        assert all(0 <= index < m for index in points)


def test_more_first_points_begin_with_the_fewer():
    few, many = first_points(2, (20, 30), 10), first_points(2, (20, 30), 37)
    np.testing.assert_array_equal(many[:10], few)


def test_seeds_give_other_points_and_a_seed_the_same():
    points = [first_points(seed, (50, 50), 10).tolist() for seed in (0, 0, 1)]
    assert points[0] == points[1] != points[2]
    assert points[0][:6] == [2038, 976, 2363, 1301, 239, 1677]


@pytest.mark.parametrize("seed", range(5))
def test_first_points_fill_the_field_better_than_chance(seed):
    cells = np.stack(np.divmod(np.arange(2500), 50), axis=-1)

    def spread(chosen):
        tree = cKDTree(cells[chosen])
        return tree.query(cells)[0].max(), tree.query(tree.data, k=2)[0][:, 1].min()

    by_chance = [spread(random_order(k, 2500)[:16]) for k in range(20)]
    largest_gap, nearest = np.median(by_chance, axis=0)
    gap, apart = spread(first_points(seed, (50, 50), 16))
    assert gap < 0.9 * largest_gap
    assert apart > 2.0 * nearest


def test_more_points_than_candidates_are_refused_with_how_many_there_are():
    with pytest.raises(OutOfRange, match="n is 0 to 6"):
        first_points(0, (2, 3), 7)


def test_bounds_that_run_downwards_or_nowhere_are_refused():
    for bad in ((2.0, 1.0), (0.0, np.nan), (0.0, np.inf)):
        with pytest.raises(OutOfRange, match="run upwards"):
            candidate_grid((bad, (0.0, 1.0)), (2, 2))
        with pytest.raises(OutOfRange, match="run upwards"):
            scale_to_box([[0.0, 0.0]], (bad, (0.0, 1.0)))


def test_shapes_that_are_no_grid_are_refused():
    with pytest.raises(ShapeMismatch, match="1 or more"):
        candidate_grid(BOUNDS, (0, 3))
    with pytest.raises(ShapeMismatch, match=r"\(m, 2\)"):
        scale_to_box([0.0, 1.0], BOUNDS)
