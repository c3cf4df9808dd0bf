"""Nets of the house against convolutions of SciPy and Flax, and what they read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy.signal import correlate

from aemtwin.environment import prepare_jax
from aemtwin.errors import ShapeMismatch
from aemtwin.surrogates import get
from aemtwin.surrogates.modules import begun, build
from aemtwin.surrogates.networks import (
    Convolutions,
    Features,
    halved,
    input_shape,
    seen,
    windows,
)

prepare_jax()
KEY = jax.random.key(0)


class Pictures(nn.Module):
    images = True


def test_a_convolutional_layer_is_that_of_scipy():
    rng = np.random.default_rng(0)
    h, width = rng.normal(size=(4, 6, 6, 3)).astype(np.float32), 5
    kernel = rng.normal(size=(27, width)).astype(np.float32)
    found = np.asarray(windows(h)) @ kernel
    mask = kernel.reshape(3, 3, 3, width)
    for n in range(4):
        for w in range(width):
            expected = correlate(h[n], mask[..., w], mode="valid")[..., 0]
            np.testing.assert_allclose(found[n, ..., w], expected, atol=1e-4)
    np.testing.assert_allclose(
        halved(h)[1, 2, 0], h[1, 4:6, :2].mean(axis=(0, 1)), 1e-5
    )
    assert windows(h[:, :2, :2]).shape == (4, 1, 1, 12)
    assert halved(h[:, :3, :3]).shape == (4, 3, 3, 3)


def test_the_small_net_over_pixels_is_one_of_flax_modules():
    """The same net out of nn.Conv, nn.avg_pool and nn.Dense."""
    x = np.random.default_rng(1).normal(size=(5, 8, 8, 2)).astype(np.float32)
    net = Convolutions((4, 6), 2)
    weights = {k: v[0] for k, v in begun(KEY, net, (8, 8, 2), 2, 1).items()}
    weights = {
        k: v + 0.1 if v.ndim == 1 else v for k, v in weights.items()
    }  # a bias that shows
    found = jax.jit(net.apply)({"params": weights}, x)
    h = x
    for k, (inside, out) in enumerate([(2, 4), (4, 6)]):
        kernel = weights[f"kernel_{k}"].reshape(3, 3, inside, out) / np.sqrt(9 * inside)
        layer = {"params": {"kernel": kernel, "bias": weights[f"bias_{k}"]}}
        h = nn.relu(nn.Conv(out, (3, 3), padding="VALID").apply(layer, h))
        h = h if k else nn.avg_pool(h, (2, 2), (2, 2))
    assert h.shape == (5, 1, 1, 6)
    expected = h[:, 0, 0] @ weights["kernel_2"] / np.sqrt(6) + weights["bias_2"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    count = sum(
        v.size for v in begun(KEY, build("cnn", (8, 16), 2), (8, 8, 4), 2, 1).values()
    )
    assert 300 < count < 3000


@pytest.mark.slow
def test_features_of_any_width_begin_with_about_the_same_size():
    """Weights of unit size over the root of inputs: a rectifier halves the square."""
    x = jax.random.normal(KEY, (50, 20))
    for widths in ((8, 8), (64, 64), (256, 256)):
        net = Features(widths, 3)
        made = begun(KEY, net, (20,), 3, 200)
        z = jax.vmap(lambda w, net=net: net.apply({"params": w}, x))(made)
        assert float(jnp.mean(z**2)) == pytest.approx(0.25, rel=0.2)


def test_images_have_scales_and_channels_last():
    X = np.arange(2 + 3 * 16.0)[None]
    x = seen(Convolutions((4,), 2), X, coordinates=2, size=4)
    assert x.shape == (1, 4, 4, 3)
    np.testing.assert_array_equal(x[0, 1, 2], X[0, [2 + 6, 2 + 16 + 6, 2 + 32 + 6]])
    net = Pictures()
    assert input_shape(net, 50, coordinates=2, size=4) == (4, 4, 3)
    for d, size in ((2, 4), (50, 0)):
        with pytest.raises(ShapeMismatch, match="images"):
            input_shape(net, d, coordinates=2, size=size)


def test_a_net_of_images_asks_for_a_patch_and_others_for_the_position():
    assert get("dkl").columns == 2
    assert get("dkl", network="cnn").columns == 66
    assert get("dkl", network="cnn", size=4).columns == 18
