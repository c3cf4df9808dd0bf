"""Held to sidpy, pyNSID and SciFiReaders, in both directions."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from aemtwin.errors import MissingExtra, UnknownName
from aemtwin.formats import nsid_names, pycroscopy
from aemtwin.formats.catalog import find_twin
from aemtwin.formats.nsid import open_nsid, write_nsid
from aemtwin.formats.pycroscopy import from_sidpy, measurement_to_sidpy, to_sidpy
from aemtwin.formats.runs import measurements_to_arrays
from aemtwin.instruments.synthetic.pfm_loops import make_pfm_loops
from aemtwin.measurement import Measurement
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

# sidpy, pyNSID and what they import warn of their own futures; not of our calls.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def sidpy():
    return pytest.importorskip("sidpy")


@pytest.fixture(scope="module")
def pynsid(sidpy):
    return pytest.importorskip("pyNSID")


LENGTHS = {"spatial": "m", "spectral": "eV", "temporal": "s", "reciprocal": "1/m"}


def axis(name, kind, length):
    values = np.linspace(1, -1, length) if length > 1 else np.zeros(1)
    return Axis(name, LENGTHS.get(kind, "generic"), values, "Along", kind)


X, Y = axis("x", "spatial", 3), axis("y", "spatial", 2)
E, T = axis("energy", "spectral", 5), axis("t", "temporal", 4)
U, V = axis("u", "reciprocal", 2), axis("v", "reciprocal", 3)
P = axis("point", "point_cloud", 4)
KINDS = {
    "SPECTRUM": (E,),
    "LINE_PLOT": (X,),
    "LINE_PLOT_FAMILY": (P, E),
    "IMAGE": (Y, X),
    "IMAGE_MAP": (Y, X, U),
    "IMAGE_STACK": (T, Y, X),
    "SPECTRAL_IMAGE": (X, Y, E),
    "IMAGE_4D": (Y, X, U, V),
    "UNKNOWN": (axis("odd", "unknown", 2), axis("one", "channel", 1)),
}


def stored(data_type, dtype="float32", **more):
    axes = KINDS[data_type]
    shape = tuple(len(a) for a in axes)
    data = np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype)
    given = {
        "name": "signal",
        "quantity": "Height",
        "units": "µm",
        "modality": "PFM",
        "source": "AFM",
        "metadata": {"gain": 2.5, "who": {"name": "Ø", "n": 3}, "list": [1, 2]},
    }
    return StoredArray(data=data, axes=axes, data_type=data_type, **{**given, **more})


def check(dataset, array, *, dtype=True):
    values = np.asarray(dataset)
    assert np.array_equal(values, np.asarray(array.data[()]), equal_nan=True)
    assert not dtype or values.dtype == array.data.dtype
    assert dataset.data_type.name == array.data_type
    texts = "quantity units modality source".split()
    assert [getattr(dataset, t) for t in texts] == [getattr(array, t) for t in texts]
    for i, one in enumerate(array.axes):
        found = dataset._axes[i]
        assert np.array_equal(found.values, one.values)
        assert (found.name, found.units) == (one.name, one.units)
        assert (found.quantity, found.dimension_type.name) == (
            one.quantity,
            one.kind.upper(),
        )


@pytest.mark.parametrize("data_type", KINDS)
def test_pynsid_reads_what_we_write(tmp_path, pynsid, data_type):
    array = stored(data_type)
    write_nsid(tmp_path / "f.h5", [array, stored("IMAGE", name="other")])
    with h5py.File(tmp_path / "f.h5", "r") as file:
        mains = pynsid.hdf_utils.get_all_main(file)
        assert len(mains) == 2
        dataset = pynsid.hdf_utils.read_h5py_dataset(mains[0])
        check(dataset, array, dtype=False)
        assert dataset.title == "signal"
        assert dataset.metadata["gain"] == 2.5
        assert dataset.metadata["who"] == {"name": "Ø", "n": 3}
        assert dataset.metadata["list"].tolist() == [1, 2]


@pytest.mark.parametrize("data_type", KINDS)
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int32", "uint16", "complex64"]
)
def test_we_read_what_pynsid_writes(tmp_path, pynsid, sidpy, data_type, dtype):
    array = stored(data_type, dtype)
    dataset = to_sidpy(array)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        group = file.create_group("anything/at all")
        pynsid.hdf_io.write_nsid_dataset(dataset, group)
    with open_nsid(tmp_path / "f.h5") as file:
        (found,) = file.arrays
        assert found.name == "signal"
        check(to_sidpy(found), array)
        assert found.axes == array.axes
        assert found.metadata["gain"] == 2.5
        assert found.metadata["who"] == {"name": "Ø", "n": 3}
        assert found.metadata["list"] == [1, 2]
        assert found.metadata["provenance"]


@pytest.mark.parametrize("data_type", KINDS)
def test_a_dataset_made_of_an_array_gives_it_back(sidpy, data_type):
    array = stored(data_type, "uint8", derived="max - min")
    dataset = to_sidpy(array)
    check(dataset, array)
    again = from_sidpy(dataset)
    assert again.data.dtype == array.data.dtype
    assert again.axes == array.axes
    assert (again.name, again.derived) == ("signal", "max - min")
    assert any("to_sidpy" in key for key in again.metadata["provenance"])
    check(to_sidpy(again), array)


@pytest.mark.parametrize("dtype", ["bool", "float16", "int64", "complex128", ">f4"])
def test_pynsid_opens_every_dtype(tmp_path, pynsid, dtype):
    write_nsid(tmp_path / "f.h5", [stored("SPECTRUM", dtype)])
    with h5py.File(tmp_path / "f.h5", "r") as file:
        (main,) = pynsid.hdf_utils.get_all_main(file)
        dataset = pynsid.hdf_utils.read_h5py_dataset(main)
        assert np.allclose(np.asarray(dataset), stored("SPECTRUM", dtype).data)


def test_odd_names_are_made_safe_for_sidpy(tmp_path, pynsid, sidpy):
    names = ["shape", "a/b", "", "metadata", "b", "title", "dim_0", "signal"]
    axes = tuple(Axis(name, "", np.zeros(1), "", "odd") for name in names)
    array = StoredArray("signal", "", "", np.ones((1,) * 8), axes, {}, "hologram")
    write_nsid(tmp_path / "f.h5", [array])
    assert to_sidpy(array).data_type.name == "UNKNOWN"
    with h5py.File(tmp_path / "f.h5", "r") as file:
        (main,) = pynsid.hdf_utils.get_all_main(file)
        dataset = pynsid.hdf_utils.read_h5py_dataset(main)
    assert (dataset.title, dataset.units) == ("signal", "generic")
    found = [dataset._axes[i].name for i in range(8)]
    assert found == nsid_names.safe_labels(axes)
    assert found[:3] == ["shape_", "a_b", "generic"]


def test_our_lists_of_names_are_those_of_sidpy(sidpy):
    properties = {
        name
        for name in dir(sidpy.Dataset)
        if isinstance(getattr(sidpy.Dataset, name, None), property) and name[0] != "_"
    }
    assert properties <= nsid_names.RESERVED
    assert set(sidpy.DataType.__members__) == nsid_names.DATA_TYPES
    assert set(sidpy.DimensionType.__members__) == nsid_names.KINDS


def measured(call, axes, n=2):
    shape = tuple(len(a) for a in axes)
    position = np.zeros((n, 2)) if call == "trace" else np.array([1e-6, 2e-6])
    return Measurement(
        call=call,
        mode="loops" if call == "measure" else "",
        arrays={"main": np.ones(shape, "f4"), "other": np.ones(shape, "u2")},
        units={"main": "pm", "other": "counts"},
        quantities={"main": "Piezoresponse", "other": "Counts"},
        axes=axes,
        asked=position,
        actual=position + 1e-9,
        time_s=(1.0, 2.0),
        dwell_s=0.5,
        dose=3.0,
        rid="run/1/main",
        info={"bias_v": 2.0},
    )


@pytest.mark.parametrize(
    ("call", "axes", "data_type"),
    [
        ("measure", (E,), "SPECTRUM"),
        ("measure", (U, V), "IMAGE"),
        ("trace", (P,), "LINE_PLOT"),
        ("scan", (Y, X), "IMAGE"),
    ],
)
def test_a_measurement_becomes_a_dataset(sidpy, call, axes, data_type):
    one = measured(call, axes)
    dataset = one.to_sidpy()
    assert isinstance(dataset, sidpy.Dataset)
    assert (dataset.data_type.name, dataset.units) == (data_type, "pm")
    assert np.asarray(dataset).dtype == np.float32
    assert dataset._axes[0].units == axes[0].units
    assert dataset.metadata["asked_m"] == one.asked.tolist()
    assert dataset.metadata["actual_m"] == one.actual.tolist()
    assert dataset.metadata["rid"] == "run/1/main"
    assert dataset.metadata["time_s"] == [1.0, 2.0]
    assert dataset.metadata["dose"] == 3.0
    other = measurement_to_sidpy(one, "other")
    assert (other.units, np.asarray(other).dtype) == ("counts", np.uint16)
    with pytest.raises(UnknownName, match="Did you mean 'other'"):
        measurement_to_sidpy(one, "othr")


def test_pynsid_reads_the_data_of_a_run(tmp_path, pynsid):
    runs = [measured("measure", (E,)) for _ in range(3)]
    write_nsid(tmp_path / "data.nsid.h5", measurements_to_arrays(runs))
    with h5py.File(tmp_path / "data.nsid.h5", "r") as file:
        mains = pynsid.hdf_utils.get_all_main(file)
        found = [pynsid.hdf_utils.read_h5py_dataset(main) for main in mains]
    titles = "main other x y asked_x asked_y time dose".split()
    assert [one.title for one in found] == titles
    assert found[0].shape == (3, 5)


def test_without_sidpy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sidpy", None)
    with pytest.raises(MissingExtra, match=r"pip install 'aemtwin\[nsid\]'"):
        pycroscopy.to_sidpy(stored("IMAGE"))


def test_reading_and_writing_import_no_sidpy():
    code = (
        "import sys, aemtwin.formats.nsid, aemtwin.formats.pycroscopy as p;"
        "import aemtwin.formats.catalog, aemtwin.formats.runs;"
        "bad = {'sidpy', 'pyNSID', 'dask', 'jax', 'scipy'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_scifireaders_opens_what_we_write(tmp_path, sidpy):
    readers = pytest.importorskip("SciFiReaders")
    entry = find_twin("pfm_loops")
    path = tmp_path / "copy.h5"  # the reader opens for writing
    path.write_bytes(entry.data.read_bytes())
    reader = readers.NSIDReader(str(path))
    found = reader.read()
    reader.close()
    made = make_pfm_loops()
    assert [one.title for one in found.values()] == [one.name for one in made]
    for dataset, array in zip(found.values(), made, strict=True):
        assert np.allclose(np.asarray(dataset), array.data, rtol=1e-5, atol=1e-12)
        assert dataset.units == (array.units or "generic")  # what sidpy calls none
        assert dataset.metadata["sample"] == "pfm_loops"
        for i, one in enumerate(array.axes):
            assert np.array_equal(dataset._axes[i].values, one.values)
