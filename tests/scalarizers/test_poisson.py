"""The sd of numbers made of counts, against many countings of the same."""

import numpy as np
import pytest

from aemtwin import scalarizers
from aemtwin.measurement import Measurement
from aemtwin.scalarizers.poisson import per_dwell, scale_of, sum_sd, weights
from aemtwin.scalarizers.spectra import band_intensity
from aemtwin.specs import Axis

ENERGY = np.linspace(2.0, 14.0, 49)


def counted(counts, dwell_s=1.0, axes=None):
    axes = axes or (Axis("energy", "eV", ENERGY),)
    return Measurement(
        call="measure",
        mode="eels",
        arrays={"eels": np.asarray(counts)},
        units={"eels": "counts"},
        quantities={"eels": "Intensity"},
        axes=axes,
        asked=np.zeros(2),
        actual=np.zeros(2),
        time_s=(0.0, dwell_s),
        dwell_s=dwell_s,
        dose=0.0,
        rid="a",
    )


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("band", [(None, None), (5.0, 9.0), (5.1, 5.15), (2.0, 13.99)])
def test_the_weights_are_those_of_the_integral_of_each_sample_alone(band, turned):
    axis = np.sort(np.random.default_rng(0).uniform(2, 14, 30))
    axis[[0, -1]] = 2.0, 14.0
    axis = axis[::-1] if turned else axis
    each = band_intensity(axis, np.eye(30), *band)
    np.testing.assert_allclose(weights(axis, *band), each, atol=1e-12)


@pytest.mark.parametrize("name", ["band_intensity:low=5,high=9.1", "annular:low=0.5"])
@pytest.mark.parametrize("dwell_s", [0.25, 1.0])
def test_what_is_said_is_how_much_the_number_varies(name, dwell_s):
    sought = scalarizers.get(name)
    rng = np.random.default_rng(1)
    rate, axes = 40 + 30 * np.sin(ENERGY), None
    if name.startswith("annular"):
        angle = np.linspace(-1, 1, 7)
        axes = Axis("y", "mrad", angle), Axis("x", "mrad", angle)
        rate = rate.reshape(7, 7)
    made = [
        per_dwell(counted(rng.poisson(rate * dwell_s), dwell_s, axes), 1.0)
        for _ in range(1000)
    ]
    values = np.array([sought(one) for one in made])
    tell = sought.spread(counts=True)
    said = np.array([tell(one) for one in made])
    alone = sought(counted(rate, axes=axes))
    assert values.mean() == pytest.approx(alone, rel=0.01)  # as of one second
    assert said.mean() == pytest.approx(values.std(), rel=0.07)


def test_a_sum_of_nothing_is_not_certain_and_what_is_no_count_says_nothing():
    assert sum_sd([0, 0], [2.0, 2.0]) == 2.0
    assert np.isnan(sum_sd([-1.0, 4.0], [1.0, 1.0]))
    assert np.isnan(sum_sd([np.nan, 4.0], [1.0, 1.0]))
    assert sum_sd([np.nan, 4.0], [0.0, 1.0]) == pytest.approx(5**0.5)


def test_nothing_is_said_of_what_are_no_counts_or_no_sums():
    assert scalarizers.get("band_intensity").spread() is None
    for name in ("peak_position", "highest", "loop_area", "pca", "snr"):
        assert scalarizers.get(name).spread(counts=True) is None


def test_a_function_says_it_by_an_attribute():
    def mean(measurement, scale=1.0):
        return scale * float(np.mean(measurement.values))

    assert scalarizers.get(mean).spread(counts=True) is None
    mean.sd = lambda measurement, scale=1.0: scale * 0.5
    assert scalarizers.get(mean, scale=3.0).spread()(counted(np.ones(49))) == 1.5


def test_counts_of_another_dwell_keep_what_the_detector_counted():
    raw = counted(np.arange(49, dtype="u2"), 0.2)
    scaled = per_dwell(raw, 1.0)
    np.testing.assert_allclose(scaled.values, 5 * raw.values)
    assert scale_of(raw) == 1.0
    assert scale_of(scaled) == 5.0
    assert scaled.dwell_s == 0.2


def test_a_number_that_is_sought_at_its_lowest_is_as_uncertain():
    plain, turned = (
        scalarizers.get(f"{sign}band_intensity:low=5,high=9.1") for sign in ("", "-")
    )
    one = counted(np.full(49, 30))
    assert turned.spread(counts=True)(one) == plain.spread(counts=True)(one) > 0
    assert turned.spread(counts=False) is None
