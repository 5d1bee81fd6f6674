"""Tie points of two looks: windows spread over the shared ground, each with a sub-pixel shift from gradient phase correlation.

The gradient enters as magnitude times twice its angle, a complex number: gain cancels, an edge that turned from bright-dark to
dark-bright (snow, wet ground, another sun) still correlates, and water, whose gradients lie below the noise floor, has no vote.
Only windows are touched, so the cost does not grow with the frame.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.change.warping import inverse, patch

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
C64 = NDArray[np.complex64]
Bool = NDArray[np.bool_]

PEAK = 6.0
"""A correlation peak below this many standard deviations of its surface is no match."""
LEAST_SHARED = 0.25
"""A window that both looks saw less of than this holds too little to match."""
WHITENING = 0.8
"""Power of the spectrum divided out: 1 is phase correlation, which noise dominates; 0 is cross-correlation, with blunt peaks."""


@dataclass(frozen=True, slots=True)
class View:
    """One look at one resolution.

    Attributes:
        grey: (H, W) float32 brightness, 0 where not valid.
        valid: (H, W) bool.
        dark: brightness that counts as dark in this look; steadies the logarithm.
    """

    grey: F32
    valid: Bool
    dark: float


@dataclass(frozen=True, slots=True)
class TiePoints:
    """Matches found around a first guess.

    Attributes:
        before: (N, 2) places in the before look, pixels.
        after: (N, 2) the same ground in the after look.
        looked: windows with texture in both looks, matched or not.
        weight: independent windows per window, less than 1 where they lie closer than half a window, which tapering makes independent.
    """

    before: F64
    after: F64
    looked: int
    weight: float = 1.0


def view(grey: F32, valid: Bool) -> View:
    """A look with its own scale of darkness: the median brightness of what is valid."""
    sample = grey[:: max(1, grey.shape[0] // 512), :: max(1, grey.shape[1] // 512)]
    seen = sample[valid[:: max(1, grey.shape[0] // 512), :: max(1, grey.shape[1] // 512)]]
    return View(grey, valid, float(np.median(seen)) * 0.5 + 0.005 if len(seen) else 0.1)


def gradients(grey: F32, valid: Bool, dark: float) -> C64:
    """(H, W) gradient of log brightness, its angle doubled; zero within two pixels of what is not valid."""
    log = np.log(np.maximum(grey, 0) + np.float32(dark))
    gx, gy = cv2.Scharr(log, cv2.CV_32F, 1, 0), cv2.Scharr(log, cv2.CV_32F, 0, 1)
    inner = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
    field = (gx + 1j * gy).astype(np.complex64) * inner
    return np.asarray(field * field / (np.abs(field) + np.float32(1e-9)), np.complex64)


def clipped(field: C64) -> C64:
    """Gradients between the noise floor (their median) and a ceiling (their 98th percentile), as 0..1."""
    size = np.abs(field)
    seen = size[size > 0]
    if len(seen) == 0:
        return field
    floor, top = (float(v) for v in np.percentile(seen[:: max(1, len(seen) // 100_000)], (50, 98)))
    gain = np.clip((size - floor) / max(top - floor, 1e-9), 0, 1) / np.maximum(size, 1e-9)
    return np.asarray(field * gain, np.complex64)


def correlate(a: C64, b: C64, sharpness_px: float) -> F32:
    """Phase correlation of (..., H, W) fields over the last two axes, zero shift at [0, 0]; the peak is at x_before - x_after.

    The spectrum is weighted by a Gaussian whose transform has `sharpness_px` as standard deviation, so that the peak is smooth.
    """
    spectrum = fft.fft2(a) * np.conj(fft.fft2(b))
    size = np.abs(spectrum)
    spectrum /= (size + 1e-6 * size.max(axis=(-2, -1), keepdims=True) + 1e-12) ** WHITENING
    fy, fx = (fft.fftfreq(n).astype(np.float32) for n in a.shape[-2:])
    spectrum *= np.exp(-2 * (np.pi * sharpness_px) ** 2 * (fy[:, None] ** 2 + fx[None] ** 2))
    return np.asarray(fft.ifft2(spectrum).real, np.float32)


def places(before: View, after: View, start: F64, window: int, most: int) -> F64:
    """(N, 2) upper left corners of at most `most` windows, those with most texture in each part of the shared ground."""
    height, width = before.valid.shape
    step = max(window // 2, int(np.sqrt(height * width / (16.0 * most))))
    corners, share = np.zeros((0, 2)), np.zeros(0)
    for spacing in (step, step // 2, step // 4):  # closer where the shared ground is narrow
        xs = np.arange(0, max(1, width - window // 2), spacing) + min(0, (width - window) // 2)
        ys = np.arange(0, max(1, height - window // 2), spacing) + min(0, (height - window) // 2)
        corners = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float64)
        share = _shared(before, after, start, corners, window)
        if (share > LEAST_SHARED).sum() >= most // 2:
            break
    corners = corners[share > LEAST_SHARED]
    if len(corners) <= most:
        return corners
    centres = corners + window / 2
    back = inverse(start)
    texture = np.minimum(_texture(before, centres, window), _texture(after, centres @ back[:, :2].T + back[:, 2], window))
    cell = np.sqrt(np.prod(np.ptp(centres, axis=0) + window) / most)
    cells = np.floor(centres / cell).astype(np.int64) @ (1, 1 << 20)
    order = np.lexsort((-texture, cells))
    first = np.searchsorted(cells[order], cells[order])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - first
    return corners[np.sort(np.lexsort((-texture, rank))[:most])]


def _texture(look: View, centres: F64, window: int) -> F64:
    """(N,) mean size of the step from one pixel to the next around each centre, every fourth pixel looked at."""
    log = np.log(look.grey[::4, ::4] + np.float32(look.dark))
    valid = look.valid[::4, ::4]
    steps = np.zeros_like(log)
    steps[:, 1:] = np.abs(np.diff(log, axis=1)) * (valid[:, 1:] & valid[:, :-1])
    steps[1:] += np.abs(np.diff(log, axis=0)) * (valid[1:] & valid[:-1])
    mean = cv2.boxFilter(steps, -1, (window // 4, window // 4), borderType=cv2.BORDER_CONSTANT)
    x, y = np.clip((centres / 4).astype(np.int64), 0, (log.shape[1] - 1, log.shape[0] - 1)).T
    return np.asarray(mean[y, x], np.float64)


def _shared(before: View, after: View, start: F64, corners: F64, window: int) -> F64:
    """(N,) share of each window, sampled at 8 x 8 places, that both looks saw."""
    offsets = (np.arange(8) + 0.5) * window / 8
    points = (corners[:, None] + np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(1, -1, 2)).reshape(-1, 2)
    back = inverse(start)
    seen = seen_at(before.valid, points) & seen_at(after.valid, points @ back[:, :2].T + back[:, 2])
    return np.asarray(seen.reshape(len(corners), -1).mean(axis=1))


def seen_at(mask: Bool, points: F64) -> Bool:
    """(N,) bool: whether each of (N, 2) points lies on a pixel of the mask that is set."""
    x, y = np.floor(points).astype(np.int64).T
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    return np.asarray(inside & mask[np.clip(y, 0, mask.shape[0] - 1), np.clip(x, 0, mask.shape[1] - 1)])


def tie_points(before: View, after: View, start: F64, window: int, most: int) -> TiePoints:
    """Match windows of the before look in the after look around a first guess; shifts up to a quarter window are seen."""
    corners = places(before, after, start, window, most)
    none = TiePoints(np.zeros((0, 2)), np.zeros((0, 2)), 0)
    if len(corners) == 0:
        return none
    taper = np.outer(np.hanning(window), np.hanning(window)).astype(np.float32)
    fields = []
    for look, matrix in ((before, np.eye(3)[:2]), (after, start)):
        cut = [patch(look.grey, look.valid, matrix, (int(x), int(y)), (window, window)) for x, y in corners]
        fields.append(clipped(np.stack([gradients(grey, valid, look.dark) for grey, valid in cut])) * taper)
    a, b = fields
    energy = np.minimum((np.abs(a) > 0.3).mean(axis=(1, 2)), (np.abs(b) > 0.3).mean(axis=(1, 2)))
    textured = energy > 0.003
    if not textured.any():
        return none
    a, b, corners = a[textured], b[textured], corners[textured]
    shifts, clear = _peaks(correlate(a, b, 0.7))
    centres = corners[clear] + window / 2
    back = inverse(start)
    sources = (centres - shifts[clear]) @ back[:, :2].T + back[:, 2]
    return TiePoints(centres, sources, len(corners), _independent(corners, window))


def agreement(a: C64, b: C64) -> float:
    """Correlation coefficient of two gradient fields where either has an edge and both were seen."""
    norm = float(np.sqrt((np.abs(a) ** 2).sum() * (np.abs(b) ** 2).sum()))
    return float((a * np.conj(b)).real.sum() / norm) if norm > 0 else -1.0


def _independent(corners: F64, window: int) -> float:
    """Share of independent windows among these: the area of their half-window cells over that of as many separate ones."""
    cells = np.unique(np.floor(corners / (window / 2)), axis=0)
    return len(cells) / len(corners)


def _peaks(surfaces: F32) -> tuple[F64, Bool]:
    """(N, 2) sub-pixel x, y of the highest peak within a quarter window, and whether it stands out.

    The place is the vertex of a parabola through the logarithm of the peak and its neighbours: exact for a Gaussian.
    """
    n, height, width = surfaces.shape
    reach = width // 4
    middle = np.roll(surfaces, (height // 2, width // 2), axis=(1, 2))
    middle = middle[:, height // 2 - reach : height // 2 + reach + 1, width // 2 - reach : width // 2 + reach + 1]
    side = 2 * reach + 1
    row, column = np.divmod(middle.reshape(n, -1).argmax(axis=1), side)
    inside = (row > 0) & (row < side - 1) & (column > 0) & (column < side - 1)
    r, c, k = np.clip(row, 1, side - 2), np.clip(column, 1, side - 2), np.arange(n)
    top = middle[k, r, c]
    least = 1e-3 * np.abs(top) + 1e-20

    def vertex(low: F32, high: F32) -> F64:
        l, m, h = (np.log(np.maximum(v, least).astype(np.float64)) for v in (low, top, high))
        return np.asarray(np.clip(0.5 * (l - h) / np.minimum(l - 2 * m + h, -1e-9), -0.5, 0.5))

    dx = c - reach + vertex(middle[k, r, c - 1], middle[k, r, c + 1])
    dy = r - reach + vertex(middle[k, r - 1, c], middle[k, r + 1, c])
    clear = inside & (top > PEAK * surfaces.std(axis=(1, 2)))
    return np.column_stack([dx, dy]), np.asarray(clear)
