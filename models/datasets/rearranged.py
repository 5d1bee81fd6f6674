"""A real yard with its cars elsewhere: taken away by the ground of a bare place nearby, set down on bare track, in other paint."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.datasets.real import Picture

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

SHIFTS_M = [
    (along, across) for along in np.arange(-48.0, 48.1, 3) for across in (0, -4.6, 4.6, -9.2, 9.2, -13.8, 13.8, -23, 23, -32, 32)
]
"""Where bare ground is looked for, along a car and across it: its own track and those beside it."""
AROUND_M = (1.5, 1.0)
"""Longer and wider than a car by this is a place where it fits."""
EDGE_M = (0.6, 0.5)
"""Longer and wider than a car by this is what is laid with it."""
BAND_M = (1.8, 1.8)
"""The same where labels were drawn in and painted out, as in the Swiss yard: the band that was painted goes with it."""
TAKEN, SET_DOWN, PAINTED = 0.25, 0.5, 0.6
"""Shares of the cars that are taken away, that are set down once more if there is room, and that are painted anew."""


@dataclass(frozen=True, slots=True)
class Yard:
    """A labelled picture of cars on tracks, of which no two crops show the same cars at the same places.

    Attributes:
        picture: as labelled, of railcars alone.
        share: of the crops that show it rearranged.
        whole: (N,) whether all of a car is seen.
        bare: of each car, (K, 2) shifts to places without cars, pixels.
        tone: (3,) of its ground.
    """

    picture: Picture
    share: float
    whole: NDArray[np.bool_]
    bare: tuple[F64, ...]
    tone: F32

    @classmethod
    def of(cls, picture: Picture, share: float) -> "Yard":
        """Look for its bare places."""
        boxes, known = picture.boxes, picture.care
        bare = tuple(_bare(box, boxes, known, picture.gsd_m) for box in boxes)
        return cls(picture, share, _inside(boxes, known, 4), bare, np.median(picture.image[known > 0], axis=0))

    @property
    def gsd_m(self) -> float:
        """Metres per pixel."""
        return self.picture.gsd_m

    @property
    def digest(self) -> str:
        """Of pixels, labels and share."""
        return f"{self.picture.digest} {self.share}"

    @property
    def movable(self) -> NDArray[np.bool_]:
        """(N,) whole cars for which there is a bare place."""
        return self.whole & np.array([len(bare) > 0 for bare in self.bare], np.bool_)

    def shift(self, car: int | np.int64, rng: np.random.Generator) -> F64:
        """(2,) from a car to one of its bare places."""
        bare = self.bare[car]
        return np.asarray(bare[rng.integers(len(bare))])

    def laid(self, image: F32, box: F64, shift: F64, edge_m: tuple[float, float] = EDGE_M) -> None:
        """Lay what the picture shows at a box on an image of its size, as far off as a shift; edges are soft."""
        there = box + np.r_[shift, np.array(edge_m) / self.gsd_m, 0]
        cut, share = _cover(there, image.shape[:2], 1.2)
        move = np.array([[1, 0, shift[0] - cut[1].start], [0, 1, shift[1] - cut[0].start]], np.float32)
        if share.size:
            piece = cv2.warpAffine(self.picture.image, move, share.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
            image[cut] = image[cut] * (1 - share) + piece * share

    def near(self, rng: np.random.Generator, side_px: float) -> Picture:
        """The picture to draw a chip of `side_px` from, rearranged in a share of the cases."""
        del side_px
        return self.rearranged(rng) if rng.random() < self.share else self.picture

    def rearranged(self, rng: np.random.Generator) -> Picture:
        """The picture with some cars gone, others set down on bare track, in other paint."""
        image, own = self.picture.image.copy(), self.picture.boxes
        gone = self.movable & (rng.random(len(own)) < TAKEN)
        for i in np.flatnonzero(gone):
            shift = self.shift(i, rng)
            self.laid(image, own[i] + np.r_[shift, 0, 0, 0], -shift, BAND_M)
        cars, boxes = list(np.flatnonzero(~gone)), own[~gone]
        for i in rng.permutation(np.flatnonzero(self.movable)):
            if rng.random() >= SET_DOWN:
                continue
            shift = self.shift(i, rng)
            place = own[i] + np.r_[shift, 0, 0, 0]
            if ob.iou_matrix(place[None] + np.r_[0, 0, np.array(BAND_M) / self.gsd_m, 0], boxes).max(initial=0) == 0:
                self.laid(image, own[i], shift, BAND_M)
                cars, boxes = [*cars, i], np.concatenate([boxes, place[None]])
        for box in boxes[rng.random(len(boxes)) < PAINTED]:
            _paint(image, box, self.tone, rng)
        taken = np.array(cars, np.int64)
        return replace(
            self.picture, image=image, boxes=boxes, classes=self.picture.classes[taken], subtypes=self.picture.subtypes[taken]
        )


def _cover(box: F64, shape: tuple[int, ...], soft_px: float) -> tuple[tuple[slice, slice], F32]:
    """Where a box lies in an image of a shape, and how much of it covers each pixel there, (h, w, 1)."""
    corners = ob.corners(box[None])[0]
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 4, 0)
    high = np.maximum(np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 5, shape[1::-1]), low)
    mask = np.zeros((high - low)[::-1], np.uint8)
    if mask.size:
        cv2.fillConvexPoly(mask, np.round((corners - low) * 16 - 8).astype(np.int32), 255, shift=4)
        mask = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), soft_px)
    return (slice(low[1], high[1]), slice(low[0], high[0])), np.asarray(mask[..., None], np.float32)


def _inside(boxes: F64, known: NDArray[np.uint8], margin: float) -> NDArray[np.bool_]:
    """(N,) whether boxes lie within an image, as far as a margin from its frame, on pixels that are known."""
    corners, (height, width) = ob.corners(boxes), known.shape
    right, bottom = corners.max(axis=1).T
    within = (corners.min(axis=(1, 2)) > margin) & (right < width - margin) & (bottom < height - margin)
    x, y = (np.clip(corners[..., axis].astype(int), 0, side - 1) for axis, side in ((0, width), (1, height)))
    return np.asarray(within & known[y, x].all(axis=1), np.bool_)


def _bare(box: F64, boxes: F64, known: NDArray[np.uint8], gsd_m: float) -> F64:
    """(K, 2) shifts that lay a box where no car stands."""
    ahead = np.array([np.cos(box[4]), np.sin(box[4])])
    shifts = np.array([(ahead * along + np.array([-ahead[1], ahead[0]]) * across) / gsd_m for along, across in SHIFTS_M])
    there = np.repeat(box[None], len(shifts), axis=0)
    there[:, :2] += shifts
    there[:, 2:4] += np.array(AROUND_M) / gsd_m
    return np.asarray(shifts[_inside(there, known, 2) & (ob.iou_matrix(there, boxes).max(axis=1, initial=0) == 0)])


def _paint(image: F32, box: F64, tone: F32, rng: np.random.Generator) -> None:
    """Give a car another paint, part of the way to the tone of the ground, and another contrast."""
    cut, share = _cover(box, image.shape[:2], 1.5)
    if share.sum() < 1:
        return
    piece = image[cut]
    mean = (piece * share).sum(axis=(0, 1)) / share.sum()
    mix, contrast, gain = rng.uniform(0, 1), np.exp(rng.uniform(-0.4, 0.3)), np.exp(rng.uniform(-0.4, 0.3)) * rng.uniform(0.9, 1.1, 3)
    anew = (piece - mean) * contrast + (mean * (1 - mix) + tone * mix) * gain
    image[cut] = np.clip(piece * (1 - share) + anew * share, 0, 1)
