"""Signed residuals of the base on the pixels that a correction could change, gathered image by image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, Problem, nearest

Bools = NDArray[np.bool_]
Float32s = NDArray[np.float32]

MINIMUM_PIXELS = 500  # with fewer, an image's own coverage is noise, and it would weigh as much as any other
# Sampling error of one image's coverage is then at most 0.0035; from image to image it varies by 0.1 and more.
KEPT_PIXELS = 20_000
BORDER = 0.1


@dataclass(frozen=True)
class ImageResiduals:
    """One image's residuals.

    signed: (k,) target - base, +inf where the base is not finite; a fixed random subset when the image has more than
    `KEPT_PIXELS`. target, confidence: (k,) at the same pixels. strata: name -> (k,) bool. pixels: how many there were
    before the subset was taken.
    """

    signed: Float32s
    target: Float32s
    scene: str
    pixels: int
    strata: Mapping[str, Bools]
    confidence: Float32s | None = None


@dataclass
class Residuals:
    """Residuals of many images, with counts of what could not be used.

    images: those with at least `MINIMUM_PIXELS`. dropped: images with fewer. nonfinite: pixels, of the images kept, at
    which the base gave no finite number.
    """

    images: list[ImageResiduals] = field(default_factory=list)
    dropped: int = 0
    nonfinite: int = 0

    @property
    def pixels(self) -> int:
        """Pixels of the images kept, before subsets were taken."""
        return sum(image.pixels for image in self.images)

    @property
    def scenes_known(self) -> bool:
        """Whether every image names its scene."""
        return bool(self.images) and all(image.scene for image in self.images)

    def scene_of(self) -> NDArray[np.intp]:
        """(N,) number of each image's scene, 0..S-1; every image is its own scene when not all of them are named."""
        if not self.scenes_known:
            return np.arange(len(self.images), dtype=np.intp)
        return np.unique([image.scene for image in self.images], return_inverse=True)[1].astype(np.intp)

    def add(
        self,
        target: NDArray[Any],
        base: NDArray[Any],
        mask: Bools,
        *,
        scene: str = "",
        strata: Mapping[str, Bools] | None = None,
        confidence: NDArray[Any] | None = None,
    ) -> None:
        """Take in one image.

        target, base: (H, W) in the target's units. mask: (H, W) bool, the pixels that count; the target must be finite
        there, else InputError. strata: name -> (H, W) bool. confidence: (H, W) in [0, 1].
        """
        where = np.flatnonzero(mask)
        if where.size < MINIMUM_PIXELS:
            self.dropped += 1
            return
        truth = np.asarray(target, dtype=np.float32).ravel()[where]
        if not np.isfinite(truth).all():
            raise InputError(
                f"the target is not finite at {np.count_nonzero(~np.isfinite(truth))} pixels that are marked valid",
                advice="let the data set's reader clear 'valid' where the target is unknown",
            )
        answer = np.asarray(base, dtype=np.float32).ravel()[where]
        usable = np.isfinite(answer)
        self.nonfinite += int(np.count_nonzero(~usable))
        signed = np.where(usable, truth - np.where(usable, answer, 0), np.float32(np.inf))
        kept = self._subset(where.size)
        places = where[kept]
        self.images.append(
            ImageResiduals(
                signed=signed[kept],
                target=truth[kept],
                scene=scene,
                pixels=int(where.size),
                strata={name: np.asarray(member).ravel()[places] for name, member in (strata or {}).items()}
                | {"image border": border_of(mask.shape[0], mask.shape[1]).ravel()[places]},
                confidence=None if confidence is None else np.asarray(confidence, np.float32).ravel()[places],
            )
        )

    def _subset(self, size: int) -> slice | NDArray[np.intp]:
        if size <= KEPT_PIXELS:
            return slice(None)
        # Seeded by the image's number: the same data give the same subset, and a stride cannot lock onto a pattern.
        rng = np.random.default_rng((0, len(self.images)))
        return np.sort(rng.choice(size, KEPT_PIXELS, replace=False)).astype(np.intp)


