"""Windowed, masked reads; core/halo tiles at native GSD or resampled to a working GSD. Never the whole scene at once.

Resampling is a pure function of the global working pixel: the taps of a working row or column come from its own coordinate in
the scene, never from where a window was cut, so a pixel has the same bits in every tile (DESIGN, law 4).
"""

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import rasterio.windows
from numpy.typing import NDArray
from rasterio.enums import MaskFlags

from pipeline.grid import Grid, Window
from pipeline.imagery.files import opened
from pipeline.imagery.resample import Reader, area_average, resample, tent
from pipeline.imagery.scene import Scene, Tile

F32 = NDArray[np.float32]
ROUNDING = np.float32(1e-5)
"""What rounding may take from weights that sum to 1."""
SAME_GSD = 0.01
"""Relative difference of two GSDs that resampling could not improve: a 16 m car changes by 16 cm."""


def read(scene: Scene, window: Window) -> Tile:
    """Read a native window as red, green, blue reflectance with its mask; outside the scene nothing is valid.

    A panchromatic band is repeated three times. Values are clipped to 0..1, the range that detectors and masks are made for
    (sun glint and cloud exceed it); NaN, nodata, masked and transparent pixels are invalid and hold 0.

    Raises:
        UnreadableError: the file is truncated or damaged.
    """
    with opened(scene.path) as source:
        return read_open(source, scene, window)


def read_decimated(scene: Scene, factor: float, window: Window | None = None) -> Tile:
    """A scene with pixels `factor` times as large, averaged over valid pixels; for masks and pictures, never for detection.

    Args:
        scene: the scene.
        factor: native pixels per pixel along one side.
        window: part of ``scene.grid.scaled(factor)``, all of it by default; may reach outside.

    Raises:
        UnreadableError: the file is truncated or damaged.
    """
    grid = scene.grid.scaled(factor)
    wanted = grid.window if window is None else window
    pixels, valid = np.zeros((3, *wanted.shape), np.float32), np.zeros(wanted.shape, np.bool_)
    inside = wanted.intersect(grid.window)
    if not inside.empty:
        rows, columns = _within(inside, wanted)
        with opened(scene.path) as source:
            part, mask = area_average(_rgb(source, scene), scene.grid, inside, factor)
        pixels[:, rows, columns], valid[rows, columns] = part, mask
    return Tile(wanted, wanted, pixels, valid, grid.crop(wanted))


def read_open(source: Any, scene: Scene, window: Window) -> Tile:
    """As `read`, from a dataset that is already open."""
    inside = window.intersect(scene.grid.window)
    if inside == window and not window.empty:
        pixels, valid = _rgb(source, scene)(window)
        return Tile(window, window, pixels, valid, scene.grid.crop(window))
    pixels, valid = np.zeros((3, *window.shape), np.float32), np.zeros(window.shape, np.bool_)
    if not inside.empty:
        rows, columns = _within(inside, window)
        pixels[:, rows, columns], valid[rows, columns] = _rgb(source, scene)(inside)
    return Tile(window, window, pixels, valid, scene.grid.crop(window))


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Rows and columns of one window in the array of another."""
    return slice(inner.y0 - outer.y0, inner.y1 - outer.y0), slice(inner.x0 - outer.x0, inner.x1 - outer.x0)


def _rgb(source: Any, scene: Scene) -> Reader:
    return lambda window: _planes(source, scene, window)


def _planes(source: Any, scene: Scene, window: Window) -> tuple[F32, NDArray[np.bool_]]:
    """(3, h, w) reflectance and (h, w) mask of a window inside the scene."""
    radiometry = scene.radiometry
    names = ("red", "green", "blue") if "red" in radiometry.bands else ("pan",)
    bands = [radiometry.bands.index(n) + 1 for n in names]
    box = rasterio.windows.Window(window.x0, window.y0, window.width, window.height)
    raw: NDArray[Any] = source.read(bands, window=box)
    valid = np.isfinite(raw).all(axis=0) if raw.dtype.kind == "f" else np.ones(raw.shape[1:], np.bool_)
    if radiometry.nodata is not None:
        with np.errstate(over="ignore"):  # a nodata value beyond the type's range matches nothing
            valid &= ~(raw == radiometry.nodata).all(axis=0)
    if "alpha" in radiometry.bands:
        valid &= source.read(radiometry.bands.index("alpha") + 1, window=box) > 0
    elif MaskFlags.per_dataset in source.mask_flag_enums[bands[0] - 1]:
        valid &= source.read_masks(bands[0], window=box) > 0
    values = _reflectance(raw, np.float32(radiometry.scale), np.float32(radiometry.offset))
    if not valid.all():
        values[:, ~valid] = 0
    return np.ascontiguousarray(np.broadcast_to(values, (3, *window.shape)), np.float32), np.asarray(valid, np.bool_)


def _reflectance(raw: NDArray[Any], scale: np.float32, offset: np.float32) -> F32:
    """Stored numbers to reflectance, clipped to 0..1; 8-bit ones through a table of the same 256 results."""
    if raw.dtype == np.uint8:
        table = np.clip(np.arange(256, dtype=np.float32) * scale + offset, 0, 1)
        return np.asarray(cv2.LUT(raw.reshape(-1, raw.shape[-1]), table), np.float32).reshape(raw.shape)
    values = raw.astype(np.float32)
    np.nan_to_num(values, copy=False)
    values *= scale
    values += offset
    return np.asarray(np.clip(values, 0, 1, out=values), np.float32)


def working_factor(scene: Scene, gsd_m: float) -> float:
    """Native pixels per working pixel; exactly 1 where the two GSDs differ by less than 1 %."""
    factor = gsd_m / scene.gsd_m
    return 1.0 if abs(factor - 1) < SAME_GSD else factor


def working_grid(scene: Scene, gsd_m: float) -> Grid:
    """The scene's ground at a working GSD; the native grid where `working_factor` is 1."""
    factor = working_factor(scene, gsd_m)
    return scene.grid if factor == 1 else scene.grid.scaled(factor)


