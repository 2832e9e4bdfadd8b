"""Entry points, as torch.hub calls them."""

import torch
from torch import nn


class Backbone(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.patches = nn.Conv2d(3, width, 4, 4)

    def forward(self, images):
        return torch.tanh(self.patches(images))


def dinov2_vits14(pretrained=True):
    if pretrained:
        torch.hub.load_state_dict_from_url("https://example.com/vits.pth")
    return Backbone(8)


def dinov2_vitl14(pretrained=True):
    return Backbone(12)
