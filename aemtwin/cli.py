"""The command line: `aemtwin demo | serve | run | resume | report | plot | ...`.

Commands parse, call the library and print; each imports what it needs when it runs, so
that `aemtwin --help` is quick. Exit status is 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import App, Parameter

from aemtwin import __version__
from aemtwin.errors import (
    AemtwinError,
    BadConfig,
    NotSupported,
    OutOfRange,
    UnknownName,
    WrongType,
)

app = App(
    name="aemtwin",
    help="Digital twins of microscopes behind a Pyro4 URI, and the loop that learns on "
    "them. The same campaign runs the real instrument: change its URI.",
    version=__version__,
    help_format="plaintext",
)

WRONG_USE = (
    cyclopts.CycloptsError,
    BadConfig,
    NotSupported,
    OutOfRange,
    UnknownName,
    WrongType,
)

Steps = Annotated[int | None, Parameter(help="Measurements that are decided on.")]
Out = Annotated[str | None, Parameter(help="Folder for the run's own folder.")]
Seed = Annotated[int | None, Parameter(help="Of all chance in the decisions.")]


@app.command
def demo(
    *,
    steps: Annotated[int, Parameter(help="Measurements after the first ten.")] = 40,
    seed: Annotated[int, Parameter(help="Of all chance.")] = 0,
    out: Annotated[str, Parameter(help="Folder for the run's own folder.")] = "runs",
) -> None:
    """Everything at once: serve a synthetic twin, run a campaign, write the report.

    The twin runs in a process of its own and is reached by its URI, as instruments are.
    """
    from aemtwin.config import build

    config = build(
        {
            "twin": {"source": "pfm_loops", "seed": seed},
            "steps": steps,
            "seed": seed,
            "out": out,
        }
    )
    print(
        "A piezoresponse force microscope (synthetic, pfm_loops) is served from a "
        "process of its own;\na Gaussian process looks for the widest switching loop "
        f"on its 2 µm field: {config.first} first points, then {steps} that it chooses."
    )
    _run(config)


@app.command
def serve(
    source: Annotated[str, Parameter(help="Catalogue name, twin folder or NSID file.")],
    /,
    *,
    kind: Annotated[
        str | None, Parameter(help="afm or stem; default: guessed.")
    ] = None,
    select: Annotated[
        str | None, Parameter(help="Sample of a file of several.")
    ] = None,
    ideal: Annotated[bool, Parameter(negative="", help="No noise, no effect.")] = False,
    truth: Annotated[
        bool, Parameter(negative="", help="Tell the noise-free data, for scores.")
    ] = False,
    seed: Annotated[int, Parameter(help="Of all chance.")] = 0,
    host: Annotated[str, Parameter(help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="0 for a free one.")] = 0,
    real_time: Annotated[
        bool, Parameter(negative="", help="Take the time that the instrument would.")
    ] = False,
    noise: Annotated[
        list[str] | None,
        Parameter(help="Read-out noise of a channel or mode: loops=1.5.", negative=""),
    ] = None,
    calibrate: Annotated[
        list[str] | None,
        Parameter(help="Length of an axis that has none: x=0.39nm/px.", negative=""),
    ] = None,
    ledger: Annotated[Path | None, Parameter(help="File of the ledger.")] = None,
    until_stdin_closes: Annotated[bool, Parameter(show=False, negative="")] = False,
) -> None:
    """Serve a twin; the first line printed is its URI. Ctrl-C ends it."""
    from aemtwin import flags
    from aemtwin.instruments.opening import open_twin
    from aemtwin.remote.server import serve as serve_instrument

    twin = open_twin(
        source,
        kind=kind,
        select=select,
        ideal=ideal,
        seed=seed,
        noise=flags.noise(noise or []),
        calibrate=flags.calibration(calibrate or []),
        real_time=real_time,
        ledger=ledger,
    )
    with serve_instrument(twin, host=host, port=port, truth=truth) as server:
        print(server.uri, flush=True)
        if until_stdin_closes:
            sys.stdin.read()
            return
        spec = twin.describe()
        print(
            f"{spec.name}, kind {spec.kind}, sample {spec.identity['sample']!r}; "
            f"modes: {', '.join(m.name for m in spec.modes) or 'none'}; channels: "
            f"{', '.join(c.name for c in spec.channels) or 'none'}. Ctrl-C ends it.",
            file=sys.stderr,
            flush=True,
        )
        server.wait()


@app.command
def run(
    experiment: Annotated[
        str | None,
        Parameter(help="An experiment by name, or a campaign file."),
    ] = None,
    /,
    *,
    twin: Annotated[str | None, Parameter(help="Twin to serve: name or file.")] = None,
    uri: Annotated[str | None, Parameter(help="Instrument to use: PYRO:...")] = None,
    scalarizer: Annotated[
        str | None, Parameter(help="What to look for: band_intensity:low=1,high=2.")
    ] = None,
    surrogate: Annotated[str | None, Parameter(help="Model: gp.")] = None,
    acquisition: Annotated[
        str | None, Parameter(help="log_ei, ucb, variance, random or grid.")
    ] = None,
    steps: Steps = None,
    first: Annotated[int | None, Parameter(help="Points before it decides.")] = None,
    seed: Seed = None,
    mode: Annotated[str | None, Parameter(help="What to measure at a spot.")] = None,
    select: Annotated[
        str | None, Parameter(help="Sample of a file of several.")
    ] = None,
    kind: Annotated[
        str | None, Parameter(help="afm or stem; default: guessed.")
    ] = None,
    calibrate: Annotated[
        list[str] | None,
        Parameter(help="Length of an axis that has none: x=0.39nm/px.", negative=""),
    ] = None,
    out: Out = None,
) -> None:
    """Run a campaign on a twin or an instrument, and write its report."""
    from aemtwin import config as configuration
    from aemtwin import flags

    changes: dict[str, Any] = {
        "uri": uri,
        "scalarizer": scalarizer,
        "surrogate": surrogate,
        "acquisition": acquisition,
        "steps": steps,
        "first": first,
        "seed": seed,
        "mode": mode,
        "out": out,
    }
    options: dict[str, Any] = {"select": select, "kind": kind}
    options = {k: v for k, v in options.items() if v is not None}
    if calibrate:
        options["calibrate"] = flags.calibration(calibrate)
    if twin is not None:
        changes["twin"] = {"source": twin, **options}
    elif options:
        raise BadConfig("--select, --kind and --calibrate describe a --twin; name one.")
    if experiment is None:
        config = configuration.build({}, changes, origin="the flags")
    else:
        config = configuration.load(flags.campaign_file(experiment), changes)
    if seed is not None and config.twin is not None:  # of noise and decisions alike
        twin_seed = config.twin.model_copy(update={"seed": seed})
        config = config.model_copy(update={"twin": twin_seed})
    _run(config)


@app.command
def resume(folder: Annotated[Path, Parameter(help="The run's folder.")], /) -> None:
    """Go on with a run that was cut off, as if it had not been."""
    from aemtwin import config as configuration
    from aemtwin.journal import CONFIG

    file = folder / CONFIG
    if not file.is_file():
        raise BadConfig(f"{folder} is not a run folder: it has no {CONFIG}.")
    _run(configuration.load(file), folder)


@app.command
def report(folder: Annotated[Path, Parameter(help="The run's folder.")], /) -> None:
    """Write report.html into a run's folder: one file, offline."""
    from aemtwin.report import write_report

    print(write_report(folder))


