"""Stereo data made of files: encodings, pictures, calibration, examples, and readers of known sets."""
