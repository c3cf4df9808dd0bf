"""Dealing: recorded counts are given out once each, by the binomial law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.effects.dealing import Deck, deal, largest_exact
from aemtwin.instruments.effects.noise import generator


def chance(step=1):
    return generator(0, step, "measure", "eds")


def one_by_one(left, share, random):
    """Slower and plainer: ask each electron."""
    return np.array([np.sum(random.random(int(n)) < share) for n in left])


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_of_a_fixed_recording_variance_over_mean_is_one_less_the_share(share):
    repeats = deal(np.full(200_000, 40), share, chance())
    assert repeats.mean() == pytest.approx(40 * share, rel=0.01)
    assert repeats.var() / repeats.mean() == pytest.approx(1 - share, rel=0.02)


def test_dealing_has_the_law_of_asking_each_electron():
    left = np.full(40_000, 6)
    dealt = deal(left, 0.35, chance())
    asked = one_by_one(left, 0.35, np.random.default_rng(5))
    want = stats.binom.pmf(np.arange(7), 6, 0.35) * len(left)
    for found in (dealt, asked):
        assert stats.chisquare(np.bincount(found, minlength=7), want).pvalue > 0.01


def test_what_is_dealt_of_poisson_counts_is_poisson_and_tells_nothing_of_the_rest():
    recorded = np.random.default_rng(2).poisson(9.0, 200_000)
    dealt = deal(recorded, 0.4, chance())
    assert dealt.var() / dealt.mean() == pytest.approx(1.0, abs=0.015)
    assert abs(np.corrcoef(dealt, recorded - dealt)[0, 1]) < 0.01


@given(
    recorded=st.lists(st.integers(0, 60_000), min_size=1, max_size=6),
    shares=st.lists(st.floats(0.0, 1.2), max_size=12),
    dtype=st.sampled_from(["u2", "i8", "f4", "f8"]),
)
def test_repeats_add_up_to_the_recording_and_never_beyond(recorded, shares, dtype):
    recorded = np.array(recorded).astype(dtype)
    deck, total, dose = Deck(), np.zeros_like(recorded), 0.0
    for step, share in enumerate(shares):
        given_out, really = deck.take((0, 0), recorded, share, chance(step))
        assert (given_out.dtype, given_out.shape) == (recorded.dtype, recorded.shape)
        assert 0.0 <= really <= share + 1e-9
        total, dose = total + given_out, dose + really
        assert (given_out >= 0).all()
        assert (total <= recorded).all()
    rest, share = deck.take((0, 0), recorded, 1.0, chance(99))
    assert (total + rest).tobytes() == recorded.tobytes()
    assert dose + share == pytest.approx(1.0, abs=2e-9)
    assert deck.take((0, 0), recorded, 0.5, chance(100))[0].tolist() == [0] * len(rest)


@pytest.mark.parametrize("parts", [3, 10, 1000])
def test_equal_parts_of_the_dose_end_with_the_last(parts):
    recorded = np.arange(50, dtype="u2")
    deck, total = Deck(), np.zeros(50, "u2")
    for step in range(parts):
        assert deck.left("p") > 0
        part, share = deck.take("p", recorded, 1 / parts, chance(step))
        assert share == pytest.approx(1 / parts, rel=1e-6)
        total += part
    assert total.tobytes() == recorded.tobytes()
    assert deck.left("p") == 0.0
    assert deck.take("p", recorded, 1 / parts, chance())[1] == 0.0


def test_each_of_several_parts_has_its_share_of_the_electrons():
    recorded, sums = np.full(400, 20), []
    for repeat in range(50):
        deck, random = Deck(), np.random.default_rng(repeat)
        parts = [deck.take(0, recorded, s, random)[0] for s in (0.1, 0.2, 0.4, 0.3)]
        sums.append([part.sum() for part in parts])
    wanted = 8000 * np.array([0.1, 0.2, 0.4, 0.3])
    sd = np.sqrt(wanted * (1 - wanted / 8000) / 50)  # multinomial
    assert np.abs((np.mean(sums, axis=0) - wanted) / sd).max() < 4


def test_arrays_recorded_together_are_dealt_the_same_share():
    recorded = np.full(5000, 10, "u2"), np.full((5000, 2), 4.0, "f4")
    deck = Deck()
    (one, other), share = deck.take_together((1, 2), recorded, 0.7, chance())
    assert (one.dtype, other.dtype, other.shape) == ("u2", "f4", (5000, 2))
    assert one.mean() / 10 == pytest.approx(0.7, abs=0.01)
    assert other.mean() / 4 == pytest.approx(0.7, abs=0.01)
    (last, last_other), rest = deck.take_together((1, 2), recorded, 0.7, chance(2))
    assert share + rest == pytest.approx(1.0)
    assert (one + last).tobytes() == recorded[0].tobytes()
    assert (other + last_other).tobytes() == recorded[1].tobytes()


def test_the_state_does_not_tell_in_which_order_other_pixels_were_asked():
    def after(order):
        deck = Deck()
        for pixel in order:
            deck.take(("eds", *pixel), np.full(8, 5), 0.5, chance(hash(pixel) % 1000))
        return deck.digest()

    there = [(0, 0), (0, 1), (3, 2)]
    assert after(there) == after(there[::-1])
    seen = [after(there[:n]) for n in range(4)] + [after([*there, (0, 0)])]
    assert len(set(seen)) == 5


def test_the_state_does_not_tell_how_a_pixel_came_to_it():
    recorded, digests = np.full(8, 5), set()
    for shares in ((1.0,), (0.5, 0.5), (0.25, 0.25, 9.0)):
        deck = Deck()
        for step, share in enumerate(shares):
            deck.take(0, recorded, share, chance(step))
        digests.add(deck.digest())
    assert len(digests) == 1


def test_clearing_gives_everything_back():
    deck, recorded = Deck(), np.array([7, 1])
    new = deck.digest()
    deck.take(0, recorded, 2.0, chance())
    assert deck.digest() != new
    deck.clear()
    assert deck.digest() == new
    assert deck.take(0, recorded, 1.0, chance())[0].tolist() == [7, 1]


def test_only_what_was_touched_is_kept_and_what_gave_all_keeps_nothing():
    deck = Deck()
    for column in range(100):
        recorded = np.full(1000, 3, "u2")
        deck.take((0, column), recorded, 1.0 if column else 0.5, chance(column))
    kept = [a.nbytes for rest in deck._rest.values() for a in rest.counts]
    assert kept == [2000]


def test_the_recording_itself_is_never_changed():
    recorded = np.array([4, 9, 0])
    deck = Deck()
    first, _ = deck.take(0, recorded, 0.5, chance())
    first[:] = 99
    deck.take(0, recorded, 0.5, chance(2))[0][:] = 99
    deck.take(1, recorded, 1.0, chance())[0][:] = 99
    deal(recorded, 1.0, chance())[:] = 99
    assert recorded.tolist() == [4, 9, 0]


def test_counts_that_a_float_cannot_tell_apart_are_refused():
    assert float(np.float32(2**24)) == 2**24
    assert np.float32(2**24 + 1) == 2**24
    assert largest_exact(np.dtype("f4")) == 2**24
    exact = np.array([2**24 - 1], "f4")
    part = deal(exact, 0.5, chance())
    assert part + (exact - part) == exact
    with pytest.raises(OutOfRange, match="tells apart"):
        deal(np.array([2.0**25], "f4"), 0.5, chance())


@pytest.mark.parametrize(
    ("left", "share", "error"),
    [
        ([1.5], 0.5, OutOfRange),
        ([-1], 0.5, OutOfRange),
        ([np.nan], 0.5, OutOfRange),
        ([True], 0.5, WrongType),
        ([1j], 0.5, WrongType),
        ([1], 1.1, OutOfRange),
        ([1], np.nan, OutOfRange),
    ],
)
def test_what_is_no_count_or_no_probability_is_refused(left, share, error):
    with pytest.raises(error, match="deal got"):
        deal(np.array(left), share, chance())


def test_a_negative_share_and_another_recording_are_refused():
    deck = Deck()
    deck.take(0, np.array([1, 2]), 0.5, chance())
    with pytest.raises(OutOfRange, match="got the share"):
        deck.take(0, np.array([1, 2]), -0.1, chance())
    with pytest.raises(ShapeMismatch, match="same recording"):
        deck.take(0, np.array([1, 2, 3]), 0.5, chance())


def test_the_numbers_are_these_on_every_machine():
    # Recorded once: a change here changes the counts of every stored run.
    dealt = deal(np.array([3, 40, 0, 900_000]), 0.25, chance())
    assert dealt.tolist() == [1, 13, 0, 224_894]
