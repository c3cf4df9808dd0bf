"""Samples made from a seed: pure functions."""
