"""The data sets that are read in their published layout.

A reader is a module with an options model `<Set>Options(FramesOptions)`, which has `root: Path`, and a function
`frames(options) -> list[Frame]`. It is imported when its name is registered, so it imports no numpy: `Frame` and
`MaskFile` come from `engine_stereo.data.frames`, `Encoding` and `PRESETS` from `engine_stereo.data.presets`, and
`engine_stereo.data.readers.layout` finds what belongs together.
"""

from __future__ import annotations

from engine_stereo.data.options import FramesOptions
from engine_stereo.data.readers import argoverse, booster, drivingstereo, eth3d, kitti, middlebury, sceneflow

_HERE = "engine_stereo.data.readers"

READERS: dict[str, tuple[type[FramesOptions], str]] = {
    "argoverse_stereo": (argoverse.ArgoverseOptions, f"{_HERE}.argoverse:frames"),
    "booster": (booster.BoosterOptions, f"{_HERE}.booster:frames"),
    "drivingstereo": (drivingstereo.DrivingStereoOptions, f"{_HERE}.drivingstereo:frames"),
    "eth3d": (eth3d.ETH3DOptions, f"{_HERE}.eth3d:frames"),
    "flyingthings3d_subset": (sceneflow.FlyingThings3DSubsetOptions, f"{_HERE}.sceneflow:subset"),
    "kitti2012": (kitti.KittiOptions, f"{_HERE}.kitti:frames_2012"),
    "kitti2015": (kitti.KittiOptions, f"{_HERE}.kitti:frames_2015"),
    "middeval3": (middlebury.MiddEval3Options, f"{_HERE}.middlebury:frames_eval3"),
    "middlebury2006": (middlebury.Middlebury2006Options, f"{_HERE}.middlebury:frames_2006"),
    "middlebury2014": (middlebury.Middlebury2014Options, f"{_HERE}.middlebury:frames_2014"),
    "middlebury2021": (middlebury.Middlebury2021Options, f"{_HERE}.middlebury:frames_2021"),
    "sceneflow": (sceneflow.SceneFlowOptions, f"{_HERE}.sceneflow:frames"),
}
"""Name in a recipe -> (options, "module:function" that lists the examples)."""
