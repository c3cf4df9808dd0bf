"""Windows of images against ramps, block means, np.pad and each other."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.patches import FAR, cut

RNG = np.random.default_rng(0)
AXIS = np.arange(20.0) * 1e-9  # m


def centres(shape):
    return np.arange(shape[1]) * 1e-9, np.arange(shape[0]) * 1e-9


def standard(image):
    return (image - image.mean()) / image.std()


def one(image, x, y, size, scale=1):
    """The window of one image at pixel (x, y), (size, size)."""
    pixels, _ = cut(
        [image],
        *centres(image.shape),
        [[x * 1e-9, y * 1e-9]],
        size=size,
        scales=[scale],
    )
    return pixels.reshape(size, size)


@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_of_a_ramp_a_window_has_the_exact_values_between_pixels_too(size, scale):
    rows, columns = np.mgrid[:40, :50].astype(float)
    image = 2.0 * columns - 3.0 * rows
    x, y = 23.37, 19.81
    steps = scale * (np.arange(size) - (size - 1) / 2)
    expected = 2.0 * (x + steps)[None, :] - 3.0 * (y + steps)[:, None]
    expected = (expected - image.mean()) / image.std()
    found = one(image, x, y, size, scale)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@given(
    x=st.floats(5.0, 12.0),
    y=st.floats(5.0, 12.0),
    right=st.integers(0, 5),
    down=st.integers(0, 5),
    size=st.integers(1, 5),
)
def test_a_shifted_image_has_the_same_windows_at_shifted_positions(
    x, y, right, down, size
):
    image = RNG.normal(size=(24, 24))
    moved = np.roll(image, (down, right), axis=(0, 1))  # same mean and sd
    here, there = one(image, x, y, size), one(moved, x + right, y + down, size)
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_coarse_pixel_is_the_mean_of_its_block(scale):
    size, image = 3, RNG.normal(size=(3 * scale, 3 * scale))
    middle = (3 * scale - 1) / 2
    blocks = standard(image).reshape(size, scale, size, scale).mean(axis=(1, 3))
    found = one(image, middle, middle, size, scale)
    np.testing.assert_allclose(found, blocks, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 7), (3, 5), (2, 2), (1, 6), (1, 1)])
def test_beyond_the_border_the_image_is_mirrored_as_np_pad_does(shape):
    image, size = RNG.normal(size=shape), 9
    wide = np.pad(standard(image) if image.size > 1 else 0 * image, 4, mode="reflect")
    for y in range(shape[0]):
        for x in range(shape[1]):
            expected = wide[y : y + size, x : x + size]
            np.testing.assert_allclose(one(image, x, y, size), expected, atol=1e-12)


def test_whole_says_where_nothing_mirrored_was_read():
    image = RNG.normal(size=(20, 20))
    grid = np.stack(np.meshgrid(AXIS, AXIS), axis=-1).reshape(-1, 2)
    for size, scales in [(8, (1,)), (3, (2,)), (2, (1, 4)), (20, (1,))]:
        _, whole = cut([image], AXIS, AXIS, grid, size=size, scales=scales)
        reach = (size * max(scales) - 1) / 2
        near = (grid / 1e-9).min(axis=1) >= reach - 1e-6
        far = (grid / 1e-9).max(axis=1) <= 19 - reach + 1e-6
        np.testing.assert_array_equal(whole, near & far)
    assert not whole.any()  # 20 pixels fit only between two pixels
    _, whole = cut([image], AXIS, AXIS, [[9.5e-9, 9.5e-9]], size=20)
    assert whole.all()


def test_columns_go_by_image_then_scale_then_row_then_column():
    images = [RNG.normal(size=(20, 20)) for _ in range(2)]
    at = [[9e-9, 8e-9], [4e-9, 11e-9], [0.0, 0.0]]
    found, _ = cut(images, AXIS, AXIS, at, size=3, scales=(1, 2))
    assert found.shape == (3, 2 * 2 * 9)
    assert found.dtype == np.float64
    apart = found.reshape(3, 2, 2, 9)
    for c, image in enumerate(images):
        for k, scale in enumerate((1, 2)):
            alone, _ = cut([image], AXIS, AXIS, at, size=3, scales=[scale])
            np.testing.assert_array_equal(apart[:, c, k], alone)
    np.testing.assert_allclose(
        apart[0, 0, 0].reshape(3, 3), standard(images[0])[7:10, 8:11], atol=1e-12
    )


@given(gain=st.floats(1e-12, 1e12), offset=st.floats(-1e3, 1e3))
def test_the_unit_of_an_image_changes_nothing(gain, offset):
    image = RNG.normal(size=(6, 6))
    plain, _ = cut([image], *centres((6, 6)), [[2e-9, 3e-9]], size=3)
    other, _ = cut([gain * (image + offset)], *centres((6, 6)), [[2e-9, 3e-9]], size=3)
    np.testing.assert_allclose(other, plain, rtol=0, atol=1e-6)


def test_a_constant_image_gives_zeros():
    for value in (0.0, 3.7e-12, 1e300):
        assert not one(np.full((9, 9), value), 4, 4, 4).any()


def test_a_pixel_without_a_value_counts_as_the_mean():
    image = RNG.normal(size=(9, 9))
    known = np.ones((9, 9), bool)
    known[4, 4] = known[2, 7] = False
    holed = np.where(known, image, np.nan)
    holed[2, 7] = np.inf
    expected = (image - image[known].mean()) / image[known].std()
    found = one(holed, 4, 4, 3)
    assert found[1, 1] == 0.0
    found[1, 1] = expected[4, 4]
    np.testing.assert_allclose(found, expected[3:6, 3:6], atol=1e-12)
    assert not one(np.full((9, 9), np.nan), 4, 4, 3).any()


def test_one_spike_does_not_make_the_rest_look_flat():
    image = RNG.normal(size=(30, 30))
    spiked = image.copy()
    spiked[0, 0] = 1e9
    plain, found = one(image, 15, 15, 8), one(spiked, 15, 15, 8)
    np.testing.assert_allclose(found, plain, atol=0.15)
    assert np.abs(one(spiked, 0, 0, 3)).max() < 2 * FAR


def test_an_image_of_two_values_keeps_both():
    image = np.zeros((20, 20))
    image[10, 10] = 1.0  # more than half is one value: no quartile distance
    assert one(image, 10, 10, 1)[0, 0] > 10


def test_a_whole_map_is_cut_fast_enough_to_forget():
    images = [RNG.normal(size=(128, 128)) for _ in range(2)]
    axis = np.linspace(0, 2e-6, 128)
    at = 2e-6 * RNG.random((2500, 2))
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        pixels, _ = cut(images, axis, axis, at, size=12, scales=(1, 3))
        seconds.append(time.process_time() - begin)
    assert pixels.shape == (2500, 576)
    assert min(seconds) < 0.3


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"images": [np.zeros((20, 19))]}, ShapeMismatch, r"shape \(20, 19\)"),
        ({"images": [np.zeros((20, 20), complex)]}, WrongType, "np.abs"),
        ({"x": AXIS[::-1]}, OutOfRange, "ascend"),
        ({"y": AXIS[None]}, ShapeMismatch, "centres of the pixels along y"),
        ({"positions": [[0.0, 0.0, 0.0]]}, ShapeMismatch, r"\(m, 2\)"),
        ({"positions": [[0.0, 0.0], [0.0, np.nan]]}, OutOfRange, "position 1 with y"),
        ({"positions": [[1.0, 0.0]]}, OutOfRange, "x = 1 m"),
        ({"size": 0}, OutOfRange, "size = 0"),
        ({"size": 2.5}, OutOfRange, "size = 2.5"),
        ({"scales": ()}, OutOfRange, "scales"),
        ({"scales": (1, 0)}, OutOfRange, "one scale or more"),
    ],
)
def test_misuse_is_told_in_a_sentence(change, error, words):
    said = {
        "images": [np.zeros((20, 20))],
        "x": AXIS,
        "y": AXIS,
        "positions": [[0.0, 0.0]],
        **change,
    }
    images, x, y, positions = (said.pop(k) for k in ("images", "x", "y", "positions"))
    with pytest.raises(error, match=words):
        cut(images, x, y, positions, **said)
