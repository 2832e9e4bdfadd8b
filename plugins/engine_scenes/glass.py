"""Light from glass: each hit becomes a few paths to the opaque world, and Mueller matrices bring their light back.

Paths are followed from the camera; light runs the other way. What comes from the world counts as unpolarised, so a path
is a chain of surfaces, and its Stokes vector per unit of light is found from the far end to the near one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine_scenes.fresnel import (
    Mueller,
    Stokes,
    fresnel,
    reflected_direction,
    reflection,
    refracted_direction,
    rotated,
    slab,
    through,
    transmission,
    unpolarized_through,
)
from engine_scenes.scene import Surface
from engine_scenes.shapes import Rectangle
from engine_scenes.vectors import cross, dot, normalized

INTERNAL_BOUNCES = 2
PANE_THICKNESS = 0.006
_TINT = (0.90, 0.96, 0.93)
"""Transmission of common glass by colour: a little green."""


@dataclass(frozen=True)
class Path:
    """Where light comes from and what arrives of it.

    origin, direction: (3, N), from the glass outwards. travelled: (N,) metres from the camera to the origin. arrives:
    Stokes components at the camera per unit of unpolarised light.
    """

    origin: Tensor
    direction: Tensor
    travelled: Tensor
    arrives: Stokes


Leg = tuple[Mueller, Tensor, Tensor]
"""A surface on a path: its matrix, its s axis (3, N), and the direction (3, N) in which the camera ray reached it."""


def _arriving(legs: Sequence[Leg], right: Tensor) -> Stokes:
    """What unit unpolarised light beyond the last leg has become in the camera's frame with first axis `right`."""
    matrix, axis, direction = legs[-1]
    light = unpolarized_through(matrix)
    for before in reversed(legs[:-1]):
        light = rotated(light, axis, before[1], -direction)
        matrix, axis, direction = before
        light = through(matrix, light)
    return rotated(light, axis, right, -direction)


def _s_axis(direction: Tensor, normal: Tensor) -> Tensor:
    return normalized(cross(direction, normal))


def glass_paths(surface: Surface, point: Tensor, direction: Tensor, t: Tensor, right: Tensor) -> list[Path]:
    """The paths behind camera rays that hit one glass thing.

    point, direction: (3, N) of the hits. t: (N,) metres to them. right: (3, N) first axis of the camera's Stokes frame.
    """
    if surface.glass == "pane":
        return _pane(surface, point, direction, t, right)
    if surface.glass == "shell":
        return _shell(surface, point, direction, t, right)
    return _solid(surface, point, direction, t, right)


def _pane(surface: Surface, p: Tensor, d: Tensor, t: Tensor, right: Tensor) -> list[Path]:
    n = surface.shape.normal(p)
    n = torch.where(dot(n, d) > 0, -n, n)
    back, on = slab(fresnel(-dot(n, d), surface.index))
    axis = _s_axis(d, n)
    assert isinstance(surface.shape, Rectangle)
    # The ground edge of a sheet sends light sideways and looks dark.
    clear = torch.where(surface.shape.rim(p) < PANE_THICKNESS, 0.55, 1.0)
    seen = _arriving([(on, axis, d)], right)
    return [
        Path(p, reflected_direction(d, n), t, _arriving([(back, axis, d)], right)),
        Path(p, d, t, Stokes(*(clear * part for part in seen))),
    ]


def _shell(surface: Surface, p: Tensor, d: Tensor, t: Tensor, right: Tensor) -> list[Path]:
    """Two thin walls that do not bend light: mirror on the first, on the second from inside, and straight through."""
    shape = surface.shape
    front_axis, n = _s_axis(d, shape.normal(p)), shape.normal(p)
    back, on = slab(fresnel(-dot(n, d).clamp(-1, 0), surface.index))
    length = shape.far(p, d)
    q = p + length * d
    m = shape.normal(q)
    far_axis = _s_axis(d, m)
    far_back, far_on = slab(fresnel(dot(m, d).clamp(0, 1), surface.index))
    bounced = reflected_direction(d, m)
    out_length = shape.far(q, bounced)
    r = q + out_length * bounced
    exit_normal = shape.normal(r)
    out_axis = _s_axis(bounced, exit_normal)
    _, out_on = slab(fresnel(dot(exit_normal, bounced).clamp(0, 1), surface.index))
    entered = (on, front_axis, d)
    return [
        Path(p, reflected_direction(d, n), t, _arriving([(back, front_axis, d)], right)),
        Path(q, d, t + length, _arriving([entered, (far_on, far_axis, d)], right)),
        Path(
            r,
            bounced,
            t + length + out_length,
            _arriving([entered, (far_back, far_axis, d), (out_on, out_axis, bounced)], right),
        ),
    ]


def _solid(surface: Surface, p: Tensor, d: Tensor, t: Tensor, right: Tensor) -> list[Path]:
    """The mirror image on the outside, and what comes out after 0, 1 .. INTERNAL_BOUNCES reflections inside."""
    shape, eta = surface.shape, surface.index
    n = shape.normal(p)
    cos_i = (-dot(n, d)).clamp(0, 1)
    f = fresnel(cos_i, eta)
    axis = _s_axis(d, n)
    paths = [Path(p, reflected_direction(d, n), t, _arriving([(reflection(f), axis, d)], right))]
    legs: list[Leg] = [(transmission(f), axis, d)]
    inner = normalized(refracted_direction(d, n, cos_i, f.cos_t, eta))
    for bounce in range(INTERNAL_BOUNCES + 1):
        length = shape.far(p, inner)
        p, t = p + length * inner, t + length
        n = -shape.normal(p)
        cos_i = (-dot(n, inner)).clamp(0, 1)
        f = fresnel(cos_i, 1 / eta)
        axis = _s_axis(inner, n)
        out = normalized(refracted_direction(inner, n, cos_i, f.cos_t, 1 / eta))
        paths.append(Path(p, out, t, _arriving([*legs, (transmission(f), axis, inner)], right)))
        if bounce < INTERNAL_BOUNCES:
            legs.append((reflection(f), axis, inner))
            inner = normalized(reflected_direction(inner, n))
    return paths


def tint() -> Tensor:
    """Transmission (3, 1) of glass by colour, for light that went through it."""
    return torch.tensor(_TINT)[:, None]
