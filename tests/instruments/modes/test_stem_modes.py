"""Modes of a STEM: against plain sums, other authors' numbers and what is recovered."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aemtwin.errors import BadFile, OutOfRange, UnknownName
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.effects import optics
from aemtwin.instruments.kinds import ELECTRON_C
from aemtwin.instruments.modes.base import View
from aemtwin.instruments.modes.registry import find
from aemtwin.instruments.modes.stem import (
    EMITTERS,
    CoreLoss,
    Diffraction,
    XRays,
    continuum_m2,
    electrons,
    emission_m2,
)
from aemtwin.instruments.recording import Stated, readers_of
from aemtwin.instruments.stem import STEM
from aemtwin.instruments.synthetic import coreloss, diffraction, xrays
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis


def stored(name, image, pixel_m=1e-9, units=""):
    rows, columns = image.shape
    axes = (
        Axis("y", "m", pixel_m * np.arange(rows), "Length", "spatial"),
        Axis("x", "m", pixel_m * np.arange(columns), "Length", "spatial"),
    )
    return StoredArray(name, name, units, image, axes, data_type="IMAGE")


def view(points, settings=None, **images):
    sample = make_sample([stored(k.replace("_", " "), v) for k, v in images.items()])
    maps = {field.name: field for field in sample.fields}
    return View(maps, np.asarray(points, float), settings or {})


def usual(model, **other):
    return {p.name: p.default for p in model.parameters} | other


def test_the_registry_has_the_modes_by_name():
    assert [find(n) for n in ("diffraction", "eds", "core_loss")] == [
        Diffraction,
        XRays,
        CoreLoss,
    ]


# diffraction


def test_a_pattern_holds_the_electrons_of_the_usual_dwell():
    model = Diffraction()
    seen = model.values(
        view([[40e-9, 40e-9]], potential=np.zeros((81, 81))), usual(model)
    )
    assert seen.shape == (1, 32, 32)
    assert seen.sum() == pytest.approx(50e-12 * 1e-3 / ELECTRON_C, rel=1e-6)


def test_a_field_turns_the_beam_by_its_strength_wherever_the_map_begins():
    model, given = Diffraction(), usual(Diffraction())
    y, x = np.meshgrid(1e-9 * np.arange(81), 1e-9 * np.arange(81), indexing="ij")
    seen = model.values(view([[40e-9, 38e-9]], potential=10.0 * x - 25.0 * y), given)
    found = diffraction.centre_of_mass(seen, model.axes(given)[0].values)[0]
    wave, sigma = optics.wavelength_m(200e3), optics.interaction(200e3)
    per_volt = wave * sigma / (2 * math.pi)
    assert found == pytest.approx([10 * per_volt, -25 * per_volt], abs=1.2e-7)


def test_settings_of_the_lenses_defocus_the_probe():
    """A beam out of focus sees an edge from farther away, one in focus does not."""
    model = Diffraction()
    given = usual(model, convergence_rad=1.2e-3, half_angle_rad=2.4e-3)
    opaque = np.zeros((161, 161))
    opaque[:, 84:] = 12.0
    shares = []
    for defocus in (0.0, 5e-6):
        settings = {"defocus_m": defocus}
        at = view([[80e-9, 80e-9]], settings, potential=0 * opaque, absorption=opaque)
        seen = model.values(at, given)[0] / electrons(model.dwell_s)
        shares.append(1.0 - seen.sum())
    # by rays: a disk of radius defocus times angle, cut at 3.5 nm from its middle
    h = 3.5e-9 / (5e-6 * 1.2e-3)
    by_rays = (math.acos(h) - h * math.sqrt(1 - h * h)) / math.pi
    assert shares[1] == pytest.approx(by_rays, rel=0.2)
    assert shares[0] < 0.5 * shares[1]


def test_settings_are_those_of_the_effect_optics():
    from aemtwin.instruments.effects.seeing import Optics

    assert {p.name for p in Diffraction.settings} == {
        p.name for p in Optics().settings()
    }


def test_a_convergence_that_the_map_cannot_hold_is_refused():
    model = Diffraction()
    with pytest.raises(OutOfRange, match="convergence"):
        model.values(
            view([[0.0, 0.0]], potential=np.zeros((40, 40))),
            usual(model, convergence_rad=0.02),
        )


# X-rays


def test_bethes_law_agrees_with_published_cross_sections():
    """K-shell ionization by 100 keV electrons, barns: Powell's formula by hand."""
    for family, edge in (("Ti K", 4966.0), ("O K", 543.0)):
        beta2 = 1 - 1 / (1 + 100e3 / 510998.95) ** 2
        kinetic_kev = 0.5 * 510.99895 * beta2
        by_hand = 6.51e-20 * 2 * 0.9 / (kinetic_kev * edge / 1e3)  # cm², keV²
        by_hand *= math.log(0.65 * kinetic_kev * 1e3 / edge) * 1e-4
        found = emission_m2([family], 100e3)[0] / EMITTERS[family].per_hole
        assert found == pytest.approx(by_hand, rel=2e-3)


