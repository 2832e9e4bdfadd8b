"""Can a correction of at most `bound` repair what the base gets wrong? The figures, all of held-out residuals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.contracts import Status
from engine.gates.bootstrap import TWO_SIDED, bca, scene_mean, scene_quantile
from engine.gates.residuals import ImageResiduals, Residuals
from engine.gates.strata import Stratum, strata_rows
from engine.gates.weighted import best_constant, bound_for_reach, quantile

Floats = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True)
class Settings:
    """What the measurement is judged by.

    rho: usable share of the bound. statistic: of |residual|, which the bound must reach. negligible: base error, in the
    target's units, below which there is nothing to gain. unit: for texts. bound_option: the injection's own name of its
    bound. base_learns: whether the base has parameters, so that training it further is worth an advice.
    """

    rho: float = 0.9
    statistic: Literal["mean", "median", "q90"] = "mean"
    negligible: float = 0.1
    minimum_images: int = 30
    minimum_scenes: int = 10
    unit: str = ""
    bound_option: str = "bound"
    base_learns: bool = True


@dataclass(frozen=True)
class Summary:
    """Figures of the residuals r under one weighting of the images; m is the bound; nan when there are no images.

    error: mean |r|, E0. median, q90: quantiles of |r|. coverage: share |r| <= rho m. outside: share |r| > m.
    bias: mean r. oracle: mean max(|r| - m, 0), the error that remains after the best correction, E_or.
    reach: 1 - oracle / error, G. constant, constant_error: the best constant correction and the error it leaves, E_c.
    structure: (E_c - E_or) / (E0 - E_or) in [0, 1], kappa: share of the reachable gain that no constant gets.
    Pixels without a finite prediction count as |r| = inf in the shares and quantiles, and not in the means.
    """

    error: float = NAN
    median: float = NAN
    q90: float = NAN
    coverage: float = NAN
    outside: float = NAN
    bias: float = NAN
    oracle: float = NAN
    reach: float = NAN
    constant: float = NAN
    constant_error: float = NAN
    structure: float = NAN


@dataclass(frozen=True)
class Figures:
    """Everything the gate measured.

    equal: every image weighs the same; the decision reads these. pooled: every pixel weighs the same.
    *_low, *_high: one-sided 95 % limits for coverage and q90, a two-sided 95 % interval for error and bias.
    bound_needed: q90_high / rho, the bound with which coverage would be 0.9 with confidence. structure_needed: the
    structure with that bound. bound_for_half: the bound that brings half of the base error within reach. scenes: None
    when the data do not name them. train_error: E0 on training images. shrinkage: held-out / train error. Errors and
    bounds in the target's units.
    """

    bound: float
    usable: float
    equal: Summary
    pooled: Summary
    error_low: float
    error_high: float
    coverage_low: float
    coverage_high: float
    q90_high: float
    bias_low: float
    bias_high: float
    bound_needed: float
    structure_needed: float
    bound_for_half: float
    images: int
    scenes: int | None
    pixels: int
    dropped: int
    nonfinite: int
    nonfinite_share: float
    train_error: float
    shrinkage: float
    strata: tuple[Stratum, ...]


@dataclass(frozen=True)
class Decision:
    """A status, the conditions that decided it, what else deserves attention, and what to do next."""

    status: Status
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    advice: str


@dataclass(frozen=True)
class FeasibilityReport:
    """Figures, the settings they were judged by, and the decision."""

    settings: Settings
    figures: Figures
    decision: Decision

    @property
    def status(self) -> Status:
        """The verdict, as of any other gate."""
        return self.decision.status

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what is not a finite number is None."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain


def measure(residuals: Residuals, bound: float, settings: Settings, train: Residuals | None = None) -> Figures:
    """The figures of held-out residuals for a bound > 0 in the target's units; `train`, to tell memorised residuals.

    Limits resample scenes, or images when these do not name their scene.
    """
    images = residuals.images
    usable = settings.rho * bound
    error_limits: tuple[float, ...] = (NAN, NAN)
    coverage_limits = bias_limits = error_limits
    q90_high = bound_for_half = structure_needed = NAN
    equal = pooled = Summary()
    if images:
        ones = np.ones(len(images))
        equal = summarise(images, ones, bound, usable)
        pooled = summarise(images, np.array([float(image.pixels) for image in images]), bound, usable)
        scene_of = residuals.scene_of()
        scenes = int(scene_of.max()) + 1
        magnitudes = [np.abs(image.signed) for image in images]
        covered = np.array([float(np.mean(sizes <= usable)) for sizes in map(_doubles, magnitudes)])
        error_limits = bca(scene_mean(_means(images, np.abs), scene_of), scenes, TWO_SIDED)
        bias_limits = bca(scene_mean(_means(images, _doubles), scene_of), scenes, TWO_SIDED)
        coverage_limits = bca(scene_mean(covered, scene_of), scenes)
        q90_high = bca(scene_quantile(magnitudes, scene_of, 0.9), scenes)[1]
        values, weights = _mixture(images, ones, finite=True)
        bound_for_half = bound_for_reach(np.abs(values), weights, 0.5)
        if np.isfinite(q90_high):
            structure_needed = summarise(images, ones, q90_high / settings.rho, q90_high).structure
    train_error = NAN
    if train is not None and train.images:
        train_error = _average(_means(train.images, np.abs), np.ones(len(train.images)))
    return Figures(
        bound=bound,
        usable=usable,
        equal=equal,
        pooled=pooled,
        error_low=error_limits[0],
        error_high=error_limits[1],
        coverage_low=coverage_limits[0],
        coverage_high=coverage_limits[1],
        q90_high=q90_high,
        bias_low=bias_limits[0],
        bias_high=bias_limits[1],
        bound_needed=q90_high / settings.rho,
        structure_needed=structure_needed,
        bound_for_half=bound_for_half,
        images=len(images),
        scenes=len({image.scene for image in images}) if residuals.scenes_known else None,
        pixels=residuals.pixels,
        dropped=residuals.dropped,
        nonfinite=residuals.nonfinite,
        nonfinite_share=residuals.nonfinite / residuals.pixels if images else 0.0,
        train_error=train_error,
        shrinkage=equal.error / train_error if train_error > 0 else NAN,
        strata=strata_rows(images, usable),
    )


def summarise(images: Sequence[ImageResiduals], shares: Floats, bound: float, usable: float) -> Summary:
    """The figures when image i weighs shares[i] > 0; bound and usable bound in the target's units."""
    values, weights = _mixture(images, shares, finite=True)
    constant = best_constant(values, weights, bound)
    every, every_weight = _mixture(images, shares, finite=False)
    magnitudes = np.abs(every)

    def average(function: Any) -> float:
        return _average(_means(images, function), shares)

    def share(condition: Any) -> float:
        return _average(np.array([float(np.mean(condition(np.abs(_doubles(i.signed))))) for i in images]), shares)

    error = average(np.abs)
    oracle = average(lambda r: np.maximum(np.abs(r) - bound, 0))
    constant_error = average(lambda r: np.abs(r - constant))
    gain = error - oracle
    return Summary(
        error=error,
        median=quantile(magnitudes, every_weight, 0.5),
        q90=quantile(magnitudes, every_weight, 0.9),
        coverage=share(lambda size: size <= usable),
        outside=share(lambda size: size > bound),
        bias=average(_doubles),
        oracle=oracle,
        reach=1 - oracle / error if error > 0 else 0.0,
        constant=constant,
        constant_error=constant_error,
        # Clipped for rounding only: |r - c| >= max(|r| - m, 0) for every |c| <= m, and c = 0 already gives E0.
        structure=float(np.clip((constant_error - oracle) / gain, 0, 1)) if gain > 0 else 0.0,
    )


