"""Lasting steps in a stack of looks: per pixel the strongest one, then patches of pixels that stepped between the same looks, dated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cv2
import numpy as np
import rasterio.features
from numpy.typing import NDArray
from scipy import ndimage
from shapely import Polygon
from shapely.affinity import translate
from shapely.geometry import mapping, shape

from pipeline.change.stack import MIN_LOOKS, Stack
from pipeline.grid import Window

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIDE_LOOKS = 2
"""Looks needed before and after a step: one alone may be a lorry."""
CLIP = 6.0
"""Multiples of its own spread at which a pixel's value is cut, so that a missed cloud is one poor look and not a step."""
PIXEL = 2.75
"""Strength from which a pixel may belong to a patch; what a patch is worth is judged on its mean series."""
NECK_PX = 2
"""Radius of what is cut: ground thinner than five pixels, less than the smallest structure has (`stack.CELLS`), is a neck of two."""
SLIVER = 0.2
"""Of a patch: a smaller part is a piece of its rim."""
LASTING = 0.5
"""Share of a step that the last two looks must still show."""


@dataclass(frozen=True, slots=True)
class Built:
    """Something that was not there and then stayed.

    Attributes:
        geometry: GeoJSON polygon in pixels of the stack's grid.
        area_m2: its area.
        last_without: index of the last look that saw the place without it.
        first_with: index of the first look that saw it.
        strength: its step over the step's standard error; of `series.Growth`, as a multiple of what chance reaches.
    """

    geometry: dict[str, Any]
    area_m2: float
    last_without: int
    first_with: int
    strength: float


def clipped(values: F32, valid: Mask) -> F32:
    """Values cut at `CLIP` spreads from each pixel's median; spreads are at least the usual one."""
    masked = np.where(valid, values, np.nan)
    with np.errstate(all="ignore"):
        middle = np.nan_to_num(_median(masked))
        spread = 1.4826 * np.nan_to_num(_median(np.abs(masked - middle)))
    spread = np.maximum(spread, np.median(spread[valid.any(axis=0)]) if valid.any() else 1.0)
    return np.asarray(np.clip(values, middle - CLIP * spread, middle + CLIP * spread) * valid, np.float32)


def _median(values: F32) -> F32:
    """Median over the first axis, NaN left out; NaN where nothing is left."""
    order = np.sort(values, axis=0)  # NaN last
    number = np.isfinite(values).sum(axis=0)
    low, high = np.maximum((number - 1) // 2, 0), np.minimum(number // 2, len(values) - 1)
    pick = [np.take_along_axis(order, i[None], axis=0)[0] for i in (low, high)]
    return np.asarray((pick[0] + pick[1]) / 2, np.float32)


def steps(values: F32, valid: Mask) -> tuple[F32, NDArray[np.int64]]:
    """Per pixel the strongest step: its size over its standard error (-1 where too few looks), and the first look after it."""
    n, s = np.cumsum(valid, axis=0, dtype=np.float32), np.cumsum(values, axis=0, dtype=np.float32)
    total = (values**2).sum(axis=0) - s[-1] ** 2 / np.maximum(n[-1], 1)
    best, step = np.zeros(values.shape[1:], np.float32), np.zeros(values.shape[1:], np.int64)
    for k in range(1, len(values)):
        before, after = n[k - 1], n[-1] - n[k - 1]
        able = (before >= SIDE_LOOKS) & (after >= SIDE_LOOKS) & valid[k]
        means = s[k - 1] / np.maximum(before, 1), (s[-1] - s[k - 1]) / np.maximum(after, 1)
        between = np.where(able, before * after / np.maximum(n[-1], 1) * (means[1] - means[0]) ** 2, 0)
        better = between > best
        best, step = np.where(better, between, best), np.where(better, k, step)
    enough = n[-1] >= MIN_LOOKS
    noise = np.maximum(total - best, 0) / np.maximum(n[-1] - 2, 1)
    usual = float(np.median(noise[enough])) if enough.any() else 1.0
    # a pixel cannot know its noise better than its neighbours do: half of what is usual is the floor
    strength = np.sqrt(best / np.maximum(noise, max(usual / 2, 1e-6)))
    return np.where(enough, strength, -1).astype(np.float32), step


def candidates(values: F32, stack: Stack, strength: F32, step: NDArray[np.int64], least: float) -> list[Built]:
    """Patches with a lasting step, however weak."""
    found = (_date(at, patch, values, stack, step) for at, patch in _patches(strength > PIXEL, step, stack.valid, least))
    return [b for b in found if b is not None]


def _whole(mask: Mask) -> NDArray[np.uint8]:
    """A mask whose hairline gaps are closed: berm and floor of a pit are one thing."""
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.uint8)


