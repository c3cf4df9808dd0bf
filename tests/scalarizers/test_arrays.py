"""What all scalarizers ask of their arrays."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.errors import WrongType
from aemtwin.scalarizers.arrays import finite, quiet, require_real


def test_integers_and_single_precision_become_float64_and_infinities_nan():
    assert finite(np.array([200, 3], np.uint8)).dtype == np.float64
    found = finite(np.array([1, np.inf, -np.inf, np.nan], np.float32))
    assert np.isnan(found).tolist() == [False, True, True, True]


@pytest.mark.parametrize("wrong", [1j, True, "text", None])
def test_what_is_not_a_real_number_is_refused_by_its_name(wrong):
    with pytest.raises(WrongType, match=r"caller got a bias of type .* such as this"):
        require_real("caller", "this", response=[1.0], bias=[wrong])


def test_quiet_functions_may_call_one_another():
    @quiet
    def deeper(depth):
        return deeper(depth - 1) if depth else np.float64(1e308) * 10

    assert np.isinf(deeper(3))
