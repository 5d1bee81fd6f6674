"""Windowed, masked reads; core/halo tiles at native GSD or resampled to a working GSD.

Resampling is a pure function of the global working pixel: the taps of a working row or column come from its own coordinate in
the scene, never from where a window was cut, so a pixel has the same bits in every tile (DESIGN, law 4).
"""

import math
import warnings
from collections.abc import Iterator

import numpy as np
import rasterio
import rasterio.windows
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from pipeline.errors import UnreadableError
from pipeline.grid import Grid, Window
from pipeline.imagery.scene import Scene, Tile

F32 = NDArray[np.float32]
CACHE_BYTES = 256 * 2**20
"""GDAL_CACHEMAX of rasterio.Env counts bytes (PERF 1); this holds several block rows of a 20 000 px wide scene."""


def read(scene: Scene, window: Window) -> Tile:
    """Read a native window as red, green, blue reflectance with its mask; outside the scene nothing is valid.

    A panchromatic band is repeated three times. Values are clipped to 0..1; NaN, nodata and transparent pixels are invalid.

    Raises:
        UnreadableError: the file is truncated or damaged.
    """
    pixels = np.zeros((3, *window.shape), np.float32)
    valid = np.zeros(window.shape, np.bool_)
    inside = window.intersect(scene.grid.window)
    if not inside.empty:
        rows = slice(inside.y0 - window.y0, inside.y1 - window.y0)
        columns = slice(inside.x0 - window.x0, inside.x1 - window.x0)
        pixels[:, rows, columns], valid[rows, columns] = _read_inside(scene, inside, inside.shape)
    return Tile(window, window, pixels, valid, scene.grid.crop(window))


def read_decimated(scene: Scene, factor: float) -> Tile:
    """The whole scene with pixels `factor` times as large, averaged; for masks and pictures, never for detection."""
    grid = scene.grid.scaled(factor)
    pixels, valid = _read_inside(scene, scene.grid.window, grid.shape)
    return Tile(grid.window, grid.window, pixels, valid, grid)


def _read_inside(scene: Scene, window: Window, shape: tuple[int, int]) -> tuple[F32, NDArray[np.bool_]]:
    """Reflectance (3, h, w) and mask (h, w) of a window inside the scene, averaged down to `shape`."""
    names = scene.radiometry.bands
    wanted = [names.index(n) + 1 for n in ("red", "green", "blue")] if "red" in names else [names.index("pan") + 1]
    box = rasterio.windows.Window(window.x0, window.y0, window.width, window.height)
    try:
        with (
            warnings.catch_warnings(),
            rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
            rasterio.open(scene.path) as source,
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            raw = source.read(
                wanted,
                window=box,
                out_shape=(len(wanted), *shape),
                resampling=rasterio.enums.Resampling.average,
            )
            alpha = names.index("alpha") + 1 if "alpha" in names else None
            opaque = source.read(alpha, window=box, out_shape=shape) > 0 if alpha else np.ones(shape, np.bool_)
    except (RasterioError, OSError) as error:
        raise UnreadableError(f"{scene.path}: cannot be read to its end", "The file is truncated or damaged.") from error
    valid = np.asarray(opaque & np.isfinite(raw).all(axis=0))
    if scene.radiometry.nodata is not None and not math.isnan(scene.radiometry.nodata):
        valid &= ~(raw == scene.radiometry.nodata).all(axis=0)
    values = np.nan_to_num(raw.astype(np.float32)) * np.float32(scene.radiometry.scale) + np.float32(scene.radiometry.offset)
    rgb = np.clip(values, 0, 1) * valid
    return np.ascontiguousarray(np.broadcast_to(rgb, (3, *shape)), np.float32), valid


def working_grid(scene: Scene, gsd_m: float) -> Grid:
    """The scene's ground at a working GSD; the native grid when the two differ by less than 1 %."""
    factor = gsd_m / scene.gsd_m
    return scene.grid if abs(factor - 1) < 0.01 else scene.grid.scaled(factor)


def read_at(scene: Scene, window: Window, gsd_m: float) -> Tile:
    """Read a window of the working grid at `gsd_m`; bit-identical pixels wherever the window is cut."""
    grid = working_grid(scene, gsd_m)
    if grid is scene.grid:
        return read(scene, window)
    factor = gsd_m / scene.gsd_m
    columns, weight_x = _taps(window.x0, window.x1, factor)
    rows, weight_y = _taps(window.y0, window.y1, factor)
    source = read(scene, Window(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1))
    mask = source.valid.astype(np.float32)
    planes = np.concatenate([source.pixels * mask, mask[None]])
    tall = _apply(planes.transpose(0, 2, 1), rows - source.core.y0, weight_y).transpose(0, 2, 1)
    out = _apply(tall, columns - source.core.x0, weight_x)
    valid = out[3] >= 0.5
    pixels = np.where(valid, out[:3] / np.maximum(out[3], np.float32(1e-6)), 0).astype(np.float32)
    return Tile(window, window, np.clip(pixels, 0, 1), valid, grid.crop(window))


def _taps(start: int, stop: int, factor: float) -> tuple[NDArray[np.int64], F32]:
    """Source indices (n, k) and weights (n, k) of working pixels start..stop: a triangle as wide as the coarser pixel."""
    centre = (np.arange(start, stop) + 0.5) * factor - 0.5
    reach = max(1.0, factor)
    first = np.ceil(centre - reach).astype(np.int64)
    index = first[:, None] + np.arange(int(2 * reach) + 1)
    weight = np.maximum(0.0, 1.0 - np.abs(index - centre[:, None]) / reach)
    return index, (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _apply(planes: F32, index: NDArray[np.int64], weight: F32) -> F32:
    """Weighted sum of taps along the last axis; always in the same order, so always the same bits."""
    out = planes[..., index[:, 0]] * weight[:, 0]
    for k in range(1, index.shape[1]):
        out += planes[..., index[:, k]] * weight[:, k]
    return np.ascontiguousarray(out, np.float32)


def iter_tiles(scene: Scene, gsd_m: float, core_px: int, halo_px: int, stride_px: int) -> Iterator[Tile]:
    """Core/halo tiles over the working grid: cores partition it, reads start on multiples of the stride and are multiples of it.

    Cores are balanced (equal to one stride), since a sliver at the edge costs a whole halo (PERF 6).
    """
    grid = working_grid(scene, gsd_m)
    for y0, y1 in _cuts(grid.height, core_px, stride_px):
        for x0, x1 in _cuts(grid.width, core_px, stride_px):
            core = Window(x0, y0, min(x1, grid.width), min(y1, grid.height))
            window = Window(x0, y0, x1, y1).pad(halo_px)
            tile = read_at(scene, window, gsd_m)
            yield Tile(core, window, tile.pixels, tile.valid, tile.grid)


def _cuts(length: int, core: int, stride: int) -> list[tuple[int, int]]:
    """Equal pieces of 0..length in multiples of the stride, none longer than `core` rounded up to it.

    Example: length 1000, core 512, stride 8 -> two pieces of 504 and 496 (rounded up to the stride: 0-504, 504-1008).
    """
    pieces = max(1, math.ceil(length / core))
    step = math.ceil(length / pieces / stride) * stride
    return [(a, a + step) for a in range(0, length, step)]
