"""What a run runs in: software and machine, the compilation cache, its own log."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

PACKAGES = ("aemtwin", "numpy", "h5py", "Pyro4", "msgpack", "jax", "jaxlib", "optax")

FOLDERS = "jax_persistent_cache_enable_xla_caches"
SETTINGS = (  # of JAX, on which it depends what is compiled and kept
    "jax_enable_x64",
    "jax_platforms",
    FOLDERS,
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def environment() -> dict[str, Any]:
    """Return what a reader needs to know of the machine and the software."""
    import jax

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "jax_backend": jax.default_backend(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def before_jax() -> None:
    """Set the variables that JAX and SciPy read once, when they begin.

    A variable that is set already stays; none has an effect once JAX has begun.

    The linear algebra of JAX on a CPU is SciPy's OpenBLAS, whose threads cost more than
    they give on the matrices of a campaign: with one, a step of 200 points was twice
    as fast on two idle cores, and 5 times beside two busy processes
    (benchmarks/README.md). So it gets one (`OPENBLAS_NUM_THREADS`).

    JAX itself gets one thread too (`NPROC`): with two, jaxlib 0.10.2 waits for ever on
    some programs that factorise many matrices at once, with all its threads idle, as
    ensembles do (benchmarks/README.md).
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("NPROC", "1")


def prepare_jax() -> None:
    """Let a process compile once and fit without waiting: call it before the first fit.

    Compiled programs are kept on disk, in `AEMTWIN_CACHE` or the user's cache; a
    setting of JAX's own wins, and where the folder cannot be written JAX goes without.
    `before_jax` says what else is set.
    """
    before_jax()
    import jax

    if compilation_cache() is not None:
        return
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.info("no compilation cache: %s", error)
        return
    for key, value in (
        ("jax_compilation_cache_dir", str(folder)),
        ("jax_persistent_cache_min_compile_time_secs", 0.0),
        ("jax_persistent_cache_min_entry_size_bytes", -1),
        (FOLDERS, "none"),  # what a program is called says nothing of the folder
    ):
        jax.config.update(key, value)  # type: ignore[no-untyped-call]


def compilation_cache() -> Path | None:
    """Return where JAX keeps compiled programs now; None: it keeps none on disk."""
    import jax

    folder = getattr(jax.config, "jax_compilation_cache_dir", None)
    return Path(folder) if folder else None


def movable_cache() -> Path | None:
    """Return where programs may be put that another process has compiled elsewhere.

    None: there is no such place; on a GPU two processes would contend for its memory,
    and under settings of one's own the name of a program may depend on the folder.
    """
    import jax

    own = getattr(jax.config, FOLDERS, None) != "none"
    return None if own or jax.default_backend() != "cpu" else compilation_cache()


def jax_variables(folder: Path) -> dict[str, str]:
    """Return variables that give another process the settings that JAX has here.

    Args:
        folder: Where that process keeps compiled programs.
    """
    import jax

    said = {name: getattr(jax.config, name, None) for name in SETTINGS}
    told = {
        name.upper(): str(int(value) if isinstance(value, bool) else value)
        for name, value in said.items()
        if value is not None
    }
    return told | {"JAX_COMPILATION_CACHE_DIR": str(folder)}


def cache_folder() -> Path:
    """Return where compiled programs are kept."""
    if said := os.environ.get("AEMTWIN_CACHE"):
        return Path(said)
    if os.name == "nt":
        root = os.environ.get("LOCALAPPDATA")
    else:
        root = os.environ.get("XDG_CACHE_HOME")
    return Path(root or Path.home() / ".cache") / "aemtwin" / "jax"


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Write what aemtwin's modules log into the run's folder, as JSON lines."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger("aemtwin")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": record.created,
                "level": record.levelname,
                "module": record.name,
                "message": record.getMessage(),
            }
        )
