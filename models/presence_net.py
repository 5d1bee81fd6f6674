"""The network of `models.presence`, and the detector's features that it sees.

The networks of the yard head learned what makes a body from hundreds of thousands of renders and real pictures, in every light. Their
last feature maps of a window, before the head turns them into boxes, still hold what a threshold and the suppression of neighbours
throw away; so a small network that compares those of two looks has little left to learn from the few yards that are seen twice.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models.card import find, find_presence
from models.network import FEATURES, OUT_STRIDE, STRIDE, YardNet
from models.presence import ACROSS, ALONG
from models.runtime import read_nets

HEAD = "yard-7"
"""The head whose features the shipped network learned from, under the name `yard-6`; those of other networks mean something else."""

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
        """(K, 10, 32, 96) of `models.presence.normalised` and (K, 2, maps, 8, 24) of `Eyes.see` -> (K,)."""
        number, cells = len(windows), functional.pixel_unshuffle(windows, CELL)
        pictures, rest = cells[:, : 6 * CELL**2], cells[:, 6 * CELL**2 :]
        shown = self.pixels(pictures.reshape(2 * number, -1, *cells.shape[2:]))
        seen = self.seen(self.scale(features.float().flatten(0, 1)))  # the own look of each before the other
        own, other = seen[::2], seen[1::2]
        out: Tensor = self.compare(torch.cat([own, other, (own - other).abs(), shown[::2], shown[1::2], rest], 1))
        return out[:, 0]


def _conv(inside: int, outside: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside), nn.ReLU()


@dataclass(frozen=True, slots=True)
class Eyes:
    """What sees a window: the networks of the yard head, in evaluation mode, and the index of railcars among its classes."""

    nets: tuple[YardNet, ...]
    railcar: int

    @classmethod
    def read(cls) -> "Eyes":
        """Those of `HEAD`.

        Raises:
            ModelError: the head does not ship, or its weights are not those of its card.
        """
        (card,) = find(HEAD)
        return cls(tuple(net.eval() for net in read_nets(card)), card.classes.index("railcar"))

    def see(self, windows: NDArray[np.uint8]) -> Tensor:
        """Last feature maps, and the logit of railcars, of each network for either picture of some windows.

        Args:
            windows: (K, 9, 32, 96) of `models.presence.cut`.

        Returns:
            (K, 2, maps, 8, 24) float32.
        """
        pictures = torch.from_numpy(windows[:, :6].reshape(-1, 3, *windows.shape[2:]).astype(np.float32) / 255)
        height, width = (round(side * FINER) for side in pictures.shape[2:])
        up, left = (-height % STRIDE) // 2, (-width % STRIDE) // 2
        fine = functional.interpolate(pictures, size=(height, width), mode="bilinear", align_corners=False)
        padded = functional.pad(fine, (left, -width % STRIDE - left, up, -height % STRIDE - up), mode="replicate")
        rows, columns = (slice(off // OUT_STRIDE, -(-(off + side) // OUT_STRIDE)) for off, side in ((up, height), (left, width)))
        with torch.inference_mode():
            x, seen = padded.contiguous(memory_format=torch.channels_last), []
            for net in self.nets:
                maps = net.features(x)
                maps = torch.cat([maps, net.head(maps)[:, self.railcar : self.railcar + 1]], 1)[:, :, rows, columns]
                seen.append(functional.interpolate(maps, size=pictures.shape[2:], mode="bilinear", align_corners=False))
            both = functional.avg_pool2d(torch.cat(seen, 1), CELL)
            return both.reshape(len(windows), 2, *both.shape[1:])


@cache
def shipped() -> tuple[PresenceNet, Eyes]:
    """The network that ships, and what it sees by.

    Raises:
        ModelError: weights are missing, or not those of their card.
    """
    card, eyes = find_presence(), Eyes.read()
    card.verify()
    net = PresenceNet(len(eyes.nets))
    net.load_state_dict(load_file(card.weights))
    return net.eval(), eyes
