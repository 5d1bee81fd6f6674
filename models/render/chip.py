"""A rendered picture with its labels as boxes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.render.canvas import Canvas, Light
from models.render.objects import CONTAINER


@dataclass(frozen=True, slots=True)
class Chip:
    """A picture with labels.

    Attributes:
        pixels: (3, H, W) float32, 0..1.
        valid: (H, W) bool.
        boxes: (N, 5) float64, canonical, pixels.
        classes: (N,) uint8.
        subtypes: (N,) uint8.
        visible: (N,) float32, share of the box that is inside the frame and not hidden.
        gsd_m: metres per pixel of `pixels`.
        light: sun and view of a render.
    """

    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    classes: NDArray[np.uint8]
    subtypes: NDArray[np.uint8]
    visible: NDArray[np.float32]
    gsd_m: float
    light: Light | None = None


HIDDEN = 0.25
"""A top of which less is seen behind higher stacks is no object: nobody would count it."""
DARK, DOUBT = 0.22, 0.39
"""A top in shade that leaves less of the light may be counted or not: it is as visible as a body that the frame cuts."""


def with_labels(canvas: Canvas, pixels: NDArray[np.float32]) -> tuple[Chip, NDArray[np.bool_]]:
    """The chip of a sensed canvas: outlines become boxes, those outside the frame and container tops that others hide are dropped.

    Returns:
        The chip, and which labels of the canvas are in it.
    """
    boxes, classes, subtypes = np.zeros((0, 5)), np.zeros(0, np.uint8), np.zeros(0, np.uint8)
    if canvas.labels:
        boxes = np.concatenate([_box(label.outline / canvas.gsd_m) for label in canvas.labels])
        classes = np.array([label.cls for label in canvas.labels], np.uint8)
        subtypes = np.array([label.subtype for label in canvas.labels], np.uint8)
    share, light = canvas.unhidden()
    seen = np.where(classes == CONTAINER, np.where(light < DARK, np.minimum(share, DOUBT), share), 1.0)
    visible = share_inside(boxes, canvas.size, canvas.size) * np.where(seen < HIDDEN, 0.0, seen).astype(np.float32)
    keep = visible > 0
    chip = Chip(
        np.ascontiguousarray(pixels.transpose(2, 0, 1)),
        np.ones(pixels.shape[:2], np.bool_),
        boxes[keep],
        classes[keep],
        subtypes[keep],
        visible[keep],
        canvas.gsd_m,
        canvas.light,
    )
    return chip, keep


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
