"""Linear polarisation as numbers that can be added, rotated and interpolated.

The form used everywhere is (q, u) = (S1, S2) / S0 in a channel axis of size 2 before height and width. The angle of
polarisation counts counter-clockwise from the image's x axis, which points right, with y up. Sources: the Stokes
parameters of a linear polariser at four angles (Goldstein, "Polarized Light"); the rest follows from q = DoLP cos 2 phi
and u = DoLP sin 2 phi.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor


def stokes(i0: Tensor, i45: Tensor, i90: Tensor, i135: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(S0, S1, S2) from the intensities behind a polariser at 0, 45, 90 and 135 degrees; any shape, any unit.

    S0 = (I0 + I45 + I90 + I135) / 2 is the intensity without polariser, S1 = I0 - I90, S2 = I45 - I135.
    """
    return (i0 + i45 + i90 + i135) / 2, i0 - i90, i45 - i135


def normalised(s0: Tensor, s1: Tensor, s2: Tensor) -> Tensor:
    """(q, u) = (S1, S2) / S0, (..., 2, H, W) from three maps (..., H, W); 0 where there is no light."""
    light = s0 > 0
    safe = torch.where(light, s0, torch.ones_like(s0))
    return torch.stack((s1 / safe, s2 / safe), dim=-3) * light.unsqueeze(-3)


def dolp(qu: Tensor) -> Tensor:
    """Degree of linear polarisation sqrt(q^2 + u^2), (..., 1, H, W), 0 = none to 1 = full; noise can exceed 1."""
    q, u = qu[..., 0:1, :, :], qu[..., 1:2, :, :]
    return torch.sqrt(q * q + u * u)  # hypot, which guards against overflow, takes ten times as long


def aolp(qu: Tensor) -> Tensor:
    """Angle of linear polarisation atan2(u, q) / 2, (..., 1, H, W), radians in [0, pi); never interpolate it."""
    angle = torch.atan2(qu[..., 1:2, :, :], qu[..., 0:1, :, :]) / 2
    angle = torch.where(angle < 0, angle + math.pi, angle)
    # A tiny negative angle plus pi rounds to pi, which is the same direction as 0.
    return torch.where(angle >= math.pi, torch.zeros_like(angle), angle)


def angle_difference(qu: Tensor, other: Tensor) -> Tensor:
    """The turn from `other` to `qu`, (..., 1, H, W), radians in (-pi/2, pi/2]; 0 where either is unpolarised.

    Half the argument of (q + iu)(q' - iu'), so that directions 1 and 179 degrees differ by 2, not 178.
    """
    q, u = qu[..., 0:1, :, :], qu[..., 1:2, :, :]
    q_other, u_other = other[..., 0:1, :, :], other[..., 1:2, :, :]
    return torch.atan2(u * q_other - q * u_other, q * q_other + u * u_other) / 2


def flip(qu: Tensor, axis: Literal["horizontal", "vertical"]) -> Tensor:
    """The polarisation (..., 2, H, W) of a mirrored picture: pixels change places, and u changes its sign.

    A mirror takes the angle phi to pi - phi. Mirroring a stereo pair horizontally also swaps its views.
    """
    mirrored = qu.flip(-1 if axis == "horizontal" else -2)
    return torch.cat((mirrored[..., 0:1, :, :], -mirrored[..., 1:2, :, :]), dim=-3)


def rotate(qu: Tensor, theta: float) -> Tensor:
    """The polarisation (..., 2, H, W) after its axes turn counter-clockwise by `theta` radians: R(2 theta) (q, u).

    Only the values turn; the pixels stay. Rectification turns a camera about its axis, and needs this on each view.
    """
    cosine, sine = math.cos(2 * theta), math.sin(2 * theta)
    q, u = qu[..., 0:1, :, :], qu[..., 1:2, :, :]
    return torch.cat((cosine * q - sine * u, sine * q + cosine * u), dim=-3)


def redundancy(i0: Tensor, i45: Tensor, i90: Tensor, i135: Tensor, mask: Tensor | None = None) -> float:
    """mean |I0 + I90 - I45 - I135| / mean S0: 0 when the four angles agree, larger when they are paired wrongly.

    Four angles measure three numbers, so one combination must vanish. It finds a wrong pairing of the channels, but no
    exchange of 0 with 90 or of 45 with 135. `mask`: the pixels to use, without dark or clipped ones.
    Raises ValueError when no light is left to judge.
    """
    if mask is None:
        mask = torch.ones_like(i0, dtype=torch.bool)
    mismatch = (i0 + i90 - i45 - i135).abs()[mask].double().mean()
    light = stokes(i0, i45, i90, i135)[0][mask].double().mean()
    if not light > 0:
        raise ValueError("no pixel with light is left to compare the four angles")
    return float(mismatch / light)
