"""Resampling of pixels with their mask: weights from global coordinates, sums in a fixed order, invalid pixels without a vote."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipeline.grid import Grid, Window

F32 = NDArray[np.float32]
Reader = Callable[[Window], tuple[F32, NDArray[np.bool_]]]
"""Planes (C, h, w), 0 where invalid, and mask (h, w) of a native window inside the scene."""

Weights = Any
"""A ``scipy.sparse.csr_array`` (n, m) float32 whose rows sum to 1."""

STRIP_PX = 4_000_000
"""Native pixels read at once when a whole scene passes by: 64 MB as four float32 planes."""


def tent(start: int, stop: int, factor: float) -> tuple[Weights, int]:
    """Weights (n, m) of working pixels start..stop on native pixels, and the first native pixel: a triangle for each.

    The triangle is as wide as the coarser of the two pixels: an anti-aliasing tent of radius `factor` down, linear interpolation
    up. It depends on the pixel's own coordinate only.
    """
    centre = (np.arange(start, stop) + 0.5) * factor - 0.5
    reach = max(1.0, factor)
    index = np.ceil(centre - reach).astype(np.int64)[:, None] + np.arange(int(2 * reach) + 1)
    weight = np.maximum(0.0, 1.0 - np.abs(index - centre[:, None]) / reach)
    return _matrix(index, weight / weight.sum(axis=1, keepdims=True))


def _matrix(index: NDArray[np.int64], weight: NDArray[np.float64]) -> tuple[Weights, int]:
    first, last = int(index.min()), int(index.max()) + 1
    keep = weight > 0
    row = np.broadcast_to(np.arange(len(index))[:, None], index.shape)
    entries = (weight[keep].astype(np.float32), (row[keep], index[keep] - first))
    return sparse.csr_array(entries, shape=(len(index), last - first)), first


def resample(planes: F32, down: Weights, across: Weights) -> F32:
    """(C, h, w) -> (C, n, m): rows, then columns. A product with a CSR matrix adds in the order of its entries: same bits always."""
    narrow = np.concatenate([down @ plane for plane in planes])
    out = (across @ np.ascontiguousarray(narrow.T)).T
    return np.ascontiguousarray(out, np.float32).reshape(len(planes), down.shape[0], across.shape[0])


def area_average(read: Reader, native: Grid, wanted: Window, factor: float) -> tuple[F32, NDArray[np.bool_]]:
    """Mean of the valid native pixels under each wanted pixel, read strip by strip.

    Args:
        read: reads a native window.
        native: grid that is read from.
        wanted: window of ``native.scaled(factor)``, inside it.
        factor: native pixels per wanted pixel along one side.

    Returns:
        (C, H, W) means, 0 where invalid; (H, W) whether at least half of the ground inside the scene was valid.
    """
    across, x0 = _shares(wanted.x0, wanted.x1, factor, native.width)
    x1 = x0 + across.shape[1]
    per_strip = max(1, int(STRIP_PX / ((x1 - x0) * factor)))
    means, valids = [], []
    for row in range(wanted.y0, wanted.y1, per_strip):
        end = min(row + per_strip, wanted.y1)
        down, y0 = _shares(row, end, factor, native.height)
        planes, valid = read(Window(x0, y0, x1, y0 + down.shape[1]))
        mean = resample(planes, down, across)
        seen = np.ones(mean.shape[1:], np.bool_)
        if not valid.all():
            share = resample(valid[None].astype(np.float32), down, across)[0]
            seen = share >= 0.5 - 1e-6  # half of a cell, up to the rounding of its weights
            mean = np.where(seen, mean / np.maximum(share, np.float32(0.25)), np.float32(0))
        means.append(mean)
        valids.append(seen)
    return np.ascontiguousarray(np.concatenate(means, axis=1), np.float32), np.concatenate(valids)


def _shares(start: int, stop: int, factor: float, length: int) -> tuple[Weights, int]:
    """Weights (n, m) of wanted pixels start..stop on native pixels, by shared ground, and the first native pixel."""
    low = np.arange(start, stop) * factor
    high = np.minimum(low + factor, length)
    index = np.floor(low).astype(np.int64)[:, None] + np.arange(int(np.ceil(factor)) + 1)
    share = np.clip(np.minimum(high[:, None], index + 1) - np.maximum(low[:, None], index), 0, None)
    share[index >= length] = 0
    index = np.minimum(index, length - 1)
    return _matrix(index, share / share.sum(axis=1, keepdims=True))
