"""Where a site lies in a scene: outlines from the site's CRS to scene pixels. Geometry is reprojected, pixels never."""

import numpy as np
from rasterio.warp import transform_geom
from shapely import transform as map_coordinates
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry

from pipeline.config import PIXEL_CRS, Site
from pipeline.imagery.scene import Scene


def to_scene_pixels(geometry: BaseGeometry, site: Site, scene: Scene) -> BaseGeometry | None:
    """An outline of the site in pixels of the scene (x right, y down); None when the two share no frame.

    A site in pixel coordinates meets scenes without georeference only, and the reverse.
    """
    if (site.crs == PIXEL_CRS) != (scene.grid.crs is None):
        return None
    if scene.grid.crs is not None and scene.grid.crs != site.crs:
        geometry = shape(transform_geom(site.crs, scene.grid.crs, mapping(geometry)))
    if scene.grid.crs is None:
        return geometry
    return map_coordinates(geometry, lambda xy: scene.grid.to_pixel(np.asarray(xy, np.float64)))


def sees(site: Site, scene: Scene) -> bool:
    """Whether the scene's frame touches the site's AOI; says nothing of clouds."""
    aoi = to_scene_pixels(shape(site.aoi), site, scene)
    return aoi is not None and bool(aoi.intersects(box(0, 0, scene.grid.width, scene.grid.height)))


def shifted(geometry: BaseGeometry, matrix: np.ndarray) -> BaseGeometry:
    """An outline moved by a (2, 3) pixel affine, such as the inverse of an `Alignment`."""
    return map_coordinates(geometry, lambda xy: np.asarray(xy) @ matrix[:, :2].T + matrix[:, 2])
