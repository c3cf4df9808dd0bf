"""Who may know whom: the import order of docs/design.md, held module by module.

Every import counts, at the head of a module, inside a function or for type checking
alone. What breaks the order on purpose stands in `BORDERS`, each with its reason.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "aemtwin"
PLAIN = ("errors", "specs", "plugins")  # everybody may know these
ANYTHING = "*"

# Room (or module) -> what it may import of aemtwin, besides `PLAIN` and itself. The
# longest name that fits a module decides.
MAY_KNOW: dict[str, tuple[str, ...]] = {
    # the instrument half
    "errors": (),
    "specs": (),
    "plugins": (),
    "jsonlines": (),
    "documents": (),
    "measurement": (),
    "codec": ("measurement",),
    "sample": (),
    "formats": ("sample", "measurement"),
    "instruments": ("sample", "measurement", "codec"),
    "remote": (
        "measurement",
        "codec",
        "instruments.protocol",
        "instruments.calls",
        "instruments.acting",
        "instruments.allowed",
        "instruments.ledger",
        "instruments.parts",
        "instruments.store",
        "instruments.streams",
    ),
    "drivers": (
        "measurement",
        "codec",
        "instruments.protocol",
        "instruments.ledger",
        "remote",
    ),
    "journal": ("documents", "codec", "measurement", "formats", "jsonlines"),
    "record": ("documents", "measurement", "journal"),
    # the learning half
    "fronts": (),
    "surrogates": (),
    "acquisition": ("fronts", "surrogates"),
    # NumPy
    "scalarizers": ("measurement",),
    "metrics": (),
    "designs": (),
    "patches": (),
    "sections": (),
    "config": ("sections",),
    "choices": ("config",),
    "gates": ("measurement", "scalarizers", "sections"),
    # where the halves meet; of a microscope the loop knows the protocol alone
    "decisions": ("acquisition.stopping", "measurement", "scalarizers"),
    "inputs": ("designs", "measurement", "patches", "sections"),
    "dwells": ("acquisition", "config", "instruments.protocol", "surrogates"),
    "noises": (
        "acquisition",
        "config",
        "decisions",
        "dwells",
        "instruments.protocol",
        "scalarizers",
        "surrogates",
    ),
    "terms": (
        "acquisition",
        "sections",
        "decisions",
        "dwells",
        "instruments.protocol",
    ),
    "batches": ("acquisition", "surrogates", "terms"),
    "maps": ("decisions", "journal", "surrogates"),
    "objectives": (
        "acquisition",
        "config",
        "decisions",
        "documents",
        "measurement",
        "scalarizers",
        "surrogates",
        "values",
    ),
    "trade_offs": (
        "acquisition",
        "decisions",
        "fronts",
        "inputs",
        "surrogates",
        "terms",
        "values",
    ),
    "beliefs": (
        "acquisition",
        "batches",
        "decisions",
        "dwells",
        "inputs",
        "surrogates",
        "terms",
        "values",
    ),
    "measuring": ("decisions", "instruments.protocol", "measurement"),
    "overview": (
        "inputs",
        "instruments.protocol",
        "journal",
        "measurement",
        "measuring",
    ),
    "values": ("decisions", "gates", "journal", "measurement", "scalarizers"),
    "campaign": (
        "acquisition",
        "beliefs",
        "choices",
        "config",
        "decisions",
        "designs",
        "documents",
        "gates",
        "inputs",
        "instruments.protocol",
        "journal",
        "maps",
        "measurement",
        "measuring",
        "noises",
        "objectives",
        "overview",
        "scalarizers",
        "surrogates",
        "terms",
        "trade_offs",
        "values",
    ),
    "scoring": (
        "acquisition",
        "campaign",
        "config",
        "decisions",
        "dwells",
        "fronts",
        "instruments.protocol",
        "journal",
        "measurement",
        "metrics",
        "record",
        "scalarizers",
    ),
    "environment": (),
    "lifecycle": (
        "campaign",
        "codec",
        "config",
        "decisions",
        "documents",
        "environment",
        "instruments.identity",
        "journal",
        "record",
        "scalarizers",
        "scoring",
    ),
    "devices": ("config", "sections", "formats", "instruments.protocol", "remote"),
    "ahead": (
        "acquisition",
        "beliefs",
        "campaign",
        "choices",
        "config",
        "decisions",
        "environment",
        "inputs",
        "surrogates",
        "terms",
        "trade_offs",
    ),
    "runs": (
        "ahead",
        "campaign",
        "codec",
        "config",
        "decisions",
        "devices",
        "documents",
        "environment",
        "instruments.protocol",
        "journal",
        "lifecycle",
        "measurement",
        "objectives",
        "record",
        "scalarizers",
        "surrogates",
    ),
    "watching": ("instruments.protocol",),
    "pulling": (),
    "screen": ("campaign", "config", "decisions", "runs", "interrupts", "watching"),
    # what reads a run
    "plots": ("fronts", "record", "journal", "metrics"),
    "report": ("record", "journal", "metrics", "plots"),
    "compare": ("record", "journal", "metrics", "plots", "report"),
    "view": ("record", "journal", "plots"),
    # what may know anything
    "study": (ANYTHING,),
    "listing": (ANYTHING,),
    "testing": (ANYTHING,),
    "cli": (ANYTHING,),
    "commands": (ANYTHING,),
    "about": (),
    "flags": ("config", "listing", "sections"),
    "options": (),
    "interrupts": (),
    "__main__": ("cli",),
    "": (ANYTHING,),  # aemtwin/__init__.py: public names
}

# (module, what it imports) -> why it may. "lazily": inside a function alone.
BORDERS: dict[tuple[str, str], str] = {
    ("measurement", "formats"): "lazily: `to_sidpy()` makes what others read",
    ("instruments.opening", "formats"): "open_twin turns a name or a file into a twin",
    ("instruments.synthetic.__main__", "formats"): "the command writes what it made",
    ("plots.twins", "instruments.protocol"): "the sheet of a twin asks an instrument",
    ("plots.twins", "measurement"): "and draws what it measured",
    ("lifecycle", "formats"): "lazily: a finished run is kept as data.nsid.h5",
    ("runs", "plots"): "lazily: `Run.plot` for people; the loop never draws",
    ("runs", "report"): "lazily: `Run.report` for people; the loop never draws",
}

# Library -> the rooms that may import it. Names for type checking alone do not count:
# they are never looked up.
HOMES: dict[str, tuple[str, ...]] = {
    "Pyro4": ("remote", "drivers"),
    "serpent": ("remote", "drivers"),
    "zmq": ("remote", "drivers"),
    "cryptography": ("remote.authority",),
    "sidpy": ("formats",),
    "pyNSID": ("formats",),
    "pyUSID": ("formats",),
    "SciFiReaders": ("formats",),
    "igor2": ("formats",),
    "h5py": ("formats",),
    "dask": ("study", "formats"),
    "distributed": ("study", "formats"),
    "bokeh": ("view",),
    "matplotlib": ("plots",),
    "jinja2": ("report", "compare", "view"),
    "cyclopts": ("cli", "commands", "options"),
    "rich": ("screen",),
    "pydantic": ("config", "sections"),
    "tomli_w": ("config",),
    "msgpack": ("codec", "journal", "record", "remote"),
    # `environment` sets its cache, `listing` tells which version is installed
    "jax": (
        "surrogates",
        "acquisition",
        "beliefs",
        "campaign",
        "environment",
        "trade_offs",
        "study",
        "listing",
    ),
    "jaxlib": ("surrogates.programs",),  # its version
    "flax": ("surrogates",),
    "optax": ("surrogates",),
    "numpyro": ("surrogates",),
    "numpy": (ANYTHING,),
    "hypothesis": ("testing",),
    # compared with in tests, never used
    "scipy": (),
    "sklearn": (),
}


@dataclass(frozen=True)
class Import:
    """One import statement, of aemtwin or of a library."""

    module: str  # who imports, without "aemtwin."
    target: str  # what, whole
    line: int
    lazy: bool  # inside a function
    typing: bool  # under `if TYPE_CHECKING`


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "_data" in path.parts:
            continue
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> tuple[Import, ...]:
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return tuple(_imports(tree, module, lazy=False, typing=False))


def _imports(
    node: ast.AST, module: str, *, lazy: bool, typing: bool
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        checking = typing or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        for target in _targets(child):
            line = getattr(child, "lineno", 0)
            yield Import(module, target, line, lazy, checking)
        yield from _imports(child, module, lazy=inside, typing=checking)


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        name = node.module or ""
        if name.split(".")[0] == "aemtwin":
            return [f"{name}.{alias.name}" for alias in node.names]
        return [name]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        given = node.args[0]
        return [given.value] if isinstance(given, ast.Constant) else []
    return []


def inner(found: Import) -> str | None:
    """Return the module of aemtwin that is imported; None for a library."""
    head, _, rest = found.target.partition(".")
    if head != "aemtwin":
        return None
    while rest and rest not in modules():  # a name in a module
        rest = rest.rpartition(".")[0]
    return rest


def fits(module: str, name: str) -> bool:
    return name == ANYTHING or module == name or module.startswith(f"{name}.")


def row(module: str) -> str:
    """Return the longest entry of `MAY_KNOW` that fits a module."""
    rows = [name for name in MAY_KNOW if name and fits(module, name)]
    assert rows or module == "", f"{module} has no row in MAY_KNOW: add its room"
    return max(rows, key=len, default="")


def border(found: Import) -> tuple[str, str] | None:
    """Return the entry of `BORDERS` that this import stands under."""
    target = inner(found)
    for module, name in BORDERS:
        if target is not None and module == found.module and fits(target, name):
            return module, name
    return None


def reached(*starts: str) -> dict[str, str]:
    """Return every module that these could load, and the libraries, with the way."""
    ways = {name: name for start in starts for name in modules() if fits(name, start)}
    waiting = list(ways)
    while waiting:
        module = waiting.pop()
        for found in imports(module):
            if found.typing:
                continue
            target = inner(found)
            name = found.target.partition(".")[0] if target is None else target
            if name and name not in ways:
                ways[name] = f"{ways[module]} -> {name}"
                if target is not None:
                    waiting.append(name)
    return ways


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_it_may_know(module):
    allowed = (*PLAIN, row(module), *MAY_KNOW[row(module)])
    wrong = [
        f"{module}, line {found.line}, imports {found.target}"
        for found in imports(module)
        if (target := inner(found))
        and not any(fits(target, name) for name in allowed)
        and border(found) is None
    ]
    assert not wrong


@pytest.mark.parametrize("entry", BORDERS, ids="-".join)
def test_every_border_is_crossed_and_lazily_where_it_says_so(entry):
    crossing = [f for m in modules() for f in imports(m) if border(f) == entry]
    assert crossing, "remove it from BORDERS"
    if BORDERS[entry].startswith("lazily"):
        assert all(found.lazy or found.typing for found in crossing)


def test_no_module_knows_in_a_circle():
    graph = {
        m: {t for f in imports(m) if (t := inner(f)) and not f.lazy and not f.typing}
        for m in modules()
    }
    while leaves := [m for m, known in graph.items() if not known - {m}]:
        for leaf in leaves:
            del graph[leaf]
        for known in graph.values():
            known.difference_update(leaves)
    # a package that lists the names of its modules and they know each other, not it
    assert not graph


@pytest.mark.parametrize("module", modules())
def test_a_library_is_imported_at_its_border_alone(module):
    wrong = []
    for found in imports(module):
        name = found.target.partition(".")[0]
        if name == "aemtwin" or name in sys.stdlib_module_names or found.typing:
            continue
        assert name in HOMES, f"{module}, line {found.line}: {name} has no home"
        if not any(fits(module, home) for home in HOMES[name]):
            wrong.append(f"{module}, line {found.line}, imports {name}")
    assert not wrong


def test_the_instrument_half_cannot_reach_jax():
    half = ("sample", "formats", "instruments", "remote", "drivers", "journal")
    ways = reached(*half, "codec", "measurement", "record", "specs", "documents")
    for name in ("jax", "surrogates", "acquisition", "campaign"):
        assert name not in ways, ways[name]


def test_the_learning_half_cannot_reach_an_instrument():
    ways = reached("surrogates", "acquisition")
    for name in ways:
        assert not any(
            fits(name, room)
            for room in ("instruments", "remote", "drivers", "sample", "formats")
        ), ways[name]


def test_scalarizers_and_metrics_are_numpy():
    ways = reached("scalarizers", "metrics", "designs", "fronts")
    assert "jax" not in ways, ways["jax"]


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after `code`."""
    report = (
        "import sys; sys.stderr.write(' '.join({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


HEAVY = {"jax", "jaxlib", "sidpy", "pyNSID", "matplotlib", "dask", "scipy", "sklearn"}


@pytest.mark.parametrize(
    "module",
    ["instruments.opening", "remote.server", "remote.client", "journal", "record"],
)
def test_the_instrument_half_loads_nothing_heavy(module):
    assert not loaded_by(f"import aemtwin.{module}") & HEAVY


def test_serving_a_twin_loads_nothing_heavy():
    code = (
        "import aemtwin\n"
        "with aemtwin.serve(aemtwin.open_twin('pfm_loops'), truth=True) as server:\n"
        "    scope = aemtwin.connect(server.uri)\n"
        "    scope.measure(), scope.scan(), scope.truth(points=[(1e-6, 1e-6)])\n"
        "    scope.close()"
    )
    assert not loaded_by(code) & HEAVY


def test_the_package_loads_none_of_its_dependencies():
    allowed = {*sys.stdlib_module_names, "aemtwin"}
    before = loaded_by("pass")  # what the environment loads by itself
    assert loaded_by("import aemtwin") - before <= allowed


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "sys.argv = ['aemtwin', '--help']\n"
        "from aemtwin.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code"
    )
    loaded = loaded_by(code)
    assert not loaded & (HEAVY | {"h5py", "Pyro4", "msgpack", "zmq"})
    assert "cyclopts" in loaded
