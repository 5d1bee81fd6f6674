"""Examples that teach `models.presence`, and judge it, of a real yard: its second look is made from the first.

No public pair of looks at one rail yard is labelled. So cars of one real image are taken away, by the ground of a bare place nearby,
and set down on bare track, which either look then has, or both; looks differ in tone, haze, blur, noise and place, not in their sun.
The detector is made up: it misses up to a third, weakly or altogether, and sees ghosts where cars were taken away. Of the Swiss yard
the columns that may be trained on teach (`configs/train/yard.yaml`), those from `models.evaluate.MUTTENZ_SPLIT` on judge.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from presence_examples import GSDS, NOMINAL, Examples

from models import boxes as ob
from models import presence
from models.datasets.real import read_picture
from models.datasets.rearranged import Yard
from models.evaluate import MUTTENZ_SPLIT
from pipeline.change import evidence

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

YARD, GSD_M, TAUGHT = "muttenz/yard_west", 0.2546, 632
"""Picture and labels, its GSD, and its columns that teach: those of `configs/train/yard.yaml`."""
STATES = ((True, True), (True, False), (False, True), (False, False))
STANDING, SET_DOWN = (0.55, 0.7, 0.85, 1.0), (0.3, 0.6, 0.9, 1.0)
"""Cumulated shares of `STATES` (in the first look, in the second) of the cars of the image and of those set down."""
SHARE = 0.25
"""Of the cars that one look has, about as many are not in the other."""


def _yard(imagery: Path, low: int, high: int | None) -> Yard:
    """The columns from `low` to below `high` of the yard under `imagery`."""
    picture = read_picture(imagery / f"{YARD}.tif", imagery / f"{YARD}.txt", GSD_M)
    image = picture.image[:, low:high].copy()
    boxes = picture.boxes - np.array([low, 0, 0, 0, 0])
    corners = ob.corners(boxes)
    boxes = boxes[(corners[..., 0].max(axis=1) > 0) & (corners[..., 0].min(axis=1) < image.shape[1])]
    return Yard.of(replace(picture, image=image, boxes=boxes, care=np.ones(image.shape[:2], np.uint8)), 1.0)


def _toned(picture: F32, rng: np.random.Generator) -> F32:
    """A picture of another day: gamma, gain, colour, haze, blur and noise."""
    picture = np.clip(picture, 0, 1) ** rng.uniform(0.6, 1.5) * rng.uniform(0.65, 1.1) * rng.uniform(0.92, 1.08, 3)
    haze = rng.uniform(0, 0.3) * (rng.random() < 0.5)
    picture = picture * (1 - haze) + haze * rng.uniform(0.5, 0.9)
    sigma = rng.uniform(0, 1.0)
    if sigma > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    return np.clip(picture + rng.normal(0, rng.uniform(0, 0.02), picture.shape), 0, 1).astype(np.float32)


def _state(shares: tuple[float, ...], rng: np.random.Generator) -> tuple[bool, bool]:
    """One of `STATES`."""
    return STATES[int(np.searchsorted(shares, rng.random(), "right"))]


def _places(yard: Yard, rng: np.random.Generator) -> tuple[list[F32], F64, NDArray[np.bool_], NDArray[np.bool_]]:
    """Two pictures of the ground, every place (N, 5) of a car, whether either has one there (N, 2), and whether it is whole (N,)."""
    pictures, number = [yard.picture.image.copy(), yard.picture.image.copy()], len(yard.picture.boxes)
    places, there, whole, taken = [], [], [], yard.picture.boxes.copy()
    movable = yard.movable
    for i in rng.permutation(number):
        state = _state(STANDING, rng) if movable[i] else STATES[0]
        for k in np.flatnonzero(~np.array(state)):
            shift = yard.shift(i, rng)
            yard.laid(pictures[k], yard.picture.boxes[i] + np.r_[shift, 0, 0, 0], -shift)
        places.append(yard.picture.boxes[i])
        there.append(state)
        whole.append(yard.whole[i])
    for i in rng.permutation(number)[: number // 2]:
        if not movable[i]:
            continue
        shift = yard.shift(i, rng)
        place = yard.picture.boxes[i] + np.r_[shift, 0, 0, 0]
        if ob.iou_matrix(place[None] + np.array([0, 0, 2 / GSD_M, 0, 0]), taken).max(initial=0) > 0:
            continue
        state = _state(SET_DOWN, rng)
        for k in np.flatnonzero(state):
            yard.laid(pictures[k], yard.picture.boxes[i], shift)
        taken = np.concatenate([taken, place[None]])
        places.append(place)
        there.append(state)
        whole.append(True)
    return pictures, np.array(places), np.array(there), np.array(whole)


def _found(places: F64, there: NDArray[np.bool_], gsd_m: float, rng: np.random.Generator) -> tuple[F64, F64]:
    """Boxes (N, 5) of a made-up detector and how many thresholds high each is (N,), 0 for none."""
    number, missed = len(places), rng.uniform(0.03, 0.35)
    boxes = places.copy()
    boxes[:, :2] += rng.normal(0, 0.3 / gsd_m, (number, 2)) * 0.7
    boxes[:, 2] += rng.normal(0, 0.4 / gsd_m, number)
    strength, lost = 1 + 1.5 * rng.beta(2, 1.3, number), rng.random(number) < missed
    strength[lost] = np.where(rng.random(number) < 0.5, rng.uniform(0.3, 1, number), 0)[lost]
    ghosts = np.where(rng.random(number) < 0.15, rng.uniform(0.3, 1.4, number), 0)
    return boxes, np.where(there, strength, ghosts)


def of_ground(yard: Yard, rng: np.random.Generator) -> Examples:
    """Examples of one pair of looks."""
    gsd_m = float(rng.choice(GSDS))
    pictures, places, there, whole = _places(yard, rng)
    scale = GSD_M / gsd_m
    size = tuple(round(side * scale) for side in yard.picture.image.shape[1::-1])
    looks = [_toned(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), rng) for picture in pictures]
    (x, y), places = rng.uniform(-0.6, 0.6, 2), places * np.array([scale] * 4 + [1])
    looks[1] = cv2.warpAffine(looks[1], np.array([[1, 0, x], [0, 1, y]], np.float32), size, borderMode=cv2.BORDER_REFLECT)
    found = [_found(places, there[:, k], gsd_m, rng) for k in (0, 1)]
    valid = np.ones(size[::-1], np.bool_)
    views = [presence.View(look, valid, np.zeros(2), b[s > 0], s[s > 0]) for look, (b, s) in zip(looks, found, strict=True)]
    parts = []
    for k in (0, 1):
        (boxes, strength), (_, answer) = found[k], found[1 - k]
        gone = there[:, k] & ~there[:, 1 - k]
        asked = np.flatnonzero(whole & (strength >= 1) & (answer < evidence.UNDOUBTED))
        stacks = [np.zeros((0, 9, presence.ACROSS, presence.ALONG), np.uint8)]
        stacks += presence.cut(views[k], views[1 - k], boxes[asked], gsd_m)
        weight = np.where(gone[asked], NOMINAL / SHARE, (1 - NOMINAL) / (1 - SHARE))
        events, none = float((gone & whole).sum()) * NOMINAL / SHARE, np.zeros(len(asked))
        parts.append(Examples(np.concatenate(stacks), none + gsd_m, gone[asked], weight, none, events))
    return Examples.join(parts)


def teaching(imagery: Path, pairs: int) -> Examples:
    """Examples of pairs of the columns that teach."""
    yard, rng = _yard(imagery, 0, TAUGHT), np.random.default_rng(7)
    return Examples.join([of_ground(yard, rng) for _ in range(pairs)])


def judging(imagery: Path, pairs: int = 60) -> Examples:
    """Examples of pairs of the columns that judge."""
    yard, rng = _yard(imagery, MUTTENZ_SPLIT, None), np.random.default_rng(8)
    return Examples.join([of_ground(yard, rng) for _ in range(pairs)])
