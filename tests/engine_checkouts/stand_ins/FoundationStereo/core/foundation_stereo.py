"""A small network with the names, constructor, outputs and traps of FoundationStereo, and none of its code."""

import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

sys.path.append(f"{os.path.dirname(os.path.realpath(__file__))}/../")  # noqa: PTH120  # as published code does
from core.extractor import Context, Feature
from core.geometry import looked_up
from core.submodule import Aggregation, Gate, Update

autocast = torch.cuda.amp.autocast


def normalize_image(img):
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    if (deviation == 0).any():
        raise ValueError("a deviation is zero")
    return (img / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)


def correlation(left, right, slots):
    """(B, 2, slots, H, W): how alike the left pixel and the right one `slot` columns further left are."""
    left, right = F.normalize(left.float(), dim=1), F.normalize(right.float(), dim=1)
    halves = []
    for a, b in zip(left.chunk(2, 1), right.chunk(2, 1), strict=True):
        shifted = [F.pad(b, (slot, 0))[..., : b.shape[-1]] for slot in range(slots)]
        halves.append(torch.stack([(a * each).sum(1) for each in shifted], 1))
    return torch.stack(halves, 1)


class FoundationStereo(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        hidden, width = 16, 28
        self.feature = Feature(args)
        seen = self.feature.dino.width
        self.cnet = Context(hidden, seen)
        self.update_block = Update(hidden)
        self.context_zqr_convs = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in args.hidden_dims)  # never called
        self.stem_4 = nn.Conv2d(3, 4, 1)  # never called
        self.corr_stem = nn.Sequential(nn.Conv3d(2, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU())
        self.corr_feature_att = Gate(width, 24)
        self.cost_agg = Aggregation(args, width)
        self.classifier = nn.Conv3d(width, 1, 3, padding=1)

    def upsample_disp(self, disparity, mask):
        with autocast(enabled=self.args.mixed_precision):
            detail = F.pixel_shuffle(0.1 * mask, 4)
        up = F.interpolate(4 * disparity, scale_factor=4, mode="bilinear", align_corners=False)
        return (up + detail).float()

    def forward(self, image1, image2, iters=12, flow_init=None, test_mode=False, init_disp=None):
        assert not self.args.get("low_memory", False)
        image1, image2 = normalize_image(image1), normalize_image(image2)
        slots = self.args.max_disp // 4
        with autocast(enabled=self.args.mixed_precision):
            features, seen = self.feature(torch.cat([image1, image2]))
            left, right = features.chunk(2)
            volume = self.corr_stem(8 * correlation(left, right, slots))
            volume = self.cost_agg(self.corr_feature_att(volume, left), [left])
            score = self.classifier(volume).squeeze(1)
            hidden, context = self.cnet(image1, seen.chunk(2)[0])
            net = [torch.tanh(hidden), torch.tanh(F.avg_pool2d(hidden, 2))]
            inp = [torch.relu(context)]
        places = torch.arange(slots, device=score.device).view(1, -1, 1, 1)
        first = (F.softmax(score.float(), 1) * places).sum(1, keepdim=True)
        disparity, predictions = first, []
        for iteration in range(iters):
            disparity = disparity.detach()
            near = looked_up(score.float(), disparity)
            with autocast(enabled=self.args.mixed_precision):
                net, mask, delta = self.update_block(net, inp, near, disparity)
            disparity = disparity + delta.float()
            if test_mode and iteration < iters - 1:
                continue
            predictions.append(self.upsample_disp(disparity, mask))
        return predictions[-1] if test_mode else (first, predictions)
