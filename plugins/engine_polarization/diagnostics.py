"""Is the correction alive? Saturation alone cannot tell: a module that answers a constant need not saturate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from engine_stereo.masked import masked_count, masked_quantiles, masked_sum, region_mask
from torch import Tensor

from engine.prediction import Batch, Prediction
from engine_polarization.correction import correctable
from engine_polarization.options import DIAGNOSTICS, DiagnosticsOptions

Figure = tuple[Tensor, Tensor]

_SATURATED = 0.95  # of the bound: |raw| = 1.83, where less than a tenth of the gradient is left
_ALREADY_RIGHT = 0.5  # px; the correction has nothing to gain there and something to spoil
# Below this (px) a standard deviation or a gain is rounding, and a ratio to it means nothing.
_NEGLIGIBLE = 1e-4


class CorrectionDiagnostics:
    """Figures on a bounded correction c = m tanh(z) of a base whose error is r = d_true - d_base, px.

    Over the correctable pixels of the region, or all correctable ones where the data lacks the region's mask:
    sat95: share with |tanh z| > 0.95. slope: mean of 1 - tanh^2 z, the share of gradient that passes the bound.
    raw_median, raw_q95, raw_q99: quantiles of |z|. spread: std(c) / std(clip(r, -m, m)), near 0 when the module answers
    a constant. fit: their correlation. gain: (E0 - E) / (E0 - E_or), the share of the repairable error that was
    repaired, with E0 = mean |r|, E = mean |r - c| and E_or = mean max(|r| - m, 0).
    harm_px, harm: how much the mean error grew on correctable pixels outside the region with |r| < 0.5 px, in px and
    relative to what it was; negative when it fell. Without the region's mask nothing is outside: undefined.

    Pixel means are summed over pixels; ratios, quantiles and correlations have one value a sample. A prediction without
    correction has count 0 everywhere, and so has a ratio whose denominator vanishes. Pixels whose base or correction
    is not finite are left out here; the metric `epe` counts them.
    """

    def __init__(self, options: DiagnosticsOptions) -> None:
        self.region = options.region

    def __call__(self, prediction: Prediction, batch: Batch) -> Mapping[str, Figure]:
        """`<figure>/<region>` -> (sum (B,), count (B,))."""
        if prediction.correction is None or prediction.raw is None or prediction.base is None:
            nothing = torch.zeros(len(batch["valid"]), device=batch["valid"].device)
            return {f"{name}/{self.region}": (nothing, nothing) for name in DIAGNOSTICS}

        raw, correction = prediction.raw.detach().float(), prediction.correction.detach().float()
        residual = batch["disparity"].float() - prediction.base.value.detach().float()
        usable = correctable(batch) & residual.isfinite() & correction.isfinite() & raw.isfinite()
        region = region_mask(self.region, batch)
        inside = usable if region is None else usable & region
        outside = usable & ~inside & (residual.abs() < _ALREADY_RIGHT)

        figures = _shape_of_tanh(raw, inside) | _agreement(correction, raw, residual, inside)
        figures |= _harm(correction, residual, outside)
        return {f"{name}/{self.region}": figures[name] for name in DIAGNOSTICS}


def _shape_of_tanh(raw: Tensor, mask: Tensor) -> dict[str, Figure]:
    squashed, count = torch.tanh(raw), masked_count(mask)
    quantiles = masked_quantiles(raw.abs(), mask, (0.5, 0.95, 0.99)).nan_to_num(0.0)
    defined = (count > 0).float()
    return {
        "sat95": (masked_count((squashed.abs() > _SATURATED) & mask), count),
        "slope": (masked_sum(1 - squashed.square(), mask), count),
        "raw_median": (quantiles[:, 0], defined),
        "raw_q95": (quantiles[:, 1], defined),
        "raw_q99": (quantiles[:, 2], defined),
    }


def _agreement(correction: Tensor, raw: Tensor, residual: Tensor, mask: Tensor) -> dict[str, Figure]:
    bound = _bound(correction, raw)
    # A module that never moved tells no bound; whatever it is, spread and gain are 0, and fit has no meaning.
    target = residual if bound is None else residual.clamp(-bound, bound)
    given, wanted = _moments(correction, mask), _moments(target, mask)
    varies = wanted.std > _NEGLIGIBLE
    both = varies & (given.std > _NEGLIGIBLE)
    covariance = _mean((correction - given.mean) * (target - wanted.mean), mask)

    before = _mean(residual.abs(), mask)
    after = _mean((residual - correction).abs(), mask)
    floor = torch.zeros_like(before) if bound is None else _mean((residual.abs() - bound).clamp(min=0), mask)
    repairable = before - floor > _NEGLIGIBLE
    return {
        "spread": _ratio(given.std, wanted.std, varies),
        "fit": _ratio(covariance, given.std * wanted.std, both),
        "gain": _ratio(before - after, before - floor, repairable),
    }


def _harm(correction: Tensor, residual: Tensor, mask: Tensor) -> dict[str, Figure]:
    before, growth = residual.abs(), (residual - correction).abs() - residual.abs()
    total = masked_sum(before, mask)
    return {
        "harm": _ratio(masked_sum(growth, mask), total, total > _NEGLIGIBLE * masked_count(mask)),
        "harm_px": (masked_sum(growth, mask), masked_count(mask)),
    }


def _bound(correction: Tensor, raw: Tensor) -> float | None:
    """m of c = m tanh(z), from the pixels themselves; None where every z is 0 or not finite."""
    squashed = torch.tanh(raw)
    told = (squashed.abs() > 1e-6) & squashed.isfinite() & correction.isfinite()
    ratios = (correction / squashed)[told]
    return float(ratios.median()) if ratios.numel() else None


@dataclass
class _Moments:
    mean: Tensor
    std: Tensor


def _moments(values: Tensor, mask: Tensor) -> _Moments:
    """Mean (B, 1, 1, 1) and standard deviation (B,) over each sample's mask."""
    mean = _mean(values, mask)[:, None, None, None]
    return _Moments(mean, _mean((values - mean).square(), mask).sqrt())


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return masked_sum(values, mask) / masked_count(mask).clamp(min=1)


def _ratio(numerator: Tensor, denominator: Tensor, defined: Tensor) -> Figure:
    safe = torch.where(defined, denominator, torch.ones_like(denominator))
    return torch.where(defined, numerator / safe, torch.zeros_like(numerator)), defined.float()
