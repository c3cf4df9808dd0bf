"""The synthetic ferroelectric film: as shipped, and as physics has it."""

import numpy as np
import pytest

from aemtwin.errors import UnknownName
from aemtwin.formats.catalog import find_twin
from aemtwin.formats.nsid import open_nsid
from aemtwin.instruments.synthetic import fields, pfm_loops
from aemtwin.instruments.synthetic.__main__ import main, regenerate
from aemtwin.instruments.synthetic.pfm_loops import (
    LoopParameters,
    bias_axis,
    loop_parameters,
    loop_shape,
    make_pfm_loops,
)


@pytest.fixture(scope="module")
def made():
    return {array.name: array for array in make_pfm_loops()}


def loop_area(response):
    bias = bias_axis()
    one, next_one = np.roll(bias, -1), np.roll(response, -1, axis=-1)
    return 0.5 * np.abs((bias * next_one - one * response).sum(axis=-1))


def test_the_shipped_file_is_what_the_generator_makes(made):
    with open_nsid(find_twin("pfm_loops").data) as file:
        assert [array.name for array in file.arrays] == list(made)
        for array in file.arrays:
            want = made[array.name]
            scale = np.abs(want.data).max()
            assert np.allclose(array.data[()], want.data, rtol=0, atol=1e-5 * scale)
            assert (array.units, array.quantity) == (want.units, want.quantity)
            assert array.metadata == want.metadata
            for a, b in zip(array.axes, want.axes, strict=True):
                assert np.allclose(a.values, b.values, rtol=1e-12, atol=0)


def test_regeneration_writes_the_twin_again(tmp_path, capsys):
    assert main(["pfm_loops", str(tmp_path)]) == 0
    with open_nsid(tmp_path / "pfm_loops.nsid.h5") as file:
        assert file.attributes["seed"] == 0
        assert file.array("loops").data.shape == (50, 50, 64)
    hashes = regenerate("pfm_loops", tmp_path)
    assert hashes["loops"] in (tmp_path / "pfm_loops.sha256.toml").read_text()
    assert main(["pfm_loops", str(tmp_path / "none")]) == 1
    assert main(["pfm_loop", str(tmp_path)]) == 1
    assert main([]) == 2
    assert "Did you mean 'pfm_loops'" in capsys.readouterr().err
    with pytest.raises(UnknownName):
        regenerate("none", tmp_path)


