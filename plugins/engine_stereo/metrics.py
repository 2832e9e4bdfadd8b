"""The error of a disparity map, in the figures that stereo benchmarks print."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from engine.prediction import Batch, Prediction
from engine_stereo.masked import masked_count, masked_quantiles, masked_sum, region_mask
from engine_stereo.options import ErrorOptions

Figure = tuple[Tensor, Tensor]


class DisparityError:
    """End-point error and its relatives on each region, e = |d - d_true| in px of the sample.

    Data scaled by 0.5 have pixels twice as large; `full_resolution` counts in the pixels of the stored truth.

    epe: mean e. bias: mean of d - d_true, positive where the estimate is too near. bad<tau>: percent of pixels with
    e > tau (strictly). d1: percent with e > 3 px and e > 5 % of the true disparity (KITTI 2015). nonfinite: percent of
    pixels without a finite estimate; always present. These are sums over pixels, so they can be pooled.
    a50, a90, a95, a99: quantiles of e over the region (Middlebury). rmse: root of mean e^2. These have one value a
    sample and count 1, so that pooled means the mean over samples.

    A pixel without a finite estimate has infinite error: it is bad at every threshold, and no mean hides it. A sample
    with no pixel in a region, or without a mask that the region names, has count 0 there.
    """

    def __init__(self, options: ErrorOptions) -> None:
        self.options = options

    def __call__(self, prediction: Prediction, batch: Batch) -> Mapping[str, Figure]:
        """`<quantity>/<region>` -> (sum (B,), count (B,)) of `prediction.value` (B, 1, H, W) against `disparity`."""
        truth, value = batch["disparity"].float(), prediction.value.detach().float()
        finite = value.isfinite()
        signed = torch.where(finite, value - truth, torch.full_like(value, torch.inf))
        if self.options.full_resolution and "scale" in batch:
            signed, truth = (each / batch["scale"].view(-1, 1, 1, 1) for each in (signed, truth))
        figures: dict[str, Figure] = {}
        for region in self.options.regions:
            mask = region_mask(region, batch)
            if mask is None:
                mask = torch.zeros_like(batch["valid"])
            for name, figure in self._figures(signed, truth, mask).items():
                figures[f"{name}/{region}"] = figure
            figures[f"nonfinite/{region}"] = _percent(~finite, mask)
        return figures

    def _figures(self, signed: Tensor, truth: Tensor, mask: Tensor) -> dict[str, Figure]:
        error, count = signed.abs(), masked_count(mask)
        figures: dict[str, Figure] = {}
        for quantity in self.options.quantities:
            if quantity == "epe":
                figures[quantity] = masked_sum(error, mask), count
            elif quantity == "bias":
                figures[quantity] = masked_sum(signed, mask), count
            elif quantity == "bad":
                figures |= {f"bad{tau:g}": _percent(error > tau, mask) for tau in self.options.taus}
            elif quantity == "d1":
                figures[quantity] = _percent((error > 3) & (error > 0.05 * truth.abs()), mask)
            elif quantity == "rmse":
                mean_square = masked_sum(error.square(), mask) / count.clamp(min=1)
                figures[quantity] = mean_square.sqrt(), (count > 0).float()
            else:
                quantile = masked_quantiles(error, mask, [int(quantity[1:]) / 100])[:, 0]
                figures[quantity] = quantile.nan_to_num(0.0, posinf=torch.inf), (count > 0).float()
        return figures


def _percent(hit: Tensor, mask: Tensor) -> Figure:
    return 100 * masked_count(hit & mask), masked_count(mask)
