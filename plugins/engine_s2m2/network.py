"""The S2M2 network: two rectified images in; disparity, visibility and confidence out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.errors import InputError, Problem
from engine.prediction import Batch, Prediction
from engine_s2m2.backbone import Backbone
from engine_s2m2.blocks import GELU, GatedFusion, left_half
from engine_s2m2.correlation import Correlation, Volume
from engine_s2m2.matching import first_estimates, transport
from engine_s2m2.options import S2M2Options
from engine_s2m2.padding import MULTIPLE, Padding
from engine_s2m2.refinement import GlobalRefiner, LocalRefiner
from engine_s2m2.transformer import TransformerStack
from engine_s2m2.unet import UNet
from engine_s2m2.upsampling import EdgeMask, QuarterMask, mix_neighbours


@dataclass(frozen=True)
class Size:
    """Widths in channels. The published sizes share the last five; nano halves them, as they dominate its cost."""

    width: int
    transformers: int
    refine_iter: int = 3
    stem: int = 64
    disparity_width: int = 96
    evidence_width: int = 64
    mask_width: int = 64
    edge_width: int = 16


SIZES = {
    "nano": Size(32, 1, refine_iter=2, stem=32, disparity_width=48, evidence_width=32, mask_width=32, edge_width=8),
    "S": Size(128, 1),
    "M": Size(192, 2),
    "L": Size(256, 3),
    "XL": Size(384, 3),
}


@dataclass
class Estimates:
    """All that one pass finds out, at quarter resolution unless said otherwise; disparities in px of their own map.

    plan: the matching probabilities, None where they came in bands of rows. disparities: initial, after the global
    refiner, after each local step, all before they are clamped at 0, so that a clamped pixel still has a gradient.
    confidences, visibilities: after each local step, the latter before the rule that hides pixels whose match leaves
    the image. final: disparity, visibility, confidence at full resolution.
    """

    plan: Tensor | None
    initial_confidence: Tensor
    initial_visibility: Tensor
    disparities: list[Tensor]
    confidences: list[Tensor]
    visibilities: list[Tensor]
    final: tuple[Tensor, Tensor, Tensor]


class S2M2(nn.Module):
    """Stereo matching by global transport and recurrent refinement; the names of its children are those of the weights.

    size: widths and depth. refine_iter: rounds of local refinement. use_positivity: only disparities >= 0.
    checkpointing: recompute transformers and refinement in the backward pass instead of storing their activations.
    """

    def __init__(
        self, size: Size, refine_iter: int | None = None, use_positivity: bool = True, checkpointing: bool = False
    ) -> None:
        super().__init__()
        width = size.width
        widths = (width, width, 2 * width)
        self.iterations = size.refine_iter if refine_iter is None else refine_iter
        self.use_positivity = use_positivity
        self.checkpointing = checkpointing
        self.cnn_backbone = Backbone(width, size.stem)
        self.feat_pyramid = UNet(widths, blocks=2 * size.transformers, positional=True)
        self.transformer = TransformerStack(widths, size.transformers, checkpointing)
        self.disp_init = Correlation(width)
        self.global_refiner = GlobalRefiner(width)
        self.feat_fusion_layer = GatedFusion(width, kernel=3)
        self.ctx_feat = nn.Sequential(nn.Conv2d(width, width, 1), GELU(), nn.Conv2d(width, width, 1))
        self.refiner = LocalRefiner(width, size.disparity_width, size.evidence_width)
        self.upsample_mask_4x_refine = QuarterMask(width, size.mask_width)
        self.upsample_mask_1x = EdgeMask(width, size.edge_width)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Make an untrained network start from its matches, so that training from scratch is calm.

        The global refiner's output is multiplied by 100: with the usual initialisation it would throw unmatched pixels
        some 30 px away. The local updates start at a tenth, as each round adds to what the round before it found.
        """
        out = self.global_refiner.out_feat[0]
        out.weight.mul_(0.01)
        out.bias.zero_()
        self.refiner.disp_update[2].weight.mul_(0.1)
        self.refiner.conf_occ_update[2].weight.mul_(0.1)

    def forward(self, batch: Batch) -> Prediction:
        """Disparity, confidence and visibility of batch["left"] against batch["right"].

        The images are (B, 3, H, W) float RGB in 0..255. `value` is (B, 1, H, W), px at full resolution, positive where
        the match lies further left in the right image; `confidence` and `visibility` are (B, 1, H, W) in [0, 1].

        In training mode also `intermediates` (initial, globally refined, each local step; (B, 1, H/4, W/4), values in
        full-resolution px, possibly negative) and features: "transport" (B, H/4, W/4, W/4), "initial_confidence" and
        "initial_visibility" (B, 1, H/4, W/4), "confidences" and "visibilities" (refine_iter, B, 1, H/4, W/4).

        Raises InputError for images under 32 px, and in training for sizes that are no multiples of 32: padding would
        leave no whole grid of quarter-resolution pixels to compare with the truth.
        """
        left, right = batch["left"], batch["right"]
        padding = Padding(*left.shape[-2:])
        if not self.training:
            disparity, visibility, confidence = map(padding.crop, self.match(padding.pad(left), padding.pad(right)))
            return Prediction(disparity, confidence=confidence, visibility=visibility)
        if padding.needed:
            raise InputError(
                Problem(
                    "",
                    f"training images are {padding.height} x {padding.width} px, which S2M2 cannot train on",
                    f"a crop whose height and width are multiples of {MULTIPLE}",
                )
            )
        found = self.estimate(left, right)
        disparity, visibility, confidence = found.final
        assert found.plan is not None, "training keeps the correlation whole"
        features = {
            "transport": found.plan,
            "initial_confidence": found.initial_confidence,
            "initial_visibility": found.initial_visibility,
        }
        if found.confidences:
            features["confidences"] = torch.stack(found.confidences)
            features["visibilities"] = torch.stack(found.visibilities)
        intermediates = [4 * disparity for disparity in found.disparities]
        return Prediction(disparity, intermediates, confidence, visibility, features)

    def match(self, left: Tensor, right: Tensor, output_upsample: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Disparity (px of the output), visibility and confidence in [0, 1], each (B, 1, H, W) float32.

        left, right: (B, 3, H, W), RGB in 0..255, H and W multiples of 32. With `output_upsample` the three maps are
        (B, 1, 2H, 2W). The order is that of the published network.
        """
        return self.estimate(left, right, output_upsample).final

    def estimate(self, left: Tensor, right: Tensor, output_upsample: bool = False) -> Estimates:
        """The whole pass with everything it finds on the way; arguments as in `match`."""
        images = torch.cat((left, right)).contiguous(memory_format=torch.channels_last)
        images = images.to(self.disp_init.layer_norm.weight.dtype) * (2 / 255) - 1
        quarter, half = self.cnn_backbone(images)
        pyramid = self.feat_pyramid(quarter)
        transformed = self.transformer(pyramid)

        correlation = self.disp_init(transformed)
        plan, (initial, confidence, visibility) = self._matched(correlation)

        transformed, half, image = left_half(transformed), left_half(half), left_half(images)
        filled = self.global_refiner(initial.detach(), confidence.detach(), transformed)
        context = self.ctx_feat(self.feat_fusion_layer(transformed, left_half(pyramid[0])))
        found = Estimates(plan, confidence, visibility, [initial, filled], [], [], (filled, visibility, confidence))
        hidden = self._refine(found, context, correlation)

        maps = mix_neighbours(torch.cat(found.final, 1), self.upsample_mask_4x_refine(hidden, half))
        logits = self.upsample_mask_1x(maps[:, :1], image, half)
        if output_upsample:
            logits = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        disparity, visibility, confidence = mix_neighbours(maps, logits).split(1, 1)
        found.final = (2 * disparity if output_upsample else disparity, visibility, confidence)
        return found

    def _matched(self, correlation: Volume) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """Matching probabilities, unless they come and go in bands of rows, and the three first estimates."""
        if correlation.whole is not None:
            plan = transport(correlation.whole, self.use_positivity)
            return plan, first_estimates(plan)
        return None, correlation.look(lambda band, rows: first_estimates(transport(band, self.use_positivity)))

    def _refine(self, found: Estimates, context: Tensor, correlation: Volume) -> Tensor:
        """Add the rounds of local refinement to `found` and return the last hidden state.

        `found.final` becomes the last disparity (full-resolution px), visibility and confidence at quarter resolution.
        """
        disparity, visibility, confidence = found.final
        evidence = correlation.evidence()
        columns = torch.arange(disparity.shape[-1], device=disparity.device, dtype=disparity.dtype)
        hidden = context.tanh()
        disparity = self._permitted(disparity)
        for _ in range(self.iterations):
            state = (hidden, disparity, confidence, visibility, context, evidence)
            if self.checkpointing and self.training:
                state = checkpoint(self.refiner, *state, use_reentrant=False, preserve_rng_state=False)
            else:
                state = self.refiner(*state)
            hidden, disparity, confidence, visibility = state
            found.disparities.append(disparity)
            found.confidences.append(confidence)
            found.visibilities.append(visibility)
            disparity = self._permitted(disparity)
            # What matches left of the image's edge is not visible there.
            visibility = visibility * (disparity <= columns)
        found.final = (4 * disparity, visibility, confidence)
        return hidden

    def _permitted(self, disparity: Tensor) -> Tensor:
        return disparity.clamp(min=0) if self.use_positivity else disparity


def build(options: S2M2Options) -> S2M2:
    """The network that a recipe asks for."""
    return S2M2(SIZES[options.size], options.refine_iter, options.use_positivity, options.checkpointing)
