"""The synthetic scratched blend under a tip: as shipped, and as physics has it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from aemtwin.formats.catalog import array_sha256, find_twin, verify
from aemtwin.formats.nsid import open_nsid
from aemtwin.instruments.effects import tip
from aemtwin.instruments.opening import open_twin
from aemtwin.instruments.synthetic import afm_topography, fields, forces
from aemtwin.instruments.synthetic.afm_topography import (
    make_afm_topography,
    make_specimen,
    tapping_phase,
)

IMAGES = ("height", "phase", "potential", "current")
MAPS = ("modulus", "adhesion", "conductance", "barrier", "contact_potential")
SMALL = {"shape": (16, 17), "image_shape": (18, 19)}
PIXEL = 2e-6 / 255


@pytest.fixture(scope="module")
def made():
    return {array.name: array for array in make_afm_topography()}


@pytest.fixture(scope="module")
def truth():
    """All three modes at 48 x 48 points: name -> (axis, curves)."""
    twin = open_twin("afm_topography", ideal=True)
    told = {m: twin.truth(m) for m in ("force_curve", "contact_iv", "kelvin")}
    return {m: (t.axes[1].values, t.arrays[m].astype(float)) for m, t in told.items()}


@pytest.fixture(scope="module")
def materials(made):
    """Where each material is, of the images, away from borders."""
    x = np.arange(256) * PIXEL
    x, y = np.meshgrid(x, x)
    scratch = np.zeros((256, 256), bool)
    for start, end, half in afm_topography.SCRATCHES:
        away = afm_topography._from_segment(x, y, (start, end))[0]
        scratch |= away < half - 15e-9
    bare = scratch & (made["height"].data < -28e-9)
    phase = made["phase"].data
    film = np.abs(made["height"].data) < 16e-9
    found = {"ps": (phase > 38) & film, "p3ht": (phase < 36) & film}
    found = {
        name: ndimage.binary_erosion(at, iterations=3) for name, at in found.items()
    }
    return {**found, "pedot": bare}


def hashes(arrays):
    return {a.name: array_sha256(a.data) for a in arrays}


def at_points(image):
    rows = np.round(np.linspace(0, 255, 48)).astype(int)
    return image[np.ix_(rows, rows)].astype(float).ravel()


def test_the_shipped_file_is_what_the_generator_makes(made):
    entry = find_twin("afm_topography")
    assert entry.data.stat().st_size <= 1_000_000
    verify(entry)
    with open_nsid(entry.data) as file:
        assert file.attributes["seed"] == 0
        assert [array.name for array in file.arrays] == list(made)
        for array in file.arrays:
            want = made[array.name]
            scale = np.abs(want.data).max()
            assert np.allclose(array.data[()], want.data, rtol=3e-4, atol=1e-3 * scale)
            assert (array.units, array.quantity) == (want.units, want.quantity)
            assert array.metadata == want.metadata
            for a, b in zip(array.axes, want.axes, strict=True):
                assert np.allclose(a.values, b.values, rtol=1e-12, atol=0)


def test_made_again_it_has_the_hashes_of_the_twin(made):
    assert hashes(made.values()) == find_twin("afm_topography").sha256


def test_a_seed_is_a_film():
    one, same, other = (hashes(make_afm_topography(s, **SMALL)) for s in (1, 1, 2))
    assert one == same
    assert set(one.values()).isdisjoint(other.values())


def test_what_is_recorded_and_what_is_hidden_have_randomness_of_their_own():
    whole = hashes(make_afm_topography(1, **SMALL))
    images = hashes(make_afm_topography(1, **SMALL, image_seed=9))
    hidden = hashes(make_afm_topography(1, **SMALL, hidden_seed=9))
    assert [n for n in whole if images[n] == whole[n]] == list(MAPS)
    same = [n for n in whole if hidden[n] == whole[n]]
    assert same == ["height", "phase", "potential", "contact_potential"]


def test_maps_are_hidden_and_the_rest_can_be_scanned():
    spec = open_twin("afm_topography").describe()
    assert tuple(channel.name for channel in spec.channels) == IMAGES
    names = {mode.name: mode.units for mode in spec.modes}
    assert names == {"force_curve": "N", "contact_iv": "A", "kelvin": "Hz"}


def test_units_and_sizes_are_those_of_a_microscope(made, truth):
    low, high = np.quantile(made["height"].data, [0.001, 0.999])
    assert -45e-9 < low < -30e-9 < 12e-9 < high < 60e-9
    assert 0.0 < made["phase"].data.min() < made["phase"].data.max() < 50.0
    assert 0.1 < np.ptp(made["potential"].data) < 0.6
    assert 1e-10 < made["current"].data.max() < 1e-8
    modulus = made["modulus"].data
    assert 3e8 < modulus.min() < np.median(modulus) < 4e9 < modulus.max() < 8e10
    assert 0.02 < made["adhesion"].data.min() < made["adhesion"].data.max() < 0.2
    force = truth["force_curve"][1]
    assert 1e-8 < force.max() < 5e-8
    assert -2e-8 < force.min() < -5e-9
    assert 1e-10 < np.abs(truth["contact_iv"][1]).max() < 5e-9
    for array in made.values():
        assert array.data.dtype == np.float32
        assert array.axes[0].values[-1] == array.axes[1].values[-1] == 2e-6


def test_phase_follows_material_and_height_does_not_follow_phase(made, materials):
    """Over drops and beside them; in a scratch it is that of what lies bare there."""
    phase, height = made["phase"].data, made["height"].data
    mean = {name: float(phase[at].mean()) for name, at in materials.items()}
    assert mean["ps"] - mean["p3ht"] > 6.0
    assert mean["p3ht"] < mean["pedot"] < mean["ps"]
    step = height[materials["ps"]].mean() - height[materials["p3ht"]].mean()
    assert step == pytest.approx(9e-9, abs=2e-9)
    for name in ("ps", "p3ht"):
        inside = materials[name]
        assert abs(np.corrcoef(phase[inside], height[inside])[0, 1]) < 0.5


def test_the_drive_gives_what_the_tap_and_the_air_take():
    """The balance of power, with the work of the drive integrated over a cycle."""
    q, amplitude, free, stiffness = 300.0, 0.7 * 25e-9, 25e-9, 5.0
    for loss_ev in (0.0, 9.0, 22.0):
        loss = loss_ev * 1.602176634e-19
        lag = math.radians(90.0 - float(tapping_phase(loss)))
        turn = np.linspace(0.0, 2 * np.pi, 20001)
        drive = stiffness * free / q * np.cos(turn)  # force of the drive, N
        speed = -amplitude * np.sin(turn - lag)
        air = stiffness / q * speed**2  # damping k / (w Q)
        given, taken = (np.trapezoid(v, turn) for v in (drive * speed, air))
        assert given - taken == pytest.approx(loss, abs=1e-22)
    assert (np.diff(tapping_phase(np.linspace(0, 6e-18, 20))) < 0).all()
    assert float(tapping_phase(1e-15)) == 0.0


def test_polymers_have_the_moduli_and_the_pull_off_of_their_kind(made, truth):
    drive, force = truth["force_curve"]
    found = forces.fit_hertz(drive, force, 15e-9, 5.0)
    phase, film = at_points(made["phase"].data), np.abs(at_points(made["height"].data))
    film = film < 12e-9
    soft, glassy = (film & (phase < 36)), (film & (phase > 39))
    assert np.median(found.modulus_pa[soft]) == pytest.approx(1.35e9, rel=0.1)
    assert np.median(found.modulus_pa[glassy]) == pytest.approx(3.5e9, rel=0.1)
    assert 3e-9 < np.median(-force.min(axis=1)) < 8e-9


def test_force_curves_tell_the_maps(made, truth):
    """The fit of noiseless curves, where the map is even over a pixel."""
    x = np.linspace(0.0, 2e-6, 48)
    grid = made["modulus"].axes[0].values
    drive, force = truth["force_curve"]
    found = forces.fit_hertz(drive, force, 15e-9, 5.0)
    for name, value, tolerance in (
        ("modulus", found.modulus_pa, 0.05),
        ("adhesion", found.adhesion_j_m2, 0.05),
    ):
        pixel = grid[1] - grid[0]
        field = np.pad(made[name].data.astype(float), ((0, 1), (0, 1)), mode="edge")
        want = fields.read_at(field, pixel, np.minimum(x, grid[-1]), x).ravel()
        polymer = want < 6e9 if name == "modulus" else want > 0
        off = np.abs(value / want - 1.0)[polymer]
        assert np.median(off) < tolerance
        assert np.quantile(off, 0.95) < 2 * tolerance


def test_the_current_image_is_the_curve_at_its_bias(made, truth):
    """But for its noise and the wear of the contact, some percent."""
    bias, current = truth["contact_iv"]
    there = current[:, np.abs(bias - 0.5).argmin()]
    x = np.linspace(0.0, 2e-6, 48)
    image = fields.read_at(made["current"].data.astype(float), PIXEL, x, x).ravel()
    clear = there > 5e-12
    share = image[clear] / there[clear]
    assert np.median(share) == pytest.approx(1.0, abs=0.03)
    assert np.corrcoef(np.log(there[clear]), np.log(image[clear]))[0, 1] > 0.94


def test_the_insulator_insulates_and_the_semiconductor_rectifies(made, truth):
    current = truth["contact_iv"][1]
    phase, height = at_points(made["phase"].data), at_points(made["height"].data)
    film = np.abs(height) < 12e-9
    glassy, soft = film & (phase > 40), film & (phase < 35)
    assert np.median(np.abs(current[glassy]).max(axis=1)) < 1e-12  # below the noise
    forward, back = current[soft, -1], -current[soft, 0]
    assert np.median(forward / back) > 3
    assert np.median(forward) > 1e-10
    bare = height < -30e-9
    assert np.median(-current[bare, -1] / current[bare, 0]) == pytest.approx(1, abs=0.1)


def test_the_potential_image_is_what_kelvin_curves_say(made, truth):
    bias, shift = truth["kelvin"]
    bend, slope, _ = np.polyfit(bias, shift.T, 2)
    vertex, image = -slope / (2 * bend), at_points(made["potential"].data)
    assert np.std(vertex - image) < 0.1 * np.std(image)
    flat = made["contact_potential"].data.astype(float)
    blurred = ndimage.gaussian_filter(flat, 20e-9 / (2e-6 / 159), mode="nearest")
    rows = np.round(np.linspace(0, 159, 48)).astype(int)
    wanted = blurred[np.ix_(rows, rows)].ravel()
    assert np.std(vertex - wanted) < 0.15 * np.std(wanted)


def test_scratches_are_as_deep_as_the_film_and_heap_up_beside(made, materials):
    height = made["height"].data
    floor = np.median(height[materials["pedot"]])
    assert np.median(height[materials["p3ht"]]) - floor == pytest.approx(
        34e-9, abs=4e-9
    )
    assert height[materials["pedot"]].std() < 3e-9
    steep = np.abs(np.diff(height, axis=0)).max() / PIXEL
    assert steep > 1.0  # more than 45 deg


def test_a_blunt_tip_widens_particles_and_narrows_scratches(made):
    surface = made["height"].data.astype(float)
    twin = open_twin(
        "afm_topography",
        effects={"tip": {"change": 0.0}},
        noise=dict.fromkeys(IMAGES, 0),
    )
    seen = twin.scan(channels=["height"]).arrays["height"].astype(float)
    want = tip.dilate(surface, 15e-9, (PIXEL, PIXEL))
    assert np.abs(seen - want).max() < 1e-13
    deep, proud = -20e-9, 18e-9
    assert (seen < deep).sum() < 0.85 * (surface < deep).sum()
    assert (seen > proud).sum() > 1.5 * (surface > proud).sum()


def test_a_slow_loop_parachutes_off_edges():
    """Behind an edge that falls away, and not before one that rises."""
    quiet = dict.fromkeys(IMAGES, 0)
    plain, slow = (
        open_twin("afm_topography", effects=e, noise=quiet)
        .scan(channels=["height"])
        .arrays["height"]
        .astype(float)
        for e in ("none", {"feedback": {"integral_hz": 150.0, "free_m": 4e-9}})
    )
    off = slow - plain
    assert np.quantile(off, 0.999) > 15e-9
    step = np.diff(plain, axis=1, prepend=plain[:, :1])
    falling, rising = step < -8e-9, step > 8e-9
    assert off[falling].mean() > 3 * np.abs(off[~falling & ~rising]).mean()


def test_what_is_on_by_default_disturbs_and_does_not_destroy():
    twin = open_twin("afm_topography")
    on = twin.describe().identity["effects"]
    assert list(on) == ["drift", "creep", "tip", "feedback", "flicker"]
    seen = twin.scan(channels=IMAGES).arrays
    plain = open_twin("afm_topography", ideal=True).scan(channels=IMAGES).arrays
    for name in ("height", "phase", "potential"):
        alike = np.corrcoef(seen[name].ravel(), plain[name].ravel())[0, 1]
        assert 0.75 < alike < 0.995
    everything = open_twin("afm_topography", effects="all", seed=3)
    assert len(everything.describe().identity["effects"]) == 12


def test_a_reading_is_as_noisy_as_such_curves_are():
    """Fitted moduli scatter by some percent, potentials by some millivolts."""
    twin = open_twin("afm_topography", effects="none")
    twin.move_to((0.5e-6, 1.0e-6))
    force = np.array(
        [twin.measure("force_curve").arrays["force_curve"] for _ in range(30)]
    )
    drive = twin.measure("force_curve").axes[0].values
    modulus = forces.fit_hertz(drive, force.astype(float), 15e-9, 5.0).modulus_pa
    assert 0.005 < modulus.std() / modulus.mean() < 0.08
    shift = np.array([twin.measure("kelvin").arrays["kelvin"] for _ in range(30)])
    bias = twin.measure("kelvin").axes[0].values
    bend, slope, _ = np.polyfit(bias, shift.astype(float).T, 2)
    assert 5e-4 < (-slope / (2 * bend)).std() < 1e-2


@pytest.mark.slow
def test_the_images_inform_about_the_curves_and_do_not_determine_them(made, truth):
    """Ridge on 8 x 8 windows of all four, tested on sixteenths left out."""
    rows = np.round(np.linspace(0, 255, 48)).astype(int) + 4
    columns = []
    for name in IMAGES:
        picture = made[name].data.astype(float)
        if name == "current":
            picture = np.arcsinh(picture / 1e-12)
        padded = np.pad(picture, 4, mode="reflect")
        columns.append(
            [padded[r - 4 : r + 4, c - 4 : c + 4].ravel() for r in rows for c in rows]
        )
    windows = np.hstack([np.array(c) for c in columns])
    windows = (windows - windows.mean(axis=0)) / windows.std(axis=0)
    i, j = np.divmod(np.arange(48 * 48), 48)
    fold = i // 12 * 4 + j // 12
    height, phase, _, current = (at_points(made[n].data) for n in IMAGES)
    soft = (phase < 36.5) & (current > 1e-12) & (np.abs(height) < 12e-9)
    found = forces.fit_hertz(*truth["force_curve"], 15e-9, 5.0)
    through = truth["contact_iv"][1]
    modulus, ratio = np.log(found.modulus_pa), np.log(-through[:, -1] / through[:, 0])
    everywhere = np.ones(len(fold), bool)
    for target, some, low, high in (
        (modulus, everywhere, 0.7, 0.92),
        (modulus, soft, 0.1, 0.4),  # within one material
        (found.adhesion_j_m2, everywhere, 0.4, 0.8),
        (found.adhesion_j_m2, soft, -0.5, 0.1),
        (ratio, everywhere, 0.65, 0.92),
        (ratio, soft, 0.05, 0.4),
    ):
        design, y, part = windows[some], target[some] - target[some].mean(), fold[some]
        left = np.empty_like(y)
        for out in range(16):
            A = design[part != out]
            gram = A.T @ A + 100 * np.eye(A.shape[1])
            weights = np.linalg.solve(gram, A.T @ y[part != out])
            left[part == out] = y[part == out] - design[part == out] @ weights
        assert low < 1 - (left**2).mean() / y.var() < high


def test_fibrils_stand_forty_nanometres_apart():
    """The power of the phase along and across, over wave numbers, peaks there."""
    fibril = make_specimen(0).dissipated[:256, :256]
    power = np.abs(np.fft.rfft2(fibril - fibril.mean())) ** 2
    k = fields.wave_numbers(256, PIXEL) / (2 * np.pi)
    edges = 1.0 / np.array([60e-9, 52e-9, 46e-9, 42e-9, 38e-9, 35e-9, 31e-9, 27e-9])
    mean = [power[(k >= a) & (k < b)].mean() for a, b in itertools.pairwise(edges)]
    assert 1 <= int(np.argmax(mean)) <= 4  # between 52 and 31 nm
