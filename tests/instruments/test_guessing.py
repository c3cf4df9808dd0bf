"""What kind of instrument a recording is taken to be from, and the reason given."""

from __future__ import annotations

import re

import numpy as np
import pytest

from aemtwin.formats.nsid import write_nsid
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.guessing import KINDS, guess
from aemtwin.instruments.opening import open_twin
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis


def array(name, quantity, units, *axes, field_m=2e-6, modality=""):
    """A made-up recording of 3 x 4 pixels, with whatever axes a pixel has."""
    places = (
        Axis("y", "m", np.linspace(0, field_m, 3), "Length", "spatial"),
        Axis("x", "m", np.linspace(0, field_m, 4), "Length", "spatial"),
    )
    shape = (3, 4, *(len(axis) for axis in axes))
    return StoredArray(
        name=name,
        quantity=quantity,
        units=units,
        data=np.arange(np.prod(shape), dtype="f4").reshape(shape),
        axes=(*places, *axes),
        metadata={"sample": "made up"},
        data_type="SPECTRAL_IMAGE" if axes else "IMAGE",
        modality=modality,
    )


def axis(name, units, quantity, low=0.0, high=1.0):
    return Axis(name, units, np.linspace(low, high, 5), quantity, "spectral")


HEIGHT = array("height", "Height", "m")
BIAS = axis("bias", "V", "Bias", -1.0, 1.0)
SHIFT = axis("wavenumber", "1/cm", "Raman shift", 100.0, 600.0)
LIGHT = axis("wavenumber", "1/m", "Infrared wave number", 1e5, 1.8e5)
LOSS = axis("energy", "eV", "Energy loss", 0.0, 40.0)

CASES = {
    "afm": ([HEIGHT, array("loops", "Piezoresponse", "pm", BIAS)], "'loops'.*Bias"),
    "stem": ([array("eels", "EELS intensity", "counts", LOSS)], "'eels'.*energy"),
    "stm": (
        [
            array("height", "Height", "m", field_m=20e-9),
            array("iv", "Tunnelling current", "A", BIAS, field_m=20e-9),
        ],
        "'iv'.*tunnelling",
    ),
    "raman": ([array("map", "Raman intensity", "counts", SHIFT)], "'map'.*no height"),
    "afm_ir": (
        [HEIGHT, array("spectra", "Amplitude", "V", LIGHT)],
        "'spectra'.*wave numbers",
    ),
    "afm_raman": (
        [HEIGHT, array("map", "Raman intensity", "counts", SHIFT)],
        "'map'.*beside the height 'height'",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_is_guessed_with_the_array_that_told_it(kind):
    arrays, why = CASES[kind]
    found, said = guess(make_sample(arrays))
    assert found is KINDS[kind]
    assert re.search(why, said), said


def test_every_kind_there_is_has_a_case():
    assert set(CASES) == set(KINDS)


@pytest.mark.parametrize("units", ["1/cm", "cm-1", "cm^-1", "cm⁻¹", "1/m"])
def test_the_ways_to_write_a_wave_number_are_known(units):
    cube = array("spectra", "Intensity", "counts", axis("shift", units, ""))
    found, said = guess(make_sample([cube]))
    assert (found.name, "wave numbers" in said) == ("raman", True)


def test_current_against_bias_is_an_stms_over_nanometres_and_an_afms_over_micrometres():
    for field_m, kind in ((50e-9, "stm"), (5e-6, "afm")):
        cube = array("iv", "Current", "nA", BIAS, field_m=field_m)
        found, said = guess(make_sample([cube]))
        assert found.name == kind
        assert "current against bias" in said


def test_images_alone_say_little_and_it_is_told():
    found, said = guess(make_sample([HEIGHT]))
    assert (found.name, said) == (
        "afm",
        "the height 'height' is there, and there are images alone",
    )
    dark = array("haadf", "HAADF intensity", "counts")
    assert guess(make_sample([dark]))[0].name == "stem"


def test_a_stored_file_of_height_and_raman_opens_as_an_afm_with_raman(tmp_path):
    file = tmp_path / "both.nsid.h5"
    write_nsid(file, CASES["afm_raman"][0])
    spec = open_twin(file).describe()
    assert spec.kind == "afm_raman"
    assert "beside the height 'height'" in spec.identity["guessed"]
    assert spec.dose_units == "J"
    assert "guessed" not in open_twin(file, kind="raman").describe().identity
