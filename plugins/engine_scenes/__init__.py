"""Procedural polarised stereo scenes."""
