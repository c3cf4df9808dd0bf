"""Low-loss EELS of small metal spheres: loss functions, modes, plural scattering.

Pure functions of `aemtwin.instruments.synthetic.stem_eels`, which makes a specimen and
its spectra with them. Energies are eV, lengths metres, probabilities per electron and
eV; the dielectric theory is local and not retarded. `twins/stem_eels/card.md` has the
equations in one place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BOHR_M = 5.29177211e-11
REST_EV = 510998.95  # of an electron, m0 c^2
HBAR_C = 1.973269804e-7  # eV m


class Beam(NamedTuple):
    """The electrons and the cone of them that the spectrometer collects."""

    volts: float  # accelerating voltage
    collection_rad: float  # half angle

    @property
    def gamma(self) -> float:
        """Energy over rest energy."""
        return 1.0 + self.volts / REST_EV

    @property
    def speed(self) -> float:
        """Over that of light."""
        return math.sqrt(1.0 - 1.0 / self.gamma**2)

    @property
    def per_metre(self) -> float:
        """1 / (pi a0 m0 v^2), per metre and eV: what every loss is multiplied with."""
        return 1.0 / (math.pi * BOHR_M * REST_EV * self.speed**2)

    def wave_number(self, energy: Array | float) -> Array:
        """Return the momentum that a loss takes along the beam, E / (hbar v), 1/m."""
        return np.asarray(energy, np.float64) / (HBAR_C * self.speed)

    def logarithm(self, energy: Array) -> Array:
        """Return ln(1 + (beta / theta_E)^2), from the angles that are collected."""
        theta = energy / (self.gamma * REST_EV * self.speed**2)
        return np.asarray(np.log1p((self.collection_rad / theta) ** 2))


def drude_loss(
    energy: Array, plasmon: Array | float, damping: Array | float
) -> NDArray[np.float64]:
    """Return Im(-1/eps) of free electrons, E G Ep^2 / ((E^2 - Ep^2)^2 + (E G)^2).

    The modes of a sphere have the same shape about their own energy. It is highest at
    Ep to second order in the damping, and its integral over all E is pi Ep / 2.

    Args:
        energy: Energy loss E, eV, above 0.
        plasmon: Energy of the plasmon Ep, eV.
        damping: Full width at half maximum G, eV.

    Source:
        Egerton (2011), "Electron Energy-Loss Spectroscopy in the Electron Microscope",
        3rd ed., section 3.3.1, the Drude model.

    >>> float(drude_loss(np.array(15.0), 15.0, 1.5))
    10.0
    """
    width = energy * damping
    return np.asarray(
        width * plasmon**2 / ((energy**2 - plasmon**2) ** 2 + width**2), np.float64
    )


def bulk_loss(beam: Beam, energy: Array, loss: Array) -> Array:
    """Return what one metre of a material scatters, per eV, from its Im(-1/eps).

    Source:
        Egerton (2011), section 4.2, the single-scattering distribution in terms of
        Im(-1/eps): its first term, without the surface's.
    """
    return np.asarray(beam.per_metre * beam.logarithm(energy) * loss)


def mode_energy(plasmon: float, order: int, ambient: float) -> float:
    """Return the energy of a mode of a free-electron sphere in a dielectric, eV.

    Args:
        plasmon: Of the bulk, eV.
        order: l = 1 (dipole), 2, ...
        ambient: Permittivity around it.

    Source:
        The pole of l eps + (l + 1) eps_ambient: Ferrell and Echenique (1985), Phys.
        Rev. Lett. 55, 1526. From Ep / sqrt(3) for the dipole to Ep / sqrt(2).

    >>> round(15.0 / mode_energy(15.0, 1, 1.0), 6) == round(math.sqrt(3), 6)
    True
    """
    return plasmon * math.sqrt(order / (order + (order + 1) * ambient))


def shell_permittivity(
    order: int, radius: float, thickness: float, shell: float
) -> float:
    """Return what a mode of a sphere feels around it where a thin shell coats it.

    Exact in electrostatics for a real permittivity: potentials and displacements meet
    at both faces of the shell; beyond it is vacuum. No shell gives 1, a thick one
    `shell`.

    Source:
        The coated sphere of Bausells, Rivacoba and Echenique (1987), Surf. Sci.
        189/190, 1015, reduced to where its modes lie.

    >>> round(shell_permittivity(2, 1e-8, 0.0, 3.0), 12)
    1.0
    """
    up = order + 1
    back = up * (shell - 1) / (order * shell + up)  # field from the outer face
    back *= (radius / (radius + thickness)) ** (2 * order + 1)
    return shell * (1 - order * back / up) / (1 + back)


def sphere_lengths(
    beam: Beam, radius: float, impact: Array, energy: Array, *, inside: bool = False
) -> Array:
    """Return how strongly a passing electron couples to each mode of a sphere.

    An electron that passes at a distance b of the centre loses energy to the modes of
    order l with the probability `beam.per_metre` · D_l(E) · length_l(b) per eV, where
    D_l is `drude_loss` at the energy of the mode, and

        length_l = 1/a Σ_m (2 - δ_m0) (l-m)!/(l+m)! | ∫ f_l(r) P_l^m(z/r) e^{iqz} dz |²

    with f_l = (r/a)^l in the sphere and (a/r)^(l+1) beyond it, r² = b² + z². Where b >
    a, that is the formula of Ferrell and Echenique. The part of the path `inside`
    alone, at the bulk's plasmon, is by how much the bulk's own loss is reduced: what
    the surface takes up, the bulk gives (begrenzung).

    Args:
        beam: The electrons.
        radius: Of the sphere, a, metres.
        impact: Distances b, (n,), metres.
        energy: Of the modes l = 1, 2, ..., (l,), eV; it gives q = E / (hbar v).
        inside: Integrate over the path in the sphere alone.

    Returns:
        (l, n), metres.

    Source:
        Ferrell and Echenique (1985), as above, for b > a; Bausells, Rivacoba and
        Echenique (1987), as above, for electrons that penetrate. Written as one sum
        over modes as Boudarham and Kociak (2012), Phys. Rev. B 85, 245447.
    """
    wave = beam.wave_number(energy)
    orders = len(wave)
    half = np.sqrt(np.maximum(radius**2 - impact**2, 0.0))[:, None]  # (n, 1)
    pieces = [half * np.linspace(0.0, 1.0, 80)]
    if not inside:  # fine near the sphere, coarse in the far end of its field
        reach = np.arcsinh(30.0 / float(wave.min()) / radius)
        pieces.append(half + radius * np.sinh(reach * np.linspace(0.0, 1.0, 240)))
    total = np.zeros((orders, orders + 1, len(impact)))
    for part, z in enumerate(pieces):
        r = np.hypot(impact[:, None], z)
        cosine = np.divide(z, r, out=np.zeros_like(r), where=r > 0)
        step = np.zeros_like(z)  # of the trapezoidal rule, twice: both halves of a path
        step[:, 1:] += np.diff(z, axis=1)
        step[:, :-1] += np.diff(z, axis=1)
        turns = []  # the field is even or odd along the path, and so is what counts
        for order, q in enumerate(wave, start=1):
            fall = step * (r / radius) ** (order if part == 0 else -(order + 1))
            turns.append((fall * np.cos(q * z), fall * np.sin(q * z)))
        for m in range(orders + 1):
            for order, shape in _legendre(orders, m, cosine):
                turn = turns[order - 1][(order + m) % 2]
                total[order - 1, m] += np.einsum("nz,nz->n", shape, turn)
    weights = np.zeros((orders, orders + 1))
    for order in range(1, orders + 1):
        for m in range(order + 1):
            weight = math.factorial(order - m) / math.factorial(order + m)
            weights[order - 1, m] = weight if m == 0 else 2 * weight
    return np.asarray((weights[..., None] * total**2).sum(axis=1) / radius)


def _legendre(orders: int, m: int, x: Array) -> Iterator[tuple[int, Array]]:
    """Give the associated Legendre functions of m to l = orders, without (-1)^m."""
    lower = np.zeros_like(x)
    this = math.prod(range(2 * m - 1, 0, -2)) * (1 - x**2) ** (m / 2)
    for k in range(m, orders + 1):
        if k > m:
            next_one = ((2 * k - 1) * x * this - (k + m - 1) * lower) / (k - m)
            lower, this = this, next_one
        if k > 0:
            yield k, this


def plural_scattering(zero: Array, single: Array) -> Array:
    """Return the spectrum after any number of losses, independent of each other.

    The number of losses of one electron is Poisson's, of mean t/lambda = Σ single, and
    their energies add, so that in Fourier space j = z exp(t/lambda (s - 1)).

    Args:
        zero: The zero-loss peak, (e,), its sum the electrons; negative energies at the
            end, as a discrete Fourier transform has them.
        single: Mean number of losses in each channel, (..., e), from loss 0 on, long
            enough that nothing reaches its end.

    Returns:
        (..., e), as `zero`; its sum is that of `zero`.

    Source:
        Egerton (2011), section 4.1, Fourier-log deconvolution, read backwards; after
        Johnson and Spence (1974), J. Phys. D 7, 771.

    >>> single = np.array([0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    >>> out = plural_scattering(np.eye(8)[0], single)
    >>> np.round(out[:3] / math.exp(-0.5), 6).tolist()  # 1, x, x^2 / 2
    [1.0, 0.5, 0.125]
    """
    mean = single.sum(axis=-1, keepdims=True)
    spectrum = np.fft.rfft(zero) * np.exp(np.fft.rfft(single) - mean)
    return np.asarray(np.fft.irfft(spectrum, n=single.shape[-1]), np.float64)
