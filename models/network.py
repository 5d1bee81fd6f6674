"""The network: a small fully convolutional, anchor-free, oriented-box detector.

Why this head: in a yard, bodies lie side by side 0.1-2 m apart, so anchors and axis-aligned assignment merge neighbours.
Dense targets - one heatmap per class with a Gaussian as narrow as the object, plus offset, size and double angle at each cell -
keep neighbours apart as long as their centres are two cells apart. A container is 2.4 m wide, 8 px at the working GSD of
0.3 m, four cells at the output stride of 2.

The body works at stride 8, where wide layers run near peak on a CPU (PERF 2), and pixel-shuffle with skips brings detail
back. There is no norm across space at inference, so an output depends on nothing beyond `HALO` pixels.

Two kinds of stem lead to the body: `plain` convolutions that learn from renders alone, and `lite`, the first blocks of
EfficientNet-Lite0 with what they learned of ImageNet's photographs. The mean of both errs less on real pictures than either.
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

STRIDE = 8
"""Windows must be multiples of this many pixels."""
OUT_STRIDE = 2
"""Input pixels per output cell."""
DILATIONS = {"plain": (1, 2, 4, 1, 2, 4), "lite": (1, 2, 4)}
"""Of the blocks of the body, by kind of stem: `lite` stems see 80 px far, plain ones 12."""
HALO = 192
"""Half the receptive field, rounded up to the stride: 8 * sum(d + 1 for both convolutions of a block) + stem and head."""
FEATURES = 48
"""Maps that the head sees."""
BOX_CHANNELS = 6
"""dx, dy (cells), log w, log h (pixels), cos 2 theta, sin 2 theta; of each class, since a container and its wagon share a centre."""

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


class Inverted(nn.Module):
    """Inverted residual block of EfficientNet-Lite: widen, convolve each channel, narrow; no squeeze-and-excitation.

    Source: Tan and Le, EfficientNet (2019), table 1; EfficientNet-Lite (2020) has ReLU6 and no attention.
    """

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, expand: int = 6, dilation: int = 1) -> None:
        super().__init__()
        wide = inside * expand
        padding = dilation * (kernel // 2)
        self.expand = nn.Sequential(*_lite(inside, wide, 1), nn.ReLU6()) if expand > 1 else nn.Identity()
        self.depth = nn.Sequential(
            *_lite(wide, wide, kernel, stride=stride, padding=padding, dilation=dilation, groups=wide), nn.ReLU6()
        )
        self.project = nn.Sequential(*_lite(wide, outside, 1))
        self.residual = stride == 1 and inside == outside

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H / stride, W / stride)."""
        out: Tensor = self.project(self.depth(self.expand(x_NCHW)))
        return x_NCHW + out if self.residual else out


def _lite(inside: int, outside: int, kernel: int, **how: Any) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inside, outside, kernel, bias=False, **how), nn.BatchNorm2d(outside, eps=1e-3)


