"""Pixel change: one radiometry for both looks, then a local difference with a stated null distribution.

The after look is brought to the before look by a robust straight line per band through pixels that did not change (iteratively
re-weighted, METHOD 7). The score is the brightness difference after a tolerance of one pixel of misregistration, divided by its
own robust spread over the valid pixels, so that under no change it is close to standard normal in magnitude; the threshold is
that distribution's quantile at the false-alarm rate asked for.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import rasterio.features
from numpy.typing import NDArray
from scipy import stats
from shapely.geometry import mapping, shape

from pipeline.change.records import ChangeMap
from pipeline.imagery.scene import Tile

NULL = "absolute standard normal score of the local brightness difference"
SATURATED = 0.99
"""Reflectance-like value above which a display product has lost the number."""
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Gain:
    """after * gain + offset = before, per band, on pixels that did not change.

    Attributes:
        gain: three numbers.
        offset: three numbers.
        share: share of the common pixels that kept a weight above one half.
    """

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    share: float


def normalise(before: Tile, after: Tile) -> tuple[Tile, Gain]:
    """Bring `after` to the radiometry of `before`; saturated and invalid pixels have no vote."""
    both = before.valid & after.valid
    both &= (before.pixels < SATURATED).all(axis=0) & (after.pixels < SATURATED).all(axis=0)
    gains: list[float] = []
    offsets: list[float] = []
    shares: list[float] = []
    for x_all, y_all in zip(after.pixels, before.pixels, strict=True):
        x, y = x_all[both].astype(np.float64), y_all[both].astype(np.float64)
        if len(x) < 100 or x.std() < 1e-4:
            gains, offsets, shares = [*gains, 1.0], [*offsets, 0.0], [*shares, 0.0]
            continue
        step = max(1, len(x) // 200_000)
        gain, offset, share = _robust_line(x[::step], y[::step])
        gains, offsets, shares = [*gains, gain], [*offsets, offset], [*shares, share]
    pixels = after.pixels * np.array(gains, np.float32)[:, None, None] + np.array(offsets, np.float32)[:, None, None]
    moved = Tile(after.core, after.read, (pixels * after.valid).astype(np.float32), after.valid, after.grid)
    return moved, Gain((gains[0], gains[1], gains[2]), (offsets[0], offsets[1], offsets[2]), min(shares))


def _robust_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Orthogonal regression re-weighted by Tukey's biweight until it settles: gain, offset, share of no-change pixels."""
    weight = np.ones(len(x))
    gain, offset = float(np.std(y) / np.std(x)), 0.0
    for _ in range(12):
        mx, my = np.average(x, weights=weight), np.average(y, weights=weight)
        sxx, syy = np.average((x - mx) ** 2, weights=weight), np.average((y - my) ** 2, weights=weight)
        sxy = np.average((x - mx) * (y - my), weights=weight)
        if sxy <= 1e-12:
            break
        gain = float((syy - sxx + np.sqrt((syy - sxx) ** 2 + 4 * sxy**2)) / (2 * sxy))
        offset = float(my - gain * mx)
        residual = np.abs(y - gain * x - offset)
        spread = MAD_TO_SIGMA * np.median(residual) + 1e-6
        weight = np.maximum(0, 1 - (residual / (4.7 * spread)) ** 2) ** 2 + 1e-9
    return float(np.clip(gain, 0.2, 5)), offset, float((weight > 0.5).mean())


def difference(before: Tile, after: Tile, false_alarm_rate: float, min_area_m2: float, gsd_m: float) -> ChangeMap:
    """Score and threshold the change between two aligned, normalised looks.

    Args:
        before: reference look.
        after: aligned and normalised look on the same grid.
        false_alarm_rate: share of unchanged pixels that may be called changed, before the minimum mapping unit.
        min_area_m2: smaller patches are dropped.
        gsd_m: metres per pixel of the grid.
    """
    valid = before.valid & after.valid
    a = cv2.GaussianBlur(before.pixels.mean(axis=0), (0, 0), 1.0)
    b = cv2.GaussianBlur(after.pixels.mean(axis=0), (0, 0), 1.0)
    kernel = np.ones((3, 3), np.uint8)
    above = np.maximum(b - cv2.dilate(a, kernel), 0)  # brighter than anything within a pixel before
    below = np.maximum(cv2.erode(a, kernel) - b, 0)
    raw = np.where(valid, above - below, 0).astype(np.float32)
    plain = (b - a)[valid]
    spread = MAD_TO_SIGMA * float(np.median(np.abs(plain - np.median(plain)))) + 1e-4 if valid.any() else 1.0
    score = np.asarray(np.abs(raw) / np.float32(spread), np.float32)
    threshold = float(stats.norm.isf(false_alarm_rate / 2))
    changed = _drop_small((score > threshold) & valid, min_area_m2 / gsd_m**2)
    return ChangeMap(score, changed, valid, before.grid, threshold, NULL)


def _drop_small(mask: NDArray[np.bool_], min_pixels: float) -> NDArray[np.bool_]:
    count, labels, sizes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = sizes[:, cv2.CC_STAT_AREA] >= max(min_pixels, 1)
    keep[0] = False
    return np.asarray(keep[labels]) if count > 1 else np.zeros(mask.shape, np.bool_)


def polygons(change: ChangeMap, gsd_m: float) -> list[dict[str, Any]]:
    """Change patches as GeoJSON-like features in pixels of the map's grid, largest first, with their area in m2."""
    shapes = rasterio.features.shapes(change.changed.astype(np.uint8), mask=change.changed, connectivity=8)
    found = [shape(geometry).simplify(0.7) for geometry, _ in shapes]
    ordered = sorted(found, key=lambda p: (-p.area, p.bounds))
    return [{"geometry": mapping(p), "area_m2": round(p.area * gsd_m**2, 1)} for p in ordered]
