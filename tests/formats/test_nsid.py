"""Our NSID codec on its own: round trips, odd names, foreign and broken files."""

import datetime
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from aemtwin.errors import AemtwinError, BadFile, ShapeMismatch, UnknownName, WrongType
from aemtwin.formats.nsid import open_nsid, sha256_of, summary, write_nsid
from aemtwin.formats.runs import measurements_to_arrays
from aemtwin.measurement import Measurement
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

REAL = os.environ.get("AEMTWIN_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="AEMTWIN_DATA is not set")

new_hdf5 = pytest.mark.skipif(
    h5py.version.hdf5_version_tuple < (2, 0, 0),
    reason="older HDF5 may crash on damaged files, older h5py writes times of groups",
)


def stored(name="loops", shape=(3, 2, 4), dtype="float32", **more):
    axes = [
        Axis("y", "m", np.linspace(1e-6, 0, shape[0]), "Length", "spatial"),
        Axis("x", "m", np.linspace(0, 1e-6, shape[1]), "Length", "spatial"),
        Axis("bias", "V", np.array([0.0, 2, -2, 0]), "Bias", "spectral"),
    ][: len(shape)]
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    more = {"quantity": "Piezoresponse", "units": "pm", **more}
    return StoredArray(name=name, data=data, axes=tuple(axes), **more)


def written(folder, *arrays, **options):
    path = folder / "one.nsid.h5"
    write_nsid(path, arrays, **options)
    return path


def assert_same(a, b):
    values = np.asarray(b.data[()])
    assert values.dtype == a.data.dtype
    assert values.tobytes() == np.asarray(a.data[()]).tobytes()
    assert a.axes == b.axes
    keys = "name quantity units data_type modality source".split()
    assert [getattr(a, k) for k in keys] == [getattr(b, k) for k in keys]


DTYPES = "f2 f4 f8 >f4 >i2 i1 i4 i8 u1 u2 u8 c8 c16 bool".split()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_bit_for_bit(tmp_path, dtype):
    array = stored(dtype=dtype)
    with open_nsid(written(tmp_path, array)) as file:
        assert_same(array, file.arrays[0])


def test_metadata_comes_back_with_its_types(tmp_path):
    values = {
        "none": None,
        "tuple": (1, "a", [True]),
        "mixed": [1, "a", None],
        "dicts": [{"a": 1}, {"b": {"c": ()}}],
        "int keys": {1: "one", (2, 3): b"\x00\xff"},
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "path": Path("a/b"),
        "big": 2**80,
        "inf": -np.inf,
        "scalar": np.float32(0.1),
        "complex": 1 - 2j,
        "text": "µ\x00\ud800 \u2603",
        "$array": {"$tuple": [1]},
        "long": "x" * 100_000,
        "a/b": {"": 1, ".": 2},
    }
    array = stored(metadata={**values, "array": np.eye(200)}, derived="max - min")
    with open_nsid(written(tmp_path, array)) as file:
        found = dict(file.arrays[0].metadata)
    assert np.array_equal(found.pop("array"), np.eye(200))
    assert found.pop("derived") == "max - min"
    assert type(found["scalar"]) is np.float32
    assert found == values


def test_metadata_that_a_file_cannot_keep_is_refused_by_place(tmp_path):
    with pytest.raises(WrongType, match=r"metadata\['metadata'\]\['a'\]\[1\]"):
        written(tmp_path, stored(metadata={"a": [1, object()]}))
    assert list(tmp_path.iterdir()) == []


def test_odd_names_come_back(tmp_path):
    axes = (
        Axis("bias", "", np.arange(2), "", "odd kind"),
        Axis("shape", " ", np.arange(1.0), "Ångström", "unknown"),
        Axis("a/b", "µV", np.arange(2, dtype="u1")),
        Axis("a_b", "\x00", np.arange(1), "q", "SPECTRAL"),
        Axis("", "V", np.arange(1)),
        Axis("..", "V", np.arange(1)),
    )
    data = np.zeros((2, 1, 2, 1, 1, 1))
    arrays = [
        StoredArray(name, "", "", data, axes, data_type="hologram")
        for name in ("bias", "bias_", "a-b/c", "", "metadata", "aemtwin_metadata", ".")
    ]
    with open_nsid(written(tmp_path, *arrays)) as file:
        for a, b in zip(arrays, file.arrays, strict=True):
            assert_same(a, b)


@new_hdf5
def test_equal_input_gives_equal_bytes(tmp_path):
    arrays = [stored(metadata={"a": {"b": 1}}), stored("i", (5, 2), "c16")]
    digests = set()
    for name in ("one.h5", "another.h5"):
        write_nsid(tmp_path / name, arrays, attributes={"seed": 1})
        digests.add(sha256_of(tmp_path / name))
    assert len(digests) == 1
    data = (tmp_path / "one.h5").read_bytes()
    assert digests == {hashlib.sha256(data).hexdigest()}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = written(tmp_path, stored())
    before = path.read_bytes()
    with pytest.raises(WrongType):
        written(tmp_path, stored(), stored(metadata={"a": object()}))
    with pytest.raises(BadFile, match="could not write"):
        write_nsid(tmp_path / "no" / "folder.h5", [stored()])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_that_nsid_cannot_hold_are_refused(tmp_path):
    one = stored()
    for bad, error in [
        (StoredArray("a", "", "", np.zeros(()), ()), ShapeMismatch),
        (StoredArray("a", "", "", one.data, one.axes[:2]), ShapeMismatch),
        (StoredArray("a", "", "", one.data.astype("U3"), one.axes), WrongType),
        (StoredArray("a", "", "", np.zeros(0), (Axis("x", "", np.zeros(0)),)), None),
        (StoredArray("a", "", "", np.zeros(1), (Axis("x", "", np.ones(1) * 1j),)), 0),
    ]:
        with pytest.raises(error or AemtwinError):
            written(tmp_path, bad)
    with pytest.raises(ShapeMismatch, match="no array"):
        written(tmp_path)


def test_arrays_come_in_natural_order_and_lazily(tmp_path):
    path = written(tmp_path, *[stored(f"a{i}", (2, 2)) for i in range(12)])
    with h5py.File(path, "r+") as file:
        group = file["Measurement_000"]
        for i in range(12):
            group.move(f"Channel_{i:03d}", f"Channel_{i}")
    with open_nsid(path) as file:
        assert [a.name for a in file.arrays] == [f"a{i}" for i in range(12)]
        assert not isinstance(file.arrays[0].data, np.ndarray)
        assert file.array("a3").data[0, 1] == 1
        with pytest.raises(UnknownName, match="Did you mean 'a3'"):
            file.array("a3 ")
    with pytest.raises(BadFile, match="after its file was closed"):
        file.arrays[0].data[0]


def test_a_summary_has_shapes_axes_and_units(tmp_path):
    (one,) = summary(written(tmp_path, stored()))
    assert (one["name"], one["shape"], one["dtype"]) == ("loops", (3, 2, 4), "float32")
    assert one["axes"][2]["low"] == -2
    assert one["axes"][0]["first"] == 1e-6
    assert one["axes"][0]["units"] == "m"


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file["Measurement_000/Channel_000/loops"], file)


