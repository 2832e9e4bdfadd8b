"""The networks that the model `checkout` knows by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine_checkouts.preset import Answer, Attention, AuthorsFile, Preset, Rule


def _multiple_of_32(value: Any) -> bool:
    return isinstance(value, int) and value > 0 and value % 32 == 0


def _three_times_128(value: Any) -> bool:
    return list(value) == [128, 128, 128]


FOUNDATION_STEREO = Preset(
    module="core.foundation_stereo",
    network="FoundationStereo",
    home="https://github.com/NVlabs/FoundationStereo",
    commits=["6e8806816b533e4d13ddbb95ffa907b797060a62"],
    form="mapping",
    arguments={
        "hidden_dims": [128, 128, 128],
        "n_downsample": 2,
        "n_gru_layers": 3,
        "corr_levels": 2,
        "corr_radius": 4,
        "max_disp": 416,
        "vit_size": "vitl",  # absent in the authors' first cfg.yaml, and this is what they meant
        "low_memory": 0,
        "mixed_precision": True,  # where the engine trains in a lower precision; in fp32 it means nothing
    },
    rules=[
        Rule("max_disp", _multiple_of_32, "a multiple of 32"),
        Rule("hidden_dims", _three_times_128, "[128, 128, 128]; every other fails in the first step"),
        Rule("n_downsample", lambda value: value == 2, "2"),
        Rule("n_gru_layers", lambda value: value in (2, 3), "2 or 3; with 1 the hidden state never changes"),
        Rule("vit_size", lambda value: value in ("vits", "vitb", "vitl"), "'vits', 'vitb' or 'vitl'"),
    ],
    needs=["torchvision", "timm", "huggingface_hub", "einops"],
    unused=["open3d", "trimesh", "joblib", "pandas", "imageio", "cv2", "scipy"],
    hubs={"facebookresearch/dinov2": "dinov2"},
    train=Answer(estimates=(1,), initial=(0,)),
    train_iters=22,
    backbone="feature.dino",
    idle=["cnet.down", "cnet.norm", "context_zqr_convs", "stem_4"],
    segments={
        "update": ["update_block", "upsample_disp"],
        "volume": ["corr_stem", "corr_feature_att", "cost_agg", "classifier"],
        "features": ["feature.conv4", "feature.stages.0", "feature.deconv8_4", "cnet"],
    },
    attention=Attention("core.submodule", "cost_agg.atts.4.sa.0.self_attn", 28),
    traced={"core.geometry:bilinear_sampler": "along_row", "core.foundation_stereo:normalize_image": "normalised"},
    cpu_bf16=False,
    file=AuthorsFile("model_best_bp2.pth", key="model"),
)

RAFT_STEREO = Preset(
    module="core.raft_stereo",
    network="RAFTStereo",
    home="https://github.com/princeton-vl/RAFT-Stereo",
    commits=["6068c1a26f84f8132de10f60b2bc0ce61568e085"],
    arguments={
        "hidden_dims": [128, 128, 128],
        "corr_implementation": "reg",
        "shared_backbone": False,
        "corr_levels": 4,
        "corr_radius": 4,
        "n_downsample": 2,
        "context_norm": "batch",
        "slow_fast_gru": False,
        "n_gru_layers": 3,
        "mixed_precision": True,
    },
    rules=[
        Rule("hidden_dims", lambda value: len(value) == 3 and len(set(value)) == 1, "three equal widths"),
        Rule("corr_implementation", lambda value: value in ("reg", "alt", "reg_cuda"), "'reg', 'alt' or 'reg_cuda'"),
    ],
    unused=["opt_einsum", "scipy"],
    train=Answer(sign=-1),
    evaluate=Answer(estimates=(1,), sign=-1),
    train_iters=16,
    segments={"update": ["update_block", "upsample_flow"]},
    file=AuthorsFile("raft-stereo.pth", prefix="module."),
)

PRESETS: Mapping[str, Preset] = {"foundation_stereo": FOUNDATION_STEREO, "raft_stereo": RAFT_STEREO}
