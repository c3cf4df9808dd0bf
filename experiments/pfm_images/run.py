"""Read three real PFM samples of one file through the instrument's calls: no spectra.

    AEMTWIN_DATA=... python experiments/pfm_images/run.py

Each sample is chosen by name, served behind a URI, scanned with its own pixels, scanned
again coarser and turned, and read along a spiral; the picture shows what came back.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import aemtwin
from aemtwin.errors import BadConfig

FILE = "nsid/pfm_multichannel.nsid.h5"
TURNS, POINTS = 6, 1500


def spiral(bounds: Any) -> np.ndarray:
    """Return points of a spiral of even pitch from the centre out, (POINTS, 2), m."""
    centre, reach = np.mean(bounds, axis=1), 0.5 * np.ptp(bounds, axis=1).min()
    turn = np.sqrt(np.linspace(0, 1, POINTS))
    angle = 2 * np.pi * TURNS * turn
    way = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return centre + reach * turn[:, None] * way


def read(path: Path, sample: str) -> dict[str, Any]:
    """Return what the instrument told of one sample."""
    twin = aemtwin.open_twin(path, select=sample)
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri)
        spec = scope.describe()
        try:
            aemtwin.run(scope, steps=1)
            raise AssertionError("a campaign needs spectra")
        except BadConfig as error:
            print(f"{sample}: {error}")
        channel = spec.channels[0]
        own = scope.scan(channels=[channel.name])
        (x_low, x_high), (y_low, y_high) = spec.bounds
        half = [(3 * low + high) / 4 for low, high in spec.bounds]
        far = [(low + 3 * high) / 4 for low, high in spec.bounds]
        region = ((half[0], far[0]), (half[1], far[1]))
        turned = scope.scan(region, (64, 64), [channel.name], rotation=np.pi / 6)
        points = spiral(spec.bounds)
        trace = scope.trace(points, [c.name for c in spec.channels])
        scope.close()
    found = {"channel": channel, "own": own, "turned": turned, "points": points}
    print(
        f"{sample}: {len(spec.channels)} channels of {own.values.shape} pixels, "
        f"{(x_high - x_low) * 1e6:.3g} x {(y_high - y_low) * 1e6:.3g} µm; "
        f"{len(points)} points of a spiral in {trace.time_s[1] - trace.time_s[0]:.1f} s"
    )
    return {**found, "trace": trace}


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw a row a sample: its own pixels with the path, the turned scan, the trace."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6 * len(found)), layout="constrained")
    for row, (sample, told) in zip(
        figure.subplots(len(found), 3), found.items(), strict=True
    ):
        own, turned, trace = told["own"], told["turned"], told["trace"]
        for axes, frame in zip(row, (own, turned), strict=False):
            x, y = (1e6 * frame.axis(name).values for name in "xy")
            shown = axes.pcolormesh(x, y, 1e9 * frame.values, cmap="viridis")
            axes.set_aspect("equal")
            axes.set_xlabel("x (µm)")
            axes.set_ylabel("y (µm)")
            figure.colorbar(shown, ax=axes, label=f"{told['channel'].quantity} (nm)")
        row[0].plot(*(1e6 * told["points"].T), color="white", lw=0.8)
        row[0].set_title(f"{sample}: its own pixels")
        row[1].set_title("64 x 64 pixels, turned by 30°")
        row[2].plot(1e6 * trace.axes[0].values, 1e9 * trace.values, lw=0.7)
        row[2].set_title("along the spiral")
        row[2].set_xlabel("distance (µm)")
        row[2].set_ylabel(f"{told['channel'].quantity} (nm)")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/pfm_images.png"))
    said = parser.parse_args()
    if "AEMTWIN_DATA" not in os.environ:
        parser.error(f"set AEMTWIN_DATA to the folder that holds {FILE}")
    path = Path(os.environ["AEMTWIN_DATA"]) / FILE
    first = aemtwin.open_twin(path).describe().identity
    samples = (first["sample"], *first["others"])
    found = {sample: read(path, sample) for sample in samples}
    said.out.parent.mkdir(parents=True, exist_ok=True)
    draw(found, said.out)
    print(said.out)


if __name__ == "__main__":
    main()
