"""The synthetic charge-ordered crystal: as shipped, and as physics has it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aemtwin.formats.catalog import array_sha256, find_twin, verify
from aemtwin.formats.nsid import open_nsid
from aemtwin.instruments.modes.stm import STATES, swept
from aemtwin.instruments.synthetic import stm_spectroscopy as stm
from aemtwin.instruments.synthetic.stm_spectroscopy import (
    FIELD_M,
    GAP,
    LAYER_M,
    atom_vectors,
    cell_vectors,
    lattice,
    make_crystal,
    make_stm_spectroscopy,
    record,
    states,
    terraces,
)

SMALL = {"shape": (12, 12), "image_shape": (16, 16)}
IMAGES = ("topography", "current", "lockin")


@pytest.fixture(scope="module")
def made():
    return {array.name: array for array in make_stm_spectroscopy()}


@pytest.fixture(scope="module")
def spectra(made):
    """dI/dV at every fourth pixel of the maps, (32, 32, 61), and its bias."""
    flat = {n: made[n].data[::4, ::4].astype(float).ravel() for n in STATES}
    bias = np.linspace(-0.6, 0.6, 61)
    values = swept(flat, bias, (0.6, 1e-10), GAP, modulation_v=0.01)
    return bias, values.reshape(32, 32, 61)


def hashes(arrays):
    return {a.name: array_sha256(a.data) for a in arrays}


def flattened(z):
    """Take the terraces off, by the height of a layer alone."""
    starts = np.linspace(0, LAYER_M, 60)
    away = [np.abs((z - o + LAYER_M / 2) % LAYER_M - LAYER_M / 2) for o in starts]
    best = starts[np.argmin([a.mean() for a in away])]
    return np.clip(z - best - LAYER_M * np.rint((z - best) / LAYER_M), -8e-11, 1.2e-10)


def test_the_shipped_file_is_what_the_generator_makes(made):
    entry = find_twin("stm_spectroscopy")
    assert entry.kind == "stm"
    assert entry.data.stat().st_size <= 1_000_000
    verify(entry)
    with open_nsid(entry.data) as file:
        assert [array.name for array in file.arrays] == list(made)
        for array in file.arrays:
            want = made[array.name]
            # another CPU may round the last bit kept the other way
            scale = np.abs(want.data).max()
            assert np.allclose(array.data[()], want.data, rtol=3e-4, atol=1e-2 * scale)
            assert (array.units, array.quantity) == (want.units, want.quantity)
            for a, b in zip(array.axes, want.axes, strict=True):
                assert np.allclose(a.values, b.values, rtol=1e-12, atol=0)


def test_made_again_it_has_the_pinned_hashes(made):
    assert hashes(made.values()) == dict(find_twin("stm_spectroscopy").sha256)


def test_a_seed_is_a_specimen_and_a_recording_has_noise_of_its_own():
    one, same, other = (
        hashes(make_stm_spectroscopy(seed, **SMALL)) for seed in (1, 1, 2)
    )
    assert one == same
    assert all(one[name] != other[name] for name in (*IMAGES, "gap_ev", "centre_ev"))
    again = hashes(make_stm_spectroscopy(1, **SMALL, image_seed=9))
    assert {n for n in one if one[n] != again[n]} == set(IMAGES)


def test_the_superlattice_is_the_square_root_of_13_turned_by_13_9_degrees():
    """1T-TaS2's charge order; arctan(sqrt(3) / 7) in closed form."""
    for cell, atom in zip(cell_vectors(), atom_vectors(), strict=True):
        assert math.hypot(*cell) == pytest.approx(math.sqrt(13) * math.hypot(*atom))
        turn = math.atan2(cell[1], cell[0]) - math.atan2(atom[1], atom[0])
        assert math.degrees(turn) == pytest.approx(13.8979, abs=1e-3)


def test_the_pattern_is_highest_at_lattice_points_and_lowest_between():
    a, b = cell_vectors()
    at = [i * a + j * b for i in range(-2, 3) for j in range(-2, 3)]
    x, y = np.array(at).T
    np.testing.assert_allclose(lattice(x, y, np.array([a, b])), 1.0, atol=1e-12)
    for between in ((a + b) / 3, 2 * (a + b) / 3):  # centres of the triangles
        value = lattice(x + between[0], y + between[1], np.array([a, b]))
        np.testing.assert_allclose(value, -0.5, atol=1e-12)


def test_the_image_has_the_period_of_the_superlattice(made):
    """The strongest wave of the middle terrace, against a sqrt(13) sqrt(3) / 2."""
    z = flattened(made["topography"].data.astype(float))[64:192, 96:224]
    window = np.outer(np.hanning(128), np.hanning(128))
    power = np.abs(np.fft.fft2((z - z.mean()) * window, (1024, 1024)))
    f = np.fft.fftfreq(1024, FIELD_M / 255)
    k = np.hypot(f[None, :], f[:, None])
    power[k < 0.4e9] = 0.0
    row, column = np.unravel_index(power.argmax(), power.shape)
    rows_m = 0.336e-9 * math.sqrt(13) * math.sqrt(3) / 2  # between rows of cells
    assert 1 / k[row, column] == pytest.approx(rows_m, rel=0.03)


