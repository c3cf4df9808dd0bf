"""The catalogue: which twins there are, where their data is, and whether it is intact.

A twin is a folder with a `twin.toml`, a `card.md` and, where it is synthetic and small,
its NSID file. The catalogue is `twins/` of a checkout, or what the wheel carries of it.
"""

from __future__ import annotations

import hashlib
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadFile, unknown
from aemtwin.formats.nsid import open_nsid

TEXTS = ("name", "version", "kind", "description", "dataset")  # must be there
KEYS: Mapping[str, type] = {  # of twin.toml
    **dict.fromkeys(TEXTS, str),
    "generator": str,
    "seed": int,
    "source": str,
    "licence": str,
    "sha256": dict,
    "noise": dict,
    "counts": dict,
    "limits": dict,
    "defaults": dict,
    "effects": dict,  # what they hold is checked where they are made
    "modes": dict,
}
LIMITS = ("dwell_s", "points", "dose", "dose_per_m2")
COUNTS = ("arrays", "recorded")
DEFAULTS = ("dwell_s", "pixel_dwell_s", "current_A", "power_W")


@dataclass(frozen=True, eq=False)
class TwinEntry:
    """What `twin.toml` says of one twin."""

    name: str
    version: str
    kind: str  # "afm", "stem", ...
    description: str  # one line
    folder: Path
    data: Path  # the NSID file
    sha256: Mapping[str, str]  # of each array's bytes
    noise: Mapping[str, float]  # sd of one reading, in the unit of each array
    counts: tuple[str, ...]  # arrays of expected counts at the usual dwell and current
    recorded: tuple[str, ...]  # arrays of recorded counts, each given out once
    limits: Mapping[str, Any]  # dwell_s [low, high], points
    defaults: Mapping[str, float]  # dwell_s, pixel_dwell_s, current_A
    toml: Mapping[str, Any]  # all of it


def twins_folder() -> Path:
    """Return the folder with one folder a twin."""
    return _carried("twins")


def experiments_folder() -> Path:
    """Return the folder with one folder an experiment."""
    return _carried("experiments")


def _carried(what: str) -> Path:
    package = Path(__file__).resolve().parents[1]
    carried = package / "_data" / what
    return carried if carried.is_dir() else package.parent / what


def twin_names() -> dict[str, str]:
    """Return every twin of the catalogue with its description, sorted by name.

    >>> "pfm_loops" in twin_names()
    True
    """
    folders = sorted(path.parent for path in twins_folder().glob("*/twin.toml"))
    entries = [_entry(folder) for folder in folders]
    return {entry.name: entry.description for entry in entries}


def find_twin(name_or_path: str | os.PathLike[str]) -> TwinEntry:
    """Return a twin of the catalogue by name, or of any folder with a `twin.toml`.

    Raises:
        UnknownName: If the catalogue has no such twin and there is no such folder.
        BadFile: If its `twin.toml` is missing or wrong.

    >>> find_twin("pfm_loops").kind
    'afm'
    """
    text = os.fspath(name_or_path)
    known = {path.parent.name: path.parent for path in _tomls()}
    if text in known:
        return _entry(known[text])
    folder = Path(text)
    if folder.name == "twin.toml":
        folder = folder.parent
    if folder.is_dir():
        return _entry(folder)
    raise unknown(
        "twin", text, known, "`aemtwin list twins` has them; a folder path works too."
    )


def located(source: str | os.PathLike[str]) -> str:
    """Return a source so that it is found from any folder: a name, or a whole path.

    >>> located("pfm_loops")
    'pfm_loops'
    """
    text = os.fspath(source)
    known = any(text == path.parent.name for path in _tomls())
    return text if known or not Path(text).exists() else str(Path(text).resolve())


def _tomls() -> list[Path]:
    return sorted(twins_folder().glob("*/twin.toml"))


