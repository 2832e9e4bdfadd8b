"""The frozen backbone, which is asked for over the network."""

import torch
from torch import nn


class Depth(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.depth_anything = torch.hub.load("facebookresearch/dinov2", f"dinov2_{size}14", pretrained=False)
        self.width = self.depth_anything.width

    def forward(self, images):
        return self.depth_anything(images)
