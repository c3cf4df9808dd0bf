"""Every error is also a built-in, has a code of its own, and reads as a sentence."""

from __future__ import annotations

import builtins

import pytest

from aemtwin.errors import AemtwinError, builtin_base, by_code, unknown


@pytest.mark.parametrize("kind", by_code().values())
def test_each_is_also_a_builtin(kind):
    base = builtin_base(kind)
    assert getattr(builtins, base.__name__) is base
    assert kind is AemtwinError or issubclass(kind, base)
    assert kind("It is so.").code == kind.__name__


@pytest.mark.parametrize("kind", by_code().values())
def test_a_message_reads_as_it_was_written(kind):
    assert str(kind("What, got, allowed.")) == "What, got, allowed."


def test_the_nearest_name_is_offered_only_if_near():
    assert "Did you mean" not in str(unknown("mode", "zzz", ["loops"], "See."))
    assert "allowed: none" in str(unknown("mode", "a", [], "See."))
