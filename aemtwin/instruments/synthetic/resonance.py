"""The contact resonance of a cantilever: a simple harmonic oscillator, driven or warm.

Pure functions, vectorised over points: the response to a drive, what heat adds to it,
how contact moves it, and `fit_response` to read it back. `aemtwin.instruments.modes`
makes modes of band excitation of them. Where no source is named, it is derived here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.checks import whole
from aemtwin.instruments.synthetic.junctions import BOLTZMANN_J_K, axis, reals

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

BLOCK = 1 << 16  # numbers that `fit_response` works on at a time: they stay in cache


class Oscillator(NamedTuple):
    """What `fit_response` reads, in the order in which `response` takes it."""

    amplitude: Array  # (...), far below resonance, in the unit of the response
    frequency0_hz: Array  # (...), of the undamped resonance
    quality: Array  # (...)
    phase_rad: Array  # (...), far below resonance, -pi to pi


def response(
    frequency_hz: ArrayLike,
    amplitude: ArrayLike,
    frequency0_hz: ArrayLike,
    quality: ArrayLike,
    phase_rad: ArrayLike = 0.0,
) -> Complex:
    """Return the complex response of an oscillator to a drive.

    H(f) = A e^{iφ} f0² / (f0² - f² + i f f0 / Q), for a drive exp(+iωt): far below
    resonance it is A e^{iφ}, at resonance A Q with the phase a quarter turn behind, and
    the phase falls by half a turn from one end to the other. For a drive exp(-iωt) take
    the conjugate. Fitters that write the denominator as f² - f0² - i f f0 / Q, BGlib's
    among them, have the same H with half a turn more in φ.

    Args:
        frequency_hz: Of the drive, (f,).
        amplitude: A, far below resonance, (...), in any unit; where the amplitude at
            resonance is given instead, it is A Q.
        frequency0_hz: f0, (...), above 0.
        quality: Q, (...), above 0.
        phase_rad: φ, (...).

    Returns:
        (..., f), in the unit of `amplitude`.

    Raises:
        OutOfRange: If a resonance or a quality is not above 0, or no finite number.
        ShapeMismatch: If `frequency_hz` has not one axis.

    Source:
        Jesse, Kalinin, Proksch, Baddorf and Rodriguez (2007), Nanotechnology 18,
        435503: the oscillator that band excitation is fitted with.

    >>> complex(np.round(response([100.0], 1.0, 100.0, 50.0)[0], 9))
    -50j
    """
    call = "response"
    f = axis(call, "frequency_hz", frequency_hz, "Hz")
    f0 = reals(call, "frequency0_hz", frequency0_hz, "Hz", above=0)
    q = reals(call, "quality", quality, "no unit", above=0)
    size = reals(call, "amplitude", amplitude, "any unit")
    phase = reals(call, "phase_rad", phase_rad, "rad")
    square = f0**2
    strength = size * square * np.exp(1j * phase)
    return np.asarray(strength[..., None] / _below(f, square, f0 / q))


def band(centre_hz: float, width_hz: float, bins: int) -> Array:
    """Return the frequencies of a band, (bins,), both ends included.

    Args:
        centre_hz: Its middle, above 0.
        width_hz: From the first bin to the last, above 0 and below twice the centre.
        bins: 2 or more, width / (bins - 1) apart.

    >>> band(100.0, 20.0, 3).tolist()
    [90.0, 100.0, 110.0]
    """
    count = whole("band", "bins", bins, 2, 1 << 24)
    if not (0 < centre_hz < math.inf and 0 < width_hz < 2 * centre_hz):
        raise OutOfRange(
            f"band got a centre of {centre_hz:g} Hz and a width of {width_hz:g} Hz; "
            "both are above 0 and no frequency below it. Narrow the band."
        )
    return np.linspace(centre_hz - width_hz / 2, centre_hz + width_hz / 2, count)


def contact_frequency(free_hz: ArrayLike, stiffness_ratio: ArrayLike) -> Array:
    """Return the resonance of a cantilever whose tip touches: free · sqrt(1 + ratio).

    A mass on two springs, that of the lever and that of the contact. It neglects that a
    lever is a beam: a beam in contact bends otherwise than a free one, and its first
    mode cannot rise above 4.385 times the free frequency, however stiff the contact
    (clamped at one end, pinned at the other). Against a beam with the tip at its end,
    this is too high by 1.5 % at a ratio of 1, 5 % at 3, 16 % at 10 and 2.4 times at
    100.

    Args:
        free_hz: Resonance in air, (...), above 0.
        stiffness_ratio: Contact stiffness over the lever's spring constant, (...), 0 or
            more.

    Source:
        Rabe, Janser and Arnold (1996), Rev. Sci. Instrum. 67, 3281: the beam that this
        leaves out.

    >>> float(contact_frequency(75e3, 3.0))
    150000.0
    """
    call = "contact_frequency"
    free = reals(call, "free_hz", free_hz, "Hz", above=0)
    ratio = reals(call, "stiffness_ratio", stiffness_ratio, "no unit", low=0)
    return np.asarray(free * np.sqrt(1.0 + ratio))


def thermal_noise_psd(
    frequency_hz: ArrayLike,
    frequency0_hz: ArrayLike,
    quality: ArrayLike,
    stiffness_n_m: ArrayLike,
    temperature_k: float = 295.0,
) -> Array:
    """Return the spectral density of the deflection of a warm oscillator, one-sided.

    S(f) = 2 kB T / (π k Q f0) · f0⁴ / ((f0² - f²)² + (f f0 / Q)²): white force noise 4
    kB T γ with the friction γ = k / (2 π f0 Q), through the response. Its integral from
    0 to infinity is kB T / k, the mean square that equipartition asks for.

    Args:
        frequency_hz: (f,), 0 or more.
        frequency0_hz: f0, (...), above 0.
        quality: Q, (...), above 0.
        stiffness_n_m: Spring constant k of the oscillator, (...), N/m, above 0; in
            contact that of lever and contact together.
        temperature_k: 0 or more.

    Returns:
        (..., f), m²/Hz.

    Source:
        Equipartition and the force noise of a friction (fluctuation and dissipation).
        Butt and Jaschke (1995), Nanotechnology 6, 1: the same for the modes of a beam,
        whose first has 0.971 of kB T / k.
    """
    call = "thermal_noise_psd"
    f = axis(call, "frequency_hz", frequency_hz, "Hz")
    f0 = reals(call, "frequency0_hz", frequency0_hz, "Hz", above=0)
    q = reals(call, "quality", quality, "no unit", above=0)
    k = reals(call, "stiffness_n_m", stiffness_n_m, "N/m", above=0)
    warmth = BOLTZMANN_J_K * reals(call, "temperature_k", temperature_k, "K", low=0)
    strength = np.asarray(2.0 * warmth / (math.pi * k * q) * f0**3)
    below = _below(f, f0**2, f0 / q)
    return np.asarray(strength[..., None] / (below.real**2 + below.imag**2))


def thermal_noise(
    random: np.random.Generator,
    frequency_hz: ArrayLike,
    frequency0_hz: ArrayLike,
    quality: ArrayLike,
    stiffness_n_m: ArrayLike,
    bandwidth_hz: float,
    temperature_k: float = 295.0,
) -> Complex:
    """Draw what heat adds to a response in each bin, metres, independent in each.

    The deflection in a bin is the real part of X e^{iωt}, so its mean square |X|²/2 is
    S(f) times the bandwidth: both parts of X have the variance S(f) · bandwidth. For a
    Fourier transform over a time T the bandwidth is 1/T. Bins nearer to each other than
    that, or a resonance narrower, are not independent in truth.

    Args:
        random: The source of chance.
        frequency_hz: As the next three: see `thermal_noise_psd`.
        frequency0_hz: f0, (...).
        quality: Q, (...).
        stiffness_n_m: k, (...).
        bandwidth_hz: Of each bin, above 0.
        temperature_k: 0 or more.

    Returns:
        (..., f), complex amplitudes to add to `response` in metres.
    """
    width = reals("thermal_noise", "bandwidth_hz", bandwidth_hz, "Hz", above=0)
    density = thermal_noise_psd(
        frequency_hz, frequency0_hz, quality, stiffness_n_m, temperature_k
    )
    parts = random.standard_normal((*density.shape, 2)).view(np.complex128)[..., 0]
    return np.asarray(np.sqrt(density * width) * parts)


def fit_response(
    frequency_hz: ArrayLike, measured: ArrayLike, *, rounds: int = 4
) -> Oscillator:
    """Read the oscillator from its complex response, each time by linear equations.

    1/H is a polynomial of f: with p = f0², g = f0/Q and B = A e^{iφ} p, H (p - f² + i f
    g) - B = 0 is linear in p, g, Re B and Im B. Least squares on it are exact without
    noise, but noise is in H and is multiplied by D = p - f² + i f g. So each round
    divides by the last |D|² and takes the last model for the unknown true response
    (instrumental variables). What no longer changes from round to round solves Re Σ
    conj(∂(B/D)/∂θ) (H - B/D) = 0: it is the nonlinear least-squares fit of H, the most
    likely one where noise is white.

    Args:
        frequency_hz: (f,), 3 or more bins, different ones.
        measured: (..., f), complex, as from `response`.
        rounds: After the first; 0 is plain linear least squares.

    Returns:
        (...) each; not a number where nothing resonates or a value is not finite.
        `response(frequency_hz, *fit_response(...))` is the fitted curve.

    Raises:
        OutOfRange, ShapeMismatch, WrongType: If the arguments are not as above.

    Source:
        Derived here from `response`.

    >>> about = np.linspace(90.0, 110.0, 11)
    >>> [round(float(v), 6) for v in fit_response(about, response(about, 2, 99, 30, 1))]
    [2.0, 99.0, 30.0, 1.0]
    """
    f = axis("fit_response", "frequency_hz", frequency_hz, "Hz")
    h = np.asarray(measured)
    if h.dtype.kind != "c":
        raise WrongType(
            f"fit_response got a response of dtype {h.dtype}; it takes complex "
            "numbers. Make them of both parts: amplitude * np.exp(1j * phase)."
        )
    if h.ndim == 0 or h.shape[-1] != f.size or np.unique(f).size < 3:
        raise ShapeMismatch(
            f"fit_response got {f.size} frequencies and a response of shape {h.shape}; "
            "its last axis is that of 3 or more different frequencies."
        )
    times = whole("fit_response", "rounds", rounds, 0, 1000)
    middle = 0.5 * float(f.min() + f.max())
    flat = h.reshape(-1, f.size)
    found = np.empty((4, len(flat)))
    step = max(1, BLOCK // f.size)
    with np.errstate(all="ignore"):  # what does not resonate ends as NaN
        for i in range(0, len(flat), step):
            part = flat[i : i + step].astype(np.complex128)
            found[:, i : i + step] = _fitted(f / middle, part, times)
    found[1] *= middle
    return Oscillator(*found.reshape(4, *h.shape[:-1]))


def _fitted(x: Array, h: Complex, rounds: int) -> Array:
    """Return amplitude, f0, Q and phase of responses (n, f), (4, n); f0 in that of x.

    B is eliminated as a weighted mean, which leaves two equations, for p - 1 and g.
    """
    s = x**2 - 1.0
    xh, sh = x * h, s * h
    even = np.full(h.shape, 1.0)
    p, g = _solved(even, h.conj(), x, h, xh, sh, centred=True)
    b = (p[:, None] - s) * h + 1j * g[:, None] * xh
    b = b.mean(axis=1, keepdims=True)
    for _ in range(rounds):
        d = (p[:, None] - s) + 1j * (g[:, None] * x)
        weight = 1.0 / (d.real**2 + d.imag**2)
        p_new, g_new = _solved(weight, (b / d).conj(), x, h, xh, sh, centred=False)
        good = (p_new > -1.0) & (g_new > 0) & np.isfinite(p_new + g_new)
        p, g = np.where(good, p_new, p), np.where(good, g_new, g)
        b = (weight * (h * ((p[:, None] - s) + 1j * (g[:, None] * x)))).sum(1)
        b = (b / weight.sum(1))[:, None]
    square = np.where((p > -1.0) & (g > 0), 1.0 + p, np.nan)
    square = np.where(np.isfinite(b[:, 0]), square, np.nan)
    f0 = np.sqrt(square)
    phase = np.where(np.isnan(square), np.nan, np.angle(b[:, 0]))
    return np.array([np.abs(b[:, 0]) / square, f0, f0 / g, phase])


def _solved(
    weight: Array,
    model: Complex,
    x: Array,
    h: Complex,
    xh: Complex,
    sh: Complex,
    *,
    centred: bool,
) -> tuple[Array, Array]:
    """Return p - 1 and g of the two equations; `model` is conjugated."""
    total = weight.sum(axis=1, keepdims=True)

    def about(values: Complex) -> Complex:
        mean = (weight * values).sum(axis=1, keepdims=True) / total
        return np.asarray(values - mean)

    a, c, r = about(h), about(xh), about(sh)
    first = a.conj() if centred else weight * model
    second = c.conj() if centred else x * first

    def dot(u: Complex, v: Complex) -> Complex:
        return np.asarray(np.einsum("nf,nf->n", u, v))

    aa, ac, ar = dot(first, a).real, -dot(first, c).imag, dot(first, r).real
    ca, cc, cr = dot(second, a).imag, dot(second, c).real, dot(second, r).imag
    determinant = aa * cc - ac * ca
    return (ar * cc - ac * cr) / determinant, (aa * cr - ar * ca) / determinant


def _below(f: Array, square: Array, width: Array) -> Complex:
    """Return f0² - f² + i f f0/Q, (..., f), from f0² and f0/Q."""
    out = np.empty((*np.broadcast_shapes(square.shape, width.shape), f.size), complex)
    out.real = np.asarray(square)[..., None] - f**2
    out.imag = np.asarray(width)[..., None] * f
    return out
