"""The S2M2 stereo network, written from its published description."""
