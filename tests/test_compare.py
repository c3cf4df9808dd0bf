"""Several made-up runs on one page: what differs, whether they compare, who is best."""

from __future__ import annotations

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aemtwin import compare
from aemtwin import record as records
from aemtwin.errors import BadJournal, OutOfRange
from aemtwin.plots.comparison import learning_curves
from aemtwin.plots.groups import differing, methods

FAKE = Path(__file__).parent / "plots" / "fake_record.py"
SPEC = importlib.util.spec_from_file_location("fake_record", FAKE)
fake = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fake)
BASE = fake.record(n=14, side=12)


def run(i: int, acquisition: str = "log_ei", seed: int = 0, **changes: Any) -> Any:
    """A run that found a little more than the one before it."""
    rows = [dict(row) for row in BASE.scores["rows"]]
    rows[0] |= {"method": f"gp + {acquisition}", "top_1_percent_found": i / 100}
    rows[1] |= {"regret": rows[1]["regret"] * (1 + seed)}
    first = BASE.scores["curves"]["gp + log_ei"]
    curves = {
        f"gp + {acquisition}": [value * (1 + 0.01 * i) for value in first],
        "random": BASE.scores["curves"]["random"],
    }
    config = {
        "seed": seed,
        "out": f"runs{i}",
        "twin": {"source": "pfm_loops", "seed": seed},
        "scalarizer": {"name": "loop_area"},
        "surrogate": {"name": "gp"},
        "acquisition": {"name": acquisition},
    }
    given = {
        "uid": f"run-{i}",
        "config": config,
        "scores": {**BASE.scores, "rows": rows, "curves": curves},
    }
    return fake.record(Path("runs") / f"run-{i}", n=14, side=12, **{**given, **changes})


