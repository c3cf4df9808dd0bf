"""Mean models against formulas in NumPy, quadrature of their priors, and misuse."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, ShapeMismatch, UnknownName
from aemtwin.surrogates.base import float64
from aemtwin.surrogates.means import MODELS, WHERE, Mean, load

prepare_jax()

RNG = np.random.default_rng(4)
X = RNG.random((7, 2))
U = X - 0.5

OWN = """
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def ring(X):
    radius = numpyro.sample("radius", dist.Uniform(0.1, 0.6))
    r = jnp.sqrt(jnp.sum((X - 0.5) ** 2, axis=1) + 1e-12)
    numpyro.deterministic("area", jnp.pi * radius**2)
    return jnp.tanh((r - radius) / 0.05)


table = {"not": "callable"}
"""


@partial(jax.jit, static_argnames="mean")
def every(mean, v):
    return jax.vmap(lambda one: (mean.told(one, X), *mean.at(one, X)))(v)


def read(mean, v):
    """Return what is told of rows of v, by label, f at X, and the prior's energy."""
    with float64():
        told, f, energy = jax.device_get(every(mean, np.asarray(v)))
    return dict(zip(mean.layout.labels, told.T, strict=True)), f, energy


def by_hand(name, p):
    """Return f(X) of the parameters, written out for two dimensions."""
    slope = np.array([p.get("slope_0", 0.0), p.get("slope_1", 0.0)])
    f = p["level"] + U @ slope
    if name == "quadratic":
        for k in range(2):
            f = f + p[f"curve_{k}"] * (U[:, k] ** 2 - 1 / 12)
    if name == "step":
        normal = np.array([p["sharp_0"], p["sharp_1"]])
        width = 1 / np.hypot(*normal)
        far = (U @ (normal * width) - p["offset"]) / width
        f = f + p["height"] * (1 / (1 + np.exp(-far)) - 0.5)
    if name == "gaussian_peak":
        z = [(X[:, k] - p[f"centre_{k}"]) / p[f"width_{k}"] for k in range(2)]
        f = f + p["height"] * np.exp(-0.5 * z[0] ** 2 - 0.5 * z[1] ** 2)
    if name == "saturation":
        dose = X[:, 0] * p["rate_0"] + X[:, 1] * p["rate_1"]
        f = f + p["height"] * (1 - np.exp(-dose))
    return f


def each(*quick):
    """Return all names; those that are not quick cost a compilation each."""
    rest = sorted(set(MODELS) - set(quick))
    return [*quick, *(pytest.param(name, marks=pytest.mark.slow) for name in rest)]


