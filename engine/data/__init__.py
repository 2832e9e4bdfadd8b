"""Samples in a fixed order, drawn by counters rather than by state."""
