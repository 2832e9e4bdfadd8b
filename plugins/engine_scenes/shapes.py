"""What rays can hit: planes, rectangles, ellipsoids and boxes.

Rays are o + t d with o (3, 1) or (3, N) and unit d (3, N). `near` gives the first t > 0 or infinity; `far`, for solids,
the t at which a ray that started inside comes out; `normal` is outward; `uv` are surface coordinates in metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine_scenes.vectors import dot, normalized

INF = math.inf
EPS = 1e-5


class Shape(Protocol):
    """The questions a ray caster asks."""

    def near(self, o: Tensor, d: Tensor) -> Tensor:
        """Distance (N,) to the first hit, infinity where there is none."""
        ...

    def normal(self, p: Tensor) -> Tensor:
        """Outward unit normals (3, N) at surface points (3, N)."""
        ...

    def uv(self, p: Tensor) -> Tensor:
        """Surface coordinates (2, N) in metres."""
        ...


class Solid(Shape, Protocol):
    """A convex body that a ray can also leave; centre (3,), radius of a sphere around it in metres."""

    centre: Tensor
    radius: float

    def far(self, o: Tensor, d: Tensor) -> Tensor:
        """Distance (N,) at which rays from inside, or from the surface inwards, leave the body."""
        ...


@dataclass(frozen=True)
class Plane:
    """An infinite plane that is seen from the side its normal points to; all (3, 1)."""

    point: Tensor
    facing: Tensor
    along: Tensor
    across: Tensor

    def near(self, o: Tensor, d: Tensor) -> Tensor:
        """Distance to the plane for rays that run against its normal."""
        speed = dot(d, self.facing)
        t = dot(self.point - o, self.facing) / speed.clamp_max(-1e-9)
        return torch.where((speed < -1e-6) & (t > EPS), t, INF)

    def normal(self, p: Tensor) -> Tensor:
        """The same normal everywhere."""
        return self.facing.expand(3, p.shape[1])

    def uv(self, p: Tensor) -> Tensor:
        """Coordinates along the plane's two axes."""
        q = p - self.point
        return torch.stack([dot(q, self.along), dot(q, self.across)])


@dataclass(frozen=True)
class Rectangle:
    """A flat sheet without thickness; rotation: columns are its width, height and normal axes (3, 3)."""

    centre: Tensor
    rotation: Tensor
    half: tuple[float, float]

    @property
    def radius(self) -> float:
        """Radius of the sphere around it."""
        return math.hypot(*self.half)

    def near(self, o: Tensor, d: Tensor) -> Tensor:
        """Distance to the sheet, from either side."""
        q = self.rotation.T @ (o - self.centre[:, None])
        e = self.rotation.T @ d
        t = -q[2] / torch.where(e[2].abs() < 1e-9, 1e-9, e[2])
        inside = ((q[0] + t * e[0]).abs() < self.half[0]) & ((q[1] + t * e[1]).abs() < self.half[1])
        return torch.where(inside & (t > EPS), t, INF)

    def normal(self, p: Tensor) -> Tensor:
        """The same normal everywhere; which side is outside is for the ray to say."""
        return self.rotation[:, 2:].expand(3, p.shape[1])

    def uv(self, p: Tensor) -> Tensor:
        """Coordinates from the centre, along width and height."""
        return (self.rotation.T @ (p - self.centre[:, None]))[:2]

    def rim(self, p: Tensor) -> Tensor:
        """Distance (N,) in metres from points on the sheet to its edge."""
        x, y = self.uv(p)
        return torch.minimum(self.half[0] - x.abs(), self.half[1] - y.abs())


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid; rotation: columns are its axes (3, 3), radii (3,) in metres."""

    centre: Tensor
    rotation: Tensor
    radii: Tensor

    @property
    def radius(self) -> float:
        """Radius of the sphere around it."""
        return float(self.radii.max())

    def _unit(self, v: Tensor) -> Tensor:
        return (self.rotation.T @ v) / self.radii[:, None]

    def _roots(self, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, e = self._unit(o - self.centre[:, None]), self._unit(d)
        a, b = dot(e, e), dot(q, e)
        # From the point of closest approach: b^2 - a c loses its digits for small far ellipsoids in single precision.
        closest = q - (b / a) * e
        room = (1 - dot(closest, closest)) / a
        return -b / a, room.clamp_min(0).sqrt(), room > 0

    def near(self, o: Tensor, d: Tensor) -> Tensor:
        """Distance to the front of the ellipsoid."""
        middle, half, hit = self._roots(o, d)
        t = middle - half
        return torch.where(hit & (t > EPS), t, INF)

    def far(self, o: Tensor, d: Tensor) -> Tensor:
        """Distance to the back of the ellipsoid, from inside."""
        middle, half, _ = self._roots(o, d)
        return (middle + half).clamp_min(EPS)

    def normal(self, p: Tensor) -> Tensor:
        """Outward normals."""
        return normalized(self.rotation @ (self._unit(p - self.centre[:, None]) / self.radii[:, None]))

    def uv(self, p: Tensor) -> Tensor:
        """Longitude and latitude, scaled to metres at the equator."""
        q = self._unit(p - self.centre[:, None])
        return torch.stack(
            [
                torch.atan2(q[1], q[0]) * float(self.radii[:2].mean()),
                torch.asin(q[2].clamp(-1, 1)) * float(self.radii[2]),
            ]
        )


@dataclass(frozen=True)
class Box:
    """A solid box; rotation: columns are its axes (3, 3), half (3,) half edges in metres."""

    centre: Tensor
    rotation: Tensor
    half: Tensor

    @property
    def radius(self) -> float:
        """Radius of the sphere around it."""
        return float(self.half.norm())

    def _slabs(self, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        q = self.rotation.T @ (o - self.centre[:, None])
        e = self.rotation.T @ d
        inverse = 1 / torch.where(e.abs() < 1e-9, 1e-9, e)
        one, two = (-self.half[:, None] - q) * inverse, (self.half[:, None] - q) * inverse
        return torch.minimum(one, two).amax(0), torch.maximum(one, two).amin(0)

    def near(self, o: Tensor, d: Tensor) -> Tensor:
        """Distance to the front of the box."""
        enter, leave = self._slabs(o, d)
        return torch.where((enter < leave) & (enter > EPS), enter, INF)

    def far(self, o: Tensor, d: Tensor) -> Tensor:
        """Distance to the back of the box, from inside."""
        return self._slabs(o, d)[1].clamp_min(EPS)

    def _face(self, p: Tensor) -> tuple[Tensor, Tensor]:
        q = self.rotation.T @ (p - self.centre[:, None])
        x, y, z = (q / self.half[:, None]).abs()
        # Three comparisons; argmax over an axis of three takes ten times as long.
        return q, torch.where(z > torch.maximum(x, y), 2, (y > x).long())

    def normal(self, p: Tensor) -> Tensor:
        """Outward normal of the face a point lies on."""
        q, axis = self._face(p)
        side = torch.sign(q.gather(0, axis[None]))[0]
        return self.rotation[:, axis] * side

    def uv(self, p: Tensor) -> Tensor:
        """Coordinates on the face, shifted so that faces do not repeat each other."""
        q, axis = self._face(p)
        u = torch.where(axis == 0, q[1], q[0])
        v = torch.where(axis == 2, q[1], q[2])
        return torch.stack([u + axis * 0.37, v + axis * 0.61])
