"""Track centre lines proposed from an image, where a site file gives none.

Rails and strings of cars are long, straight or gently bent, and stand out from the ground across their own direction only. A bank of
long thin filters finds, at every place, the direction in which the picture repeats itself and how strongly; ridges of that strength
are followed from the strongest on. It proposes: roads, kerbs and walls are long and thin as well, and a person chooses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ImageryError
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.tiles import read_at, working_grid

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

WORKING_GSD_M = 0.35
"""Finest GSD that is looked at: rails 1.5 m apart are two lines of four pixels' distance."""

COARSEST_GSD_M = 1.25
"""Coarsest GSD: level 4 of the civil NIIRS rail criteria, "identify individual tracks", lies at 1.12 m (METHOD 3)."""

RAILS_M = 1.5
"""From rail to rail, centre to centre: gauge 1.435 to 1.52 m and a head of 7 cm."""

APART_M = 3.8
"""Least distance of two centre lines: 4.5 m in yards (METHOD 4.2), less the error of either."""

BODY_M, FLANK_M = 3.0, 1.0
"""Width of bodies and of what is left free on either side of them: 4.5 m between centres, bodies of 2.8 to 3.2 m (METHOD 4.2). As
wide as a body and no wider: the gap between two strings, half as wide, answers half as strongly."""

LONG_M = 36.0
"""Length of the filters: two cars and a half, so that neither a car nor a shadow alone answers."""

ANGLE_STEP_DEG = 2.0
"""Between filters: over half their weight the ends of two neighbours are 0.6 m apart, less than half a gauge."""

CONTRAST_SD_M = 8.0
"""Over which local contrast is levelled: a bright roof must not outweigh rails."""

LARGEST_PX = 6000
"""Side of the largest image that is searched: every filter turns all of it, in about 2 GB."""

STRENGTH = 0.45
"""Least strength of a ridge that is followed, in units of local contrast; chosen on rendered yards 4 985 000 to 4 985 002."""

STEP_M, BRIDGED_M, SHORTEST_M = 3.0, 60.0, 60.0
"""Step of the tracer; longest gap that it crosses straight on (a mast's shadow, a road); shortest line that is proposed."""

TURN_PER_STEP = 0.03
"""Largest turn in a step, radians: a radius of 100 m, below the 150 m of yard switches."""


@dataclass(frozen=True, slots=True)
class CentreLine:
    """A proposed centre line.

    Attributes:
        points: (P, 2) pixels of the image that was searched, `STEP_M` apart.
        strength: mean strength of the ridge beneath it; rails and strings stand above roads in a yard, and beside a town they need not.
    """

    points: F64
    strength: float

    @property
    def length_m(self) -> float:
        """Length, metres."""
        return (len(self.points) - 1) * STEP_M


def search(scene: Scene) -> tuple[Tile, list[CentreLine]]:
    """Propose centre lines on a whole image, at its own GSD or `WORKING_GSD_M` where it is finer.

    Returns:
        the image as it was searched, and the lines in its pixels.

    Raises:
        ImageryError: too coarse to tell tracks apart, or too large to be searched at once.
        UnreadableError: the file is damaged.
    """
    if scene.gsd_m > COARSEST_GSD_M:
        problem = f"{scene.path}: tracks cannot be told apart at {scene.gsd_m:.3g} m per pixel (limit {COARSEST_GSD_M:g} m)"
        raise ImageryError(problem, "Propose them on a finer image of the place, or draw them by hand.")
    gsd_m = max(scene.gsd_m, WORKING_GSD_M)
    grid = working_grid(scene, gsd_m)
    if max(grid.shape) > LARGEST_PX:
        side_km = LARGEST_PX * gsd_m / 1000
        raise ImageryError(
            f"{scene.path}: is too large to be searched for tracks at once", f"Cut out the yard, at most {side_km:.1g} km."
        )
    tile = read_at(scene, grid.window, gsd_m)
    return tile, propose(tile.pixels, tile.valid, gsd_m)


