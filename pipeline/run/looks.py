"""Scenes of a site in looks, and how much of the site two scenes share."""

from collections.abc import Sequence
from datetime import timedelta

from rasterio.warp import transform_geom
from shapely import transform
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry

from pipeline.imagery.place import to_scene_pixels
from pipeline.imagery.scene import Scene
from pipeline.site import Site


def grouped(scenes: Sequence[Scene], hours: float) -> tuple[tuple[Scene, ...], ...]:
    """Scenes of a site in looks: a scene within `hours` of a look's first scene belongs to it."""
    looks: list[list[Scene]] = []
    for scene in scenes:
        if looks and scene.time - looks[-1][0].time < timedelta(hours=hours):
            looks[-1].append(scene)
        else:
            looks.append([scene])
    return tuple(tuple(look) for look in looks)


def shared(site: Site, scenes: tuple[Scene, Scene]) -> float:
    """Share of a site's area in the frames of both scenes, to a thousandth, so that scenes alike in this keep their order."""
    parts = [_in_frame(site, scene) for scene in scenes]
    return round(float(parts[0].intersection(parts[1]).area / shape(site.aoi).area), 3)


def _in_frame(site: Site, scene: Scene) -> BaseGeometry:
    """The part of the site's area in the frame of a scene that sees it, in the site's CRS."""
    area = to_scene_pixels(shape(site.aoi), site, scene)
    assert area is not None, scene.id
    part = transform(area.intersection(box(0, 0, scene.grid.width, scene.grid.height)), scene.grid.to_map)
    return part if scene.grid.crs in {None, site.crs} else shape(transform_geom(scene.grid.crs, site.crs, mapping(part)))
