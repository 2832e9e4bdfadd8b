"""Features of both images, and the context of the left one."""

import torch
import torch.nn.functional as F
from torch import nn
from Utils import freeze


def block(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.InstanceNorm2d(outputs, affine=True), nn.LeakyReLU(0.1)
    )


class Feature(nn.Module):
    def __init__(self, args):
        super().__init__()
        from core.vit import Depth  # only when it is built

        self.stem = block(3, 16, 2)
        self.stages = nn.ModuleList([block(16, 24, 2), block(24, 24, 2)])
        self.dino = freeze(Depth(args.vit_size))
        self.deconv8_4 = nn.Conv2d(48, 24, 1)
        self.conv4 = nn.Conv2d(24 + self.dino.width, 24, 3, padding=1)

    def forward(self, images):
        self.dino = self.dino.eval()
        with torch.no_grad():
            seen = self.dino(images)
        quarter = self.stages[0](self.stem(images))
        eighth = F.interpolate(self.stages[1](quarter), size=quarter.shape[-2:], mode="nearest")
        fused = self.deconv8_4(torch.cat([quarter, eighth], 1))
        return self.conv4(torch.cat([fused, seen], 1)), seen


class Context(nn.Module):
    def __init__(self, hidden, seen):
        super().__init__()
        self.conv1 = nn.Conv2d(3, hidden, 5, 4, 2)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.norm = nn.BatchNorm2d(hidden)  # never called
        self.down = nn.Conv2d(hidden, hidden, 1)  # never called
        self.out = nn.Conv2d(hidden + seen, 2 * hidden, 3, padding=1)

    def forward(self, image, seen):
        return self.out(torch.cat([torch.relu(self.norm1(self.conv1(image))), seen], 1)).chunk(2, 1)
