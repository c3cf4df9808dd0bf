"""What there is by name, and whether this installation works: `list` and `doctor`."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from aemtwin import about, acquisition, scalarizers, surrogates
from aemtwin.acquisition import stopping
from aemtwin.errors import BadFile, unknown
from aemtwin.formats import catalog, nsid
from aemtwin.instruments.effects import registry as effects
from aemtwin.instruments.guessing import KINDS
from aemtwin.instruments.modes import registry as modes
from aemtwin.instruments.opening import open_twin

EXTRAS = {  # what the core does without, and what brings it
    "learning (jax)": "learn",
    "NSID for others (sidpy, pyNSID)": "nsid",
    "pictures (matplotlib, jinja2)": "view",
}


def sections(what: str | None = None) -> dict[str, dict[str, str]]:
    """Return name -> one line, under a title for each kind of thing.

    Raises:
        UnknownName: If there is no such kind.
    """
    tellers: dict[str, Callable[[], dict[str, str]]] = {
        "twins": catalog.twin_names,
        "effects": effects.names,
        "modes": modes.names,
        "experiments": lambda: {k: _question(v) for k, v in experiments().items()},
        "scalarizers": scalarizers.available,
        "surrogates": surrogates.available,
        "acquisitions": acquisition.available,
        "stopping": stopping.available,
        "plots": _plots,
    }
    if what is not None and what not in tellers:
        raise unknown("list", what, tellers, "Leave it out for all.")
    return {title: tell() for title, tell in tellers.items() if what in (None, title)}


def details(what: str, name: str) -> str:
    """Return what a surrogate, an acquisition or a scalarizer does and takes.

    Args:
        what: "surrogates", "acquisitions", "stopping" or "scalarizers".
        name: One of its names.

    Returns:
        Its parameters with their defaults, as a campaign file gives them, and its text.

    Raises:
        UnknownName: If there is none of that name.
        MissingExtra: If it needs packages that are not installed.
    """
    rooms = {
        "surrogates": surrogates.registry,
        "acquisitions": acquisition.registry,
        "stopping": stopping,
        "scalarizers": scalarizers.registry,
    }
    if what in ("effects", "modes"):
        return effects.details(name) if what == "effects" else modes.details(name)
    if what not in rooms:
        raise unknown("list", what, rooms, "These take parameters.")
    made = rooms[what].factory(name.removeprefix("-"))
    takes = list(inspect.signature(made).parameters.values())
    if what == "scalarizers":
        takes = takes[1:]  # the measurement
    params = [
        p.name if p.default is p.empty else f"{p.name}={p.default}" for p in takes
    ]
    return f"{name}:{','.join(params)}\n\n{inspect.getdoc(made) or ''}"


def contents(source: str, **options: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """Return what a twin or a file is, in lines, and the arrays that it holds.

    Maps that computed modes alone read are named in the lines and left out of the
    arrays: no call tells them. A file that is no sample has a title and its arrays.

    Args:
        source: A name of the catalogue, a twin folder, an NSID file.
        **options: As `open_twin` takes them.

    Raises:
        BadFile: If it cannot be read.
        UnknownName: If there is no such file or twin.
    """
    path, entry = Path(source), None
    if not path.is_file() and (path.is_dir() or not path.suffix):
        entry = catalog.find_twin(source)
        path = entry.data
    arrays = nsid.summary(path)
    try:
        twin = open_twin(source, **options)
    except BadFile as error:
        if entry is not None:
            raise
        return [path.name, f"note: {error}"], arrays
    spec = twin.describe()
    twin.close()
    identity = spec.identity
    samples = [identity["sample"], *identity["others"]]
    lines = [f"{path.name}, served as {spec.kind}, since {identity.get('guessed')}"]
    if entry is not None:
        kind = "as its twin.toml says" if spec.kind == entry.kind else "as asked"
        lines = [f"{entry.name} {entry.version}, kind {spec.kind} {kind}"]
        lines += [entry.description]
    elif "guessed" not in identity:
        lines = [f"{path.name}, served as {spec.kind}, as asked"]
    if len(samples) > 1:
        lines += [f"holds {len(samples)} samples: {', '.join(samples)} (--select)"]
    tables = entry.toml.get("effects", {}) if entry else {}
    lines += about.lines(spec, effects.offered(tables, spec.kind))
    maps = [] if entry is None else _maps(entry, spec.kind)
    if maps:
        lines += [f"maps behind computed modes, told to nobody: {', '.join(maps)}"]
    return lines, [array for array in arrays if array["name"] not in maps]


def _maps(entry: catalog.TwinEntry, kind: str) -> list[str]:
    """Return the arrays of a twin that computed modes read, once each."""
    told = modes.stated(entry.toml.get("modes", {}), KINDS[kind], "twin.toml")
    return list(dict.fromkeys(array for mode in told for array in mode.arrays))


def experiments() -> dict[str, Path]:
    """Return the folders of the catalogue's experiments by name."""
    folder = catalog.experiments_folder()
    return {p.parent.name: p.parent for p in sorted(folder.glob("*/campaign.toml"))}


def _question(folder: Path) -> str:
    """Return the first line of text of an experiment's README."""
    readme = folder / "README.md"
    lines = readme.read_text(encoding="utf-8").splitlines() if readme.exists() else []
    return next((line for line in lines if line and not line.startswith("#")), "")


def _plots() -> dict[str, str]:
    from aemtwin import plots

    return {
        **{
            name: (draw.__doc__ or "").splitlines()[0]
            for name, draw in plots.KINDS.items()
        },
        "twin": "The sheet of a twin: overview and spectra at marked points.",
    }


def check_installation() -> Iterator[tuple[str, bool, str]]:
    """Yield (what, whether it works, what was found) for each thing checked."""
    yield "Python", True, f"{platform.python_version()} on {platform.platform()}"
    for title, check in (
        ("learning (jax)", _jax),
        ("NSID for others (sidpy, pyNSID)", _sidpy),
        ("pictures (matplotlib, jinja2)", _pictures),
        ("compilation cache", _cache),
        ("catalogue", lambda: ", ".join(catalog.twin_names())),
        ("a twin behind its URI", _measure_once),
    ):
        try:
            yield title, True, check()
        except (ModuleNotFoundError, PackageNotFoundError) as error:
            extra = EXTRAS.get(title, "all")
            missing = f"not installed ({error.name}); pip install 'aemtwin[{extra}]'"
            yield title, title in EXTRAS, missing
        except Exception as error:  # whatever is wrong is what the doctor reports
            yield title, False, f"{type(error).__name__}: {error}"


def _jax() -> str:
    import jax

    return f"{jax.__version__}, {jax.devices()}"


def _sidpy() -> str:
    from importlib.metadata import version

    return f"sidpy {version('sidpy')}, pyNSID {version('pyNSID')}"


def _pictures() -> str:
    from importlib.metadata import version

    return f"matplotlib {version('matplotlib')}, jinja2 {version('jinja2')}"


def _cache() -> str:
    from aemtwin.environment import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".aemtwin"
    probe.touch()
    probe.unlink()
    return f"{folder} can be written"


def _measure_once() -> str:
    from aemtwin.remote.client import connect
    from aemtwin.remote.server import serve

    with serve(open_twin("pfm_loops")) as server:
        scope = connect(server.uri)
        loop = scope.measure()
        scope.close()
        return f"{server.uri} gave {loop.name} {loop.values.shape} {loop.values.dtype}"
