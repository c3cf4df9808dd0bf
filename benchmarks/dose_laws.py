"""Do noise and dose follow each other as they must? Figures, not times.

    python benchmarks/dose_laws.py

Told are: the slope of the signal-to-noise ratio of a dark-field frame against its dwell
(log-log; counts make it 1/2); the Fano factor of EELS counts drawn anew (1) and of a
recording that is dealt (1 - share); whether the dose in the ledger is the integral of
current over time. The tests hold the same laws with fewer draws.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

import aemtwin
from aemtwin.formats.nsid import write_nsid
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

CHARGE_C = Fraction("1.602176634e-19")


def slope(repeats: int = 12) -> tuple[float, float]:
    """Return the slope of SNR against dwell, and its standard error over places."""
    twin = aemtwin.open_twin("stem_eels", effects="none", seed=1)
    dwells = 5e-6 * 2.0 ** np.arange(7)
    snr = []
    for dwell in dwells:
        frames = np.stack(
            [
                twin.scan(channels=["haadf"], dwell_s=dwell).values.astype(float)
                for _ in range(repeats)
            ]
        )
        blocks = frames.reshape(repeats, 8, 16, 8, 16)  # 64 places
        deviation = np.sqrt(blocks.var(axis=0, ddof=1).mean(axis=(1, 3)))
        snr.append(blocks.mean(axis=(0, 2, 4)) / deviation)
    slopes = np.polyfit(np.log(dwells), np.log(np.array(snr)).reshape(7, -1), 1)[0]
    return float(slopes.mean()), float(slopes.std(ddof=1) / np.sqrt(slopes.size))


def fano_model(repeats: int = 400) -> tuple[float, float]:
    """Return variance over mean of EELS counts drawn anew, and its standard error."""
    twin = aemtwin.open_twin("stem_eels", effects="none", seed=2)
    spectra = np.stack([twin.measure().values.astype(float) for _ in range(repeats)])
    mean, variance = spectra.mean(axis=0), spectra.var(axis=0, ddof=1)
    seen = mean > 20
    ratio = variance[seen] / mean[seen]
    return float(ratio.mean()), float(np.sqrt(2 / (repeats - 1) / seen.sum()))


def fano_dealt(share: float, repeats: int = 400) -> tuple[float, float]:
    """Return variance over mean of what is dealt from one recording, over seeds."""
    random = np.random.default_rng(3)
    counts = random.poisson(400.0, (4, 4, 64)).astype("u2")
    axes = [Axis(n, "m", np.arange(4) * 1e-9, "Length", "spatial") for n in "yx"]
    energy = Axis("energy", "eV", np.arange(64.0), "Energy", "spectral")
    recorded = StoredArray("eds", "Intensity", "counts", counts, (*axes, energy))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.nsid.h5"
        write_nsid(path, [recorded])
        dealt = []
        for seed in range(repeats):
            twin = aemtwin.open_twin(path, counts={"eds": "recorded"}, seed=seed)
            usual = twin.describe().mode("eds").dwell_s.default
            twin.move_to((1e-9, 2e-9))
            dealt.append(twin.measure("eds", share * usual).values.astype(float))
            twin.close()
    values = np.array(dealt)
    ratio = values.var(axis=0, ddof=1) / values.mean(axis=0)
    return float(ratio.mean()), float(ratio.std(ddof=1) / np.sqrt(ratio.size))


def dose() -> bool:
    """Say whether every dose in the ledger is current times time, in exact numbers."""
    on = ["drift", "walk", "optics", "damage"]  # no faults: a blanked beam has no dose
    twin = aemtwin.open_twin("stem_eels", effects=on, seed=4)
    random, right = np.random.default_rng(5), True
    for _ in range(50):
        current = float(random.uniform(1e-12, 1e-10))
        dwell = float(random.uniform(1e-6, 1e-3))
        twin.configure(current_A=current)
        twin.scan(shape=(3, 5), dwell_s=dwell)
        twin.measure(dwell_s=dwell)
        for event, spots in zip(twin.events()[-2:], (15, 1), strict=True):
            exact = Fraction(current) * Fraction(dwell) * spots / CHARGE_C
            right &= abs(Fraction(event["dose"]) / exact - 1) < Fraction(1, 2**51)
    total = sum(Fraction(event.get("dose", 0.0)) for event in twin.events())
    return right and abs(Fraction(twin.state().dose) / total - 1) < Fraction(1, 2**46)


def main() -> None:
    value, error = slope()
    print(f"SNR of a frame against dwell: slope {value:.4f} ± {error:.4f}")
    value, error = fano_model()
    print(f"EELS counts drawn anew: variance over mean {value:.4f} ± {error:.4f}")
    for share in (0.1, 0.25, 0.5, 0.9):
        value, error = fano_dealt(share)
        want = 1 - share
        print(
            f"dealt at {share}: variance over mean {value:.4f} ± {error:.4f} ({want:g})"
        )
    print(f"dose in the ledger is current times time: {dose()}")


if __name__ == "__main__":
    main()
