"""What of the ground a scene shows: the mask from which every exposure comes."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from shapely import contains_xy
from shapely.geometry.base import BaseGeometry

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


REASONS = {
    Unseen.NO_DATA: "outside the swath",
    Unseen.CLOUD: "cloud",
    Unseen.SHADOW: "cloud shadow",
    Unseen.MASKED: "masked",
}
"""Words for each reason, as they stand in tables and on overlays."""


def exposure(observed: Observed, outline: BaseGeometry) -> tuple[float, str]:
    """Observable fraction of an outline in scene pixels, and what hides most of the rest.

    The outline is sampled on the observation grid, with 400 to a million points; ground outside the scene counts as not observed.

    Returns:
        fraction 0..1, and words such as ``cloud 83 %``, empty when all is seen.
    """
    x0, y0, x1, y1 = outline.bounds
    area = (x1 - x0) * (y1 - y0)
    step = min(observed.factor, max((area / 400) ** 0.5, 1e-6))
    step = max(step, (area / 1e6) ** 0.5, max(x1 - x0, y1 - y0) / 1e6)  # an outline may be far larger than the scene
    xs, ys = np.meshgrid(np.arange(x0 + step / 2, x1, step), np.arange(y0 + step / 2, y1, step))
    points = np.stack([xs.ravel(), ys.ravel()], axis=1)
    points = points[contains_xy(outline, points[:, 0], points[:, 1])]
    if len(points) == 0:
        points = np.array([[outline.centroid.x, outline.centroid.y]])
    states = observed.seen_at(points)
    share = float((states == Unseen.OBSERVED).mean())
    hidden = {reason: float((states == reason).mean()) for reason in REASONS}
    worst = max(hidden, key=lambda reason: hidden[reason])
    words = f"{REASONS[worst]} {100 * hidden[worst]:.0f} %" if hidden[worst] > 0 else ""
    return share, words