def test_what_the_beam_cannot_ionize_emits_nothing():
    assert emission_m2(["Sr K", "O K"], 15e3)[0] == 0.0
    assert emission_m2(["Sr K", "O K"], 15e3)[1] > 0.0
    with pytest.raises(UnknownName):
        emission_m2(["Xx K"], 200e3)


def test_every_family_of_lines_has_an_emitter_with_a_fair_yield():
    assert set(EMITTERS) == set(xrays.LINES)
    for family, lines in xrays.LINES.items():
        main = max(lines, key=lambda line: line.weight).energy_ev
        assert 0.8 * main < EMITTERS[family].edge_ev < 1.35 * main
        assert 0 < EMITTERS[family].per_hole < 1


def test_lines_hold_the_counts_of_their_atoms():
    model = XRays()
    given = usual(model, continuum=0.0, window_ev=0.0)
    density = np.full((4, 4), 2e20)
    seen = model.values(view([[1e-9, 2e-9]], Ti_K=density, Mn_K=2 * density), given)[0]
    at = model.axes(given)[0].values
    rays = 3.12075e9 / 2 * 0.7 / (4 * math.pi)  # electrons of 5 s, share seen
    for low, high, family, atoms in (
        (4200, 5250, "Ti K", 2e20),
        (5500, 7e3, "Mn K", 4e20),
    ):
        counted = seen[(at > low) & (at < high)].sum()
        wanted = rays * atoms * emission_m2([family], 200e3)[0]
        assert counted == pytest.approx(wanted, rel=2e-3)
    assert seen.sum() == pytest.approx(seen[(at > 4200) & (at < 7000)].sum(), rel=1e-3)


def test_the_continuum_grows_as_the_square_of_the_nucleus_and_ends_at_the_beam():
    assert continuum_m2(38, 2e5) / continuum_m2(8, 2e5) == pytest.approx((38 / 8) ** 2)
    model = XRays()
    given = usual(model, energy_ev=20e3, channels=1500)
    seen = model.values(view([[0.0, 0.0]], C_K=np.full((3, 3), 1e21)), given)[0]
    at = model.axes(given)[0].values
    assert seen[(at > 2e3) & (at < 19e3)].min() > 0
    assert seen[at > 20e3].max() == 0


def test_two_families_of_one_element_have_one_continuum():
    model, density = XRays(), np.full((3, 3), 1e20)
    given = usual(model)
    one = model.values(view([[0.0, 0.0]], Ti_K=density), given)[0]
    two = model.values(view([[0.0, 0.0]], Ti_K=density, Ti_L=density), given)[0]
    at = model.axes(given)[0].values
    assert two[at > 1000] == pytest.approx(one[at > 1000], rel=1e-9)
    assert two[at < 600].sum() > one[at < 600].sum()


# core losses


