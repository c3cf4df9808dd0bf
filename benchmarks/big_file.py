"""Open an NSID file of 10 GB, and serve spectra from anywhere in it.

    python benchmarks/big_file.py [--folder DIR] [--gigabytes 10]

The file is written first, outside the clock: a spectral image of float32 in chunks of
one spectrum's row, with random values in the blocks that will be read and zeros, which
take no room on the disk, elsewhere. Told are the time to open the twin, the time of
1000 spectra at random places, whether each is what was written, and the largest
resident memory of the process that did it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHANNELS, SPECTRA = 1024, 1000


def write(path: Path, gigabytes: float) -> list[tuple[int, int]]:
    """Write the file; return the rows and columns that will be read."""
    import h5py

    side = int((gigabytes * 1e9 / 4 / CHANNELS) ** 0.5)
    random = np.random.default_rng(0)
    places = [(int(r), int(c)) for r, c in random.integers(0, side, (SPECTRA, 2))]
    with h5py.File(path, "w") as file:
        group = file.create_group("Measurement_000/Channel_000/big")
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((side, side, CHANNELS))
        h5py.h5d.create(group.id, b"big", h5py.h5t.IEEE_F32LE, space, plist)
        data = group["big"]
        data.attrs.update(
            quantity="Intensity",
            units="counts",
            data_type="SPECTRAL_IMAGE",
            modality="test",
            source="benchmark",
            main_data_name="big",
        )
        for i, (name, n, units, kind) in enumerate(
            (
                ("y", side, "m", "SPATIAL"),
                ("x", side, "m", "SPATIAL"),
                ("energy", CHANNELS, "eV", "SPECTRAL"),
            )
        ):
            scale = 1e-9 if kind == "SPATIAL" else 1.0
            axis = group.create_dataset(name, data=np.arange(n) * scale)
            axis.attrs.update(
                name=name,
                units=units,
                quantity=name,
                dimension_type=kind,
                nsid_version="0.0.7",
            )
            axis.make_scale(name)
            data.dims[i].label = name
            data.dims[i].attach_scale(axis)
        for row, column in places:
            data[row, column] = expected(row, column)
    return places


def expected(row: int, column: int) -> np.ndarray:
    """Return the spectrum that was written at a place."""
    return (np.arange(CHANNELS) + row * 7 + column * 3).astype("f4")


def read(path: Path) -> dict[str, float]:
    """Open the twin and read; in a process of its own, so that its memory is told."""
    import aemtwin

    places = json.loads((path.parent / "places.json").read_text("utf-8"))
    begin = time.perf_counter()
    twin = aemtwin.open_twin(path, kind="stem", ideal=True)
    opened = time.perf_counter()
    wrong = 0
    for row, column in places:
        twin.move_to((column * 1e-9, row * 1e-9))
        found = twin.measure().values
        wrong += not np.array_equal(found, expected(row, column))
    done = time.perf_counter()
    return {
        "gigabytes": path.stat().st_size / 1e9,
        "open_s": opened - begin,
        "spectrum_ms": (done - opened) / len(places) * 1e3,
        "wrong": wrong,
        "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--read", type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read is not None:
        print(json.dumps(read(given.read)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "big.nsid.h5"
        places = write(path, given.gigabytes)
        (path.parent / "places.json").write_text(json.dumps(places), "utf-8")
        command = [sys.executable, __file__, "--read", str(path)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
