"""Counting cars with what a yard knows: they stand coupled on tracks, and tracks keep their distance.

A detector takes the shadow beside a grey car for another car, and is unsure of one car in a string whose neighbours are plain. Both
are settled by dimensions: two bodies abreast are at least a track spacing apart, and a body that fills the gap between coupled
neighbours is a car. Nothing is added where the network saw nothing: a filled place is a box that it proposed below the threshold.

Containers have no such rule. On validation renders a lattice rule with the same shape filled blocks with boxes of the wrong length
(precision 0.80 to 0.73, recall 0.89 to 0.89), so it is not here.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.detector import CLASSES, Detections, Detector

FLOOR = 0.8
"""Of the shipped threshold: how weak a proposal may be and still fill a gap. Best F1 on 156 validation renders; at half the threshold a
network sees a car in the gap where one left, and in the shadow before the first (precision 0.90 for 0.93, recall 0.95 for 0.95)."""
ABREAST_M = 3.7
"""Least distance between the axes of cars side by side: track spacing of 4.5 m (METHOD 4.2) less a box error of 0.8 m."""
ASIDE_M = 1.0
"""Greatest lateral offset between coupled cars."""
GAP_M = (-0.8, 2.7)
"""Free length between coupled bodies: 0.8-1.9 m (METHOD 4.2), with a box error of 0.8 m and more each way."""
ALIGNED = np.radians(7.0)
"""Coupled cars agree in heading within this (a curve of 190 m radius turns a 20 m car by 6 deg)."""
SHADOWED = np.radians(12.0)
"""A body and the box on its shadow agree in heading within this."""
PROPOSED = 0.05
"""Score from which a proposal takes part in a ranking; average precision is defined over the whole curve."""
OVERLAP = 0.3
"""Of the shorter body: bodies beside each other over more than this compete for the ground."""


def detect(head: Detector, pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> Detections:
    """One window as it counts: the head's proposals at its working GSD, chosen by `coupled`."""
    return propose(head, pixels, valid)[0]


def propose(head: Detector, pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[Detections, Detections]:
    """What `detect` gives, and every proposal down to `PROPOSED`."""
    proposals = head.detect(pixels, valid, dict.fromkeys(head.classes, PROPOSED))
    return proposals.take(coupled(proposals, head.thresholds, head.gsd.working_m)), proposals


def coupled(found: Detections, thresholds: Mapping[str, float], gsd_m: float) -> NDArray[np.bool_]:
    """Which boxes count.

    Args:
        found: proposals, those below the threshold included, in any pixel frame.
        thresholds: score from which a box counts, by class name.
        gsd_m: metres per pixel of the frame.

    Returns:
        (N,) for railcars: at or above the threshold and no better body on its ground, or down to `FLOOR` of it, coupled to a car that
        counts, on free ground. For other classes: at or above the threshold.
    """
    limit = np.array([thresholds.get(name, 0.0) for name in CLASSES], np.float32)[found.classes]
    counts = found.scores >= limit
    cars = np.flatnonzero((found.classes == CLASSES.index("railcar")) & (found.scores >= FLOOR * limit))
    if len(cars):
        counts[cars] = _choose(found.boxes[cars] * (gsd_m, gsd_m, gsd_m, gsd_m, 1.0), counts[cars])
    return counts


def _choose(boxes: NDArray[np.float64], sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Greedy choice; `boxes` (N, 5) in metres, best first."""
    rivals, partners = _relations(boxes)
    kept = np.zeros(len(boxes), np.bool_)
    for i in np.flatnonzero(sure).tolist():
        kept[i] = not kept[rivals[i]].any()
    waiting = np.flatnonzero(~sure).tolist()
    while True:
        joined = []
        for i in waiting:
            if kept[partners[i]].any() and not kept[rivals[i]].any():
                kept[i] = True
                joined.append(i)
        if not joined:
            return kept
        waiting = [i for i in waiting if i not in joined]


def _relations(boxes: NDArray[np.float64]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Per box: which others compete for its ground, and which are coupled to it."""
    reach = boxes + np.array([0, 0, 2 * GAP_M[1], 2 * ABREAST_M, 0])
    i, j = ob.candidate_pairs(reach, reach)
    i, j = i[i != j], j[i != j]
    turn, gap, across = ob.relative(boxes, i, j)
    rival = (turn < SHADOWED) & (-gap > OVERLAP * np.minimum(boxes[i, 2], boxes[j, 2])) & (across < ABREAST_M)
    partner = (turn < ALIGNED) & (across < ASIDE_M) & (gap > GAP_M[0]) & (gap < GAP_M[1])
    return _by_box(i[rival], j[rival], len(boxes)), _by_box(i[partner], j[partner], len(boxes))


def _by_box(i: NDArray[np.int64], j: NDArray[np.int64], n: int) -> list[NDArray[np.int64]]:
    return np.split(j, np.searchsorted(i, np.arange(1, n)))
