"""Checks at the entry and the exit of a stage: feasibility of a bounded correction, thresholds on metrics."""
