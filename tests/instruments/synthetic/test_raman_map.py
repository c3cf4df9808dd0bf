"""The synthetic flakes of MoS2: as shipped, and as physics has it."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import curve_fit

from aemtwin.formats.catalog import array_sha256, find_twin, verify
from aemtwin.formats.nsid import open_nsid
from aemtwin.instruments.opening import open_twin
from aemtwin.instruments.synthetic import raman_map
from aemtwin.instruments.synthetic.raman_map import (
    BOX,
    Hidden,
    Specimen,
    bands,
    make_hidden,
    make_raman_map,
    make_specimen,
    make_spectra,
    reflectance,
    wave_axis,
)
from aemtwin.instruments.synthetic.xrays import voigt

ONE = np.ones((BOX, BOX))


@pytest.fixture(scope="module")
def made():
    return {array.name: array for array in make_raman_map()}


def even(layers=1, strain=0.0, doping=0.0, glow=0.0):
    """A specimen that is the same everywhere, with its spectrum."""
    specimen = Specimen(
        (), (layers * ONE).astype(int), ONE, 0 * ONE.astype(int), 0 * ONE
    )
    hidden = Hidden(strain * ONE, doping * ONE, glow * ONE, ONE)
    return make_spectra(specimen, hidden, (1, 1))[0, 0]


def fitted(spectrum):
    """Positions of E' and A1' from least squares, with all around them free."""
    axis = wave_axis()
    near = axis < 43e3

    def model(x, level, slope, *peaks):
        total = level + slope * (x - 38e3) / 1e4
        for at, width, area in np.reshape(peaks, (2, 3)):
            total = total + 100.0 * area * voigt(x, at, 120.0, abs(width))
        return total

    start = (spectrum[near].min(), 0.0, 38450, 300, 2500, 40400, 500, 4000)
    best = curve_fit(model, axis[near], spectrum[near], start, maxfev=20000)[0]
    return best[2], best[5]


def hashes(arrays):
    return {a.name: array_sha256(a.data) for a in arrays}


def test_the_shipped_file_is_what_the_generator_makes(made):
    entry = find_twin("raman_map")
    assert entry.data.stat().st_size <= 1_000_000
    verify(entry)
    with open_nsid(entry.data) as file:
        assert file.attributes["seed"] == 0
        assert [array.name for array in file.arrays] == list(made)
        for array in file.arrays:
            want = made[array.name]
            # another CPU may round the eleventh bit the other way
            assert np.allclose(array.data[()], want.data, rtol=6e-4, atol=1e-6)
            assert (array.units, array.quantity) == (want.units, want.quantity)
            assert array.metadata == want.metadata
            for a, b in zip(array.axes, want.axes, strict=True):
                assert np.allclose(a.values, b.values, rtol=1e-12, atol=0)


def test_made_again_it_has_the_hashes_of_the_twin(made):
    assert hashes(made.values()) == find_twin("raman_map").sha256


SMALL = {"shape": (4, 5), "image_shape": (16, 16)}


@functools.cache
def small(seed, **seeds):
    return hashes(make_raman_map(seed, **SMALL, **seeds))


def test_a_seed_is_a_specimen():
    assert hashes(make_raman_map(1, **SMALL)) == small(1)
    assert set(small(1).values()).isdisjoint(small(2).values())


def test_image_and_spectra_have_randomness_of_their_own():
    whole = small(1)
    other_image, other_spectra = small(1, image_seed=9), small(1, spectra_seed=9)
    assert other_image["raman"] == whole["raman"]
    assert other_image["reflection"] != whole["reflection"]
    assert other_spectra["reflection"] == whole["reflection"]
    assert other_spectra["raman"] != whole["raman"]


def test_the_image_does_not_depend_on_the_spectra(monkeypatch, made):
    monkeypatch.setattr(raman_map, "make_spectra", lambda *_: np.zeros((3, 3, 192)))
    again = make_raman_map(shape=(3, 3))
    assert np.array_equal(again[0].data, made["reflection"].data)


def test_units_and_sizes_are_those_of_a_microscope(made):
    raman, reflection = made["raman"], made["reflection"]
    for array in made.values():
        assert array.data.dtype == np.float32
        assert array.axes[0].values[-1] == array.axes[1].values[-1] == 30e-6
        assert (array.data > 0).all()
    axis = raman.axes[2]
    assert (axis.units, axis.quantity) == ("1/m", "Raman shift")
    assert (axis.values[0], axis.values[-1]) == (35e3, 54.1e3)
    top = raman.data.max(axis=-1)
    assert 1e3 < top.min() < top.max() < 2**16  # a camera's 16 bits
    assert 5 < reflection.data.min() < reflection.data.max() < 20


def test_reflectance_is_that_of_the_matrices_of_the_layers():
    """Abeles's characteristic matrices, each film and each wavelength by itself."""
    for layers in range(5):
        found = []
        for light, film, oxide, silicon in zip(
            raman_map.LIGHT_M,
            raman_map.FLAKE_N,
            raman_map.OXIDE_N,
            raman_map.SILICON_N,
            strict=True,
        ):
            matrix = np.eye(2)
            for n, d in ((film, layers * 0.615e-9), (oxide, 270e-9)):
                phase = 2 * np.pi * n * d / light
                matrix = matrix @ np.array(
                    [
                        [np.cos(phase), -1j * np.sin(phase) / n],
                        [-1j * n * np.sin(phase), np.cos(phase)],
                    ]
                )
            b, c = matrix @ np.array([1.0, silicon])
            found.append(abs((b - c) / (b + c)) ** 2)
        assert reflectance(layers) == pytest.approx(np.mean(found), rel=1e-9)


