"""Whether the structure inside an outline of one look recurs in another: what stands in both looks under one light is drawn alike.

Gradients of log brightness are compared, so that gain and offset of the two looks cancel. Where they recur, the same body stands in
both looks, whatever the detector says of either; where they do not, another light may have drawn the same body anew.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.strips import strip
from pipeline.imagery.scene import Tile

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

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
LEAST_PAIRS = 5
"""Fewer bodies that stayed do not tell whether two looks are lit alike."""
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


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What the structure of two looks says of bodies whose boxes lie in one frame.

    Attributes:
        looks: the earlier and the later look; None where structure is not known, which then speaks neither for nor against.
        drift: (2,) where the later look shows a body less where the frame has it, pixels.
        gsd_m: metres per pixel.
    """

    looks: tuple[Structure, Structure] | None
    drift: F64
    gsd_m: float

    def at(self, side: int, box: F64, shift: F64 | None = None) -> tuple[float, float]:
        """`recurs` for a body of one side in the look of the other, where it stands or after a `shift` (2,)."""
        if self.looks is None:
            return 0.0, 0.0
        towards = self.drift if side == 0 else -self.drift
        step = towards if shift is None else towards + shift
        return recurs(self.looks[side], self._shown(side, box), self.looks[1 - side], step, self.gsd_m)

    def stands(self, side: int, box: F64, least: float) -> bool:
        """Whether the other look shows a body of one side at its place, by a correlation of at least so much."""
        place, beside = self.at(side, box)
        return place >= least and place - beside >= OWN

    def blank(self, side: int, box: F64) -> bool:
        """Whether the other look shows cloud at the place of a body of one side."""
        return self.looks is not None and self.looks[1 - side].blank(self._shown(1 - side, box))

    def rolled(self, before: F64, after: F64) -> bool:
        """Whether bodies (K, 5) look more like what stands at their new places (K, 5) than like what stands at the old ones."""
        gain = [self.at(0, b, a[:2] - b[:2])[0] - self.at(0, b)[0] for b, a in zip(before, after, strict=True)]
        return self.looks is None or bool(np.median(gain) > 0)

    def one_light(self, before: F64, after: F64) -> bool:
        """Whether structure recurs as it does in one light: in half of the bodies that stayed, (K, 5) in either look.

        It is taken to where too few stayed.
        """
        alike = [self.at(0, b, a[:2] - b[:2])[0] for b, a in zip(before, after, strict=True)]
        return len(alike) < LEAST_PAIRS or float(np.median(alike)) >= STILL_THERE

    def same_hull(self, before: F64, after: F64) -> float:
        """How alike two hulls (5,) are, -1..1; 1 where nothing speaks against their being one."""
        alike = None if self.looks is None else same_hull(self.looks, (before, self._shown(1, after)), self.gsd_m)
        return 1.0 if alike is None else alike

    def _shown(self, side: int, box: F64) -> F64:
        """A box of the frame where the look of one side shows it."""
        moved = box.copy()
        moved[:2] += self.drift * side
        return moved


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
