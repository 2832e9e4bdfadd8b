"""Polarised reflection and refraction: Fresnel's formulas, their Mueller matrices, and the frames they are written in.

A Stokes vector belongs to a frame: the first axis e1 is perpendicular to the light's direction of travel k, the second
is e2 = k x e1. For light that runs into a camera with e1 = image right, e2 is image up, so that angles count
counter-clockwise as seen in the picture. At a surface e1 is the s axis (perpendicular to the plane of incidence), which
the incident, the reflected and the refracted ray share.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from engine_scenes.vectors import cross, dot


class Fresnel(NamedTuple):
    """Reflectances of the two polarisations and the product r_s conj(r_p), each (N,).

    rs, rp: intensity reflectances in [0, 1]. real, imag: of r_s conj(r_p); imag is not zero in total reflection only.
    cos_t: cosine of the refracted angle, 0 in total reflection.
    """

    rs: Tensor
    rp: Tensor
    real: Tensor
    imag: Tensor
    cos_t: Tensor


class Mueller(NamedTuple):
    """The Mueller matrix [[a, b, 0, 0], [b, a, 0, 0], [0, 0, c, d], [0, 0, -d, c]] of a surface, in its s frame."""

    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor


class Stokes(NamedTuple):
    """Stokes components for unit unpolarised light at the far end of a path, each (N,)."""

    s0: Tensor
    s1: Tensor
    s2: Tensor
    s3: Tensor


def fresnel(cos_i: Tensor, eta: Tensor | float) -> Fresnel:
    """Fresnel's formulas at a smooth dielectric surface.

    cos_i: (N,) cosine of the angle of incidence, in [0, 1]. eta: index behind the surface over index before it.
    Beyond the critical angle the cosine behind is imaginary, both reflectances are 1, and the two amplitudes differ in
    phase (Born and Wolf, Principles of Optics, 1.5.2 and 1.5.4).
    """
    eta = torch.as_tensor(eta, dtype=cos_i.dtype)
    sin2_t = (1 - cos_i * cos_i) / (eta * eta)
    cos_t = (1 - sin2_t).clamp_min(0).sqrt()
    s = (cos_i - eta * cos_t) / (cos_i + eta * cos_t).clamp_min(1e-9)
    p = (eta * cos_i - cos_t) / (eta * cos_i + cos_t).clamp_min(1e-9)
    real, imag = s * p, torch.zeros_like(s)
    total = sin2_t >= 1
    if bool(total.any()):
        g = (sin2_t - 1).clamp_min(0).sqrt()
        ci2, g2, twice = cos_i * cos_i, g * g, 2 * eta * g * cos_i
        norm_s = (ci2 + eta * eta * g2).clamp_min(1e-12)
        norm_p = (eta * eta * ci2 + g2).clamp_min(1e-12)
        s_re, s_im = (ci2 - eta * eta * g2) / norm_s, twice / norm_s
        p_re, p_im = (eta * eta * ci2 - g2) / norm_p, twice / norm_p
        real = torch.where(total, s_re * p_re + s_im * p_im, real)
        imag = torch.where(total, s_re * p_im - s_im * p_re, imag)
    one = torch.ones_like(s)
    return Fresnel(torch.where(total, one, s * s), torch.where(total, one, p * p), real, imag, cos_t)


def reflection(f: Fresnel) -> Mueller:
    """Mueller matrix of the reflection, with the retardance of total reflection."""
    return Mueller(0.5 * (f.rs + f.rp), 0.5 * (f.rs - f.rp), f.real, f.imag)


def transmission(f: Fresnel) -> Mueller:
    """Mueller matrix of the refraction, for radiance over index squared: a path through a solid needs no more."""
    ts, tp = 1 - f.rs, 1 - f.rp
    return Mueller(0.5 * (ts + tp), 0.5 * (ts - tp), (ts * tp).clamp_min(0).sqrt(), torch.zeros_like(ts))


def slab(f: Fresnel) -> tuple[Mueller, Mueller]:
    """Reflection and transmission of a thin sheet: both faces, all orders, summed without interference.

    For each polarisation R' = 2R / (1 + R) and T' = (1 - R) / (1 + R), which add up to 1.
    """
    rs, rp = 2 * f.rs / (1 + f.rs), 2 * f.rp / (1 + f.rp)
    ts, tp = 1 - rs, 1 - rp
    zero = torch.zeros_like(rs)
    mirrored = torch.sign(f.real) * (rs * rp).sqrt()
    return (
        Mueller(0.5 * (rs + rp), 0.5 * (rs - rp), mirrored, zero),
        Mueller(0.5 * (ts + tp), 0.5 * (ts - tp), (ts * tp).sqrt(), zero),
    )


def unpolarized_through(m: Mueller) -> Stokes:
    """What a surface makes of unit unpolarised light, in its s frame."""
    zero = torch.zeros_like(m.a)
    return Stokes(m.a, m.b, zero, zero)


def through(m: Mueller, light: Stokes) -> Stokes:
    """What a surface makes of light given in its s frame."""
    return Stokes(
        m.a * light.s0 + m.b * light.s1,
        m.b * light.s0 + m.a * light.s1,
        m.c * light.s2 + m.d * light.s3,
        m.c * light.s3 - m.d * light.s2,
    )


def frame_change(source: Tensor, target: Tensor, travel: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine (N,) of twice the angle from axis `source` to axis `target`, both (3, N), about `travel`."""
    c = dot(source, target)
    s = dot(cross(travel, source), target)
    norm = (c * c + s * s).clamp_min(1e-12)
    return (c * c - s * s) / norm, 2 * c * s / norm


def rotated(light: Stokes, source: Tensor, target: Tensor, travel: Tensor) -> Stokes:
    """The same light in the frame with first axis `target` in place of `source`; it runs along `travel` (3, N)."""
    c, s = frame_change(source, target, travel)
    return Stokes(light.s0, c * light.s1 + s * light.s2, c * light.s2 - s * light.s1, light.s3)


def reflected_direction(direction: Tensor, normal: Tensor) -> Tensor:
    """Mirror image (3, N) of unit directions at surfaces with unit normals."""
    return direction - 2 * dot(direction, normal) * normal


def refracted_direction(direction: Tensor, normal: Tensor, cos_i: Tensor, cos_t: Tensor, eta: Tensor | float) -> Tensor:
    """Refracted unit directions (3, N) by Snell's law.

    normal: faces the incoming ray. eta: index behind over index before. In total reflection (cos_t 0) the answer runs
    along the surface and its light weighs nothing.
    """
    return (direction + (cos_i - eta * cos_t) * normal) / eta
