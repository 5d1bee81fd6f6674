"""What of the ground a scene shows: nodata, the scene's own mask, and a built-in mask of thick cloud.

The built-in rule sees red, green and blue only (near infrared added nothing measurable on the reference scenes). It takes what is
bright, colourless, large and wide, and stands out from the ground around it; it misses thin cloud, haze, cloud narrower than its
least width and the shadow of cloud, and may take a very large white roof or snow for cloud. A scene with a mask of its own names
it in its metadata, and `cloud_mask: false` switches the rule off (port areas are often masked as cloud by mistake).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UnreadableError
from pipeline.grid import Window
from pipeline.imagery.files import opened
from pipeline.imagery.observed import Observed, Unseen
from pipeline.imagery.resample import area_average
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.tiles import read_decimated

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_PIXEL_M = 2.0
"""The observation grid has pixels of 2 m or larger: finer than the shortest car is long."""
MAX_SIDE = 2000
"""Longer side of the observation grid, pixels."""
MIN_COLLAR_CELLS = 1024
"""Black cells in one piece at the frame's edge that are taken for ground outside the swath: 32 x 32, larger than a shadow."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Thresholds of the cloud rule, read off clear and clouded scenes of ports and the reference masks.

    Attributes:
        pixel_m: pixel at which cloud is judged; objects and their texture are gone there.
        core: index of a pixel that is surely white.
        grow: index down to which cloud reaches from its core.
        width_m: narrowest cloud; wider than most roofs.
        area_m2: smallest cloud.
        mean: mean index of a whole cloud.
        contrast: how far a cloud's mean lies above the ground 60-120 m beside it.
        colour: mean difference between the brightest and the darkest band; sand is yellow.
    """

    pixel_m: float
    core: float
    grow: float
    width_m: float
    area_m2: float
    mean: float
    contrast: float
    colour: float


DISPLAY = Rule(6.0, 0.78, 0.66, 72.0, 15_000.0, 0.855, 0.26, 0.105)
"""Index: the darkest of red, green, blue, as a share of the display range; clear concrete and sand reach 0.85,
but not with that contrast and that little colour."""
REFLECTANCE = Rule(10.0, 0.09, 0.08, 40.0, 8_000.0, 0.09, 0.02, 1.0)
"""Index: blue - red / 2, the haze-optimised transform of Zhang et al. (2002), in reflectance."""
OVERCAST = 0.8
"""Share of a scene that is core from which there is no ground left to compare with."""
REACH_M = 60.0
"""How far cloud may reach beyond its core."""


def observe(scene: Scene) -> Observed:
    """The observation state of a scene, at pixels of max(4 GSD, 2 m) or such that the longer side has 2 000.

    Raises:
        UnreadableError: the image or its mask cannot be read.
    """
    longest = max(scene.grid.width, scene.grid.height)
    factor = max(min(4.0, longest / 64), MIN_PIXEL_M / scene.gsd_m, longest / MAX_SIDE)
    small = read_decimated(scene, factor)
    seen = small.valid & ~_collar(small)
    state = np.where(seen, Unseen.OBSERVED, Unseen.NO_DATA).astype(np.uint8)
    if scene.mask_path is not None:
        state[(state == 0) & _read_mask(scene, factor)] = Unseen.MASKED
    if scene.cloud_mask:
        cloud = cloudy(small.pixels, seen, scene.gsd_m * factor, DISPLAY if scene.radiometry.display else REFLECTANCE)
        state[(state == 0) & cloud] = Unseen.CLOUD
    return Observed(state, small.grid, factor)


def cloudy(pixels: F32, valid: Mask, gsd_m: float, rule: Rule) -> Mask:
    """(H, W) bool: thick cloud in (3, H, W) red, green, blue."""
    shrink = max(1, round(rule.pixel_m / gsd_m))
    index, colour, seen = _coarse(pixels, valid, shrink, rule)
    cell = gsd_m * shrink
    core = seen & (index > rule.core)
    if not core.any():
        return np.zeros(valid.shape, np.bool_)
    overcast = core.sum() >= OVERCAST * seen.sum()
    whole = cv2.morphologyEx(core.astype(np.uint8), cv2.MORPH_CLOSE, _disc(12 / cell))
    wide = _opened(whole, rule.width_m / 2 / cell)
    kept = whole > 0 if overcast else _stand_out(index, colour, seen, wide, cell, rule)
    kept = _grown(kept, seen & (index > rule.grow), round(REACH_M / cell)) & seen
    large = cv2.resize(kept.astype(np.uint8), None, fx=shrink, fy=shrink, interpolation=cv2.INTER_NEAREST)
    return np.asarray((large[: valid.shape[0], : valid.shape[1]] > 0) & valid)


def _coarse(pixels: F32, valid: Mask, shrink: int, rule: Rule) -> tuple[F32, F32, Mask]:
    """Index of the rule, colour, and mask, in cells of `shrink` x `shrink` pixels; the last cells may be partial."""
    planes = np.concatenate([pixels * valid, valid[None].astype(np.float32)])
    planes = np.pad(planes, [(0, 0), *((0, -n % shrink) for n in valid.shape)])
    _, height, width = planes.shape
    cells = planes.reshape(4, height // shrink, shrink, width // shrink, shrink).mean(axis=(2, 4))
    bands = cells[:3] / np.maximum(cells[3], np.float32(1e-6))
    index = bands.min(axis=0) if rule is DISPLAY else bands[2] - bands[0] / 2
    return index, bands.max(axis=0) - bands.min(axis=0), np.asarray(cells[3] > 0.25)


def _stand_out(index: F32, colour: F32, seen: Mask, cores: NDArray[np.uint8], cell: float, rule: Rule) -> Mask:
    """The pieces of `cores` that are large, white and brighter than the ground around them."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cores, connectivity=8)
    kept = np.zeros(seen.shape, np.bool_)
    for piece in range(1, count):
        inside = labels == piece
        mean = float(index[inside].mean())
        large = stats[piece, cv2.CC_STAT_AREA] * cell**2 >= rule.area_m2
        if not large or mean < rule.mean or float(colour[inside].mean()) > rule.colour:
            continue
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5) * cell
        around = seen & (distance > 60) & (distance <= 120)
        if around.any() and mean - float(index[around].mean()) >= rule.contrast:
            kept |= inside
    return kept


