"""Two scenes on one grid. Only a registered pair is ever warped; everything else stays on its native grid."""

import warnings

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import Resampling, reproject, transform_bounds

from pipeline.errors import ImageryError
from pipeline.grid import Grid
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.tiles import read, read_decimated

MAX_SIDE_PX = 4096
"""Longer side of a common grid: pixel change of larger pairs is computed at a coarser GSD; objects keep their own precision."""


def common_grid(before: Scene, after: Scene) -> Grid | None:
    """The frame of `before` cut to the overlap, at the coarser GSD of the two; None where they do not meet.

    Scenes without georeference are taken to share their pixel frame, scaled by their GSD.

    Raises:
        ImageryError: one scene has a CRS and the other has none.
    """
    if (before.grid.crs is None) != (after.grid.crs is None):
        raise ImageryError(
            f"{before.path.name} and {after.path.name}: only one has a CRS",
            "Georeference both or neither, and declare gsd_m.",
        )
    w, h = before.grid.width, before.grid.height
    if before.grid.crs is None:
        ratio = after.gsd_m / before.gsd_m
        x0, y0, x1, y1 = 0.0, 0.0, min(w, after.grid.width * ratio), min(h, after.grid.height * ratio)
    else:
        corners = after.grid.to_map(_corners(after.grid))
        bounds = (*corners.min(axis=0), *corners.max(axis=0))
        if before.grid.crs != after.grid.crs:
            bounds = transform_bounds(after.grid.crs, before.grid.crs, *bounds)
        ring = np.array([[bounds[0], bounds[1]], [bounds[2], bounds[1]], [bounds[2], bounds[3]], [bounds[0], bounds[3]]])
        px = before.grid.to_pixel(ring)
        (x0, y0), (x1, y1) = np.maximum(px.min(axis=0), 0), np.minimum(px.max(axis=0), (w, h))
    if x1 - x0 < 1 or y1 - y0 < 1:
        return None
    factor = max(1.0, after.gsd_m / before.gsd_m, max(x1 - x0, y1 - y0) / MAX_SIDE_PX)
    a, b, _, d, e, _ = before.grid.transform
    origin = before.grid.to_map(np.array([[x0, y0]], np.float64))[0]
    size = int(np.ceil((x1 - x0) / factor - 1e-6)), int(np.ceil((y1 - y0) / factor - 1e-6))
    return Grid(
        *size,
        (a * factor, b * factor, float(origin[0]), d * factor, e * factor, float(origin[1])),
        before.grid.crs,
    )


def _corners(grid: Grid) -> NDArray[np.float64]:
    return np.array([[0, 0], [grid.width, 0], [grid.width, grid.height], [0, grid.height]], np.float64)


def frame(scene: Scene, reference: Scene) -> Grid:
    """The scene's grid in the map frame of a pair: its own, or, without georeference, scaled to the reference's pixels."""
    if scene.grid.crs is not None:
        return scene.grid
    ratio = scene.gsd_m / reference.gsd_m
    return Grid(scene.grid.width, scene.grid.height, (ratio, 0.0, 0.0, 0.0, ratio, 0.0), None)


def read_on_grid(scene: Scene, reference: Scene, grid: Grid) -> Tile:
    """Pixels of a scene on another grid, bilinear, with their mask; a scene much finer than the grid is averaged first."""
    factor = grid.pixel_size()[0] / frame(scene, reference).pixel_size()[0] if grid.crs == scene.grid.crs else 1.0
    source = read_decimated(scene, factor) if factor > 1.5 else read(scene, scene.grid.window)
    a, b, c, d, e, f = frame(scene, reference).transform
    k = factor if factor > 1.5 else 1.0
    transforms = {
        "src_transform": rasterio.Affine(a * k, b * k, c, d * k, e * k, f),
        "dst_transform": rasterio.Affine(*grid.transform),
        "src_crs": scene.grid.crs or "EPSG:3857",  # without georeference any one projected CRS serves both sides
        "dst_crs": grid.crs or "EPSG:3857",
    }
    pixels, cover = np.zeros((3, *grid.shape), np.float32), np.zeros(grid.shape, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        reproject(source.pixels, pixels, resampling=Resampling.bilinear, **transforms)
        reproject(source.valid.astype(np.float32), cover, resampling=Resampling.bilinear, **transforms)
    valid = cover > 0.999
    return Tile(grid.window, grid.window, np.clip(pixels, 0, 1) * valid, valid, grid)


def pixel_map(source: Grid, target: Grid) -> NDArray[np.float64]:
    """(2, 3) affine from pixels of one grid to pixels of another; across two CRSs the local linear part at the target's centre."""
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) * max(source.width, source.height)
    if source.crs != target.crs:
        from rasterio.warp import transform

        x, y = source.to_map(points).T
        points_out = target.to_pixel(np.stack(transform(source.crs, target.crs, x, y), axis=1))
    else:
        points_out = target.to_pixel(source.to_map(points))
    scale = max(source.width, source.height)
    u, v = (points_out[1] - points_out[0]) / scale, (points_out[2] - points_out[0]) / scale
    return np.array([[u[0], v[0], points_out[0][0]], [u[1], v[1], points_out[0][1]]])
