"""What the correction sees in place of the polarisation, to learn what it uses of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Sample

FIELDS = ("polarization_left", "polarization_right")

_POLARISED = 0.1  # degree of polarisation from which sensors tell the angle to a few degrees


def rotated(sample: Sample) -> Mapping[str, NDArray[np.float32]]:
    """Every angle turned by 45 degrees in both views: strength, borders and agreement of the views stay as they are.

    (q, u) become (-u, q), as the angle counts twice. A correction that reads which way a surface faces is misled.
    """
    return {name: np.stack([-sample[name][1], sample[name][0]]) for name in FIELDS}


def mask_only(sample: Sample) -> Mapping[str, NDArray[np.float32]]:
    """Only where there is polarisation, with one strength and one angle: no more than the outline of its regions.

    The strength is the sample's own mean over those pixels of both views, so that it is one that occurs.
    """
    degrees = {name: np.hypot(*sample[name]) for name in FIELDS}
    polarised = {name: degree >= _POLARISED for name, degree in degrees.items()}
    inside = np.concatenate([degrees[name][polarised[name]] for name in FIELDS])
    strength = float(inside.mean()) if inside.size else 0.0
    return {
        name: np.stack([np.where(polarised[name], strength, 0.0), np.zeros_like(degrees[name])]).astype(np.float32)
        for name in FIELDS
    }
