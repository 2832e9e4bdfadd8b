"""Which surface a ray meets first, and where: whole grids of camera rays and loose bundles of further rays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine_scenes.scene import Camera, Scene, Surface
from engine_scenes.shapes import INF, Plane
from engine_scenes.vectors import dot, normalized


@dataclass(frozen=True)
class Rays:
    """Camera rays: origin (3, 1), unit directions (3, rows * columns), and `subdivision` rays a pixel side."""

    origin: Tensor
    direction: Tensor
    rows: int
    columns: int
    subdivision: int


def camera_rays(camera: Camera, subdivision: int) -> Rays:
    """Rays through a regular grid in every pixel; one is the pixel's centre, where ground truth is measured."""
    rows, columns = camera.height * subdivision, camera.width * subdivision
    x = ((torch.arange(columns) + 0.5) / subdivision - 0.5 * camera.width) / camera.focal
    y = ((torch.arange(rows) + 0.5) / subdivision - 0.5 * camera.height) / camera.focal
    d = camera.forward[:, :, None] + x * camera.right[:, :, None] - y[:, None] * camera.up[:, :, None]
    return Rays(camera.position, normalized(d.reshape(3, -1)), rows, columns, subdivision)


def first_hits(scene: Scene, camera: Camera, rays: Rays) -> tuple[Tensor, Tensor]:
    """Distance (N,) and surface number (N,) of what each camera ray meets, -1 for nothing.

    A bounded thing is tested only inside the rectangle that the sphere around it covers in the image.
    """
    t = torch.full((rays.rows, rays.columns), INF)
    number = torch.full((rays.rows, rays.columns), -1, dtype=torch.int32)
    grid = rays.direction.reshape(3, rays.rows, rays.columns)
    for k, surface in enumerate(scene.surfaces):
        shape = surface.shape
        if isinstance(shape, Plane):
            window = (slice(None), slice(None))
        else:
            window = _window(camera, shape.centre, shape.radius, rays)
        part = grid[:, *window]
        hit = shape.near(rays.origin, part.reshape(3, -1)).reshape(part.shape[1:])
        closer = hit < t[window]
        t[window] = torch.where(closer, hit, t[window])
        number[window] = torch.where(closer, k, number[window])
    return t.reshape(-1), number.reshape(-1)


def _window(camera: Camera, centre: Tensor, radius: float, rays: Rays) -> tuple[slice, slice]:
    """Rows and columns of the ray grid that a sphere can cover."""
    offset = centre[:, None] - camera.position
    x, y, z = (float(dot(offset, axis)) for axis in (camera.right, -camera.up, camera.forward))

    def span(lateral: float, pixels: int, count: int) -> slice:
        distance = math.hypot(lateral, z)
        if distance <= radius:
            return slice(0, count)
        middle, half = math.atan2(lateral, z), math.asin(radius / distance)
        low, high = (
            (math.tan(angle) * camera.focal + 0.5 * pixels) * rays.subdivision if abs(angle) < 1.5 else math.inf * angle
            for angle in (middle - half, middle + half)
        )
        return slice(max(0, int(max(low, 0)) - 1), min(count, int(min(high, count)) + 2))

    return span(y, camera.height, rays.rows), span(x, camera.width, rays.columns)


def nearest(surfaces: Sequence[tuple[int, Surface]], origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,) and number (N,) of the first of the numbered surfaces along loose rays, -1 for none."""
    t = torch.full((direction.shape[1],), INF)
    number = torch.full((direction.shape[1],), -1, dtype=torch.int32)
    for k, surface in surfaces:
        hit = surface.shape.near(origin, direction)
        closer = hit < t
        t = torch.where(closer, hit, t)
        number = torch.where(closer, k, number)
    return t, number


def blocked(scene: Scene, viewer: Tensor, points: Tensor) -> Tensor:
    """(N,) bool: something lies between `viewer` (3, 1) and surface points (3, N). Glass blocks like anything else.

    Room planes are left out: the room is convex and the viewer inside it.
    """
    offset = points - viewer
    distance = dot(offset, offset).sqrt()
    direction = offset / distance
    hidden = torch.zeros(points.shape[1], dtype=torch.bool)
    for surface in scene.surfaces[scene.planes :]:
        hidden |= surface.shape.near(viewer, direction) < 0.999 * distance
    return hidden
