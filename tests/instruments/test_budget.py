"""How much dose a specimen may get, as a twin holds to it."""

from __future__ import annotations

import pytest

import aemtwin
from aemtwin.errors import DoseRefused
from tests.instruments.effects.making import catalogued


def test_a_budget_of_dose_refuses_before_anything_changes(tmp_path):
    twin = aemtwin.open_twin(catalogued(tmp_path, "dose = 1e7"), effects="none")
    twin.measure()  # 50 pA for a millisecond: 3.1e5 electrons
    before, events = twin.state_hash(), twin.events()
    for refused in (
        lambda: twin.measure(dwell_s=0.1),
        lambda: twin.pulse(dwell_s=0.1),
        lambda: twin.trace([(0.0, 0.0)] * 40, dwell_s=1e-3),
        lambda: twin.scan(),
    ):
        with pytest.raises(DoseRefused, match="1e\\+07"):
            refused()
        assert twin.state_hash() == before
    assert twin.events() == events
    allowed = twin.measure(dwell_s=3e-2)
    assert allowed.rid == "server/1/plain-measure"  # as if nobody had asked
    assert twin.state().dose < 1e7


def test_a_budget_of_dose_per_area_is_of_each_place(tmp_path):
    cell_m2 = (1.4e-7 / 256) ** 2
    each = 50e-12 / 1.602176634e-19 * 1e-3 / cell_m2  # of a measurement
    path = catalogued(tmp_path, f"dose_per_m2 = {2.5 * each:.6e}")
    twin = aemtwin.open_twin(path, effects="none")
    for _ in range(2):
        twin.measure()
    before = twin.state_hash()
    with pytest.raises(DoseRefused, match="to a place"):
        twin.measure()
    assert twin.state_hash() == before
    twin.move_to((2e-8, 3e-8))  # elsewhere it has its own
    for _ in range(2):
        twin.measure()
    with pytest.raises(DoseRefused):
        twin.measure()
    twin.reset()
    twin.measure()
