"""A beam: counts are Poisson's, dose is electrons, and an exposure is remembered."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import aemtwin
from aemtwin.errors import BadFile, NotSupported, OperationStopped
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.stem import STEM
from aemtwin.instruments.twin import Twin
from tests.small import small_arrays

E = 1.602176634e-19


def beam(**options) -> Twin:
    return aemtwin.open_twin("stem_eels", **options)


def test_counts_have_a_fano_factor_of_one():
    twin = beam(seed=3)
    twin.move_to((60e-9, 80e-9))
    want = twin.truth(points=[(60e-9, 80e-9)]).values[0].astype(float)
    found = np.array([twin.measure().values for _ in range(400)], float)
    bright = want > 30
    fano = found.var(axis=0, ddof=1)[bright] / want[bright]
    assert fano.mean() == pytest.approx(1.0, abs=0.02)
    assert (found.mean(axis=0) / want)[bright].mean() == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize(("dwell", "current"), [(1e-3, 2e-10), (4e-3, 2e-11)])
def test_the_mean_is_in_proportion_to_current_and_dwell(dwell, current):
    twin = beam(seed=3)
    usual = twin.truth().values.astype(float).sum()
    twin.configure(current_A=current)
    total = sum(
        twin.trace(np.tile([60e-9, 80e-9], (500, 1)), dwell_s=dwell * 0.02).values,
        start=0.0,
    )
    pixel = float(beam(ideal=True).trace([(60e-9, 80e-9)]).values[0])
    want = 500 * pixel * (dwell / 1e-3) * (current / 50e-12)
    assert total == pytest.approx(want, abs=6 * np.sqrt(want))
    scaled = twin.truth(dwell_s=dwell).values.astype(float).sum()
    assert scaled / usual == pytest.approx(dwell / 1e-3 * current / 50e-12, rel=1e-6)


def test_signal_to_noise_of_frames_grows_with_the_root_of_the_dwell():
    twin = beam(seed=1)
    dwells = 2e-5 * np.array([0.25, 1, 4, 16])
    ratio = []
    for dwell in dwells:
        one, other = (twin.scan(dwell_s=dwell).values.astype(float) for _ in range(2))
        ratio.append(one.mean() / (one - other).std())
    slope = np.polyfit(np.log(dwells), np.log(ratio), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.02)


def test_an_ideal_beam_gives_what_is_stored_and_scales_it():
    twin = beam(ideal=True)
    frame, again = twin.scan(), twin.scan()
    truth = twin.truth()
    assert frame.values.tobytes() == again.values.tobytes()
    twin.move_to(truth.actual[0])
    assert twin.measure().values.tobytes() == truth.values[0].tobytes()
    half = twin.measure(dwell_s=0.5e-3).values
    np.testing.assert_allclose(half, truth.values[0] / 2, rtol=1e-6)
    twin.configure(current_A=100e-12)
    np.testing.assert_allclose(twin.scan().values, 2 * frame.values, rtol=1e-6)


def test_read_out_may_be_added_to_counts_and_does_not_shrink_with_time():
    twin = beam(noise={"eels": 7.0})
    point = twin.state().position
    for dwell in (1e-7, 1e-3):
        expected = twin.truth(points=[point], dwell_s=dwell).values[0]
        found = np.array([twin.measure(dwell_s=dwell).values for _ in range(200)])
        dark = expected < 1.0
        dark[3:] = False  # channels before the zero loss
        assert found[:, dark].std() == pytest.approx(7.0, rel=0.15)


def test_dose_is_electrons_at_the_current_that_is_set(tmp_path):
    twin = beam(ledger=tmp_path / "ledger.sqlite")
    twin.measure(dwell_s=1e-3)
    twin.configure(current_A=1e-9)
    twin.pulse(dwell_s=0.5)
    twin.configure(current_A=10e-12)
    twin.scan(shape=(4, 4), dwell_s=1e-5)
    doses = [e["dose"] for e in twin.events() if "dose" in e]
    want = [50e-12 * 1e-3 / E, 1e-9 * 0.5 / E, 16 * 10e-12 * 1e-5 / E]
    assert doses == pytest.approx(want, rel=1e-12)
    assert twin.state().dose == sum(doses)
    twin.close()
    again = beam(ledger=tmp_path / "ledger.sqlite")
    assert again.state().dose == twin.state().dose
    assert again.events() == twin.events()
    assert again.state().settings["current_A"] == 10e-12
    np.testing.assert_array_equal(again.dose_map(), twin.dose_map())
    again.close()


def test_an_exposure_that_was_stopped_has_given_its_share(tmp_path):
    path = tmp_path / "ledger.sqlite"
    sample = make_sample(small_arrays())
    twin = Twin(sample, STEM, name="beam", real_time=True, ledger=path)
    twin.move_to((100e-9, 200e-9))
    failures = []

    def expose() -> None:
        try:
            twin.pulse(dwell_s=30.0, rid="r/1/pulse")
        except OperationStopped as error:
            failures.append(error)

    thread = threading.Thread(target=expose)
    thread.start()
    while twin.state().busy != "r/1/pulse":
        time.sleep(0.001)
    time.sleep(0.05)
    twin.stop()
    thread.join(timeout=10)
    assert len(failures) == 1
    event = twin.events()[-1]
    gone = event["end_s"] - event["begin_s"]
    assert 0.0 < gone < 20.0
    assert event["dose"] == pytest.approx(50e-12 * gone / E, rel=1e-9)
    assert event["actual"] == [100e-9, 200e-9]
    cell = 400e-9 * 1000e-9 / 30
    assert twin.dose_map().sum() * cell == pytest.approx(event["dose"])
    twin.close()
    again = Twin(make_sample(small_arrays()), STEM, name="beam", ledger=path)
    assert again.state().dose == twin.state().dose
    assert again.events() == twin.events()
    again.close()


def test_a_recording_that_nobody_called_counts_keeps_its_gaussian_noise():
    twin = Twin(make_sample(small_arrays()), STEM, name="beam", noise={"lockin": 0.02})
    assert not any(mode.counts for mode in twin.describe().modes)
    truth = twin.truth("lockin", [twin.state().position]).values[0]
    for dwell, sd in ((0.1, 0.02), (0.4, 0.01)):
        found = [twin.measure("lockin", dwell).values - truth for _ in range(300)]
        assert np.std(found) == pytest.approx(sd, rel=0.05)
    twin.configure(current_A=1e-9)
    again = twin.truth("lockin", [twin.state().position], dwell_s=3.0).values[0]
    np.testing.assert_array_equal(again, truth)


def test_an_afm_has_no_pulse(twin):
    with pytest.raises(NotSupported, match="small has no pulse"):
        twin.pulse("exposure")
    with pytest.raises(NotSupported, match="small has no pulse"):
        twin.duration({"call": "pulse"})
    assert twin.events() == []


def test_a_twin_states_its_usual_current(tmp_path):
    import shutil

    folder = shutil.copytree(
        aemtwin.formats.catalog.find_twin("stem_eels").folder, tmp_path / "mine"
    )
    toml = folder / "twin.toml"
    text = toml.read_text("utf-8")
    toml.write_text(text.replace("current_A = 50e-12", "current_A = 80e-12"), "utf-8")
    twin = aemtwin.open_twin(folder, ideal=True)
    assert twin.state().settings["current_A"] == 80e-12
    there = beam(ideal=True)
    assert twin.scan().values.tobytes() == there.scan().values.tobytes()
    assert twin.state().dose == pytest.approx(1.6 * there.state().dose)
    toml.write_text(text.replace("current_A = 50e-12", "current_A = 2.0"), "utf-8")
    with pytest.raises(BadFile, match=r"current_A = 2; allowed is 1e-13 to 1e-08 A"):
        aemtwin.open_twin(folder)
