"""Two scenes on one grid. Only a registered pair is ever warped; everything else stays on its native grid."""

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject, transform, transform_bounds

from pipeline.errors import ImageryError
from pipeline.grid import Grid, Window
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.tiles import read, read_decimated

F64 = NDArray[np.float64]

MAX_SIDE_PX = 4096
"""Longer side of a common grid: pixel change of larger pairs is computed at a coarser GSD; objects keep their own precision."""
MIN_SIDE_PX = 8
"""Shorter side of a common grid: less holds no gradient clear of its own edges (two pixels on each side) to register by."""
AVERAGE_FROM = 1.5
"""A scene so many times finer than the grid is averaged first, since bilinear sampling would skip pixels."""
_LATTICE = 5  # points per side at which a map between two CRSs is sampled


def common_grid(before: Scene, after: Scene) -> Grid | None:
    """The frame of `before` cut to the overlap, at the coarser GSD of the two; None where that is under `MIN_SIDE_PX` pixels wide.

    It starts on a pixel corner of `before`, so that `before` is cropped, not resampled, where it is the coarser one. Scenes without
    georeference are taken to share their upper left corner and are scaled by their GSD.

    Raises:
        ImageryError: one scene has a CRS and the other has none.
    """
    if (before.grid.crs is None) != (after.grid.crs is None):
        raise ImageryError(
            f"{before.path.name} and {after.path.name}: only one has a CRS",
            "Georeference both or neither, and declare gsd_m.",
        )
    other = frame(after, before)
    corners = other.to_map(_corners(other))
    if before.grid.crs != after.grid.crs:
        west, south, east, north = transform_bounds(after.grid.crs, before.grid.crs, *corners.min(axis=0), *corners.max(axis=0))
        corners = np.array([[west, south], [east, south], [east, north], [west, north]])
    px = before.grid.to_pixel(corners)
    low = np.maximum(np.ceil(px.min(axis=0) - 1e-6), 0)
    high = np.minimum(np.floor(px.max(axis=0) + 1e-6), (before.grid.width, before.grid.height))
    (x0, y0), (x1, y1) = low.astype(int), high.astype(int)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return None
    factor = max(1.0, after.gsd_m / before.gsd_m, max(x1 - x0, y1 - y0) / MAX_SIDE_PX)
    cut = before.grid.crop(Window(int(x0), int(y0), int(x1), int(y1)))
    grid = cut if factor == 1 else cut.scaled(factor)
    return None if min(grid.shape) < MIN_SIDE_PX else grid


def frame(scene: Scene, reference: Scene) -> Grid:
    """The scene's grid in the map frame of a pair: its own, or, without georeference, scaled to the reference's pixels."""
    if scene.grid.crs is not None:
        return scene.grid
    ratio = scene.gsd_m / reference.gsd_m
    return Grid(scene.grid.width, scene.grid.height, (ratio, 0.0, 0.0, 0.0, ratio, 0.0), None)


def read_on_grid(scene: Scene, reference: Scene, grid: Grid) -> Tile:
    """Pixels of a scene on another grid, bilinear, with their mask; a scene much finer than the grid is averaged first.

    Only the part of the scene under the grid is read. A pixel is valid when all that it was made from is.

    Raises:
        UnreadableError: the file is truncated or damaged.
    """
    own = frame(scene, reference)
    step = float(np.sqrt(abs(np.linalg.det(pixel_map(grid, own)[:, :2]))))
    factor = step if step > AVERAGE_FROM else 1.0
    source_grid = own.scaled(factor) if factor > 1 else own
    window = _under(grid, source_grid)
    pixels, cover = np.zeros((3, *grid.shape), np.float32), np.zeros(grid.shape, np.float32)
    if not window.empty:
        source = read_decimated(scene, factor, window) if factor > 1 else read(scene, window)
        transforms = {
            "src_transform": rasterio.Affine(*source_grid.crop(window).transform),
            "dst_transform": rasterio.Affine(*grid.transform),
            "src_crs": scene.grid.crs or "EPSG:3857",  # without georeference any one projected CRS serves both sides
            "dst_crs": grid.crs or "EPSG:3857",
        }
        reproject(source.pixels, pixels, resampling=Resampling.bilinear, **transforms)
        reproject(source.valid.astype(np.float32), cover, resampling=Resampling.bilinear, **transforms)
    valid = cover > 0.999  # all four neighbours, up to rounding
    return Tile(grid.window, grid.window, np.clip(pixels, 0, 1) * valid, valid, grid)


def _under(grid: Grid, source: Grid) -> Window:
    """Pixels of `source` that `grid` covers, and two more on every side."""
    at = _between(_lattice(grid), grid, source)
    (x0, y0), (x1, y1) = np.floor(at.min(axis=0)).astype(int), np.ceil(at.max(axis=0)).astype(int)
    return Window(int(x0), int(y0), int(x1), int(y1)).pad(2).intersect(source.window)


def pixel_map(source: Grid, target: Grid) -> F64:
    """(2, 3) affine from pixels of one grid to pixels of another; across two CRSs the best affine over their overlap."""
    if source.crs == target.crs:
        origin, x, y = target.to_pixel(source.to_map(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])))
        return np.column_stack([x - origin, y - origin, origin])
    shared = _under(target, source)
    points = _lattice(source)
    if not shared.empty:
        points = _lattice(source.crop(shared)) + np.array([shared.x0, shared.y0])
    design = np.column_stack([points, np.ones(len(points))])
    solution = np.linalg.lstsq(design, _between(points, source, target), rcond=None)[0]
    return np.asarray(solution.T, np.float64)


def _between(points: F64, source: Grid, target: Grid) -> F64:
    """(N, 2) pixels of one grid in pixels of another."""
    at = source.to_map(points)
    if source.crs != target.crs:
        at = np.stack([np.asarray(v) for v in transform(source.crs, target.crs, *at.T)], axis=1)
    return target.to_pixel(at)


def _lattice(grid: Grid) -> F64:
    x, y = np.meshgrid(np.linspace(0, grid.width, _LATTICE), np.linspace(0, grid.height, _LATTICE))
    return np.column_stack([x.ravel(), y.ravel()])


def _corners(grid: Grid) -> F64:
    return np.array([[0, 0], [grid.width, 0], [grid.width, grid.height], [0, grid.height]], np.float64)
