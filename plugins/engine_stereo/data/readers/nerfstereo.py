"""NeRF-Supervised Stereo's triplets: views and disparity rendered from radiance fields of real scenes.

Tosi et al., "NeRF-supervised deep stereo", CVPR 2023. The disparity is a pseudo-label: what the field's confidence
(ambient occlusion, the folder AO) is unsure of does not count. The cameras are not published.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from engine_stereo.data.frames import Frame, MaskFile
from engine_stereo.data.options import FramesOptions
from engine_stereo.data.patterns import found
from engine_stereo.data.presets import PRESETS
from engine_stereo.data.readers.layout import Layout, listed

# The published training takes pixels of more than half the confidence, 65536 being all, and at most 512 px.
_SURE = tuple(range(32769, 65536))
_ENCODING = PRESETS["nerfstereo"].model_copy(update={"below": 512.0})


class NerfStereoOptions(FramesOptions):
    """Options of `nerfstereo`."""

    root: Path = Field(description="the folder of the sequences, each with Q/center, Q/AO and Q/baseline_*")


def frames(options: NerfStereoOptions) -> list[Frame]:
    """Center and right view of every triplet; a sequence is a scene. Errors as in `listed`."""
    rendered = found("*/Q/baseline_*/*/*", options.root)  # left, right and disparity, so that each misses the others
    baselines = sorted({f"baseline_{baseline}" for _, baseline, _, _ in rendered}) or ["baseline_*"]
    layouts = []
    for baseline in baselines:
        pairs = {(sequence, Path(file).stem) for sequence, of, _, file in rendered if f"baseline_{of}" == baseline}
        layouts.append(
            Layout(
                left="*/Q/center/*.jpg",
                right=f"*/Q/{baseline}/right/*.jpg",
                id=f"*/{baseline}/*",
                disparity=f"*/Q/{baseline}/disparity/*.png",
                encoding=_ENCODING,
                masks={"valid": MaskFile(Path("*/Q/AO/*.png"), _SURE)},
                keep=pairs.__contains__,
                scene="*",
            )
        )
    return listed(options.root, layouts)
