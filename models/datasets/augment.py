"""What is done to a rendered chip before a network learns from it: other scales, and labels that were drawn in and painted out."""

from dataclasses import replace

import cv2
import numpy as np

from models import boxes as ob
from models.render import Chip
from models.render.chip import share_inside

STRETCH = (0.8, 1.25)
"""Of a chip along either axis, log-uniform."""
LINE_M, SLACK_M = (0.9, 1.8), 0.25
"""Width of the outlines that were drawn into a picture, metres, and the spread of their corners about the body. Those of the Swiss yard
(imagery notes, `repainted_mask_west.png`) are 1.6 m wide on bodies of 2.8 m: a stripe of each car is left, between soft edges."""
UNDRAWN = 0.05
"""Share of the objects that nobody had outlined."""


def stretched(chip: Chip, rng: np.random.Generator) -> Chip:
    """Three chips of four at another scale, half of those with another scale along each axis.

    Declared GSDs are estimates, and pictures off the web or off nadir are not square on the ground: a detector that holds a box to the
    length and width of ISO 668 misses half of them.
    """
    if rng.random() < 0.25:
        return chip
    low, high = np.log(STRETCH)
    scale = np.exp(rng.uniform(low, high, 2))
    scale[1] = scale[0] if rng.random() < 0.5 else scale[1]
    height, width = chip.valid.shape
    middle = np.array([width, height]) / 2
    shift = (1 - scale) * middle + 0.5 * scale - 0.5  # cv2 counts from pixel centres
    matrix = np.concatenate([np.diag(scale), shift[:, None]], axis=1)
    pixels = cv2.warpAffine(chip.pixels.transpose(1, 2, 0), matrix, (width, height), flags=cv2.INTER_LINEAR)
    valid = cv2.warpAffine(chip.valid.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST) > 0
    b = chip.boxes
    along = np.stack([np.cos(b[:, 4]), np.sin(b[:, 4])], axis=1) * scale
    long = b[:, 2] * np.hypot(*along.T)
    wide = b[:, 2] * b[:, 3] * scale.prod() / long  # of a rectangle of the same area
    x, y = ((b[:, :2] - middle) * scale + middle).T
    boxes = ob.canonical(np.stack([x, y, long, wide, np.arctan2(along[:, 1], along[:, 0])], axis=1))
    visible = chip.visible * share_inside(boxes, width, height) / np.maximum(share_inside(b, width, height), 1e-6)
    keep = visible > 0
    return Chip(
        np.ascontiguousarray(pixels.transpose(2, 0, 1)), valid, boxes[keep], chip.classes[keep], chip.subtypes[keep],
        visible[keep].astype(np.float32), chip.gsd_m,
    )  # fmt: skip


def repainted(chip: Chip, cls: int, rng: np.random.Generator) -> Chip:
    """A chip in which the objects of a class had been outlined, and the outlines painted out from what lies beside them.

    The edges of the bodies are gone then, those of their shadows are not: a network that never saw such a picture boxes the shadows.
    """
    boxes = chip.boxes[(chip.classes == cls) & (rng.random(len(chip.classes)) >= UNDRAWN)]
    if not len(boxes):
        return chip
    boxes[:, :4] += rng.normal(0, SLACK_M / chip.gsd_m, (len(boxes), 4))
    width = max(1, round(rng.uniform(*LINE_M) / chip.gsd_m))
    drawn = np.zeros(chip.valid.shape, np.uint8)
    for corners in ob.corners(boxes):
        cv2.polylines(drawn, [np.round(corners * 16 - 8).astype(np.int32)], True, 255, width, cv2.LINE_8, 4)
    byte = np.ascontiguousarray(np.round(np.clip(chip.pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))
    how = cv2.INPAINT_NS if rng.random() < 0.5 else cv2.INPAINT_TELEA
    filled = cv2.inpaint(byte, drawn, rng.uniform(3, 6), how).transpose(2, 0, 1)
    return replace(chip, pixels=np.ascontiguousarray(filled, np.float32) / np.float32(255))
