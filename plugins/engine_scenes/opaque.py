"""Light from opaque surfaces: textured diffuse reflection with weak exit polarisation, and a glossy reflection."""

from __future__ import annotations

import torch
from torch import Tensor

from engine_scenes.fresnel import frame_change, fresnel
from engine_scenes.scene import Scene
from engine_scenes.shapes import Plane
from engine_scenes.trace import nearest
from engine_scenes.vectors import cross, dot, luminance, normalized

_LACQUER = 1.5
"""Refractive index of the smooth binder around the pigments, which polarises."""


class OpaqueShader:
    """Shades hits on any surface of a scene as if it were opaque."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._opaque = [(k, s) for k, s in enumerate(scene.surfaces) if s.glass is None]
        columns = [(s.texture, s.gloss, s.blur, s.weak, s.texel) for s in scene.surfaces]
        self._texture = torch.tensor([c[0] for c in columns], dtype=torch.int32)
        self._gloss, self._blur, self._weak, self._texel = torch.tensor([c[1:] for c in columns]).T.contiguous()

    def shade(
        self, origin: Tensor, direction: Tensor, t: Tensor, number: Tensor, travelled: Tensor, right: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Radiance (3, N) and the luminance Stokes components s1, s2 (N,) towards the rays' origins.

        number: (N,) surface of each hit, never -1. travelled: (N,) metres from the camera, which sets the size of the
        texture's footprint. right: (3, N) first axis of the Stokes frame, or None to leave polarisation out (zeros).
        """
        scene, m = self.scene, number.long()
        p = origin + t * direction
        n, uv = torch.empty_like(p), torch.empty(2, p.shape[1])
        for k in number.unique().tolist():
            surface, index = scene.surfaces[k], (number == k).nonzero()[:, 0]
            points = p.index_select(1, index)
            n.index_copy_(1, index, surface.shape.normal(points))
            uv.index_copy_(1, index, surface.shape.uv(points))
        facing = dot(n, direction)
        # A sheet is seen from both sides.
        n = torch.where(facing > 0, -n, n)
        cos_i = facing.abs().clamp(1e-3, 1)
        texel = self._texel[m]
        # Between the footprint across the slope and along it.
        footprint = travelled / (scene.camera.focal * texel) * cos_i.rsqrt()
        colour = scene.atlas.lookup(self._texture[m], uv / texel, footprint)
        open_sky = self._openness(p, n, m)
        diffuse = colour * (scene.light.irradiance(n) * open_sky)
        f = fresnel(cos_i, _LACQUER)
        mirrored = direction + 2 * cos_i * n
        gloss = scene.light.radiance(mirrored, self._blur[m]) * (self._gloss[m] * open_sky)
        radiance = diffuse + (0.5 * (f.rs + f.rp)) * gloss
        if right is None:
            nothing = torch.zeros_like(t)
            return radiance, nothing, nothing
        # Light that leaves the binder is polarised along p by its refraction, mirrored light along s.
        exit_dolp = (f.rs - f.rp) / (2 - f.rs - f.rp)
        along_s = 0.5 * (f.rs - f.rp) * luminance(gloss) - self._weak[m] * exit_dolp * luminance(diffuse)
        s_axis = normalized(cross(direction, n))
        c, s = frame_change(s_axis, right, -direction)
        return radiance, c * along_s, -s * along_s

    def radiance(self, origin: Tensor, direction: Tensor, travelled: Tensor) -> Tensor:
        """RGB radiance (3, N) along loose rays: the opaque world, without its polarisation, and the sky outside."""
        t, number = nearest(self._opaque, origin, direction)
        light = torch.empty_like(direction)
        hit = number >= 0
        inside, outside = hit.nonzero()[:, 0], (~hit).nonzero()[:, 0]
        t = t.index_select(0, inside)
        shaded, _, _ = self.shade(
            origin.index_select(1, inside),
            direction.index_select(1, inside),
            t,
            number.index_select(0, inside),
            travelled.index_select(0, inside) + t,
            None,
        )
        light.index_copy_(1, inside, shaded)
        light.index_copy_(1, outside, self.scene.light.radiance(direction.index_select(1, outside), 0.0))
        return light

    def _openness(self, p: Tensor, n: Tensor, m: Tensor) -> Tensor:
        """Share (N,) of the sky left by things nearby: planes darken corners, bodies the floor around them.

        A sphere of radius r at distance l in direction u takes (n . u) r^2 / l^2 of the cosine-weighted sky.
        """
        share = torch.ones(p.shape[1])
        for k, surface in enumerate(self.scene.surfaces):
            shape = surface.shape
            if isinstance(shape, Plane):
                gap = dot(p - shape.point, shape.facing).clamp_min(0)
                darkening = 0.35 * torch.exp(gap * (-1 / 0.25))
            else:
                to = shape.centre[:, None] - p
                square = dot(to, to)
                # A body narrower than the sphere around it; glass lets most light through.
                weight = (0.45 if surface.glass is None else 0.15) * shape.radius**2
                darkening = (weight * dot(n, to).clamp_min(0) * square.rsqrt() / square).clamp_max(0.6)
            share *= 1 - torch.where(m == k, 0.0, darkening)
        return share
