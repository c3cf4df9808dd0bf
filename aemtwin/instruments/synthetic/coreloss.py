"""Core-loss EELS: ionization edges, their background, plural scattering, counts.

Pure functions beside `lowloss`, whose spectra `core_loss` takes for the plural
scattering, and `xrays`, the same elements by their X-rays. Energies are eV, densities
atoms a square metre; all work on any number of points at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.synthetic import xrays
from aemtwin.instruments.synthetic.lowloss import REST_EV, Beam, plural_scattering
from aemtwin.instruments.synthetic.xrays import channel_step, require_at_least

Array = NDArray[np.float64]

LEAST = 1e-12  # of what is to be above 0
STEEPEST = 60.0  # exponent of a background, either way: beyond, nothing was there


class WhiteLine(NamedTuple):
    """A peak at an edge: a Lorentzian."""

    position_ev: float
    width_ev: float  # full width at half maximum
    area_ev: float  # over the height of the edge


class Edge(NamedTuple):
    """An ionization edge of one atom."""

    onset_ev: float
    exponent: float  # s of the decay E^-s
    width_ev: float  # of the step, full, of its arctangent
    per_ev_m2: float  # cross-section a eV at the onset, into the spectrometer
    white_lines: tuple[WhiteLine, ...] = ()


_TABLE = """
C K: 284 4.0 0.8 9e-27
N K: 401 4.0 0.8 4e-27
Ti L: 456 3.5 0.6 6e-27; 457.5 1.5 8; 463.2 1.8 7
O K: 532 4.0 0.8 2e-27
Mn L: 640 3.5 0.8 2.2e-27; 641.5 1.6 12; 652.5 2.0 6
Fe L: 708 3.5 0.8 1.5e-27; 709.5 1.7 12; 722.5 2.2 5
Ni L: 855 3.5 0.8 9e-28; 856.5 1.8 8; 873.5 2.4 3.5
Cu L: 931 3.5 1.0 7e-28
Al K: 1560 4.0 0.8 1.2e-28
Si K: 1839 4.0 0.8 8e-29
"""


def _edge(text: str) -> Edge:
    own, *peaks = ([float(v) for v in part.split()] for part in text.split(";"))
    return Edge(own[0], own[1], own[2], own[3], tuple(WhiteLine(*p) for p in peaks))


EDGES: dict[str, Edge] = {
    name: _edge(text)
    for name, text in (row.split(": ") for row in _TABLE.strip().splitlines())
}
"""Edges by element and shell.

