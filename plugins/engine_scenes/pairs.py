"""A rectified polarised pair with its ground truth: what is stored for one scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine_scenes.opaque import OpaqueShader
from engine_scenes.render import View, render
from engine_scenes.scene import Scene, camera_depth
from engine_scenes.trace import blocked, camera_rays, first_hits
from engine_scenes.vectors import luminance

WHITE, PERCENTILE = 0.85, 0.97
"""Exposure: this share of the left image's pixels stays below this luminance."""

BRIGHTEST = 8.0
"""Highlights are cut here, far above white, so that half precision holds them."""


@dataclass(frozen=True)
class Truth:
    """Ground truth of the left image, each (H, W), for the FIRST surface a pixel's centre ray meets, glass or not.

    disparity: px, left x minus right x. valid: something was met. occluded: the right camera does not see that point,
    or it falls outside the right image. transparent: the surface is glass.
    """

    disparity: Tensor
    valid: Tensor
    occluded: Tensor
    transparent: Tensor


@dataclass(frozen=True)
class Pair:
    """light: (10, H, W) float16, for left then right: exposed linear RGB and (S1, S2) / S0 of the luminance."""

    light: np.ndarray
    truth: Truth


def ground_truth(scene: Scene) -> Truth:
    """First-surface disparity and masks, from one ray through the centre of each pixel."""
    camera = scene.camera
    rays = camera_rays(camera, 1)
    t, number = first_hits(scene, camera, rays)
    valid = number >= 0
    points = rays.origin + torch.where(valid, t, 1.0) * rays.direction
    disparity = camera.focal * scene.baseline / camera_depth(camera, points)
    hidden = blocked(scene, camera.shifted(scene.baseline).position, points)
    column = torch.arange(camera.width).repeat(camera.height)
    # The right image reaches from half a pixel left of its first centre.
    hidden |= column - disparity < -0.5
    glassy = torch.tensor([s.glass is not None for s in scene.surfaces] + [False])[number.long()]
    disparity = torch.where(valid, disparity, 0.0)
    return Truth(*(x.reshape(camera.height, camera.width) for x in (disparity, valid, hidden & valid, glassy)))


def _packed(view: View, exposure: Tensor) -> Tensor:
    y = luminance(view.s0).clamp_min(1e-6)
    qu = torch.stack([view.s1, view.s2]) / y
    # Rounding can carry fully polarised light a hair beyond full polarisation.
    qu = qu / torch.hypot(qu[0], qu[1]).clamp_min(1)
    return torch.cat([(view.s0 * exposure).clamp(0, BRIGHTEST), qu])


def render_pair(scene: Scene) -> Pair:
    """Both views, each with its own directions of sight, and the left view's ground truth."""
    with torch.no_grad():
        shader = OpaqueShader(scene)
        left = render(shader, scene.camera)
        right = render(shader, scene.camera.shifted(scene.baseline))
        exposure = WHITE / torch.quantile(luminance(left.s0).flatten(), PERCENTILE).clamp_min(1e-6)
        light = torch.cat([_packed(left, exposure), _packed(right, exposure)])
        return Pair(light.numpy().astype(np.float16), ground_truth(scene))
