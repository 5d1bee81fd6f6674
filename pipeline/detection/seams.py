"""Boxes of many tiles -> one set. Ownership decides; oriented IoU only breaks ties at the seams (DESIGN, law 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models import Detections
from models import boxes as ob
from pipeline.grid import Window

SEAM_IOU = 0.25
"""Two boxes of a class from different tiles that overlap more than this are one object, as they would be inside one tile."""
SEAM_PX = 1.0
"""A centre may move by rounding when a network sees another window; this far outside its core a tile keeps a box in reserve, so
that an object on a seam is not disowned by both sides."""


def near_core(boxes: Detections, core: Window) -> NDArray[np.bool_]:
    """(N,) whether each centre lies in the core or at most `SEAM_PX` outside it."""
    x, y = boxes.boxes[:, 0], boxes.boxes[:, 1]
    inside = (x >= core.x0 - SEAM_PX) & (x < core.x1 + SEAM_PX) & (y >= core.y0 - SEAM_PX) & (y < core.y1 + SEAM_PX)
    return np.asarray(inside)


def merge_tiles(owned: Sequence[Detections], reserve: Sequence[Detections]) -> Detections:
    """One set of boxes from tiles: what each owns, less doubles across seams, plus reserves that nobody owns.

    Args:
        owned: per tile, boxes whose centre lies in its core.
        reserve: per tile, boxes whose centre lies just outside it.
    """
    joined = _Tagged.of(owned)
    kept = joined.take(_first_of_each(joined))
    spare = _Tagged.of(reserve)
    owned_already, _ = _doubles(spare, kept)
    missing = np.ones(len(spare.boxes), np.bool_)
    missing[owned_already] = False
    spare = spare.take(missing)
    spare = spare.take(_first_of_each(spare))
    return Detections.concat([kept.boxes, spare.boxes])


@dataclass(frozen=True, slots=True)
class _Tagged:
    """Detections in the stable order, and the tile of each."""

    boxes: Detections
    tile: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Sequence[Detections]) -> Self:
        joined = Detections.concat(parts)
        tags = np.concatenate([np.full(len(p), n) for n, p in enumerate(parts)]) if parts else np.zeros(0)
        rows = np.concatenate([_columns(p) for p in parts]) if parts else np.zeros((0, 4))
        order = np.lexsort(rows.T)  # the order of `Detections.build`, so that tags follow their boxes
        return cls(joined, tags[order].astype(np.int64))

    def take(self, keep: NDArray[np.bool_]) -> Self:
        return type(self)(self.boxes.take(keep), self.tile[keep])


def _columns(found: Detections) -> NDArray[np.float64]:
    """(N, 4) sort keys of `Detections.build`, the last one first in rank."""
    return np.stack([found.classes, found.boxes[:, 0], found.boxes[:, 1], -found.scores.astype(np.float64)], axis=1)


def _doubles(a: _Tagged, b: _Tagged) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (i, j) of one class from different tiles that overlap by more than `SEAM_IOU`."""
    i, j = ob.candidate_pairs(a.boxes.boxes, b.boxes.boxes)
    apart = (a.tile[i] != b.tile[j]) & (a.boxes.classes[i] == b.boxes.classes[j])
    i, j = i[apart], j[apart]
    same = ob.iou_pairs(a.boxes.boxes[i], b.boxes.boxes[j]) > SEAM_IOU
    return i[same], j[same]


def _first_of_each(found: _Tagged) -> NDArray[np.bool_]:
    """Greedy choice in the stable order: a box goes when a better one from another tile is the same object."""
    keep = np.ones(len(found.boxes), np.bool_)
    for better, worse in zip(*_doubles(found, found), strict=True):
        if better < worse and keep[better]:
            keep[worse] = False
    return keep
