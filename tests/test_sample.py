"""The sample: values on the grid as stored, between pixels as stated."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.errors import ShapeMismatch, UnknownName
from aemtwin.formats.specimens import make_sample
from aemtwin.sample import SNAP, StoredArray
from tests.small import bias_axis, small_arrays, spatial


def field(values: object, x=(0.0, 1.0), y=(0.0, 1.0)):
    axes = spatial("y", "m", y), spatial("x", "m", x)
    return make_sample([StoredArray("a", "", "", np.asarray(values), axes)]).fields[0]


def test_halfway_is_the_mean_of_four():
    assert field([[0.0, 1.0], [2.0, 5.0]]).at(np.array([[0.5, 0.5]]))[0] == 2.0


def test_uneven_pixels_weigh_by_distance():
    at = field([[0.0, 10.0]], x=(0.0, 4.0), y=(0.0,)).at(np.array([[1.0, 0.0]]))
    assert at[0] == 2.5


def test_counts_are_read_from_the_nearest_pixel():
    counts = field(np.array([[1, 9], [3, 7]], "u1"))
    found = counts.at(np.array([[0.4, 0.0], [0.6, 0.0], [0.6, 0.6]]))
    assert (found.tolist(), found.dtype) == ([1, 9, 7], np.uint8)


def test_on_the_grid_within_a_millionth_of_a_pixel():
    near = np.array([[SNAP / 2, 1 - SNAP / 2]])
    index, fraction = field([[0.0, 1.0], [2.0, 5.0]]).grid.locate(near)
    assert (index.tolist(), fraction.tolist()) == ([[1, 0]], [[0.0, 0.0]])


def test_beyond_the_outermost_pixel_the_edge_holds():
    assert field([[0.0, 1.0], [2.0, 5.0]]).at(np.array([[1.4, 1.4]]))[0] == 5.0


def test_interpolation_keeps_float32():
    values = field(np.ones((2, 2), "f4")).at(np.array([[0.3, 0.3]]))
    assert values.dtype == np.float32


def test_spectra_between_pixels_are_weighed_like_images():
    loops = make_sample(small_arrays()).field("loops")
    low, high = np.array([[0.0, 0.0]]), np.array([[100e-9, 0.0]])
    mean = (loops.at(low)[0].astype(float) + loops.at(high)[0]) / 2
    np.testing.assert_allclose(loops.at((low + high) / 2)[0], mean, rtol=1e-6)


def test_what_is_read_is_a_copy():
    sample = make_sample(small_arrays())
    for name in ("loops", "height"):
        first = sample.field(name).at(np.array([[0.0, 0.0]]))
        first[...] = 99
        assert not (sample.field(name).at(np.array([[0.0, 0.0]])) == 99).any()


def test_a_large_array_is_read_pixel_by_pixel():
    class Watched:
        """A file's array that says how much of it was read."""

        shape, dtype, size, ndim = (100, 100, 2000), np.dtype("f4"), 2 * 10**7, 3
        read = 0

        def __getitem__(self, index):
            found = np.zeros(self.shape[2], "f4")
            self.read += found.size
            assert index != ()
            return found

    data = Watched()
    axes = (
        spatial("y", "m", np.arange(100)),
        spatial("x", "m", np.arange(100)),
        bias_axis(2000),
    )
    spectra = make_sample([StoredArray("s", "", "", data, axes)]).fields[0]
    spectra.at(np.array([[3.0, 4.0], [5.5, 4.0]]))
    assert data.read == 3 * 2000


def test_images_and_spectra_are_told_apart():
    sample = make_sample(small_arrays())
    assert [f.name for f in sample.images] == ["height", "counts"]
    assert [f.name for f in sample.spectra] == ["loops", "lockin"]
    with pytest.raises(ShapeMismatch, match="not an image"):
        sample.field("loops").image
    with pytest.raises(UnknownName, match="Did you mean 'loops'"):
        sample.field("loop")


def test_what_was_recorded_together_comes_together():
    sample = make_sample(small_arrays())
    together = [f.name for f in sample.beside(sample.field("lockin"))]
    assert together == ["lockin", "loops"]
