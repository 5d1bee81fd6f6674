"""What of the ground a scene shows: nodata, the scene's own mask, and a built-in cloud mask for visible bands.

The cloud rule is for red, green and blue only: brighter than almost any ground, without colour, without texture, and large.
Bright roofs, snow and quays fail it by texture or size; thin cloud and haze pass unseen. A scene with a better mask of its own
names it in its metadata, and `cloud_mask: false` switches the rule off (port areas are often masked as cloud by mistake).
"""

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from pipeline.errors import UnreadableError
from pipeline.imagery.observed import Observed, Unseen
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.tiles import read_decimated

MIN_PIXEL_M = 2.0
"""Cloud is judged at 2 m or coarser: texture of ground survives there, that of cloud does not."""
MAX_SIDE = 2000
BRIGHT = 0.55
"""Mean of red, green, blue above which a pixel may be cloud; clear concrete stays near 0.3-0.45 in visual products."""
GREY = 0.12
"""Largest difference between bands of a cloud pixel."""
SMOOTH = 0.035
"""Largest local standard deviation (3 x 3) of a cloud pixel at the observation grid."""
MIN_CLOUD_M2 = 2500.0
"""Smallest cloud: 50 x 50 m, larger than a white warehouse bay, smaller than any cumulus that matters."""


def observe(scene: Scene) -> Observed:
    """The observation state of a scene, at pixels of max(4 GSD, 2 m) or such that the longer side has 2 000.

    Raises:
        UnreadableError: the image or its mask cannot be read.
    """
    longest = max(scene.grid.width, scene.grid.height)
    factor = max(min(4.0, longest / 64), MIN_PIXEL_M / scene.gsd_m, longest / MAX_SIDE)
    small = read_decimated(scene, factor)
    state = np.where(small.valid, Unseen.OBSERVED, Unseen.NO_DATA).astype(np.uint8)
    if scene.mask_path is not None:
        state[(state == 0) & _read_mask(scene, small.valid.shape)] = Unseen.MASKED
    if scene.cloud_mask:
        state[(state == 0) & cloudy(small, scene.gsd_m * factor)] = Unseen.CLOUD
    return Observed(state, small.grid, factor)


def cloudy(tile: Tile, gsd_m: float) -> NDArray[np.bool_]:
    """(H, W) bool: bright, grey, smooth and large patches, grown by 20 m for their soft edge."""
    brightness = tile.pixels.mean(axis=0)
    spread = tile.pixels.max(axis=0) - tile.pixels.min(axis=0)
    mean = cv2.blur(brightness, (3, 3))
    texture = np.sqrt(np.maximum(cv2.blur(brightness**2, (3, 3)) - mean**2, 0))
    core = (tile.valid & (brightness > BRIGHT) & (spread < GREY) & (texture < SMOOTH)).astype(np.uint8)
    closed = cv2.morphologyEx(core, cv2.MORPH_CLOSE, _disc(10 / gsd_m))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disc(12 / gsd_m))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] * gsd_m**2 >= MIN_CLOUD_M2
    large[0] = False
    if count == 1 or not large.any():
        return np.zeros(tile.valid.shape, np.bool_)
    grown = cv2.dilate(large[labels].astype(np.uint8), _disc(20 / gsd_m))
    return np.asarray((grown > 0) & tile.valid)


def _disc(radius_px: float) -> NDArray[np.uint8]:
    size = 2 * max(1, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _read_mask(scene: Scene, shape: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        with rasterio.open(scene.mask_path) as source:
            if (source.height, source.width) != scene.grid.shape:
                raise UnreadableError(
                    f"{scene.mask_path}: is {source.width} x {source.height} pixels, its image {scene.grid.width} x "
                    f"{scene.grid.height}",
                    "Give a mask of the image's own shape.",
                )
            found = source.read(1, out_shape=shape, resampling=rasterio.enums.Resampling.average) > 0
    except (RasterioError, OSError) as error:
        raise UnreadableError(f"{scene.mask_path}: the mask cannot be read", "Mend or remove `mask`.") from error
    return np.asarray(found, np.bool_)
