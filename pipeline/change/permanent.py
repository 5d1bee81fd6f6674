"""What stands at one place in every look of a site: masts, sheds, pieces of quay that a head takes for what it counts.

They are learned per site from persistence over its looks and kept out of its counts. The published filter of fixed infrastructure (of
SAR vessel maps) asks how often a place answers; here it must also never have been seen empty at either end, and be one body: of one
size, at one place to what registration leaves, of one paint. Cars of one string stop metres apart, boxes of one slot differ in paint,
and what came or went while the looks lasted is what is watched for. A block of boxes that is always full and a string that is stored
are all that as well, but they stand among their like, and a head is surer of them than of a shed: they stay in the counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models import CLASSES, Detections
from models import boxes as ob
from pipeline.change.look import mapped, size_of, strength_of
from pipeline.change.matching import ANSWER, near
from pipeline.change.records import Alignment
from pipeline.change.warping import inverse
from pipeline.detection.scene import SceneDetections
from pipeline.grid import Window
from pipeline.imagery.files import opened
from pipeline.imagery.observed import Observed, Unseen
from pipeline.imagery.scene import Scene
from pipeline.imagery.tiles import read_decimated, read_open
from pipeline.imagery.warp import common_grid, frame, pixel_map

F64 = NDArray[np.float64]
Classes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LOOKS, DAYS = 8, 90.0
"""Looks that show a place, and days from the first of them to the last, below which nothing is permanent: what is asked of a baseline
before it may say spike (METHOD 6), and several times what boxes stay on a quay."""
SHARE, HALF = 0.9, 0.5
"""Of those looks, in which something must have been found: a head misses one of ten; and in which a neighbour must."""
DOUBTED = 1.75
"""Mean strength from which a thing is what it is taken for, and stored: on three rendered yards of ten looks it keeps 496 of 517 boxes
of cars that stayed in the counts, without it 362, where neighbours are not asked for (``tests/bench/bench_permanent.py``)."""
SAME_PLACE, COMPANY = 0.1, 1.3
"""Lengths between the centres of two places: nearer than the first they are one; up to the second they are neighbours end to end, with
a coupling or a gap between them, or side by side."""
STEADY_M, STEADY_PX = 0.5, 0.4
"""Largest spread of its centre, metres and pixels of the looks: errors of box and registration; half a coupling is as much."""
SAME_SIZE = 0.12
"""Largest spread of its log length."""
SAME_PAINT = 0.25
"""Largest spread of the logarithm of its brightness in any band, over that of the look: suns leave a tenth, fleets differ by a half."""
INNER = 0.6
"""Share of the sides of a box within which its paint is read."""
DIM = 0.02
"""Reflectance added before a logarithm."""
ACROSS_PX = 512
"""Pixels of a look that tell its brightness."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One scene in the frame of its site: pixels of the scene in which the outlines were drawn.

    Attributes:
        time: of the scene.
        boxes: (N, 5) float64 of everything found, weak boxes too.
        classes: (N,) uint8.
        strength: (N,) score as a multiple of the class's threshold.
        sought: (C,) classes that a head looked for; where it did not, nothing found says nothing (law 1).
        px: site pixels per pixel of the scene.
        shows: (M, 5) boxes -> (M,) bool, whether the scene shows all of them.
        paint: (M, 5) boxes -> (M, 3) log brightness over that of the look.
    """

    time: datetime
    boxes: F64
    classes: Classes
    strength: F64
    sought: Classes
    px: float
    shows: Callable[[F64], Mask]
    paint: Callable[[F64], F64]

    def asked(self, boxes: F64, classes: Classes) -> Mask:
        """(M,) whether the scene would tell what stands at each box."""
        return np.asarray(self.shows(boxes) & np.isin(classes, self.sought))


@dataclass(frozen=True, slots=True)
class Permanent:
    """Something that stands there all the while.

    Attributes:
        box: (5,) in site pixels.
        cls: name of the class it is taken for.
        seen, shown: looks in which it was found, and that show its place.
    """

    box: F64
    cls: str
    seen: int
    shown: int


def find_permanent(sights: Sequence[Sight], gsd_m: float) -> list[Permanent]:
    """Learn what is permanent.

    Args:
        sights: the scenes of a site, in order of time.
        gsd_m: metres per site pixel.

    Returns:
        Each of them once, from top to bottom.
    """
    days = (sights[-1].time - sights[0].time).total_seconds() / 86400 if sights else 0.0
    if len(sights) < LOOKS or days < DAYS:
        return []
    places, classes = _places(sights)
    shown = np.stack([s.asked(places, classes) for s in sights])
    found = np.stack([_answer(places, classes, s.boxes, s.classes) for s in sights])
    seen = (found >= 0) & shown
    times, share = shown.sum(axis=0), seen.sum(axis=0) / np.maximum(shown.sum(axis=0), 1)
    lasting = np.flatnonzero((times >= LOOKS) & (share >= HALF))
    often = lasting[(share[lasting] >= SHARE) & ~_in_company(places[lasting], classes[lasting])]
    judged = (_judge([s for s, k in zip(sights, shown[:, j], strict=True) if k], found[shown[:, j], j], gsd_m) for j in often)
    once = {(p.cls, *p.box.tolist()): p for p in judged if p is not None}  # two boxes of one look may have the same answers
    return sorted(once.values(), key=lambda p: (p.box[1], p.box[0], p.cls))


def _judge(sights: Sequence[Sight], found: NDArray[np.int64], gsd_m: float) -> Permanent | None:
    """One place by the sights that show it and the box of each there, -1 for none."""
    days = (sights[-1].time - sights[0].time).total_seconds() / 86400
    if days < DAYS or min(found[:2].min(), found[-2:].min()) < 0:
        return None
    there = [(s, k) for s, k in zip(sights, found, strict=True) if k >= 0]
    strength = np.array([s.strength[k] for s, k in there])
    if strength.max() < 1 or strength.mean() >= DOUBTED:
        return None  # never counted, or believed
    boxes = np.array([s.boxes[k] for s, k in there])
    steady = STEADY_M / gsd_m + STEADY_PX * max(s.px for s, _ in there)
    if max(_spread(boxes[:, 0]), _spread(boxes[:, 1])) > steady or _spread(np.log(boxes[:, 2])) > SAME_SIZE:
        return None
    paint = np.concatenate([s.paint(s.boxes[[k]]) for s, k in there])
    if max(_spread(band) for band in paint.T) > SAME_PAINT:
        return None
    middle = boxes[np.argmin(np.hypot(*(boxes[:, :2] - np.median(boxes[:, :2], axis=0)).T))]
    return Permanent(middle, CLASSES[there[0][0].classes[there[0][1]]], len(there), len(sights))


def _in_company(places: F64, classes: Classes) -> Mask:
    """(M,) whether another place of its class lies beside each: a block of boxes that is never empty, a string that is stored."""
    i, j = near(places, places, COMPANY * places[:, 2].max(initial=0))
    apart = np.hypot(*(places[j, :2] - places[i, :2]).T) / places[i, 2]
    beside = (apart > SAME_PLACE) & (apart < COMPANY) & (classes[i] == classes[j])
    return np.isin(np.arange(len(places)), i[beside])


def _spread(values: F64) -> float:
    """Standard deviation: one odd look in ten must show."""
    return float(np.std(values))


def _places(sights: Sequence[Sight]) -> tuple[F64, Classes]:
    """Every box of the first sight that shows its place, and its class: what came later is not permanent."""
    out, classes = [], []
    for number, own in enumerate(sights):
        first = np.ones(len(own.boxes), np.bool_)
        for earlier in sights[:number]:
            if first.any():
                first[first] = ~earlier.asked(own.boxes[first], own.classes[first])
        out.append(own.boxes[first])
        classes.append(own.classes[first])
    return np.concatenate(out), np.concatenate(classes)


def _answer(places: F64, wanted: Classes, boxes: F64, classes: Classes) -> NDArray[np.int64]:
    """(M,) index of the box of its class that lies best on each place, -1 where none does."""
    best, out = np.full(len(places), ANSWER), np.full(len(places), -1)
    i, j = ob.candidate_pairs(places, boxes)
    overlap = ob.iou_pairs(places[i], boxes[j]) * (wanted[i] == classes[j])
    for k in np.argsort(overlap, kind="stable"):
        if overlap[k] > best[i[k]]:
            best[i[k]], out[i[k]] = overlap[k], j[k]
    return out


def without_permanent(found: Detections, permanent: Detections) -> Detections:
    """Detections of a scene less those that lie on permanent ones of their class, in the same pixels."""
    return found.take(_answer(found.boxes, found.classes, permanent.boxes, permanent.classes) < 0)


def site_map(scene: Scene, reference: Scene, alignment: Alignment) -> F64 | None:
    """(2, 3) affine from pixels of a scene to those of the site's frame, None where they share no ground."""
    if scene.id == reference.id:
        return np.eye(2, 3)
    grid = common_grid(reference, scene)
    if grid is None:
        return None
    steps = [pixel_map(frame(scene, reference), grid), pixel_map(grid, reference.grid)]
    if alignment.applied:
        steps.insert(1, alignment.matrix)
    whole = np.eye(3)
    for step in steps:
        whole = np.vstack([step, [0, 0, 1]]) @ whole
    return np.asarray(whole[:2])


