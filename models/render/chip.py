"""A rendered picture with its labels as boxes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.render.canvas import Canvas


@dataclass(frozen=True, slots=True)
class Chip:
    """A picture with labels.

    Attributes:
        pixels: (3, H, W) float32, 0..1.
        valid: (H, W) bool.
        boxes: (N, 5) float64, canonical, pixels.
        classes: (N,) uint8.
        subtypes: (N,) uint8.
        visible: (N,) float32, share of the box inside the frame.
        gsd_m: metres per pixel of `pixels`.
    """

    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    classes: NDArray[np.uint8]
    subtypes: NDArray[np.uint8]
    visible: NDArray[np.float32]
    gsd_m: float


def with_labels(canvas: Canvas, pixels: NDArray[np.float32]) -> Chip:
    """The chip of a sensed canvas: outlines become boxes, those outside the frame are dropped."""
    boxes, classes, subtypes = np.zeros((0, 5)), np.zeros(0, np.uint8), np.zeros(0, np.uint8)
    if canvas.labels:
        boxes = np.concatenate([_box(outline / canvas.gsd_m) for outline, _, _ in canvas.labels])
        classes = np.array([c for _, c, _ in canvas.labels], np.uint8)
        subtypes = np.array([s for _, _, s in canvas.labels], np.uint8)
    visible = share_inside(boxes, canvas.size, canvas.size)
    keep = visible > 0
    return Chip(
        np.ascontiguousarray(pixels.transpose(2, 0, 1)),
        np.ones(pixels.shape[:2], np.bool_),
        boxes[keep],
        classes[keep],
        subtypes[keep],
        visible[keep],
        canvas.gsd_m,
    )


def _box(outline: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1, 5) box of a rectangle, or of a hull outline: the rectangle along its first-to-fourth axis."""
    if len(outline) == 4:
        return ob.from_corners(outline[None])
    stern, bow = (outline[0] + outline[-1]) / 2, outline[3]
    axis = bow - stern
    beam = float(np.hypot(*(outline[1] - outline[-2])))
    centre = (stern + bow) / 2
    return ob.canonical(np.array([[*centre, np.hypot(*axis), beam, np.arctan2(axis[1], axis[0])]]))


def share_inside(boxes: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    """(N,) share of each box's area inside a frame of width x height pixels."""
    frame = np.array([[width / 2, height / 2, width, height, 0.0]])
    inter = ob.intersection_pairs(boxes, np.repeat(frame, len(boxes), axis=0))
    return (inter / np.maximum(ob.area(boxes), 1e-9)).astype(np.float32)
