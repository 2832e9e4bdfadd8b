"""Stereo matching for the engine: losses, metrics, pictures, and a real pair to try them on."""
