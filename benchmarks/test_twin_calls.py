"""Calls of a twin: in this process, and over Pyro4 on the loopback interface.

    pytest benchmarks/test_twin_calls.py --benchmark-only

Quality is kept beside time: an ideal twin must give the stored data bit for bit, either
way, and `extra_info` has the bytes that an answer takes on the wire. The clock of the
twin is virtual, so what is timed is the software alone. The ledger is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgpack
import numpy as np
import pytest

import aemtwin
from aemtwin.codec import to_wire
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.protocol import Instrument
from aemtwin.instruments.twin import Twin
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

SIDE, ROWS, COLUMNS, STEPS = 256, 64, 64, 64
WHERE = {"in process": False, "over Pyro4": True}


def stored_arrays() -> dict[str, StoredArray]:
    """An image of 256 x 256 float64, and a loop of 64 float32 on a grid of 64 x 64."""
    random = np.random.default_rng(0)

    def spatial(name: str, n: int) -> Axis:
        return Axis(name, "m", np.linspace(0, 1e-6, n), "Length", "spatial")

    bias = Axis("bias", "V", np.linspace(-5, 5, STEPS), "Bias", "spectral")
    fine = spatial("y", SIDE), spatial("x", SIDE)
    coarse = spatial("y", ROWS), spatial("x", COLUMNS), bias
    height = random.normal(size=(SIDE, SIDE))
    loops = random.normal(size=(ROWS, COLUMNS, STEPS)).astype("f4")
    return {
        "height": StoredArray("height", "Height", "m", height, fine),
        "loops": StoredArray("loops", "Piezoresponse", "pm", loops, coarse),
    }


ARRAYS = stored_arrays()


@pytest.fixture(params=WHERE)
def scope(request: pytest.FixtureRequest) -> Iterator[Instrument]:
    sample = make_sample(ARRAYS.values())
    twin = Twin(sample, AFM, name="benchmark", ideal=True)
    if not WHERE[request.param]:
        yield twin
        return
    with aemtwin.serve(twin) as server:
        client = aemtwin.connect(server.uri)
        yield client
        client.close()


def on_the_wire(answer: object) -> int:
    """Return the bytes of an answer as our client gets it, without Pyro4's header."""
    return len(msgpack.packb(to_wire(answer), use_bin_type=True))


def middle() -> tuple[list[float], np.ndarray]:
    """Return a grid point and the loop stored there."""
    row, column = ROWS // 2, COLUMNS // 2
    y, x, _ = ARRAYS["loops"].axes
    return [x.values[column], y.values[row]], ARRAYS["loops"].data[row, column]


def test_state(benchmark, scope):
    """Ask how the instrument stands: the least that a call can be."""
    state = benchmark(scope.state)
    benchmark.extra_info.update(bytes_on_the_wire=on_the_wire(state))
    assert state.operations == 0


def test_one_spectrum(benchmark, scope):
    """Measure one loop of 64 float32 where the probe stands, on a grid point."""
    position, stored = middle()
    scope.move_to(position)
    loop = benchmark(scope.measure)
    equal = loop.values.tobytes() == stored.tobytes()
    benchmark.extra_info.update(
        bytes_on_the_wire=on_the_wire(loop),
        bytes_of_data=loop.values.nbytes,
        bit_equal=equal,
    )
    assert equal


def test_move_and_measure(benchmark, scope):
    """Go to another grid point and measure there: what a step of a campaign does."""
    position, stored = middle()
    y, x, _ = ARRAYS["loops"].axes
    away = [x.values[0], y.values[0]]
    turn = 0

    def step():
        nonlocal turn
        turn += 1
        scope.move_to(away if turn % 2 else position)
        return scope.measure()

    loop = benchmark(step)
    expected = ARRAYS["loops"].data[0, 0] if turn % 2 else stored
    equal = loop.values.tobytes() == expected.tobytes()
    benchmark.extra_info.update(bit_equal=equal, calls=2)
    assert equal


def test_scan_of_a_full_frame(benchmark, scope):
    """Scan 256 x 256 pixels of float64: the recording's own, half a megabyte."""
    # few rounds: the ledger in memory keeps every frame
    frame = benchmark.pedantic(scope.scan, rounds=50, warmup_rounds=3)
    stored = ARRAYS["height"].data
    equal = frame.values.tobytes() == stored.tobytes()
    benchmark.extra_info.update(
        bytes_on_the_wire=on_the_wire(frame),
        bytes_of_data=frame.values.nbytes,
        bit_equal=equal,
    )
    assert frame.values.shape == (SIDE, SIDE)
    assert equal


def test_the_same_request_again(benchmark, scope):
    """Ask for a frame again by its id: the ledger's stored answer, nothing done."""
    first = scope.scan(rid="bench/1/scan")
    frame = benchmark.pedantic(
        scope.scan, kwargs={"rid": "bench/1/scan"}, rounds=50, warmup_rounds=3
    )
    equal = frame.values.tobytes() == first.values.tobytes()
    benchmark.extra_info.update(bit_equal=equal)
    assert equal
    assert scope.state().operations == 1
