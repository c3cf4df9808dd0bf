"""The record of a run in the event-model's form, which Bluesky's tools read.

A run is one `start`, one `descriptor` that says what each datum is, an `event` a
measurement, and a `stop`. These are plain dicts with the event-model's keys; the
journal (`aemtwin.journal`) is a file of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

Document = dict[str, Any]

VOLATILE = frozenset(
    {
        "uid",
        "run_start",
        "descriptor",
        "time",
        "timestamps",
        "rid",
        "decide_s",
        "fit_s",
        "move_s",
        "measure_s",
        "total_s",
        "environment",
        "out",
        "uri",
        "compilations",
    }
)
"""Keys in which two runs of one description may differ: identities and wall clocks."""

DATA_KEYS: dict[str, tuple[str, str, str]] = {  # name -> (dtype, units, meaning)
    "index": ("integer", "", "candidate measured"),
    "x": ("number", "m", "position decided on"),
    "y": ("number", "m", "position decided on"),
    "actual_x": ("number", "m", "position of the probe"),
    "actual_y": ("number", "m", "position of the probe"),
    "value": ("number", "", "the number sought"),
    "valid": ("boolean", "", "whether the value is finite"),
    "failed": ("boolean", "", "whether the instrument could not measure there"),
    "phase": ("string", "", "first: by design; search: by the acquisition"),
    "acquisition": ("number", "", "score of the candidate"),
    "rid": ("string", "", "request id"),
    "notices": ("string", "", "what the instrument said of it"),
    "info": ("string", "", "what the fit said of itself, JSON"),
    "instrument_time_s": ("number", "s", "end, on the instrument's clock"),
    "dose": ("number", "", "that the measurement added"),
    "decide_s": ("number", "s", "predict and choose"),
    "fit_s": ("number", "s", "fit the surrogate"),
    "move_s": ("number", "s", "move, wall clock"),
    "measure_s": ("number", "s", "measure, wall clock"),
    "total_s": ("number", "s", "the step, wall clock"),
}

MORE_KEYS: dict[str, tuple[str, str, str]] = {  # of runs that have them alone
    "sd": ("number", "", "known of the value: its standard deviation"),
    "dwell_s": ("number", "s", "decided for the measurement"),
}


def run_start(uid: str, time: float, **facts: Any) -> Document:
    """Return the document that opens a run."""
    return {"uid": uid, "time": time, "plan_name": "aemtwin.campaign", **facts}


def descriptor(
    run_uid: str,
    time: float,
    *,
    value_name: str,
    value_units: str,
    more: Collection[str] = (),
    others: Sequence[tuple[str, str]] = (),
) -> Document:
    """Return the document that says what the events hold.

    Args:
        run_uid: Of the run.
        time: Now.
        value_name: What is sought.
        value_units: Its unit.
        more: Of `MORE_KEYS`, those that events have.
        others: Name and unit of what is sought besides, `value_2`, `value_3`, ...
    """
    keys = {
        name: {"source": meaning, "dtype": dtype, "shape": [], "units": units}
        for name, (dtype, units, meaning) in {**DATA_KEYS, **MORE_KEYS}.items()
        if name in DATA_KEYS or name in more
    }
    keys["value"] |= {"source": value_name, "units": value_units}
    if "sd" in keys:
        keys["sd"] |= {"units": value_units}
    for key, (name, units) in zip(other_keys(len(others)), others, strict=True):
        keys[key] = keys["value"] | {"source": name, "units": units}
    return {
        "uid": f"{run_uid}-primary",
        "run_start": run_uid,
        "time": time,
        "name": "primary",
        "data_keys": keys,
    }


def other_keys(count: int) -> tuple[str, ...]:
    """Return under which keys events have the numbers sought beside the first.

    >>> other_keys(2)
    ('value_2', 'value_3')
    """
    return tuple(f"value_{k + 2}" for k in range(count))


def event(run_uid: str, seq_num: int, time: float, data: Mapping[str, Any]) -> Document:
    """Return the document of one measurement; `seq_num` counts from 1."""
    return {
        "uid": str(uuid.uuid4()),
        "descriptor": f"{run_uid}-primary",
        "seq_num": seq_num,
        "time": time,
        "data": dict(data),
        "timestamps": dict.fromkeys(data, time),
    }


def run_stop(
    run_uid: str,
    time: float,
    *,
    exit_status: str,
    reason: str,
    events: int,
    **facts: Any,
) -> Document:
    """Return the document that closes a run: "success", "abort" or "fail"."""
    return {
        "uid": str(uuid.uuid4()),
        "run_start": run_uid,
        "time": time,
        "exit_status": exit_status,
        "reason": reason,
        "num_events": {"primary": events},
        **facts,
    }


def steady(value: Any) -> Any:
    """Return a document without what `VOLATILE` names, however deep.

    >>> steady({"uid": "a", "data": {"value": 1.5, "fit_s": 0.1}})
    {'data': {'value': 1.5}}
    """
    if isinstance(value, Mapping):
        return {k: steady(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [steady(item) for item in value]
    return value
