"""Show that a batch of factorisations in JAX may wait for ever unless JAX has a thread.

    python benchmarks/xla_threads.py

Each case is a process of its own that has a minute: two independent batches of Cholesky
factors in one compiled loop, as an ensemble of Gaussian processes makes them, with
JAX's own number of threads and with one (`NPROC=1`, as `prepare_jax` sets it).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np

jax.config.update("jax_enable_x64", True)
count, n = int(sys.argv[1]), int(sys.argv[2])
A = np.random.default_rng(0).normal(size=(count, n, n))
K = A @ A.transpose(0, 2, 1) + n * np.eye(n)

def turn(_, total):
    one, other = (jnp.linalg.cholesky(K + k * total * 1e-9) for k in (1, 2))
    return jnp.sum(one[:, -1, -1]) + jnp.sum(other[:, -1, -1])

print(float(jax.jit(lambda: jax.lax.fori_loop(0, 400, turn, 0.0))()))
"""
PATIENCE_S = 60


def main() -> None:
    for count, n in ((8, 64), (100, 16), (500, 16)):
        for name, changed in (("its own", {}), ("one", {"NPROC": "1"})):
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **changed}
            command = [sys.executable, "-c", PROGRAM, str(count), str(n)]
            begin = time.perf_counter()
            try:
                subprocess.run(
                    command,
                    env=environment,
                    timeout=PATIENCE_S,
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                told = f"{time.perf_counter() - begin:.1f} s, start included"
            except subprocess.TimeoutExpired:
                told = f"no answer in {PATIENCE_S} s"
            print(f"| {count} x {n} x {n} | {name} | {told} |", flush=True)


if __name__ == "__main__":
    main()
