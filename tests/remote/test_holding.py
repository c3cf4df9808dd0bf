"""A lease that is kept: what was lost to others, or given back, is not taken again."""

from __future__ import annotations

import pytest

from aemtwin.errors import LeaseRefused
from aemtwin.instruments.lease import Desk
from aemtwin.remote.holding import Holding


@pytest.fixture
def desk():
    made = Desk()
    made.now = 0.0
    made._clock = lambda: made.now
    return made


@pytest.fixture
def holding(desk):
    made = Holding(
        desk.take(60.0, "one"),
        "one",
        desk.take,
        lambda token, timeout_s: desk.renew(token),
        desk.release,
    )
    yield made
    made.end()


def test_a_lease_that_nobody_had_in_between_is_taken_again(desk, holding):
    desk.now = 100.0
    assert holding.regained()
    assert (holding.lease.fence, desk.holder) == (2, "one")
    assert holding.regained()  # it counts already
    assert holding.lease.fence == 2


def test_a_lease_that_another_had_in_between_is_lost_for_good(desk, holding):
    desk.now = 100.0
    desk.release(desk.take(60.0, "two").token)
    for _ in range(2):
        assert not holding.regained()
        assert desk.holder == ""  # and in nobody's way
        with pytest.raises(LeaseRefused):
            desk.begin("scan", holding.lease.token)


def test_a_lease_that_was_given_back_is_not_taken_again(desk, holding):
    """A renewal that was under way meanwhile is refused, and would ask for it."""
    holding.end()
    desk.release(holding.lease.token)
    assert not holding.regained()
    assert desk.holder == ""
