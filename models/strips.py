"""Pixels in the frame of an oriented box: along it and across it."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def strip(image: NDArray[Any], box: F64, along: F64, across: F64, *, extend: bool = False) -> NDArray[np.float32]:
    """Bilinear samples around a box, x along it and y across it.

    Args:
        image: (H, W) or (H, W, C).
        box: (5,) in its pixels.
        along: (M,) offsets from the middle along the box, pixels.
        across: (N,) likewise across it.
        extend: beyond the image its edge goes on, else there is 0.

    Returns:
        (N, M) or (N, M, C) float32.
    """
    u, v = np.meshgrid(along, across)
    cos, sin = np.cos(box[4]), np.sin(box[4])
    x, y = (at.astype(np.float32) for at in (box[0] + u * cos - v * sin - 0.5, box[1] + u * sin + v * cos - 0.5))
    border = cv2.BORDER_REPLICATE if extend else cv2.BORDER_CONSTANT
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=border), np.float32)
