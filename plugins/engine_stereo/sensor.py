"""What a polarisation camera makes of light: noise on four intensities, Stokes parameters again, a display picture."""

from __future__ import annotations

import numpy as np

_DARKEST = 0.01


def intensities(rgb: np.ndarray, qu: np.ndarray) -> np.ndarray:
    """The four polariser intensities (4, 3, H, W) at 0, 45, 90 and 135 degrees; unpolarised white gives 1.

    rgb: (3, H, W) linear radiance. qu: (2, H, W), (S1, S2) / S0, taken to be the same in every colour.
    """
    q, u = qu
    return rgb * (1 + np.stack([q, u, -q, -u]))[:, None]


def stokes(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear RGB (3, H, W) and (S1, S2) / S0 of the luminance (2, H, W) from four intensities (4, 3, H, W).

    S0 averages both redundant pairs; S1 = I0 - I90, S2 = I45 - I135. Polarisation is at most complete, and in the dark
    it fades instead of dividing by noise.
    """
    rgb = 0.25 * (i[0] + i[1] + i[2] + i[3])
    dark = np.maximum(_luminance(rgb), _DARKEST)
    q, u = (0.5 * _luminance(i[k] - i[k + 2]) / dark for k in (0, 1))
    excess = np.maximum(np.sqrt(q * q + u * u), 1)
    return rgb, np.stack([q / excess, u / excess])


def _luminance(rgb: np.ndarray) -> np.ndarray:
    """Rec. 709 luminance (H, W); three products, because tensordot and einsum take far longer on an axis of three."""
    r, g, b = rgb
    return np.float32(0.2126) * r + np.float32(0.7152) * g + np.float32(0.0722) * b


def expose(
    rgb: np.ndarray, qu: np.ndarray, noise: float, shot_noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same light as `stokes` gives it back after the sensor's noise.

    noise: standard deviation of each intensity in units of full scale. shot_noise: the same at full scale, where it
    follows the root of the intensity (the Gaussian limit of photon counts).
    """
    return stokes(noisy(intensities(rgb, qu), noise, shot_noise, rng))


def noisy(i: np.ndarray, noise: float, shot_noise: float, rng: np.random.Generator) -> np.ndarray:
    """Intensities of any shape with the noise that `expose` tells; as they are where there is none."""
    if noise == 0 and shot_noise == 0:
        return i
    spread = np.float32(shot_noise**2) * np.maximum(i, 0)  # more polarisation than light is what noise measures
    spread += np.float32(noise**2)
    np.sqrt(spread, out=spread)
    spread *= rng.standard_normal(i.shape, dtype=np.float32)
    return i + spread


def _curve() -> np.ndarray:
    x = np.linspace(0, 1, 1 << 16)
    y = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
    return (255 * y).astype(np.float32)


_SRGB = _curve()


def display(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB as a picture in [0, 255] float32 by the sRGB curve (IEC 61966-2-1); what exceeds white is cut."""
    return _SRGB[(np.clip(rgb, 0, 1) * np.float32(65535)).astype(np.uint16)]


def light(picture: np.ndarray) -> np.ndarray:
    """Linear RGB of a picture in [0, 255]: what `display` turns into it."""
    x = picture / np.float32(255)
    return np.where(
        x <= np.float32(0.04045), x / np.float32(12.92), ((x + np.float32(0.055)) / np.float32(1.055)) ** 2.4
    )
