"""Whether an object that one look is sure of is missing in the other, or only missed, or never was there: boxes and structure.

A detector that finds nine of ten objects misses one of ten in either look, and one of ten of its boxes lies on something else:
subtracting its answers reports a third of a yard as changed. What tells an event from an error of the detector:

1. how sure the one look is: most false boxes score just above the threshold, since it stands where right and wrong come even;
2. how strongly the other look answers there: a box that does not count, down to a third of the threshold
   (`pipeline.detection.scene.WEAK_SHARE`), or one that stands for nothing else;
3. whether boxes of the other look cover the place, whatever their size and heading;
4. how often that look misses what stands, by the share of objects that it shows only just (below `POOR` of the threshold): as many
   lie below a third of it as between one and two.

`chance_of_change` weighs the four. Of cars and what stands on them, in looks of 0.85 m or finer, a network that sees the pixels of
both is asked instead (`models.presence`), also where the other look has a box that scores low. Where the chance is low, the
gradients inside an outline tell what stayed from what stays open: they recur where the same body stands in both looks (gain and offset
of the two looks cancel).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.strips import strip
from pipeline.imagery.scene import Tile

F32 = NDArray[np.float32]
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
STILL_THERE = 0.7
"""Correlation of the gradients inside an outline from which the same body stands there: half of its structure is explained."""
SAME_LIGHT = 0.85
"""Likewise of a car that `models.presence` calls gone: it learned from looks under two suns, and where the light is the same the
structure of a car that stands recurs whole (median 1.0 in two tones of one real yard)."""
OWN = 0.15
"""By how much that correlation must exceed the one found a third of a length further along: rails and edges of roads correlate with
a body's sides anywhere along them, and prove nothing."""
SLACK_M = 1.0
"""How far the structure is looked for around its place: box error and what is left of parallax."""
MARGIN_M = 0.4
"""Ground beside a body that belongs to its structure: its edges."""
OTHER_HULL = 0.45
"""Correlation below which two hulls of like length and heading are two; outlines alone give about half. Read by eye at 3 m
(``fixtures/labels/hulls``), eleven that stayed have 0.81 to 0.98 and seven followed by another 0.20 to 0.72, one of them above 0.54."""
HULL_GSD_M = 2.0
"""In finer looks the gradients are those of deck cargo, which changes while the hull stays."""
HULL_SLACK_M = 6.0
"""What the ends of a hull's box leave of its place: two pixels at 3 m."""
HULL_TURN = np.radians(10.0)
"""A hull that turned more shows other sides lit."""
SEEN = 0.5
"""Least share of an outline that both looks must show for its structure to say anything: half of a body is enough to know it by."""
WHITE, BLANK = 0.75, 0.5
"""Brighter than this share of the display range and with less than this share of the look's usual texture, an outline shows cloud
that the mask missed, not ground."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What an aligned look shows of structure.

    Attributes:
        pixels: (H, W, 3) float32.
        gradient: (H, W, 2) float32, x and y derivative of log brightness.
        brightness: (H, W) float32.
        valid: (H, W) bool.
        texture: median gradient magnitude of the valid ground.
    """

    pixels: F32
    gradient: F32
    brightness: F32
    valid: NDArray[np.bool_]
    texture: float

    @classmethod
    def of(cls, tile: Tile) -> "Structure":
        """Gradients of one look; those at the edge of the mask are noise of the mask and count as none."""
        brightness = tile.pixels.mean(axis=0)
        smooth = cv2.GaussianBlur(np.log(brightness + np.float32(0.05)), (0, 0), 0.8)
        inner = cv2.erode(tile.valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        gx, gy = (cv2.Scharr(smooth, cv2.CV_32F, *d) * inner for d in ((1, 0), (0, 1)))
        size = np.hypot(gx, gy)
        texture = float(np.median(size[inner])) if inner.any() else 0.0
        pixels, gradient = (np.ascontiguousarray(a, np.float32) for a in (tile.pixels.transpose(1, 2, 0), np.dstack([gx, gy])))
        return cls(pixels, gradient, np.asarray(brightness, np.float32), inner, texture)

    def shown(self, box: F64) -> float:
        """Share of an outline whose structure the look shows; ground beyond the grid is not shown."""
        return float(_cut(self.valid.view(np.uint8), box, 0, (0, 0)).mean())

    def blank(self, box: F64) -> bool:
        """Whether an outline shows something white without structure: cloud."""
        inside = _cut(self.brightness, box, 0, (0, 0))
        gradient = _cut(self.gradient, box, 0, (0, 0))
        size = np.hypot(gradient[..., 0], gradient[..., 1])
        return bool(np.median(inside) > WHITE and np.median(size) <= BLANK * self.texture)


def recurs(there: Structure, box: F64, here: Structure, shift: F64, gsd_m: float, slack_m: float = SLACK_M) -> tuple[float, float]:
    """How well the structure inside a box of one look recurs in the other, -1..1: at its place, and beside it along its axis.

    Args:
        there: the look that is sure of the object.
        box: (5,) its box, pixels.
        here: the other look, same grid.
        shift: (2,) where the object would stand in the other look, less where it stands in its own: parallax, pixels.
        gsd_m: metres per pixel.
        slack_m: how far around its place the structure is looked for.

    Returns:
        the highest correlation within the slack, and the highest one third to one half of a length further along; zeros where either
        look shows less than `SEEN` of the outline.
    """
    margin, slack, beside = MARGIN_M / gsd_m, max(1, round(slack_m / gsd_m)), int(np.ceil(box[2] / 2))
    moved = box.copy()
    moved[:2] += shift
    if min(there.shown(box), here.shown(moved)) < SEEN:
        return 0.0, 0.0
    # both cuts are turned alike, so that x and y derivatives of the image still compare
    template, around = _cut(there.gradient, box, margin, (0, 0)), _cut(here.gradient, moved, margin, (beside + slack, slack))
    if min(template.std(), around.std()) < 1e-6:
        return 0.0, 0.0
    along = cv2.matchTemplate(around, template, cv2.TM_CCOEFF_NORMED).max(axis=0)
    distance = np.abs(np.arange(len(along)) - beside - slack)
    return float(along[distance <= slack].max()), float(along[distance >= max(slack + 1, box[2] / 3)].max(initial=-1.0))


def same_hull(looks: tuple[Structure, Structure], hulls: tuple[F64, F64], gsd_m: float) -> float | None:
    """How alike two hulls of one heading are, -1..1; None where they cannot be compared: turned, hidden, or too finely seen.

    Args:
        looks: what the two looks show.
        hulls: (5,) box in each, pixels.
        gsd_m: metres per pixel.
    """
    (one, two), turn = hulls, np.abs((hulls[1][4] - hulls[0][4] + np.pi / 2) % np.pi - np.pi / 2)
    if gsd_m < HULL_GSD_M or turn > HULL_TURN or min(look.shown(box) for look, box in zip(looks, hulls, strict=True)) < SEEN:
        return None
    step, none = two[:2] - one[:2], np.zeros(2)
    tries = [recurs(looks[0], one, looks[1], shift, gsd_m, HULL_SLACK_M)[0] for shift in (none, step)]
    tries += [recurs(looks[1], two, looks[0], shift, gsd_m, HULL_SLACK_M)[0] for shift in (none, -step)]
    return max(tries)


def _cut(image: F32 | NDArray[np.uint8], box: F64, margin: float, slack: tuple[int, int]) -> F32:
    """Pixels along and across a box, grown by a margin and by `slack` whole pixels along and across on each side."""
    columns, rows = (max(3, round(side + 2 * margin)) + 2 * more for side, more in zip(box[2:4], slack, strict=True))
    return strip(image, box, np.arange(columns) - (columns - 1) / 2, np.arange(rows) - (rows - 1) / 2)


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
