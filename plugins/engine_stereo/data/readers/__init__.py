"""The data sets that are read in their published layout.

A reader is a module with an options model `<Set>Options(FramesOptions)`, which has `root: Path`, and a function
`frames(options) -> list[Frame]`. It is imported when its name is registered, so it imports no numpy: `Frame` and
`MaskFile` come from `engine_stereo.data.frames`, `Encoding` and `PRESETS` from `engine_stereo.data.presets`, and
`engine_stereo.data.readers.layout` finds what belongs together.
"""

from __future__ import annotations

from engine_stereo.data.options import FramesOptions
from engine_stereo.data.readers import (
    argoverse,
    booster,
    crestereo,
    dps_net,
    drivingstereo,
    eth3d,
    fallingthings,
    fsd,
    instereo2k,
    kitti,
    middlebury,
    nerfstereo,
    polarization_only,
    sceneflow,
    sintel,
    spring,
    tartanair,
    unrealstereo4k,
    vkitti2,
)

_HERE = "engine_stereo.data.readers"

READERS: dict[str, tuple[type[FramesOptions], str]] = {
    "argoverse_stereo": (argoverse.ArgoverseOptions, f"{_HERE}.argoverse:frames"),
    "booster": (booster.BoosterOptions, f"{_HERE}.booster:frames"),
    "crestereo": (crestereo.CREStereoOptions, f"{_HERE}.crestereo:frames"),
    "dofp": (polarization_only.DofpOptions, f"{_HERE}.polarization_only:dofp"),
    "drivingstereo": (drivingstereo.DrivingStereoOptions, f"{_HERE}.drivingstereo:frames"),
    "eth3d": (eth3d.ETH3DOptions, f"{_HERE}.eth3d:frames"),
    "fallingthings": (fallingthings.FallingThingsOptions, f"{_HERE}.fallingthings:frames"),
    "flyingthings3d_subset": (sceneflow.FlyingThings3DSubsetOptions, f"{_HERE}.sceneflow:subset"),
    "fsd": (fsd.FSDOptions, f"{_HERE}.fsd:frames"),
    "hammer": (polarization_only.HammerOptions, f"{_HERE}.polarization_only:hammer"),
    "instereo2k": (instereo2k.InStereo2KOptions, f"{_HERE}.instereo2k:frames"),
    "ips": (dps_net.IPSOptions, f"{_HERE}.dps_net:ips"),
    "kitti2012": (kitti.KittiOptions, f"{_HERE}.kitti:frames_2012"),
    "kitti2015": (kitti.KittiOptions, f"{_HERE}.kitti:frames_2015"),
    "middeval3": (middlebury.MiddEval3Options, f"{_HERE}.middlebury:frames_eval3"),
    "middlebury2006": (middlebury.Middlebury2006Options, f"{_HERE}.middlebury:frames_2006"),
    "middlebury2014": (middlebury.Middlebury2014Options, f"{_HERE}.middlebury:frames_2014"),
    "middlebury2021": (middlebury.Middlebury2021Options, f"{_HERE}.middlebury:frames_2021"),
    "nerfstereo": (nerfstereo.NerfStereoOptions, f"{_HERE}.nerfstereo:frames"),
    "rps": (dps_net.RPSOptions, f"{_HERE}.dps_net:rps"),
    "sceneflow": (sceneflow.SceneFlowOptions, f"{_HERE}.sceneflow:frames"),
    "sintel": (sintel.SintelOptions, f"{_HERE}.sintel:frames"),
    "spring": (spring.SpringOptions, f"{_HERE}.spring:frames"),
    "tartanair": (tartanair.TartanAirOptions, f"{_HERE}.tartanair:frames"),
    "unrealstereo4k": (unrealstereo4k.UnrealStereo4KOptions, f"{_HERE}.unrealstereo4k:frames"),
    "vkitti2": (vkitti2.VKITTI2Options, f"{_HERE}.vkitti2:frames"),
}
"""Name in a recipe -> (options, "module:function" that lists the examples)."""
