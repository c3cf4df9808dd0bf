"""What there is by name, and whether this installation works: `list` and `doctor`."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from aemtwin import acquisition, scalarizers, surrogates
from aemtwin.errors import BadFile, unknown
from aemtwin.formats import catalog, nsid
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.effects import registry as effects
from aemtwin.instruments.guessing import guess
from aemtwin.instruments.modes import registry as modes

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
        "plots": _plots,
    }
    if what is not None and what not in tellers:
        raise unknown("list", what, tellers, "Leave it out for all.")
    return {title: tell() for title, tell in tellers.items() if what in (None, title)}


def details(what: str, name: str) -> str:
    """Return what a surrogate, an acquisition or a scalarizer does and takes.

    Args:
        what: "surrogates", "acquisitions" or "scalarizers".
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
        "scalarizers": scalarizers.registry,
    }
    if what in ("effects", "modes"):
        return effects.details(name) if what == "effects" else modes.details(name)
    if what not in rooms:
        raise unknown("list", what, rooms, "These take parameters.")
    made = rooms[what].factory(name)
    takes = list(inspect.signature(made).parameters.values())
    if what == "scalarizers":
        takes = takes[1:]  # the measurement
    params = [
        p.name if p.default is p.empty else f"{p.name}={p.default}" for p in takes
    ]
    return f"{name}:{','.join(params)}\n\n{inspect.getdoc(made) or ''}"


def contents(source: str) -> tuple[str, list[dict[str, Any]]]:
    """Return a title and the arrays of a file or of a twin of the catalogue.

    The title tells the samples that `select` chooses from, where there are several.

    Raises:
        BadFile: If it cannot be read.
        UnknownName: If there is no such file or twin.
    """
    path = Path(source)
    if not path.is_file() and not path.suffix:
        path = catalog.find_twin(source).data
    title = path.name
    try:
        with nsid.open_nsid(path) as file:
            sample = make_sample(file.arrays)
            names = (sample.name, *sample.others)
            kind, why = guess(sample)
            said = f"; served as {kind.name}, since {why}"
    except BadFile:
        names, said = (), ""
    if len(names) > 1:
        title += f" holds {len(names)} samples: {', '.join(names)} (--select)"
    return title + said, nsid.summary(path)


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
    from aemtwin.instruments.opening import open_twin
    from aemtwin.remote.client import connect
    from aemtwin.remote.server import serve

    with serve(open_twin("pfm_loops")) as server:
        scope = connect(server.uri)
        loop = scope.measure()
        scope.close()
        return f"{server.uri} gave {loop.name} {loop.values.shape} {loop.values.dtype}"
