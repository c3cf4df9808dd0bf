"""One BLAS thread or as many as cores: a GP step on an idle and on a busy machine.

    python benchmarks/blas_threads.py

Each case is a process of its own, since the number of threads is read when SciPy's
OpenBLAS is loaded. `aemtwin.environment.prepare_jax` asks for one thread: this is why.
"""

from __future__ import annotations

import os
import subprocess
import sys

STEP = """
import statistics, time
import jax, numpy as np
from aemtwin import surrogates
from aemtwin.surrogates.base import pad
random, gp = np.random.default_rng(0), surrogates.get("gp")
pool = random.uniform(size=(2500, 2))
for n in (50, 100, 200):
    X = random.uniform(size=(n, 2))
    y = np.sin(5 * X[:, 0]) * np.cos(4 * X[:, 1]) + 0.1 * random.normal(size=n)
    state, took = gp.init(2), []
    for k in range(8):
        begin = time.perf_counter()
        key = jax.random.key(k)
        state, _ = gp.fit(key, state._replace(fitted=0), pad(X, y))
        gp.predict(key, state, pool)
        took.append(time.perf_counter() - begin)
    print(f"{1e3 * statistics.median(took[2:]):.1f}", end=" ", flush=True)
"""


def main() -> None:
    print(
        "| machine | BLAS threads | n = 50 | n = 100 | n = 200 |\n|---|---|---|---|---|"
    )
    for busy in (0, os.cpu_count() or 1):
        loops = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range(busy)
        ]
        try:
            for threads in ("as many as cores", "1"):
                environment = dict(os.environ)
                environment.pop("OPENBLAS_NUM_THREADS", None)
                if threads == "1":
                    environment["OPENBLAS_NUM_THREADS"] = "1"
                done = subprocess.run(
                    [sys.executable, "-c", STEP],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                    timeout=300,
                )
                cells = " | ".join(f"{ms} ms" for ms in done.stdout.split())
                state = f"{busy} busy processes beside it" if busy else "idle"
                print(f"| {state} | {threads} | {cells} |", flush=True)
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()


if __name__ == "__main__":
    main()
