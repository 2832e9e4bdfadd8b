"""Booster: indoor scenes with transparent and mirror surfaces, 12 MP, several illuminations a scene.

Zama Ramirez et al., "Open challenges in deep stereo: the Booster dataset", CVPR 2022. One ground truth serves all
illuminations of a scene. The unbalanced pairs, whose right camera has fewer pixels, are not read: a pair has one size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from engine_stereo.data.frames import Frame, MaskFile
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

# Values in mask_cat.png; 0 and 1 are the opaque materials, which the benchmark calls 'Other'.
_CLASSES = (0, 1, 2, 3)
_TRANSPARENT_OR_MIRROR = (2, 3)


class BoosterOptions(FramesOptions):
    """Options of `booster`. The benchmark's quarter size is `scale = 0.25`, which divides the disparity by 4 too."""

    root: Path = Field(description="the folder with train/ and test/")
    split: Literal["train", "test"] = Field("train", description="'test' has no ground truth")
    classes: bool = Field(False, description="also a mask for each class of material: class_0 to class_3")


def frames(options: BoosterOptions) -> list[Frame]:
    """The balanced pairs, with `occluded` and `transparent` (or mirror) where there is truth. Errors as in `listed`."""
    scene = f"{options.split}/balanced/*"
    known = options.split == "train"
    classes = Path(f"{scene}/mask_cat.png")
    masks = {
        "occluded": MaskFile(Path(f"{scene}/mask_00.png"), (0,)),
        "transparent": MaskFile(classes, _TRANSPARENT_OR_MIRROR),
    }
    if options.classes:
        masks |= {f"class_{value}": MaskFile(classes, (value,)) for value in _CLASSES}
    layout = Layout(
        left=f"{scene}/camera_00/*.png",
        right=f"{scene}/camera_02/*.png",
        id="*/*",
        disparity=f"{scene}/disp_00.npy" if known else None,
        encoding=PRESETS["booster"],
        masks=masks,
        calibration=f"{scene}/calib_00-02.xml",
        scene="*",
    )
    return listed(options.root, [layout])
