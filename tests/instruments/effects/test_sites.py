"""Columns that a beam knocks out one by one, on the twin of atoms."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.instruments.effects.sites import maxima

SECTION = {"knock_on": {"cross_section_m2": {"haadf": 1e-27}}}


def opened(effects=SECTION, **options):
    return aemtwin.open_twin("stem_atoms", effects=effects, noise={}, **options)


def expected(twin):
    """The image without the chance of counting: the mean of many short frames."""
    return np.mean([twin.scan().values.astype(float) for _ in range(4)], axis=0)


def column(twin):
    """Where a bright column of the middle is, in metres, and its pixel."""
    image = aemtwin.open_twin("stem_atoms", ideal=True).scan()
    rows, columns = maxima(image.values.astype(float), (2, 2))
    x, y = image.axis("x").values, image.axis("y").values
    middle = np.mean(twin.describe().bounds, axis=1)
    near = np.argmin(np.hypot(x[columns] - middle[0], y[rows] - middle[1]))
    row, at = int(rows[near]), int(columns[near])
    return (float(x[at]), float(y[row])), (row, at)


def test_an_exposure_takes_the_column_under_it_and_leaves_the_others():
    twin = opened()
    spot, pixel = column(twin)
    before = expected(twin)
    twin.move_to(spot)
    twin.pulse("exposure", 10.0)
    after = expected(twin)
    assert after[pixel] < 0.5 * before[pixel]
    far = np.ones(before.shape, bool)
    far[
        max(pixel[0] - 20, 0) : pixel[0] + 20, max(pixel[1] - 20, 0) : pixel[1] + 20
    ] = 0
    assert abs(after[far].mean() / before[far].mean() - 1) < 0.01


def test_the_share_that_stays_is_the_exponential_of_the_dose():
    """Two thirds of a mean dose, evenly over the field, by many frames."""
    twin = opened({"knock_on": {"cross_section_m2": {"haadf": 2e-27}}})
    sites = len(twin._probe._stage.effects[0]._sites["haadf"][1])
    twin.scan(dwell_s=1e-3)
    twin.scan(dwell_s=1e-3)
    area = np.prod([high - low for low, high in twin.describe().bounds])
    dose = twin.state().dose / area
    left = 1 - len(twin._probe._stage.effects[0]._dead["haadf"]) / sites
    want = np.exp(-2e-27 * dose)
    assert sites > 500
    assert left == pytest.approx(
        want, abs=4 * np.sqrt(want * (1 - want) / sites) + 0.02
    )
    assert 0.3 < want < 0.7


def test_the_outcome_does_not_depend_on_how_the_dose_was_split():
    once, twice = opened(), opened()
    spot, _ = column(once)
    for twin, parts in ((once, 1), (twice, 4)):
        twin.move_to(spot)
        for _ in range(parts):
            twin.pulse("exposure", 0.4 / parts)
    dead = [t._probe._stage.effects[0]._dead for t in (once, twice)]
    assert dead[0] == dead[1]


def test_another_seed_takes_other_columns():
    dead = []
    for seed in (1, 2):
        twin = opened(seed=seed)
        twin.scan(dwell_s=1e-3)
        dead.append(twin._probe._stage.effects[0]._dead["haadf"])
    assert dead[0] != dead[1]
    assert dead[0]


def test_reset_puts_them_back():
    twin = opened()
    first = twin.state_hash()
    twin.scan(dwell_s=1e-2)
    assert twin.state_hash() != first
    twin.reset()
    assert twin.state_hash() == first


def test_maxima_are_those_of_a_plain_search():
    image = np.random.default_rng(0).normal(size=(20, 30))
    rows, columns = maxima(image, (2, 3))
    for i in range(20):
        for j in range(30):
            window = image[max(i - 2, 0) : i + 3, max(j - 3, 0) : j + 4]
            top = image[i, j] == window.max() and image[i, j] > image.mean()
            assert top == bool(((rows == i) & (columns == j)).any())