def _grown(seeds: Mask, allowed: Mask, steps: int) -> Mask:
    """Seeds spread over allowed cells, `steps` cells far, and one cell more for the soft edge."""
    grown, kernel = seeds.astype(np.uint8), _disc(1)
    mask = (allowed | seeds).astype(np.uint8)
    if not seeds.any():
        return seeds
    for _ in range(max(1, steps)):
        grown = cv2.dilate(grown, kernel) & mask
    return np.asarray(cv2.dilate(grown, kernel) > 0, np.bool_)


def _collar(small: Tile) -> Mask:
    """Cells that are exactly black in all bands, in one large piece at the frame's edge: a swath edge without declared nodata."""
    black = (small.valid & (small.pixels.max(axis=0) == 0)).astype(np.uint8)
    if not black.any():
        return np.zeros(black.shape, np.bool_)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(black, connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    large = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= MIN_COLLAR_CELLS)
    return np.asarray(np.isin(labels, np.intersect1d(np.setdiff1d(edge, [0]), large)), np.bool_)


def _opened(mask: NDArray[np.uint8], radius_px: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(radius_px)), np.uint8)


def _disc(radius_px: float) -> NDArray[np.uint8]:
    size = 2 * max(1, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _read_mask(scene: Scene, factor: float) -> Mask:
    """Where at least half of a cell is masked by the scene's own mask."""
    assert scene.mask_path is not None
    with opened(scene.mask_path, "Mend or remove `mask`.") as source:
        if (source.height, source.width) != scene.grid.shape:
            raise UnreadableError(
                f"{scene.mask_path}: is {source.width} x {source.height} pixels, its image {scene.grid.width} x {scene.grid.height}",
                "Give a mask of the image's own shape.",
            )

        def read(window: Window) -> tuple[F32, Mask]:
            box = ((window.y0, window.y1), (window.x0, window.x1))
            found = source.read(1, window=box) != 0
            return np.asarray(found[None], np.float32), np.ones(found.shape, np.bool_)

        share, _ = area_average(read, scene.grid, scene.grid.scaled(factor).window, factor)
    return np.asarray(share[0] >= 0.5 - 1e-6)