def test_terraces_are_a_layer_apart(made):
    level = terraces(make_crystal(), (256, 256))
    z = made["topography"].data
    middles = [np.median(z[np.abs(level - n) < 1e-3]) for n in range(3)]
    np.testing.assert_allclose(np.diff(middles), -LAYER_M, atol=0.02e-9)


def test_units_and_sizes_are_those_of_a_cold_microscope(made, spectra):
    for array in made.values():
        assert array.data.dtype == np.float32
        assert array.derived == ""
        assert array.axes[0].values[-1] == array.axes[1].values[-1] == 30e-9
    flat = flattened(made["topography"].data.astype(float))
    assert 3e-12 < np.median(np.abs(flat - np.median(flat))) < 30e-12
    assert np.median(made["current"].data) == pytest.approx(1e-10, rel=0.03)
    _, values = spectra
    assert 1e-10 < np.median(values[..., -1]) < 5e-10
    assert np.median(values[..., 30]) < 0.05 * np.median(values[..., -1])
    assert 0.3 < np.median(made["gap_ev"].data) < 0.45


def test_the_recorded_current_is_late_by_what_the_feedback_had_not_taken_back():
    """A slope: the loop lags by (1 - g) / g pixels of it, and I tells how much."""
    slope = np.broadcast_to(2e-12 * np.arange(200.0), (64, 200))
    z, current = record(3, slope)
    decay = 2 * 1.0868e10  # of 4.5 eV, per metre
    error = np.log(current[:, 50:].mean() / 1e-10) / decay
    assert error == pytest.approx(2e-12 / stm.FOLLOW, rel=0.1)
    np.testing.assert_allclose(np.diff(z.mean(axis=0)).mean(), 2e-12, rtol=0.02)


def test_the_lock_in_image_is_the_end_of_the_spectra(made, spectra):
    _, values = spectra
    image = made["lockin"].data / (made["current"].data.clip(2e-11) / 1e-10)
    rows = np.round(np.linspace(0, 255, 128)).astype(int)[::4]
    seen = image[np.ix_(rows, rows)].astype(float)
    calm = (made["current"].data[np.ix_(rows, rows)] > 6e-11) & (seen < 4e-10)
    assert np.corrcoef(seen[calm], values[..., -1][calm])[0, 1] > 0.6
    assert seen[calm].mean() == pytest.approx(values[..., -1][calm].mean(), rel=0.03)


def test_defects_have_their_resonance_in_the_gap_and_molecules_have_none():
    crystal = make_crystal()
    maps = states(crystal, (128, 128))
    pixel = FIELD_M / 127
    for x, y, strength, *_ in crystal.defects:
        row, column = (min(round(v / pixel), 127) for v in (y, x))
        assert maps["peak"][row, column] > 0.8 * strength
    apart = [
        (x, y)
        for x, y, _ in crystal.molecules
        if np.hypot(*(crystal.defects[:, :2] - (x, y)).T).min() > 2e-9
    ]
    assert len(apart) >= 3
    for x, y in apart:
        assert maps["peak"][round(y / pixel), round(x / pixel)] < 0.01


def test_the_images_inform_about_the_spectra_and_do_not_determine_them(made):
    """Ridge on windows of heights and lock-in, on sixteenths of the field left out."""
    rows = np.round(np.linspace(0, 127, 48)).astype(int)
    maps = {n: made[n].data[np.ix_(rows, rows)].astype(float).ravel() for n in STATES}
    bias = np.linspace(-0.1, 0.1, 21)
    gap_states = swept(maps, bias, (0.6, 1e-10), GAP, modulation_v=0.01).mean(axis=1)
    places = np.round(np.linspace(0, 255, 48)).astype(int)
    windows = []
    images = flattened(made["topography"].data.astype(float)), made["lockin"].data
    for image in images:
        padded = np.pad(image.astype(float), 8, mode="reflect")
        windows.append(
            [
                padded[r : r + 16, c : c + 16].reshape(8, 2, 8, 2).mean((1, 3)).ravel()
                for r in places
                for c in places
            ]
        )
    X = np.hstack(windows)
    X = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
    i, j = np.divmod(np.arange(48 * 48), 48)
    fold = i // 12 * 4 + j // 12
    left = np.empty_like(gap_states)
    for out in range(16):
        A, mean = X[fold != out], gap_states[fold != out].mean()
        square = A.T @ A + 300 * np.eye(A.shape[1])
        weights = np.linalg.solve(square, A.T @ (gap_states[fold != out] - mean))
        left[fold == out] = gap_states[fold == out] - X[fold == out] @ weights - mean
    assert 0.15 < 1 - (left**2).mean() / gap_states.var() < 0.7


def test_the_best_spots_are_few(spectra):
    """In the gap a few spots have many times the usual conductance."""
    bias, values = spectra
    inside = values[..., np.abs(bias) < 0.1].mean(axis=-1)
    assert np.quantile(inside, 0.99) > 4 * np.median(inside)
