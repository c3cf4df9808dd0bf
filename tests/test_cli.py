"""The command line, as a user has it: in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aemtwin
from aemtwin.cli import main
from aemtwin.documents import steady
from aemtwin.formats.catalog import find_twin
from aemtwin.instruments.allowed import Allowed
from aemtwin.record import read_run

ENV = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def aem(*arguments: str, cwd: Path | None = None, timeout: float = 110):
    return subprocess.run(
        [sys.executable, "-m", "aemtwin", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENV,
        timeout=timeout,
    )


@pytest.fixture
def here(monkeypatch, capsys, tmp_path):
    """Give the command line as a function of its words, in this process."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, cwd: Path = tmp_path):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["aemtwin", *arguments])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, said.out, said.err)

    return call


@pytest.fixture(autouse=True)
def _as_on_a_terminal():
    """A suite started in the background would pass an ignored Ctrl-C on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, shortened; far from any checkout, display and setting."""
    where = tmp_path_factory.mktemp("somewhere")
    environment = {k: v for k, v in ENV.items() if k not in ("DISPLAY", "AEMTWIN_DATA")}
    done = subprocess.run(
        [sys.executable, "-m", "aemtwin", "demo", "--steps", "5"],
        capture_output=True,
        text=True,
        cwd=where,
        env=environment,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return where, done


def test_the_demo_prints_what_it_found_and_where_the_report_is(demo):
    where, done = demo
    assert re.search(r"best found: [\d.]+ pm·V at x = .* nm", done.stdout)
    assert "the truth's best is" in done.stdout
    assert re.search(r"dkl \+ log_ei +top 1 % found", done.stdout)
    assert re.search(r"random +top 1 % found", done.stdout)
    report = where / re.search(r"report: (\S+)", done.stdout)[1]
    assert report.is_file()
    assert report.stat().st_size < 2 * 2**20


def test_the_demo_shows_how_far_it_is_and_where_the_time_goes(demo):
    assert re.search(
        r"15/15 .*move \d+% measure \d+% fit \d+% decide \d+%", demo[1].stderr
    )


def test_the_number_of_compiled_programs_is_told(demo):
    record = read_run(next((demo[0] / "runs").iterdir()))
    assert 3 <= record.stop["compilations"] <= 20
    report = (record.path / "report.html").read_text()
    assert f"{record.stop['compilations']} programs were compiled" in report


def test_the_demo_writes_below_runs_only(demo):
    assert [p.name for p in demo[0].iterdir()] == ["runs"]


def test_the_run_can_be_made_again_from_its_folder(demo, here):
    where, _ = demo
    first = next((where / "runs").iterdir())
    done = here("run", f"runs/{first.name}/config.toml", cwd=where)
    assert done.returncode == 0, done.stderr
    second = max((where / "runs").iterdir())
    assert second != first
    one, two = read_run(first), read_run(second)
    assert [steady(e) for e in one.events] == [steady(e) for e in two.events]
    assert one.config_text == two.config_text


@pytest.mark.parametrize("kind", ["overview", "learning_curve"])
def test_plot_draws_one_picture(demo, here, kind):
    where, _ = demo
    run = next((where / "runs").iterdir())
    done = here("plot", kind, f"runs/{run.name}", "-o", f"runs/{kind}.svg", cwd=where)
    assert done.returncode == 0, done.stderr
    assert "<svg" in (where / done.stdout.strip()).read_text()
    (where / done.stdout.strip()).unlink()


def test_info_tells_all_of_a_twin_and_of_its_file_alone(here):
    told = here("info", "stm_spectroscopy").stdout
    assert "kind stm as its twin.toml says" in told
    assert "tunnel_didv: Tunnelling conductance" in told
    assert "effects on: drift, creep, flicker" in told
    assert "told to nobody: gap_ev" in told
    alone = here("info", str(find_twin("stem_eels").data), "--counts", "eels=expected")
    assert "served as stem, since 'eels' has an axis of energy" in alone.stdout
    assert "counts, by Poisson's law" in alone.stdout


def test_info_tells_what_an_instrument_behind_a_uri_can_do(here):
    allowed = Allowed(rate_hz=5.0)
    with aemtwin.serve(aemtwin.open_twin("pfm_loops"), limits=allowed) as server:
        told = here("info", server.uri).stdout
    assert told.startswith("pfm_loops, kind afm, protocol 1.")
    assert "loops: Piezoresponse (pm, float32) over bias (64)" in told
    assert "the server allows: rate_hz 5.0" in told
    assert "now: 0 operations; dose 0 s; at 1000.0, 1000.0 nm" in told


def test_what_a_reader_leaves_unread_is_no_failure(tmp_path):
    asked = [sys.executable, "-m", "aemtwin", "info", "pfm_loops"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        one.stdout.close()
        told = one.stderr.read()
    assert told == b""


@pytest.mark.slow
def test_a_run_takes_effects_and_counts_of_its_twin(tmp_path, here):
    plain = str(find_twin("stem_eels").data)
    done = here(
        *("run", "--twin", plain, "--scalarizer", "band_intensity:low=7,high=9"),
        *("--surrogate", "gp", "--steps", "1", "--first", "3"),
        *("--counts", "eels=expected", "--effects", "drift"),
    )
    assert done.returncode == 0, done.stderr
    assert "the truth there is" in done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    identity = read_run(run).start["instrument"]["identity"]
    assert identity["counts"] == {"eels": "expected"}
    assert list(identity["effects"]) == ["drift"]


def test_plot_draws_the_sheet_of_a_twin(tmp_path, here):
    done = here("plot", "twin", "pfm_loops", "-o", "sheet.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_sample_of_several_is_chosen_by_name(tmp_path, here, data_folder):
    file = str(data_folder / "nsid" / "pfm_multichannel.nsid.h5")
    sheet = tmp_path / "sheet.png"
    drawn = here("plot", "twin", file, "--select", "PZT_thick0009", "-o", str(sheet))
    assert drawn.returncode == 0, drawn.stderr
    assert sheet.stat().st_size > 10_000
    refused = here("run", "--twin", file, "--select", "PMN28Pt0000", cwd=tmp_path)
    assert refused.returncode == 2
    assert "it has images alone" in refused.stderr.replace("\n", " ")


def test_report_writes_it_again(demo, here):
    where, _ = demo
    run = min((where / "runs").iterdir())
    (run / "report.html").unlink()
    done = here("report", str(run))
    assert done.stdout.strip() == str(run / "report.html")
    assert (run / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("run", "--twin", "pfm_lops"), 2, "Did you mean 'pfm_loops'"),
        (("run",), 2, "needs an instrument"),
        (("run", "first_lite"), 2, "no experiment 'first_lite'"),
        (("run", "--twin", "pfm_loops", "--surrogate", "gpp"), 2, "Did you mean 'gp'"),
        (("run", "--twin", "pfm_loops", "--steps", "-3"), 2, "steps = -3"),
        (("run", "--twin", "pfm_loops", "--stps", "3"), 2, "--stps"),
        (("run", "--twin", "a", "--uri", "PYRO:b@c:1"), 2, "In the flags: "),
        (("run", sys.executable), 2, "data is given by --twin FILE"),
        (("run", "--select", "x", "--uri", "PYRO:b@c:1"), 2, "describe a --twin"),
        (("run", "--uri", "PYRO:Instrument_Server@127.0.0.1:1"), 1, "No instrument"),
        (("serve", "nothing.h5"), 1, "nothing.h5 does not exist"),
        (("serve", "pfm_loops", "--kind", "afn"), 2, "Did you mean 'afm'"),
        (("serve", "pfm_loops", "--host", "0.0.0.0"), 2, "loopback"),
        (("serve", "pfm_loops", "--calibrate", "x:3"), 2, "x=0.39nm/px"),
        (("serve", "pfm_loops", "--calibrate", "x=1-2nm/px"), 2, "x=0.39nm/px"),
        (("serve", "pfm_loops", "--port", "99999"), 2, "Choose another port"),
        (("serve", "pfm_loops", "--noise", "loops=much"), 2, "loops=1.5"),
        (("serve", "pfm_loops", "--noise", "loops=-1"), 2, "noise of loops"),
        (("run", "first_light", "--steps", "-1"), 2, "In the flags, steps = -1"),
        (("run", "--twin", "pfm_loops", "--select", "no"), 2, "no sample 'no'"),
        (("run", "--twin", "pfm_loops", "--out", "/proc/no"), 1, "/proc/no"),
        (("plot", "twin", "pfm_loops", "-o", "no/where.png"), 1, "no/where.png"),
        (("resume", "nowhere"), 2, "is not a run folder"),
        (("report", "nowhere"), 1, "is not a run folder"),
        (("plot", "men", "nowhere"), 1, "is not a run folder"),
        (("info", "nowhere.h5"), 1, "nowhere.h5 does not exist"),
        (("list", "twin"), 2, "Did you mean 'twins'"),
        (("dmo",), 2, "dmo"),
    ],
)
def test_wrong_use_is_one_paragraph_and_a_status(
    tmp_path, here, arguments, status, said
):
    done = here(*arguments)
    assert done.returncode == status, done.stderr
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("*.jsonl")) == []


