"""Whether a body that one look is sure of is missing in the other: a small network that sees both looks in the frame of its box.

Boxes and scores of a detector say how sure it was of either look by itself. What they leave out is in the pixels of both together: the
same wagon under another sun has its ends, doors and load where they were, bare track has rails instead, and the neighbours on the same
track tell how bodies and ballast look that day. The network is shown a window of 38 by 13 m along the body: the picture of each look,
the boxes that the detector drew in each, and the features that the detector's own networks see in each, of which most never become a
box (`models.presence_net`). It answers with the chance that the body came or went. It learns the detector's errors from renders whose
truth is known (``tests/bench/fit_presence.py``), so that fates do not hang on them (METHOD 7); and from a real yard, whose second look
is made from the first, that what looks alike has stayed: renders alone teach it to trust boxes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.strips import strip

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

STEP_M = 0.4
"""Metres between samples: the middle of the GSDs at which cars and boxes are counted one by one (METHOD 5)."""
ALONG, ACROSS = 96, 32
"""Samples along the body and across it: the neighbours before and behind, the tracks to either side."""
LEVELS = 80
"""Levels of 8 bits for each threshold that a box is high; three thresholds fill them."""
LEAST_SPREAD = 4.0
"""Of 255: flatter windows are not stretched any further."""
COARSEST_M = 0.85
"""Looks of 0.3 to 0.8 m taught it."""
BATCH = 128


@dataclass(frozen=True, slots=True)
class View:
    """What one look shows.

    Attributes:
        pixels: (H, W, 3) float32, share of the display range.
        valid: (H, W) bool.
        offset: (2,) where the picture shows an object less where the frame of the boxes has it: its lean, pixels.
        boxes: (N, 5) every box of the class, weak ones included, pixels of the frame.
        strength: (N,) score as a multiple of the threshold.
    """

    pixels: F32
    valid: NDArray[np.bool_]
    offset: F64
    boxes: F64
    strength: F64


def chance_gone(own: View, other: View, bodies: F64, gsd_m: float) -> F64:
    """(K,) chance that bodies which one look is sure of are not where they stand in the other.

    Args:
        own: the look that is sure of them.
        other: the other look, same grid.
        bodies: (K, 5) their boxes, pixels of the frame.
        gsd_m: metres per pixel.

    Raises:
        ModelError: the weights are missing, or not those of their card.
    """
    return np.concatenate([np.zeros(0), *(told(stack, np.full(len(stack), gsd_m)) for stack in cut(own, other, bodies, gsd_m))])


def told(windows: U8, gsd_m: F64) -> F64:
    """(K,) what `chance_gone` says of windows of `cut`, at most `BATCH` of them, at GSDs (K,) in metres."""
    import torch

    from models.presence_net import shipped

    net, eyes = shipped()
    with torch.inference_mode():
        odds = net(torch.from_numpy(normalised(windows, gsd_m)), eyes.see(windows))
        return np.asarray(torch.sigmoid(odds).numpy(), np.float64)


def cut(own: View, other: View, bodies: F64, gsd_m: float) -> Iterator[U8]:
    """Windows of some bodies, `BATCH` at a time: (K, 9, 32, 96), own picture, other picture, boxes of either, what both show."""
    if len(bodies) == 0:
        return
    along, across = (np.asarray((np.arange(n) - (n - 1) / 2) * STEP_M / gsd_m, np.float64) for n in (ALONG, ACROSS))
    views = own, other
    pictures = [_smoothed(view.pixels, gsd_m) for view in views]
    drawn = [_drawn(view) for view in views]
    shown = [view.valid.astype(np.uint8) * 255 for view in views]
    for start in range(0, len(bodies), BATCH):
        some = bodies[start : start + BATCH]
        stack = np.empty((len(some), 9, ACROSS, ALONG), np.uint8)
        for window, body in zip(stack, some, strict=True):
            places = [np.r_[body[:2] + view.offset, body[2:]] for view in views]
            for k in (0, 1):
                window[3 * k : 3 * k + 3] = np.clip(strip(pictures[k], places[k], along, across) * 255, 0, 255).transpose(2, 0, 1)
                window[6 + k] = strip(drawn[k], body, along, across)
            window[8] = np.minimum(*(strip(seen, at, along, across) for seen, at in zip(shown, places, strict=True)))
        yield stack


def normalised(stack: U8, gsd_m: F64) -> F32:
    """(K, 10, 32, 96) of windows: pictures less their medians, over their spread; boxes in thresholds; and the GSD (K,) in metres."""
    values = stack.astype(np.float32)
    out = np.empty((len(values), 10, ACROSS, ALONG), np.float32)
    seen = stack[:, 8:9] > 127
    for k in (0, 3):
        picture = values[:, k : k + 3].reshape(len(values), 3, -1)
        low, high = np.percentile(picture.mean(axis=1), (16, 84), axis=1)
        spread = np.maximum((high - low) / 2, LEAST_SPREAD)[:, None, None]
        picture = np.clip((picture - np.median(picture, axis=2)[..., None]) / spread, -5, 5)
        out[:, k : k + 3] = picture.reshape(out[:, k : k + 3].shape) * seen
    out[:, 6:8] = np.minimum(values[:, 6:8] / LEVELS, 2)
    out[:, 8:9] = seen
    out[:, 9] = np.log(gsd_m / 0.5)[:, None, None]
    return out


def _smoothed(picture: F32, gsd_m: float) -> F32:
    """A picture of which a sample stands for its whole step."""
    sigma = 0.45 * np.sqrt(max(STEP_M**2 - gsd_m**2, 0.0)) / gsd_m
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32) if sigma > 0.2 else picture


def _drawn(view: View) -> U8:
    """(H, W) strength of the boxes of a look, the strongest on top."""
    out = np.zeros(view.valid.shape, np.uint8)
    for i in np.argsort(view.strength):
        polygon = np.round(ob.corners(view.boxes[i : i + 1])[0] * 16 - 8).astype(np.int32)
        cv2.fillConvexPoly(out, polygon, int(min(view.strength[i], 3) * LEVELS), shift=4)
    return out
