"""Where a scene lies, and where a site lies in it. Geometry is reprojected, pixels never."""

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform, transform_geom
from shapely import transform as map_coordinates
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry

from pipeline.grid import Grid, Window
from pipeline.imagery.scene import Scene
from pipeline.site import PIXEL_CRS, Site

WGS84_A, WGS84_E2 = 6_378_137.0, 6.694379990141e-3
"""Semi-major axis in metres and first eccentricity squared (NIMA TR8350.2)."""
MAP_SCALE_TOLERANCE = 0.005
"""UTM stretches by up to 0.1 %, national grids by less than 0.3 %: there the map's own metre is the metre."""
NADIR_DEG = 3.0
"""Below this view a roof of three boxes leans by less than 0.4 m: its direction does not matter."""


def ground_size(grid: Grid) -> tuple[float, float] | None:
    """Metres on the ground of a pixel's x and y edge at the centre of a grid; None without a CRS.

    Degrees become metres, and the false metres of Web Mercator (twice too long at 60 degrees) true ones.

    Raises:
        ValueError: the grid's centre lies outside what its CRS covers.
    """
    if grid.crs is None:
        return None
    corner = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) + np.array([grid.width / 2, grid.height / 2])
    lon, lat = (np.radians(v) for v in transform(grid.crs, "EPSG:4326", *grid.to_map(corner).T))
    w = np.sqrt(1 - WGS84_E2 * np.sin(lat[0]) ** 2)
    turn = (lon[1:] - lon[0] + np.pi) % (2 * np.pi) - np.pi  # a pixel on the antimeridian
    east = turn * np.cos(lat[0]) * WGS84_A / w
    north = (lat[1:] - lat[0]) * WGS84_A * (1 - WGS84_E2) / w**3
    true = np.hypot(east, north)
    nominal = np.array(grid.pixel_size()) * _metres_per_unit(grid.crs)
    if not (np.isfinite(true).all() and (true > 0).all()):
        raise ValueError("the centre of the grid has no longitude and latitude")
    x, y = nominal if np.allclose(true, nominal, rtol=MAP_SCALE_TOLERANCE) else true
    return float(x), float(y)


def slants(scene: Scene) -> tuple[NDArray[np.float64], NDArray[np.float64]] | str:
    """How a scene shows height (METHOD 4.5), x right y down, metres per metre of height; or why that is not known.

    Returns:
        (2,) shadow on flat ground, away from the sun, of length 1 / tan(sun elevation); and (2,) displacement of a roof from its base,
        away from the sensor, of length tan(off-nadir).
    """
    view = scene.view
    if scene.grid.crs is None:
        return "the direction of north is not known: the image has no CRS"
    if view.sun_elevation is None or view.sun_azimuth is None or view.off_nadir is None:
        return "the height and azimuth of the sun and the off-nadir angle must be declared"
    if view.sun_elevation <= 0:
        return f"the sun stands at {view.sun_elevation:.3g} degrees: there is no shadow to measure"
    if view.view_azimuth is None and view.off_nadir > NADIR_DEG:
        return f"the azimuth of the view must be declared, {view.off_nadir:.3g} degrees off nadir"
    shadow = -_towards(scene.grid, view.sun_azimuth) / np.tan(np.radians(view.sun_elevation))
    lean = -_towards(scene.grid, view.view_azimuth or 0.0) * np.tan(np.radians(view.off_nadir))
    return shadow, lean


def _towards(grid: Grid, azimuth_deg: float) -> NDArray[np.float64]:
    """(2,) unit vector, x right y down, that points along an azimuth at the centre of a georeferenced grid."""
    centre = np.array([[grid.width / 2, grid.height / 2]])
    (lon,), (lat,) = transform(grid.crs, "EPSG:4326", *grid.to_map(centre).T)
    step, turn = 1e-4, np.radians(azimuth_deg)
    there = transform("EPSG:4326", grid.crs, [lon + step * np.sin(turn) / np.cos(np.radians(lat))], [lat + step * np.cos(turn)])
    away = (grid.to_pixel(np.array(there).T) - centre)[0]
    return np.asarray(away / np.hypot(*away), np.float64)


def utm_zone(grid: Grid) -> str:
    """``EPSG:326xx`` or ``EPSG:327xx`` of the UTM zone at the centre of a georeferenced grid."""
    assert grid.crs is not None
    centre = grid.to_map(np.array([[grid.width / 2, grid.height / 2]]))
    (lon,), (lat,) = transform(grid.crs, "EPSG:4326", *centre.T)
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{'326' if lat >= 0 else '327'}{zone:02d}"


def _metres_per_unit(crs: str) -> float:
    """Metres per map unit of a projected CRS, 0 for a geographic one."""
    known = CRS.from_string(crs)
    return float(known.linear_units_factor[1]) if known.is_projected else 0.0


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


def window_around(geometry: BaseGeometry, scene: Scene, reach_m: float) -> Window:
    """The part of a scene that holds a geometry in its pixels, and `reach_m` metres beside it; empty where none lies in it."""
    x0, y0, x1, y1 = geometry.bounds
    reach = reach_m / scene.gsd_m
    return Window(floor(x0 - reach), floor(y0 - reach), ceil(x1 + reach), ceil(y1 + reach)).intersect(scene.grid.window)


def sees(site: Site, scene: Scene) -> bool:
    """Whether the scene's frame touches the site's AOI; says nothing of clouds."""
    aoi = to_scene_pixels(shape(site.aoi), site, scene)
    return aoi is not None and bool(aoi.intersects(box(0, 0, scene.grid.width, scene.grid.height)))


def shifted(geometry: BaseGeometry, matrix: np.ndarray) -> BaseGeometry:
    """An outline moved by a (2, 3) pixel affine, such as the inverse of an `Alignment`."""
    return map_coordinates(geometry, lambda xy: np.asarray(xy) @ matrix[:, :2].T + matrix[:, 2])
