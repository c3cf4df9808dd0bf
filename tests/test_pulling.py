"""`aemtwin pull`: the right arrays, as files that open anywhere."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin import cli, pulling
from aemtwin.errors import OutOfRange, TruthRefused, UnknownName
from tests.small import small_arrays, small_twin

RID = "r/1/scan"


@pytest.fixture
def twin():
    one = small_twin()
    one.scan(shape=(200, 100), rid=RID)  # height is large, counts is not
    one.measure("loops", rid="r/2/measure")
    one.move_to((0.0, 0.0), rid="r/3/move")
    yield one
    one.close()


@pytest.fixture
def served(twin):
    with aemtwin.serve(twin, truth=True) as server:
        yield server


@pytest.fixture
def scope(served):
    one = aemtwin.connect(served.uri)
    yield one
    one.close()


@pytest.mark.parametrize(
    ("ref", "names"),
    [
        (RID, ["height", "counts"]),
        (f"{RID}#counts", ["counts"]),
        (f"{RID}#0", ["height"]),
        ("r/2/measure", ["loops", "lockin"]),
        ("recording", ["height", "counts", "loops", "lockin"]),
        ("recording#loops", ["loops"]),
    ],
)
def test_a_ref_means_arrays_and_they_are_those(scope, twin, tmp_path, ref, names):
    found = pulling.wanted(scope, ref)
    assert [one.name for one in found] == names
    stored = {one.name: one.data for one in small_arrays()}
    for one, path in zip(found, pulling.paths(ref, found, tmp_path), strict=True):
        nbytes = pulling.pull(scope, one, path)
        values = np.load(path)
        rid = ref.partition("#")[0]
        want = stored if rid == "recording" else twin.fetch(rid).arrays
        assert np.array_equal(values, want[one.name])
        assert nbytes == values.nbytes


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("r/9/scan", "no request"),
        (f"{RID}#heigt", "Did you mean 'height'"),
        (f"{RID}#7", "no array '7'"),
        ("r/3/move", "gave no array"),
    ],
)
def test_what_is_not_there_is_said(scope, ref, says):
    with pytest.raises(UnknownName, match=says):
        pulling.wanted(scope, ref)


def test_one_file_is_for_one_array(scope, tmp_path):
    found = pulling.wanted(scope, RID)
    with pytest.raises(OutOfRange, match="a folder"):
        pulling.paths(RID, found, tmp_path / "out.npy")
    (path,) = pulling.paths(RID, found[:1], tmp_path / "out.npy")
    assert path == tmp_path / "out.npy"


def test_what_there_is_is_listed(scope):
    listed = [line.split()[0] for line in pulling.listed(scope)]
    assert listed[:2] == ["recording#height", "recording#counts"]
    assert listed[4:] == [RID, "r/2/measure"]


def test_a_recording_that_is_not_served_is_not_listed_and_is_refused(twin):
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri)
        assert next(line.split()[0] for line in pulling.listed(scope)) == RID
        with pytest.raises(TruthRefused):
            pulling.wanted(scope, "recording")
        scope.close()


def test_the_command_writes_files_and_tells_which(served, twin, tmp_path, capsys):
    for arguments in ([], [f"{RID}#height", "-o", str(tmp_path / "h.npy")]):
        with pytest.raises(SystemExit) as ended:
            cli.app(["pull", served.uri, *arguments])
        assert ended.value.code in (0, None)
    said = capsys.readouterr().out
    assert "recording#loops  float32, 5 x 6 x 12, pm" in said
    assert f"{tmp_path / 'h.npy'}: float64, 200 x 100, m" in said
    assert np.array_equal(np.load(tmp_path / "h.npy"), twin.fetch(RID).values)
