"""The same seed and the same requests give the same bits, near and far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aemtwin
from aemtwin.codec import to_wire
from aemtwin.errors import AemtwinError
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.protocol import Instrument
from aemtwin.instruments.stem import STEM
from aemtwin.instruments.twin import Twin
from tests.small import small_arrays, small_twin

FAR: dict[str, Instrument] = {}
TWINS: dict[str, Twin] = {}
COUNTS = "counts", "loops"


def small_stem(**options: object) -> Twin:
    """The small sample under a beam; two of its arrays hold counts."""
    sample = make_sample(small_arrays())
    noise = {"height": 0.1, "loops": 0.05, "lockin": 0.02}
    return Twin(sample, STEM, name="beam", noise=noise, counts=COUNTS, **options)


MAKERS: dict[str, Callable[..., Twin]] = {"afm": small_twin, "stem": small_stem}
kinds = st.sampled_from(sorted(MAKERS))


@pytest.fixture(scope="module", autouse=True)
def _served() -> Iterator[None]:
    with ExitStack() as stack:
        for kind, make in MAKERS.items():
            TWINS[kind] = make(seed=7)
            server = stack.enter_context(aemtwin.serve(TWINS[kind], truth=True))
            FAR[kind] = aemtwin.connect(server.uri)
            stack.callback(FAR[kind].close)
        yield


inside_x, inside_y = st.floats(0, 400e-9), st.floats(0, 1000e-9)
position = st.tuples(inside_x, inside_y)
dwell = st.sampled_from([None, 1e-3, 0.5])
calls = st.one_of(
    st.tuples(st.just("move_to"), st.fixed_dictionaries({"position": position})),
    st.tuples(
        st.just("measure"),
        st.fixed_dictionaries(
            {"mode": st.sampled_from([None, "loops", "lockin", "no"]), "dwell_s": dwell}
        ),
    ),
    st.tuples(
        st.just("scan"),
        st.fixed_dictionaries(
            {
                "shape": st.sampled_from([None, (2, 3), (1, 1), (0, 1)]),
                "dwell_s": dwell,
                "rotation": st.sampled_from([0.0, 3.141592653589793]),
            }
        ),
    ),
    st.tuples(
        st.just("trace"),
        st.fixed_dictionaries(
            {"points": st.lists(position, min_size=1, max_size=4), "dwell_s": dwell}
        ),
    ),
    st.tuples(
        st.just("configure"),
        st.fixed_dictionaries(
            {"settle_s": st.floats(0, 1)}, optional={"current_A": st.just(2e-12)}
        ),
    ),
    st.tuples(
        st.just("pulse"),
        st.fixed_dictionaries(
            {"name": st.sampled_from([None, "exposure", "no"]), "dwell_s": dwell}
        ),
    ),
)
programs = st.lists(calls, min_size=1, max_size=6)


def play(scope: Instrument, program) -> list[object]:
    """Everything that can be seen while these calls are made."""
    seen: list[object] = []
    for step, (call, arguments) in enumerate(program):
        try:
            answer = getattr(scope, call)(**arguments, rid=f"play/{step}/{call}")
        except AemtwinError as error:
            answer = [error.code, str(error)]
        seen += [to_wire(answer), {**to_wire(scope.state()), "lease": ""}]
    # who asked is another, in process and over the wire
    events = [
        {k: v for k, v in event.items() if k != "holder"} for event in scope.events()
    ]
    return [*seen, events]


@given(kinds, programs)
def test_remote_equals_local(kind, program):
    near = play(MAKERS[kind](seed=7), program)
    TWINS[kind].reset()
    assert play(FAR[kind], program) == near


@given(kinds, programs)
def test_the_same_seed_gives_the_same_bits(kind, program):
    one, same = (play(MAKERS[kind](seed=3), program) for _ in range(2))
    assert one == same


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**9), position)
def test_noise_needs_no_history(seed, step, at):
    alone, after = small_twin(seed=seed), small_twin(seed=seed)
    after.scan(rid="other/4/scan")
    after.measure()
    found = []
    for twin in (alone, after):
        twin.move_to(at, rid=f"run/{step}/move")
        found.append(twin.measure(rid=f"run/{step}/measure").values)
    np.testing.assert_array_equal(*found)


@given(kinds, programs)
def test_a_twin_opened_again_on_its_ledger_stands_where_it_stood(kind, program):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        before = MAKERS[kind](seed=3, ledger=path)
        play(before, program)
        before.close()
        after = MAKERS[kind](seed=3, ledger=path)
        assert to_wire(after.state()) == to_wire(before.state())
        assert after.events() == before.events()
        size = path.stat().st_size
        assert play(after, program)[-1] == before.events()  # nothing is done twice
        assert path.stat().st_size == size
        after.close()