def drop_scale(group, file):
    group["loops"].dims[1].detach_scale(group["x"])


def short_scale(group, file):
    drop_scale(group, file)
    scale = group.create_dataset("short", data=np.arange(1.0))
    scale.make_scale("x")
    group["loops"].dims[1].attach_scale(scale)


def text_scale(group, file):
    drop_scale(group, file)
    scale = group.create_dataset("text", data=np.array([b"a", b"b"]))
    scale.make_scale("x")
    group["loops"].dims[1].attach_scale(scale)


def text_data(group, file):
    attrs = dict(group["loops"].attrs)
    del group["loops"]
    group["loops"] = np.array([b"a"])
    group["loops"].attrs["main_data_name"] = attrs["main_data_name"]


def empty_data(group, file):
    del group["loops"]
    group["loops"] = h5py.Empty("f4")
    group["loops"].attrs["main_data_name"] = "loops"


def virtual_data(group, file):
    del group["loops"]
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "data", (2,))
    group.create_virtual_dataset("loops", layout)
    group["loops"].attrs["main_data_name"] = "loops"


def spoil_json(group, file):
    del group["aemtwin_metadata"]
    group["aemtwin_metadata"] = np.array([b'{"$tuple": '])


def other_json(group, file):
    del group["aemtwin_metadata"]
    group["aemtwin_metadata"] = np.array([b'{"axes": [[1, 2]]}'])


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (drop_scale, "lacks the dimension scale of axis 1"),
        (short_scale, r"has 2 points on axis 1, its scale has \(1,\)"),
        (text_scale, "not numbers in this file"),
        (text_data, "is not numeric"),
        (empty_data, "has no values"),
        (virtual_data, "other files, which are not followed"),
        (spoil_json, "is damaged"),
        (other_json, "aemtwin_metadata describes 1"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_object_and_cause(
    tmp_path, change, cause
):
    path = written(tmp_path, stored())
    edit(path, change)
    with pytest.raises(BadFile, match=cause) as caught:
        open_nsid(path)
    assert str(path) in str(caught.value)
    assert "/Measurement_000/Channel_000/loops" in str(caught.value)


def test_files_that_are_no_nsid_are_refused(tmp_path):
    path = tmp_path / "f.h5"
    for make, cause in [
        (lambda: None, "does not exist"),
        (lambda: path.write_bytes(b""), "is empty"),
        (lambda: path.write_text("x,y\n1,2\n"), "is not an HDF5 file"),
        (lambda: h5py.File(path, "w").close(), "holds no NSID main dataset"),
    ]:
        make()
        with pytest.raises(BadFile, match=cause):
            open_nsid(path)
    with pytest.raises(OSError, match="is a folder"):
        open_nsid(tmp_path)
    with pytest.raises(BadFile, match="sha256_of"):
        sha256_of(tmp_path / "none")


def test_links_to_other_places_are_not_followed(tmp_path):
    other = tmp_path / "other.h5"
    write_nsid(other, [stored("secret")])
    path = written(tmp_path, stored())
    with h5py.File(path, "r+") as file:
        file["out"] = h5py.ExternalLink(str(other), "/Measurement_000")
        file["soft"] = h5py.SoftLink("/Measurement_000")
        file["dangling"] = h5py.SoftLink("/nowhere")
        group = file["Measurement_000/Channel_000/loops"]
        group["metadata"] = h5py.ExternalLink(str(other), "/Measurement_000")
        del group["aemtwin_metadata"]
        group["aemtwin_metadata"] = h5py.ExternalLink(str(other), "/Measurement_000")
    with open_nsid(path) as file:
        assert [a.name for a in file.arrays] == ["loops"]
        assert file.arrays[0].metadata == {}


def test_damaged_values_are_told_when_read(tmp_path):
    path = written(tmp_path, stored())
    with h5py.File(path, "r") as file:
        chunk = file["Measurement_000/Channel_000/loops/loops"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + 4] ^= 1
    path.write_bytes(data)
    with open_nsid(path) as file, pytest.raises(BadFile, match="bytes are damaged"):
        file.arrays[0].data[()]


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    data = written(tmp_path, stored(metadata={"a": 1}), stored("b")).read_bytes()
    path = tmp_path / "cut.h5"
    for end in {*range(0, 200, 7), *range(0, len(data), 97), len(data) - 1}:
        path.write_bytes(data[:end])
        with pytest.raises(BadFile):
            open_nsid(path)


def checksummed(data):
    """Offsets of bytes that HDF5 guards: all but its heaps of texts and references."""
    kept = np.ones(len(data), bool)
    at = data.find(b"GCOL")
    while at >= 0:
        size = int.from_bytes(data[at + 8 : at + 16], "little")
        kept[at : at + size] = False
        at = data.find(b"GCOL", at + size)
    return np.flatnonzero(kept)


@new_hdf5
def test_flipped_bytes_are_refused_or_harmless(tmp_path):
    data = written(tmp_path, stored(metadata={"a": 1})).read_bytes()
    offsets = checksummed(data)
    assert len(offsets) > 1000
    path = tmp_path / "flipped.h5"
    refused = 0
    for at in np.random.default_rng(0).choice(offsets, 400, replace=False):
        broken = bytearray(data)
        broken[at] ^= 0xFF
        path.write_bytes(broken)
        try:
            with open_nsid(path) as file:
                for one in file.arrays:
                    one.data[()]
        except BadFile:  # any other error fails this test
            refused += 1
    assert refused > 40


def test_many_processes_read_a_write_protected_file_at_once(tmp_path):
    path = written(tmp_path, stored())
    path.chmod(0o444)
    code = (
        "import sys; from aemtwin.formats.nsid import open_nsid\n"
        "with open_nsid(sys.argv[1]) as file:\n"
        "    print(file.arrays[0].data[()].sum(), flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with open_nsid(path) as file:
        command = [sys.executable, "-c", code, str(path)]
        readers = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
        said = [reader.stdout.readline() for reader in readers]  # all are open now
        for reader in readers:
            reader.communicate()
        assert [float(one) for one in said] == [file.arrays[0].data[()].sum()] * 2


def measurement(i, **more):
    given = {
        "call": "measure",
        "mode": "loops",
        "arrays": {"loops": np.full(4, i, "f4"), "phase": np.zeros(4)},
        "units": {"loops": "pm", "phase": "deg"},
        "quantities": {"loops": "Piezoresponse", "phase": "Phase"},
        "axes": (Axis("bias", "V", np.array([0.0, 1, -1, 0]), "Bias"),),
        "asked": np.array([i, 2 * i]) * 1e-9,
        "actual": np.array([i, 2 * i]) * 1e-9 + 1e-10,
        "time_s": (float(i), i + 0.5),
        "dwell_s": 0.5,
        "dose": 1.0,
        "rid": f"run/{i}/main",
    }
    return Measurement(**{**given, **more})


def test_the_measurements_of_a_run_become_stacks_and_positions(tmp_path):
    arrays = measurements_to_arrays([measurement(i) for i in range(3)])
    with open_nsid(written(tmp_path, *arrays)) as file:
        found = {a.name: a for a in file.arrays}
        assert found["loops"].data.shape == (3, 4)
        assert found["loops"].data.dtype == "f4"
        assert found["loops"].metadata["rids"][2] == "run/2/main"
        assert np.allclose(found["y"].data[()], np.arange(3) * 2e-9 + 1e-10, atol=0)
        assert found["asked_x"].data[2] == 2e-9
        assert found["time"].data[()].tolist() == [0, 1, 2]
    assert measurements_to_arrays([]) == []
    with pytest.raises(ShapeMismatch, match="unlike the first"):
        measurements_to_arrays([measurement(0), measurement(1, mode="other")])


EXPECTED = {
    "nsid/beps_pto50.nsid.h5": ("piezoresponse", (50, 50, 64), "float64"),
    "nsid/pfm_multichannel.nsid.h5": (None, None, None),
    "nsid/sts_grid_nanoscale.nsid.h5": ("current", (30, 30, 200), "float32"),
    "nsid/sto_eels_si.nsid.h5": (None, None, None),
    "nsid/eds_si_fei.nsid.h5": (None, None, "uint16"),
    "raw/BEPS_PTO_50x50.h5": ("generic", (50, 50, 64), "float64"),
}


@needs_data
@pytest.mark.parametrize("name", EXPECTED)
def test_real_files_open_and_come_back(tmp_path, name):
    called, shape, dtype = EXPECTED[name]
    with open_nsid(Path(REAL) / name) as file:
        path = written(tmp_path, *file.arrays)
        with open_nsid(path) as again:
            for a, b in zip(file.arrays, again.arrays, strict=True):
                assert_same(a, b)
                assert b.metadata == a.metadata
                assert b.derived == a.derived
        if called:
            found = file.array(called)
            assert (found.data.shape, str(found.data.dtype)) == (shape, dtype)
        assert dtype is None or dtype in {str(a.data.dtype) for a in file.arrays}


@needs_data
def test_derived_images_are_marked():
    with open_nsid(Path(REAL) / "nsid/beps_pto50.nsid.h5") as file:
        assert "NOT an independent" in file.array("loop_opening").derived
        assert file.array("piezoresponse").derived == ""


@needs_data
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("SingFreqPFM_0003.h5", "is a USID file"),
        ("SI-HAADF.dm3", "a file of Gatan.*SciFiReaders"),
        ("P0089OP0027.ibw", "a file of Asylum.*SciFiReaders"),
    ],
)
def test_real_files_of_other_formats_are_refused(name, cause):
    with pytest.raises(BadFile, match=cause):
        open_nsid(Path(REAL) / "raw" / name)
