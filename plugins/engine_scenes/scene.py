"""A random scene from its seed, split and index alone: a room, what stands in it, its light and its camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from engine_scenes.lighting import Environment, random_environment
from engine_scenes.options import Split
from engine_scenes.shapes import Box, Ellipsoid, Plane, Rectangle, Shape
from engine_scenes.textures import KINDS, Atlas, albedo
from engine_scenes.vectors import dot

Glass = Literal["solid", "shell", "pane"]

BASELINE = 0.12
"""Metres between the cameras."""

FOCAL_PER_WIDTH = 1.07
"""Focal length over image width: 50 degrees of view. With the baseline it puts walls at 5 to 12 px of disparity and
objects at 12 to 32 px in an image 160 px wide, far enough apart that matching what lies behind glass costs pixels."""

ROOM_TEXTURE, OBJECT_TEXTURE = 256, 128

_SPLITS: dict[Split, int] = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: position and axes (3, 1) in metres, focal length in px, image size in px."""

    position: Tensor
    right: Tensor
    up: Tensor
    forward: Tensor
    focal: float
    height: int
    width: int

    def shifted(self, baseline: float) -> Camera:
        """The same camera moved along its own right axis, as rectified pairs need."""
        return Camera(**{**self.__dict__, "position": self.position + baseline * self.right})


