"""Brings the data set `polarized_scenes`; importing this file loads neither torch nor zarr."""

from __future__ import annotations

from engine.hookspecs import Register, hookimpl
from engine_scenes.options import SceneOptions


@hookimpl
def engine_datasets(register: Register) -> None:
    """Register the procedural polarised stereo scenes."""
    register("polarized_scenes", SceneOptions, "engine_scenes.dataset:PolarizedScenes")
