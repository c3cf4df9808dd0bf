"""What is told of an answer without its values: where, how much dose, its hash."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from aemtwin.measurement import Measurement


def fingerprint(answer: Any) -> dict[str, str]:
    """Return the hash of what an answer measured; nothing, if that was nothing."""
    if isinstance(answer, Measurement):
        return {"sha256": array_hash(answer)}
    return {}


def summary(answer: Any) -> dict[str, Any]:
    """Return what the ledger tells of an answer: positions and dose.

    The `extent` of a frame is that of its outermost pixel centres before a rotation.
    """
    if isinstance(answer, Measurement):
        extent = {}
        if answer.call == "scan":
            ends = [answer.axis(name).values[[0, -1]].tolist() for name in "xy"]
            extent = {"extent": ends}
        return {
            **extent,
            "asked": np.asarray(answer.asked).tolist()
            if answer.asked.ndim == 1
            else None,
            "actual": np.asarray(answer.actual).tolist()
            if answer.actual.ndim == 1
            else None,
            "dose": answer.dose,
        }
    if isinstance(answer, np.ndarray):
        return {"actual": answer.tolist()}
    if isinstance(answer, dict) and "pulse" in answer:
        return {"actual": answer["position"], "dose": answer["dose"]}
    return {}


def array_hash(measurement: Measurement) -> str:
    """Return the SHA-256 of all arrays of a measurement, names and dtypes included."""
    digest = hashlib.sha256()
    for name, values in measurement.arrays.items():
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
