"""Pixel change between two aligned looks of one radiometry: a score whose distribution under no change is stated and fitted.

The differences of the bands, smoothed to a quarter of the minimum mapping unit's side, form a vector. Under no change it is taken to
follow a multivariate t whose scatter depends on the local texture, since a fraction of a pixel of misregistration shows on edges first.
Scatter, one per texture class, and degrees of freedom are fitted to the bulk of the pair's own pixels, re-weighted by their probability
of no change as in IR-MAD (Nielsen, IEEE TIP 16, 2007), so that change has no vote. Values are first cut to the range that both looks
hold: where one look is saturated, what the other saw above it is no change. The squared Mahalanobis length then follows
C F(C, nu); it is shown as the standard normal score of the same probability, and thresholded at the false-alarm rate asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.change.normalise import Gain, normalise
from pipeline.change.records import ChangeMap
from pipeline.imagery.scene import Tile

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

NULL = "absolute standard normal: the band differences follow a multivariate t fitted to the bulk of the pair, per texture class"
CLASSES = 12
"""Texture classes, equally many pixels in each."""
BLOCK = 512
"""Rows scored at a time: bounds the working memory whatever the size of the looks."""
SAMPLE = 150_000
LEAST = 2_000
"""Pixels below which a null cannot be fitted and nothing is called changed."""
BULK = (0.5, 0.9)
"""Quantiles of the length whose ratio gives the degrees of freedom: change, in the tail, has little say."""
TAIL = 0.5
"""Share of the bulk's degrees of freedom that the tail gets: a texture class mixes scatters, so its tail is the heavier. Pairs differ
widely: of 57 development pairs without change (``tests/bench/warps.py``, seeds 1000 to 1089) 0.7 called 1.07 % at a nominal 1 % on
average and 5 % in the worst; this keeps a margin."""
NUS = np.concatenate([np.linspace(2.0, 10, 33), np.geomspace(11, 400, 30)])


@dataclass(frozen=True, slots=True)
class _Null:
    """Distribution of the band differences under no change.

    Attributes:
        edges: (K - 1,) texture between the classes.
        mean: (K, C).
        root: (K, C, C), whitening: the length of root @ (d - mean) squared is C F(C, nu).
        nu: degrees of freedom.
    """

    edges: F64
    mean: F64
    root: F64
    nu: float


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
    threshold = float(stats.norm.isf(false_alarm_rate / 2))
    sigma = float(np.clip(np.sqrt(min_area_m2) / gsd_m / 4, 0.7, 3.0))
    score = np.zeros(valid.shape, np.float32)
    ranges = _common_ranges(before, after, valid)
    null = _fit_null(before, after, valid, sigma, ranges)
    if null is not None:
        lengths = np.concatenate([[0.0], np.geomspace(1e-3, 1e5, 2000)])
        bands = null.mean.shape[1]
        log_p = stats.f.logsf(lengths / bands, bands, null.nu)
        normal = np.linspace(0, 30, 3001)
        scores = np.interp(-log_p, -(stats.norm.logsf(normal) + np.log(2)), normal)
        for rows in _blocks(valid.shape[0], BLOCK):
            differences, texture = _features(before, after, valid, rows, slice(0, valid.shape[1]), sigma, ranges[:bands])
            length = _lengths(differences, texture, null)
            score[rows] = np.interp(np.sqrt(length), np.sqrt(lengths), scores) * valid[rows]
    changed = _drop_small((score > threshold) & valid, min_area_m2 / gsd_m**2)
    return ChangeMap(score, changed, valid, before.grid, threshold, NULL)


def _blocks(rows: int, size: int) -> Iterator[slice]:
    yield from (slice(y, min(y + size, rows)) for y in range(0, rows, size))


def _common_ranges(before: Tile, after: Tile, valid: Bool) -> F32:
    """(3, 2) least and greatest value of each band that both looks reach."""
    pairs = list(zip(before.pixels, after.pixels, strict=True))
    low = [max(float(x.min(where=valid, initial=1.0)) for x in pair) for pair in pairs]
    high = [min(float(x.max(where=valid, initial=0.0)) for x in pair) for pair in pairs]
    return np.column_stack([low, np.maximum(low, high)]).astype(np.float32)


def _features(before: Tile, after: Tile, valid: Bool, rows: slice, columns: slice, sigma: float, ranges: F32) -> tuple[F32, F32]:
    """(C, h, w) smoothed band differences and (h, w) texture of a block; masked pixels do not leak into their neighbours."""
    halo = int(np.ceil(4 * sigma)) + 3  # OpenCV cuts a Gaussian of floats at 4 sigma; a Sobel and an erosion come before it
    top, left = max(0, rows.start - halo), max(0, columns.start - halo)
    cut = np.s_[top : rows.stop + halo, left : columns.stop + halo]
    inner = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    seen = valid[cut].astype(np.float32)
    weight = cv2.GaussianBlur(seen, (0, 0), sigma)[inner] + np.float32(1e-6)
    out = np.empty((len(ranges), *weight.shape), np.float32)
    for k, (low, high) in enumerate(ranges):
        step = (np.clip(after.pixels[k][cut], low, high) - np.clip(before.pixels[k][cut], low, high)) * seen
        out[k] = cv2.GaussianBlur(step, (0, 0), sigma)[inner] / weight
    edges = []
    whole = cv2.erode(seen, np.ones((3, 3), np.uint8))
    for look in (before, after):
        grey = look.pixels[(0, *cut)] if len(ranges) == 1 else look.pixels[(slice(None), *cut)].mean(axis=0)
        size = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) * whole
        edges.append(cv2.GaussianBlur(size, (0, 0), sigma)[inner] / weight)
    return out, np.minimum(*edges)  # what is there in both looks: a new building must not widen the null it is judged by


def _lengths(differences: F32, texture: F32, null: _Null) -> F32:
    """(h, w) squared Mahalanobis length of the differences of each pixel in its texture class."""
    kind = np.searchsorted(null.edges.astype(np.float32), texture.ravel()).astype(np.uint8).reshape(texture.shape)
    centred = [d - null.mean.astype(np.float32)[kind, k] for k, d in enumerate(differences)]
    out = np.zeros(texture.shape, np.float32)
    for i in range(len(centred)):  # the root is lower triangular
        row = np.zeros(texture.shape, np.float32)
        for j in range(i + 1):
            row += null.root.astype(np.float32)[kind, i, j] * centred[j]
        out += row * row
    return out


def _fit_null(before: Tile, after: Tile, valid: Bool, sigma: float, ranges: F32) -> _Null | None:
    """Fit the null to a sample of at most 256 patches spread over the pair; None without enough common pixels."""
    bands = 1 if all(np.array_equal(t.pixels[0, ::7, ::7], t.pixels[1, ::7, ::7]) for t in (before, after)) else 3
    side, (height, width) = 128, valid.shape
    step = max(1, int(np.sqrt(-(-height // side) * -(-width // side) / 64)))
    parts: list[tuple[F32, F32]] = []
    for rows in list(_blocks(height, side))[::step]:
        for columns in list(_blocks(width, side))[::step]:
            if valid[rows, columns].any():
                differences, texture = _features(before, after, valid, rows, columns, sigma, ranges[:bands])
                seen = valid[rows, columns]
                parts.append((differences[:, seen], texture[seen]))
    if sum(len(t) for _, t in parts) < LEAST:
        return None
    vectors = np.concatenate([d for d, _ in parts], axis=1).T.astype(np.float64)
    texture = np.concatenate([t for _, t in parts]).astype(np.float64)
    thin = max(1, len(texture) // SAMPLE)
    vectors, texture = vectors[::thin], texture[::thin]
    edges = np.quantile(texture, np.arange(1, CLASSES) / CLASSES)
    kinds = np.searchsorted(edges, texture)
    fits = [_scatter(vectors[kinds == k]) for k in range(CLASSES)]
    mean, root = np.stack([m for m, _ in fits]), np.stack([r for _, r in fits])
    white = np.einsum("nij,nj->ni", root[kinds], vectors - mean[kinds])
    lengths = (white**2).sum(axis=1)
    nu = _degrees(lengths, bands)
    scale = np.sqrt(bands * stats.f.ppf(0.5, bands, nu) / max(float(np.median(lengths)), 1e-12))
    return _Null(np.asarray(edges, np.float64), np.asarray(mean, np.float64), np.asarray(root * scale, np.float64), nu)


def _scatter(vectors: F64) -> tuple[F64, F64]:
    """Robust mean and lower triangular whitening root; pixels weigh by their probability of no change, as in IR-MAD."""
    n, bands = vectors.shape
    if n < 10 * bands:
        return np.zeros(bands), np.eye(bands) * 1e3
    mean = np.median(vectors, axis=0)
    covariance = np.diag((1.4826 * np.median(np.abs(vectors - mean), axis=0) + 1e-5) ** 2)
    root = np.eye(bands)
    for _ in range(8):
        root = np.linalg.inv(np.linalg.cholesky(covariance + 1e-10 * np.eye(bands)))
        lengths = (((vectors - mean) @ root.T) ** 2).sum(axis=1)
        # unit median length in every class, so that one nu serves them all
        lengths *= stats.chi2.ppf(0.5, bands) / max(float(np.median(lengths)), 1e-12)
        weight = stats.chi2.sf(lengths, bands)
        mean = np.average(vectors, axis=0, weights=weight)
        covariance = np.cov(vectors.T, aweights=weight).reshape(bands, bands)
    lengths = (((vectors - mean) @ root.T) ** 2).sum(axis=1)
    return mean, root / np.sqrt(max(float(np.median(lengths)), 1e-12))


def _degrees(lengths: F64, bands: int) -> float:
    """Degrees of freedom of the tail, from the F distribution that has the ratio of quantiles of the bulk."""
    low, high = BULK
    seen = float(np.quantile(lengths, high) / max(np.quantile(lengths, low), 1e-12))
    expected = stats.f.ppf(high, bands, NUS) / stats.f.ppf(low, bands, NUS)
    return TAIL * float(np.interp(-seen, -expected, NUS))


def _drop_small(mask: Bool, min_pixels: float) -> Bool:
    count, labels, sizes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = sizes[:, cv2.CC_STAT_AREA] >= max(min_pixels, 1)
    keep[0] = False
    return np.asarray(keep[labels]) if count > 1 else np.zeros(mask.shape, np.bool_)


__all__ = ["NULL", "Gain", "difference", "normalise"]
