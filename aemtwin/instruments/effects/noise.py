"""Chance that is addressed, not consumed: the noise of an operation needs no history.

Pure functions; `aemtwin.instruments.probe` adds what they give to the sample's values.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def generator(seed: int, step: int, part: str, channel: str) -> np.random.Generator:
    """Return the source of chance of one channel in one part of one step.

    The same address gives the same numbers in any order of calls, in any process.

    Source:
        Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3", SC '11:
        the counter-based generator Philox, here with the address hashed to its key.

    >>> a = generator(0, 3, "measure", "loops").normal(size=2)
    >>> bool(np.all(a == generator(0, 3, "measure", "loops").normal(size=2)))
    True
    """
    text = "\x00".join((str(seed), str(step), part, channel))
    key = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, "<u8")))


def readout(
    values: NDArray[Any],
    sd: float,
    random: np.random.Generator,
) -> NDArray[Any]:
    """Add Gaussian read-out noise and return it in the dtype of `values`.

    Integers are rounded to the nearest and kept inside their type; complex values get
    independent noise of `sd` in each part; bools are left alone.

    Args:
        values: What the detector would give without noise, any shape.
        sd: Standard deviation, in the unit of `values`.
        random: The source of chance, from `generator`.

    Returns:
        A new array, same shape and dtype.
    """
    if sd == 0 or values.dtype.kind == "b":
        return values.copy()
    noise = random.normal(0.0, sd, values.shape)
    if values.dtype.kind == "c":
        noise = noise + 1j * random.normal(0.0, sd, values.shape)
    noisy = values + noise
    if values.dtype.kind in "iu":
        info = np.iinfo(values.dtype)
        top = float(info.max)
        if top > info.max:  # 64 bits: the float above is no number of this type
            top = math.nextafter(top, 0.0)
        noisy = np.clip(np.rint(noisy), info.min, top)
    return np.asarray(noisy.astype(values.dtype))


def averaged(sd: float, usual_dwell_s: float, dwell_s: float) -> float:
    """Return the noise after averaging for `dwell_s`: white noise falls as 1/sqrt(t).

    >>> averaged(2.0, usual_dwell_s=1.0, dwell_s=4.0)
    1.0
    """
    return sd * math.sqrt(usual_dwell_s / dwell_s)
