"""Light from outside the room: a sky gradient and soft boxes above and behind the camera.

Contrast matters: in a uniform environment the light that glass reflects (polarised along s) and the light it lets
through (along p) cancel, and glass would show no polarisation at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_GRID = (24, 48)


@dataclass(frozen=True)
class Environment:
    """Radiance by direction; z is up.

    zenith, horizon, ground: RGB (3, 1). axes: (K, 3, 3), for each soft box the rows centre, right and up. half: (K, 2)
    half extents as tangents. power: (K, 3) RGB radiance. harmonics: (3, 9) irradiance over pi by spherical harmonics.
    """

    zenith: Tensor
    horizon: Tensor
    ground: Tensor
    axes: Tensor
    half: Tensor
    power: Tensor
    harmonics: Tensor

    def radiance(self, direction: Tensor, blur: Tensor | float) -> Tensor:
        """RGB radiance (3, N) from unit directions (3, N), averaged over a lobe of half width `blur` (a tangent)."""
        z = direction[2]
        up = z.clamp(0, 1)
        light = torch.lerp(self.horizon, self.zenith, up)
        light = torch.lerp(self.ground, light, (0.5 + z * 4).clamp(0, 1))
        count = self.axes.shape[0]
        local = (self.axes.reshape(-1, 3) @ direction).reshape(count, 3, -1)
        ahead = local[:, 0].clamp_min(1e-3)
        slope = 0.5 / (0.03 + torch.as_tensor(blur))
        x = (0.5 + (self.half[:, :1] - local[:, 1].abs() / ahead) * slope).clamp(0, 1)
        y = (0.5 + (self.half[:, 1:] - local[:, 2].abs() / ahead) * slope).clamp(0, 1)
        seen = x * y * (local[:, 0] > 0)
        return light + self.power.T @ seen

    def irradiance(self, normal: Tensor) -> Tensor:
        """RGB irradiance over pi (3, N) on surfaces with unit normals (3, N): a white surface's radiance."""
        return (self.harmonics @ _basis(normal)).clamp_min(0.02)


def _basis(n: Tensor) -> Tensor:
    """Real spherical harmonics (9, N) up to degree 2."""
    x, y, z = n
    return torch.stack(
        [
            torch.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ]
    )


def _harmonics(env: Environment) -> Tensor:
    """Irradiance coefficients: radiance projected, then convolved with the cosine (Ramamoorthi and Hanrahan 2001)."""
    rows, columns = _GRID
    z = torch.linspace(-1, 1, 2 * rows + 1)[1::2]
    phi = torch.linspace(0, 2 * torch.pi, 2 * columns + 1)[1::2]
    z, phi = (grid.reshape(-1) for grid in torch.meshgrid(z, phi, indexing="ij"))
    r = (1 - z * z).sqrt()
    d = torch.stack([r * phi.cos(), r * phi.sin(), z])
    solid_angle = 4 * torch.pi / d.shape[1]
    projected = env.radiance(d, 0.1) @ _basis(d).T * solid_angle
    return projected * torch.tensor([1.0] + [2 / 3] * 3 + [0.25] * 5)


def random_environment(rng: np.random.Generator) -> Environment:
    """A sky gradient with three to five soft boxes, most of them behind the camera, which looks along +y."""
    tone = rng.uniform(0.85, 1.15, 3)
    level = rng.uniform(0.25, 0.6)

    def rgb(value: float) -> Tensor:
        return torch.tensor(value * tone, dtype=torch.float32)[:, None]

    axes, half, power = [], [], []
    for _ in range(int(rng.integers(3, 6))):
        # -pi/2 is straight back over the camera's shoulder; the walls in front would hide boxes further round.
        azimuth = -np.pi / 2 + rng.uniform(-1.5, 1.5)
        height = rng.uniform(0.25, 1.2)
        centre = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
        right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
        axes.append([centre, right, np.cross(centre, right)])
        extent = rng.uniform(0.12, 0.5, 2)
        half.append(extent)
        # Small boxes are brighter, so that each gives a comparable share of the light.
        warmth = np.array([1 + rng.uniform(-0.15, 0.15), 1.0, 1 + rng.uniform(-0.15, 0.15)])
        power.append(rng.uniform(0.35, 0.9) / np.sqrt(extent.prod()) * warmth * 1.6)
    env = Environment(
        zenith=rgb(level),
        horizon=rgb(level * rng.uniform(0.3, 0.8)),
        ground=rgb(level * rng.uniform(0.05, 0.2)),
        axes=torch.tensor(np.array(axes), dtype=torch.float32),
        half=torch.tensor(np.array(half), dtype=torch.float32),
        power=torch.tensor(np.array(power), dtype=torch.float32),
        harmonics=torch.zeros(3, 9),
    )
    return Environment(**{**env.__dict__, "harmonics": _harmonics(env)})
