"""Co-registration of two looks: gradient phase correlation in windows, a robust fit, and a gate that refuses bad ones.

Method (METHOD 7; AROSICS' gates): a coarse shift from the whole overlap, or features (SIFT, RANSAC) where that is ambiguous; then
windows of `WINDOW` pixels, each with a sub-pixel shift and a peak quality; then a shift, or an affine where the windows support
one and it is clearly better. Water has no gradients and therefore no vote. The result is judged on gradient correlation over the
whole overlap, before against after; a fit that does not improve it is refused, with the reason.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.change.records import Alignment
from pipeline.imagery.scene import Tile

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

WINDOW = 192
"""Window side, pixels: holds several ground features at 3 m and one at 0.3 m."""
MIN_TIE_POINTS = 4
MAX_RESIDUAL_PX = 1.0
"""A fit whose tie points scatter more than this is not applied: a pixel of error is half of all real difference (METHOD 7)."""
MIN_INLIERS = 0.25
SIGNIFICANT_PX = 0.1
"""A shift below this is within the error of phase correlation (METHOD 7) and is not applied."""
IDENTITY = np.array([[1.0, 0, 0], [0, 1.0, 0]])


def register(before: Tile, after: Tile, max_shift_px: float) -> Alignment:
    """Find where `after` lies on `before`; both tiles are on one nominal grid.

    Args:
        before: the reference look.
        after: the other look, same shape.
        max_shift_px: largest offset looked for.

    Returns:
        x_before = matrix @ (x_after, y_after, 1). Refused fits carry the identity and a reason.
    """
    a, b = _gradients(before), _gradients(after)
    if (before.valid & after.valid).mean() < 0.02:
        return _refused("the looks share less than 2 % of the frame")
    start = _coarse(a, b, max_shift_px)
    candidates = [start] if start is not None else []
    features = _features(before, after, max_shift_px)
    if features is not None:
        candidates.append(features)
    candidates.append(IDENTITY)
    fits = [_refine(a, b, m) for m in candidates]
    good = [f for f in fits if f is not None]
    if not good:
        return _refused("too few windows with texture in both looks agree")
    scored = [(_agreement(a, b, f[0]), f) for f in good]
    (quality, (matrix, residual, inliers, count)) = max(scored, key=lambda s: s[0])
    return _gate(a, b, matrix, residual, inliers, count, quality, max_shift_px)


def _gate(
    a: F32,
    b: F32,
    matrix: F64,
    residual: float,
    inliers: float,
    count: int,
    quality: float,
    max_shift_px: float,
) -> Alignment:
    centre = np.array([a.shape[1] / 2, a.shape[0] / 2])
    dx, dy = matrix[:, :2] @ centre + matrix[:, 2] - centre
    reliability = float(np.clip(inliers, 0, 1) * np.clip(1 - residual / 2, 0, 1) * np.clip(count / 12, 0.3, 1))
    nominal = _agreement(a, b, IDENTITY)
    shift = float(np.hypot(dx, dy))
    reason = ""
    if shift > max_shift_px:
        reason = f"the shift found, {shift:.1f} px, is beyond the {max_shift_px:.1f} px allowed"
    elif residual > MAX_RESIDUAL_PX:
        reason = f"the residual, {residual:.2f} px, is above {MAX_RESIDUAL_PX:g} px"
    elif inliers < MIN_INLIERS or count < MIN_TIE_POINTS:
        reason = f"only {count} windows agree ({100 * inliers:.0f} %)"
    elif quality <= nominal and shift > SIGNIFICANT_PX:
        reason = f"gradient agreement does not improve ({nominal:.3f} to {quality:.3f})"
    elif shift <= SIGNIFICANT_PX and np.abs(matrix[:, :2] - IDENTITY[:, :2]).max() * max(a.shape) / 2 <= SIGNIFICANT_PX:
        return Alignment(
            IDENTITY,
            float(dx),
            float(dy),
            residual,
            reliability,
            False,
            "already registered to within 0.1 px",
            count,
        )
    if reason:
        return Alignment(IDENTITY, float(dx), float(dy), residual, reliability, False, reason, count)
    words = f"{count} windows, gradient agreement {nominal:.3f} to {quality:.3f}"
    return Alignment(matrix, float(dx), float(dy), residual, reliability, True, words, count)


def _refused(reason: str) -> Alignment:
    return Alignment(IDENTITY, 0.0, 0.0, 0.0, 0.0, False, reason)


def _gradients(tile: Tile) -> F32:
    """(H, W) gradient magnitude of the logarithm of brightness, zero near invalid pixels: immune to gain, deaf to water."""
    grey = np.log(tile.pixels.mean(axis=0) + np.float32(0.03))
    gx, gy = cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)
    inner = cv2.erode(tile.valid.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
    magnitude = np.hypot(gx, gy) * inner
    top = float(np.percentile(magnitude[inner > 0], 99)) if inner.any() else 1.0
    return np.asarray(np.minimum(magnitude, top) / max(top, 1e-6), np.float32)


def _correlate(a: F32, b: F32) -> F32:
    """Phase correlation surface of two equal arrays, zero shift at [0, 0]; peak at x_before - x_after."""
    spectrum = fft.rfft2(a) * np.conj(fft.rfft2(b))
    spectrum /= np.maximum(np.abs(spectrum), 1e-6 * float(np.abs(spectrum).max()) + 1e-12) ** 0.8  # not quite whitened: noise
    return np.asarray(fft.irfft2(spectrum, s=a.shape), np.float32)


def _coarse(a: F32, b: F32, max_shift_px: float) -> F64 | None:
    """A shift from the whole frame at a side of at most 1 024 pixels; None when its peak does not stand out."""
    factor = max(1, int(np.ceil(max(a.shape) / 1024)))
    size = (a.shape[1] // factor, a.shape[0] // factor)
    small_a, small_b = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (a, b))
    shape = [fft.next_fast_len(n + int(max_shift_px / factor) + 1, real=True) for n in small_a.shape]
    pad_a, pad_b = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    pad_a[: size[1], : size[0]], pad_b[: size[1], : size[0]] = small_a, small_b
    surface = _correlate(pad_a, pad_b)
    dy, dx = (fft.fftfreq(n, 1 / n) for n in surface.shape)
    near = np.hypot(dy[:, None], dx[None]) <= max_shift_px / factor + 1
    masked = np.where(near, surface, -np.inf)
    row, column = np.unravel_index(int(np.argmax(masked)), surface.shape)
    if masked[row, column] < 6 * float(surface[near].std()):
        return None
    return np.array([[1, 0, dx[column] * factor], [0, 1, dy[row] * factor]], np.float64)


def _features(before: Tile, after: Tile, max_shift_px: float) -> F64 | None:
    """SIFT matches and a RANSAC similarity, for large offsets, rotation and scale; None without enough agreement."""
    views = []
    for tile in (before, after):
        grey = tile.pixels.mean(axis=0)
        low, high = np.percentile(grey[tile.valid], (1, 99)) if tile.valid.any() else (0.0, 1.0)
        views.append(np.clip((grey - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8))
    sift: Any = cv2.SIFT_create(nfeatures=3000)  # type: ignore[attr-defined] # absent from the stub, not from the wheel
    (ka, da), (kb, db) = (sift.detectAndCompute(v, t.valid.astype(np.uint8)) for v, t in zip(views, (before, after), strict=True))
    if da is None or db is None or min(len(ka), len(kb)) < 12:
        return None
    pairs = [m for m, n in cv2.BFMatcher().knnMatch(db, da, k=2) if m.distance < 0.8 * n.distance]
    if len(pairs) < 8:
        return None
    source = np.array([kb[m.queryIdx].pt for m in pairs], np.float32)
    target = np.array([ka[m.trainIdx].pt for m in pairs], np.float32)
    close = np.hypot(*(source - target).T) <= 1.5 * max_shift_px
    if close.sum() < 8:
        return None
    matrix, kept = cv2.estimateAffinePartial2D(source[close], target[close], ransacReprojThreshold=2.0)
    if matrix is None or kept.sum() < 8:
        return None
    matrix = np.asarray(matrix, np.float64)
    matrix[:, 2] += 0.5 - matrix[:, :2] @ (0.5, 0.5)  # cv2 counts from pixel centres
    return matrix


def _refine(a: F32, b: F32, start: F64) -> tuple[F64, float, float, int] | None:
    """Windows around a first guess -> matrix, median residual px, inlier share, inliers; each pass starts from the last fit."""
    matrix = start
    for _ in range(3):
        warped = warp(b, matrix)
        found = _tie_points(a, warped)
        if found is None:
            return None
        points, shifts = found
        inlier = _consensus(shifts)
        if inlier.sum() < MIN_TIE_POINTS:
            return None
        step = _fit(points[inlier], shifts[inlier])
        matrix = _compose(step, matrix)
    residuals = np.hypot(*(shifts[inlier] - _shift_at(step, points[inlier])).T)
    return matrix, float(np.median(residuals)), float(inlier.mean()), int(inlier.sum())


def _tie_points(a: F32, b: F32) -> tuple[F64, F64] | None:
    """Centres and shifts of windows that have texture in both looks and a clear peak."""
    half = WINDOW // 2
    taper = np.outer(np.hanning(WINDOW), np.hanning(WINDOW)).astype(np.float32)
    points, shifts = [], []
    height, width = a.shape
    for y in range(0, max(1, height - half), half):
        for x in range(0, max(1, width - half), half):
            wa, wb = (_cut(g, x, y) * taper for g in (a, b))
            if min((wa > 0.15).mean(), (wb > 0.15).mean()) < 0.01:
                continue
            peak = _peak(_correlate(wa - wa.mean() * (wa > 0), wb - wb.mean() * (wb > 0)))
            if peak is not None:
                points.append((x + half, y + half))
                shifts.append(peak)
    if len(points) < MIN_TIE_POINTS:
        return None
    return np.array(points, np.float64), np.array(shifts, np.float64)


def _cut(g: F32, x: int, y: int) -> F32:
    piece = g[y : y + WINDOW, x : x + WINDOW]
    if piece.shape == (WINDOW, WINDOW):
        return piece
    out = np.zeros((WINDOW, WINDOW), np.float32)
    out[: piece.shape[0], : piece.shape[1]] = piece
    return out


def _peak(surface: F32) -> tuple[float, float] | None:
    """Sub-pixel place of the peak within a quarter window by the centroid of its 5 x 5 neighbourhood (PERF 5)."""
    shifted = np.roll(surface, (WINDOW // 2, WINDOW // 2), axis=(0, 1))
    middle = shifted[WINDOW // 4 : -WINDOW // 4, WINDOW // 4 : -WINDOW // 4]
    row, column = np.unravel_index(int(np.argmax(middle)), middle.shape)
    if not (2 <= row < middle.shape[0] - 2 and 2 <= column < middle.shape[1] - 2):
        return None
    if middle[row, column] < 6 * float(surface.std()):
        return None
    around = np.maximum(middle[row - 2 : row + 3, column - 2 : column + 3], 0)
    around = np.maximum(around - 0.2 * around.max(), 0)
    offsets = np.arange(-2, 3)
    total = float(around.sum())
    dy = row + float((around.sum(axis=1) * offsets).sum()) / total - WINDOW // 4
    dx = column + float((around.sum(axis=0) * offsets).sum()) / total - WINDOW // 4
    return dx, dy


def _consensus(shifts: F64) -> NDArray[np.bool_]:
    """Windows that agree with the densest group: the shift with most neighbours within 1.5 px, then its neighbours."""
    distance = np.hypot(shifts[:, None, 0] - shifts[None, :, 0], shifts[:, None, 1] - shifts[None, :, 1])
    best = int((distance < 1.5).sum(axis=1).argmax())
    return np.asarray(distance[best] < 2.0)


def _fit(points: F64, shifts: F64) -> F64:
    """A shift (median), or an affine by least squares where 12 windows support it and it halves the residual."""
    shift = np.median(shifts, axis=0)
    plain = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    if len(points) < 12 or np.ptp(points, axis=0).min() < 2 * WINDOW:
        return plain
    design = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    solution, *_ = np.linalg.lstsq(design, points + shifts, rcond=None)
    affine = np.asarray(solution.T)
    error_plain = np.median(np.hypot(*(shifts - shift).T))
    error_affine = np.median(np.hypot(*(shifts - _shift_at(affine, points)).T))
    return affine if error_affine < 0.6 * error_plain and error_plain > 0.15 else plain


def _shift_at(matrix: F64, points: F64) -> F64:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2] - points)


def _compose(second: F64, first: F64) -> F64:
    """The matrix that applies `first`, then `second`."""
    a, b = (np.vstack([m, [0, 0, 1]]) for m in (second, first))
    return np.asarray((a @ b)[:2])


def _agreement(a: F32, b: F32, matrix: F64) -> float:
    """Correlation coefficient of the gradients over the overlap once `b` is warped."""
    inside = warp(np.ones_like(b), matrix) > 0.99
    warped = warp(b, matrix)
    use = inside & ((a > 0) | (warped > 0))
    if use.sum() < 100:
        return -1.0
    return float(np.corrcoef(a[use], warped[use])[0, 1])


def warp(image: F32, matrix: F64) -> F32:
    """An (H, W) or (H, W, C) array moved onto the reference frame; outside is 0. Pixel frame as everywhere: corners, not centres."""
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # cv2 counts from pixel centres
    return np.asarray(cv2.warpAffine(image, centred, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderValue=0))


def warp_tile(tile: Tile, matrix: F64) -> Tile:
    """Pixels and mask of a look on the reference frame; a pixel is valid when all that it is made of is."""
    valid = warp(tile.valid.astype(np.float32), matrix) > 0.999
    moved = warp(np.ascontiguousarray(tile.pixels.transpose(1, 2, 0)), matrix).transpose(2, 0, 1) * valid
    return Tile(tile.core, tile.read, np.ascontiguousarray(moved, np.float32), valid, tile.grid)