Source: onsets, L at its L3, of the EELS Atlas (Gatan, eels.info/atlas). The rest is
chosen: cross-sections by the dipole formula at 100 kV and 10 mrad, to a factor of two.
"""


def edge(
    loss_ev: ArrayLike,
    onset_ev: float,
    exponent: float,
    width_ev: float,
    white_lines: Sequence[WhiteLine] = (),
) -> Array:
    """Return the shape of an edge: a step of height 1 that decays, and its peaks.

    (1/2 + atan(2 (E - E0) / width) / pi) · max(E / E0, 1)^-s + Lorentzians, (e,).

    Args:
        loss_ev: Energy losses, (e,).
        onset_ev: E0, where the step is half up; above 0, or OutOfRange is raised.
        exponent: s of the decay.
        width_ev: Full width of the Lorentzian that the step integrates, above 0; the
            spectrometer's resolution comes with the low-loss spectrum, in `core_loss`.
        white_lines: Peaks at the edge.

    Source:
        The power law: Egerton (2011), "Electron Energy-Loss Spectroscopy in the
        Electron Microscope", 3rd ed., chapter 3. The arctangent: Richtmyer, Barnes and
        Ramberg (1934), Phys. Rev. 46, 843.

    >>> edge(np.array([284.0, 28400.0]), 284.0, 4.0, 1e-3).round(9).tolist()
    [0.5, 1e-08]
    """
    for name, value in (("onset_ev", onset_ev), ("width_ev", width_ev)):
        require_at_least("edge", name, value, LEAST)
    loss = np.asarray(loss_ev, np.float64)
    step = 0.5 + np.arctan(2.0 * (loss - onset_ev) / width_ev) / np.pi
    shape = step * np.maximum(loss / onset_ev, 1.0) ** -exponent
    for line in white_lines:
        shape += line.area_ev * xrays.lorentzian(loss, line.position_ev, line.width_ev)
    return np.asarray(shape)


def background(loss_ev: ArrayLike, amplitude: ArrayLike, exponent: ArrayLike) -> Array:
    """Return the background A E^-r.

    Args:
        loss_ev: Energy losses, (e,), above 0, or OutOfRange is raised.
        amplitude: A, (...,), counts a channel times eV^r, as (..., e) are returned.
        exponent: r, (...,), usually 2 to 6.

    Source:
        Egerton (2011), section 4.4, a power law over a limited range of loss.

    >>> background(np.array([10.0, 100.0]), 1e4, 2.0).round(9).tolist()
    [100.0, 1.0]
    """
    loss = require_at_least("background", "loss_ev", loss_ev, LEAST)
    a, r = np.asarray(amplitude, np.float64), np.asarray(exponent, np.float64)
    return np.asarray(a[..., None] * np.exp(-r[..., None] * np.log(loss)))


def plural_low_loss(zero_loss: Array, single: Array, thickness: ArrayLike) -> Array:
    """Return normalised low-loss spectra for `core_loss`, one for each thickness.

    Args:
        zero_loss: Zero-loss peak, (l,), of loss 0 on, negative energies at the end.
        single: Shape of a single loss, (l,), of loss 0 on, any scale.
        thickness: Over the mean free path, (...,); (..., l), of sum 1, are returned.

    >>> plural_low_loss(np.eye(8)[0], np.eye(8)[1], 0.0).tolist()[:2]
    [1.0, 0.0]
    """
    ratio = require_at_least("plural_low_loss", "thickness", thickness, 0.0)
    shape = require_at_least("plural_low_loss", "single", single, 0.0)
    zero = np.asarray(zero_loss, np.float64)
    mean = ratio[..., None] * (shape / shape.sum())
    return plural_scattering(zero / zero.sum(), mean)


def core_loss(
    loss_ev: ArrayLike,
    areal_density: ArrayLike,
    edges: Sequence[Edge],
    *,
    electrons: float = 1.0,
    low_loss: ArrayLike | None = None,
    background: ArrayLike = 0.0,
) -> Array:
    """Return expected counts of the edges of a specimen, with plural scattering.

    An electron that ionized an atom has also lost what the low-loss spectrum says: the
    edges are convolved with it, linearly. Its zero-loss peak is the resolution.

    Args:
        loss_ev: Middles of the channels, evenly spaced, (e,).
        areal_density: Atoms of each element a square metre, (..., n).
        edges: Of each element, (n,).
        electrons: That enter the spectrometer, at each point.
        low_loss: On channels of the same width, from loss 0 on, its last quarter the
            negative energies, (l,) or (..., l); divided by its sum. None for single
            scattering and perfect resolution.
        background: Counts a channel as seen, (..., e), like what is returned.

    Raises:
        ShapeMismatch: If the axes do not fit; OutOfRange: for a negative density.

    Source:
        Egerton (2011), section 4.3, the Fourier ratio method, read backwards.

    >>> flat = Edge(284.0, 0.0, 1e-9, 1e-26)
    >>> core_loss(np.array([282.0, 290.0]), [[1e20]], [flat], electrons=1e10).round(0)
    array([[    0., 80000.]])
    """
    loss = np.asarray(loss_ev, np.float64)
    step = channel_step("core_loss", "loss_ev", loss)
    density = require_at_least("core_loss", "areal_density", areal_density, 0.0)
    if density.ndim == 0 or density.shape[-1] != len(edges):
        raise ShapeMismatch(
            f"core_loss got areal_density of shape {density.shape}; it ends in an axis "
            f"as long as edges, {len(edges)}. Give one density for each."
        )
    density, ground = electrons * step * density, np.asarray(background, np.float64)
    if low_loss is None:
        return np.asarray(density @ _shapes(loss, edges) + ground)
    low = np.asarray(low_loss, np.float64)
    length, lead = low.shape[-1], low.shape[-1] // 4
    low = np.roll(low / low.sum(axis=-1, keepdims=True), lead, axis=-1)
    wide = loss[0] + step * np.arange(lead + 1 - length, len(loss) + lead)
    shapes = _shapes(wide, edges)  # (n, e + l - 1)
    if low.ndim == 1:
        seen = np.array([np.convolve(row, low, "valid") for row in shapes])
        return np.asarray(density @ seen + ground)
    size = 1 << (len(wide) - 1).bit_length()
    product = (density @ np.fft.rfft(shapes, size)) * np.fft.rfft(low, size)
    return np.asarray(np.fft.irfft(product, size)[..., length - 1 : len(wide)] + ground)


def _shapes(loss: Array, edges: Sequence[Edge]) -> Array:
    """Return cross-sections, m^2 / eV, (n, e)."""
    return np.array([e.per_ev_m2 * edge(loss, *e[:3], e.white_lines) for e in edges])


def collected(beam: Beam, loss_ev: ArrayLike) -> Array:
    """Return which share of the electrons of a loss the spectrometer collects.

    Scattering falls as 1 / (theta^2 + theta_E^2) up to the Bethe ridge near
    sqrt(2 theta_E), and ends there. Losses have any shape, above 0.

    Source:
        Egerton (2011), chapter 3, the dipole's Lorentzian angular distribution.

    >>> collected(Beam(1e5, 0.010), [284.0, 1560.0]).round(2).tolist()
    [0.52, 0.16]
    """
    loss = require_at_least("collected", "loss_ev", loss_ev, LEAST)
    theta = loss / (beam.gamma * REST_EV * beam.speed**2)
    return np.asarray(np.minimum(beam.logarithm(loss) / np.log1p(2.0 / theta), 1.0))


def fit_background(
    loss_ev: ArrayLike,
    spectra: ArrayLike,
    window_ev: tuple[float, float],
    *,
    rounds: int = 4,
) -> tuple[Array, Array]:
    """Fit A E^-r to counts before an edge: a straight line of logarithms, weighted.

    In further rounds the fit gives the weights, which ends at the most likely line of
    Poisson's law, where few counts bias nothing.

    Args:
        loss_ev: Energy losses, (e,), above 0.
        spectra: Counts, (..., e).
        window_ev: From which loss to which it is fitted, both inside.
        rounds: After the first fit; 0 for the fit of logarithms alone.

    Returns:
        Amplitude A and exponent r, (...,) each; 0 and 0 where nothing was counted.

    Raises:
        ShapeMismatch: If `spectra` does not end in an axis as long as `loss_ev`.
        OutOfRange: If fewer than 3 channels lie in the window.

    Source:
        Egerton (2011), section 4.4.1, least squares of logarithms; McCullagh and
        Nelder (1989), "Generalized Linear Models", 2nd ed., section 2.5, the rounds.

    >>> loss = np.arange(200.0, 300.0)
    >>> a, r = fit_background(loss, background(loss, 1e9, 3.0), (200.0, 270.0))
    >>> round(float(a) / 1e9, 9), round(float(r), 9)
    (1.0, 3.0)
    """
    loss, counts = np.asarray(loss_ev, np.float64), np.asarray(spectra, np.float64)
    inside = _window("fit_background", loss, counts, window_ev, 3)
    x = np.log(loss[inside])
    middle = x.mean()
    x = x - middle
    y = counts[..., inside]
    some = y > 0
    slope, height = _line(x, np.log(np.where(some, y, 1.0)), np.where(some, y, 0.0))
    for _ in range(rounds):
        line = height[..., None] + slope[..., None] * x
        fitted = np.exp(np.clip(line, -300.0, 300.0))
        slope, height = _line(x, line + np.clip(y / fitted - 1.0, -1e3, 1e3), fitted)
    empty = y.sum(axis=-1) <= 0
    amplitude = np.exp(np.clip(height - slope * middle, -700.0, 700.0))
    return np.where(empty, 0.0, amplitude), np.where(empty, 0.0, -slope)


def _line(x: Array, z: Array, weight: Array) -> tuple[Array, Array]:
    """Return slope and height at 0 of the lines through z (..., e), by weight."""
    whole = weight.sum(axis=-1)
    safe = np.where(whole > 0, whole, 1.0)
    mean_x, mean_z = (weight @ x) / safe, (weight * z).sum(axis=-1) / safe
    spread = weight @ x**2 - whole * mean_x**2
    tilt = (weight * z) @ x - whole * mean_x * mean_z
    wide = spread > 1e-9 * safe * float(x[-1] - x[0]) ** 2
    slope = np.where(wide, tilt / np.where(wide, spread, 1.0), 0.0)
    slope = np.clip(slope, -STEEPEST, STEEPEST)
    return slope, mean_z - slope * mean_x


def elemental_counts(
    loss_ev: ArrayLike,
    spectra: ArrayLike,
    fit_window_ev: tuple[float, float],
    edge_window_ev: tuple[float, float],
) -> Array:
    """Return the counts of an edge above the background that is fitted before it.

    Divided by `partial_cross_section` and the low-loss counts up to the same loss,
    they are atoms a square metre. Arguments and errors as `fit_background`; counts are
    summed in `edge_window_ev`, (...,), and noise makes some negative.

    Source:
        Egerton (2011), section 4.5.1, the integration method.

    >>> loss = np.arange(200.0, 400.0)
    >>> seen = background(loss, 1e9, 3.0) + 5.0 * (loss > 284)
    >>> round(float(elemental_counts(loss, seen, (200, 280), (285, 334))), 6)
    250.0
    """
    loss, counts = np.asarray(loss_ev, np.float64), np.asarray(spectra, np.float64)
    inside = _window("elemental_counts", loss, counts, edge_window_ev, 1)
    ground = background(loss[inside], *fit_background(loss, counts, fit_window_ev))
    return np.asarray(counts[..., inside].sum(axis=-1) - ground.sum(axis=-1))


def partial_cross_section(
    loss_ev: ArrayLike, edge: Edge, window_ev: tuple[float, float]
) -> float:
    """Return the cross-section of an edge for the channels in a window, m^2.

    >>> flat = Edge(284.0, 0.0, 1e-9, 1e-26)
    >>> round(partial_cross_section(np.arange(280.0, 400.0), flat, (290, 339)), 29)
    5e-25
    """
    call, loss = "partial_cross_section", np.asarray(loss_ev, np.float64)
    inside = _window(call, loss, loss, window_ev, 1)
    return channel_step(call, "loss_ev", loss) * float(
        _shapes(loss[inside], [edge]).sum()
    )


def _window(
    call: str, loss: Array, counts: Array, window: tuple[float, float], least: int
) -> NDArray[np.bool_]:
    if loss.ndim != 1 or counts.ndim == 0 or counts.shape[-1] != len(loss):
        raise ShapeMismatch(
            f"{call} got spectra of shape {counts.shape} on losses of shape "
            f"{loss.shape}; they are (..., e) and (e,)."
        )
    inside = (loss >= window[0]) & (loss <= window[1]) & (loss > 0)
    if inside.sum() < least:
        raise OutOfRange(
            f"{call} got the window {window} eV, which holds {inside.sum()} channels; "
            f"at least {least} are needed, of {loss[0]:g} to {loss[-1]:g} eV."
        )
    return np.asarray(inside)
