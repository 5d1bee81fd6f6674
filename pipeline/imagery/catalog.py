"""A folder of images -> scenes in order of time, and what had to be left out, with the reason."""

from dataclasses import dataclass
from typing import Any

from pipeline.config import Imagery
from pipeline.errors import ImageryError
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Scene

SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2"}


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """Scenes by time, then id; and the files that cannot be used."""

    scenes: tuple[Scene, ...]
    skipped: tuple[Skipped, ...]


def build_catalog(imagery: Imagery, *, need_time: bool = True) -> Catalog:
    """Describe every image of a folder. A bad file is skipped with its reason; the rest goes on.

    Raises:
        ImageryError: the folder is missing, or no image in it can be used.
    """
    folder = imagery.folder
    if not folder.is_dir():
        raise ImageryError(f"{folder}: is not a folder", "Check imagery.folder or give --imagery.")
    files = sorted(p for p in folder.glob(imagery.pattern) if p.suffix.lower() in SUFFIXES and p.is_file())
    scenes: dict[str, Scene] = {}
    skipped: list[Skipped] = []
    masks = set()
    for path in files:
        if folder.resolve() not in path.resolve().parents:
            skipped.append(Skipped(path.name, f"{path}: is a link out of the folder. Copy the image instead."))
            continue
        try:
            scene = open_scene(path, imagery.scenes.get(path.name), imagery.defaults, need_time=need_time)
        except ImageryError as error:
            skipped.append(Skipped(path.name, str(error)))
            continue
        if scene.id in scenes:
            skipped.append(Skipped(path.name, f"{path}: scene id '{scene.id}' is taken by {scenes[scene.id].path.name}"))
            continue
        scenes[scene.id] = scene
        masks.add(scene.mask_path)
    kept = [s for s in scenes.values() if s.path not in masks]  # a mask raster beside the images is not a look
    if not kept:
        first = f"; the first problem: {skipped[0].reason}" if skipped else ""
        raise ImageryError(f"{folder}: holds no usable image among {len(files)} files{first}", "See `yardwatch catalog`.")
    ordered = sorted(kept, key=lambda s: (s.acquired.timestamp() if s.acquired else 0.0, s.id))
    return Catalog(tuple(ordered), tuple(skipped))


def stac_item(scene: Scene) -> dict[str, Any]:
    """The scene as a STAC 1.x item with gsd, view, proj and file members; geometry in WGS84, null without a CRS."""
    import pystac
    from rasterio.warp import transform_geom
    from shapely.geometry import box, mapping, shape

    footprint: dict[str, Any] | None = None
    bounds: list[float] | None = None
    if scene.grid.crs is not None:
        corners = scene.grid.to_map(_frame(scene))
        ring = [[float(x), float(y)] for x, y in [*corners, corners[0]]]
        footprint = transform_geom(
            scene.grid.crs,
            "EPSG:4326",
            {"type": "Polygon", "coordinates": [ring]},
            antimeridian_cutting=True,
            precision=7,
        )
        bounds = list(shape(footprint).bounds)
        if bounds[2] - bounds[0] > 180:  # RFC 7946 5.2: a box over the antimeridian has west > east
            west = min(x for x, _ in _points(footprint) if x > 0)
            east = max(x for x, _ in _points(footprint) if x < 0)
            bounds = [west, bounds[1], east, bounds[3]]
        else:
            footprint = mapping(shape(footprint) if shape(footprint).is_valid else box(bounds[0], bounds[1], bounds[2], bounds[3]))
    properties: dict[str, Any] = {
        "gsd": scene.gsd_m,
        "platform": scene.sensor,
        "proj:code": scene.grid.crs,
        "proj:shape": list(scene.grid.shape),
        "proj:transform": list(scene.grid.transform),
        "view:sun_elevation": scene.view.sun_elevation,
        "view:sun_azimuth": scene.view.sun_azimuth,
        "view:off_nadir": scene.view.off_nadir,
        "view:azimuth": scene.view.view_azimuth,
        "license": scene.licence or None,
    }
    item = pystac.Item(
        id=scene.id,
        geometry=footprint,
        bbox=bounds,
        datetime=scene.time,
        properties={k: v for k, v in properties.items() if v is not None},
    )
    asset = pystac.Asset(scene.path.name, roles=["data"], extra_fields={"file:checksum": "1220" + scene.sha256})
    item.add_asset("image", asset)
    record: dict[str, Any] = item.to_dict(include_self_link=False)
    return record


def _frame(scene: Scene) -> Any:
    import numpy as np

    w, h = scene.grid.width, scene.grid.height
    return np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float64)


def _points(geometry: dict[str, Any]) -> list[tuple[float, float]]:
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [(float(p[0]), float(p[1])) for polygon in polygons for ring in polygon for p in ring]