def test_a_seed_is_a_film():
    one, same, other = (make_pfm_loops(s, shape=(4, 5))[3].data for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_units_and_sizes_are_those_of_a_microscope(made):
    topography, amplitude = made["topography"].data, made["amplitude"].data
    assert 0.5e-9 < topography.std() < 5e-9
    assert 5 < np.median(amplitude) < 50
    assert np.abs(made["phase"].data).max() <= 180
    assert all(array.data.dtype == np.float32 for array in made.values())
    assert all(array.derived == "" for array in made.values())
    for array in made.values():
        assert array.axes[0].values[-1] == array.axes[1].values[-1] == 2e-6


def test_domains_are_half_a_turn_apart_and_amplitude_falls_at_walls(made):
    phase, amplitude = made["phase"].data, made["amplitude"].data
    up = phase > 0
    assert 0.25 < up.mean() < 0.75
    assert np.median(phase[up]) - np.median(phase[~up]) == pytest.approx(180, abs=10)
    walls = up[:, 1:] != up[:, :-1]
    assert np.median(amplitude[:, 1:][walls]) < 0.5 * np.median(amplitude)


def test_the_images_do_not_depend_on_the_loops(monkeypatch, made):
    """Another loop physics, another grid: the same images; and the reverse."""
    monkeypatch.setattr(pfm_loops, "loop_shape", lambda bias, p: np.zeros((7, 9, 64)))
    again = make_pfm_loops(shape=(7, 9))
    for array in again[:3]:
        assert np.array_equal(array.data, made[array.name].data)
    monkeypatch.undo()
    again = make_pfm_loops(image_shape=(16, 16))
    assert np.array_equal(again[3].data, made["loops"].data)


def test_images_inform_about_the_loops_and_do_not_determine_them(made):
    area = loop_area(made["loops"].data.astype(float))
    at = np.round(np.linspace(0, 127, 50)).astype(int)
    features = [
        made[n].data[at][:, at].astype(float) for n in ("topography", "amplitude")
    ]
    design = np.column_stack([np.ones(area.size), *[f.ravel() for f in features]])
    left = area.ravel() - design @ np.linalg.lstsq(design, area.ravel(), rcond=None)[0]
    explained = 1 - left.var() / area.var()
    assert 0.05 < explained < 0.95


def test_a_loop_encloses_its_opening_times_its_width():
    """Area of a steep loop: twice the half opening times the coercive difference."""
    bias = bias_axis()
    p = LoopParameters(*(np.array(v) for v in (3.0, -2.0, 5.0, 1.0, 0.7, 0.3)))
    area = float(loop_area(loop_shape(bias, p)))
    assert area == pytest.approx(2 * 5.0 * (3.0 + 2.0), rel=0.01)


def test_loop_areas_follow_the_true_parameters(made):
    p = loop_parameters()
    want = 2 * p.half_opening * (p.positive_v - p.negative_v)
    assert loop_area(made["loops"].data.astype(float)) == pytest.approx(want, rel=0.03)


def test_parameters_are_those_of_a_film_that_switches(made):
    p = loop_parameters()
    assert (p.positive_v > 0.3).all()
    assert (p.negative_v < -0.3).all()
    assert max(p.positive_v.max(), -p.negative_v.min()) + 2 * p.width_v.max() < 10
    loops = made["loops"].data
    assert np.isfinite(loops).all()
    closed = np.abs(loops[..., 16] - loops[..., 15] - (loops[..., 17] - loops[..., 16]))
    assert closed.max() < 2  # pm: the branches meet where the sweep turns


def test_the_largest_loops_are_rare_and_lie_together(made):
    area = loop_area(made["loops"].data.astype(float))
    top = area >= np.quantile(area, 0.99)
    assert np.quantile(area, 0.99) > 1.5 * np.median(area)
    rows, columns = np.nonzero(top)
    near = [
        np.sort(np.hypot(rows - r, columns - c))[1]
        for r, c in zip(rows, columns, strict=True)
    ]
    assert np.median(near) <= 2  # pixels; scattered points would be 5 apart


def test_a_rough_field_has_its_spectrum():
    size, pixel = 256, 5e-9
    k = fields.wave_numbers(size, pixel)
    spectrum = fields.rough_spectrum(k, 90e-9, 0.8)
    power = np.mean(
        [
            np.abs(
                np.fft.rfft2(
                    fields.random_field(fields.generator(seed), size, spectrum)
                )
            )
            ** 2
            for seed in range(20)
        ],
        axis=0,
    )
    low, high = [(k > a) & (k < b) for a, b in ((1e7, 2e7), (1e8, 2e8))]
    ratio = power[high].mean() / power[low].mean()
    assert ratio == pytest.approx(spectrum[high].mean() / spectrum[low].mean(), rel=0.1)


def test_wall_distance_is_right_near_a_wall():
    size, pixel = 256, 5e-9
    x = np.arange(size) * pixel
    period = size * pixel
    field = np.tile(np.sin(2 * np.pi * x / period), (size, 1))
    distance = fields.wall_distance(field, pixel, 300e-9)
    near = np.abs(x) < 50e-9
    assert np.allclose(distance[:, near], x[near], rtol=0.03, atol=1e-12)
    assert np.abs(distance).max() == 300e-9


def test_a_field_is_read_where_it_is_asked():
    field = fields.random_field(
        fields.generator(0),
        64,
        fields.smooth_spectrum(fields.wave_numbers(64, 1.0), 4.0),
    )
    on = fields.read_at(field, 1.0, np.arange(64.0), np.arange(64.0))
    assert np.array_equal(on, field)
    half = fields.read_at(field, 1.0, np.array([63.5]), np.array([2.0]))
    assert half[0, 0] == pytest.approx((field[2, 63] + field[2, 0]) / 2)
