"""Make a synthetic sample again: `python -m aemtwin.instruments.synthetic NAME OUT`.

OUT is the folder that gets `NAME.nsid.h5`, and the SHA-256 of every array as the table
`[sha256]` for its `twin.toml` in `NAME.sha256.toml`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from aemtwin.errors import AemtwinError, unknown
from aemtwin.formats.catalog import array_sha256
from aemtwin.formats.nsid import write_nsid
from aemtwin.instruments.synthetic.afm_ir import make_afm_ir
from aemtwin.instruments.synthetic.afm_topography import make_afm_topography
from aemtwin.instruments.synthetic.pfm_loops import make_pfm_loops
from aemtwin.instruments.synthetic.raman_map import make_raman_map
from aemtwin.instruments.synthetic.stem_4d import make_stem_4d
from aemtwin.instruments.synthetic.stem_atoms import make_stem_atoms
from aemtwin.instruments.synthetic.stem_eels import make_stem_eels
from aemtwin.instruments.synthetic.stm_spectroscopy import make_stm_spectroscopy
from aemtwin.sample import StoredArray

MAKERS: dict[str, Callable[[int], list[StoredArray]]] = {
    "afm_ir": make_afm_ir,
    "afm_topography": make_afm_topography,
    "pfm_loops": make_pfm_loops,
    "raman_map": make_raman_map,
    "stem_4d": make_stem_4d,
    "stem_atoms": make_stem_atoms,
    "stem_eels": make_stem_eels,
    "stm_spectroscopy": make_stm_spectroscopy,
}


def regenerate(
    name: str, folder: str | os.PathLike[str], *, seed: int = 0
) -> dict[str, str]:
    """Make the sample `name` and write it to `folder`, which must exist.

    Returns:
        The SHA-256 of each array, as `aemtwin.formats.catalog.verify` expects it.

    Raises:
        UnknownName: If there is no such sample.
        BadFile: If the file cannot be written.
    """
    if name not in MAKERS:
        raise unknown("synthetic sample", name, MAKERS, "These can be made.")
    arrays = MAKERS[name](seed)
    write_nsid(
        Path(folder) / f"{name}.nsid.h5",
        arrays,
        attributes={"generator": name, "seed": seed},
    )
    return {array.name: array_sha256(array.data) for array in arrays}


def main(arguments: list[str]) -> int:
    """Run the command; 0 done, 1 failed, 2 wrong use."""
    if len(arguments) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    name, folder = arguments
    try:
        hashes = regenerate(name, folder)
        lines = ["[sha256]", *(f'{key} = "{value}"' for key, value in hashes.items())]
        text = "\n".join(lines) + "\n"
        (Path(folder) / f"{name}.sha256.toml").write_text(text, "utf-8")
    except (AemtwinError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
