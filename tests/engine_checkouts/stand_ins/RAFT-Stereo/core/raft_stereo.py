"""A small network with the constructor and outputs of RAFT-Stereo, and none of its code: flow has the other sign."""

import torch
import torch.nn.functional as F
from opt_einsum import contract  # noqa: F401  # as published code imports what it never calls
from torch import nn

from core.submodule import Encoder

autocast = torch.cuda.amp.autocast


class RAFTStereo(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.fnet = Encoder(16)
        self.cnet = Encoder(16, nn.BatchNorm2d)
        self.update_block = nn.Conv2d(16 + 9 + 1, 17, 3, padding=1)

    def upsample_flow(self, flow):
        return F.interpolate(4 * flow, scale_factor=4, mode="bilinear", align_corners=False)

    def forward(self, image1, image2, iters=12, flow_init=None, test_mode=False):
        image1, image2 = image1 / 127.5 - 1, image2 / 127.5 - 1
        with autocast(enabled=self.args.mixed_precision):
            left, right = self.fnet(torch.cat([image1, image2])).chunk(2)
            hidden = torch.tanh(self.cnet(image1))
        shifted = [F.pad(right, (shift, 0))[..., : right.shape[-1]] for shift in range(9)]
        volume = torch.stack([(left * each).mean(1) for each in shifted], 1).float()
        flow, flows = volume.new_zeros(len(volume), 1, *volume.shape[-2:]), []
        for _ in range(iters):
            flow = flow.detach()
            with autocast(enabled=self.args.mixed_precision):
                step = self.update_block(torch.cat([hidden, volume, flow], 1)).float()
            hidden, flow = torch.tanh(step[:, :16]), flow + step[:, 16:]
            flows.append(self.upsample_flow(flow))
        return (torch.cat([flow, 0 * flow], 1), flows[-1]) if test_mode else flows
