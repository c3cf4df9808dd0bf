"""Benchmarks measure a process prepared as a run prepares it."""

from __future__ import annotations

from aemtwin.environment import prepare_jax

prepare_jax()
