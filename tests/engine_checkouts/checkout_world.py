"""The stand-in checkouts, their networks, and a pair of images whose disparity is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from engine_checkouts.network import Checkout, built
from engine_checkouts.options import CheckoutOptions
from engine_checkouts.presets import PRESETS

STAND_INS = Path(__file__).with_name("stand_ins")
FOLDERS = {"foundation_stereo": STAND_INS / "FoundationStereo", "raft_stereo": STAND_INS / "RAFT-Stereo"}
SMALL = {
    "foundation_stereo": {"vit_size": "vits", "max_disp": 64, "allow_random_backbone": True},
    "raft_stereo": {},
}


def options(preset: str = "foundation_stereo", **more: Any) -> CheckoutOptions:
    settings = {"checkout": FOLDERS[preset], "train_iters": 3, "valid_iters": 2, **SMALL[preset], **more}
    return CheckoutOptions(preset=preset, **settings)


def network(
    preset: str = "foundation_stereo", seed: int = 0, changed: dict[str, Any] | None = None, **more: Any
) -> Checkout:
    """A stand-in in evaluation mode; `changed` replaces fields of its preset."""
    torch.manual_seed(seed)
    return built(replace(PRESETS[preset], **(changed or {})), options(preset, **more)).eval()


def trainable(checkout: Checkout) -> Checkout:
    """In training mode, with what no gradient reaches frozen."""
    checkout.train()
    for pattern in checkout.preset.never_trained():
        checkout.get_submodule(pattern.removeprefix("base.").removesuffix(".**")).requires_grad_(False)
    return checkout


def pair(height: int = 64, width: int = 96, size: int = 1, disparity: int = 8, seed: int = 0) -> dict[str, Any]:
    """A batch of random texture, everywhere at one disparity."""
    numbers = torch.Generator().manual_seed(seed)
    texture = torch.rand(size, 3, height // 4 + 1, (width + disparity) // 4 + 1, generator=numbers)
    scene = 255 * F.interpolate(texture, size=(height, width + disparity), mode="bilinear", align_corners=False)
    truth = torch.full((size, 1, height, width), float(disparity))
    return {
        "left": scene[..., :width],
        "right": scene[..., disparity:],
        "disparity": truth,
        "valid": torch.ones_like(truth, dtype=torch.bool),
    }


def copied(folder: Path, to: Path) -> Path:
    """A copy of a checkout that a test may change."""
    return Path(shutil.copytree(folder, to))


def slanted_pair(height: int = 64, width: int = 96, nearest: float = 8.0, farthest: float = 22.0) -> dict[str, Any]:
    """A batch of one: random texture on a floor, whose disparity grows from row to row."""
    rows = torch.linspace(nearest, farthest, height)
    numbers = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, height // 3 + 1, (width + 32) // 3 + 1, generator=numbers)
    scene = 255 * F.interpolate(texture, size=(height, width + 32), mode="bilinear", align_corners=False)
    columns = torch.arange(width, dtype=torch.float32)[None] + rows[:, None]  # where the right view looks
    floor = columns.floor().long()[None, None].expand(1, 3, -1, -1)
    share = columns - columns.floor()
    right = (1 - share) * scene.gather(3, floor) + share * scene.gather(3, floor + 1)
    truth = rows[None, None, :, None].expand(1, 1, -1, width).contiguous()
    place = torch.arange(width, dtype=torch.float32) - truth
    return {"left": scene[..., :width], "right": right, "disparity": truth, "valid": place >= 0}


def one_stage(folder: Path, preset: str, checkout: Path, rests: Sequence[str] = ()) -> Path:
    """A recipe of one stage on the embedded scenes; `rests` is frozen beside what no gradient reaches.

    The losses are means of samples, all of whose pixels are valid: two processes with a sample each have the loss that
    one has with both.
    """
    model = {"plugin": "checkout", "preset": preset, "checkout": str(checkout), **SMALL[preset]}
    frozen = [*PRESETS[preset].never_trained(), *rests]
    initial = ', { name = "initial_disparity" }' if PRESETS[preset].train.initial else ""
    path = folder / f"{preset}.toml"
    path.write_text(
        f"""
name = "{preset}"
[model]
{"".join(f"{key} = {json.dumps(value)}" + chr(10) for key, value in model.items())}
[data]
train = {{ plugin = "polarized_scenes", split = "train" }}
val = {{ plugin = "polarized_scenes", split = "val" }}
[train]
optimizer = {{ lr = 2e-4, weight_decay = 0.0 }}
losses = [{{ name = "sequence", average = "samples" }}{initial}]
[evaluate]
metrics = [{{ name = "epe" }}]
key = ["epe/all"]
best = "epe/all"
[[stage]]
name = "train"
trainable = ["base.**"]
frozen = {json.dumps(frozen)}
steps = 3
"""
    )
    return path


def tiny(steps: int, **more: object) -> list[str]:
    """Arguments that make `one_stage` small; `more` with "__" for the dots of a key."""
    scenes = {"count": 4, "height": 64, "width": 96}
    values = {
        "train.batch_size": 2,
        "train.log_every": 1,
        "model.train_iters": 3,
        "model.valid_iters": 3,
        **{f"data.{split}.{key}": value for split in ("train", "val") for key, value in scenes.items()},
        "data.train.crop": [64, 96],
        "stage.train.steps": steps,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]