def propose(pixels: F32, valid: Mask, gsd_m: float) -> list[CentreLine]:
    """Propose centre lines, strongest first.

    Args:
        pixels: (3, H, W), any unit.
        valid: (H, W).
        gsd_m: metres per pixel, at most `COARSEST_GSD_M`.
    """
    assert gsd_m <= COARSEST_GSD_M
    strength, angle = ridges(pixels.mean(axis=0), valid, gsd_m)
    tracer = _Tracer(strength, angle, gsd_m)
    return sorted(tracer.lines(), key=lambda line: (-line.strength, *line.points[0]))


def ridges(grey: F32, valid: Mask, gsd_m: float) -> tuple[F32, F32]:
    """Strength and direction of the best filter at every pixel.

    Returns:
        (H, W) strength; (H, W) direction in radians, 0 to pi, from x towards y.
    """
    height, width = grey.shape
    levelled = _levelled(grey, valid, CONTRAST_SD_M / gsd_m)
    thin, broad = _ridge_kernel(max(RAILS_M / 4.3, 0.75 * gsd_m), gsd_m), _body_kernel(gsd_m)
    taps = max(3, round(LONG_M / gsd_m) | 1)
    long = cv2.getGaussianKernel(taps, taps / 4).astype(np.float32).ravel()
    side = ceil(hypot(height, width)) + 4
    strength, angle = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for degrees in np.arange(0.0, 180.0, ANGLE_STEP_DEG):
        turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), float(degrees), 1.0)
        turn[:, 2] += (side - width) / 2, (side - height) / 2
        turned = cv2.warpAffine(levelled, turn, (side, side), flags=cv2.INTER_LINEAR)
        rails = cv2.sepFilter2D(turned, -1, long, thin)
        bodies = cv2.sepFilter2D(turned, -1, long, broad)
        bodies = np.maximum(bodies, -DARK_SHARE * bodies)
        found = _pair(rails, RAILS_M / 2 / gsd_m) + BODY_SHARE * bodies
        back = cv2.warpAffine(found, turn, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        better = back > strength
        strength[better], angle[better] = back[better], np.radians(degrees)
    return strength * valid, angle


BODY_SHARE = 0.35
"""Weight of bodies beside rails: a string answers strongly and needs no help, rails under it are not seen."""

DARK_SHARE = 0.5
"""Weight of a dark band beside a bright one: a shadow is as long and as straight as the string that casts it, and always dark."""


def _levelled(grey: F32, valid: Mask, sd_px: float) -> F32:
    """Brightness less its local mean over its local spread; 0 where nothing was seen."""
    seen = valid.astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(seen, (0, 0), sd_px), 1e-3)
    mean = cv2.GaussianBlur(np.where(valid, grey, 0).astype(np.float32), (0, 0), sd_px) / weight
    off = np.where(valid, grey - mean, 0).astype(np.float32)
    spread = np.sqrt(cv2.GaussianBlur(off**2, (0, 0), sd_px) / weight)
    return np.asarray(np.clip(off / (spread + 1e-3), -2.5, 2.5), np.float32)


def _ridge_kernel(sd_m: float, gsd_m: float) -> F32:
    """Second derivative of a Gaussian, zero mean, unit norm."""
    reach = ceil(4 * sd_m / gsd_m)
    at = np.arange(-reach, reach + 1) * gsd_m / sd_m
    kernel = (1 - at**2) * np.exp(-0.5 * at**2)
    kernel -= kernel.mean()
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), np.float32)


def _body_kernel(gsd_m: float) -> F32:
    """A body against its two flanks, by the share of each pixel that they take; zero mean, unit norm."""
    outer = BODY_M / 2 + FLANK_M
    reach = ceil(outer / gsd_m)
    edges = (np.arange(-reach, reach + 2) - 0.5) * gsd_m

    def share(half_m: float) -> F64:
        return np.asarray(np.diff(np.clip(edges, -half_m, half_m)) / gsd_m)

    inner = share(BODY_M / 2)
    flanks = share(outer) - inner
    kernel = inner / inner.sum() - flanks / flanks.sum()
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), np.float32)


