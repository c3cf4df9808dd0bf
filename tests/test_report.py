"""The report of a made-up run: one offline page that holds everything."""

from __future__ import annotations

import base64
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from aemtwin import record as records
from aemtwin import report

FAKE = Path(__file__).parent / "plots" / "fake_record.py"
SPEC = importlib.util.spec_from_file_location("fake_record", FAKE)
fake = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fake)

RECORD = fake.record()
PAGE = report.render(RECORD)
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Reader(HTMLParser):
    """Hold tags against each other, and keep pictures and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.said: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action")]
        if tag == "img":
            self.images.append(named)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.said.append(data)


READ = Reader(PAGE)


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    """Let pages be about words: their pictures are drawn in `tests/plots`."""
    figure = SimpleNamespace(get_figwidth=lambda: 4.8)
    monkeypatch.setattr(report.plots, "draw", lambda kind, record: figure)
    monkeypatch.setattr(report.plots, "to_bytes", lambda figure, ending: b"picture")


def read(**changes) -> Reader:
    return Reader(report.render(fake.record(n=14, side=12, **changes)))


def test_the_page_is_smaller_than_two_megabytes():
    assert len(PAGE.encode()) < 2_000_000


def test_the_page_asks_for_nothing_outside_itself():
    assert all(link.startswith("data:") for link in READ.links)
    assert not re.search(r"https?://|file:|@import|url\(", PAGE)
    assert not READ.tags & {"script", "iframe", "object", "embed"}


def test_every_picture_is_a_png_with_a_text_of_its_own():
    assert len(READ.images) == 10
    assert len({image["alt"] for image in READ.images}) == 10
    for image in READ.images:
        assert len(image["alt"]) > 40
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data)[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_headline_gives_value_unit_position_and_what_was_measured_on():
    assert re.search(r"Best loop area: [\d.]+ pm·V at x = [\d.]+ nm, y = ", READ.text)
    assert "on the digital twin pfm_loops (AFM, seed 0)" in READ.text
    assert re.search(r"highest there is [\d.]+ pm·V", READ.text)


def test_the_scores_of_run_and_random_are_told_with_what_they_mean():
    for word in (
        "gp + log_ei (this run)",
        "random",
        *(t for t, *_ in report.COLUMNS.values()),
    ):
        assert word in READ.text
    for _, explanation, _ in report.COLUMNS.values():
        assert explanation in READ.text
    shown = f"{100 * RECORD.scores['rows'][0]['top_1_percent_found']:.1f} %"
    assert READ.text.count(shown) >= 2  # under the headline and in the table


def test_what_makes_the_run_again_is_all_there():
    for text in (
        "aemtwin run runs/20261122-101500-ab12/config.toml",
        "aemtwin resume runs/20261122-101500-ab12",
        "5f2c" * 16,
        "log_ei",
        "packages.numpy",
        "2.4.6",
        "4 programs were compiled",
    ):
        assert text in READ.text


def test_what_comes_from_outside_is_escaped():
    assert "a &lt;b&gt;&amp;&lt;/b&gt; c" in PAGE
    assert "<b>" not in PAGE
    hostile = '"><script>alert(1)</script>'
    start = {
        **RECORD.start,
        "instrument": {"name": hostile, "identity": {"k": hostile}},
    }
    stop = {"exit_status": "fail", "reason": hostile}
    page = read(
        start=start, stop=stop, value_name=hostile, environment={hostile: hostile}
    )
    assert "script" not in page.tags
    assert hostile in page.text


def test_the_same_run_gives_the_same_page(monkeypatch):
    monkeypatch.undo()
    assert report.render(fake.record()) == PAGE


def test_an_instrument_without_truth_is_called_so_and_nothing_vanishes():
    instrument = {"name": "Left AFM", "kind": "afm", "identity": {"twin": False}}
    start = {**RECORD.start, "instrument": instrument}
    page = read(start=start, truth=None, scores=None)
    assert "on the instrument Left AFM (AFM)" in page.text
    assert "truth not known" in page.text
    assert "There are no scores" in page.text
    assert "There is no data hash" in page.text
    assert len(page.images) == 9  # no calibration


def test_a_run_that_was_aborted_before_it_measured_says_so_everywhere():
    nothing = {"maps": None, "scores": None, "truth": None, "overview": None}
    stop = {"exit_status": "abort", "reason": "KeyboardInterrupt", "time": 1.7e9}
    page = read(events=[], stop=stop, environment={}, **nothing)
    for text in (
        "No valid measurement",
        "This run was aborted: KeyboardInterrupt.",
        "No overview frame was taken",
        "The run holds no map of the predicted mean",
        "No measurement was made",
        "not on record yet",
        "Go on where it stopped",
        "The run recorded no environment.",
    ):
        assert text in page.text
    assert page.images == []


def test_a_run_that_goes_on_is_not_called_finished():
    assert "goes on, or was cut off" in read(stop=None).text


def test_scores_that_a_method_has_not_are_dashes():
    scores = {**RECORD.scores, "rows": [{"method": "grid", "n": 9, "rmse": None}]}
    assert "grid (this run) 9 – – – – –" in read(scores=scores).text


def test_what_the_instrument_said_is_told():
    event = fake.record(n=1, side=12).events[0]
    told = {**event, "data": {**event["data"], "notices": "moved off the grid"}}
    assert "Measurement 1: moved off the grid" in read(events=[told]).text


def test_a_huge_log_density_stays_short_and_equal_truths_are_told():
    row = {**RECORD.scores["rows"][0], "nlpd": 123456789.0}
    scores = {**RECORD.scores, "rows": [row]}
    truth = fake.record(n=14, side=12).truth * 0 + 1e-12
    page = read(scores=scores, truth=truth)
    assert "1.235 × 10⁸" in page.text
    assert "All true values are equal" in page.text
    assert "All true values are equal" not in READ.text


def test_structural_input_that_knows_the_spectra_is_warned_of():
    leaky = {"inputs": {"leaky": True}}
    start = {**fake.record().start, "images": ["opening"]}
    page = read(config=leaky, start=start)
    assert "Structural input is derived from the spectra (leaky = true)" in page.text
    allowed = read(config=leaky, start={**start, "images": ["topography"]})
    assert "derived from the spectra" not in allowed.text
    assert "leaky = true" not in READ.text


def test_pictures_that_most_runs_cannot_have_are_left_out_in_silence():
    record = fake.record(n=14, side=12)
    maps = {k: v for k, v in record.maps.items() if k != "latent"}
    page = read(maps=maps)
    assert "latent" not in page.text.lower()
    assert len(page.images) == len(READ.images) - 1


def test_the_dose_is_shown_where_it_is_more_than_time():
    instrument = {**RECORD.start["instrument"], "dose_units": "electrons"}
    page = read(start={**RECORD.start, "instrument": instrument})
    assert any("dose over the candidates" in image["alt"] for image in page.images)
    assert not any("dose over the candidates" in image["alt"] for image in READ.images)


def test_the_report_is_written_whole_into_the_run_folder(tmp_path, monkeypatch):
    small = fake.record(tmp_path, n=14, side=12)
    monkeypatch.setattr(records, "read_run", lambda path: small)
    path = report.write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == report.render(small)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_report_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr(records, "read_run", lambda path: fake.record(n=3, side=12))
    monkeypatch.setattr(report.os, "replace", lambda *names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_commands_are_quoted_and_short_where_they_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = read(path=tmp_path / "my runs" / "a")
    assert "aemtwin run 'my runs/a/config.toml'" in page.text
