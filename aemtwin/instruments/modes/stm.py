"""Modes of a scanning tunnelling microscope, computed from the density of states.

Where the probe is, maps of the specimen give the density of states; the feedback has
put the tip where that density carries the set current, and is then opened for the
sweep. The physics is in `aemtwin.instruments.synthetic.tunnelling`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange
from aemtwin.instruments.modes.base import Model, View
from aemtwin.instruments.synthetic import tunnelling
from aemtwin.instruments.synthetic.junctions import VOLTS_PER_KELVIN
from aemtwin.instruments.synthetic.tunnelling import Gap
from aemtwin.specs import Axis, Parameter

Array = NDArray[np.float64]

BIAS, SETPOINT = "bias_V", "setpoint_A"  # settings: what the feedback holds
STATES: Mapping[str, str] = {  # maps that `local_density` takes, with their units
    "gap_ev": "eV",
    "centre_ev": "eV",
    "edge_ev": "eV",
    "floor": "",
    "peak": "",
    "peak_ev": "eV",
    "peak_fwhm_ev": "eV",
}
NODES = 601  # energies at which a density is taken
NEAREST_M = 1e-10  # width of a gap below which the tip is taken to touch
TAILS = 15.0  # kT to which Fermi's function is followed
BLOCK = 256  # points at a time: what a cache holds
SWEEP = (
    Parameter("start_v", "V", -0.6, -2.0, 2.0, "bias at which the sweep starts"),
    Parameter("stop_v", "V", 0.6, -2.0, 2.0, "bias at which it stops"),
    Parameter("points", "", 121, 2, 4001, "of the sweep", whole=True),
)
TUNNEL = (
    Parameter("lift_m", "m", 0.0, -3e-10, 2e-9, "of the tip, with the feedback open"),
    Parameter("temperature_k", "K", 4.5, 0.0, 400.0, "of tip and specimen"),
    Parameter("work_function_ev", "eV", 4.5, 2.0, 8.0, "mean of tip and specimen"),
)
FEEDBACK = (
    Parameter(BIAS, "V", 0.6, -2.0, 2.0, "bias at which the feedback holds the tip"),
    Parameter(SETPOINT, "A", 1e-10, 1e-13, 1e-7, "size of the current it holds"),
)


class TunnelCurrent(Model):
    """Current against bias, the tip held still where the feedback left it.

    Every curve passes through the set point, `bias_V` and `setpoint_A`, if it is not
    lifted: a spot with few states up to the set bias has the tip nearer.
    """

    name: ClassVar[str] = "tunnel_iv"
    says: ClassVar[str] = "Current-voltage curve across the gap, feedback open (STS)."
    kinds: ClassVar[tuple[str, ...]] = ("stm",)
    quantity: ClassVar[str] = "Tunnelling current"
    units: ClassVar[str] = "A"
    dwell_s: ClassVar[float] = 2.0
    needs: ClassVar[Mapping[str, str]] = STATES
    parameters: ClassVar[tuple[Parameter, ...]] = (*SWEEP, *TUNNEL)
    settings: ClassVar[tuple[Parameter, ...]] = FEEDBACK

    def require_settings(self, settings: Mapping[str, float]) -> None:
        _require_bias(settings[BIAS])

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        return (_sweep(given),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        return _record(view, given, _sweep(given).values, None)


class TunnelConductance(Model):
    """Differential conductance against bias, from a lock-in amplifier; else the same.

    The lock-in is taken as calibrated: its output over the modulation, in siemens.
    """

    name: ClassVar[str] = "tunnel_didv"
    says: ClassVar[str] = "Lock-in dI/dV against bias, feedback open (STS)."
    kinds: ClassVar[tuple[str, ...]] = ("stm",)
    quantity: ClassVar[str] = "Tunnelling conductance"
    units: ClassVar[str] = "S"
    dwell_s: ClassVar[float] = 3.0
    needs: ClassVar[Mapping[str, str]] = STATES
    parameters: ClassVar[tuple[Parameter, ...]] = (
        *SWEEP,
        Parameter("modulation_v", "V", 0.01, 0.0, 0.2, "amplitude, half peak to peak"),
        *TUNNEL,
    )
    settings: ClassVar[tuple[Parameter, ...]] = FEEDBACK

    def require_settings(self, settings: Mapping[str, float]) -> None:
        _require_bias(settings[BIAS])

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        return (_sweep(given),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        return _record(view, given, _sweep(given).values, given["modulation_v"])


def _sweep(given: Mapping[str, float]) -> Axis:
    bias = np.linspace(given["start_v"], given["stop_v"], int(given["points"]))
    return Axis("bias", "V", bias, "Bias", "spectral")


def _record(
    view: View, given: Mapping[str, float], bias: Array, modulation_v: float | None
) -> Array:
    gap = Gap(
        work_function_ev=given["work_function_ev"],
        temperature_k=given["temperature_k"],
    )
    return swept(
        {name: view.at(name) for name in STATES},
        bias,
        (view.settings[BIAS], view.settings[SETPOINT]),
        gap,
        modulation_v=modulation_v,
        lift_m=given["lift_m"],
    )


def swept(
    states: Mapping[str, Array],
    bias_v: Array,
    held: tuple[float, float],
    gap: Gap,
    *,
    modulation_v: float | None = None,
    lift_m: float = 0.0,
) -> Array:
    """Return what a tip records that stays where the feedback held it.

    Args:
        states: The arguments of `local_density` by name, each (k,).
        bias_v: The sweep, (v,), volts.
        held: Set bias, volts, not 0, and size of the set current, amperes.
        gap: The vacuum.
        modulation_v: Amplitude of the lock-in, volts; None: the current is wanted.
        lift_m: Of the tip, after the feedback is open.

    Returns:
        (k, v), amperes, or siemens where there is a modulation.

    Raises:
        OutOfRange: If no height gives the set current, or the tip would touch.
    """
    swing = modulation_v or 0.0
    ends = float(bias_v.min()) - swing, float(bias_v.max()) + swing
    matrix = _response(tuple(bias_v.tolist()), modulation_v, gap, *ends)
    energy = _energies(*ends, gap)
    height = held_m(states, *held, gap) + lift_m
    _require_gap(gap.width_m + float(height.min()), *held)
    fall = np.exp(-2 * tunnelling.barrier_decay(gap.work_function_ev) * height)
    values = np.empty((len(height), len(bias_v)))
    for low in range(0, len(values), BLOCK):
        part = slice(low, low + BLOCK)
        some = {name: one[part] for name, one in states.items()}
        values[part] = tunnelling.local_density(energy, **some) @ matrix
    return values * fall[:, None]


def _require_bias(bias_v: float) -> None:
    if bias_v == 0.0:
        raise OutOfRange(
            f"{BIAS} = 0 V carries no current, so the feedback has nothing to hold the "
            f"tip by. Give a {BIAS} of either sign, beyond the gap of the specimen."
        )


def _require_gap(width_m: float, held_v: float, held_a: float) -> None:
    if width_m < NEAREST_M:
        raise OutOfRange(
            f"The tip would touch: {held_a:g} A at {held_v:g} V, with its lift, leave "
            f"{width_m * 1e12:.0f} pm of vacuum; {NEAREST_M * 1e12:.0f} pm or more are "
            f"allowed. Configure a lower {SETPOINT}, or a {BIAS} beyond the gap."
        )


def held_m(
    states: Mapping[str, Array], bias_v: float, setpoint_a: float, gap: Gap
) -> Array:
    """Return where the feedback holds the tip over densities of states.

    Args:
        states: The arguments of `local_density` by name, each (k,).
        bias_v: Set bias, volts, not 0.
        setpoint_a: Size of the set current, amperes; its sign is that of the bias.
        gap: The vacuum.

    Returns:
        (k,), metres over the width of the gap.

    Raises:
        OutOfRange: If no height gives this current.
    """
    _require_bias(bias_v)
    energy = _energies(bias_v, bias_v, gap)
    set_a = float(np.copysign(setpoint_a, bias_v))
    height = np.empty(len(states["gap_ev"]))
    for low in range(0, len(height), BLOCK):
        part = slice(low, low + BLOCK)
        some = {name: one[part] for name, one in states.items()}
        density = tunnelling.local_density(energy, **some)
        try:
            height[part] = tunnelling.setpoint(bias_v, set_a, energy, density, gap)
        except OutOfRange:
            raise OutOfRange(
                f"No height of the tip gives {setpoint_a:g} A at {bias_v:g} V here: no "
                f"states lie within that bias. Configure a {BIAS} beyond the gap, of "
                "either sign."
            ) from None
    return height


def _energies(low_v: float, high_v: float, gap: Gap) -> Array:
    """Return energies that span 0, the biases and the tails of Fermi's function."""
    tails = TAILS * VOLTS_PER_KELVIN * gap.temperature_k + 1e-3
    return np.linspace(min(0.0, low_v) - tails, max(0.0, high_v) + tails, NODES)


@lru_cache(maxsize=16)
def _response(
    bias: tuple[float, ...], modulation_v: float | None, gap: Gap, *ends: float
) -> Array:
    """Return what a density at each energy adds to each reading, (e, v)."""
    energy = _energies(ends[0], ends[1], gap)
    sweep, each = np.array(bias), np.eye(len(energy))
    if modulation_v is None:
        matrix = tunnelling.current(sweep, energy, each, gap)
    else:
        matrix = tunnelling.didv(sweep, energy, each, gap, modulation_v=modulation_v)
    matrix.flags.writeable = False  # it is kept
    return matrix
