"""How much of a volume is found, measurement by measurement."""

import numpy as np
import pytest

from aemtwin.fronts import hypervolume, pareto, reference_of, volumes


@pytest.mark.parametrize("p", [2, 3])
def test_volumes_grow_as_the_hypervolume_of_all_so_far(p):
    y = np.random.default_rng(p).normal(size=(30, p))
    y[[3, 17]] = np.nan
    at = reference_of(y[np.isfinite(y).all(axis=1)]) - 1.0
    found = volumes(y, at)
    for k in range(30):
        known = y[: k + 1][np.isfinite(y[: k + 1]).all(axis=1)]
        assert found[k] == pytest.approx(hypervolume(known, at))
    assert (np.diff(found) >= 0).all()
    assert pareto(y[np.isfinite(y).all(axis=1)]).sum() < 28
    assert volumes(y[:0], at).shape == (0,)