def _patches(mask: Mask, step: NDArray[np.int64], valid: Mask, least: float) -> Iterator[tuple[Window, Mask]]:
    """Connected ground that changed between the same looks, each with its window; neighbours of two dates are two patches."""
    count, labels, sizes, _ = cv2.connectedComponentsWithStats(_whole(mask), connectivity=8)
    before = _last_seen(step, valid)
    for label in range(1, count):
        x, y, w, h, area = (int(v) for v in sizes[label])
        if area < least:
            continue
        at = np.s_[y : y + h, x : x + w]
        rest, first, last = (labels[at] == label) & mask[at], step[at], before[at]
        taken = np.zeros((h, w), np.uint8)
        while rest.any():
            date = int(np.bincount(first[rest]).argmax())
            earlier = int(np.bincount(last[rest & (first == date)]).argmax())
            same = rest & (np.maximum(last, earlier) < np.minimum(first, date))  # their date intervals overlap
            rim = cv2.dilate(taken, np.ones((7, 7), np.uint8)) > 0
            for piece in _pieces(same, least):
                if rim[piece].mean() < 0.5:  # else the rim of a patch, which noise dated otherwise
                    taken[piece] = 1
                    yield Window(x, y, x + w, y + h), piece
            rest &= ~same


def _pieces(mask: Mask, least: float) -> list[Mask]:
    count, labels, sizes, _ = cv2.connectedComponentsWithStats(_whole(mask), connectivity=8)
    return [part for i in range(1, count) if sizes[i, cv2.CC_STAT_AREA] >= least for part in _at_necks(labels == i, least)]


def _at_necks(patch: Mask, least: float) -> list[Mask]:
    """The parts of a patch that only necks join: pits side by side, dug between the same looks, touch by their banks.

    Set on the depots of `series.BOTH`: of 390 pits 381 are found for 379 without, and one false structure less.
    """
    reach = NECK_PX + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NECK_PX + 1,) * 2)
    solid = np.pad(ndimage.binary_fill_holes(patch).astype(np.uint8), reach)
    count, cores = cv2.connectedComponents(cv2.erode(solid, disc))
    if count < 3:
        return [patch]
    cores = cores[reach:-reach, reach:-reach]
    rows, columns = ndimage.distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    nearest = cores[rows, columns]
    parts = [patch & (nearest == k) for k in range(1, count)]
    whole = [part for part in parts if part.sum() >= max(least, SLIVER * patch.sum())]
    return whole if len(whole) > 1 else [patch]


def _last_seen(step: NDArray[np.int64], valid: Mask) -> NDArray[np.int64]:
    """(H, W) index of the last look before `step` that saw each pixel."""
    out = np.zeros(step.shape, np.int64)
    for k in range(len(valid)):
        out = np.where(valid[k] & (k < step), k, out)
    return out


def _date(at: Window, patch: Mask, values: F32, stack: Stack, step: NDArray[np.int64]) -> Built | None:
    """Date a patch by its mean series; None where it does not last, or is a trend or a season rather than a step."""
    part = np.s_[:, at.y0 : at.y1, at.x0 : at.x1]
    inside, seen, step = values[part][:, patch], stack.valid[part][:, patch], step[part[1:]]
    half = seen.mean(axis=1) >= 0.5
    k0 = int(np.median(step[patch]))
    n1, n2 = seen[:k0].sum(axis=0), seen[k0:].sum(axis=0)
    sign = np.sign(inside[k0:].sum(axis=0) / np.maximum(n2, 1) - inside[:k0].sum(axis=0) / np.maximum(n1, 1))
    series = (inside * sign).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    looks = np.flatnonzero(half)
    y = series[looks].astype(np.float64)
    if len(y) < MIN_LOOKS:
        return None
    cuts = range(SIDE_LOOKS, len(y) - SIDE_LOOKS + 1)
    # dated by absolute deviations: one poor look must not draw the step to itself
    k = min(cuts, key=lambda c: float(np.abs(y[:c] - np.median(y[:c])).sum() + np.abs(y[c:] - np.median(y[c:])).sum()))
    left = float(((y[:k] - y[:k].mean()) ** 2).sum() + ((y[k:] - y[k:].mean()) ** 2).sum())
    size = y[k:].mean() - y[:k].mean()
    if size <= 0 or y[-SIDE_LOOKS:].mean() - y[:k].mean() < LASTING * size or left > _smooth_rest(y, looks, stack.times):
        return None
    error = np.sqrt(max(left / (len(y) - 2), 1e-6) * (1 / k + 1 / (len(y) - k)))
    geometry = translate(_outline(patch), at.x0, at.y0)
    return Built(
        dict(mapping(geometry)),
        round(geometry.area * stack.gsd_m**2, 1),
        int(looks[k - 1]),
        int(looks[k]),
        round(float(size / error), 1),
    )


def _smooth_rest(y: F64, looks: NDArray[np.int64], times: Sequence[datetime]) -> float:
    """What a straight line leaves of a series, or a year's wave where the looks span most of a year; the better of them."""
    days = np.array([(times[i] - times[0]).total_seconds() / 86400 for i in looks])
    ones = np.ones(len(y))
    models = [np.stack([ones, days], axis=1)]
    if np.ptp(days) > 270:
        turn = 2 * np.pi * days / 365.25
        models.append(np.stack([ones, np.cos(turn), np.sin(turn)], axis=1))
    return min(float(((y - m @ np.linalg.lstsq(m, y, rcond=None)[0]) ** 2).sum()) for m in models)


def _outline(patch: Mask) -> Any:
    """Polygon of a patch with its holes filled, corners of pixels smoothed away."""
    whole = _whole(patch)
    pieces: list[Any] = [shape(g) for g, _ in rasterio.features.shapes(whole, mask=whole > 0, connectivity=8)]
    largest = max(pieces, key=lambda p: p.area)
    return Polygon(largest.exterior.coords).simplify(0.7)
