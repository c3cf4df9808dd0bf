"""What a surrogate sees of a candidate: its place, and what the first frame shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aemtwin import designs
from aemtwin.errors import BadConfig
from aemtwin.inputs import frame_channels, positions_alone, with_patches
from aemtwin.sections import Inputs
from tests.small import small_twin


def view(**said):
    twin = small_twin(ideal=True)
    spec = twin.describe()
    candidates = designs.candidate_grid(spec.bounds, (6, 5))
    frame = twin.scan(channels=["height", "counts"])
    inputs = Inputs(size=3, **said)
    return (
        with_patches(candidates, spec.bounds, frame, ("height", "counts"), inputs),
        frame,
        candidates,
        spec.bounds,
    )


def test_a_row_is_the_place_and_then_the_pixels_around_it():
    seen, frame, candidates, bounds = view()
    assert seen.X.shape == (30, 2 + 2 * 9)
    np.testing.assert_array_equal(
        seen.X[:, :2], designs.scale_to_box(candidates, bounds)
    )
    height = frame.arrays["height"]
    unit = (height - height.mean()) / height.std()
    patch = seen.X[2 * 5 + 2, 2:11].reshape(3, 3)  # of row 2, column 2
    np.testing.assert_allclose(patch, unit[1:4, 1:4])
    assert seen.allowed.all()


def test_a_patch_over_the_border_is_mirrored_or_its_candidate_left_out():
    mirrored, frame, *_ = view()
    height = frame.arrays["height"]
    unit = (height - height.mean()) / height.std()
    corner = mirrored.X[0, 2:11].reshape(3, 3)
    np.testing.assert_allclose(corner, np.pad(unit, 1, "reflect")[:3, :3])
    left_out, *_ = view(border="skip")
    inner = np.zeros((6, 5), bool)
    inner[1:-1, 1:-1] = True
    np.testing.assert_array_equal(left_out.allowed, inner.ravel())
    np.testing.assert_array_equal(left_out.X, mirrored.X)
    assert left_out.count == 12


def test_where_no_patch_is_whole_it_is_said():
    with pytest.raises(BadConfig, match="No candidate has a whole patch of 3 pixels"):
        view(border="skip", scales=(1, 9))


def test_without_images_there_is_the_place_alone():
    candidates = np.array([[0.0, 0.0], [2e-9, 1e-9]])
    seen = positions_alone(candidates, ((0.0, 2e-9), (0.0, 2e-9)))
    assert seen.X.tolist() == [[0.0, 0.0], [1.0, 0.5]]
    assert seen.allowed.all()


def test_the_frame_has_the_pixels_of_the_finest_image_that_is_read():
    spec = small_twin().describe()
    height, counts = spec.channels
    fine = replace(counts, shape=(60, 50))
    changed = replace(spec, channels=(height, fine))
    assert frame_channels(height, (), changed) == ("height",)
    assert frame_channels(height, ("counts",), changed) == ("counts", "height")
    assert frame_channels(height, ("height", "counts"), spec) == ("height", "counts")
    assert frame_channels(None, ("height", "counts"), changed) == ("counts", "height")
    assert frame_channels(None, (), changed) == ()
