"""The network: a small fully convolutional, anchor-free, oriented-box detector.

Why this head: in a yard, bodies lie side by side 0.1-2 m apart, so anchors and axis-aligned assignment merge neighbours.
Dense targets - one heatmap per class with a Gaussian as narrow as the object, plus offset, size and double angle at each cell -
keep neighbours apart as long as their centres are two cells apart. A container is 2.4 m wide, 8 px at the working GSD of
0.3 m, four cells at the output stride of 2.

The body works at stride 8, where wide layers run near peak on a CPU (PERF 2), and pixel-shuffle with skips brings detail
back. There is no norm across space at inference, so an output depends on nothing beyond `HALO` pixels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

STRIDE = 8
"""Windows must be multiples of this many pixels."""
OUT_STRIDE = 2
"""Input pixels per output cell."""
DILATIONS = (1, 2, 4, 1, 2, 4)
HALO = 192
"""Half the receptive field, rounded up to the stride: 8 * sum(d + 1 for both convolutions of a block) + stem and head."""
BOX_CHANNELS = 6
"""dx, dy (cells), log w, log h (pixels), cos 2 theta, sin 2 theta."""

WIDTH_OF = "stem8.0.weight"
"""The tensor of a state whose length is the width of the body."""

_PRIOR = 0.01  # initial heatmap probability, so that early steps are not swamped by background (RetinaNet)


class Block(nn.Module):
    """Residual block: a dilated and a plain 3 x 3 convolution."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = _conv(width, width, dilation=dilation)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) -> same shape."""
        out: Tensor = torch.relu(x_NCHW + self.second(self.first(x_NCHW)))
        return out


def _conv(inside: int, outside: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


class YardNet(nn.Module):
    """Image to dense maps at stride 2.

    Args:
        classes: number of class heatmaps.
        subtypes: number of subtype logits (0 for none).
        width: channels of the body.
    """

    def __init__(self, classes: int, subtypes: int = 0, width: int = 96) -> None:
        super().__init__()
        self.classes, self.subtypes, self.width = classes, subtypes, width
        self.stem2 = _conv(3, 24, stride=2)
        self.stem4 = nn.Sequential(_conv(24, 48, stride=2), _conv(48, 48))
        self.stem8 = _conv(48, width, stride=2)
        self.body = nn.Sequential(*(Block(width, d) for d in DILATIONS))
        self.up4 = nn.Sequential(nn.Conv2d(width, 48 * 4, 1), nn.PixelShuffle(2))
        self.mix4 = _conv(96, 64)
        self.up2 = nn.Sequential(nn.Conv2d(64, 24 * 4, 1), nn.PixelShuffle(2))
        self.mix2 = _conv(48, 48)
        self.head = nn.Conv2d(48, classes + BOX_CHANNELS + subtypes, 1)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias.zero_()
            self.head.bias[:classes] = math.log(_PRIOR / (1 - _PRIOR))

    def forward(self, x_N3HW: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1 -> (N, classes + 6 + subtypes, H / 2, W / 2): heat logits, box channels, subtype logits."""
        s2 = self.stem2(x_N3HW * 4.0 - 1.5)  # roughly zero mean and unit spread over the brightness range of the renders
        s4 = self.stem4(s2)
        deep = self.body(self.stem8(s4))
        m4 = self.mix4(torch.cat([self.up4(deep), s4], dim=1))
        out: Tensor = self.head(self.mix2(torch.cat([self.up2(m4), s2], dim=1)))
        return out


class Ensemble(nn.Module):
    """Networks of the same classes whose maps are averaged: logits, boxes, subtypes.

    Nets that learned from other renders err in other places; what they agree on is more often so.
    """

    def __init__(self, nets: Sequence[YardNet]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x_N3HW: Tensor) -> Tensor:
        """As `YardNet.forward`."""
        return torch.stack([net(x_N3HW) for net in self.nets]).mean(dim=0)
