"""Boxes <-> dense targets at the network's output stride.

Cell (i, j) of the maps covers input pixels [2j, 2j+2) x [2i, 2i+2); offsets are in cells from the cell's centre.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.network import BOX_CHANNELS, OUT_STRIDE

F32 = NDArray[np.float32]

SIGMA = 0.13
"""Standard deviation of a target Gaussian as a fraction of each side: narrow enough that two containers abreast leave a dip."""
MIN_SIGMA = 0.55
"""Cells; below this a Gaussian falls between cells."""
IGNORE_VISIBLE = 0.4
"""Objects of which less is in the frame are neither wanted nor punished."""
REGRESS_ABOVE = 0.4
"""Cells whose Gaussian is above this learn the box."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Dense targets of one chip; h, w are the chip's sides over the output stride.

    Attributes:
        heat: (C, h, w) float32 in [0, 1], 1 in the cell of a centre.
        box: (6, h, w) float32 box channels.
        weight: (h, w) float32, weight of the box loss.
        subtype: (h, w) int64, subtype index, -1 where nothing is known.
        care: (h, w) float32, 0 where the heat loss is switched off.
    """

    heat: F32
    box: F32
    weight: F32
    subtype: NDArray[np.int64]
    care: F32


def encode(
    boxes: NDArray[np.float64],
    classes: NDArray[np.uint8],
    subtypes: NDArray[np.int64],
    visible: F32,
    valid: NDArray[np.bool_],
    n_classes: int,
) -> Targets:
    """Boxes (N, 5) in chip pixels -> targets. `valid` is the (H, W) mask of the chip; `subtypes` holds -1 for unknown truth."""
    h, w = valid.shape[0] // OUT_STRIDE, valid.shape[1] // OUT_STRIDE
    heat = np.zeros((n_classes, h, w), np.float32)
    box = np.zeros((BOX_CHANNELS, h, w), np.float32)
    best = np.zeros((h, w), np.float32)
    subtype = np.full((h, w), -1, np.int64)
    care = valid[: h * OUT_STRIDE : OUT_STRIDE, : w * OUT_STRIDE : OUT_STRIDE].astype(np.float32)
    for b, c, s, v in zip(boxes, classes, subtypes, visible, strict=True):
        window = _window(b, h, w)
        if window is None:
            continue
        rows, columns, gauss, channels = window
        if v < IGNORE_VISIBLE or not (0 <= b[0] < w * OUT_STRIDE and 0 <= b[1] < h * OUT_STRIDE):
            care[rows, columns] = np.where(gauss > 0.05, 0.0, care[rows, columns])
            continue
        heat[c, rows, columns] = np.maximum(heat[c, rows, columns], gauss)
        mine = gauss > best[rows, columns]
        best[rows, columns] = np.where(mine, gauss, best[rows, columns])
        box[:, rows, columns] = np.where(mine, channels, box[:, rows, columns])
        subtype[rows, columns] = np.where(mine & (gauss > REGRESS_ABOVE), s, subtype[rows, columns])
        heat[c, int(b[1] // OUT_STRIDE), int(b[0] // OUT_STRIDE)] = 1.0
        best[int(b[1] // OUT_STRIDE), int(b[0] // OUT_STRIDE)] = 1.0
    weight = np.where(best > REGRESS_ABOVE, best, 0.0).astype(np.float32) * care
    return Targets(heat, box, weight, subtype, care)


def _window(b: NDArray[np.float64], h: int, w: int) -> tuple[slice, slice, F32, F32] | None:
    """Cells around a box: slices, its oriented Gaussian there, and its box channels there."""
    sigma_w = max(SIGMA * b[2] / OUT_STRIDE, MIN_SIGMA)
    sigma_h = max(SIGMA * b[3] / OUT_STRIDE, MIN_SIGMA)
    cx, cy, reach = b[0] / OUT_STRIDE, b[1] / OUT_STRIDE, int(np.ceil(3 * sigma_w)) + 1
    x0, x1 = max(0, int(cx) - reach), min(w, int(cx) + reach + 1)
    y0, y1 = max(0, int(cy) - reach), min(h, int(cy) + reach + 1)
    if x0 >= x1 or y0 >= y1:
        return None
    yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float64) + 0.5
    dx, dy = cx - xx, cy - yy
    cos, sin = np.cos(b[4]), np.sin(b[4])
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    gauss = np.exp(-0.5 * ((along / sigma_w) ** 2 + (across / sigma_h) ** 2)).astype(np.float32)
    one = np.ones_like(dx)
    channels = np.stack([dx, dy, np.log(b[2]) * one, np.log(b[3]) * one, np.cos(2 * b[4]) * one, np.sin(2 * b[4]) * one])
    return slice(y0, y1), slice(x0, x1), gauss, channels.astype(np.float32)


def decode(
    heat: F32, box: F32, thresholds: NDArray[np.float32]
) -> tuple[NDArray[np.float64], F32, NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Local maxima of the heatmaps -> boxes.

    Args:
        heat: (C, h, w) probabilities.
        box: (6, h, w) box channels.
        thresholds: (C,) lowest score per class.

    Returns:
        boxes (N, 5) in chip pixels, scores (N,), class positions (N,), cells (rows, columns).
    """
    padded = np.pad(heat, ((0, 0), (1, 1), (1, 1)), constant_values=-1.0)
    _, h, w = heat.shape
    peak = heat >= thresholds[:, None, None]
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            if (dy, dx) == (1, 1):
                continue
            other = padded[:, dy : dy + h, dx : dx + w]
            # of two equal neighbours the first in reading order is the peak
            peak &= (heat > other) if (dy, dx) < (1, 1) else (heat >= other)
    c, i, j = np.nonzero(peak)
    values = box[:, i, j].astype(np.float64)
    cx = (j + 0.5 + np.clip(values[0], -8, 8)) * OUT_STRIDE
    cy = (i + 0.5 + np.clip(values[1], -8, 8)) * OUT_STRIDE
    sides = np.exp(np.clip(values[2:4], -1.0, 7.0))
    theta = 0.5 * np.arctan2(values[5], values[4])
    raw = np.stack([cx, cy, sides[0], sides[1], theta], axis=1)
    return ob.canonical(raw), heat[c, i, j], c, (i, j)
