"""One radiometry for two looks: a robust straight line per band through pixels that did not change (METHOD 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.imagery.scene import Tile

F64 = NDArray[np.float64]

SATURATED = 0.99
"""Reflectance-like value above which a display product has lost the number."""
GAINS = (0.2, 5.0)
"""Least and greatest gain: beyond them the looks are of different quantities, and only their means are brought together."""
MAD_TO_SIGMA = 1.4826
SAMPLE = 200_000
"""Pixels that vote: the gain of a band is known to 0.1 % from as many."""


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


def fit_gain(before: Tile, after: Tile) -> Gain:
    """Radiometry of `after` against `before`; saturated and invalid pixels have no vote. Too few pixels give the identity, share 0."""
    step = max(1, int(np.sqrt(before.valid.size / (2 * SAMPLE))))
    y_all, x_all = (t.pixels[:, ::step, ::step] for t in (before, after))
    both = before.valid[::step, ::step] & after.valid[::step, ::step]
    both &= (y_all < SATURATED).all(axis=0) & (x_all < SATURATED).all(axis=0)
    fits = []
    for xs, ys in zip(x_all, y_all, strict=True):
        x, y = xs[both].astype(np.float64), ys[both].astype(np.float64)
        fits.append((1.0, 0.0, 0.0) if len(x) < 100 or x.std() < 1e-4 else _robust_line(x, y))
    gains, offsets, shares = zip(*fits, strict=True)
    return Gain((gains[0], gains[1], gains[2]), (offsets[0], offsets[1], offsets[2]), min(shares))


def normalise(before: Tile, after: Tile) -> tuple[Tile, Gain]:
    """Bring `after` to the radiometry of `before`."""
    gain = fit_gain(before, after)
    pixels = after.pixels * np.array(gain.gain, np.float32)[:, None, None]
    pixels += np.array(gain.offset, np.float32)[:, None, None]
    pixels *= after.valid
    return Tile(after.core, after.read, pixels, after.valid, after.grid), gain


def _robust_line(x: F64, y: F64) -> tuple[float, float, float]:
    """Orthogonal regression re-weighted by Tukey's biweight until it settles: gain, offset, share of no-change pixels."""
    middle_x, middle_y = np.median(x), np.median(y)
    spread_x, spread_y = np.median(np.abs(x - middle_x)), np.median(np.abs(y - middle_y))
    gain = float(spread_y / spread_x) if min(spread_x, spread_y) > 1e-4 else float(np.std(y) / np.std(x))
    offset = float(middle_y - gain * middle_x)  # from medians: a large change must not draw the first line
    weight = _biweight(y - gain * x - offset)
    for _ in range(12):
        mx, my = np.average(x, weights=weight), np.average(y, weights=weight)
        sxx, syy = np.average((x - mx) ** 2, weights=weight), np.average((y - my) ** 2, weights=weight)
        sxy = np.average((x - mx) * (y - my), weights=weight)
        if sxy <= 1e-12:
            break
        gain = float((syy - sxx + np.sqrt((syy - sxx) ** 2 + 4 * sxy**2)) / (2 * sxy))
        offset = float(my - gain * mx)
        weight = _biweight(y - gain * x - offset)
    held = float(np.clip(gain, *GAINS))
    return held, offset + (gain - held) * float(np.average(x, weights=weight)), float((weight > 0.5).mean())


def _biweight(residual: F64) -> F64:
    """Tukey's weights at 4.7 robust spreads; never quite zero."""
    size = np.abs(residual)
    spread = MAD_TO_SIGMA * np.median(size) + 1e-6
    return np.asarray(np.maximum(0, 1 - (size / (4.7 * spread)) ** 2) ** 2 + 1e-9)
