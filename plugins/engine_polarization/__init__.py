"""Polarisation signal and the bounded correction that learns from it."""