def _mixture(images: Sequence[ImageResiduals], shares: Floats, *, finite: bool) -> tuple[Floats, Floats]:
    """All residuals with weights that give image i its share, whatever its number of pixels."""
    kept = [_finite(image) if finite else _doubles(image.signed) for image in images]
    weights = [np.full(values.size, share / max(values.size, 1)) for values, share in zip(kept, shares, strict=True)]
    return np.concatenate(kept), np.concatenate(weights)


def _finite(image: ImageResiduals) -> Floats:
    return _doubles(image.signed[np.isfinite(image.signed)])


def _means(images: Sequence[ImageResiduals], function: Any) -> Floats:
    """(N,) mean of function(r) over each image's finite residuals, nan where it has none."""
    return np.array([float(np.mean(function(kept))) if (kept := _finite(image)).size else NAN for image in images])


def _average(values: Floats, shares: Floats) -> float:
    known = np.isfinite(values)
    if not known.any():
        return NAN
    # From a reference, so that images that are all alike give exactly their value: limits are compared with >=.
    reference = values[known][0]
    return float(reference + np.sum((values[known] - reference) * shares[known]) / np.sum(shares[known]))


def _doubles(values: NDArray[Any]) -> Floats:
    # Residuals are kept in float32; compared with the bound there, 0.9 m would be rounded to float32 too.
    return np.asarray(values, dtype=np.float64)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
