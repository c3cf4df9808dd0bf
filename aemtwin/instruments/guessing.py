"""Which kind of instrument a recording is from, by its axes and quantities, and why.

A guess is told, with its reason, in `describe().identity` and by `aemtwin info`; `kind`
overrules it. The rules are few, in order, and each names what it saw.
"""

from __future__ import annotations

from collections.abc import Iterator

from aemtwin.instruments.afm import AFM
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.optical import AFM_IR, AFM_RAMAN, RAMAN
from aemtwin.instruments.stem import STEM
from aemtwin.instruments.stm import STM
from aemtwin.sample import Field, Sample
from aemtwin.specs import Axis

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (AFM, STEM, STM, RAMAN, AFM_IR, AFM_RAMAN)
}
ENERGY = ("ev", "kev", "mev")
WAVE = ("1/cm", "cm-1", "cm^-1", "cm⁻¹", "1/m", "m-1", "m^-1")
ANGLE = ("rad", "mrad", "1/nm", "1/å", "1/angstrom")
CURRENT = ("a", "na", "pa", "µa", "ua", "fa")
STM_M = 200e-9  # a field this small, with current against bias, is an STM's
HEIGHTS = ("height", "topograph", "zsensor")


def guess(sample: Sample) -> tuple[Kind, str]:
    """Return the kind that a recording suggests, and the reason as a sentence.

    >>> from aemtwin.instruments.opening import open_twin
    >>> guess(open_twin("stem_eels")._probe._sample)[0].name
    'stem'
    """
    spectral = [(f, axis) for f in sample.spectra for axis in f.axes]
    for field, axis in spectral:
        said = _words(field, axis)
        if any(word in said.split() for word in ("sts", "stm")) or "tunnel" in said:
            return STM, f"{field.name!r} calls itself tunnelling spectroscopy"
    for field, axis in spectral:
        if _is(axis, ENERGY, "energy"):
            return STEM, f"{field.name!r} has an axis of energy ({axis.name})"
    height = next(iter(_heights(sample)), None)
    for field, axis in spectral:
        said = _words(field, axis)
        if not _is(axis, WAVE, "raman", "wavenumber", "wave number"):
            continue
        if "raman" in said:
            if height is None:
                return RAMAN, f"{field.name!r} is a Raman spectrum, and no height is by"
            told = f"{field.name!r} is a Raman spectrum beside the height {height!r}"
            return AFM_RAMAN, told
        if height is not None or "ir" in said.split() or "infrared" in said:
            return AFM_IR, f"{field.name!r} has an axis of wave numbers ({axis.name})"
        return RAMAN, f"{field.name!r} has an axis of wave numbers ({axis.name})"
    for field in sample.spectra:
        if len(field.axes) == 2 and any(_is(a, ANGLE, "reciproc") for a in field.axes):
            return STEM, f"{field.name!r} is a diffraction pattern at every pixel"
        if len(field.axes) == 2 and all(a.kind == "reciprocal" for a in field.axes):
            return STEM, f"{field.name!r} is a diffraction pattern at every pixel"
    for field, axis in spectral:
        if _is(axis, (), "bias", "voltage") and _is_current(field):
            wide = max(high - low for low, high in sample.bounds)
            if wide < STM_M and sample.calibrated:
                told = (
                    f"{field.name!r} is current against bias over {wide * 1e9:.3g} nm"
                )
                return STM, told
            return AFM, f"{field.name!r} is current against bias over a wide field"
    for field, axis in spectral:
        return AFM, f"{field.name!r} is swept over {axis.quantity or axis.name}"
    for field in sample.images:
        said = _words(field)
        words = said.split()
        if any(w in words for w in ("haadf", "stem", "tem")) or "dark field" in said:
            return STEM, f"{field.name!r} is an electron image"
        if any(word in said.split() for word in ("stm", "tunnel", "tunneling")):
            return STM, f"{field.name!r} is a tunnelling image"
    what = f"the height {height!r} is there" if height else "nothing says another"
    return AFM, f"{what}, and there are images alone"


def _heights(sample: Sample) -> Iterator[str]:
    for field in sample.images:
        words = _words(field).split()
        if words[:1] == ["z"] or any(w.startswith(HEIGHTS) for w in words):
            yield field.name


def _words(field: Field, axis: Axis | None = None) -> str:
    stored = field.stored
    parts = [stored.quantity, field.name, stored.modality]
    parts += [str(stored.metadata.get(key, "")) for key in ("technique", "modality")]
    parts += [axis.quantity, axis.name] if axis is not None else []
    return " ".join(part for part in parts if part).replace("_", " ").lower()


def _is(axis: Axis, units: tuple[str, ...], *words: str) -> bool:
    said = f"{axis.quantity} {axis.name}".replace("_", " ").lower()
    return axis.units.strip().lower() in units or any(word in said for word in words)


def _is_current(field: Field) -> bool:
    stored = field.stored
    units = stored.units.strip().lower()
    return units in CURRENT or "current" in stored.quantity.lower()
