"""Disparity losses, metrics, readers and pictures."""
