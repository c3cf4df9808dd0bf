"""Patterns in one number, against plain sums and a twin whose field is known."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin import scalarizers
from aemtwin.errors import ShapeMismatch, WrongType
from aemtwin.scalarizers.diffraction import annular, centre_of_mass


def test_the_centre_of_mass_is_the_plain_weighted_mean():
    random = np.random.default_rng(0)
    y, x = np.sort(random.normal(size=5)), np.sort(random.normal(size=7))
    patterns = random.uniform(size=(3, 5, 7))
    found = centre_of_mass(y, x, patterns)
    for k in range(3):
        weights = [(w, x[j], y[i]) for (i, j), w in np.ndenumerate(patterns[k])]
        total = sum(w for w, _, _ in weights)
        assert found[0][k] == pytest.approx(sum(w * a for w, a, _ in weights) / total)
        assert found[1][k] == pytest.approx(sum(w * b for w, _, b in weights) / total)


def test_an_empty_pattern_has_no_middle():
    x, y = centre_of_mass([0.0, 1.0], [0.0, 1.0], np.zeros((2, 2)))
    assert np.isnan(x)
    assert np.isnan(y)


def test_rings_that_share_no_angle_add_up_to_all():
    angle = np.linspace(-1, 1, 9)
    pattern = np.random.default_rng(1).uniform(size=(9, 9))
    inner = annular(angle, angle, pattern, high=0.6)
    outer = annular(angle, angle, pattern, low=np.nextafter(0.6, 1))
    assert inner + outer == pytest.approx(pattern.sum())


def test_the_deflection_of_the_twin_is_what_the_scalarizers_tell():
    twin = aemtwin.open_twin("stem_4d", ideal=True)
    at = np.mean(twin.describe().bounds, axis=1)
    twin.move_to(at)
    found = twin.measure("diffraction")
    x, y = (float(scalarizers.get(f"deflection_{n}")(found)) for n in "xy")
    assert scalarizers.get("deflection")(found) == pytest.approx(np.hypot(x, y))
    assert scalarizers.get("annular")(found) == pytest.approx(
        found.values.sum(dtype=float)
    )
    rows, columns = (axis.values for axis in found.axes)
    weights = found.values.astype(float) / found.values.sum(dtype=float)
    assert x == pytest.approx(float((weights.sum(axis=0) * columns).sum()))
    assert y == pytest.approx(float((weights.sum(axis=1) * rows).sum()))


def test_a_spectrum_is_no_pattern_and_a_frame_neither():
    twin = aemtwin.open_twin("pfm_loops", ideal=True)
    with pytest.raises(ShapeMismatch, match="takes a diffraction pattern"):
        scalarizers.get("deflection")(twin.measure())
    with pytest.raises(WrongType, match="takes that of 'measure'"):
        scalarizers.get("annular")(twin.scan(shape=(3, 3)))


def test_the_lowest_of_a_force_curve_is_its_pull_off():
    twin = aemtwin.open_twin("afm_topography", ideal=True)
    curve = twin.measure("force_curve")
    assert scalarizers.get("lowest")(curve) == curve.values.min()
    assert scalarizers.get("highest")(curve) == curve.values.max()
    part = curve.values[curve.axes[0].values < -1e-8]
    assert scalarizers.get("highest:high=-1e-8")(curve) == part.max()
