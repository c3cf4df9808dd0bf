"""Many random grids: a frame, a trace and a measurement agree with the stored array.

A thousand by default; a hundred thousand as soak, of which the outcome is kept in
`benchmarks/results/geometry_soak.json`:

    python -m tests.properties.test_geometry_many 100000
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest

from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.twin import Twin
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

UNITS = {"m": 1.0, "nm": 1e-9, "um": 1e-6, "pm": 1e-12}
DTYPES = ("f4", "f8", "i2", "u2", "c8")


def axis(random: np.random.Generator, name: str) -> Axis:
    """1 to 9 values in some unit: even or uneven, up or down, with an offset."""
    n = int(random.integers(1, 10))
    steps = random.uniform(0.1, 10.0, n) if random.random() < 0.5 else np.ones(n)
    values = random.uniform(-50, 50) + np.cumsum(steps) * random.choice([1, 1e-3, 30])
    values = values[::-1] if random.random() < 0.5 else values
    return Axis(name, str(random.choice(list(UNITS))), values, "Length", "spatial")


def stored(random: np.random.Generator) -> list[StoredArray]:
    """An image and a cube on one grid, each with its own order of axes."""
    x, y = axis(random, "x"), axis(random, "y")
    bias = Axis("bias", "V", np.linspace(-1, 1, 3), "Bias", "spectral")
    made = []
    for name, of in (("image", [y, x]), ("cube", [y, x, bias])):
        order = [of[i] for i in random.permutation(len(of))]
        shape = tuple(len(one) for one in order)
        values = random.normal(scale=100, size=shape)
        dtype = str(random.choice(DTYPES))
        if dtype == "c8":
            values = values + 1j * random.normal(size=shape)
        made.append(StoredArray(name, "", "", values.astype(dtype), tuple(order)))
    return made


def by_hand(array: StoredArray) -> np.ndarray:
    """The array as (y, x, ...), both ascending, without our geometry."""
    names = [one.name for one in array.axes]
    rest = [i for i, name in enumerate(names) if name not in "xy"]
    values = array.data.transpose(names.index("y"), names.index("x"), *rest)
    for i, name in enumerate("yx"):
        along = array.axes[names.index(name)].values
        values = np.take(values, np.argsort(along), axis=i)
    return values


def mismatches(seed: int) -> int:
    """Return at how many places frame, trace or measurement differ from the array."""
    random = np.random.default_rng(seed)
    image, cube = arrays = stored(random)
    twin = Twin(make_sample(arrays), AFM, name="any", ideal=True)
    want, loops = by_hand(image), by_hand(cube)
    frame = twin.scan()
    wrong = int((frame.values != want).sum())
    x, y = frame.axis("x").values, frame.axis("y").values
    rows, columns = (random.integers(0, n, 6) for n in want.shape)
    points = np.column_stack([x[columns], y[rows]])
    wrong += int((twin.trace(points, ["image"]).values != want[rows, columns]).sum())
    for row, column in list(zip(rows, columns, strict=True))[:3]:
        twin.move_to((x[column], y[row]))
        wrong += not np.array_equal(twin.measure().values, loops[row, column])
    return wrong


@pytest.mark.parametrize("block", range(10))
def test_a_thousand_grids_are_read_as_they_are_stored(block):
    assert [s for s in range(block * 100, block * 100 + 100) if mismatches(s)] == []


def main(grids: int) -> None:
    """Run the soak and print what is kept of it."""
    begin = time.perf_counter()
    wrong = [seed for seed in range(grids) if mismatches(seed)]
    told = {
        "command": f"python -m tests.properties.test_geometry_many {grids}",
        "grids": grids,
        "with mismatches": len(wrong),
        "seeds": wrong[:20],
        "seconds": round(time.perf_counter() - begin),
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
