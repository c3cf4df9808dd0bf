"""Twins, and what every instrument promises: one protocol, a ledger, limits."""