def test_an_edge_counts_its_atoms_by_its_cross_section():
    model = CoreLoss()
    given = usual(model, thickness=0.01, resolution_ev=0.5)
    many, none = (
        model.values(view([[0.0, 0.0]], Ti_L=np.full((3, 3), density)), given)[0]
        for density in (2e20, 0.0)
    )
    loss = model.axes(given)[0].values
    assert (loss[0], len(loss)) == (420.0, 520)
    window = (470.0, 520.0)
    counts = (many - none)[(loss >= 470) & (loss <= 520)].sum()
    area = coreloss.partial_cross_section(loss, coreloss.EDGES["Ti L"], window)
    assert counts / area / electrons(0.1) == pytest.approx(2e20, rel=0.01)


def test_the_background_is_a_power_law_in_proportion_to_the_thickness():
    model, given = CoreLoss(), usual(CoreLoss(), channels=60)
    images = {"Mn_L": np.zeros((3, 3)), "thickness": np.full((3, 3), 0.4)}
    seen = model.values(view([[0.0, 0.0]], **images), given)[0]
    loss = model.axes(given)[0].values
    plain = electrons(0.1) * 0.5 * 7e-5 * 0.4 * (400.0 / loss) ** 3
    assert seen == pytest.approx(plain, rel=1e-9)


def test_a_thicker_specimen_moves_counts_of_an_edge_to_higher_losses():
    model = CoreLoss()
    peaks = []
    for thickness in (0.0, 1.0):
        given = usual(model, thickness=thickness, ground_per_ev=0.0, channels=1000)
        seen = model.values(view([[0.0, 0.0]], Mn_L=np.full((3, 3), 1e20)), given)[0]
        loss = model.axes(given)[0].values
        peaks.append((seen.max(), seen[(loss > 665) & (loss < 700)].mean()))
    assert peaks[1][0] == pytest.approx(math.exp(-1.0) * peaks[0][0], rel=0.05)
    assert peaks[1][1] > 1.3 * math.exp(-1.0) * peaks[0][1]


def test_points_in_blocks_are_each_point_alone():
    model, given = CoreLoss(), usual(CoreLoss())
    rng = np.random.default_rng(0)
    density, thick = rng.uniform(0, 1e20, (40, 40)), rng.uniform(0.05, 0.6, (40, 40))
    points = rng.uniform(0, 39e-9, (700, 2))
    seen = model.values(view(points, O_K=density, thickness=thick), given)
    for i in (0, 511, 512, 699):
        alone = model.values(
            view(points[i : i + 1], O_K=density, thickness=thick), given
        )
        assert seen[i] == pytest.approx(alone[0], rel=1e-9)


# maps by the names of lines and edges


def stated(model, maps):
    return [Stated("one", model, maps, (4, 4))]


def test_a_model_takes_any_of_the_maps_that_it_may_have():
    sample = make_sample([stored("ti", np.full((8, 8), 1e20), units="1/m^2")])
    readers = readers_of(sample, STEM, stated(XRays(), {"Ti K": "ti", "Ti L": "ti"}))
    arrays = readers["one"].read(np.array([[1e-9, 1e-9]]), {}, {})
    assert arrays["one"].shape == (1, 500)
    assert arrays["one"].sum() > 0


@pytest.mark.parametrize(
    ("maps", "error", "said"),
    [
        ({}, BadFile, "names no map"),
        ({"Ti Q": "ti"}, UnknownName, "Ti Q"),
        ({"Ti K": "iron"}, BadFile, "no array 'iron'"),
        ({"Ti K": "image"}, BadFile, "'image' is in counts"),
    ],
)
def test_maps_that_mean_nothing_are_refused(maps, error, said):
    ti = stored("ti", np.full((8, 8), 1e20), units="1/m^2")
    sample = make_sample([ti, stored("image", np.ones((8, 8)), units="counts")])
    with pytest.raises(error, match=said):
        readers_of(sample, STEM, stated(XRays(), maps))
