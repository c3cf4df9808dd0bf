"""The synthetic interface, atom by atom: as shipped, and as a crystal is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aemtwin.formats.catalog import array_sha256, find_twin, verify
from aemtwin.formats.nsid import open_nsid
from aemtwin.instruments.opening import open_twin
from aemtwin.instruments.synthetic import coreloss, stem_atoms
from aemtwin.instruments.synthetic.stem_atoms import (
    FIELD_M,
    FILM_M,
    LAYERS,
    TITANATE_M,
    TURN_RAD,
    make_columns,
    make_image,
    make_stem_atoms,
    splat,
)

FOCUS = {
    "defocus_m": -5e-9,
    "astigmatism_a_m": -2e-9,
    "astigmatism_b_m": 1.5e-9,
    "spherical_m": -1e-6,
}


@pytest.fixture(scope="module")
def made():
    return {array.name: array for array in make_stem_atoms()}


@pytest.fixture(scope="module")
def columns():
    return make_columns(0)


def hashes(arrays):
    return {array.name: array_sha256(array.data) for array in arrays}


def inside(columns, away=4e-10):
    low, high = away, FIELD_M - away
    x, y = columns.x, columns.y
    return (x > low) & (x < high) & (y > low) & (y < high)


def test_the_shipped_file_is_what_the_generator_makes(made):
    entry = find_twin("stem_atoms")
    verify(entry)
    assert entry.data.stat().st_size < 1_000_000
    with open_nsid(entry.data) as file:
        assert file.attributes["generator"] == "stem_atoms"
        assert [array.name for array in file.arrays] == list(made)
        for array in file.arrays:
            want = made[array.name]
            assert np.allclose(array.data[()], want.data, rtol=2e-3, atol=1e-6)
            assert (array.units, array.quantity) == (want.units, want.quantity)


def test_made_again_it_has_the_hashes_of_the_twin(made):
    assert hashes(made.values()) == find_twin("stem_atoms").sha256


def test_a_seed_is_a_specimen():
    small = {"image_shape": (17, 17), "shape": (9, 9)}
    one = hashes(make_stem_atoms(1, **small))
    assert one == hashes(make_stem_atoms(1, **small))
    assert set(one.values()).isdisjoint(hashes(make_stem_atoms(2, **small)).values())


def test_gaussians_on_pixels_keep_their_integral_however_sharp():
    axis = np.linspace(-1.0, 1.0, 41)
    for sd in (0.004, 0.05, 0.2):
        seen = splat(
            (np.array([0.013]), np.array([-0.02])), np.ones((1, 1)), (axis, axis), sd
        )
        assert seen.sum() * 0.05**2 == pytest.approx(1.0, rel=1e-4)


def test_neighbours_are_a_lattice_constant_apart(columns):
    """In the rows of the substrate and, on end, in film and substrate."""
    strontium = inside(columns) & (columns.site == 0)
    cos, sin = math.cos(TURN_RAD), math.sin(TURN_RAD)
    x = cos * columns.x[strontium] + sin * columns.y[strontium]
    y = -sin * columns.x[strontium] + cos * columns.y[strontium]
    up, right = [], []
    for i in range(len(x)):
        dx, dy = x - x[i], y - y[i]
        up += [
            (y[i], d) for d in dy[(np.abs(dx) < 5e-11) & (dy > 3e-10) & (dy < 4.8e-10)]
        ]
        right += dx[(np.abs(dy) < 5e-11) & (dx > 3e-10) & (dx < 4.8e-10)].tolist()
    height, apart = np.array(up).T
    assert np.mean(right) == pytest.approx(TITANATE_M, rel=1e-3)
    assert apart[height < 4e-9].mean() == pytest.approx(TITANATE_M, rel=2e-3)
    assert apart[height > 8e-9].mean() == pytest.approx(FILM_M, rel=2e-3)


def test_columns_hold_as_many_atoms_as_the_crystal_is_thick(columns):
    second = inside(columns) & (columns.site == 1)
    cations = columns.atoms[second][:, :3].sum(axis=1)
    assert abs(cations.mean() - LAYERS) < 1.5
    strontium = inside(columns) & (columns.site == 0)
    held = columns.atoms[strontium, 0]
    assert 0.93 * LAYERS < held.mean() < LAYERS + 1
    assert (held < 0.8 * LAYERS).sum() >= 3  # columns with vacancies
    assert (columns.atoms[second, 0] > 3).sum() >= 2  # antisites


def test_manganese_takes_the_place_of_titanium_across_the_interface(columns):
    second = inside(columns) & (columns.site == 1)
    share = columns.atoms[second, 2] / columns.atoms[second][:, 1:3].sum(axis=1)
    height = columns.y[second]
    assert share[height < 4e-9].mean() < 0.01
    assert share[height > 9e-9].mean() > 0.99
    mixed = (share > 0.1) & (share < 0.9)
    assert 30 < mixed.sum() < 0.3 * len(share)


def test_maps_hold_every_atom(made, columns):
    """The mean density is that of the columns inside, to what crosses the border."""
    here = inside(columns, 0.0)
    for i, name in enumerate(("sr", "ti", "mn", "o")):
        density = made[name].data.astype(float).mean()
        assert density == pytest.approx(
            columns.atoms[here, i].sum() / FIELD_M**2, rel=0.04
        )


def test_a_heavier_column_is_brighter_by_the_power_1_7():
    def one(*atoms):
        whole = stem_atoms.Columns(
            np.array([6.4e-9]),
            np.array([6.4e-9]),
            np.array([atoms], float),
            np.array([1]),
            np.ones(1),
        )
        return make_image(whole, (257, 257)).max() - stem_atoms.DARK

    ratio = one(0, 0, 30, 0) / one(0, 30, 0, 0)
    assert ratio == pytest.approx((25 / 22) ** 1.7, rel=1e-6)


def seen(twin, columns, sites):
    image = twin.scan().values.astype(float)
    pixel = FIELD_M / 256
    at = np.rint(np.column_stack([columns.y, columns.x]) / pixel).astype(int)
    here = inside(columns)
    return [image[tuple(at[here & (columns.site == s)].T)].mean() for s in sites]


def test_columns_stand_out_once_the_lenses_are_set(columns):
    twin = open_twin("stem_atoms")
    strontium, oxygen = seen(twin, columns, (0, 2))
    before = (strontium - oxygen) / (strontium + oxygen)
    twin.configure(**FOCUS)
    strontium, second, oxygen = seen(twin, columns, (0, 1, 2))
    after = (strontium - oxygen) / (strontium + oxygen)
    assert 0.1 < before < 0.35
    assert after > 0.4
    assert strontium > 1.3 * second > 1.3 * 1.4 * oxygen
    assert 100 < oxygen < strontium < 1000  # counts in 20 µs at 50 pA


def test_core_losses_tell_how_much_manganese_a_column_holds(columns):
    second = np.flatnonzero(inside(columns) & (columns.site == 1))[::7]
    points = np.column_stack([columns.x[second], columns.y[second]])
    held = columns.atoms[second]
    share = held[:, 2] / held[:, 1:3].sum(axis=1)
    twin = open_twin("stem_atoms", ideal=True)
    found = twin.truth("core_loss", points)
    loss = found.axes[1].values
    rng, atoms = np.random.default_rng(3), []
    counted = rng.poisson(found.values)
    for name, before, window in (
        ("Ti L", (425.0, 452.0), (456.0, 470.0)),
        ("Mn L", (600.0, 636.0), (640.0, 656.0)),
    ):
        counts = coreloss.elemental_counts(loss, counted, before, window)
        edge = coreloss.EDGES[name]
        atoms.append(counts / coreloss.partial_cross_section(loss, edge, window))
    error = atoms[1] / (atoms[0] + atoms[1]) - share
    assert np.sqrt(np.mean(error**2)) < 0.06


def test_the_image_tells_less_of_manganese_than_of_columns(columns):
    """Sharp and without noise: the scatter in a kind of column hides the other kind."""
    twin = open_twin("stem_atoms", ideal=True)
    image = twin.scan().values.astype(float)
    at = np.rint(np.column_stack([columns.y, columns.x]) / (FIELD_M / 256)).astype(int)
    second = inside(columns) & (columns.site == 1)
    bright, share = image[tuple(at[second].T)], columns.share[second]
    assert 0.3 < np.corrcoef(bright, share)[0, 1] < 0.9
