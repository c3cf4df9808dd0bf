"""Digital twins of microscopes behind a Pyro4 URI, and the loop that learns on them.

>>> import aemtwin
>>> twin = aemtwin.open_twin("pfm_loops", seed=0)
>>> twin.describe().modes[0].name
'loops'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from aemtwin.instruments.opening import open_twin
    from aemtwin.remote.client import connect
    from aemtwin.remote.server import serve
    from aemtwin.runs import Run, resume, run

_HOMES = {  # public name -> the module that has it, imported when first asked for
    "Run": "aemtwin.runs",
    "connect": "aemtwin.remote.client",
    "open_twin": "aemtwin.instruments.opening",
    "resume": "aemtwin.runs",
    "run": "aemtwin.runs",
    "serve": "aemtwin.remote.server",
}
__all__ = ["Run", "connect", "open_twin", "resume", "run", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