def read_at(scene: Scene, window: Window, gsd_m: float) -> Tile:
    """Read a window of the working grid at `gsd_m`; bit-identical pixels wherever the window is cut.

    A working pixel is the mean of native pixels under a triangle as wide as the coarser of the two pixels, over the valid ones;
    it is valid when at least half of the triangle's weight is.

    Raises:
        UnreadableError: the file is truncated or damaged.
    """
    with opened(scene.path) as source:
        return _read_at(source, scene, window, gsd_m)


def _read_at(source: Any, scene: Scene, window: Window, gsd_m: float) -> Tile:
    factor = working_factor(scene, gsd_m)
    if factor == 1:
        return read_open(source, scene, window)
    down, y0 = tent(window.y0, window.y1, factor)
    across, x0 = tent(window.x0, window.x1, factor)
    native = read_open(source, scene, Window(x0, y0, x0 + across.shape[1], y0 + down.shape[1]))
    pixels = resample(native.pixels, down, across)
    valid = np.ones(window.shape, np.bool_)
    if not native.valid.all():
        share = resample(native.valid[None].astype(np.float32), down, across)[0]
        valid = share >= 0.5
        part = share < 1 - ROUNDING  # the rest is divided by nothing, here as in a tile without a hole: the same bits
        pixels[:, part] /= np.maximum(share[part], np.float32(0.5))
        pixels[:, ~valid] = 0
    grid = working_grid(scene, gsd_m).crop(window)
    return Tile(window, window, np.clip(pixels, 0, 1, out=pixels), valid, grid)


def iter_tiles(scene: Scene, gsd_m: float, core_px: int, halo_px: int, stride_px: int) -> Iterator[Tile]:
    """Core/halo tiles over the working grid, row by row, from one handle that belongs to the consuming thread.

    Raises:
        UnreadableError: the file is truncated or damaged.
    """
    windows = tile_windows(working_grid(scene, gsd_m), core_px, halo_px, stride_px)
    with opened(scene.path) as source:
        for core, window in windows:
            tile = _read_at(source, scene, window, gsd_m)
            yield Tile(core, window, tile.pixels, tile.valid, tile.grid)


def tile_windows(grid: Grid, core_px: int, halo_px: int, stride_px: int) -> list[tuple[Window, Window]]:
    """(core, read) windows: cores partition the grid; reads start on multiples of the stride and are multiples of it in size.

    Cores are balanced (equal to one stride), and larger rather than more, since each costs a whole halo (PERF 6). `halo_px` is a
    multiple of `stride_px`.
    """
    out = []
    for y0, y1 in _cuts(grid.height, core_px, stride_px):
        for x0, x1 in _cuts(grid.width, core_px, stride_px):
            core = Window(x0, y0, min(x1, grid.width), min(y1, grid.height))
            out.append((core, Window(x0, y0, x1, y1).pad(halo_px)))
    return out


def _cuts(length: int, core: int, stride: int) -> list[tuple[int, int]]:
    """Equal pieces of 0..length in multiples of the stride, as near to `core` as they come: half as long again at most.

    Example: length 1000, core 512, stride 8 -> two pieces of 504 (1000 / 2 = 500, rounded up): 0-504, 504-1008; length 600 -> one.
    """
    pieces = max(1, round(length / core))
    step = math.ceil(length / pieces / stride) * stride
    return [(a, a + step) for a in range(0, length, step)]
