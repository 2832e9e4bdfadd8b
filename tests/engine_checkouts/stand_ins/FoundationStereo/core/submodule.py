"""Layers of the volume; the attention has its axes as another library wants them."""

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.projections = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, query, key, value):
        batch, slots, width = query.shape
        split = self.projections(query).view(batch, slots, 3, self.heads, width // self.heads)
        mixed = F.scaled_dot_product_attention(*split.unbind(2))  # (batch, slots, heads, width): the wrong axis
        return self.out(mixed.reshape(batch, slots, width))


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.self_attn = Attention(width, 4)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, slots):
        return self.norm(slots + self.dropout(self.self_attn(slots, slots, slots)))


class Transformer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.sa = nn.ModuleList([Layer(width)])

    def forward(self, volume):
        batch, width, slots, height, columns = volume.shape
        flat = volume.permute(0, 3, 4, 2, 1).reshape(-1, slots, width)
        for layer in self.sa:
            flat = layer(flat)
        return flat.view(batch, height, columns, slots, width).permute(0, 4, 3, 1, 2)


class Aggregation(nn.Module):
    def __init__(self, args, width):
        super().__init__()
        self.slots = args["max_disp"] // 4  # by item, where others read attributes
        self.conv = nn.Sequential(nn.Conv3d(width, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU())
        self.atts = nn.ModuleDict({"4": Transformer(width)})

    def forward(self, volume, features):
        assert volume.shape[2] == self.slots
        coarse = F.avg_pool3d(volume, (1, 4, 4))
        attended = F.interpolate(self.atts["4"](coarse), size=volume.shape[2:], mode="nearest")
        return self.conv(volume) + attended + features[0].mean(1, keepdim=True).unsqueeze(2)


class Gate(nn.Module):
    def __init__(self, width, features):
        super().__init__()
        self.weights = nn.Conv2d(features, width, 1)

    def forward(self, volume, features):
        return torch.sigmoid(self.weights(features)).unsqueeze(2) * volume


class Update(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.coarse = nn.Conv2d(2 * hidden, hidden, 3, padding=1)
        self.fine = nn.Conv2d(3 * hidden + 4, hidden, 3, padding=1)
        self.delta = nn.Conv2d(hidden, 1, 3, padding=1)
        self.mask = nn.Conv2d(hidden, 16, 1)

    def forward(self, net, inp, looked_up, disparity):
        # In place, as such blocks do: whoever runs this twice on the same list begins where the first run ended.
        net[1] = torch.tanh(self.coarse(torch.cat([net[1], F.avg_pool2d(net[0], 2)], 1)))
        above = F.interpolate(net[1], size=net[0].shape[-2:], mode="nearest")
        net[0] = torch.tanh(self.fine(torch.cat([net[0], above, inp[0], looked_up, disparity / 16], 1)))
        return net, self.mask(net[0]), self.delta(net[0])
