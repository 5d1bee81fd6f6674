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
from shapely.geometry import shape

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
LEVEL = 0.35
"""Of the strength that a tenth of a patch exceeds: weaker ground lies around a structure, or between two."""
RISING = (False, True)
"""Of tone and relief, whether only a rise counts: ground turns lighter or darker where something is built, but rougher. What is paved
turns smoother, and is left to tone: shadows that two looks lack are rarer by far than shadows that two looks have."""
RELIEF_PX = 5
"""Side of the window whose spread is the relief: the smallest structure that is asked for is six pixels wide (`stack.CELLS`)."""
GROWN = (0, RELIEF_PX // 2)
"""Pixels by which tone and relief show a structure larger than it is."""
SLIVER = 0.2
"""Of a patch: a smaller part is a piece of its rim."""
LASTING = 0.5
"""Share of a step that the last two looks must still show."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Ground with a step that may have been built.

    Attributes:
        at: its window in the stack's grid.
        mask: (h, w) bool, what would stand there.
        grown: pixels by which the measure that drew it shows it larger; they are off already, but a sharp one outlines better.
        last_without: index of the last look that saw the place without it.
        first_with: index of the first look that saw it.
        sides: looks before the step and after it.
        strengths: of each measure its step over the step's standard error, 0 where it has none that lasts.
    """

    at: Window
    mask: Mask
    grown: int
    last_without: int
    first_with: int
    sides: tuple[int, int]
    strengths: tuple[float, ...]

    def outline(self) -> Polygon:
        """Outline of the largest part in pixels of the grid, corners of pixels smoothed away."""
        pieces: list[Any] = [shape(g) for g, _ in rasterio.features.shapes(self.mask.view(np.uint8), mask=self.mask, connectivity=8)]
        largest = max(pieces, key=lambda p: p.area)
        return translate(Polygon(largest.exterior.coords).simplify(0.7), self.at.x0, self.at.y0)


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


def steps(values: F32, valid: Mask, rising: bool = False) -> tuple[F32, NDArray[np.int64]]:
    """Per pixel the strongest step, or rise: its size over its standard error (-1 where too few looks), and the first look after it."""
    n, s = np.cumsum(valid, axis=0, dtype=np.float32), np.cumsum(values, axis=0, dtype=np.float32)
    total = (values**2).sum(axis=0) - s[-1] ** 2 / np.maximum(n[-1], 1)
    best, step = np.zeros(values.shape[1:], np.float32), np.zeros(values.shape[1:], np.int64)
    for k in range(1, len(values)):
        before, after = n[k - 1], n[-1] - n[k - 1]
        able = (before >= SIDE_LOOKS) & (after >= SIDE_LOOKS) & valid[k]
        gap = (s[-1] - s[k - 1]) / np.maximum(after, 1) - s[k - 1] / np.maximum(before, 1)
        between = np.where(able & ((gap > 0) | (not rising)), before * after / np.maximum(n[-1], 1) * gap**2, 0)
        better = between > best
        best, step = np.where(better, between, best), np.where(better, k, step)
    enough = n[-1] >= MIN_LOOKS
    noise = np.maximum(total - best, 0) / np.maximum(n[-1] - 2, 1)
    usual = float(np.median(noise[enough])) if enough.any() else 1.0
    # a pixel cannot know its noise better than its neighbours do: half of what is usual is the floor
    strength = np.sqrt(best / np.maximum(noise, max(usual / 2, 1e-6)))
    return np.where(enough, strength, -1).astype(np.float32), step


def candidates(values: F32, stack: Stack, least: float) -> list[Patch]:
    """What may have been built.

    Args:
        values: (2, T, H, W) tone and relief of the ground.
        stack: the looks.
        least: pixels that a patch has at least.

    Returns:
        patches of either measure whose mean series have a lasting step, however weak.
    """
    found: list[Patch] = []
    for measure, rising, grown in zip(values, RISING, GROWN, strict=True):
        strength, step = steps(measure, stack.valid, rising)
        for at, mask in _patches(strength, step, stack.valid, least):
            footprint = _footprint(mask, grown)
            dated = _dated(at, mask, values, stack, step) if footprint.sum() >= least else None
            if dated:
                found.append(Patch(at, footprint, grown, *dated))
    return found


def _footprint(mask: Mask, grown: int) -> Mask:
    """What stands where a measure that shows it `grown` pixels larger stepped: holes filled, the margin off."""
    solid = ndimage.binary_fill_holes(_whole(mask)).astype(np.uint8)
    return np.asarray(cv2.erode(solid, np.ones((2 * grown + 1,) * 2, np.uint8)) > 0)


def _whole(mask: Mask) -> NDArray[np.uint8]:
    """A mask whose hairline gaps are closed: berm and floor of a pit are one thing."""
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.uint8)


def _patches(strength: F32, step: NDArray[np.int64], valid: Mask, least: float) -> Iterator[tuple[Window, Mask]]:
    """Connected ground that changed between the same looks, each with its window; neighbours of two dates are two patches."""
    mask = strength > PIXEL
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
            for piece in _pieces(same, strength[at], least):
                if rim[piece].mean() < 0.5:  # else the rim of a patch, which noise dated otherwise
                    taken[piece] = 1
                    yield Window(x, y, x + w, y + h), piece
            rest &= ~same