def _entry(folder: Path) -> TwinEntry:
    path = folder / "twin.toml"

    def bad(cause: str) -> BadFile:
        return BadFile(f"{path} {cause}. twins/pfm_loops/twin.toml is an example.")

    try:
        toml = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BadFile(
            f"{folder} has no twin.toml, so it is no twin. Write one after the "
            "example of twins/pfm_loops."
        ) from error
    except (OSError, ValueError) as error:
        raise bad(f"cannot be read ({error})") from error
    for key, value in toml.items():
        if key not in KEYS:
            raise bad(f"has an unknown key {key!r}; allowed: {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            raise bad(f"has {key} = {value!r}, which should be {KEYS[key].__name__}")
    for key in TEXTS:
        if key not in toml:
            raise bad(f"lacks the key {key!r}")
    sha256 = toml.get("sha256", {})
    noise = toml.get("noise", {})
    for table, allowed in (
        ("noise", (*sha256, *toml.get("modes", {})) if sha256 else tuple(noise)),
        ("counts", COUNTS),
        ("limits", LIMITS),
        ("defaults", DEFAULTS),
    ):
        for key in toml.get(table, {}):
            if key not in allowed:
                raise bad(
                    f"has an unknown key {key!r} in [{table}]; allowed: "
                    f"{', '.join(allowed)}"
                )
    for key, value in noise.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not (0 <= value < math.inf)
        ):
            raise bad(f"has noise.{key} = {value!r}, which should be a number >= 0")
    counts = {key: toml.get("counts", {}).get(key, []) for key in COUNTS}
    for key, names in counts.items():
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise bad(f"has counts.{key} = {names!r}, which should be a list of names")
        for name in names:
            if sha256 and name not in sha256:
                raise bad(f"names {name!r} in [counts], which is no array of [sha256]")
    limits, defaults = toml.get("limits", {}), toml.get("defaults", {})
    dwell = limits.get("dwell_s", [1.0, 1.0])
    if not (isinstance(dwell, list) and len(dwell) == 2 and _rise(*dwell)):
        raise bad(f"has limits.dwell_s = {dwell!r}, which should be [low, high], s")
    points = limits.get("points", 1)
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise bad(f"has limits.points = {points!r}, which should be 1 or more")
    for key in ("dose", "dose_per_m2"):
        if key in limits and not _rise(0, limits[key]):
            raise bad(f"has limits.{key} = {limits[key]!r}, which should be above 0")
    for key, value in defaults.items():
        units = {"current_A": "amperes", "power_W": "watts"}
        if not _rise(0, value):
            unit = units.get(key, "seconds")
            raise bad(f"has defaults.{key} = {value!r}, which should be {unit} > 0")
        if key in units:
            continue
        if "dwell_s" in limits and not dwell[0] <= value <= dwell[1]:
            raise bad(f"has defaults.{key} = {value!r} outside limits.dwell_s {dwell}")
    return TwinEntry(
        **{key: toml[key] for key in TEXTS if key != "dataset"},
        folder=folder,
        data=folder / toml["dataset"],
        sha256=sha256,
        noise={key: float(value) for key, value in noise.items()},
        counts=tuple(counts["arrays"]),
        recorded=tuple(counts["recorded"]),
        limits=limits,
        defaults=defaults,
        toml=toml,
    )


def _rise(low: Any, high: Any) -> bool:
    """Whether both are numbers, not below 0, and the second is not the lower."""
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool)
        for value in (low, high)
    )
    return numbers and 0 <= low <= high and high > 0


def array_sha256(values: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's values, little-endian and in C order.

    The file around them may differ from one HDF5 version to the next; this does not.

    >>> array_sha256(np.zeros(2, ">f4")) == array_sha256(np.zeros(2, "<f4"))
    True
    """
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


def verify(entry: TwinEntry) -> None:
    """Check that a twin's data is what its `twin.toml` was written for.

    Raises:
        BadFile: If the file cannot be read, or an array is missing, new or other.
    """
    with open_nsid(entry.data) as file:
        found = {array.name: array_sha256(array.data[()]) for array in file.arrays}
    for name in sorted({*found, *entry.sha256}):
        if found.get(name) != entry.sha256.get(name):
            what = (
                f"lacks {name!r}"
                if name not in found
                else f"has an array {name!r} that twin.toml does not name"
                if name not in entry.sha256
                else f"holds other values in {name!r} than twin.toml states"
            )
            raise BadFile(
                f"{entry.data} {what}. Fetch the twin again, or, after a wanted "
                "change, raise its version and enter the new sha256."
            )
