"""Whether an object that one look is sure of is missing in the other, or only missed, or never was there, by the boxes of both.

A detector that finds nine of ten objects misses one of ten in either look, and one of ten of its boxes lies on something else:
subtracting its answers reports a third of a yard as changed. What tells an event from an error of the detector:

1. how sure the one look is: most false boxes score just above the threshold, since it stands where right and wrong come even;
2. how strongly the other look answers there: a box that does not count, down to a third of the threshold
   (`pipeline.detection.scene.WEAK_SHARE`), or one that stands for nothing else;
3. whether boxes of the other look cover the place, whatever their size and heading;
4. how often that look misses what stands, by the share of objects that it shows only just (below `POOR` of the threshold): as many
   lie below a third of it as between one and two.

`chance_of_change` weighs the four. Of cars and what stands on them, in looks of 0.85 m or finer, a network that sees the pixels of
both is asked instead (`models.presence`), also where the other look has a box that scores low. Where the chance is low, structure
that recurs (`pipeline.change.recurrence`) tells what stayed from what stays open.
"""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

POOR = 2 / 3
"""Share of the threshold below which an answer is one that might as well have been missed."""
WEIGHTS = (2.61, -2.40, -1.00, -6.27)
"""Log-odds of a change for each threshold that the box is high, each that the answer is high, for ground that is covered, and for the
share of objects shown only just; by logistic regression on rendered yards: `tests/bench/fit_evidence.py`."""
BIAS = -3.88
"""Log-odds with nothing of these, of the same fit."""
COMMON = {"vessel": 2.6}
"""Log-odds to add where events are more common than in those yards, where they are one in five of the objects without a partner. Of
hulls that stay two days three in four have left by the next look, 2.7 days on (METHOD 3); with precision and recall of 0.85 (card)
that makes three in four of the hulls without a partner."""
MOST_OWN, MOST_ANSWER = 3.0, 1.5
"""Thresholds high: more than this says no more."""
CHANGED = 0.33
"""Chance from which a change is reported: half of the F1 that it gives on those yards, where F1 is highest (Lipton et al. 2014)."""
GONE = 0.4
"""Likewise, of chances that `models.presence` tells: half of its F1 on yards that taught it nothing, rendered or real, is 0.4."""
UNDOUBTED = 1.5
"""Thresholds high: an answer that is stronger is not doubted by pixels, since boxes on bare track score less."""


def chance_of_change(own: F64, answer: F64, covered: NDArray[np.bool_], missed: float, common: float = 0.0) -> F64:
    """Chance that objects which one look shows have come or gone, and are neither missed in the other look nor false.

    Args:
        own: (N,) how sure the look is, as a multiple of the threshold.
        answer: (N,) how strong the strongest answer of the other look is, likewise; 0 for none.
        covered: (N,) whether boxes of the other look cover half of the place.
        missed: share of what stands in both looks that the other look shows only just.
        common: log-odds to add, of `COMMON`.

    >>> chance_of_change(np.array([2.2, 2.2, 1.1]), np.array([0.0, 0.8, 0.0]), np.array([False, True, False]), 0.05).round(1).tolist()
    [0.8, 0.2, 0.2]
    """
    odds = columns(own, answer, covered, missed) @ WEIGHTS + BIAS + common
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def columns(own: F64, answer: F64, covered: NDArray[np.bool_], missed: float) -> F64:
    """(N, 4) what `WEIGHTS` weigh, for arguments of `chance_of_change`."""
    return np.column_stack([np.minimum(own, MOST_OWN), np.minimum(answer, MOST_ANSWER), covered, np.full(len(own), missed)])
