"""What is known of a site beforehand as an artefact of a run, laid over each of its looks: what is permanent, and where land is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import area, intersection, polygons, union_all
from shapely.affinity import affine_transform
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

import models
from models import CLASSES
from models import boxes as ob
from pipeline.change.look import mapped
from pipeline.change.permanent import find_permanent, sight, site_map, without_permanent
from pipeline.change.warping import inverse
from pipeline.imagery.place import to_scene_pixels
from pipeline.imagery.scene import Scene
from pipeline.run import codec
from pipeline.site import Site

LAND = ("track", "container_yard")
"""Kinds of zones where no ship floats, unless vessels are counted there."""
ASHORE = 0.5
"""Share of a hull on such ground from which it is none: blocks of boxes have the shape of a hull."""


def do_learn(site: Site, reference: Scene, scenes: Sequence[Scene], made: Mapping[tuple[str, str], Path], folder: Path) -> None:
    """What stands on a site in every look, and its land, in pixels of its reference scene."""
    sights = []
    for scene in sorted(scenes, key=lambda s: s.time):
        to_site = to_site_map(scene, reference, made["align", scene.id])
        if to_site is not None:
            observed, found = codec.load_observed(made["observe", scene.id]), codec.load_found(made["detect", scene.id])
            sights.append(sight(scene, found, observed, to_site))
    rows = [{"class": p.cls, "box": p.box.tolist(), "seen": p.seen, "shown": p.shown} for p in find_permanent(sights, reference.gsd_m)]
    codec.write_json(folder / "permanent.json", rows)
    dry = [to_scene_pixels(z.shape, site, reference) for z in site.zones if z.kind in LAND and "vessel" not in z.classes]
    codec.write_json(folder / "land.json", mapping(union_all([zone for zone in dry if zone is not None])))


def to_site_map(scene: Scene, reference: Scene, align: Path) -> NDArray[np.float64] | None:
    """(2, 3) affine from pixels of a scene to those of the site's frame, as it was aligned; None where they share no ground."""
    return site_map(scene, reference, codec.alignment_from(codec.read_json(align / "alignment.json")))


def load_permanent(folder: Path) -> list[dict[str, Any]]:
    """The artefact of `do_learn`: class, box in pixels of the reference scene, looks that found it and that show its place."""
    rows: list[dict[str, Any]] = codec.read_json(folder / "permanent.json")
    return rows


def permanent_in(scene: Scene, reference: Scene, align: Path, learned: Path) -> models.Detections:
    """What is permanent, in pixels of a scene."""
    rows, to_site = load_permanent(learned), to_site_map(scene, reference, align)
    if to_site is None or not rows:
        return models.Detections.empty()
    boxes = mapped(np.array([row["box"] for row in rows], np.float64), inverse(to_site))
    return models.Detections.build(boxes, np.ones(len(rows)), np.array([models.CLASSES.index(row["class"]) for row in rows]))


def counted_in(scene: Scene, reference: Scene, detect: Path, align: Path, learned: Path) -> models.Detections:
    """Boxes of a scene, without those of what is permanent and hulls on land."""
    return sorted_out(scene, reference, detect, align, learned)[0]


def sorted_out(
    scene: Scene, reference: Scene, detect: Path, align: Path, learned: Path
) -> tuple[models.Detections, dict[str, models.Detections]]:
    """Boxes of a scene that are counted, and those that are not by the reason why."""
    permanent = permanent_in(scene, reference, align, learned)
    found = without_permanent(codec.load_detections(detect), permanent)
    dry = _ashore(found, _land_in(scene, reference, align, learned))
    return found.take(~dry), {"permanent": permanent, "hull on land": found.take(dry)}


def _land_in(scene: Scene, reference: Scene, align: Path, learned: Path) -> BaseGeometry:
    """The land of a site, in pixels of a scene; empty where the two share no ground."""
    land, to_site = shape(codec.read_json(learned / "land.json")), to_site_map(scene, reference, align)
    if to_site is None:
        return shape({"type": "GeometryCollection", "geometries": []})
    (a, b, c), (d, e, f) = inverse(to_site)
    return affine_transform(land, [a, b, d, e, c, f])


def _ashore(found: models.Detections, land: BaseGeometry) -> NDArray[np.bool_]:
    """(N,) whether a vessel lies on land."""
    inside = area(intersection(polygons(ob.corners(found.boxes)), land))
    return np.asarray((found.classes == CLASSES.index("vessel")) & (inside > ASHORE * ob.area(found.boxes)))
