"""Focus, domains and damage, as a twin shows them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from aemtwin.errors import BadFile, OperationStopped, OutOfRange, UnknownName
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.effects.motion import Drift
from aemtwin.instruments.effects.seeing import Damage, Optics, Writing
from aemtwin.instruments.kinds import ELECTRON_C
from aemtwin.instruments.stem import STEM
from aemtwin.specs import Axis
from tests.instruments.effects.making import FIELD_M, MIDDLE, N, image, made, spectra

ENERGY = Axis("energy_loss", "eV", np.linspace(0.0, 20.0, 9), "Energy loss", "spectral")
DEFOCUS_M = 1.2e-6  # at 25 mrad: a disk of 30 nm radius, 3 pixels


def edge():
    """A sharp step along x in an image, and in which of two spectra there is."""
    right = np.tile(np.arange(N) >= 32, (N, 1)).astype(float)
    one, other = np.eye(9)[2], np.eye(9)[6]
    mixed = right[..., None] * other + (1 - right[..., None]) * one
    return [
        image("haadf", "HAADF", "counts", right),
        spectra("eels", mixed, ENERGY, "counts"),
    ]


def dots():
    values = np.zeros((N, N))
    values[20:45:6, 20:45:8] = 1000.0
    return [image("haadf", "HAADF", "counts", values)]


def test_defocus_blurs_an_image_and_the_origin_of_a_spectrum_alike():
    twin = made(edge(), Optics(defocus_m=DEFOCUS_M, source_m=0.0), kind=STEM)
    frame = twin.scan()
    mixtures = []
    for column in range(26, 39):
        twin.move_to((column * 1e-8, MIDDLE[1]))
        spectrum = twin.measure().values
        assert spectrum.sum() == pytest.approx(1.0, abs=1e-9)
        mixtures.append((frame.values[32, column], spectrum[6]))
    seen, read = np.array(mixtures).T
    assert 0.05 < seen[4] < 0.45 < seen[6] < 0.95
    assert read == pytest.approx(seen, abs=0.08)  # of nodes that are 8 nm apart


def test_focus_is_best_where_the_setting_cancels_what_is_not_told():
    twin = made(dots(), Optics(defocus_m=4e-7, source_m=0.0), kind=STEM)
    sharpness = {}
    for nm in (-800, -600, -400, -200, 0, 200):
        twin.configure(defocus_m=nm * 1e-9)
        sharpness[nm] = float(np.var(twin.scan().values))
    assert max(sharpness, key=sharpness.get) == -400
    assert sharpness[-200] == pytest.approx(sharpness[-600], rel=1e-6)  # no C30


def test_blur_keeps_all_counts():
    twin = made(dots(), Optics(defocus_m=DEFOCUS_M), kind=STEM)
    sharp = made(dots(), kind=STEM).scan().values
    blurred = twin.scan().values
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=1e-6)
    assert blurred.max() < 0.2 * sharp.max()


def test_lenses_are_settings_only_where_there_are_some():
    twin = made(dots(), Optics(), kind=STEM)
    assert "defocus_m" in {p.name for p in twin.describe().settings}
    assert twin.configure(defocus_m=1e-7)["defocus_m"] == 1e-7
    for without in (made(dots(), kind=STEM), made(dots(), Optics(), ideal=True)):
        with pytest.raises(UnknownName, match="defocus_m"):
            without.configure(defocus_m=1e-7)


POLED = np.tile(np.repeat([90.0, -90.0], [48, N - 48]), (N, 1))
PFM = (
    image("height", "Height", "m", np.zeros((N, N))),
    image("phase", "PFM phase", "deg", POLED),
    image("amplitude", "PFM amplitude", "pm", np.full((N, N), 30.0)),
)
SMALL = {"metres_per_volt": 3e-9, "wall_m": 5e-9}  # 83 nm


def near(x, y, radius):
    grid = np.linspace(0.0, FIELD_M, N)
    return np.hypot(*np.meshgrid(grid - x, grid - y)) < radius


def test_a_pulse_writes_a_domain_that_the_next_frame_shows():
    twin = made(PFM, Writing(**SMALL))
    before = twin.scan().arrays
    twin.move_to((200e-9, 320e-9))  # where the polarity is positive
    twin.pulse("bias", dwell_s=0.5, bias_v=-10.0)
    after = twin.scan().arrays
    radius = 3e-9 * (10 - 3) * np.log1p(0.5 / 0.01)
    assert set(np.unique(after["phase"])) == {-90.0, 90.0}
    turned = after["phase"] != before["phase"]
    assert (turned == near(200e-9, 320e-9, radius)).mean() > 0.995
    ring = near(200e-9, 320e-9, radius + 4e-9) & ~near(200e-9, 320e-9, radius - 4e-9)
    assert after["amplitude"][ring].max() < 25.0  # it dips at the wall
    assert after["amplitude"][ring].min() < 10.0
    assert after["amplitude"][near(200e-9, 320e-9, radius - 25e-9)].min() > 29.0
    assert after["amplitude"][~near(200e-9, 320e-9, radius + 25e-9)].min() > 29.0
    np.testing.assert_array_equal(after["height"], before["height"])


def test_opposite_biases_write_over_each_other():
    twin = made(PFM, Writing(**SMALL))
    twin.move_to((200e-9, 320e-9))
    frames = [twin.scan().arrays["phase"]]
    for bias in (10.0, -10.0, 10.0):
        twin.move_to((200e-9, 320e-9))
        twin.pulse("bias", bias_v=bias)
        frames.append(twin.scan().arrays["phase"])
    start, positive, negative, again = frames
    np.testing.assert_array_equal(positive, start)  # that is what was there
    assert (negative != start).any()
    np.testing.assert_array_equal(again, start)


def test_below_its_threshold_a_pulse_writes_nothing():
    twin = made(PFM, Writing(threshold_v=4.0))
    stage = twin._probe._stage
    clean, before = stage.digest(), twin.scan().arrays
    for bias in (4.0, -4.0, 0.0):
        twin.pulse("bias", bias_v=bias)
    assert stage.digest() == clean
    for name, values in twin.scan().arrays.items():
        np.testing.assert_array_equal(values, before[name])


def test_a_domain_is_where_the_probe_truly_was():
    drifting = made(PFM, Drift((1e-9, 0.0)), Writing(**SMALL))
    drifting.move_to((100e-9, 320e-9))
    drifting.pulse("bias", dwell_s=200.0, bias_v=10.0)
    (domain,) = drifting._probe._stage.effects[1]._domains
    middle_s = drifting.state().time_s - 100.0
    assert domain[0] == pytest.approx(100e-9 + 1e-9 * middle_s, rel=1e-9)
    assert domain[1] == pytest.approx(320e-9)


def test_a_pulse_that_was_stopped_has_written_less():
    twin = made(PFM, Writing(**SMALL), real_time=True)

    def pulse():
        with pytest.raises(OperationStopped):
            twin.pulse("bias", dwell_s=60.0, bias_v=10.0)

    thread = threading.Thread(target=pulse)
    thread.start()
    while not twin.state().busy:
        time.sleep(0.001)
    time.sleep(0.05)
    twin.stop()
    thread.join(timeout=10)
    gone = twin.state().time_s
    assert gone < 60.0
    (domain,) = twin._probe._stage.effects[0]._domains
    assert domain[2] == pytest.approx(3e-9 * 7 * np.log1p(gone / 0.01), rel=1e-6)


def test_a_pulse_keeps_to_its_limits_and_is_there_only_with_the_effect():
    twin = made(PFM, Writing(most_v=12.0))
    assert [p.name for p in twin.describe().pulses] == ["bias"]
    before = twin.state_hash()
    with pytest.raises(OutOfRange, match="12"):
        twin.pulse("bias", bias_v=13.0)
    assert twin.state_hash() == before
    assert made(PFM, Writing(), ideal=True).describe().pulses == AFM.pulses
    short = replace(AFM, limits=replace(AFM.limits, dwell_s=(1e-3, 0.2)))
    (pulse,) = made(PFM, Writing(), kind=short).describe().pulses
    dwell = pulse.dwell_s
    assert (dwell.low, dwell.default, dwell.high) == (1e-3, 0.2, 0.2)
    with pytest.raises(BadFile, match="most_v"):
        Writing(bias_v=30.0)


def beam(critical, **options):
    bright = np.full((9, 9, 9), 100.0)
    arrays = [
        image("haadf", "HAADF", "a.u.", np.full((N, N), 50.0)),
        spectra("eels", bright, ENERGY, "a.u."),
    ]
    about = {"haadf": critical, "eels": critical}
    return made(arrays, Damage(about, **options), kind=STEM)


def test_signals_fade_with_the_dose_that_a_spot_has_had():
    per_s = 50e-12 / ELECTRON_C  # electrons
    cell_m2 = (FIELD_M / 256) ** 2
    twin = beam(4.0 * per_s / cell_m2)
    x = 1.0 / 4.0  # of the critical dose in each second
    for n in range(5):
        want = 100.0 * np.exp(-n * x) * -np.expm1(-x) / x
        assert twin.measure(dwell_s=1.0).values == pytest.approx(want, rel=1e-9)
    twin.pulse("exposure", dwell_s=3.0)  # exposures add up, whatever they are
    want = 100.0 * np.exp(-8 * x) * -np.expm1(-x) / x
    assert twin.measure(dwell_s=1.0).values == pytest.approx(want, rel=1e-9)
    twin.move_to((1e-7, 1e-7))  # nobody was here
    want = 100.0 * -np.expm1(-x) / x
    assert twin.measure(dwell_s=1.0).values == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("shape", [(33, 33), (65, 65), (150, 150)])
def test_frames_fade_by_dose_per_area_however_fine_their_raster_is(shape):
    region = ((100e-9, 500e-9), (100e-9, 500e-9))
    dose_per_m2 = 5e19
    pixel_m2 = (400e-9 / (shape[0] - 1)) ** 2
    dwell = dose_per_m2 * pixel_m2 * ELECTRON_C / 50e-12
    twin = beam(1e20)
    x = dose_per_m2 / 1e20
    for n in range(3):
        frame = twin.scan(region, shape, dwell_s=dwell).arrays["haadf"]
        want = 50.0 * np.exp(-n * x) * -np.expm1(-x) / x
        inner = frame[2:-2, 2:-2]
        assert inner == pytest.approx(want, rel=1e-9)
    after = twin.scan(dwell_s=1e-8).arrays["haadf"]
    assert after[32, 32] == pytest.approx(50.0 * np.exp(-3 * x), rel=1e-3)
    assert after[:8].min() == pytest.approx(50.0, rel=1e-3)  # not exposed
    told = twin.dose_map((64, 64))
    assert told[32, 32] == pytest.approx(3 * dose_per_m2, rel=0.07)
    assert told[2, 2] < 1e-3 * dose_per_m2


def test_only_a_share_and_a_band_of_a_spectrum_may_fade():
    twin = beam(1e10, share=0.5, low=5.0, high=12.0)
    twin.pulse("exposure", dwell_s=10.0)
    found = twin.measure().values
    fades = (ENERGY.values >= 5.0) & (ENERGY.values <= 12.0)
    assert found[fades] == pytest.approx(50.0)
    assert found[~fades] == pytest.approx(100.0)


def test_damage_is_where_the_probe_truly_was():
    arrays = [
        image("haadf", "HAADF", "a.u.", np.full((N, N), 50.0)),
        spectra("eels", np.full((9, 9, 9), 100.0), ENERGY, "a.u."),
    ]
    twin = made(arrays, Drift((1e-9, 0.0)), Damage({"haadf": 1e20}), kind=STEM)
    twin.pulse("exposure", dwell_s=200.0)  # in the middle at 100 nm from there
    twin._probe._stage.effects[0].velocity_m_s = (0.0, 0.0)
    frame = twin.scan(dwell_s=1e-8).arrays["haadf"]
    assert np.argwhere(frame < 25.0).tolist() == [[32, 42]]