@pytest.mark.parametrize("name", each("step"))
def test_a_model_returns_what_its_formula_says_of_the_parameters_told(name):
    mean = Mean(name, load(name), 2)
    p, f, _ = read(mean, mean.draws(50))
    for k in range(50):
        one = {label: value[k] for label, value in p.items()}
        np.testing.assert_allclose(f[k], by_hand(name, one), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", each("step"))
def test_slopes_of_a_model_are_finite_wherever_its_prior_leads(name):
    mean = Mean(name, load(name), 2)

    def total(v):
        f, energy = mean.at(v, jnp.asarray(X))
        return jnp.sum(f) + energy

    with float64():
        slope = jax.jit(jax.vmap(jax.grad(total)))(mean.draws(50))
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize(
    "prior",
    [
        dist.Normal(1.0, 0.5),
        dist.Uniform(2.0, 5.0),
        dist.HalfNormal(2.0),
        dist.LogNormal(0.3, 0.4),
        dist.Gamma(2.0, 3.0),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_the_density_of_the_flat_vector_integrates_to_one_with_the_priors_mean(prior):
    """By the trapezoidal rule over all of v, which has no bounds."""

    def model(X):
        return numpyro.sample("a", prior) * jnp.ones(len(X))

    mean, v = Mean("own", model, 1), np.linspace(-30, 30, 6001)[:, None]
    _, f, energy = read(mean, v)
    weight = np.exp(-energy) * (v[1, 0] - v[0, 0])
    assert weight.sum() == pytest.approx(1.0, rel=1e-6)
    assert weight @ f[:, 0] == pytest.approx(float(prior.mean), rel=1e-5)


@pytest.mark.slow
def test_draws_of_the_flat_vector_are_draws_of_the_prior():
    mean = Mean("gaussian_peak", load("gaussian_peak"), 2)
    p, _, _ = read(mean, mean.draws(400))
    middle = {label: value.mean() for label, value in p.items()}
    assert middle["centre_0"] == pytest.approx(0.5, abs=5 * 0.289 / 20)
    assert middle["height"] == pytest.approx(0.0, abs=5 * 2.0 / 20)
    assert middle["width_1"] == pytest.approx(0.2 * np.exp(0.125), abs=5 * 0.12 / 20)
    np.testing.assert_array_equal(mean.draws(3), mean.draws(3))


def test_a_model_of_ones_own_is_found_by_module_and_function(tmp_path, monkeypatch):
    (tmp_path / "my_rings.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    mean = Mean("my_rings:ring", load("my_rings:ring"), 2)
    assert load("my_rings.ring") is load("my_rings:ring")
    assert mean.layout.labels == ("radius", "area")
    p, (f,), _ = read(mean, [[0.3]])
    assert p["radius"] == pytest.approx(0.1 + 0.5 / (1 + np.exp(-0.3)))
    assert p["area"] == pytest.approx(np.pi * p["radius"] ** 2)
    far = (np.hypot(*U.T) - p["radius"]) / 0.05
    np.testing.assert_allclose(f, np.tanh(far), rtol=1e-6)
    with pytest.raises(BadConfig, match="must be a function of X"):
        load("my_rings:table")
    with pytest.raises(UnknownName, match="no attribute 'rung'"):
        load("my_rings:rung")


def test_a_model_without_parameters_is_a_model_too():
    mean = Mean("known", lambda X: jnp.sin(X[:, 0]), 2)
    _, (f,), energy = read(mean, np.zeros((1, 0)))
    np.testing.assert_allclose(f, np.sin(X[:, 0]))
    assert energy == 0.0
    assert mean.draws(3).shape == (3, 0)
    assert mean.layout.labels == ()


def test_what_is_kept_for_each_row_is_not_told():
    def model(X):
        numpyro.deterministic("inner", X[:, 0] ** 2)
        return numpyro.sample("a", dist.Normal(0, 1)) * X[:, 0]

    layout = Mean("own", model, 2).layout
    assert (layout.size, layout.labels) == (1, ("a",))
    assert WHERE not in dict(layout.kept)


def observed(X):
    numpyro.sample("y", dist.Normal(0, 1), obs=0.0)
    return X[:, 0]


def weighed(X):
    numpyro.factor("likely", 1.0)
    return X[:, 0]


def counted(X):
    return numpyro.sample("k", dist.Poisson(2.0)) * X[:, 0]


def anywhere(X):
    prior = dist.ImproperUniform(dist.constraints.real, (), event_shape=())
    return numpyro.sample("a", prior) * X[:, 0]


def masked(X):
    return numpyro.sample("a", dist.Normal(0, 1).mask(False)) * X[:, 0]


def learned(X):
    return numpyro.param("a", 1.0) * X[:, 0]


def each_row(X):
    return numpyro.sample("a", dist.Normal(0, 1).expand([X.shape[0]]).to_event(1))


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        (lambda X: X, ShapeMismatch, r"returned shape \(2, 2\) .* \(2,\)"),
        (lambda X: 1.0, ShapeMismatch, r"returned shape \(\) "),
        (lambda X: X[:, :1], ShapeMismatch, r"returned shape \(2, 1\)"),
        (each_row, ShapeMismatch, "whatever the number of rows"),
        (observed, BadConfig, "observed site 'y'"),
        (weighed, BadConfig, "observed site 'likely'"),
        (counted, BadConfig, "discrete"),
        (learned, BadConfig, "numpyro.param"),
        (anywhere, BadConfig, "priors that can be drawn from"),
        (masked, BadConfig, "masks the prior of 'a'"),
        (lambda X: np.interp(X[:, 0], [0, 1], [0, 1]), BadConfig, "computes with"),
        (lambda X, y: X[:, 0], BadConfig, "takes X alone"),
        (lambda X: X @ jnp.ones(3), BadConfig, "own could not be run on X of shape"),
    ],
)
def test_a_wrong_model_is_told_in_a_sentence(model, error, says):
    with pytest.raises(error, match=says):
        Mean("own", model, 2).layout


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'linear'"):
        load("linaer")
    with pytest.raises(UnknownName, match="No module named 'no_such_lab'"):
        load("no_such_lab:model")
