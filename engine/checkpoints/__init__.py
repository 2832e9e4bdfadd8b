"""Weights in and out: strict, atomic, verified."""
