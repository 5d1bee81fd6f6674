"""A folder of images -> scenes in order of time, and what had to be left out, with the reason. Scenes -> STAC items."""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Imagery
from pipeline.errors import ImageryError
from pipeline.imagery.check import check_pixels
from pipeline.imagery.files import DRIVERS
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Scene

_EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "view/v1.0.0", "raster/v1.1.0", "file/v2.1.0")
)
_EDGE_POINTS = 4  # a straight edge in a map projection is a curve in degrees; four pieces keep a 25 km scene within a metre


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
        ImageryError: the folder is missing, the pattern is no glob, or no image in the folder can be used.
    """
    files = _files(imagery)
    scenes: dict[str, Scene] = {}
    problems: dict[Path, str] = {}
    for path in files:
        try:
            scene = _open(imagery, path, need_time=need_time)
            _not_twice(scene, scenes)
        except ImageryError as error:
            problems[path] = str(error)
            continue
        scenes[scene.id] = scene
    masks = {s.mask_path.resolve() for s in scenes.values() if s.mask_path}  # a mask beside the images is not a look
    kept = [s for s in scenes.values() if s.path.resolve() not in masks]
    skipped = tuple(Skipped(p.name, reason) for p, reason in problems.items() if p.resolve() not in masks)
    if not kept:
        first = f"; the first problem: {skipped[0].reason}" if skipped else ""
        what = f"{imagery.folder}: holds no usable image among {len(files)} files{first}"
        raise ImageryError(what, "See `yardwatch catalog`.")
    return Catalog(tuple(sorted(kept, key=lambda s: (s.acquired.timestamp() if s.acquired else 0.0, s.id))), skipped)


def _files(imagery: Imagery) -> list[Path]:
    if not imagery.folder.is_dir():
        raise ImageryError(f"{imagery.folder}: is not a folder", "Check imagery.folder or give --imagery.")
    try:
        found = sorted(imagery.folder.glob(imagery.pattern))
    except (ValueError, NotImplementedError) as error:
        raise ImageryError(f"imagery.pattern '{imagery.pattern}' is no pattern of file names", "Write '*.tif'.") from error
    return [p for p in found if p.suffix.lower() in DRIVERS and not p.is_dir()]


def _open(imagery: Imagery, path: Path, *, need_time: bool) -> Scene:
    if imagery.folder.resolve() not in path.resolve().parents:
        raise ImageryError(f"{path}: leads out of the imagery folder", "Copy the image into it instead.")
    scene = open_scene(path, imagery.scenes.get(path.name), imagery.defaults, need_time=need_time)
    check_pixels(scene)
    return scene


def _not_twice(scene: Scene, scenes: dict[str, Scene]) -> None:
    """One look must not count twice, neither by name nor by content."""
    if scene.id in scenes:
        raise ImageryError(f"{scene.path}: scene id '{scene.id}' is taken by {scenes[scene.id].path.name}", "Give it an `id`.")
    for other in scenes.values():
        if (other.sha256, other.acquired) == (scene.sha256, scene.acquired):
            raise ImageryError(f"{scene.path}: is the same image as {other.path.name}", "Remove one of them.")


def stac_item(scene: Scene, folder: Path | None = None) -> dict[str, Any]:
    """The scene as a STAC item with projection, view, raster and file members; made offline.

    Args:
        scene: a scene with a time.
        folder: where the item will lie; the asset's address is then relative to it. By default the file's name alone.

    Returns:
        A GeoJSON feature: geometry in WGS84 longitude and latitude, cut at the antimeridian (RFC 7946 3.1.9), and its bounding
        box with west > east there (5.2); null for a scene without CRS.
    """
    import pystac

    geometry, bounds = (None, None) if scene.grid.crs is None else _footprint(scene)
    properties: dict[str, Any] = {
        "gsd": scene.gsd_m,
        "platform": scene.sensor,
        "proj:code": scene.grid.crs if scene.grid.crs and ":" in scene.grid.crs and "[" not in scene.grid.crs else None,
        "proj:wkt2": scene.grid.crs if scene.grid.crs and "[" in scene.grid.crs else None,
        "proj:shape": list(scene.grid.shape),
        "proj:transform": list(scene.grid.transform),
        "view:sun_elevation": scene.view.sun_elevation,
        "view:sun_azimuth": scene.view.sun_azimuth,
        "view:off_nadir": scene.view.off_nadir,
        "view:azimuth": scene.view.view_azimuth,
        "license": scene.licence or None,
        "attribution": scene.credit or None,
    }
    item = pystac.Item(
        id=scene.id,
        geometry=geometry,
        bbox=bounds,
        datetime=scene.time,
        properties={k: v for k, v in properties.items() if v is not None},
        stac_extensions=list(_EXTENSIONS),
    )
    r = scene.radiometry
    nodata = {} if r.nodata is None else {"nodata": r.nodata if np.isfinite(r.nodata) else str(r.nodata)}
    bands = [{"name": name, "scale": r.scale, "offset": r.offset} | nodata for name in r.bands]
    href = scene.path.name if folder is None else Path(os.path.relpath(scene.path, folder)).as_posix()
    extra = {"file:checksum": "1220" + scene.sha256, "raster:bands": bands}  # 1220: multihash of a SHA-256
    item.add_asset("image", pystac.Asset(href, roles=["data"], extra_fields=extra))
    record: dict[str, Any] = item.to_dict(include_self_link=False)
    return record


def _footprint(scene: Scene) -> tuple[dict[str, Any], list[float]]:
    """Outline and bounding box in WGS84 degrees, to a centimetre (7 decimals)."""
    from rasterio.warp import transform
    from shapely import MultiPolygon, Polygon, box, get_parts
    from shapely.affinity import translate
    from shapely.geometry import mapping
    from shapely.geometry.polygon import orient

    w, h = scene.grid.width, scene.grid.height
    corners = np.array([[0, 0], [0, h], [w, h], [w, 0], [0, 0]], np.float64)
    step = np.linspace(0, 1, _EDGE_POINTS, endpoint=False)[:, None]
    ring = scene.grid.to_map(np.concatenate([a + (b - a) * step for a, b in pairwise(corners)]))
    lon, lat = (np.asarray(v) for v in transform(scene.grid.crs, "EPSG:4326", *ring.T))
    outline = Polygon(np.column_stack([np.unwrap(lon, period=360), lat]).round(7))
    parts = []
    for turn in (-360, 0, 360):  # the strip of longitudes -180..180 and its copies to the west and to the east
        part = outline.intersection(box(turn - 180, -90, turn + 180, 90))
        parts += [orient(translate(p, -turn)) for p in get_parts(part) if p.area > 0]  # counter-clockwise: RFC 7946 3.1.6
    if len(parts) == 1:
        return mapping(parts[0]), list(parts[0].bounds)
    west = min(p.bounds[0] for p in parts if p.bounds[2] > 0)
    east = max(p.bounds[2] for p in parts if p.bounds[2] <= 0)
    return mapping(MultiPolygon(parts)), [west, outline.bounds[1], east, outline.bounds[3]]
