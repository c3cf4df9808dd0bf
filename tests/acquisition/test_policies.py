"""Orders that need no surrogate: complete, repeatable, spread."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aemtwin.acquisition.policies import Grid, Random, grid_order, random_order
from aemtwin.errors import OutOfRange, ShapeMismatch

SHAPES = [(1, 1), (1, 9), (7, 1), (8, 8), (13, 30), (50, 50)]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_order_visits_every_cell_once(shape):
    m = shape[0] * shape[1]
    for order in (Grid().order(0, shape), Random().order(0, shape)):
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(m))


def test_a_random_order_is_a_function_of_its_seed():
    np.testing.assert_array_equal(random_order(3, 500), random_order(3, 500))
    assert not np.array_equal(random_order(3, 500), random_order(4, 500))


def test_a_random_order_is_the_same_on_every_machine_and_version():
    assert random_order(0, 8).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


def test_random_orders_put_every_cell_first_about_as_often():
    firsts = np.bincount([random_order(seed, 10)[0] for seed in range(2000)])
    assert np.sum((firsts - 200) ** 2 / 200) < 27.9  # chi-squared, 9 dof, 0.1 percent


def test_a_grid_order_begins_in_the_centre():
    assert grid_order((9, 9))[0] == 4 * 9 + 4


@pytest.mark.parametrize("shape", [(8, 8), (13, 30), (50, 50), (40, 20)])
def test_every_first_part_of_a_grid_order_leaves_no_large_gap(shape):
    order, (rows, columns) = grid_order(shape), shape
    cells = np.stack(np.divmod(np.arange(rows * columns), columns), axis=-1)
    for n in (1, 4, 9, 16, 30, 50):
        gap = cKDTree(cells[order[:n]]).query(cells)[0].max()
        even = np.sqrt(rows * columns / n)  # spacing of n points on a square grid
        assert gap <= 1.5 * even


def test_after_powers_of_four_a_square_is_sampled_on_a_square_grid():
    rows, columns = np.divmod(grid_order((16, 16))[:16], 16)
    assert sorted(set(rows.tolist())) == [0, 4, 8, 12]
    assert sorted(set(columns.tolist())) == [0, 4, 8, 12]


def test_what_cannot_be_ordered_is_refused():
    with pytest.raises(ShapeMismatch, match="rows, columns"):
        grid_order((0, 5))
    with pytest.raises(OutOfRange, match="seed = -1"):
        random_order(-1, 5)
