"""Principal components of spectra that were made of known ones."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.scalarizers import component_score, principal_component

ENERGY = np.linspace(0.5, 4.0, 71)  # eV


def band(centre: float, sd: float = 0.2) -> np.ndarray:
    return np.exp(-0.5 * ((ENERGY - centre) / sd) ** 2)


def mixtures(n: int, seed: int = 0, noise: float = 0.0) -> tuple[np.ndarray, ...]:
    """Amounts (n, 2) of two bands that do not overlap, and their spectra (n, e)."""
    random = np.random.default_rng(seed)
    amounts = random.uniform(0, (10.0, 3.0), (n, 2))
    spectra = 5 + amounts @ np.stack([band(1.2), band(3)])
    return amounts, spectra + noise * random.normal(size=spectra.shape)


def test_the_scores_of_two_pure_bands_are_their_amounts():
    amounts, spectra = mixtures(200)
    for column in (0, 1):
        found = principal_component(ENERGY, spectra, column + 1)
        scores = component_score(spectra, found)
        assert np.corrcoef(scores, amounts[:, column])[0, 1] > 0.98
        assert scores.mean() == pytest.approx(0, abs=1e-9)


def test_scores_are_those_of_the_eigenvectors_of_the_covariance():
    spectra = mixtures(30, noise=0.3)[1]
    variance, vectors = np.linalg.eigh(np.cov(spectra.T))
    for component in (1, 2, 5):
        found = principal_component(ENERGY, spectra, component)
        scores = component_score(spectra, found)
        assert np.var(scores, ddof=1) == pytest.approx(variance[-component])
        assert abs(found.loading @ vectors[:, -component]) == pytest.approx(1)
        assert np.linalg.norm(found.loading) == pytest.approx(1)


def test_any_spectrum_has_a_score_and_many_are_taken_as_one_by_one():
    spectra = mixtures(20, noise=0.1)[1]
    found = principal_component(ENERGY, spectra[:10])
    cube = component_score(spectra.reshape(4, 5, -1), found)
    alone = [float(component_score(one, found)) for one in spectra]
    assert cube.ravel().tolist() == alone


def test_the_same_spectra_give_the_same_bits():
    spectra = mixtures(20, noise=0.1)[1]
    one, other = (principal_component(ENERGY, spectra.copy()) for _ in range(2))
    assert one.loading.tobytes() == other.loading.tobytes()
    assert one.mean.tobytes() == other.mean.tobytes()


def test_too_few_spectra_or_too_little_variance_teach_nothing():
    spectra = mixtures(6)[1]  # two bands: a rank of two
    assert principal_component(ENERGY, spectra[:0]) is None
    assert principal_component(ENERGY, spectra[:1]) is None
    assert principal_component(ENERGY, spectra[:2]) is not None
    assert principal_component(ENERGY, spectra[:2], 2) is None
    assert principal_component(ENERGY, spectra, 2) is not None
    assert principal_component(ENERGY, spectra, 3) is None
    assert principal_component(ENERGY, np.full((5, 71), 7.1)) is None
    assert principal_component(ENERGY, np.zeros((5, 71))) is None
    assert principal_component(ENERGY, np.repeat(spectra[:1], 9, axis=0)) is None


@pytest.mark.parametrize("spike", [np.nan, np.inf, -np.inf])
def test_a_spectrum_that_is_not_finite_is_left_out_and_has_no_score(spike):
    spectra = mixtures(9)[1]
    clean = principal_component(ENERGY, spectra)
    broken = np.insert(spectra, 4, spectra[0], axis=0)
    broken[4, 7] = spike
    found = principal_component(ENERGY, broken)
    assert found.loading.tobytes() == clean.loading.tobytes()
    scores = component_score(broken, found)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [4]
    assert principal_component(ENERGY, np.full((5, 71), spike)) is None


@pytest.mark.parametrize("spike", [1e6, -1e6, 1e30, np.finfo(float).max])
@pytest.mark.parametrize("component", [1, 2])
def test_a_spiked_spectrum_teaches_nothing_and_has_a_score(spike, component):
    spectra = mixtures(30, noise=0.1)[1]
    spiked = spectra.copy()
    spiked[11, 40] = spike
    found = principal_component(ENERGY, spiked, component)
    clean = principal_component(ENERGY, np.delete(spectra, 11, axis=0), component)
    assert found.loading.tobytes() == clean.loading.tobytes()
    assert found.mean.tobytes() == clean.mean.tobytes()
    assert np.abs(found.loading).max() < 0.5
    scores = component_score(spiked, found)
    assert np.isfinite(scores).all()
    whole = principal_component(ENERGY, spectra, component)
    others = np.arange(30) != 11
    expected = component_score(spectra[others], whole)
    assert np.corrcoef(scores[others], expected)[0, 1] > 0.999


def test_spectra_far_outside_are_learned_from_where_the_usual_is_not_known():
    """Of few spectra, of half that are equal, and where they are needed."""
    spectra = mixtures(9, noise=0.1)[1]
    spiked = spectra.copy()
    spiked[3, 40] = 1e6

    def spike(rows, component=1):
        return principal_component(ENERGY, rows, component).loading[40]

    assert abs(spike(spiked[:7])) == pytest.approx(1)
    assert abs(spike(spiked[:8])) < 0.5
    equal = np.concatenate([np.repeat(spectra[:1], 9, axis=0), spiked[:5]])
    assert abs(spike(equal)) == pytest.approx(1)
    assert abs(spike(spiked, component=7)) < 0.5
    assert principal_component(ENERGY, spiked, 8) is not None  # takes all nine


def test_a_bright_and_rare_phase_is_learned_from():
    """It lies about thirty median distances off, as no spike of a detector does."""
    random = np.random.default_rng(2)
    spectra = 5 + 0.1 * random.normal(size=(20, ENERGY.size))
    spectra[6] += 10 * band(3)
    found = principal_component(ENERGY, spectra)
    assert found.loading @ band(3) / np.linalg.norm(band(3)) > 0.99


@pytest.mark.parametrize("size", [1e308, 1e-300, 5e-324])
def test_the_largest_and_the_smallest_numbers_give_no_warning(size):
    spectra = size * np.sign(mixtures(9)[1] - 7)
    found = principal_component(ENERGY, spectra)
    assert not np.isinf(component_score(spectra, found)).any()


def score_signs(axis, spectra, sought, component=1) -> set[float]:
    """The signs of the correlation with what is sought, as spectra come in."""
    signs = set()
    for n in range(6, len(spectra) + 1):
        found = principal_component(axis, spectra[:n], component)
        scores = component_score(spectra[:n], found)
        signs.add(float(np.sign(np.corrcoef(scores, sought[:n])[0, 1])))
    return signs


@pytest.mark.parametrize("seed", range(5))
def test_brighter_spectra_have_the_higher_score_in_every_fit(seed):
    amounts, spectra = mixtures(40, seed, noise=0.3)
    assert score_signs(ENERGY, spectra, amounts[:, 0]) == {1.0}
    assert score_signs(ENERGY[::-1], spectra[:, ::-1], amounts[:, 0]) == {1.0}


@pytest.mark.parametrize("seed", range(5))
def test_loops_that_are_more_open_have_the_higher_score_in_every_fit(seed):
    """Their sum is zero, so the mean loop tells the sign."""
    random = np.random.default_rng(seed)
    bias = 5 * np.sin(np.linspace(0, 2 * np.pi, 64, endpoint=False))
    rising = np.roll(bias, -1) > bias
    loop = np.tanh((bias - np.where(rising, 2, -2)) / 0.5)
    opening = random.uniform(0, 3, 40)
    loops = opening[:, None] * loop + 0.2 * random.normal(size=(40, 64))
    assert score_signs(bias, loops, opening) == {1.0}


@pytest.mark.parametrize("seed", range(5))
def test_a_peak_that_shifts_up_the_axis_has_the_higher_score_in_every_fit(seed):
    """Neither the sum nor the mean changes with it."""
    random = np.random.default_rng(seed)
    shift = random.uniform(-0.1, 0.1, 40)
    shift[1::2] = -shift[::2]  # even, so that the mean stays where it is
    spectra = np.stack([band(2 + by, 0.3) for by in shift])
    spectra += 0.005 * random.normal(size=spectra.shape)
    assert score_signs(ENERGY, spectra, shift) == {1.0}
    assert score_signs(ENERGY[::-1], spectra[:, ::-1], shift) == {1.0}


def test_where_nothing_else_tells_the_largest_loading_is_positive():
    spectra = np.array([[0.0, 1, -2, 1, 0], [0, -1, 2, -1, 0]])
    found = principal_component(np.arange(5.0), spectra)
    assert found.loading == pytest.approx(np.array([0, -1, 2, -1, 0]) / 6**0.5)


def test_wrong_spectra_are_refused_in_a_sentence():
    spectra = mixtures(5)[1]
    with pytest.raises(WrongType, match=r"spectra of type complex128.*modulus"):
        principal_component(ENERGY, spectra + 1j)
    with pytest.raises(ShapeMismatch, match=r"\(e,\) and \(n, e\)"):
        principal_component(ENERGY[:-1], spectra)
    with pytest.raises(ShapeMismatch, match=r"\(e,\) and \(n, e\)"):
        principal_component(ENERGY, spectra[0])
    for component in (0, 72):
        with pytest.raises(OutOfRange, match=f"component {component} .* 1 to 71"):
            principal_component(ENERGY, spectra, component)
    found = principal_component(ENERGY, spectra)
    with pytest.raises(ShapeMismatch, match="learned from 71 samples"):
        component_score(spectra[:, :-1], found)
    with pytest.raises(WrongType, match="complex128"):
        component_score(spectra + 1j, found)
