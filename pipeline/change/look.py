"""The objects of one look on the common grid, and what the other look shows where they stand."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models import CLASSES, Detections
from models import boxes as ob
from pipeline.imagery.observed import Observed, Unseen

F64 = NDArray[np.float64]

EDGE_M = 2.0
"""An object so near to ground that was not observed may be hidden by parallax or by the rim of a mask (its cells are 2 m)."""
SURE = 3.0
"""Thresholds high: as sure as a detector is of anything."""


@dataclass(frozen=True, slots=True)
class Look:
    """Objects of one look on the common grid.

    Attributes:
        boxes: (N, 5) float64 in common-grid pixels.
        classes: (N,) uint8.
        seen_by_other: (N,) uint8, `Unseen` code of the other look at the object's place.
        strength: (N,) score as a multiple of the class's threshold; `SURE` where none is given.
    """

    boxes: F64
    classes: NDArray[np.uint8]
    seen_by_other: NDArray[np.uint8]
    strength: F64 = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if len(self.strength) != len(self.boxes):
            object.__setattr__(self, "strength", np.full(len(self.boxes), SURE))


def look(
    detections: Detections,
    to_common: F64,
    other: Observed,
    to_other: F64,
    thresholds: Mapping[str, float] | None = None,
    gsd_m: float = 1.0,
) -> Look:
    """Put the detections of a scene on the common grid.

    Args:
        detections: boxes in scene pixels.
        to_common: (2, 3), scene pixels to common-grid pixels.
        other: observation state of the other look.
        to_other: (2, 3), common-grid pixels to scene pixels of the other look.
        thresholds: score by class name from which a box counts; a class without one was labelled, not detected.
        gsd_m: metres per scene pixel.
    """
    boxes = mapped(detections.boxes, to_common)
    scale = size_of(to_common)
    grown = boxes + np.array([0, 0, 1, 1, 0]) * 2 * EDGE_M * scale / gsd_m
    states = np.stack([other.seen_at(p @ to_other[:, :2].T + to_other[:, 2]) for p in _probes(grown)])
    worst = np.where(states[0] != Unseen.OBSERVED, states[0], states.max(axis=0))
    return Look(boxes, detections.classes, worst.astype(np.uint8), strength_of(detections, thresholds or {}))


def strength_of(detections: Detections, thresholds: Mapping[str, float]) -> F64:
    """(N,) score as a multiple of the class's threshold; `SURE` times the score where none is given."""
    limits = np.array([max(thresholds.get(name, 1 / SURE), 1e-6) for name in CLASSES])
    return np.asarray(detections.scores / limits[detections.classes], np.float64)


def size_of(affine: F64) -> float:
    """How many times longer an affine (2, 3) makes what it maps."""
    return float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))


def mapped(boxes: F64, affine: F64) -> F64:
    """(N, 5) boxes as an affine (2, 3) that keeps angles lays them."""
    out = boxes.copy()
    out[:, :2] = out[:, :2] @ affine[:, :2].T + affine[:, 2]
    out[:, 2:4] *= size_of(affine)
    turns = np.sign(np.linalg.det(affine[:, :2]))  # a grid that runs south to north is a mirror image
    out[:, 4] = turns * out[:, 4] + np.arctan2(affine[1, 0], affine[0, 0])
    return ob.canonical(out)


def _probes(boxes: F64) -> list[F64]:
    """Centre, corners and middles of the sides: an object of which a part was hidden cannot be said to be gone."""
    ring = ob.corners(boxes)
    return [boxes[:, :2], *(ring[:, k] for k in range(4)), *((ring[:, k] + ring[:, k - 1]) / 2 for k in range(4))]
