"""What networks learn from is varied without its labels coming loose: other scales, outlines painted out, real cars elsewhere."""

import cv2
import numpy as np
import pytest

from models import boxes as ob
from models.datasets.augment import repainted, stretched
from models.datasets.real import Picture
from models.datasets.rearranged import Yard
from models.detector import CLASSES
from models.render import render_chip
from models.render.chip import Chip

SIDE = 160
CAR = CLASSES.index("railcar")


def test_a_stretched_chip_keeps_its_boxes_on_its_pixels() -> None:
    body = ob.canonical(np.array([[70.0, 90.0, 40.0, 10.0, 0.5]]))
    pixels = np.zeros((SIDE, SIDE, 3), np.float32)
    cv2.fillPoly(pixels, [np.round(ob.corners(body)[0] * 16 - 8).astype(np.int32)], (1.0, 1.0, 1.0), cv2.LINE_AA, 4)
    one = np.ones(1, np.uint8)
    chip = Chip(pixels.transpose(2, 0, 1), np.ones((SIDE, SIDE), np.bool_), body, one, one, np.ones(1, np.float32), 0.3)
    sides = []
    for seed in range(12):
        seen = stretched(chip, np.random.default_rng(seed))
        bright = np.argwhere(seen.pixels[0] > 0.5)[:, ::-1].astype(np.float32)
        drawn = ob.from_corners(cv2.boxPoints(cv2.minAreaRect(bright + 0.5))[None].astype(np.float64))
        assert ob.iou_matrix(drawn, seen.boxes)[0, 0] > 0.8
        sides.append(seen.boxes[0, 2:4])
    assert np.ptp(np.array(sides), axis=0).min() > 1.0


def test_outlines_of_cars_are_painted_out_and_nothing_else_is() -> None:
    chip = render_chip(5_000_402, "rail_yard", 0.3, 320)
    seen = repainted(chip, CAR, np.random.default_rng(3))
    assert (seen.boxes == chip.boxes).all()
    assert (repainted(chip, CLASSES.index("vessel"), np.random.default_rng(3)).pixels == chip.pixels).all()
    changed = np.abs(seen.pixels - chip.pixels).max(axis=0) > 0.01
    rows, columns = np.nonzero(changed)
    point = np.stack([columns + 0.5, rows + 0.5], axis=1)[:, None] - chip.boxes[None, :, :2]
    cos, sin = np.cos(chip.boxes[:, 4]), np.sin(chip.boxes[:, 4])
    along = np.abs(point[..., 0] * cos + point[..., 1] * sin) - chip.boxes[:, 2] / 2
    across = np.abs(point[..., 1] * cos - point[..., 0] * sin) - chip.boxes[:, 3] / 2
    assert np.abs(np.maximum(along, across)).min(axis=1).max() * chip.gsd_m < 2.2  # half a line, and what its corners are off
    sharp, soft = (np.hypot(*np.gradient(pixels.mean(axis=0)))[changed].mean() for pixels in (chip.pixels, seen.pixels))
    assert soft < 0.7 * sharp


@pytest.fixture
def yard() -> Yard:
    """Three bright cars on the first of many grey tracks, and columns that must not be seen."""
    boxes = ob.canonical(np.array([[60.0 + 60 * k, 40.0, 50.0, 11.0, 0.0] for k in range(3)]))
    image = np.full((300, 320, 3), 0.4, np.float32)
    for box in boxes:
        cv2.fillConvexPoly(image, np.round(ob.corners(box[None])[0]).astype(np.int32), (0.9, 0.8, 0.7))
    care = np.ones(image.shape[:2], np.uint8)
    care[:, 250:], image[:, 250:] = 0, 0.1
    kinds = np.array([1, 2, 3], np.uint8)
    return Yard.of(Picture(image, 0.25, boxes, np.full(3, CAR, np.uint8), kinds, care), 1.0)


def test_cars_of_a_real_yard_stand_elsewhere_under_their_labels(yard: Yard) -> None:
    picture, moved, gone = yard.picture, 0, 0
    for seed in range(20):
        seen = yard.near(np.random.default_rng(seed), SIDE)
        assert len(seen.boxes) == len(seen.classes) == len(seen.subtypes)
        apart = ob.iou_matrix(seen.boxes, seen.boxes) - np.eye(len(seen.boxes))
        assert apart.max(initial=0) == 0
        assert (seen.image[:, 255:] == picture.image[:, 255:]).all()
        shown = np.zeros(picture.care.shape, np.uint8)
        for box in seen.boxes:
            x, y = box[:2].astype(int)
            assert np.abs(seen.image[y, x] - 0.4).max() > 0.01  # a car, in whatever paint
            cv2.fillConvexPoly(shown, np.round(ob.corners(box[None] + np.array([0, 0, 14, 14, 0]))[0]).astype(np.int32), 1)
        bare = (shown == 0) & (picture.care > 0)
        bare[:, 240:] = False
        assert np.abs(seen.image[bare] - 0.4).max() < 0.05  # and none without a label
        here = ob.iou_matrix(picture.boxes, seen.boxes).max(axis=1, initial=0) > 0.9
        gone, moved = gone + int((~here).sum()), moved + len(seen.boxes) - int(here.sum())
    assert gone > 5
    assert moved > 10


def test_a_share_of_the_crops_shows_the_yard_as_it_was(yard: Yard) -> None:
    as_it_was = Yard.of(yard.picture, 0.0)
    assert as_it_was.near(np.random.default_rng(1), SIDE) is yard.picture
    assert as_it_was.digest != yard.digest
