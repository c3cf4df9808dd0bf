"""The synthetic nanoparticles: as shipped, and as physics has it."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from aemtwin.formats.catalog import array_sha256, find_twin, verify
from aemtwin.formats.nsid import open_nsid
from aemtwin.instruments.synthetic import stem_eels
from aemtwin.instruments.synthetic.__main__ import regenerate
from aemtwin.instruments.synthetic.stem_eels import (
    Particle,
    Skin,
    Specimen,
    energy_axis,
    losses,
    make_skins,
    make_specimen,
    make_stem_eels,
    plasmon_ev,
)

ELECTRONS = 50e-12 * 1e-3 / 1.602176634e-19


@pytest.fixture(scope="module")
def made():
    return {array.name: array for array in make_stem_eels()}


@pytest.fixture(scope="module")
def thickness():
    """t/lambda at every point of the grid."""
    specimen = make_specimen()
    return losses(specimen, make_skins(0, specimen), (48, 48))[1].sum(axis=-1)


def band(values, low, high):
    e, values = energy_axis(), np.asarray(values, float)
    inside = (e >= low) & (e <= high)
    return np.trapezoid(values[..., inside], e[inside], axis=-1)


def hashes(arrays):
    return {a.name: array_sha256(a.data) for a in arrays}


def test_the_shipped_file_is_what_the_generator_makes(made):
    entry = find_twin("stem_eels")
    assert entry.data.stat().st_size <= 1_000_000
    verify(entry)
    with open_nsid(entry.data) as file:
        assert [array.name for array in file.arrays] == list(made)
        for array in file.arrays:
            want = made[array.name]
            # another CPU may round the twelfth bit the other way
            assert np.allclose(array.data[()], want.data, rtol=3e-4, atol=0.07)
            assert (array.units, array.quantity) == (want.units, want.quantity)
            assert array.metadata == want.metadata
            for a, b in zip(array.axes, want.axes, strict=True):
                assert np.allclose(a.values, b.values, rtol=1e-12, atol=0)


def test_made_again_it_has_the_same_hashes(made, tmp_path):
    again = regenerate("stem_eels", tmp_path)
    assert again == hashes(made.values())
    with open_nsid(tmp_path / "stem_eels.nsid.h5") as file:
        assert file.attributes["seed"] == 0
    assert (tmp_path / "stem_eels.nsid.h5").stat().st_size <= 1_000_000


SMALL = {"shape": (4, 5), "image_shape": (16, 16)}


@functools.cache
def small(seed, **seeds):
    return hashes(make_stem_eels(seed, **SMALL, **seeds))


def test_a_seed_is_a_specimen():
    assert hashes(make_stem_eels(1, **SMALL)) == small(1)
    assert set(small(1).values()).isdisjoint(small(2).values())


def test_image_and_spectra_have_randomness_of_their_own():
    """Another recording: the same spectra. Other skins: the same image."""
    whole = small(1)
    other_image, other_spectra = small(1, image_seed=9), small(1, spectra_seed=9)
    assert other_image["eels"] == whole["eels"]
    assert other_image["haadf"] != whole["haadf"]
    assert other_spectra["haadf"] == whole["haadf"]
    assert other_spectra["eels"] != whole["eels"]


def test_the_images_do_not_depend_on_the_spectra(monkeypatch, made):
    """Another physics, another grid: the same image; and the reverse."""
    zeros = np.zeros((3, 3, 100))
    monkeypatch.setattr(stem_eels, "make_spectra", lambda *_: zeros)
    again = make_stem_eels(shape=(3, 3))
    assert np.array_equal(again[0].data, made["haadf"].data)
    monkeypatch.undo()
    again = make_stem_eels(image_shape=(16, 16))
    assert np.array_equal(again[1].data, made["eels"].data)


def test_units_and_sizes_are_those_of_a_microscope(made, thickness):
    for array in made.values():
        assert (array.units, array.data.dtype) == ("counts", np.float32)
        assert array.axes[0].values[-1] == array.axes[1].values[-1] == 140e-9
        assert (array.data >= 0).all()
        assert array.derived == ""
    axis = made["eels"].axes[2]
    assert (axis.units, axis.values[0], axis.values[-1]) == ("eV", -3.0, 46.5)
    assert 0.05 < thickness.min() < np.median(thickness) < 0.5
    assert 0.5 < thickness.max() < 1.5
    assert 20 < np.median(made["haadf"].data) < 500


def test_no_electron_is_made(made):
    """What is lost beyond the last channel is missing, and little else."""
    total = made["eels"].data.sum(axis=-1, dtype=float)
    assert (total < ELECTRONS * (1 + 1e-3)).all()
    assert (total > 0.9 * ELECTRONS).all()


def test_the_log_ratio_gives_the_thickness_back(made, thickness):
    """Egerton (2011), section 5.1: t/lambda = ln(It / I0)."""
    spectra = made["eels"].data.astype(float)
    zero = spectra[..., energy_axis() < 2.5].sum(axis=-1)
    found = np.log(ELECTRONS / zero)
    np.testing.assert_allclose(found, thickness, rtol=0.03, atol=0.01)


def test_the_plasmon_shifts_with_the_electron_density():
    assert plasmon_ev(0.0) == 15.0
    assert 10.0 < plasmon_ev(1.0) < 10.7  # magnesium
    assert plasmon_ev(0.1) - 15.0 == pytest.approx(-0.55, abs=0.1)


def test_in_a_particle_the_bulk_is_seen_and_at_its_edge_the_surface():
    """One particle alone: bulk in it, a ring of surface modes, seen from beside it."""
    particle = Particle(70e-9, 70e-9, 14e-9, True, 0.0)
    film = np.full((stem_eels.BOX, stem_eels.BOX), 10e-9)
    specimen, skins = Specimen((particle,), film), (Skin(0.3e-9, 1.2),)
    spectra = stem_eels.make_spectra(specimen, skins, (57, 57))
    x = np.linspace(0, 140e-9, 57)
    away = np.hypot(x[None, :] - 70e-9, x[:, None] - 70e-9) - 14e-9
    bulk, surface = band(spectra, 14, 16), band(spectra, 7, 10.5)
    centre, edge = away < -12e-9, np.abs(away) < 1.2e-9
    beyond, far = np.abs(away - 4e-9) < 1e-9, away > 35e-9
    assert bulk[centre].mean() > 5 * bulk[beyond].mean()
    assert bulk[beyond].mean() == pytest.approx(bulk[far].mean(), rel=0.1)
    assert surface[edge].mean() > 1.25 * surface[centre].mean()
    assert surface[edge].mean() > 3 * surface[far].mean()
    assert surface[beyond].mean() > 1.5 * surface[far].mean()


def test_oxide_takes_the_surface_mode_away_and_the_image_does_not_show_it():
    """Aluminium: from 8.7 eV and above, clean, to about 7 eV, oxidized."""
    particle = Particle(70e-9, 70e-9, 8e-9, True, 0.0)
    film = np.zeros((stem_eels.BOX, stem_eels.BOX))
    e, peaks = energy_axis(), []
    for oxide in (0.0, 2e-9):
        specimen = Specimen((particle,), film)
        spectra = stem_eels.make_spectra(specimen, (Skin(oxide, 1.0),), (29, 29))
        at_edge = spectra[14, 16]  # 10 nm off the centre
        near = (e > 4) & (e < 12)
        peaks.append(float(e[near][at_edge[near].argmax()]))
    assert peaks[0] == pytest.approx(8.7, abs=0.8)
    assert 5.5 < peaks[1] < 7.6


def test_the_thickest_spots_show_a_second_plasmon(made, thickness):
    spectrum = made["eels"].data.reshape(-1, 100)[thickness.argmax()].astype(float)
    e = energy_axis()
    near = (e > 11) & (e < 18)
    first = e[near][spectrum[near].argmax()]
    near = (e > 2 * first - 3) & (e < 2 * first + 3)
    bump = spectrum[near] - np.interp(
        e[near], *[v[near][[0, -1]] for v in (e, spectrum)]
    )
    assert e[near][bump.argmax()] == pytest.approx(2 * first, abs=1.0)


def test_the_image_informs_about_the_spectra_and_does_not_determine_them(made):
    """Ridge on 8 x 8 windows of the image, tested on quarters of the field left out."""
    image = made["haadf"].data.astype(float)
    target = band(made["eels"].data, 7.0, 9.0).ravel()
    rows = np.round(np.linspace(0, 127, 48)).astype(int) + 4
    padded = np.pad(image, 4, mode="reflect")
    windows = np.array(
        [padded[r - 4 : r + 4, c - 4 : c + 4].ravel() for r in rows for c in rows]
    )
    windows = (windows - windows.mean(axis=0)) / windows.std(axis=0)
    design = np.column_stack([windows, np.ones(len(windows))])
    i, j = np.divmod(np.arange(48 * 48), 48)
    fold = i // 12 * 4 + j // 12
    left = np.empty_like(target)
    for out in range(16):
        A, y = design[fold != out], target[fold != out]
        weights = np.linalg.solve(A.T @ A + 100 * np.eye(65), A.T @ y)
        left[fold == out] = target[fold == out] - design[fold == out] @ weights
    assert 0.4 < 1 - (left**2).mean() / target.var() < 0.8


def test_the_best_spots_are_rare_and_lie_together(made):
    map_ = band(made["eels"].data, 7.0, 9.0)
    top = map_ >= np.quantile(map_, 0.99)
    assert np.quantile(map_, 0.99) > 3 * np.median(map_)
    rows, columns = np.nonzero(top)
    near = [
        np.sort(np.hypot(rows - r, columns - c))[1]
        for r, c in zip(rows, columns, strict=True)
    ]
    assert np.median(near) <= 2  # pixels
    off = map_ - map_.mean()
    assert 0.8 < (off[:, 1:] * off[:, :-1]).mean() / map_.var() < 0.97
