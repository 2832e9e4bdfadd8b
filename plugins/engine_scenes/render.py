"""One camera's noise-free picture: radiance and linear polarisation, averaged over each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine_scenes.glass import glass_paths, tint
from engine_scenes.opaque import OpaqueShader
from engine_scenes.scene import Camera
from engine_scenes.trace import Rays, camera_rays, first_hits
from engine_scenes.vectors import cross, luminance, normalized

SUBDIVISION = 2
"""Rays a pixel side; the textures are band-limited, so four a pixel are enough."""


@dataclass(frozen=True)
class View:
    """What a camera measures without noise.

    s0: (3, H, W) linear RGB radiance. s1, s2: (H, W) Stokes components of the luminance; x is image right, angles count
    counter-clockwise with y up.
    """

    s0: Tensor
    s1: Tensor
    s2: Tensor


def render(shader: OpaqueShader, camera: Camera) -> View:
    """Cast the camera's rays into the shader's scene."""
    rays = camera_rays(camera, SUBDIVISION)
    t, number = first_hits(shader.scene, camera, rays)
    right = normalized(cross(rays.direction, camera.up.expand_as(rays.direction)))
    s0 = torch.zeros_like(rays.direction)
    s12 = torch.zeros(2, s0.shape[1])
    glassy = torch.tensor([s.glass is not None for s in shader.scene.surfaces] + [False])[number.long()]
    _shade_opaque(shader, rays, right, t, number, ((number >= 0) & ~glassy).nonzero()[:, 0], s0, s12)
    _shade_glass(shader, rays, right, t, number, s0, s12)
    s0, s12 = (_pixels(x, rays) for x in (s0, s12))
    return View(s0, s12[0], s12[1])


def _pixels(x: Tensor, rays: Rays) -> Tensor:
    """Means (C, H, W) of the rays (C, N) in each pixel."""
    n = rays.subdivision
    grid = x.reshape(-1, rays.rows, rays.columns)
    return sum(grid[:, i::n, j::n] for i in range(n) for j in range(n)) / (n * n)


def _shade_opaque(
    shader: OpaqueShader, rays: Rays, right: Tensor, t: Tensor, number: Tensor, index: Tensor, s0: Tensor, s12: Tensor
) -> None:
    distance = t.index_select(0, index)
    radiance, s1, s2 = shader.shade(
        rays.origin,
        rays.direction.index_select(1, index),
        distance,
        number.index_select(0, index),
        distance,
        right.index_select(1, index),
    )
    s0.index_copy_(1, index, radiance)
    s12.index_copy_(1, index, torch.stack([s1, s2]))


def _shade_glass(
    shader: OpaqueShader, rays: Rays, right: Tensor, t: Tensor, number: Tensor, s0: Tensor, s12: Tensor
) -> None:
    """All paths behind all glass are lit in one batch, which costs far less than one batch for each."""
    batches = []
    for k, surface in enumerate(shader.scene.surfaces):
        index = (number == k).nonzero()[:, 0]
        if surface.glass is None or len(index) == 0:
            continue
        d, distance = rays.direction.index_select(1, index), t.index_select(0, index)
        p = rays.origin + distance * d
        paths = glass_paths(surface, p, d, distance, right.index_select(1, index))
        dust, _, _ = shader.shade(
            rays.origin, d, distance, torch.full_like(index, k, dtype=torch.int32), distance, None
        )
        batches.append((index, surface.haze, dust, paths))
    if not batches:
        return
    every = [path for batch in batches for path in batch[3]]
    light = shader.radiance(
        torch.cat([path.origin for path in every], 1),
        torch.cat([path.direction for path in every], 1),
        torch.cat([path.travelled for path in every]),
    )
    pieces = iter(light.split([path.direction.shape[1] for path in every], 1))
    colour = tint()
    for index, haze, dust, paths in batches:
        rgb, s1, s2 = torch.zeros_like(dust), torch.zeros(len(index)), torch.zeros(len(index))
        for order, path in enumerate(paths):
            incoming = next(pieces)
            # The first path is the mirror image, which never enters the glass.
            incoming = incoming if order == 0 else incoming * colour
            rgb += path.arrives.s0 * incoming
            brightness = luminance(incoming)
            s1 += path.arrives.s1 * brightness
            s2 += path.arrives.s2 * brightness
        s0.index_copy_(1, index, torch.lerp(rgb, dust, haze))
        s12.index_copy_(1, index, torch.stack([s1, s2]) * (1 - haze))