def border_of(height: int, width: int) -> Bools:
    """(height, width) bool: within the outer tenth of the height or the width, on either side."""
    rows, columns = (np.arange(size) for size in (height, width))
    outer_rows = np.minimum(rows, rows[::-1]) < BORDER * height
    outer_columns = np.minimum(columns, columns[::-1]) < BORDER * width
    return np.asarray(outer_rows[:, None] | outer_columns[None, :])


def collect(
    predictions: Iterable[tuple[Mapping[str, Any], Any]],
    *,
    target: str,
    region: str | None = None,
    strata: Sequence[str] = (),
    injection: Any = None,
    images: int | None = None,
) -> Residuals:
    """Residuals of the base over pairs (batch, prediction).

    The base's answer is `prediction.base` where a correction was added, else the prediction itself. Pixels count where
    the batch's `valid`, its `region`, and `injection.correctable(batch)` agree, as far as they are given.
    target, region, strata: names of batch fields (B, 1, H, W). images: stop once this many were read.
    InputError: a field is missing, is not boolean, or the target has more than one channel.
    """
    residuals = Residuals()
    for image in islice(_images(predictions, target, region, strata, injection), images):
        residuals.add(**image)
    return residuals


def _images(
    predictions: Iterable[tuple[Mapping[str, Any], Any]],
    target: str,
    region: str | None,
    strata: Sequence[str],
    injection: Any,
) -> Iterable[dict[str, Any]]:
    correctable = getattr(injection, "correctable", None)
    for batch, prediction in predictions:
        base = prediction.base or prediction
        truth = _plane(batch, target)
        value = _numpy(base.value)
        if value.shape != (len(truth), 1, *truth.shape[1:]):
            raise InputError(f"the base answers with shape {value.shape}, but {target!r} has {batch[target].shape}")
        mask = _boolean(batch, "valid")
        if region is not None:
            mask = mask & _boolean(batch, region)
        if correctable is not None:
            mask = mask & _numpy(correctable(batch))[:, 0].astype(bool)
        members = {name: _boolean(batch, name) for name in strata}
        confidence = None if base.confidence is None else _numpy(base.confidence)[:, 0]
        scenes = batch.get("scene") or [""] * len(truth)
        for index in range(len(truth)):
            yield {
                "target": truth[index],
                "base": value[index, 0],
                "mask": mask[index],
                "scene": str(scenes[index]),
                "strata": {name: member[index] for name, member in members.items()},
                "confidence": None if confidence is None else confidence[index],
            }


def _numpy(tensor: Any) -> NDArray[Any]:
    tensor = tensor.detach()
    # numpy has no bfloat16, which a prediction may well be.
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy())


def _plane(batch: Mapping[str, Any], name: str) -> NDArray[Any]:
    if name not in batch:
        known = [key for key, value in batch.items() if hasattr(value, "detach")]
        raise InputError(
            Problem("", f"the data have no field {name!r}", f"one of {', '.join(sorted(known))}", nearest(name, known))
        )
    values = _numpy(batch[name])
    if values.ndim != 4 or values.shape[1] != 1:
        # One bound and one constant for several channels would make the structure figure meaningless.
        shape = tuple(values.shape)
        raise InputError(
            Problem("", f"the gate feasibility measures maps, and field {name!r} has shape {shape}", "(B, 1, H, W)"),
            "what several numbers together decide needs a gate of its own: register(..., feasibility=True)",
        )
    return np.asarray(values[:, 0])


def _boolean(batch: Mapping[str, Any], name: str) -> Bools:
    values = _plane(batch, name)
    if values.dtype != np.bool_:
        raise InputError(Problem("", f"field {name!r} is {values.dtype}", "a boolean mask"))
    return values