class Reader(HTMLParser):
    """Keep text, links, pictures, and what is marked as the best."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.best: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.style = self.marked = False
        self.feed(page)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.style = tag == "style"
        self.marked = named.get("class") == "best"
        self.links += [v for k, v in attrs if k in ("src", "href")]
        if tag == "img":
            self.images.append(named["alt"])

    def handle_data(self, data):
        if self.marked and data.strip():
            self.best.append(" ".join(data.split()))
        if not self.style:
            self.said.append(data)


def read(*found: Any) -> Reader:
    return Reader(compare.render(found))


TWO = run(1), run(2, "ucb")
PAGE = compare.render(TWO)
READ = Reader(PAGE)


def test_the_page_is_one_offline_file_that_repeats():
    assert compare.render(TWO) == PAGE
    assert all(link.startswith("data:") for link in READ.links)
    assert not re.search(r"https?://|file:|@import|url\(|<script", PAGE)
    assert len(READ.images) == 3


def test_what_differs_is_told_and_what_is_equal_is_folded():
    assert differing(TWO) == {"acquisition.name": ["log_ei", "ucb"]}
    assert "acquisition.name log_ei ucb" in READ.text
    assert "gp + log_ei against gp + ucb" in READ.text
    assert "What is equal: 5 settings" in READ.text


def test_the_best_is_marked_and_named():
    assert "2.0 %" in READ.best
    assert "1.0 %" not in READ.best
    assert "most of the top 1 % found 2.0 % by gp + ucb" in READ.text


def test_the_random_run_beside_several_counts_once():
    names = [one.label for one in methods(TWO)]
    assert names == ["gp + log_ei", "gp + ucb", "random (baseline)"]
    apart = [one.label for one in methods([run(1), run(2, seed=1)])]
    assert apart == [
        "gp + log_ei, seed 0",
        "gp + log_ei, seed 1",
        "random (baseline), seed 0",
        "random (baseline), seed 1",
    ]


def test_random_runs_that_differ_in_their_map_alone_are_one_curve():
    config = {**run(2).config, "surrogate": {"name": "dkl"}}
    found = methods([run(1), run(2, config=config)])
    labels = ["random (baseline), map by gp", "random (baseline), map by dkl"]
    assert [one.label for one in found if one.baseline] == labels
    (ax,) = learning_curves(found).axes
    drawn = [str(line.get_label()) for line in ax.get_lines()]
    assert [label for label in drawn if "random" in label] == ["random (baseline)"]


def test_repeats_become_one_method_with_a_standard_error():
    many = [run(i, a, seed=i % 4) for i, a in enumerate(4 * ["log_ei"] + 4 * ["ucb"])]
    found = methods(many)
    assert [(one.label, len(one.runs)) for one in found] == [
        ("gp + log_ei", 4),
        ("gp + ucb", 4),
        ("random (baseline)", 4),
    ]
    page = read(*many)
    error = 100 * np.std([0.04, 0.05, 0.06, 0.07], ddof=1) / 2
    assert f"5.5 ± {error:.1f} %" in page.best
    assert "gp + ucb (4 runs)" in page.text
    assert "seed 0 (2 runs), 1 (2 runs)" in page.text
    assert "Every run by itself: 12 rows" in page.text


OTHERS = {
    "specimen": {
        "start": {
            **BASE.start,
            "instrument": {"name": "pfm_loops", "identity": {"data_sha256": "00"}},
        }
    },
    "units": {"value_units": "V"},
    "candidates": {"candidates": BASE.candidates * 2},
    "truth": {"truth": BASE.truth * 2},
    "numbers": {"config": {**run(2).config, "scalarizer": {"name": "peak"}}},
}


@pytest.mark.parametrize("what", OTHERS)
def test_scores_that_do_not_compare_are_warned_of_and_none_is_best(what):
    page = read(run(1), run(2, **OTHERS[what]))
    assert "Their scores do not compare." in page.text
    assert page.best == []
    assert "most of the top" not in page.text


def test_runs_of_other_units_have_no_curve_together():
    page = read(run(1), run(2, value_units="V"))
    assert page.text.count("The runs are in different units, so") == 2


def test_unfinished_runs_and_runs_without_truth_are_shown_and_told():
    cut_off = run(2, stop=None, scores=None, truth=None)
    page = read(run(1), cut_off)
    assert "No end is on record of run-2: not finished." in page.text
    assert "learning curves are of measured values therefore" in page.text
    assert "best measured" in page.text
    nothing = {"maps": None, "scores": None, "truth": None, "overview": None}
    page = read(run(3, events=[], stop=None, **nothing))
    assert "No measurement gave a valid value." in page.text
    assert page.images == []


def test_leaky_and_failed_runs_are_warned_of():
    events = [dict(e, data=dict(e["data"])) for e in BASE.events]
    events[6]["data"] |= {"valid": False, "failed": True}
    leaky = run(2, events=events)
    leaky.config["inputs"] = {"leaky": True}
    leaky.start["images"] = ["topography", "opening"]
    page = read(run(1), leaky)
    assert "say nothing about a real experiment. It holds for: run-2." in page.text
    assert "1 measurements failed on the instrument" in page.text


def test_times_of_other_machines_do_not_compare():
    assert "Times do not compare" not in READ.text
    other = run(2, environment={**BASE.environment, "processor": "quantum"})
    assert "Times do not compare: processor differ" in read(run(1), other).text


def test_what_comes_from_outside_is_escaped():
    hostile = '"><script>alert(1)</script>'
    config = {**run(2).config, "acquisition": {"name": hostile}}
    assert "<script" not in compare.render([run(1), run(2, config=config)])


def test_a_hundred_runs_make_a_page_of_moderate_size():
    rng = np.random.default_rng(0)
    many = [
        run(i, rng.choice(["log_ei", "ucb", "random"]), seed=i // 3) for i in range(100)
    ]
    assert len(compare.render(many).encode()) < 1_000_000


def test_the_page_is_written_where_it_is_asked_for(tmp_path, monkeypatch):
    known = {"a": run(1), "b": run(2)}
    monkeypatch.setattr(records, "read_run", lambda path: known[Path(path).name])
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "a"]
    path = compare.write_comparison(folders, tmp_path / "new" / "c.html")
    text = path.read_text(encoding="utf-8")
    assert path == tmp_path / "new" / "c.html"
    assert "2 runs on the digital twin pfm_loops (AFM)" in text
    assert "aemtwin compare runs/run-1 runs/run-2 -o" in text
    assert [file.name for file in path.parent.iterdir()] == ["c.html"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(BadJournal, match="not a run folder"):
        compare.write_comparison([tmp_path], tmp_path / "c.html")
    with pytest.raises(OutOfRange, match="one or more"):
        compare.write_comparison([], tmp_path / "c.html")
    assert list(tmp_path.iterdir()) == []
