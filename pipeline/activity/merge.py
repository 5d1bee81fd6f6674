"""Several scenes of one day as one look: coverage is the union, and each piece of ground is counted once.

Every scene keeps its own pixels. A zone's outline is known in each of them, and the affine map between two scenes follows from
the outline's corners, so that the alignment already applied to the outlines holds here too.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from shapely import contains_xy, get_coordinates
from shapely.geometry.base import BaseGeometry

from models import Detections
from models import boxes as ob
from models.calibration import Calibration
from pipeline.activity.estimate import LookView, estimate_class, estimate_pile, estimator_of, in_zone
from pipeline.activity.occupied import union
from pipeline.activity.records import INTERVAL_ONLY_BELOW, Estimate
from pipeline.imagery.observed import Unseen
from pipeline.site import Zone

F64 = NDArray[np.float64]

SAME_OBJECT_IOU = 0.3
"""Oriented IoU from which boxes of two scenes are one object: at the edge of what a scene saw, both may hold it."""

_SAMPLES = 2000  # points of a zone at which coverage is asked for: +-1 % at 90 %


def estimate_look(views: Sequence[LookView], zones: Sequence[Zone], calibration: Sequence[Calibration]) -> list[Estimate]:
    """Estimates of a look that one or more scenes make.

    Of each class in each zone: scenes that are counted alike make one view (a coarse scene takes nothing from a fine count), and
    the finest estimator speaks whose scenes saw half of the zone, else the one whose scenes saw most. A zone that no scene's frame
    holds gets no estimate.

    Args:
        views: the scenes of the look, each with `observed` when there are several.
        zones: zone versions that hold on the day.
        calibration: measured precision and recall.

    Returns:
        Of every zone and class as `estimate_class`; zones measured as a pile give ``pile_teu`` too.
    """
    out: list[Estimate] = []
    for zone in zones:
        holding = [v for v in views if zone.key in v.outlines]
        for cls in zone.classes if holding else ():
            out += estimate_class(_counted_alike(holding, zone, cls), zone, cls, calibration)
        piled = [v for v in holding if zone.key in v.piles]
        if piled:
            out.append(estimate_pile(max(piled, key=lambda v: v.exposure[zone.key][0]), zone))
    return out


def _counted_alike(views: Sequence[LookView], zone: Zone, cls: str) -> LookView:
    """The view that speaks for a class of a zone; where none can be counted, that of all scenes, which says why."""
    alike: dict[str, list[LookView]] = {}
    for view in views:
        estimator, refusal = estimator_of(view, zone, cls)
        if not refusal:
            alike.setdefault(estimator, []).append(view)
    merged = [merge_zone(alike[name], zone.key) for name in sorted(alike)]  # METHOD 5 numbers finer ones lower: E1 E2, E5 E6
    if not merged:
        return merge_zone(views, zone.key)
    enough = [v for v in merged if v.exposure[zone.key][0] >= INTERVAL_ONLY_BELOW]
    return enough[0] if enough else max(merged, key=lambda v: v.exposure[zone.key][0])


def merge_zone(views: Sequence[LookView], key: str) -> LookView:
    """One view of a zone from several, in the pixels of the one that saw most of it, the finer one where two saw as much.

    What it did not see is taken from the next.
    """
    first, *others = sorted(views, key=lambda v: (-v.exposure[key][0], v.gsd_m, v.scene_ids))
    others = [v for v in others if v.exposure[key][0] > 0]
    if first.exposure[key][0] >= 1 or not others or first.observed is None:
        return first
    outline = first.outlines[key]
    points = _points_in(outline)
    seen = _seen(first, points)
    kept = first.detections.take(in_zone(first.detections, outline))
    used, gsd_m = list(first.scene_ids), first.gsd_m
    covered: list[tuple[LookView, F64]] = [(first, np.eye(3))]
    for view in others:
        if view.observed is None:
            continue
        to_first = _affine(view.outlines[key], outline)
        from_first: F64 = np.asarray(np.linalg.inv(to_first), np.float64)
        adds = _seen(view, _apply(from_first, points)) & ~seen
        if not adds.any():
            continue
        seen |= adds
        moved = _moved(view.detections.take(in_zone(view.detections, view.outlines[key])), to_first)
        kept = _join(kept, moved.take(~_seen_by_any(covered, moved.boxes[:, :2])))
        covered.append((view, from_first))
        used += view.scene_ids
        gsd_m = max(gsd_m, view.gsd_m)
    tracks = first.tracks
    if key in tracks:
        tracks = {**tracks, key: union([v.tracks[key] for v, _ in covered if key in v.tracks])}
    share = float(seen.mean())
    hidden = first.exposure[key][1] if share < 1 else ""
    return replace(
        first,
        scene_ids=tuple(used),
        gsd_m=gsd_m,
        detections=kept,
        exposure={**first.exposure, key: (share, hidden)},
        tracks=tracks,
    )


def _points_in(outline: BaseGeometry) -> F64:
    """(M, 2) points on a lattice inside an outline, about `_SAMPLES` of them."""
    x0, y0, x1, y1 = outline.bounds
    step = max(float(outline.area) / _SAMPLES, 1e-12) ** 0.5
    xs, ys = np.meshgrid(np.arange(x0 + step / 2, x1, step), np.arange(y0 + step / 2, y1, step))
    points = np.stack([xs.ravel(), ys.ravel()], axis=1)
    inside = points[contains_xy(outline, points[:, 0], points[:, 1])]
    return inside if len(inside) else np.array([[outline.centroid.x, outline.centroid.y]])


def _seen(view: LookView, points: F64) -> NDArray[np.bool_]:
    assert view.observed is not None
    return np.asarray(view.observed.seen_at(points) == Unseen.OBSERVED)


def _seen_by_any(covered: Sequence[tuple[LookView, F64]], points: F64) -> NDArray[np.bool_]:
    seen = np.zeros(len(points), np.bool_)
    for view, from_first in covered:
        seen |= _seen(view, _apply(from_first, points))
    return seen


def _affine(source: BaseGeometry, target: BaseGeometry) -> F64:
    """(3, 3) map from one drawing of an outline to another, by least squares over its corners."""
    a, b = get_coordinates(source), get_coordinates(target)
    design = np.column_stack([a, np.ones(len(a))])
    solution, *_ = np.linalg.lstsq(design, b, rcond=None)
    return np.vstack([solution.T, [0.0, 0.0, 1.0]])


def _apply(matrix: F64, points: F64) -> F64:
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])


def _moved(detections: Detections, matrix: F64) -> Detections:
    """Detections in the other pixels: the corners are mapped, the boxes fitted to them."""
    if len(detections) == 0:
        return detections
    quads = ob.corners(detections.boxes)
    boxes = ob.from_corners(_apply(matrix, quads.reshape(-1, 2)).reshape(-1, 4, 2))
    return Detections.build(boxes, detections.scores, detections.classes, detections.subtypes, detections.flags)


def _join(kept: Detections, more: Detections) -> Detections:
    """Add detections that are not the same object as one already kept."""
    iou = ob.iou_matrix(more.boxes, kept.boxes)
    same = (iou > SAME_OBJECT_IOU) & (more.classes[:, None] == kept.classes[None, :])
    return Detections.concat([kept, more.take(~same.any(axis=1))])
