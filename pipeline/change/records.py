"""What the change room hands on: `Alignment`, `ChangeMap`, `ObjectChanges`."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Grid


class Kind(IntEnum):
    """What became of an object between two looks."""

    APPEARED = 0
    DEPARTED = 1
    MOVED = 2
    PERSISTED = 3
    UNOBSERVABLE = 4
    UNCERTAIN = 5  # seen in one look only, or in both and perhaps not the same; the evidence does not carry a change


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the after image lies on the before image, and whether that may be used.

    Attributes:
        matrix: (2, 3) float64, maps nominal pixel x, y of *after* to pixel x, y of *before* on the common grid.
        dx_px: shift along x at the centre of the overlap, pixels of the common grid; x_before = x_after + dx.
        dy_px: shift along y, pixels.
        residual_px: median residual of the tie points that were kept, pixels.
        reliability: 0..1.
        applied: False when the gate refused the fit; `matrix` is then the nominal one.
        reason: why it was refused, or how it was found.
        tie_points: number of tie points kept.
        in_place: not applied because the looks lie right as they are.
    """

    matrix: NDArray[np.float64]
    dx_px: float
    dy_px: float
    residual_px: float
    reliability: float
    applied: bool
    reason: str
    tie_points: int = 0
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class ChangeMap:
    """Pixel change on the before image's grid.

    Attributes:
        score: (H, W) float32, in the unit that `null` names.
        changed: (H, W) bool, score beyond the threshold, minimum mapping unit applied; False where not valid.
        valid: (H, W) bool, observed in both looks.
        grid: grid of the arrays.
        threshold: score above which a pixel is changed.
        null: distribution of the score under no change, in words.
    """

    score: NDArray[np.float32]
    changed: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    grid: Grid
    threshold: float
    null: str


@dataclass(frozen=True, slots=True)
class ObjectChanges:
    """Fate of every object of two looks; each before and each after object stands in exactly one row.

    A persisted object may have one index only: the other look shows it, but too weakly to count there.

    Attributes:
        kind: (M,) uint8, `Kind`.
        before: (M,) int64, index into the detections of the first look, -1 where there is none.
        after: (M,) int64, index into the detections of the second look, -1 where there is none.
        moved_m: (M,) float64, distance in metres, 0 where there is no pair.
        classes: (M,) uint8, class index.
        reason: (M,) tuple of str, why an object is unobservable or uncertain, or what shows that it persisted; empty otherwise.
    """

    kind: NDArray[np.uint8]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    moved_m: NDArray[np.float64]
    classes: NDArray[np.uint8]
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kind)
