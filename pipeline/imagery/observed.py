"""What of the ground a scene shows: the mask from which every exposure comes."""

import math
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

    def shown_on(self, shape: tuple[int, int], to_scene: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which pixels of another grid have their centre on ground that was observed.

        Args:
            shape: (H, W) of that grid.
            to_scene: (2, 3), its pixels to scene pixels.
        """
        out = np.empty(shape, np.bool_)
        x = np.arange(shape[1]) + 0.5
        for top in range(0, shape[0], _STRIP):  # points take thirty times the room of the answer
            y = np.arange(top, min(top + _STRIP, shape[0])) + 0.5
            points = x[None, :, None] * to_scene[:, 0] + y[:, None, None] * to_scene[:, 1] + to_scene[:, 2]
            out[top : top + _STRIP] = (self.seen_at(points.reshape(-1, 2)) == Unseen.OBSERVED).reshape(len(y), -1)
        return out


REASONS = {
    Unseen.NO_DATA: "outside the swath",
    Unseen.CLOUD: "cloud",
    Unseen.SHADOW: "cloud shadow",
    Unseen.MASKED: "masked",
}
"""Words for each reason, as they stand in tables and on overlays."""


_STRIP = 64  # rows
_MOST_POINTS = 1_000_000  # of a lattice: an outline may be far larger than the scene


def exposure(observed: Observed, outline: BaseGeometry) -> tuple[float, str]:
    """Observable fraction of an outline in scene pixels, and what hides most of the rest.

    The outline is sampled on a lattice no coarser than the observation grid, 4 000 points or more inside it (+-0.5 %); ground
    outside the scene counts as not observed.

    Returns:
        fraction 0..1, and words such as ``cloud 83 %``, empty when all is seen.
    """
    points = _lattice(outline, observed.factor)
    points = points[contains_xy(outline, points[:, 0], points[:, 1])]
    if len(points) == 0:
        points = np.array([[outline.centroid.x, outline.centroid.y]])
    states = observed.seen_at(points)
    share = float((states == Unseen.OBSERVED).mean())
    hidden = {reason: float((states == reason).mean()) for reason in REASONS}
    worst = max(hidden, key=lambda reason: hidden[reason])
    words = f"{REASONS[worst]} {100 * hidden[worst]:.0f} %" if hidden[worst] > 0 else ""
    return share, words


def _lattice(outline: BaseGeometry, step: float) -> NDArray[np.float64]:
    """(N, 2) cell centres over the bounds of an outline, at most `step` apart unless that were too many."""
    x0, y0, x1, y1 = outline.bounds
    step = min(step, max((outline.area / 4000) ** 0.5, 1e-6))
    columns, rows = max(1, math.ceil((x1 - x0) / step)), max(1, math.ceil((y1 - y0) / step))
    if columns * rows > _MOST_POINTS:
        shrink = (columns * rows / _MOST_POINTS) ** 0.5
        columns, rows = min(max(1, int(columns / shrink)), _MOST_POINTS), min(max(1, int(rows / shrink)), _MOST_POINTS)
    xs = x0 + (np.arange(columns) + 0.5) * (x1 - x0) / columns
    ys = y0 + (np.arange(rows) + 0.5) * (y1 - y0) / rows
    grid = np.meshgrid(xs, ys)
    return np.stack([grid[0].ravel(), grid[1].ravel()], axis=1)
