"""Any Flax module as a net, and what is told of a wrong one."""

import sys
import types

import jax
import numpy as np
import pytest
from flax import linen as nn

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, UnknownName
from aemtwin.surrogates.base import count_compilations
from aemtwin.surrogates.dkl import DKL
from aemtwin.surrogates.modules import begun, build, last_layer, parameter_shapes
from aemtwin.surrogates.networks import Features

prepare_jax()
KEY = jax.random.key(0)


class Two(nn.Module):
    """One of the user's, with modules inside and names of its own."""

    features: int = 2

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(5, name="before")(x))
        return self.param("theta", nn.initializers.ones, ()) * nn.Dense(self.features)(
            x
        )


class Pictures(nn.Module):
    images = True

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.Conv(3, (2, 2))(x).mean(axis=(1, 2)))


class Wide(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(7)(x)


class Averages(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(nn.Dense(2)(x))


class Needs(nn.Module):
    width: int

    def __call__(self, x):
        return x


class NoParameters(nn.Module):
    def __call__(self, x):
        return x[:, :2]


@pytest.fixture(autouse=True)
def module(monkeypatch):
    """Make the classes above a module that can be imported by name."""
    own = types.ModuleType("nets_of_a_user")
    for kind in (Two, Pictures, Wide, Averages, Needs, NoParameters):
        setattr(own, kind.__name__, kind)
    own.text = "no class"
    monkeypatch.setitem(sys.modules, own.__name__, own)


def test_parameters_are_named_in_the_order_in_which_a_net_makes_them():
    shapes = parameter_shapes(Features((4, 3), 2), (5,), 2)
    assert list(shapes) == [f"{a}_{k}" for k in range(3) for a in ("kernel", "bias")]
    assert last_layer(shapes) == "kernel_2"
    own = build("nets_of_a_user:Two", (), 3)
    shapes = parameter_shapes(own, (4,), 3)
    assert shapes["before/kernel"] == (4, 5)
    assert shapes["theta"] == ()
    assert last_layer(shapes) == "Dense_0/kernel"
    made = jax.jit(lambda key: begun(key, own, (4,), 3, 6))(KEY)
    assert {k: v.shape[1:] for k, v in made.items()} == shapes
    assert len(np.unique(made["before/kernel"][:, 0, 0])) == 6
    np.testing.assert_array_equal(made["theta"], np.ones(6))


def test_shapes_are_found_without_a_program():
    with count_compilations() as compiled:
        parameter_shapes(Features((9, 9, 9), 2), (31,), 2)
    assert compiled.count == 0


def test_a_class_and_one_that_is_made_are_as_good_as_its_name():
    by_name, by_class = (build(n, (), 3) for n in ("nets_of_a_user:Two", Two))
    assert by_name == by_class == Two(features=3)
    made = Two(features=3)
    assert build(made, (), 7) is made  # and what it makes is held to `features` later
    assert DKL(network=made, features=3, size=0).init(5).members.weights.keys() == (
        DKL(network="nets_of_a_user:Two", features=3, size=0)
        .init(5)
        .members.weights.keys()
    )


def test_a_file_that_cannot_be_run_is_told_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "half_a_net.py").write_text("class Net(:")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadConfig, match=r"cannot be imported: .*syntax"):
        DKL(network="half_a_net:Net")


@pytest.mark.parametrize("network", [7, object, np.ones, None])
def test_what_is_neither_a_name_nor_a_module_is_told_in_a_sentence(network):
    with pytest.raises(BadConfig, match=r"no flax\.linen\.Module"):
        DKL(network=network)


def test_a_net_that_does_not_fit_is_told_before_the_first_point():
    with pytest.raises(BadConfig, match=r"\(3, 7\).*\(3, 2\)"):
        DKL(network="nets_of_a_user:Wide", size=0).init(5)
    with pytest.raises(BadConfig, match=r"\(3, 3\).*\(3, 2\)"):
        DKL(network=Two(features=3), size=0).init(5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module_here:Net", "cannot be imported"),
        ("nets_of_a_user:Missing", "cannot be imported"),
        (":Net", "cannot be imported"),
        ("nets_of_a_user:text", "no flax.linen.Module"),
        ("json:loads", "no flax.linen.Module"),
        ("nets_of_a_user:Needs", "cannot be made"),
    ],
)
def test_what_is_no_module_is_told_in_a_sentence(name, said):
    with pytest.raises(BadConfig, match=said):
        build(name, (), 2)


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        (Wide, (4,), r"\(3, 7\).*\(3, 2\)"),
        (Averages, (4,), "batch"),
        (NoParameters, (4,), "nothing"),
        (Pictures, (4,), "failed on inputs"),
    ],
)
def test_a_net_that_does_not_fit_is_told_in_a_sentence(kind, shape, said):
    with pytest.raises(BadConfig, match=said):
        parameter_shapes(kind(), shape, 2)


def test_an_unknown_net_is_told_with_those_there_are():
    with pytest.raises(UnknownName, match="cnn"):
        build("vit", (), 2)
