"""The scalarizer that learns what is sought from the measurements of a run."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from aemtwin import scalarizers
from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.scalarizers import component_score, principal_component
from aemtwin.specs import Axis
from tests.scalarizers.test_learned import ENERGY, mixtures
from tests.scalarizers.test_registry import LOOP, measured

AXIS = Axis("energy", "eV", ENERGY)
SPECTRA = mixtures(12, noise=0.1)[1]
MEASURED = [measured(spectrum, AXIS) for spectrum in SPECTRA]


def values(scalarizer, measurements):
    return [scalarizer(measurement) for measurement in measurements]


def test_the_values_are_the_scores_of_the_plain_functions():
    for component in (1, 2):
        learned = scalarizers.get("pca", component=component).fit(MEASURED)
        plain = principal_component(ENERGY, SPECTRA, component)
        expected = component_score(SPECTRA, plain).tolist()
        assert values(learned, MEASURED) == expected
        assert learned.units(MEASURED[0]) == "counts"


def test_a_run_has_values_from_the_second_spectrum_on_and_all_of_them_then():
    scalarizer = scalarizers.get("pca")
    assert np.isnan(values(scalarizer, MEASURED)).all()
    for n in range(6):
        known = np.isfinite(values(scalarizer.fit(MEASURED[:n]), MEASURED))
        assert known.all() if n >= 2 else not known.any()
    second = scalarizers.get("pca", component=2)
    assert np.isnan(second.fit(MEASURED[:2])(MEASURED[0]))
    assert np.isfinite(second.fit(MEASURED[:3])(MEASURED[0]))


def test_a_fit_depends_on_nothing_but_its_measurements():
    scalarizer = scalarizers.get("pca")
    again = scalarizer.fit(MEASURED[:4]).fit(MEASURED)
    assert values(again, MEASURED) == values(scalarizer.fit(MEASURED), MEASURED)


def test_spectra_without_variance_or_not_finite_have_no_value_and_raise_nothing():
    same = scalarizers.get("pca").fit(MEASURED[:1] * 5)
    assert np.isnan(same(MEASURED[0]))
    broken = measured(np.where(ENERGY > 3.5, np.nan, SPECTRA[0]), AXIS)
    learned = scalarizers.get("pca").fit([broken, *MEASURED])
    assert np.isnan(learned(broken))
    assert values(learned, MEASURED) == values(
        scalarizers.get("pca").fit(MEASURED), MEASURED
    )
    below = scalarizers.get("pca", high=3.4).fit([broken, *MEASURED])
    assert np.isfinite(below(broken))


def test_a_spike_changes_no_score_but_its_own():
    spectrum = SPECTRA[5].copy()
    spectrum[40] = 1e6
    spiked = [*MEASURED[:5], measured(spectrum, AXIS), *MEASURED[6:]]
    learned = scalarizers.get("pca").fit(spiked)
    without = scalarizers.get("pca").fit(MEASURED[:5] + MEASURED[6:])
    assert values(learned, MEASURED) == values(without, MEASURED)
    assert np.isfinite(learned(spiked[5]))


def test_only_the_samples_in_the_band_count():
    learned = scalarizers.get("pca", low=2.5, high=3.5).fit(MEASURED)
    inside = (ENERGY >= 2.5) & (ENERGY <= 3.5)
    plain = principal_component(ENERGY[inside], SPECTRA[:, inside])
    expected = component_score(SPECTRA[:, inside], plain).tolist()
    assert values(learned, MEASURED) == expected


def test_a_noise_free_spectrum_of_another_type_has_a_score():
    learned = scalarizers.get("pca").fit(MEASURED).settled()
    counts = measured(SPECTRA[0].astype(np.float32), AXIS)
    assert learned(counts) == pytest.approx(learned(MEASURED[0]), abs=1e-5)
    assert np.isfinite(learned(measured(SPECTRA[0].astype(int), AXIS)))


def test_loops_are_learned_from_as_well():
    loops = [measured(k * LOOP.values, LOOP.axes[0], units="pm") for k in (1, 2, 4)]
    scalarizer = scalarizers.get("pca").fit(loops)
    assert np.argsort(values(scalarizer, loops)).tolist() == [0, 1, 2]
    assert scalarizer.units(loops[0]) == "pm"


def test_what_was_learned_travels_to_another_process():
    for n in (1, 12):
        learned = scalarizers.get("pca").fit(MEASURED[:n])
        copy = pickle.loads(pickle.dumps(learned))
        assert np.array_equal(
            values(copy, MEASURED), values(learned, MEASURED), equal_nan=True
        )
    assert pickle.loads(pickle.dumps(scalarizers.get("pca"))) == scalarizers.get("pca")


def test_wrong_measurements_are_refused_before_anything_is_learned():
    scalarizer = scalarizers.get("pca")
    complex_ones = measured(SPECTRA[0] + 1j, AXIS)
    cube = measured(np.ones((2, 71)), Axis("cycle", "", np.arange(2.0)), AXIS)
    for call in (
        scalarizer,
        lambda m: scalarizer.fit([m, m]),
        scalarizer.fit(MEASURED),
    ):
        with pytest.raises(WrongType, match="pca got a spectrum of type complex128"):
            call(complex_ones)
        with pytest.raises(ShapeMismatch, match="one spectrum"):
            call(cube)
    with pytest.raises(OutOfRange, match=r"band 5 to 6.*no sample.*0\.5 to 4"):
        scalarizers.get("pca", low=5, high=6)(MEASURED[0])
    with pytest.raises(OutOfRange, match=r"component 72 .* 71 samples"):
        scalarizers.get("pca", component=72)(MEASURED[0])
    short = measured(SPECTRA[0][1:], Axis("energy", "eV", ENERGY[1:]))
    with pytest.raises(ShapeMismatch, match="of 70 and of 71 samples"):
        scalarizer.fit([MEASURED[0], short])
    with pytest.raises(ShapeMismatch, match="learned from 71 samples"):
        scalarizer.fit(MEASURED)(short)
