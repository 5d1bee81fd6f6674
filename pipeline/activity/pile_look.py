"""How large a pile of boxes is in a picture: the block that explains it best, its shadow included (METHOD 5, E4).

A block of boxes under a known sun and view has six unknowns: where it stands, its two sides, its heading, its height. They decide
which pixels are pile, which shadow and which ground; the block is taken under which pile and shadow are each most nearly of one tone
and unevenness, and the rest most like the commonest ground (after the region energy of Chan & Vese 2001, IEEE Trans. Image Process.
10, 266, with a variance of each region's own). At last tone alone settles its edges.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

WORK_GSD_M = 0.75
"""Every picture is resampled to this: fine enough for a side of a block, coarse enough to blur its doors and gaps."""

GROUND_SDS, LEAST_CONTRAST = 3.5, 0.03
"""A pixel is not ground beyond so many robust standard deviations, and never nearer to it than this."""

NOISE = 0.015
"""No region is taken to be smoother than this."""

TEXTURE_PX = 1.0
"""Pixels that unevenness is averaged over."""

OUTLYING = 4.0
"""Robust standard deviations from which a pixel is no more unlike ground."""

SMALLEST_M2 = 25.0
"""What is smaller than two twenty-foot boxes side by side is no pile."""

LOWEST_M, HIGHEST_M = 2.3, 18.0
"""Less than one box (2.591 m) and more than six: METHOD 4.1 knows piles of three loaded and about five empty."""

HEIGHTS_M = tuple(2.591 * n for n in (1, 1.5, 2, 3, 4, 5, 6))
"""Heights to begin from."""

STEPS = (2.0, 1.0, 0.5, 0.25, 0.12)
"""Steps of the search, metres of place, side and height."""

MARGIN = 20
"""Pixels of ground around what stands out that the block is judged by."""

_SUBPIXEL = 4  # fractional bits of a corner in cv2


@dataclass(frozen=True, slots=True)
class PileLook:
    """A pile as one picture shows it.

    Attributes:
        x_m, y_m: middle of its base in the picture, metres from the top left corner.
        length_m, width_m: sides of the rectangle that it stands on, the longer first.
        height_m: from the shadow, before any rounding to tiers.
    """

    x_m: float
    y_m: float
    length_m: float
    width_m: float
    height_m: float


def look_at_pile(pixels: F32, valid: Mask, gsd_m: float, shadow: F64, lean: F64) -> PileLook | None:
    """Measure the largest pile on open ground.

    Args:
        pixels: (3, H, W) reflectance or display values; most of it ground.
        valid: (H, W) what was seen.
        gsd_m: metres per pixel.
        shadow: (2,) metres of shadow per metre of height, away from the sun, x right y down; its length is 1 / tan(sun elevation).
        lean: (2,) metres by which a roof lies beside its base per metre of height; its length is tan(off-nadir).

    Returns:
        None where nothing stands out from the ground, or not all of the picture was seen.
    """
    if not valid.all():
        return None
    size = tuple(round(n * gsd_m / WORK_GSD_M) for n in pixels.shape[:0:-1])
    image = np.asarray(cv2.resize(np.ascontiguousarray(pixels.transpose(1, 2, 0)), size, interpolation=cv2.INTER_AREA), np.float32)
    step = gsd_m * pixels.shape[2] / size[0]
    image = np.dstack([image, _texture(image)])
    other = _not_ground(image, step)
    if other is None:
        return None
    (y0, x0), (y1, x1) = (f(np.argwhere(other), axis=0) for f in (np.min, np.max))
    window = tuple(slice(max(0, a - MARGIN), b + 1 + MARGIN) for a, b in ((y0, y1), (x0, x1)))
    image, other = image[window], other[window]
    fit = _Fit(image, _unlike_ground(image), step, shadow, lean)
    theta = _heading(image, other)
    starts = [_inscribed(other, step, theta, height, shadow, lean) for height in HEIGHTS_M]
    ranked = sorted((s for s in starts if s is not None), key=fit.energy)
    if not ranked:
        return None
    best = min((fit.refined(s) for s in ranked[:3]), key=fit.energy)
    plain = np.ascontiguousarray(image[..., :3])
    best = _Fit(plain, _unlike_ground(plain), step, shadow, lean).refined(best, STEPS[1:])  # unevenness finds a block, tone its edges
    corner = np.array([w.start for w in window[::-1]]) * step
    return PileLook(*(float(v) for v in (*(best[:2] + corner), max(best[2:4]), min(best[2:4]), best[5])))


def _texture(image: F32) -> F32:
    """(H, W) how uneven the picture is: a roof of many boxes may have the tone of the ground, and is never as even."""
    grey = image.mean(axis=2)
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx, scale=0.25) for dx in (1, 0))
    return np.asarray(cv2.GaussianBlur(np.hypot(gx, gy), (0, 0), TEXTURE_PX), np.float32)


def _not_ground(image: F32, step: float) -> Mask | None:
    """(H, W) the largest connected part that is not of the commonest tone."""
    ground = np.median(image, axis=(0, 1))
    off = np.abs(image - ground)
    spread = 1.4826 * np.median(off, axis=(0, 1))
    mask = (off > np.maximum(GROUND_SDS * spread, LEAST_CONTRAST)).any(axis=2).astype(np.uint8)
    mask = cv2.morphologyEx(cv2.medianBlur(mask, 3), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    best = max(outlines, key=cv2.contourArea, default=None)
    if best is None or cv2.contourArea(best) * step**2 < SMALLEST_M2:
        return None
    return np.asarray(cv2.drawContours(np.zeros_like(mask), [best], -1, 1, cv2.FILLED), np.bool_)


def _unlike_ground(image: F32) -> F64:
    """(H, W) cost of calling a pixel ground: minus twice its log likelihood under the commonest tone, bounded.

    The ground's spread is fixed and robust, so that a part of the pile left outside the block costs what it stands out by.
    """
    middle = np.median(image, axis=(0, 1))
    spread = np.maximum(1.4826 * np.median(np.abs(image - middle), axis=(0, 1)), NOISE)
    z = np.minimum(((image - middle) / spread) ** 2, OUTLYING**2)
    return np.asarray((z + 2 * np.log(spread) - 1).sum(axis=2), np.float64)


def _heading(image: F32, where: Mask) -> float:
    """Heading of the edges, modulo a right angle, radians: the mean of the gradients' fourfold angle."""
    grey = image[..., :3].mean(axis=2)
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    z = (gx + 1j * gy)[cv2.dilate(where.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0]
    return float(np.angle((z**4 / np.maximum(np.abs(z), 1e-6) ** 2).sum()) / 4)


def _inscribed(other: Mask, step: float, theta: float, height: float, shadow: F64, lean: F64) -> F64 | None:
    """Block of this height and heading whose outline, lean and shadow included, has the bounds of the mask."""
    points = np.argwhere(other)[:, ::-1] * step + step / 2
    axes = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
    at = points @ axes.T
    low, high = np.percentile(at, (1, 99), axis=0)
    reach = height * np.stack([axes @ shadow, axes @ lean, np.zeros(2)])
    low, high = low - reach.min(axis=0), high - reach.max(axis=0)
    if (high - low < 2.0).any():
        return None
    return np.array([*((low + high) / 2 @ axes), *(high - low), theta, height])


@dataclass(frozen=True, slots=True)
class _Fit:
    """The picture that blocks are held against; a block is (6,): x, y, sides along and across, heading, height; metres, radians.

    `ground` is the cost of calling each pixel ground.
    """

    image: F32
    ground: F64
    step: float
    shadow: F64
    lean: F64

    def energy(self, block: F64) -> float:
        """Log spread of pile and shadow, and the cost of the rest as ground; infinite where the shadow is no darker than the ground."""
        base, height = _corners(block), float(block[5])
        body, dark = self._cover(base, base + self.lean * height), self._cover(base, base + self.shadow * height)
        dark &= ~body
        on, off = (self.image[m] for m in (body, dark))
        ground = ~(body | dark)
        if min(len(on), len(off), int(ground.sum())) < 4 or off[:, :3].mean() > self.image[ground][:, :3].mean():
            return float("inf")
        return _spread(on) + _spread(off) + float(self.ground[ground].sum())

    def refined(self, block: F64, steps: tuple[float, ...] = STEPS) -> F64:
        """The block after a search along each of its unknowns with ever smaller steps."""
        best, value = block, self.energy(block)
        for size in steps:
            turn = size / max(float(block[2:4].max()), 8.0)
            for _ in range(6):
                before = value
                for move in _moves(float(best[4]), size, turn):
                    for sign in (1, -1):
                        trial = best + sign * move
                        if trial[2:4].min() > 2 and LOWEST_M < trial[5] < HIGHEST_M and (found := self.energy(trial)) < value:
                            best, value = trial, found
                            break
                if value == before:
                    break
        return best

    def _cover(self, near: F64, far: F64) -> Mask:
        mask = np.zeros(self.image.shape[:2], np.uint8)
        hull = cv2.convexHull(np.concatenate([near, far]).astype(np.float32))
        points = np.round((hull / self.step - 0.5) * 2**_SUBPIXEL).astype(np.int32)
        return np.asarray(cv2.fillConvexPoly(mask, points, 1, cv2.LINE_8, _SUBPIXEL), np.bool_)


def _spread(pixels: F32) -> float:
    """Sum over the pixels (N, C) of a region of the log variance of its channels."""
    return float(len(pixels) * np.log(pixels.var(axis=0) + NOISE**2).sum())


def _corners(block: F64) -> F64:
    """(4, 2) metres."""
    x, y, long, wide, theta, _ = block
    u, v = np.array([np.cos(theta), np.sin(theta)]) * long / 2, np.array([-np.sin(theta), np.cos(theta)]) * wide / 2
    return np.asarray(np.array([x, y]) + np.array([-u - v, u - v, u + v, -u + v]))


def _moves(theta: float, size: float, turn: float) -> list[F64]:
    """Each of the four sides by itself, height, heading."""
    c, s = np.cos(theta) * size / 2, np.sin(theta) * size / 2
    sides = [[c, s, size, 0], [-c, -s, size, 0], [-s, c, 0, size], [s, -c, 0, size]]
    return [np.array([*m, 0, 0]) for m in sides] + [np.array([0, 0, 0, 0, 0, size]), np.array([0, 0, 0, 0, turn, 0])]
