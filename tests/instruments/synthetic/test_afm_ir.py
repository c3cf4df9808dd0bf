"""The synthetic blend under infrared light: as shipped, and as physics has it."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.formats.catalog import array_sha256, find_twin, verify
from aemtwin.formats.nsid import open_nsid
from aemtwin.instruments.modes import light
from aemtwin.instruments.opening import open_twin
from aemtwin.instruments.synthetic import afm_ir
from aemtwin.instruments.synthetic.afm_ir import make_afm_ir, make_specimen

MAPS = ("composition", "thickness", "bonded")


@pytest.fixture(scope="module")
def made():
    return {array.name: array for array in make_afm_ir()}


@pytest.fixture(scope="module")
def truth():
    """Spectra at 48 x 48 points, volts, with their axis, 1/m."""
    told = open_twin("afm_ir", ideal=True).truth()
    return told.axes[1].values, told.arrays["afm_ir"].astype(float)


def hashes(arrays):
    return {a.name: array_sha256(a.data) for a in arrays}


def coarse(image):
    rows = np.round(np.linspace(0, 127, 48)).astype(int)
    return image[np.ix_(rows, rows)].astype(float).ravel()


def ratio(axis, spectra):
    """Bonded over free C=O, as band_ratio reads them."""
    low = (axis >= 169.6e3) & (axis <= 171.2e3)
    high = (axis >= 172.4e3) & (axis <= 174e3)
    return spectra[:, low].sum(axis=-1) / spectra[:, high].sum(axis=-1)


def test_the_shipped_file_is_what_the_generator_makes(made):
    entry = find_twin("afm_ir")
    assert entry.data.stat().st_size <= 1_000_000
    verify(entry)
    with open_nsid(entry.data) as file:
        assert file.attributes["seed"] == 0
        assert [array.name for array in file.arrays] == list(made)
        for array in file.arrays:
            want = made[array.name]
            scale = np.abs(want.data).max()
            assert np.allclose(array.data[()], want.data, rtol=1e-4, atol=1e-9 * scale)
            assert (array.units, array.quantity) == (want.units, want.quantity)
            assert array.metadata == want.metadata
            for a, b in zip(array.axes, want.axes, strict=True):
                assert np.allclose(a.values, b.values, rtol=1e-12, atol=0)


def test_made_again_it_has_the_hashes_of_the_twin(made):
    assert hashes(made.values()) == find_twin("afm_ir").sha256


def test_a_seed_is_a_film():
    one, same, other = (hashes(make_afm_ir(s, shape=(16, 17))) for s in (1, 1, 2))
    assert one == same
    assert set(one.values()).isdisjoint(other.values())


def test_what_is_recorded_and_what_is_hidden_have_randomness_of_their_own():
    whole = hashes(make_afm_ir(1, shape=(16, 17)))
    images = hashes(make_afm_ir(1, shape=(16, 17), image_seed=9))
    hidden = hashes(make_afm_ir(1, shape=(16, 17), hidden_seed=9))
    assert [n for n in whole if images[n] == whole[n]] == list(MAPS)
    same = [n for n in whole if hidden[n] == whole[n]]
    assert same == ["height", "thickness"]


def test_maps_are_hidden_and_the_rest_can_be_scanned():
    spec = open_twin("afm_ir").describe()
    names = [channel.name for channel in spec.channels]
    assert names == ["height", "ir_amplitude", "resonance"]
    assert [mode.name for mode in spec.modes] == ["afm_ir"]
    assert spec.modes[0].units == "V"
    assert "ir_power" in [setting.name for setting in spec.settings]


def test_units_and_sizes_are_those_of_a_microscope(made, truth):
    height, film = made["height"].data, made["thickness"].data
    assert 3e-9 < height.std() < 15e-9
    assert 80e-9 < film.min() < film.max() < 140e-9
    for name in ("composition", "bonded"):
        assert (made[name].data >= 0).all()
        assert (made[name].data <= 1).all()
    amplitude = np.quantile(made["ir_amplitude"].data, [0.01, 0.99])
    assert -1e-3 < amplitude[0] < 1e-3 < 5e-3 < amplitude[1] < 5e-2  # volts
    resonance = made["resonance"].data
    assert 180e3 < resonance.min() < resonance.max() < 192e3
    assert 5e-3 < truth[1].max() < 5e-2
    assert (truth[1] > 0).all()
    for array in made.values():
        assert array.axes[0].values[-1] == array.axes[1].values[-1] == 5e-6


def test_the_image_at_one_wave_number_is_what_the_spectrum_has_there(made, truth):
    """But for its noise, the wander of the laser and the cross-talk, some percent."""
    axis, spectra = truth
    there = np.array([np.interp(afm_ir.LINE_PER_M, axis, s) for s in spectra])
    image = coarse(made["ir_amplitude"].data)
    bright = there > 3e-3
    share = image[bright] / there[bright]
    assert share.mean() == pytest.approx(1.0, abs=0.05)
    assert 0.03 < share.std() < 0.12
    assert np.corrcoef(image, there)[0, 1] > 0.99


def test_two_polymers_part_and_share_the_field_as_said(made):
    share = made["composition"].data
    assert 0.3 < (share > 0.5).mean() < 0.5
    between = ((share > 0.25) & (share < 0.75)).mean()
    assert 0.02 < between < 0.2
    x = made["height"].axes[1].values
    slope = np.abs(np.gradient(share, x[1] - x[0], axis=1)).max()
    assert 40e-9 < 1 / slope < 150e-9  # the width of a border


def test_acrylate_stands_out_and_the_bonds_are_more_at_borders(made):
    share, bonded = made["composition"].data, made["bonded"].data
    height = made["height"].data
    apart = height[share > 0.9].mean() - height[share < 0.1].mean()
    assert 4e-9 < apart < 25e-9
    border = (share > 0.3) & (share < 0.7)
    assert bonded[border].mean() > 1.3 * bonded[share > 0.9].mean()


def test_the_carbonyls_parts_tell_the_bonds(made, truth):
    axis, spectra = truth
    share, bonded = coarse(made["composition"].data), coarse(made["bonded"].data)
    inside = share > 0.5
    told = ratio(axis, spectra)[inside]
    # ranks, as the one rises with the other on a curve
    ranks = [np.argsort(np.argsort(v)) for v in (told, bonded[inside])]
    assert np.corrcoef(*ranks)[0, 1] > 0.95


@pytest.mark.slow
def test_the_images_inform_about_the_bonds_and_do_not_determine_them(made, truth):
    """Ridge on 8 x 8 windows of all three, tested on sixteenths left out."""
    rows = np.round(np.linspace(0, 127, 48)).astype(int) + 4
    columns = []
    for name in ("height", "ir_amplitude", "resonance"):
        padded = np.pad(made[name].data.astype(float), 4, mode="reflect")
        columns.append(
            [padded[r - 4 : r + 4, c - 4 : c + 4].ravel() for r in rows for c in rows]
        )
    windows = np.hstack([np.array(c) for c in columns])
    windows = (windows - windows.mean(axis=0)) / windows.std(axis=0)
    i, j = np.divmod(np.arange(48 * 48), 48)
    fold = i // 12 * 4 + j // 12
    axis, spectra = truth
    near = (axis >= 172e3) & (axis <= 174e3)
    for target, low, high in (
        (ratio(axis, spectra), 0.15, 0.6),
        (spectra[:, near].sum(axis=-1), 0.9, 1.0),
    ):
        left, y = np.empty_like(target), target - target.mean()
        for out in range(16):
            A = windows[fold != out]
            gram = A.T @ A + 100 * np.eye(A.shape[1])
            weights = np.linalg.solve(gram, A.T @ y[fold != out])
            left[fold == out] = y[fold == out] - windows[fold == out] @ weights
        assert low < 1 - (left**2).mean() / y.var() < high


def test_a_reading_is_noisy_by_a_few_percent_of_the_strongest_band():
    twin = open_twin("afm_ir", effects="none")
    exact = open_twin("afm_ir", ideal=True)
    share = make_specimen().composition[:250, :250]
    row, column = np.unravel_index(share.argmax(), share.shape)
    for one in (twin, exact):
        one.move_to((column * 20e-9, row * 20e-9))
    want = exact.measure().arrays["afm_ir"]
    off = np.array([twin.measure().arrays["afm_ir"] - want for _ in range(20)])
    assert off.std() == pytest.approx(2e-4, rel=0.05)
    assert 0.01 < off.std() / want.max() < 0.06


def test_the_defaults_of_the_image_are_those_of_the_mode():
    """One point, by the model and by the function that the image is made with."""
    at = np.array([173e3])
    volts = afm_ir.amplitude_v(np.array([0.6]), np.array([1e-7]), np.array([0.2]))[0]
    taken = -np.expm1(-light.absorption(at, 0.6, 0.2) * 1e-7) * light.laser(at)
    assert volts == pytest.approx(float(40 * 2.5e7 * 4e-11 * 5.0 * taken[0]), rel=1e-9)