def sight(scene: Scene, found: SceneDetections, observed: Observed, to_site: F64) -> Sight:
    """A scene as `find_permanent` asks for it; pixels are read only where it asks."""
    back = inverse(to_site)
    every = np.concatenate([found.detections.boxes, found.weak.boxes])
    classes = np.concatenate([found.detections.classes, found.weak.classes])
    level: list[F64] = []

    def shows(boxes: F64) -> Mask:
        own = mapped(boxes, back)
        points = np.concatenate([own[:, None, :2], ob.corners(own)], axis=1)
        return np.asarray((observed.seen_at(points.reshape(-1, 2)) == Unseen.OBSERVED).reshape(-1, 5).all(axis=1))

    def paint(boxes: F64) -> F64:
        if not level:
            level.append(_level(scene))
        with opened(scene.path) as source:
            inside = [_mean_inside(lambda w: read_open(source, scene, w).pixels, b) for b in mapped(boxes, back)]
        return np.log(np.array(inside) + DIM) - level[0]

    strength = np.concatenate([strength_of(d, found.thresholds) for d in (found.detections, found.weak)])
    sought = np.array([CLASSES.index(name) for name in found.thresholds], np.uint8)
    return Sight(scene.time, mapped(every, to_site), classes, strength, sought, size_of(to_site), shows, paint)


def _level(scene: Scene) -> F64:
    """(3,) log of the median brightness of a look."""
    tile = read_decimated(scene, max(1.0, max(scene.grid.width, scene.grid.height) / ACROSS_PX))
    middle = np.median(tile.pixels[:, tile.valid], axis=1) if tile.valid.any() else np.zeros(3)
    return np.asarray(np.log(middle + DIM), np.float64)


def _mean_inside(pixels: Callable[[Window], Any], box: F64) -> F64:
    """(3,) mean brightness of the middle of a box."""
    inner = ob.corners((box * (1, 1, INNER, INNER, 1))[None])[0]
    (x0, y0), (x1, y1) = np.floor(inner.min(axis=0)).astype(int), np.ceil(inner.max(axis=0)).astype(int)
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    mask[(y1 - y0) // 2, (x1 - x0) // 2] = 1  # of a box thinner than a pixel
    cv2.fillPoly(mask, [np.round((inner - (x0, y0) - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return np.asarray(pixels(Window(int(x0), int(y0), int(x1), int(y1)))[:, mask > 0].mean(axis=1), np.float64)
