"""Ctrl-C: once after the measurement, twice now."""

from __future__ import annotations

import os
import signal

import pytest

from aemtwin.interrupts import Interrupts


@pytest.fixture(autouse=True)
def _python_listens():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_once_waits_for_the_step(capsys):
    with Interrupts().listening() as stopping:
        stopping.begin()
        ctrl_c()
        assert "Stopping after this measurement" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            stopping.step_done(more=True)


def test_twice_does_not_wait():
    with Interrupts().listening() as stopping:
        stopping.begin()
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_where_nothing_is_measured_once_is_enough():
    with Interrupts().listening() as stopping:
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()
        stopping.step_done(more=False)
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_in_the_last_step_it_stops_before_scores_and_report():
    with Interrupts().listening() as stopping:
        stopping.begin()
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            stopping.step_done(more=False)


def test_afterwards_it_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().listening():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
