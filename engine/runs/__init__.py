"""A run: its directory, its provenance, its stages in order."""