@dataclass(frozen=True)
class Surface:
    """A shape and what it is made of.

    texture: picture number in the atlas. texel: its size in metres. gloss: weight of the mirror-like reflection.
    blur: half width of that reflection. weak: share of the diffuse exit polarisation that survives the surface's
    roughness. glass: None for opaque things. index: refractive index. haze: cover of dust on glass, in [0, 1].
    """

    shape: Shape
    texture: int
    texel: float
    gloss: float
    blur: float
    weak: float
    glass: Glass | None = None
    index: float = 1.5
    haze: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Everything the ray caster needs; planes come first among the surfaces."""

    surfaces: list[Surface]
    planes: int
    atlas: Atlas
    light: Environment
    camera: Camera
    baseline: float


def generator(seed: int, split: Split, index: int, purpose: int = 0) -> np.random.Generator:
    """The random numbers of one scene for one purpose (0 the scene, 1 its evaluation noise)."""
    return np.random.default_rng([seed, _SPLITS[split], index, purpose])


def random_scene(
    seed: int, split: Split, index: int, height: int = 128, width: int = 160, transparent: bool = True
) -> Scene:
    """The scene of that number; `transparent=False` keeps the world and makes the glass opaque.

    height, width: image size in px.
    """
    rng = generator(seed, split, index)
    builder = _Builder(rng, height, width, transparent)
    builder.room()
    builder.subjects(int(rng.integers(2, 5)))
    builder.companions(int(rng.integers(1, 4)))
    return Scene(builder.surfaces, 3, Atlas(builder.pictures), random_environment(rng), builder.camera, BASELINE)


def _column(*xyz: float) -> Tensor:
    return torch.tensor(xyz, dtype=torch.float32)[:, None]


def _turn(yaw: float, tilt: float = 0.0, lean: float = 0.0) -> np.ndarray:
    """Rotation by `yaw` about z after `tilt` about x and `lean` about y, radians."""
    cz, sz, cx, sx, cy, sy = (f(a) for a in (yaw, tilt, lean) for f in (math.cos, math.sin))
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return about_z @ about_x @ about_y


class _Builder:
    """Adds one thing after the other; the order of its random numbers is part of what a seed means."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, transparent: bool) -> None:
        self.rng, self.transparent = rng, transparent
        self.surfaces: list[Surface] = []
        self.pictures: list[Tensor] = []
        self._taken: list[tuple[float, float, float]] = []
        self._eye = rng.uniform(0.32, 0.50)
        yaw, pitch, roll = rng.uniform(-0.06, 0.06), rng.uniform(0.04, 0.16), rng.uniform(-0.04, 0.04)
        axes = torch.from_numpy(_turn(yaw, -pitch, roll)).float()
        self.camera = Camera(
            position=_column(0, 0, self._eye),
            right=axes[:, 0:1],
            up=axes[:, 2:3],
            forward=axes[:, 1:2],
            focal=FOCAL_PER_WIDTH * width,
            height=height,
            width=width,
        )

    def _add(self, shape: Shape, size: int, distance: float, glass: Glass | None = None) -> None:
        """Give the shape a material of its own; one texel is about one pixel at `distance` metres."""
        rng = self.rng
        kind = KINDS[int(rng.integers(len(KINDS)))]
        self.pictures.append(albedo(rng, kind, size))
        surface = Surface(
            shape=shape,
            texture=len(self.pictures) - 1,
            texel=distance / self.camera.focal * rng.uniform(0.75, 1.1),
            gloss=rng.uniform(0.1, 0.5) if size == ROOM_TEXTURE else rng.uniform(0.2, 1.0),
            blur=rng.uniform(0.15, 0.6),
            weak=rng.uniform(0.3, 0.9),
            glass=glass if self.transparent else None,
            index=float(rng.choice([1.33, 1.45, 1.49, 1.52])),
            haze=rng.uniform(0.03, 0.10),
        )
        self.surfaces.append(surface)

    def room(self) -> None:
        """A floor, a back wall that is not quite frontal, and one side wall."""
        rng = self.rng
        back, yaw = rng.uniform(2.2, 3.4), rng.uniform(-0.26, 0.26)
        self._back = back
        side = float(rng.choice([-1, 1]))
        self._add(Plane(_column(0, 0, 0), _column(0, 0, 1), _column(1, 0, 0), _column(0, 1, 0)), ROOM_TEXTURE, 1.2)
        c, s = math.cos(yaw), math.sin(yaw)
        self._add(Plane(_column(0, back, 0), _column(s, -c, 0), _column(c, s, 0), _column(0, 0, 1)), ROOM_TEXTURE, back)
        angle = rng.uniform(-0.1, 0.25)
        c, s = math.cos(angle), math.sin(angle)
        where = _column(side * rng.uniform(0.9, 1.4), 1.5, 0)
        wall = Plane(where, _column(-side * c, -s, 0), _column(-side * s, c, 0), _column(0, 0, 1))
        self._add(wall, ROOM_TEXTURE, 2.0)

    def _spot(self, lane: float, near: float, far: float, reach: float) -> tuple[float, float] | None:
        """A free place (x, y) on the floor about `lane` of the half width from the middle, or None after many tries."""
        rng = self.rng
        for _ in range(20):
            y = rng.uniform(near, far)
            x = (lane + rng.uniform(-0.2, 0.2)) * y * 0.5 / FOCAL_PER_WIDTH
            if all(math.hypot(x - a, y - b) > reach + r for a, b, r in self._taken):
                self._taken.append((x, y, reach))
                return x, y
        return None

    def subjects(self, count: int) -> None:
        """The things that are glass in transparent scenes, side by side in front of the room."""
        rng = self.rng
        lanes = np.linspace(-0.62, 0.62, count)
        rng.shuffle(lanes)
        for lane in lanes:
            kind = str(rng.choice(["pane", "shell", "ball", "box"], p=[0.38, 0.24, 0.18, 0.20]))
            size = rng.uniform(0.8, 1.2) * (1.2 if count == 2 else 0.95 if count == 3 else 0.8)
            reach = 0.13 * size
            spot = self._spot(float(lane), 0.85, 1.7, reach)
            if spot is None:
                continue
            x, y = spot
            # Things that float a little show more wall and less floor behind them.
            lift = max(0.0, rng.uniform(-0.08, 0.12))
            if kind == "pane":
                self._pane(x, y, size, lift)
            elif kind == "box":
                half = np.array([rng.uniform(0.07, 0.12), rng.uniform(0.04, 0.10), rng.uniform(0.13, 0.22)]) * size
                self._solid_box(x, y, half, lift, "solid")
            else:
                radii = np.array([rng.uniform(0.09, 0.13), rng.uniform(0.08, 0.13), rng.uniform(0.11, 0.21)]) * size
                if rng.random() < 0.25:
                    radii[:] = radii[:2].mean() * 1.1
                self._ellipsoid(x, y, radii, lift, "shell" if kind == "shell" else "solid")

    def companions(self, count: int) -> None:
        """Opaque things in every domain, further back, so that there is something to see behind the glass."""
        rng = self.rng
        for _ in range(count):
            lane = rng.uniform(-0.8, 0.8)
            reach = rng.uniform(0.1, 0.2)
            spot = self._spot(lane, 1.6, max(1.7, self._back - 0.4), reach)
            if spot is None:
                continue
            radii = reach * np.array([0.8, rng.uniform(0.5, 0.8), rng.uniform(0.8, 2.0)])
            if rng.random() < 0.5:
                self._solid_box(*spot, radii, 0.0, None)
            else:
                self._ellipsoid(*spot, radii, 0.0, None)

    def _pane(self, x: float, y: float, size: float, lift: float) -> None:
        """A standing sheet; half of them near Brewster's angle, where what they reflect is polarised most."""
        rng = self.rng
        degrees = rng.uniform(46, 66) if rng.random() < 0.5 else rng.uniform(10, 62)
        yaw = math.atan2(-y, -x) + math.pi / 2 + math.radians(degrees) * float(rng.choice([-1, 1]))
        half = (
            rng.uniform(0.12, 0.18) * size / max(0.55, math.cos(math.radians(degrees))),
            rng.uniform(0.15, 0.23) * size,
        )
        # Columns: width in the floor, height up, normal towards the camera.
        axes = _turn(yaw) @ _turn(0, math.pi / 2 + rng.uniform(-0.15, 0.15), rng.uniform(-0.05, 0.05))
        centre = torch.tensor([x, y, half[1] + lift], dtype=torch.float32)
        self._add(Rectangle(centre, torch.from_numpy(axes).float(), half), OBJECT_TEXTURE, y, "pane")

    def _solid_box(self, x: float, y: float, half: np.ndarray, lift: float, glass: Glass | None) -> None:
        yaw = self.rng.uniform(-0.7, 0.7)
        centre = torch.tensor([x, y, half[2] + lift], dtype=torch.float32)
        shape = Box(centre, torch.from_numpy(_turn(yaw)).float(), torch.from_numpy(half).float())
        self._add(shape, OBJECT_TEXTURE, y, glass)

    def _ellipsoid(self, x: float, y: float, radii: np.ndarray, lift: float, glass: Glass | None) -> None:
        axes = _turn(self.rng.uniform(-math.pi, math.pi), self.rng.uniform(-0.15, 0.15))
        centre = torch.tensor([x, y, radii[2] + lift], dtype=torch.float32)
        shape = Ellipsoid(centre, torch.from_numpy(axes).float(), torch.from_numpy(radii).float())
        self._add(shape, OBJECT_TEXTURE, y, glass)


def camera_depth(camera: Camera, points: Tensor) -> Tensor:
    """Depth (N,) in metres of points (3, N) along the camera's forward axis."""
    return dot(points - camera.position, camera.forward)