def _plain_stems(width: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return _conv(3, 24, stride=2), nn.Sequential(_conv(24, 48, stride=2), _conv(48, 48)), _conv(48, width, stride=2)


def _lite_stems(width: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Blocks 0 to 7 of EfficientNet-Lite0, those from 5 on at stride 8 and dilated instead of at stride 16."""
    stem2 = nn.Sequential(*_lite(3, 32, 3, stride=2, padding=1), nn.ReLU6(), Inverted(32, 16, 3, expand=1))
    stem4 = nn.Sequential(Inverted(16, 24, 3, stride=2), Inverted(24, 24, 3))
    stem8 = nn.Sequential(
        Inverted(24, 40, 5, stride=2), Inverted(40, 40, 5),
        Inverted(40, 80, 3), Inverted(80, 80, 3, dilation=2), Inverted(80, 80, 3, dilation=2),
        _conv(80, width),
    )  # fmt: skip
    return stem2, stem4, stem8


class YardNet(nn.Module):
    """Image to dense maps at stride 2.

    Args:
        classes: number of class heatmaps.
        subtypes: number of subtype logits (0 for none).
        width: channels of the body.
        kind: of stems, `plain` or `lite`.
    """

    def __init__(self, classes: int, subtypes: int = 0, width: int = 96, kind: str = "plain") -> None:
        super().__init__()
        self.classes, self.subtypes, self.width, self.kind = classes, subtypes, width, kind
        self.stem2, self.stem4, self.stem8 = {"plain": _plain_stems, "lite": _lite_stems}[kind](width)
        two, four = {"plain": (24, 48), "lite": (16, 24)}[kind]
        self.body = nn.Sequential(*(Block(width, d) for d in DILATIONS[kind]))
        self.up4 = nn.Sequential(nn.Conv2d(width, 48 * 4, 1), nn.PixelShuffle(2))
        self.mix4 = _conv(48 + four, 64)
        self.up2 = nn.Sequential(nn.Conv2d(64, 24 * 4, 1), nn.PixelShuffle(2))
        self.mix2 = _conv(24 + two, FEATURES)
        self.head = nn.Conv2d(FEATURES, classes * (1 + BOX_CHANNELS) + subtypes, 1)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias.zero_()
            self.head.bias[:classes] = math.log(_PRIOR / (1 - _PRIOR))

    @classmethod
    def of_state(cls, state: dict[str, Tensor], classes: int, subtypes: int) -> "YardNet":
        """The network whose weights these are.

        Raises:
            RuntimeError, KeyError: weights of something else.
        """
        kind = "lite" if "stem4.0.depth.0.weight" in state else "plain"
        net = cls(classes, subtypes, state["up4.0.weight"].shape[1], kind)
        net.load_state_dict(state)
        return net

    def trunk(self) -> nn.ModuleList:
        """What comes with weights from ImageNet: the stems of a `lite` network but for the convolution that leads to the body."""
        return nn.ModuleList([*self.stem2, *self.stem4, *self.stem8[:-1]] if self.kind == "lite" else [])  # type: ignore[misc, index]

    def forward(self, x_N3HW: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1 -> (N, 7 * classes + subtypes, H / 2, W / 2): heat logits, box channels by class, subtype logits."""
        out: Tensor = self.head(self.features(x_N3HW))
        return out

    def features(self, x_N3HW: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1 -> (N, FEATURES, H / 2, W / 2): what the head sees."""
        s2 = self.stem2(x_N3HW * 4.0 - 1.5)  # roughly zero mean and unit spread over the brightness range of the renders
        s4 = self.stem4(s2)
        deep = self.body(self.stem8(s4))
        m4 = self.mix4(torch.cat([self.up4(deep), s4], dim=1))
        out: Tensor = self.mix2(torch.cat([self.up2(m4), s2], dim=1))
        return out


class Outlines(nn.Module):
    """What the last maps of all networks together say of boxes, beside what each head says of them.

    A head is one 1 x 1 convolution: boxes of a rare length come out as those of a common one (containers of 10 ft, one in twenty of the
    renders', as 17 to 20 ft; two thirds of them missed an oriented IoU of 0.5 so). This sees the cells around as well. It learns with
    the networks as they are (``tests/bench/fit_outlines.py``), so that peaks and their scores stay to the bit.

    Args:
        nets: number of networks.
        classes: of their heads.
        width: channels.
    """

    def __init__(self, nets: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(nets * FEATURES, width), nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.head = nn.Conv2d(width, classes * BOX_CHANNELS, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    @classmethod
    def of_state(cls, state: dict[str, Tensor], nets: int, classes: int) -> "Outlines":
        """Those whose weights these are.

        Raises:
            RuntimeError, KeyError: weights of something else.
        """
        out = cls(nets, classes, state["head.weight"].shape[1])
        out.load_state_dict(state)
        return out

    def forward(self, maps: Tensor) -> Tensor:
        """(N, nets * FEATURES, h, w) -> (N, 6 * classes, h, w), to be added to the box channels."""
        out: Tensor = self.head(self.body(maps))
        return out


class Ensemble(nn.Module):
    """Networks of the same classes whose maps are averaged: logits, boxes, subtypes; and what is known of their boxes besides.

    Nets that learned from other renders err in other places; what they agree on is more often so.
    """

    def __init__(self, nets: Sequence[YardNet], outlines: Outlines | None = None) -> None:
        super().__init__()
        self.nets, self.outlines, self.classes = nn.ModuleList(nets), outlines, nets[0].classes

    def forward(self, x_N3HW: Tensor) -> Tensor:
        """As `YardNet.forward`."""
        maps: list[Tensor] = [net.features(x_N3HW) for net in self.nets]  # type: ignore[operator] # it forgets what it holds
        heads: list[Tensor] = [net.head(seen) for net, seen in zip(self.nets, maps, strict=True)]  # type: ignore[operator]
        told = reduce(torch.add, heads) / len(heads)
        if self.outlines is None:
            return told
        heat, end = self.classes, self.classes * (1 + BOX_CHANNELS)
        boxes = told[:, heat:end] + self.outlines(torch.cat(maps, 1))
        return torch.cat([told[:, :heat], boxes, told[:, end:]], 1)