def _pair(rails: F32, half_px: float) -> F32:
    """Two like lines half a gauge above and below: the weaker of the two, 0 where they differ in sign."""
    size = rails.shape[::-1]
    above, below = (cv2.warpAffine(rails, np.array([[1, 0, 0], [0, 1, s * half_px]], np.float32), size) for s in (1, -1))
    return np.asarray(np.where(above * below > 0, np.minimum(np.abs(above), np.abs(below)), 0), np.float32)


class _Tracer:
    """Follows ridges from the strongest on; what lies within `APART_M` of a line begins no other."""

    def __init__(self, strength: F32, angle: F32, gsd_m: float) -> None:
        self._strength, self._angle, self._gsd = strength, angle, gsd_m
        self._taken = np.zeros(strength.shape, np.uint8)
        self._beside = np.arange(-0.9, 0.91, 0.15) / gsd_m

    def lines(self) -> Iterator[CentreLine]:
        """Every line of at least `SHORTEST_M`."""
        seeds = np.argwhere(self._strength >= 1.25 * STRENGTH)
        order = np.argsort(-self._strength[tuple(seeds.T)], kind="stable")
        for row, column in seeds[order]:
            if self._taken[row, column]:
                continue
            start, heading = np.array([column + 0.5, row + 0.5]), float(self._angle[row, column])
            ahead, behind = self._follow(start, heading), self._follow(start, heading + np.pi)
            points = np.array([*behind[::-1], start, *ahead])
            self._take(points, row, column)
            if (len(points) - 1) * STEP_M >= SHORTEST_M:
                smooth = _smoothed(points)
                values = [self._at(self._strength, p) for p in smooth]
                yield CentreLine(smooth, float(np.mean(values)))

    def _follow(self, point: F64, heading: float) -> list[F64]:
        """Points from a start on, until the ridge ends, another line is joined or the image is left."""
        out: list[tuple[F64, bool]] = []
        missing, shared = 0.0, 0.0
        while missing <= BRIDGED_M and shared <= 15.0:
            point = point + STEP_M / self._gsd * np.array([np.cos(heading), np.sin(heading)])
            if not self._inside(point):
                break
            across = np.array([-np.sin(heading), np.cos(heading)])
            values = np.array([self._at(self._strength, point + d * across) for d in self._beside])
            best = int(np.argmax(values - 0.15 * STRENGTH * np.abs(self._beside) * self._gsd))
            nearest = point + self._beside[best] * across
            bend = (self._at(self._angle, nearest) - heading + np.pi / 2) % np.pi - np.pi / 2
            on_ridge = bool(values[best] >= STRENGTH and abs(bend) < np.radians(8))
            if on_ridge:
                point = nearest
                heading += float(np.clip(0.35 * bend, -TURN_PER_STEP, TURN_PER_STEP))
            missing = 0.0 if on_ridge else missing + STEP_M
            shared = shared + STEP_M if self._at(self._taken, point) else 0.0
            out.append((point, on_ridge and shared == 0.0))
        while out and not out[-1][1]:
            out.pop()
        return [p for p, _ in out]

    def _take(self, points: F64, row: int, column: int) -> None:
        self._taken[row, column] = 1
        if len(points) > 1:
            corners = np.round((points - 0.5) * 16).astype(np.int32)
            cv2.polylines(self._taken, [corners], False, 1, max(1, int(2 * APART_M / self._gsd)), cv2.LINE_8, 4)

    def _inside(self, point: F64) -> bool:
        height, width = self._strength.shape
        return bool(0 <= point[0] < width and 0 <= point[1] < height)

    def _at(self, image: NDArray[np.generic], point: F64) -> float:
        return float(image[int(point[1]), int(point[0])]) if self._inside(point) else -1.0


def _smoothed(points: F64, reach: int = 3) -> F64:
    """Running mean over `2 reach + 1` points, the ends mirrored so that they stay where they are."""
    if len(points) <= 2 * reach + 1:
        return points
    before, after = 2 * points[0] - points[reach:0:-1], 2 * points[-1] - points[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, points, after])
    kernel = np.full(2 * reach + 1, 1 / (2 * reach + 1))
    return np.stack([np.convolve(padded[:, k], kernel, "valid") for k in (0, 1)], axis=1)