@pytest.mark.slow
def test_debug_shows_the_traceback(tmp_path):
    done = aem("info", "nowhere.h5", "--debug", cwd=tmp_path)
    assert "Traceback" in done.stderr


def test_a_process_ends_with_that_status_and_that_sentence(tmp_path):
    done = aem("run", "--twin", "pfm_lops", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("aemtwin: ")
    assert "Did you mean 'pfm_loops'" in done.stderr


def test_list_names_everything_with_one_line(here):
    done = here("list")
    for name in ("pfm_loops", "gp", "log_ei", "loop_area", "learning_curve"):
        assert re.search(rf"^  {name} +\S+", done.stdout, re.M), name


def test_info_tells_what_a_file_holds(here):
    data = aemtwin.open_twin("pfm_loops").describe()
    from aemtwin.formats.catalog import find_twin

    done = here("info", str(find_twin("pfm_loops").data))
    for array in (*data.channels, data.modes[0]):  # what is stored, not computed
        assert array.name in done.stdout
    assert "V" in done.stdout
    assert "served as afm, since" in " ".join(done.stdout.split())


def test_doctor_measures_once():
    done = aem("doctor")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    assert re.search(
        r"ok +a twin behind its URI: PYRO:.* gave loops \(64,\)", done.stdout
    )


def test_serve_prints_the_uri_first_and_a_run_needs_nothing_else(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-m", "aemtwin", "serve", "pfm_loops", "--truth"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    try:
        uri = server.stdout.readline().strip()
        assert uri.startswith("PYRO:Instrument_Server@127.0.0.1:")
        done = aem("run", "--uri", uri, "--steps", "2", "--first", "3", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert read_run(next((tmp_path / "runs").iterdir())).config["uri"] == uri
    finally:
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=20)
    assert "Traceback" not in said


@pytest.mark.slow
def test_kill_minus_nine_and_resume_is_the_run_uninterrupted(tmp_path):
    flags = ("run", "--twin", "pfm_loops", "--steps", "12", "--seed", "4")
    whole = aem(*flags, "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    cut = subprocess.Popen(
        [sys.executable, "-m", "aemtwin", *flags, "--out", "cut"],
        cwd=tmp_path,
        env=ENV,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    events = 0
    try:
        while events < 14:  # four decisions in
            time.sleep(0.005)
            assert cut.poll() is None, "it ended before it could be killed"
            for journal in (tmp_path / "cut").glob("*/journal.jsonl"):
                events = journal.read_text().count('["event"')
    finally:
        cut.kill()
        cut.wait()
    folder = next((tmp_path / "cut").iterdir())
    assert read_run(folder).stop is None
    resumed = aem("resume", f"cut/{folder.name}", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    expected = read_run(next((tmp_path / "whole").iterdir()))
    found = read_run(folder)
    assert [steady(e) for e in found.events] == [steady(e) for e in expected.events]
    assert found.scores == expected.scores


@pytest.mark.slow
def test_ctrl_c_stops_with_the_command_to_go_on(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-m", "aemtwin", "run", "--twin", "pfm_loops"],
        cwd=tmp_path,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        journals = (tmp_path / "runs").glob
        while not any('["event"' in p.read_text() for p in journals("*/journal.jsonl")):
            time.sleep(0.02)
            assert run.poll() is None
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to child and parent
        _, said = run.communicate(timeout=30)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 1
    assert "Traceback" not in said
    command = re.search(r"Go on with: aemtwin (resume \S+)", said)[1]
    folder = tmp_path / command.split()[1]
    assert read_run(folder).stop["exit_status"] == "abort"
