"""First guesses of where one look lies on another, from the whole frame: phase correlation, and features where that is not enough."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.change.tiepoints import View, clipped, correlate, gradients

F64 = NDArray[np.float64]

PEAKS = 2
MIN_FEATURES = 8
"""RANSAC agreements below this are chance more often than not."""


def reduced(look: View, factor: int) -> View:
    """The look at pixels `factor` times as large; a pixel is valid when all that it is made of is."""
    if factor == 1:
        return look
    rows, columns = (n // factor for n in look.valid.shape)
    cut = np.s_[: rows * factor, : columns * factor]
    grey = cv2.resize(look.grey[cut], (columns, rows), interpolation=cv2.INTER_AREA)
    valid = cv2.resize(look.valid[cut].astype(np.uint8) * 255, (columns, rows), interpolation=cv2.INTER_AREA) == 255
    return View(np.asarray(grey * valid, np.float32), np.asarray(valid), look.dark)


def shifts(before: View, after: View, max_shift_px: float) -> list[F64]:
    """The most likely shifts within the limit, best first: the highest peaks of the phase correlation of the whole frames."""
    size = before.valid.shape
    shape = [fft.next_fast_len(n + int(min(max_shift_px, n)) + 1) for n in size]
    fields = []
    for look in (before, after):
        padded = np.zeros(shape, np.complex64)
        padded[: size[0], : size[1]] = clipped(gradients(look.grey, look.valid, look.dark))
        fields.append(padded)
    surface = correlate(fields[0], fields[1], 1.0)
    dy, dx = (np.round(fft.fftfreq(n, 1 / n)) for n in surface.shape)
    surface[np.hypot(dy[:, None], dx[None]) > max_shift_px + 1] = -np.inf
    found = []
    for _ in range(PEAKS):
        row, column = np.unravel_index(int(np.argmax(surface)), surface.shape)
        found.append(np.array([[1, 0, dx[column]], [0, 1, dy[row]]], np.float64))
        near = (np.abs(dy[:, None] - dy[row]) <= 4) & (np.abs(dx[None] - dx[column]) <= 4)
        surface[near] = -np.inf
    return found


def features(before: View, after: View, max_shift_px: float) -> F64 | None:
    """SIFT matches and a RANSAC similarity, for large offsets, turns and other scales; None without enough agreement."""
    sift: Any = cv2.SIFT_create(nfeatures=3000)  # type: ignore[attr-defined] # absent from the stub, not from the wheel
    (ka, da), (kb, db) = (sift.detectAndCompute(_stretched(v), v.valid.astype(np.uint8)) for v in (before, after))
    if da is None or db is None or min(len(ka), len(kb)) < MIN_FEATURES:
        return None
    pairs = [m for m, n in cv2.BFMatcher().knnMatch(db, da, k=2) if m.distance < 0.8 * n.distance]
    source = np.array([kb[m.queryIdx].pt for m in pairs], np.float64).reshape(-1, 2) + 0.5  # cv2 counts from pixel centres
    target = np.array([ka[m.trainIdx].pt for m in pairs], np.float64).reshape(-1, 2) + 0.5
    close = np.hypot(*(source - target).T) <= 1.5 * max_shift_px
    if close.sum() < MIN_FEATURES:
        return None
    matrix, kept = cv2.estimateAffinePartial2D(source[close], target[close], ransacReprojThreshold=2.0)
    return None if matrix is None or kept.sum() < MIN_FEATURES else np.asarray(matrix, np.float64)


def _stretched(look: View) -> NDArray[np.uint8]:
    low, high = np.percentile(look.grey[look.valid], (1, 99)) if look.valid.any() else (0.0, 1.0)
    return np.asarray(np.clip((look.grey - low) / max(high - low, 1e-6) * 255, 0, 255), np.uint8)


def identity() -> F64:
    """The nominal map."""
    return np.array([[1.0, 0, 0], [0, 1.0, 0]])


def scaled(matrix: F64, factor: float) -> F64:
    """The same map between pixels `factor` times as small."""
    out = matrix.copy()
    out[:, 2] *= factor
    return out
