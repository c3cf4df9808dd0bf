"""Small specimens whose images say where they were read, and twins over them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.formats.catalog import twins_folder
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.effects.base import Effect
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.twin import Twin
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis
from tests.small import bias_axis, spatial

FIELD_M = 640e-9  # of every specimen here, along both sides
N = 65  # rows and columns of its images: a pixel is 10 nm
ALONG_M = np.linspace(0.0, FIELD_M, N)
MIDDLE = (FIELD_M / 2, FIELD_M / 2)
CHANNEL = Axis("energy", "keV", np.linspace(0.0, 10.0, 64), "Energy", "spectral")


def image(name: str, quantity: str, units: str, values: Any) -> StoredArray:
    """Return an image over the whole field, both axes ascending."""
    values = np.asarray(values)
    along = [np.linspace(0.0, FIELD_M, n) for n in values.shape]
    axes = spatial("y", "m", along[0]), spatial("x", "m", along[1])
    return StoredArray(name, quantity, units, values, axes)


def spectra(
    name: str, values: NDArray[Any], axis: Axis, units: str = "pm"
) -> StoredArray:
    """Return a spectrum at every pixel, (rows, columns, e), over the whole field."""
    along = [np.linspace(0.0, FIELD_M, n) for n in values.shape[:2]]
    axes = spatial("y", "m", along[0]), spatial("x", "m", along[1]), axis
    return StoredArray(name, name, units, values, axes)


def smooth(seed: int, pixels: float = 3.0, n: int = N) -> NDArray[np.float64]:
    """Return a smooth random surface of standard deviation 1, (n, n)."""
    white = np.random.default_rng(seed).normal(size=(n, n))
    f = np.fft.fftfreq(n)
    wave = np.hypot(*np.meshgrid(f, f))
    found = np.fft.ifft2(np.fft.fft2(white) * np.exp(-2 * (np.pi * pixels * wave) ** 2))
    return np.asarray((found.real - found.real.mean()) / found.real.std())


def counts(mean: float = 20.0, n: int = 12) -> list[StoredArray]:
    """Recorded counts: Poisson's, on a smooth spectrum, and their image."""
    line = mean * (1.0 + np.exp(-(((CHANNEL.values - 5.0) / 3.0) ** 2)))
    found = np.random.default_rng(8).poisson(np.tile(line, (n, n, 1)))
    eds = spectra("eds", found.astype("u2"), CHANNEL, "counts")
    bright = 1000.0 * (2.0 + smooth(1, 3.0, n)).clip(0.1)
    return [image("haadf", "HAADF", "counts", bright.astype("f4")), eds]


def ramps() -> list[StoredArray]:
    """Images that are x and y themselves: what they give is where they were read."""
    x, y = np.meshgrid(ALONG_M, ALONG_M)
    loops = np.repeat(x[::8, ::8, None], 12, axis=2)
    return [
        image("x", "X", "m", x),
        image("y", "Y", "m", y),
        spectra("loops", loops, bias_axis(), "m"),
    ]


def rough(seed: int = 5, height_m: float = 10e-9) -> list[StoredArray]:
    """A rough surface with a phase and a current that know nothing of it."""
    phase = np.where(smooth(seed + 1, 5.0) > 0, 90.0, -90.0)
    return [
        image("height", "Height", "m", height_m * smooth(seed)),
        image("phase", "PFM phase", "deg", phase),
        image("amplitude", "PFM amplitude", "pm", 20.0 + smooth(seed + 2)),
        spectra("loops", np.zeros((9, 9, 12)), bias_axis()),
    ]


def made(
    arrays: Sequence[StoredArray],
    *effects: Effect,
    kind: Kind = AFM,
    overhead_s: float | None = None,
    **options: Any,
) -> Twin:
    """Return a twin without noise but what `options` say."""
    if overhead_s is not None:
        kind = replace(kind, line_overhead_s=overhead_s)
    return Twin(make_sample(arrays), kind, name="made", effects=effects, **options)


def off_m(twin: Twin, points: Any, dwell_s: float = 1e-3) -> NDArray[np.float64]:
    """Return how far off the probe was at each point of a trace over ramps, (k, 2)."""
    points = np.asarray(points, np.float64)
    found = twin.trace(points, dwell_s=dwell_s).arrays
    return np.column_stack([found["x"], found["y"]]) - points


def frame_off_m(twin: Twin, **given: Any) -> NDArray[np.float64]:
    """Return the same of a frame over ramps, (rows, columns, 2)."""
    frame = twin.scan(**given)
    x, y = np.meshgrid(frame.axis("x").values, frame.axis("y").values)
    return np.stack([frame.arrays["x"] - x, frame.arrays["y"] - y], axis=2)


def catalogued(tmp_path: Path, limits: str, name: str = "stem_eels") -> Path:
    """Return a copy of a twin of the catalogue with other limits."""
    there = tmp_path / name
    shutil.copytree(twins_folder() / name, there)
    text = (there / "twin.toml").read_text("utf-8")
    (there / "twin.toml").write_text(text.replace("[limits]", f"[limits]\n{limits}"))
    return there
