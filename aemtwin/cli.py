"""The command line: `aemtwin demo | serve | run | resume | report | plot | ...`.

Commands parse, call the library and print; each imports what it needs when it runs, so
that `aemtwin --help` is quick. Exit status is 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import cyclopts
from cyclopts import App, Parameter

from aemtwin import __version__, commands, options
from aemtwin.errors import AemtwinError, BadConfig

app = App(
    name="aemtwin",
    help="Digital twins of microscopes behind a Pyro4 URI, and the loop that learns on "
    "them. The same campaign runs the real instrument: change its URI.",
    version=__version__,
    help_format="plaintext",
)


@app.command
def demo(
    *,
    stem: Annotated[
        bool, Parameter(negative="", help="The electron microscope instead.")
    ] = False,
    steps: Annotated[int, Parameter(help="Measurements after the first ten.")] = 40,
    seed: Annotated[int, Parameter(help="Of all chance.")] = 0,
    out: Annotated[str, Parameter(help="Folder for the run's own folder.")] = "runs",
) -> None:
    """Everything at once: serve a synthetic twin, run a campaign, write the report.

    The twin runs in a process of its own and is reached by its URI, as instruments are.
    """
    from aemtwin import config as configuration
    from aemtwin import flags, screen

    name = "stem_line" if stem else "pfm_line"
    changes = {"steps": steps, "seed": seed, "out": out}
    config = configuration.load(flags.campaign_file(name), changes)
    told = screen.DEMO[name].format(config.first, steps)
    _run(configuration.seeded(config, seed), said=told)


@app.command
def run(
    experiment: options.Experiment = None,
    /,
    *,
    twin: Annotated[str | None, Parameter(help="Twin to serve: name or file.")] = None,
    uri: Annotated[str | None, Parameter(help="Instrument to use: PYRO:...")] = None,
    keys: options.Keys = None,
    scalarizer: options.Scalarizer = None,
    surrogate: options.Surrogate = None,
    acquisition: options.Acquisition = None,
    stop: options.Stop = None,
    images: options.Images = None,
    patch: Annotated[int | None, Parameter(help="Pixels of a patch a side.")] = None,
    steps: options.Steps = None,
    first: Annotated[int | None, Parameter(help="Points before it decides.")] = None,
    seed: options.Seed = None,
    mode: Annotated[str | None, Parameter(help="What to measure at a spot.")] = None,
    kind: options.Kind = None,
    select: options.Select = None,
    ideal: options.Ideal = False,
    real_time: options.RealTime = False,
    noise: options.Noise = None,
    counts: options.Counts = None,
    effects: options.Effects = None,
    calibrate: options.Calibrate = None,
    out: options.Out = None,
) -> None:
    """Run a campaign on a twin or an instrument, and write its report."""
    from aemtwin import config as configuration
    from aemtwin import flags

    changes: dict[str, Any] = {
        "uri": uri,
        "keys": None if keys is None else str(keys),
        "scalarizer": scalarizer,
        "surrogate": surrogate,
        "acquisition": acquisition,
        "stop": stop,
        "steps": steps,
        "first": first,
        "seed": seed,
        "mode": mode,
        "out": out,
    }
    described = flags.described(
        select=select,
        kind=kind,
        calibrate=calibrate,
        ideal=ideal,
        noise=noise,
        counts=counts,
        effects=effects,
        real_time=real_time,
    )
    if twin is not None:
        changes["twin"] = {"source": twin, **described}
    elif described:
        said = ", ".join(f"--{key.replace('_', '-')}" for key in described)
        raise BadConfig(f"{said} can only describe a --twin; name one.")
    changes["inputs"] = flags.described(channels=images, size=patch) or None
    if experiment is None:
        config = configuration.build({}, changes, origin="the flags")
    else:
        config = configuration.load(flags.campaign_file(experiment), changes)
    _run(config if seed is None else configuration.seeded(config, seed))


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
def compare(
    first: Annotated[Path, Parameter(help="A run's folder.")],
    /,
    *others: Annotated[Path, Parameter(help="More of them.")],
    output: options.Page = Path("compare.html"),
) -> None:
    """Compare runs on one page: one file, offline."""
    from aemtwin.compare import write_comparison

    print(write_comparison([first, *others], output))


@app.command
def plot(
    kind: Annotated[str, Parameter(help="`aemtwin list plots` names them.")],
    source: Annotated[str, Parameter(help="A run's folder, or a twin.")],
    /,
    *,
    output: options.Picture = None,
    select: options.Select = None,
    effects: options.Effects = "all",
) -> None:
    """Draw one picture of a run, or the sheet of a twin (`plot twin NAME`)."""
    from aemtwin import flags, plots

    if kind == "twin":
        from aemtwin.instruments.opening import open_twin

        twin = open_twin(source, select=select, effects=flags.effects(effects))
        figure = plots.twin_sheet(twin, open_twin(source, select=select, ideal=True))
        path = output or Path(f"{twin.describe().name}.png")
    else:
        from aemtwin.record import read_run

        record = read_run(source)
        figure = plots.draw(kind, record)
        path = output or record.path / f"{kind}.png"
    plots.save(figure, path)
    print(path)


@app.command(name="list")
def list_(what: options.What = None, name: options.Name = None, /) -> None:
    """List what there is by name, one line each, or tell all of one of them."""
    from aemtwin import listing

    if what is not None and name is not None:
        print(listing.details(what, name))
        return
    for title, names in listing.sections(what).items():
        print(f"{title}:")
        for name, line in names.items():
            print(f"  {name:<18} {line}")


for _command in (
    commands.serve,
    commands.keys,
    commands.watch,
    commands.pull,
    commands.info,
    commands.check,
    commands.doctor,
):
    app.command(_command)


def _run(config: Any, folder: Path | None = None, said: str = "") -> None:
    """Run or resume with progress on the screen, then write the report."""
    from aemtwin import runs, screen

    screen.require_pictures()  # now, not when everything is measured
    if said:
        print(said, flush=True)
    with screen.progress() as watcher:
        told: Any = {"on_step": watcher, "on_begin": watcher.begun}
        try:
            if folder is None:
                done = runs.run(config=config, **told)
            else:
                done = runs.resume(folder, **told)
        except KeyboardInterrupt:
            where = watcher.folder or folder
            _stopped(f"Go on with: aemtwin resume {where}" if where else "")
        except AemtwinError:
            if watcher.folder is not None:
                print(f"Go on with: aemtwin resume {watcher.folder}", file=sys.stderr)
            raise
    try:
        path = done.report()
    except KeyboardInterrupt:
        _stopped(f"The run is whole; its report: aemtwin report {done.path}")
    if watcher.folder is None and folder is not None:
        print("This run was whole already; nothing was measured.")
    print(screen.summary(done))
    print(f"report: {path}")


def _stopped(how_to_go_on: str) -> NoReturn:
    print(f"Stopped. {how_to_go_on}".strip(), file=sys.stderr)
    sys.exit(1)


def main() -> None:
    """Run the command line."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (cyclopts.CycloptsError, AemtwinError, ImportError, OSError) as error:
        if debug:
            raise
        from aemtwin.flags import sentence

        for_a_parent = "--until-stdin-closes" in arguments  # see remote.launch
        print(f"aemtwin: {sentence(error, for_a_parent)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, options.WRONG_USE) else 1)
    except KeyboardInterrupt:
        sys.exit(1)
