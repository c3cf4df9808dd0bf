"""Pictures of a made-up run: what they show, in which unit, and that they repeat."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from aemtwin import journal, plots
from aemtwin.errors import UnknownName
from aemtwin.measurement import Measurement
from aemtwin.metrics import coverage
from aemtwin.plots import story, words
from aemtwin.plots.coverage import coverages
from aemtwin.plots.dose import dose_density
from aemtwin.plots.reading import grid
from aemtwin.plots.style import image, scale
from aemtwin.plots.trajectory import place_labels
from aemtwin.specs import Axis

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("fake_record", HERE / "fake_record.py")
fake = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fake)
SMALL = fake.record(n=14, side=12)
FRONT = fake.of_several()
MAPS = ("measured", "mean", "uncertainty", "acquisition")


def texts(figure: Figure) -> str:
    """All that is written in a figure."""
    found = figure.findobj(matplotlib.text.Text)
    return "\n".join(text.get_text() for text in found)


def record_of(kind: str) -> Any:
    """A run that has something of that kind."""
    return FRONT if kind in ("front", "hypervolume") else SMALL


def axes_of(kind: str, record: Any) -> Any:
    return plots.draw(kind, record).axes[0]


def drawn_image(ax: Any) -> Any:
    return next(one for one in ax.get_images())


@pytest.mark.parametrize("kind", plots.KINDS)
def test_every_kind_is_drawn_with_a_title_and_labelled_axes(kind):
    ax = axes_of(kind, record_of(kind))
    assert ax.get_title(loc="left")
    assert ax.get_xlabel()
    assert ax.get_ylabel()


@pytest.mark.parametrize("kind", plots.KINDS)
def test_every_kind_draws_into_axes_that_are_given(kind):
    figure = Figure()
    plots.KINDS[kind](record_of(kind), figure.add_subplot(1, 2, 2))
    assert len(figure.axes) == 1


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_run_gives_the_same_bytes(ending, tmp_path):
    files = []
    for name in ("a", "b"):
        path = plots.save(plots.draw("overview", SMALL), tmp_path / f"{name}.{ending}")
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert len(files[0]) > 1000


def test_no_global_setting_and_no_pyplot_is_touched():
    before = dict(matplotlib.rcParams)
    plots.to_bytes(plots.draw("mean", SMALL))
    assert dict(matplotlib.rcParams) == before


def test_a_users_settings_do_not_change_a_picture():
    usual = plots.to_bytes(plots.draw("spectra", SMALL))
    with matplotlib.rc_context({"font.size": 20, "axes.titlelocation": "center"}):
        assert plots.to_bytes(plots.draw("spectra", SMALL)) == usual


@pytest.mark.parametrize("kind", MAPS)
def test_maps_span_the_candidates_in_a_sensible_unit_with_equal_aspect(kind):
    ax = axes_of(kind, SMALL)
    half = 0.5 / 11
    assert ax.get_xlim() == pytest.approx((-half, 1 + half))
    assert ax.get_ylim() == pytest.approx((-half, 1 + half))
    assert ax.get_xlabel() == "x (µm)"
    assert ax.get_aspect() == 1.0


def test_row_zero_of_a_map_is_its_lowest_y():
    ax = axes_of("mean", SMALL)
    shown = drawn_image(ax)
    assert shown.origin == "lower"
    expected = SMALL.maps["mean"].reshape(12, 12) * 1e12
    assert np.allclose(shown.get_array(), expected)


def test_a_rectangular_field_keeps_its_proportions_and_its_nanometres():
    x, y = np.meshgrid(np.linspace(0, 300e-9, 12), np.linspace(50e-9, 150e-9, 12))
    candidates = np.column_stack([x.ravel(), y.ravel()])
    record = fake.record(n=14, side=12, candidates=candidates, overview=None)
    ax = axes_of("uncertainty", record)
    assert ax.get_xlabel() == "x (nm)"
    assert drawn_image(ax).get_extent() == pytest.approx(
        (-150 / 11, 300 + 150 / 11, 50 - 50 / 11, 150 + 50 / 11)
    )


def test_values_carry_their_unit_with_a_prefix():
    for kind in MAPS[:3]:
        assert "loop area (pm·V)" in texts(plots.draw(kind, SMALL))
    assert "topography (nm)" in texts(plots.draw("overview", SMALL))
    assert "Piezoresponse (pm)" in texts(plots.draw("spectra", SMALL))
    assert "Bias (V)" in texts(plots.draw("spectra", SMALL))


def test_measured_values_and_mean_share_their_colours():
    measured, mean = axes_of("measured", SMALL), axes_of("mean", SMALL)
    points = next(c for c in measured.collections if c.get_array() is not None)
    assert points.get_clim() == drawn_image(mean).get_clim()


def test_scores_without_a_finite_value_stay_blank():
    shown = drawn_image(axes_of("acquisition", SMALL)).get_array()
    blank = np.ma.getmaskarray(np.ma.masked_invalid(shown))
    assert blank.sum() == 14


def test_the_last_ten_measurements_are_numbered_and_start_and_best_are_named():
    written = texts(plots.draw("overview", SMALL)).split("\n")
    assert [str(n) for n in range(5, 15)] == [
        text for text in written if text.isdigit() and text != "0"
    ][:10]
    assert {"start", "best", "last 10 of 14, numbered"} <= set(written)


def test_numbers_of_crowded_points_lie_apart_and_inside():
    where = 0.5 + 0.03 * np.random.default_rng(0).normal(size=(12, 2))
    placed = place_labels(where, np.ones(2), start=2)
    assert placed.shape == (10, 2)
    assert np.all((placed > 0) & (placed < 1))
    apart = np.abs(placed[:, None] - placed[None])[~np.eye(10, dtype=bool)]
    assert np.all(np.any(apart >= [0.06, 0.042], axis=-1))


def test_the_best_and_the_worst_spectrum_are_chosen_by_value():
    values = np.array([e["data"]["value"] for e in SMALL.events])
    best, worst = int(np.nanargmax(values)), int(np.nanargmin(values))
    ax = axes_of("spectra", SMALL)
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels[0].startswith(f"best: measurement {best + 1}, ")
    assert labels[1].startswith(f"worst: measurement {worst + 1}, ")
    response = SMALL.spectrum(best).values * 1e12
    drawn = ax.get_lines()[0].get_ydata()
    assert np.allclose(drawn, np.append(response, response[0]))  # the loop is closed


def test_a_spectrum_on_an_energy_axis_is_not_closed():
    energy = Axis("energy", "eV", np.linspace(1, 3, 200), "Energy")
    spectrum = Measurement(
        **{
            **vars(SMALL.spectrum(0)),
            "arrays": {"counts": np.linspace(0, 2e5, 200)},
            "units": {"counts": "counts"},
            "quantities": {"counts": "Intensity"},
            "axes": (energy,),
        }
    )
    record = fake.record(n=14, side=12, spectrum=lambda i: spectrum)
    ax = axes_of("spectra", record)
    assert ax.get_lines()[0].get_xdata().size == 200
    assert ax.get_ylabel() == "Intensity (10³ counts)"


def test_a_peak_that_would_flatten_the_rest_makes_the_axis_logarithmic():
    energy = Axis("energy", "eV", np.linspace(-3, 40, 200), "Energy")
    counts = 1e5 * np.exp(-(energy.values**2)) + 50 * (energy.values > 5)
    spectrum = Measurement(
        **{
            **vars(SMALL.spectrum(0)),
            "arrays": {"counts": counts},
            "units": {"counts": "counts"},
            "quantities": {"counts": "Intensity"},
            "axes": (energy,),
        }
    )
    record = fake.record(n=14, side=12, spectrum=lambda i: spectrum)
    assert axes_of("spectra", record).get_yscale() == "log"
    assert axes_of("spectra", SMALL).get_yscale() == "linear"


def test_measurements_of_several_axes_are_refused_in_a_sentence():
    axis = Axis("q", "1/m", np.arange(4.0))
    image_like = {"arrays": {"i": np.ones((4, 4))}, "units": {"i": ""}}
    pattern = Measurement(
        **{**vars(SMALL.spectrum(0)), **image_like, "axes": (axis, axis)}
    )
    record = fake.record(n=14, side=12, spectrum=lambda i: pattern)
    assert "not spectra" in texts(plots.draw("spectra", record))


def test_the_learning_curve_has_run_random_and_the_highest_there_is():
    ax = axes_of("learning_curve", SMALL)
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    for name in ("gp + log_ei", "random"):
        assert np.allclose(lines[name], np.array(SMALL.scores["curves"][name]) * 1e12)
    top = next(name for name in lines if name.startswith("highest there is"))
    assert lines[top][0] == pytest.approx(SMALL.scores["truth_best"] * 1e12)
    assert ax.get_ylabel() == "best true loop area (pm·V)"


def test_without_a_truth_the_learning_curve_is_of_measured_values():
    record = fake.record(n=14, side=12, scores=None, truth=None)
    ax = axes_of("learning_curve", record)
    assert ax.get_ylabel() == "best measured loop area (pm·V)"
    assert len(ax.get_lines()) == 1


def test_a_step_far_above_the_others_is_cut_off_and_told():
    record = fake.record(side=12)
    figure = plots.draw("step_times", record)
    assert figure.axes[0].get_ylabel() == "time (ms)"
    assert figure.axes[0].get_ylim()[1] < 300
    assert "1.9" in texts(figure)


NOTHING = {"events": [], "maps": None, "scores": None, "truth": None, "overview": None}


@pytest.mark.parametrize("kind", plots.KINDS)
def test_a_run_without_data_is_drawn_as_a_sentence(kind):
    record = fake.record(n=14, side=12, **NOTHING)
    sentence = plots.missing(kind, record)
    assert sentence.endswith(".")
    written = " ".join(texts(plots.draw(kind, record)).split())
    assert sentence in written
    assert words.alt(kind, record) == sentence


@pytest.mark.parametrize("kind", plots.KINDS)
def test_a_run_of_one_measurement_and_no_overview_is_drawn(kind):
    one = SMALL.events[:1]
    record = fake.record(n=14, side=12, events=one, overview=None, scores=None)
    assert plots.to_bytes(plots.draw(kind, record))


@pytest.mark.parametrize("kind", plots.KINDS)
def test_a_run_without_a_valid_value_is_drawn(kind):
    lost = {"value": float("nan"), "valid": False}
    events = [{**e, "data": {**e["data"], **lost}} for e in SMALL.events]
    record = fake.record(n=14, side=12, events=events, maps=None, scores=None)
    assert plots.to_bytes(plots.draw(kind, record))


@pytest.mark.parametrize("kind", plots.KINDS)
def test_every_picture_is_told_in_words_too(kind):
    assert words.alt(kind, SMALL).endswith(".")
    assert words.TITLES[kind]
    assert words.CAPTIONS[kind].endswith(".")


def test_a_name_that_is_no_picture_is_told_what_there_is(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'spectra'"):
        plots.draw("spectre", SMALL)
    with pytest.raises(UnknownName, match="allowed: pdf, png, svg"):
        plots.save(plots.draw("mean", SMALL), tmp_path / "a.jpg")


def test_the_trajectory_is_the_overview():
    trajectory = plots.to_bytes(plots.draw("trajectory", SMALL))
    assert trajectory == plots.to_bytes(plots.draw("overview", SMALL))


def inches_of(ax: Any) -> tuple[Any, Any]:
    """Boxes of a map and of its colour bar, inches."""
    ax.figure.draw_without_rendering()
    boxes = ax.get_window_extent(), ax.child_axes[0].get_window_extent()
    return tuple(np.array([box.width, box.height]) / ax.figure.dpi for box in boxes)


@pytest.mark.parametrize(("wide", "high"), [(5e-9, 48e-9), (1e-6, 1e-6), (9e-7, 1e-7)])
def test_a_field_of_any_shape_is_large_and_has_a_usual_colour_bar(wide, high):
    x, y = np.meshgrid(np.linspace(0, wide, 12), np.linspace(0, high, 12))
    candidates = np.column_stack([x.ravel(), y.ravel()])
    record = fake.record(n=14, side=12, candidates=candidates, overview=None)
    field, bar = inches_of(axes_of("mean", record))
    assert field.max() > 3
    assert bar.min() == pytest.approx(0.135, abs=0.01)
    assert bar.max() == pytest.approx(field[0 if wide > 2 * high else 1], rel=0.02)


def test_titles_of_narrow_fields_stay_in_the_picture():
    candidates = SMALL.candidates * [0.1, 1.0]
    record = fake.record(n=14, side=12, candidates=candidates, overview=None)
    for kind in (*MAPS, "overview"):
        ax = axes_of(kind, record)
        ax.figure.draw_without_rendering()
        title = ax._left_title.get_window_extent()
        assert 0 <= title.x0
        assert title.x1 <= ax.figure.bbox.x1


def test_latent_space_has_every_candidate_and_the_measured_ones_on_top():
    ax = axes_of("latent", SMALL)
    every, measured = ax.collections
    assert np.allclose(every.get_offsets(), SMALL.maps["latent"])
    chosen = [e["data"]["index"] for e in SMALL.events if e["data"]["valid"]]
    assert np.allclose(measured.get_offsets(), SMALL.maps["latent"][chosen])
    values = [e["data"]["value"] for e in SMALL.events if e["data"]["valid"]]
    assert np.allclose(measured.get_array(), np.array(values) * 1e12)
    assert every.get_clim() == measured.get_clim()


def with_latent(space: Any) -> Any:
    return fake.record(n=14, side=12, maps={**SMALL.maps, "latent": space})


def test_a_latent_line_is_drawn_against_the_mean_and_of_many_two_are():
    line = SMALL.maps["latent"][:, :1]
    ax = axes_of("latent", with_latent(line))
    assert ax.get_ylabel() == "loop area (pm·V)"
    assert "one dimension" in words.caption("latent", with_latent(line))
    many = np.hstack([line * 0.1, line * 3, line * 2])
    ax = axes_of("latent", with_latent(many))
    assert ax.get_xlabel() == "latent dimension 2"
    assert ax.get_ylabel() == "latent dimension 3"
    assert "Of its 3 dimensions, 2 and 3" in words.caption("latent", with_latent(many))


def test_a_surrogate_without_a_latent_space_is_told_so():
    maps = {k: v for k, v in SMALL.maps.items() if k != "latent"}
    assert "gp learns no features" in plots.missing("latent", fake.record(maps=maps))
    config = {"surrogate": {"name": "dkl"}}
    record = fake.record(n=14, side=12, maps=maps, config=config)
    assert "kept when a run ends" in plots.missing("latent", record)


def test_calibration_is_held_against_the_truth():
    (curve,) = coverages(SMALL)  # there is no random run beside a made-up one
    assert (curve.label, curve.spots, curve.ahead) == ("gp + log_ei", 144, False)
    mean, sd = SMALL.maps["mean"], SMALL.maps["sd"]
    assert curve.at_90 == coverage(SMALL.truth, mean, sd**2)
    ax = axes_of("calibration", SMALL)
    assert np.allclose(ax.get_lines()[0].get_ydata(), 100 * curve.covered)
    assert "no band of chance" in words.caption("calibration", SMALL)


def journalled(folder: Path, **changes: Any) -> Any:
    """A run without a truth whose searches have the belief before them on disk."""
    (folder / "maps").mkdir()
    events = []
    for event in SMALL.events:
        info = {"noise_sd": 3.0} if event["data"]["phase"] == "search" else {}
        events.append({**event, "data": {**event["data"], "info": info}})
        mean, sd = np.zeros(144), np.full(144, 4.0)
        mean[event["data"]["index"]] = event["data"]["value"] + 5.0
        path = folder / "maps" / f"{event['seq_num']:06d}.npz"
        np.savez(path, mean=mean, sd=sd)
    given = {"truth": None, "scores": None, "events": events}
    return fake.record(folder, n=14, side=12, **{**given, **changes})


def test_without_a_truth_each_measurement_is_held_against_what_came_before(tmp_path):
    record = journalled(tmp_path)
    (curve,) = coverages(record)
    assert (curve.spots, curve.ahead, curve.noisy) == (4, True, True)
    # each lies one standard deviation off, noise and belief together
    assert curve.covered[68] == 0
    assert curve.covered[69] == 1
    caption = words.caption("calibration", record)
    assert "just before it was made" in caption
    assert "harder test" in caption


def test_beliefs_about_a_number_that_was_learned_since_are_not_counted(tmp_path):
    maps = {**SMALL.maps, "values": np.zeros(14)}
    record = journalled(tmp_path, maps=maps)
    assert coverages(record) == []
    assert "learned on the way" in plots.missing("calibration", record)


def test_the_dose_of_frame_and_spectra_is_all_there(tmp_path):
    frame = Measurement(**{**vars(SMALL.spectrum(0)), "call": "scan", "dose": 500.0})
    with journal.Journal(tmp_path) as kept:
        kept.save_spectrum(0, frame)
    instrument = {**SMALL.start["instrument"], "dose_units": "electrons"}
    start = {**SMALL.start, "instrument": instrument}
    record = fake.record(tmp_path, n=14, side=12, start=start)
    density, units = dose_density(record, grid(record))
    assert units == "electrons/nm²"
    cell = (1e3 / 11) ** 2
    side = 1e3 * 128 / 127
    assert density.min() == pytest.approx(500 / side**2)
    spectra = (density - density.min()) * cell
    assert spectra.sum() == pytest.approx(14)
    row, column = divmod(SMALL.events[0]["data"]["index"], 12)
    assert spectra[row, column] == pytest.approx(1)
    assert "514 electrons, 97.3 %" in words.caption("dose", record)
    assert "electrons/nm²)" in texts(plots.draw("dose", record))


def test_failed_spots_patches_and_pixels_for_lengths_are_facts():
    events = [dict(e, data=dict(e["data"])) for e in SMALL.events]
    events[6]["data"] |= {"valid": False, "value": float("nan"), "failed": True}
    events[7]["data"] |= {"valid": False, "notices": "failed: the tip is gone"}
    instrument = {**SMALL.start["instrument"]}
    instrument["identity"] = {**instrument["identity"], "calibrated": False}
    config = {"surrogate": {"name": "dkl"}, "inputs": {"size": 8, "scales": [1, 4]}}
    start = {**SMALL.start, "instrument": instrument, "images": ["topography"]}
    record = fake.record(n=14, side=12, events=events, start=start, config=config)
    facts = dict(story.facts(record))
    assert facts["measurements"] == "14, 1 invalid, 2 failed"
    assert facts["patches"] == "8 × 8 px of topography at scales 1, 4"
    assert facts["lengths"] == "not calibrated: 1 unit of the file counts as 1 nm"
    assert story.status(record).startswith("2 spots were skipped")
    assert "patches" not in dict(story.facts(SMALL))
    assert "lengths" not in dict(story.facts(SMALL))


def test_descending_and_uneven_axes_are_drawn_where_they_are():
    values = np.arange(6.0).reshape(2, 3)
    ax = Figure().add_subplot()
    image(ax, np.array([2.0, 1, 0]), np.array([5.0, 4]), values)
    assert drawn_image(ax).get_extent() == [-0.5, 2.5, 3.5, 5.5]
    assert np.array_equal(drawn_image(ax).get_array(), values[::-1, ::-1])
    ax = Figure().add_subplot()
    mesh = image(ax, np.array([0.0, 1, 4]), np.array([0.0, 1]), values)
    assert np.array_equal(mesh.get_array(), values)


@pytest.mark.parametrize(
    ("largest", "units", "label"),
    [
        (1e-6, "m", "µm"),
        (999e-9, "m", "nm"),
        (1e-15, "m", "pm"),
        (1e13, "Hz", "GHz"),
        (5.0, "a.u.", "a.u."),
        (5e6, "", "10⁶"),
        (0.0, "m", "m"),
        (float("nan"), "V", "V"),
        (2e3, "pm·V", "pm·V"),
    ],
)
def test_units_are_scaled_for_reading(largest, units, label):
    assert scale([0.0, largest], units)[1] == label