@app.command
def plot(
    kind: Annotated[str, Parameter(help="`aemtwin list plots` names them.")],
    source: Annotated[str, Parameter(help="A run's folder, or a twin.")],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="PNG, SVG or PDF.")
    ] = None,
) -> None:
    """Draw one picture of a run, or the sheet of a twin (`plot twin NAME`)."""
    from aemtwin import plots

    if kind == "twin":
        from aemtwin.instruments.opening import open_twin

        twin = open_twin(source)
        figure = plots.twin_sheet(twin)
        path = output or Path(f"{twin.describe().name}.png")
    else:
        from aemtwin.record import read_run

        record = read_run(source)
        figure = plots.draw(kind, record)
        path = output or record.path / f"{kind}.png"
    plots.save(figure, path)
    print(path)


@app.command
def info(file: Annotated[Path, Parameter(help="An NSID file.")], /) -> None:
    """Say what a file holds: arrays, shapes, axes, units."""
    from aemtwin import screen
    from aemtwin.formats.nsid import summary

    screen.tell_arrays(file.name, summary(file))


@app.command(name="list")
def list_(
    what: Annotated[
        str | None,
        Parameter(
            help="twins, experiments, scalarizers, surrogates, acquisitions, plots."
        ),
    ] = None,
    /,
) -> None:
    """List what there is by name, one line each."""
    from aemtwin import listing

    for title, names in listing.sections(what).items():
        print(f"{title}:")
        for name, line in names.items():
            print(f"  {name:<18} {line}")


@app.command
def doctor() -> None:
    """Check the installation: versions, folders, a twin served and measured."""
    from aemtwin import listing

    failed = False
    for name, ok, found in listing.check_installation():
        print(f"{'ok  ' if ok else 'FAIL'} {name}: {found}")
        failed |= not ok
    if failed:
        sys.exit(1)


def _run(config: Any, folder: Path | None = None) -> None:
    """Run or resume with progress on the screen, then write the report."""
    from aemtwin import runs, screen

    screen.require_pictures()  # now, not when everything is measured
    with screen.progress() as on_step:
        try:
            if folder is None:
                done = runs.run(config=config, on_step=on_step)
            else:
                done = runs.resume(folder, on_step=on_step)
        except KeyboardInterrupt:
            where = on_step.folder or folder
            print(
                f"Stopped. Go on with: aemtwin resume {where}" if where else "Stopped.",
                file=sys.stderr,
            )
            sys.exit(1)
    path = done.report()
    print(screen.summary(done))
    print(f"report: {path}")


def main() -> None:
    """Run the command line."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except (cyclopts.CycloptsError, AemtwinError, ImportError, OSError) as error:
        if debug:
            raise
        from aemtwin.flags import sentence

        for_a_parent = "--until-stdin-closes" in arguments  # see remote.launch
        print(f"aemtwin: {sentence(error, for_a_parent)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, WRONG_USE) else 1)
    except KeyboardInterrupt:
        sys.exit(1)
