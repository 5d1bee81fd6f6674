"""Pixels moved by a (2, 3) map. Pixel frame as everywhere: corners, not centres."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imagery.scene import Tile

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


def inverse(affine: F64) -> F64:
    """The affine (2, 3) that maps back."""
    return np.asarray(np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2], np.float64)


def centred(matrix: F64) -> F64:
    """The same map for OpenCV, which counts from pixel centres."""
    out = np.array(matrix, np.float64)
    out[:, 2] += out[:, :2] @ (0.5, 0.5) - 0.5
    return out


def warp(image: F32, matrix: F64) -> F32:
    """An (H, W) or (H, W, C) array moved onto the reference frame, x_out = matrix @ x_in; outside is 0."""
    return np.asarray(cv2.warpAffine(image, centred(matrix), image.shape[1::-1], flags=cv2.INTER_LINEAR, borderValue=0))


def warp_tile(tile: Tile, matrix: F64) -> Tile:
    """Pixels and mask of a look on the reference frame; a pixel is valid when all that it is made of is."""
    valid = warp(tile.valid.astype(np.float32), matrix) > 0.999
    moved = np.stack([warp(band, matrix) for band in tile.pixels]) * valid
    return Tile(tile.core, tile.read, np.asarray(moved, np.float32), valid, tile.grid)


def patch(grey: F32, valid: Bool, matrix: F64, corner: tuple[int, int], size: tuple[int, int]) -> tuple[F32, Bool]:
    """One window (rows, columns) of a warped look, cubic, without warping the rest; `corner` is x, y in the reference frame."""
    height, width = size
    x, y = corner
    if np.array_equal(matrix, np.eye(3)[:2]) and x >= 0 and y >= 0 and x + width <= grey.shape[1] and y + height <= grey.shape[0]:
        return grey[y : y + height, x : x + width], valid[y : y + height, x : x + width]
    back = inverse(matrix)
    ring = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64) + corner
    source = ring @ back[:, :2].T + back[:, 2]
    low = np.clip(np.floor(source.min(axis=0)).astype(int) - 3, 0, grey.shape[::-1])
    high = np.clip(np.ceil(source.max(axis=0)).astype(int) + 3, low, grey.shape[::-1])
    cut = (slice(low[1], high[1]), slice(low[0], high[0]))
    if grey[cut].size == 0:
        return np.zeros(size, np.float32), np.zeros(size, np.bool_)
    local = matrix.copy()
    local[:, 2] += local[:, :2] @ low - corner
    mask = cv2.warpAffine(valid[cut].astype(np.uint8) * 255, centred(local), (width, height), flags=cv2.INTER_LINEAR, borderValue=0)
    moved = cv2.warpAffine(grey[cut], centred(local), (width, height), flags=cv2.INTER_CUBIC, borderValue=0)
    return np.asarray(moved, np.float32), np.asarray(mask == 255)
