"""Pictures and tables of runs that seek several numbers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from aemtwin import compare, plots, report
from aemtwin.plots import several, story
from aemtwin.plots.front import on_front, volumes
from aemtwin.plots.several import (
    compared,
    measured,
    numbers,
    reference,
    section,
    volumes_together,
)

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("fake_record", HERE / "fake_record.py")
fake = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fake)
TWO, THREE, MANY = (fake.of_several(p) for p in (2, 3, 4))
ALONE = fake.of_several(scored=False)


def beaten(y, i):
    """Say by definition whether another measurement dominates number i."""
    return any(
        (other >= y[i]).all() and (other > y[i]).any()
        for other in y
        if np.isfinite(other).all()
    )


@pytest.mark.parametrize("record", [TWO, THREE, MANY])
def test_the_front_is_what_no_other_measurement_dominates(record):
    y = record.outcomes
    expected = {i for i in range(len(y)) if i != 4 and not beaten(y, i)}
    found = on_front(record)
    assert set(found) == expected
    assert (np.diff(y[found, 0]) <= 0).all()


def test_a_picture_rings_the_front_and_says_what_is_to_be_low():
    ax = plots.draw("front", TWO).axes[0]
    ring = next(c for c in ax.collections if c.get_label() == "front as measured")
    assert len(ring.get_offsets()) == len(on_front(TWO))
    assert ax.get_ylabel().startswith("−imprint")
    third = plots.draw("front", THREE)
    assert len(third.axes) == 2 or third.axes[0].child_axes  # a bar for the third


def test_hypervolume_is_in_per_cent_of_the_truth_where_that_is_known():
    drawn = plots.draw("hypervolume", TWO).axes[0].get_lines()
    found = volumes(TWO)
    curve = next(line for line in drawn if line.get_label() == "gp + log_ei")
    expected = 100 * found.curves["gp + log_ei"] / found.whole
    np.testing.assert_allclose(curve.get_ydata(), expected)
    alone = volumes(ALONE)
    assert alone.whole is None
    assert list(alone.curves) == ["this run"]
    assert "measured" in plots.draw("hypervolume", ALONE).axes[0].get_ylabel()


def test_what_a_run_has_not_is_said():
    one = fake.record(n=14, side=12)
    assert "one number" in plots.missing("front", one)
    assert "two or three" in plots.missing("hypervolume", MANY)
    blind = fake.of_several(outcomes=np.full((14, 2), np.nan))
    assert "No measurement gave every number" in plots.missing("front", blind)


def test_a_run_is_told_by_its_front_and_its_numbers():
    k = len(on_front(TWO))
    assert f"{k} of 14 measurements are on the front" in story.headline(TWO)
    assert numbers(THREE) == "loop area, −imprint and switching"
    assert dict(story.facts(TWO))["hypervolume found"] == "75.0 %"
    assert reference(TWO).startswith("Hypervolume is counted from loop area = ")
    assert "as measured" in reference(ALONE)
    assert reference(MANY) == ""
    rows, columns = measured(TWO)
    assert [int(row["method"]) - 1 for row in rows] == list(on_front(TWO))
    assert [title for title, _ in columns] == ["loop area", "−imprint"]


def test_a_comparison_has_scores_of_every_method_and_marks_the_best():
    other = fake.of_several(uid="other", path=Path("runs/other"))
    rows = compared(compare.methods([TWO, other]))
    assert [row["cells"][0] for row in rows] == [
        ("75.0 %", True),
        ("75.0 %", True),
        ("50.0 %", False),
    ]
    assert compared(compare.methods([TWO, ALONE])) == []
    assert section(compare.methods([fake.record(n=14, side=12)]), mark=True) == {}


@pytest.mark.slow
def test_the_pages_of_runs_tell_it():
    page = report.render(TWO)
    assert "What it found of several numbers" in page
    assert "75.0" in page
    single = fake.record(n=14, side=12)
    assert "What it found of several" not in report.render(single)
    other = fake.of_several(uid="other", path=Path("runs/other"))
    assert "What they found of several numbers" in compare.render([TWO, other])
    assert "several numbers" not in compare.render([single])


def test_without_a_truth_hypervolumes_have_one_reference():
    lower = fake.of_several(scored=False, outcomes=ALONE.outcomes - 1.0, uid="lower")
    curves, shared = volumes_together(compare.methods([ALONE, lower]))
    assert not shared
    assert (curves[0][0] >= curves[1][0]).all()
    assert curves[0][0][-1] > curves[1][0][-1]


def test_small_references_that_differ_have_no_picture_together(monkeypatch):
    """References are in SI units: nanometres are not all the same."""
    both = compare.methods([TWO, fake.of_several(uid="other")])
    assert volumes_together(both)[0]
    real = several.volumes

    def moved(run):
        found = real(run)
        scale = 5e-9 if run.uid == "other" else 1e-9
        return found._replace(reference=np.full(2, scale))

    monkeypatch.setattr(several, "volumes", moved)
    assert volumes_together(both)[0] == []
