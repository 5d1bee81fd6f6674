"""What of the ground a scene shows: the mask from which every exposure comes."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Grid


class Unseen(IntEnum):
    """Why a pixel was not observed; 0 is observed."""

    OBSERVED = 0
    NO_DATA = 1
    CLOUD = 2
    SHADOW = 3
    MASKED = 4


@dataclass(frozen=True, slots=True)
class Observed:
    """Observation state of one scene at reduced resolution, over the whole scene.

    Attributes:
        state: (H, W) uint8, `Unseen` codes.
        grid: grid of `state`: the scene's footprint with larger pixels.
        factor: scene pixels per pixel of `state` along one side.
    """

    state: NDArray[np.uint8]
    grid: Grid
    factor: float

    def seen_at(self, xy: NDArray[np.float64]) -> NDArray[np.uint8]:
        """(N,) state at (N, 2) scene pixel coordinates; `Unseen.NO_DATA` outside the scene."""
        column, row = np.floor(xy / self.factor).astype(np.int64).T
        height, width = self.state.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        out = np.full(len(xy), Unseen.NO_DATA, np.uint8)
        out[inside] = self.state[row[inside], column[inside]]
        return out