def _pieces(mask: Mask, strength: F32, least: float) -> list[Mask]:
    count, labels, sizes, _ = cv2.connectedComponentsWithStats(_whole(mask), connectivity=8)
    return [part for i in range(1, count) if sizes[i, cv2.CC_STAT_AREA] >= least for part in _at_necks(labels == i, strength, least)]


def _at_necks(patch: Mask, strength: F32, least: float) -> list[Mask]:
    """The strong ground of a patch, in parts that only necks join: pits dug side by side between the same looks touch by banks."""
    strong = patch & (strength >= LEVEL * np.quantile(strength[patch], 0.9))
    reach = NECK_PX + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NECK_PX + 1,) * 2)
    solid = np.pad(ndimage.binary_fill_holes(strong).astype(np.uint8), reach)
    count, cores = cv2.connectedComponents(cv2.erode(solid, disc))
    if count < 3:
        return [strong]
    cores = cores[reach:-reach, reach:-reach]
    rows, columns = ndimage.distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    nearest = cores[rows, columns]
    parts = [strong & (nearest == k) for k in range(1, count)]
    whole = [part for part in parts if part.sum() >= max(least, SLIVER * strong.sum())]
    return whole if len(whole) > 1 else [strong]


def _last_seen(step: NDArray[np.int64], valid: Mask) -> NDArray[np.int64]:
    """(H, W) index of the last look before `step` that saw each pixel."""
    out = np.zeros(step.shape, np.int64)
    for k in range(len(valid)):
        out = np.where(valid[k] & (k < step), k, out)
    return out


def _dated(
    at: Window, mask: Mask, values: F32, stack: Stack, step: NDArray[np.int64]
) -> tuple[int, int, tuple[int, int], tuple[float, ...]] | None:
    """Last look without, first look with, looks on either side and strengths of a patch, by its mean series.

    None where no measure of it lasts, or each is a trend or a season rather than a step.
    """
    part = np.s_[:, at.y0 : at.y1, at.x0 : at.x1]
    seen, k0 = stack.valid[part][:, mask], int(np.median(step[part[1:]][mask]))
    looks = np.flatnonzero(seen.mean(axis=1) >= 0.5)
    if len(looks) < MIN_LOOKS:
        return None
    series = [_series(each[part][:, mask], seen, None if rising else k0)[looks] for each, rising in zip(values, RISING, strict=True)]
    cuts = np.arange(SIDE_LOOKS, len(looks) - SIDE_LOOKS + 1)
    # dated by absolute deviations, lest one poor look draw the step to itself; by their logarithms, since no spread is known beforehand
    k = int(cuts[np.argmin(sum(np.log([_deviation(y[:c]) + _deviation(y[c:]) + 1e-6 for c in cuts]) for y in series))])
    strengths = tuple(_strength(y, k, _smooth_rest(y, looks, stack.times)) for y in series)
    if max(strengths) == 0:
        return None
    return int(looks[k - 1]), int(looks[k]), (k, len(looks) - k), strengths


def _series(inside: F32, seen: Mask, k0: int | None) -> F64:
    """(T,) mean of the pixels (T, N) of a patch, those that fell at look `k0`, if there is one, turned to rise."""
    if k0 is None:
        return np.asarray(inside.sum(axis=1) / np.maximum(seen.sum(axis=1), 1), np.float64)
    before, after = (inside[s].sum(axis=0) / np.maximum(seen[s].sum(axis=0), 1) for s in (np.s_[:k0], np.s_[k0:]))
    return np.asarray((inside * np.sign(after - before)).sum(axis=1) / np.maximum(seen.sum(axis=1), 1), np.float64)


def _deviation(y: F64) -> float:
    return float(np.abs(y - np.sort(y)[len(y) // 2]).sum())


def _strength(y: F64, k: int, smooth_rest: float) -> float:
    """Step of a series before its look `k` over the step's standard error; 0 where it does not last or something smooth fits better."""
    left = float(((y[:k] - y[:k].mean()) ** 2).sum() + ((y[k:] - y[k:].mean()) ** 2).sum())
    size = float(y[k:].mean() - y[:k].mean())
    if size <= 0 or y[-SIDE_LOOKS:].mean() - y[:k].mean() < LASTING * size or left > smooth_rest:
        return 0.0
    return size / float(np.sqrt(max(left / (len(y) - 2), 1e-6) * (1 / k + 1 / (len(y) - k))))


def _smooth_rest(y: F64, looks: NDArray[np.int64], times: Sequence[datetime]) -> float:
    """What a straight line leaves of a series, or a year's wave where the looks span most of a year; the better of them."""
    days = np.array([(times[i] - times[0]).total_seconds() / 86400 for i in looks])
    ones = np.ones(len(y))
    models = [np.stack([ones, days], axis=1)]
    if np.ptp(days) > 270:
        turn = 2 * np.pi * days / 365.25
        models.append(np.stack([ones, np.cos(turn), np.sin(turn)], axis=1))
    return min(float(((y - m @ np.linalg.lstsq(m, y, rcond=None)[0]) ** 2).sum()) for m in models)
