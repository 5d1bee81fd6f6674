"""The network of `models.presence`, and the detector's features that it sees.

The networks of the yard head learned what makes a body from hundreds of thousands of renders and real pictures, in every light. Their
last feature maps of a window, before the head turns them into boxes, still hold what a threshold and the suppression of neighbours
throw away; so a small network that compares those of two looks has little left to learn from the few yards that are seen twice.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.network import FEATURES, STRIDE, YardNet
from models.presence import ACROSS, ALONG

CELL = 4
"""Samples of a window per cell of what is compared."""
FINER = 4 / 3
"""A window's samples are this much coarser than the working GSD of the yard head."""
DROPPED_MAPS, DROPPED = 0.1, 0.3


class PresenceNet(nn.Module):
    """What two looks show of a body, to the log-odds that it stands in the first alone.

    Args:
        nets: number of networks whose features are seen.
        width: channels of the comparison.
    """

    def __init__(self, nets: int = 2, width: int = 64) -> None:
        super().__init__()
        maps, few, fewer = nets * (FEATURES + 1), 32, 16
        self.scale = nn.BatchNorm2d(maps, affine=False)
        self.seen = nn.Sequential(nn.Dropout2d(DROPPED_MAPS), *_conv(maps, few, 1))
        self.pixels = nn.Sequential(*_conv(3 * CELL**2, fewer, 1))
        cells = ALONG * ACROSS // (2 * CELL) ** 2
        self.compare = nn.Sequential(
            *_conv(3 * few + 2 * fewer + 4 * CELL**2, width, 3), *_conv(width, width, 3, 2), *_conv(width, width, 3),
            nn.Conv2d(width, 16, 1), nn.ReLU(), nn.Flatten(),
            nn.Dropout(DROPPED), nn.Linear(16 * cells, 64), nn.ReLU(), nn.Linear(64, 1),
        )  # fmt: skip

    def forward(self, windows: Tensor, features: Tensor) -> Tensor:
        """(K, 10, 32, 96) of `models.presence.normalised` and (K, 2, maps, 8, 24) of `features_of` -> (K,)."""
        number, cells = len(windows), functional.pixel_unshuffle(windows, CELL)
        pictures, rest = cells[:, : 6 * CELL**2], cells[:, 6 * CELL**2 :]
        shown = self.pixels(pictures.reshape(2 * number, -1, *cells.shape[2:]))
        seen = self.seen(self.scale(features.float().flatten(0, 1)))  # the own look of each before the other
        own, other = seen[::2], seen[1::2]
        out: Tensor = self.compare(torch.cat([own, other, (own - other).abs(), shown[::2], shown[1::2], rest], 1))
        return out[:, 0]


def _conv(inside: int, outside: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside), nn.ReLU()


def features_of(nets: Sequence[YardNet], windows: NDArray[np.uint8], cls: int) -> Tensor:
    """Last feature maps of some networks and what they say of one class, of windows of `models.presence.cut`.

    Args:
        nets: networks of the yard head, in evaluation mode.
        windows: (K, 9, 32, 96), of which the first six channels are the two pictures.
        cls: index of the class among those of the head.

    Returns:
        (K, 2, maps, 8, 24) float32, of either picture the maps of each network and its logit.
    """
    pictures = torch.from_numpy(windows[:, :6].reshape(-1, 3, *windows.shape[2:]).astype(np.float32) / 255)
    height, width = (round(side * FINER) for side in pictures.shape[2:])
    up, left = (-height % STRIDE) // 2, (-width % STRIDE) // 2
    fine = functional.interpolate(pictures, size=(height, width), mode="bilinear", align_corners=False)
    padded = functional.pad(fine, (left, -width % STRIDE - left, up, -height % STRIDE - up), mode="replicate")
    with torch.inference_mode():
        x, seen = padded.contiguous(memory_format=torch.channels_last), []
        for net in nets:
            maps = net.features(x)
            maps = torch.cat([maps, net.head(maps)[:, cls : cls + 1]], 1)
            maps = maps[:, :, up // 2 : (up + height + 1) // 2, left // 2 : (left + width + 1) // 2]
            same = functional.interpolate(maps, size=pictures.shape[2:], mode="bilinear", align_corners=False)
            seen.append(functional.avg_pool2d(same, CELL))
        both = torch.cat(seen, 1)
        return both.reshape(len(windows), 2, *both.shape[1:])