def test_a_second_layer_parts_the_bands_as_published():
    """Lee et al. (2010): about 18 1/cm apart in one layer, 22 in two, 25 in bulk."""
    apart = [np.subtract(*fitted(even(n))[::-1]) / 100 for n in (1, 2)]
    assert 18 < apart[0] < 20
    assert 21 < apart[1] < 23


@pytest.mark.parametrize(("strain", "doping"), [(0.3, 0.5), (-0.1, 1.0), (0.5, 0.2)])
def test_strain_and_doping_come_back_from_a_fit(strain, doping):
    shift = np.array(fitted(even(1, strain, doping, 80.0))) - raman_map.RELAXED[1]
    slopes = np.column_stack([raman_map.BY_STRAIN, raman_map.BY_DOPING])
    found = np.linalg.solve(slopes, shift)
    np.testing.assert_allclose(found, [strain, doping], atol=0.02)


def test_electrons_broaden_the_one_band_and_leave_the_other():
    few, many = (
        bands(np.array([1]), np.array([0.0]), np.array([n])) for n in (0.0, 1.8)
    )
    assert many[1][0, 1] > 1.5 * few[1][0, 1]
    assert many[1][0, 0] == few[1][0, 0]
    assert abs(many[0][0, 0] - few[0][0, 0]) < 0.2 * abs(many[0][0, 1] - few[0][0, 1])


def test_the_counts_of_a_line_are_its_area():
    """Silicon alone, but for what of a Lorentzian's wings lies beyond the axis."""
    bare = even(0)
    ends = np.array([34950.0, 54150.0])
    within = np.diff(np.arctan((ends - 52070) / 175))[0] / np.pi
    assert bare.sum() == pytest.approx(within * raman_map.SILICON[0], rel=0.005)
    assert wave_axis()[bare.argmax()] == pytest.approx(52070, abs=60)
    assert even(2).max() == pytest.approx(0.86**2 * bare.max(), rel=0.01)


def test_the_spot_blurs_a_side_as_a_gaussian_does():
    """Half a field of flake: within 0.3 um the counts go from a sixth to five."""
    specimen = make_specimen()
    layers = np.zeros((BOX, BOX), int)
    layers[:, BOX // 2 :] = 1
    specimen = replace(specimen, layers=layers)
    hidden = Hidden(0 * ONE, 0 * ONE, 0 * ONE, ONE)
    spectra = make_spectra(specimen, hidden, (1, 241))
    near = np.abs(wave_axis() - 40500) < 1000
    share = spectra[0][:, near].sum(axis=-1)
    share = (share - share[0]) / (share[-1] - share[0])
    x = np.linspace(0, 30e-6, 241)
    mean = np.sum(0.5 * (x[1:] + x[:-1]) * np.diff(share))
    sd = np.sqrt(np.sum((0.5 * (x[1:] + x[:-1]) - mean) ** 2 * np.diff(share)))
    assert sd == pytest.approx(raman_map.SPOT_M, rel=0.1)


def test_strain_is_let_go_at_the_sides_of_a_flake():
    specimen = make_specimen()
    strain = make_hidden(0, specimen).strain
    inner = strain[specimen.depth > 1.5e-6].mean()
    outer = strain[(specimen.depth > 0) & (specimen.depth < 0.3e-6)].mean()
    assert 0.1 < inner < 0.4  # percent
    assert outer < 0.5 * inner


def explained(image, target, ok):
    """Share that ridge on 8 x 8 windows explains in sixteenths left out."""
    rows = np.round(np.linspace(0, 127, 48)).astype(int) + 4
    padded = np.pad(image, 4, mode="reflect")
    windows = np.array(
        [padded[r - 4 : r + 4, c - 4 : c + 4].ravel() for r in rows for c in rows]
    )
    windows = (windows - windows.mean(axis=0)) / windows.std(axis=0)
    i, j = np.divmod(np.arange(48 * 48), 48)
    fold, target = i // 12 * 4 + j // 12, target - target[ok].mean()
    left = np.zeros_like(target)
    for out in range(16):
        train, test = ok & (fold != out), ok & (fold == out)
        A, y = windows[train], target[train]
        weights = np.linalg.solve(A.T @ A + 100 * np.eye(64), A.T @ y)
        left[test] = target[test] - windows[test] @ weights
    return 1 - (left[ok] ** 2).mean() / target[ok].var()


def test_the_image_informs_about_the_spectra_and_does_not_determine_them(made):
    """It shows where flakes are, hardly how they are strained or how much glows."""
    image = made["reflection"].data.astype(float)
    spectra = made["raman"].data.reshape(-1, 192).astype(float)
    axis = wave_axis()
    inside = (axis > 39.7e3) & (axis < 41.1e3)
    band = spectra[:, inside].sum(axis=-1)
    every = np.ones(len(band), bool)
    assert 0.8 < explained(image, band, every) < 0.95
    glow = spectra[:, (axis > 42e3) & (axis < 44e3)].sum(axis=-1)
    assert 0.4 < explained(image, glow, every) < 0.8
    strain = make_hidden(0, make_specimen()).strain
    rows = np.rint((np.linspace(0, 30e-6, 48) + 1.5e-6) / 0.125e-6).astype(int)
    at = np.ix_(rows, rows)
    on = make_specimen().layers[at].ravel() > 0
    assert 0.05 < explained(image, strain[at].ravel(), on) < 0.6


def test_a_twin_counts_in_proportion_to_time_and_power():
    twin = open_twin("raman_map", ideal=True)
    one = twin.measure().arrays["raman"]
    twin.configure(power_W=2e-3)
    np.testing.assert_allclose(
        twin.measure(dwell_s=3.0).arrays["raman"], 6 * one, rtol=1e-6
    )
    assert open_twin("raman_map").describe().identity["effects"].keys() == {
        "drift",
        "cosmics",
    }
