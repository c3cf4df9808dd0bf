"""Specimens: which axis is which, how long it is, what belongs together."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from aemtwin.errors import BadConfig, BadFile, UnknownName
from aemtwin.formats.nsid import open_nsid
from aemtwin.formats.specimens import make_sample
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis
from tests.small import spatial


def image(name="a", units="nm", x=(0, 1, 2), y=(0, 1), **metadata) -> StoredArray:
    axes = spatial("y", units, y), spatial("x", units, x)
    return StoredArray(name, "", "", np.zeros((len(y), len(x))), axes, metadata)


def test_axes_are_known_by_any_spelling_of_their_name():
    axes = spatial("X", "m", [0, 1]), spatial("Y", "m", [0, 1, 2])
    field = make_sample([StoredArray("a", "", "", np.ones((2, 3)), axes)]).fields[0]
    assert field.grid.shape == (3, 2)


def test_two_spatial_axes_of_other_names_are_rows_then_columns():
    axes = spatial("height", "m", [0, 1]), spatial("width", "m", [0, 1, 2])
    field = make_sample([StoredArray("a", "", "", np.ones((2, 3)), axes)]).fields[0]
    assert field.grid.shape == (2, 3)


def test_an_axis_without_a_length_counts_a_nanometre_and_says_so():
    sample = make_sample([image(units="SI px", x=(0, 3))])
    assert sample.bounds[0] == pytest.approx((0.0, 3e-9))
    assert not sample.calibrated


def test_an_axis_can_be_given_its_length():
    sample = make_sample(
        [image(units="px", x=(0, 3))],
        calibrate={"x": ("px", 0.5e-9), "y": ("px", 1e-9)},
    )
    assert sample.bounds[0] == pytest.approx((0.0, 1.5e-9))
    assert sample.bounds[1] == pytest.approx((0.0, 1e-9))
    assert sample.calibrated


def test_a_length_for_an_axis_that_is_not_there_is_an_error():
    with pytest.raises(UnknownName, match="axis to calibrate"):
        make_sample([image(units="px")], calibrate={"x": ("um", 1e-9)})


def test_an_axis_in_metres_takes_no_other_length():
    with pytest.raises(BadConfig, match="calibrated already, in nm"):
        make_sample([image(units="nm")], calibrate={"x": ("px", 1e-9)})


def test_the_first_of_several_samples_is_taken_and_said(caplog):
    two = [image("a", sample="one"), image("b", sample="two"), image("c", sample="one")]
    with caplog.at_level(logging.WARNING):
        sample = make_sample(two)
    assert (sample.name, [f.name for f in sample.fields]) == ("one", ["a", "c"])
    assert sample.others == ("two",)
    assert "taking the first" in caplog.text


@pytest.mark.parametrize("select", ["two", "b"])
def test_a_sample_is_selected_by_its_name_or_that_of_an_array(select):
    two = [image("a", sample="one"), image("b", sample="two")]
    assert make_sample(two, select=select).name == "two"


def test_an_unknown_sample_is_named_with_what_there_is():
    with pytest.raises(UnknownName, match="allowed: one, two"):
        make_sample([image("a", sample="one"), image("b", sample="two")], select="x")


def test_fields_of_other_extent_are_other_samples():
    small, large = image("small", x=(0, 1, 2)), image("large", x=(0, 10, 20))
    assert make_sample([small, large]).others == ("large",)


def test_a_finer_image_of_the_same_field_belongs_to_it():
    coarse = image("coarse", x=(0, 1, 2), y=(0, 1))
    fine = image("fine", x=np.arange(-0.375, 2.5, 0.25), y=np.arange(-0.375, 1.5, 0.25))
    sample = make_sample([coarse, fine])
    assert [f.name for f in sample.fields] == ["coarse", "fine"]
    assert sample.bounds[0] == pytest.approx((-0.375e-9, 2.375e-9))


def test_an_axis_that_turns_back_is_refused():
    with pytest.raises(BadFile, match="neither rises nor falls"):
        make_sample([image(x=(0, 2, 1))])


def test_a_file_without_a_field_is_refused():
    bias = Axis("bias", "V", np.arange(3.0))
    with pytest.raises(BadFile, match="no array with two spatial axes"):
        make_sample([StoredArray("iv", "", "", np.zeros(3), (bias,))])


def test_arrays_of_one_name_are_told_apart():
    names = [f.name for f in make_sample([image("a"), image("a")]).fields]
    assert names == ["a", "a_2"]


@pytest.mark.parametrize(
    ("file", "samples", "fields"),
    [
        ("nsid/beps_pto50.nsid.h5", 1, 3),
        ("nsid/pfm_multichannel.nsid.h5", 3, None),
        ("nsid/sts_grid_nanoscale.nsid.h5", 1, 4),
        ("nsid/sto_eels_si.nsid.h5", 2, 2),
        ("nsid/eds_si_fei.nsid.h5", 1, 2),
        ("raw/BEPS_PTO_50x50.h5", 1, 1),
    ],
)
def test_real_files_become_samples(data_folder, file, samples, fields):
    with open_nsid(data_folder / file) as opened:
        sample = make_sample(opened.arrays)
        assert 1 + len(sample.others) == samples
        assert fields is None or len(sample.fields) == fields
        for field in sample.fields:
            point = field.grid.points()[-1:]
            pixel = field.pixel(field.grid.shape[0] - 1, field.grid.shape[1] - 1)
            np.testing.assert_array_equal(field.at(point)[0], pixel)


def test_a_length_for_an_axis_of_another_sample_is_an_error():
    mine, other = image("a", units="a.u."), image("b", units="px")
    with pytest.raises(UnknownName, match=r"axis to calibrate 'x \(px\)'"):
        make_sample([mine, other], calibrate={"x": ("px", 1e-9)})


def test_px_stands_for_any_kind_of_pixel_and_for_nothing_else():
    sample = make_sample(
        [image("a", units="SI px")], calibrate={"x": ("px", 2e-9), "y": ("px", 3e-9)}
    )
    assert sample.calibrated
    grid = make_sample([image("a", units="SI px")]).fields[0].grid
    np.testing.assert_allclose(sample.fields[0].grid.x, 2 * grid.x)
    np.testing.assert_allclose(sample.fields[0].grid.y, 3 * grid.y)
    with pytest.raises(UnknownName, match="axis to calibrate"):
        make_sample([image("a", units="a.u.")], calibrate={"x": ("px", 1e-9)})
