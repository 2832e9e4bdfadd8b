"""Polarisation as an auxiliary signal: Stokes maths, a bounded correction of disparity, its diagnostics and gates."""
