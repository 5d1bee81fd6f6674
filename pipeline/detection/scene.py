"""One scene -> one set of boxes. A tile owns what its core contains, so the answer does not depend on the tiles."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import CLASSES, Detections, Detector
from models import boxes as ob
from models.detector import Flag
from pipeline.config import DetectionSettings
from pipeline.errors import ModelError
from pipeline.imagery.scene import Scene
from pipeline.imagery.tiles import iter_tiles

log = logging.getLogger(__name__)

SEAM_IOU = 0.25
"""Two boxes of a class from different tiles that overlap more than this are one object whose centre lies on the seam."""


@dataclass(frozen=True, slots=True)
class SceneDetections:
    """Boxes in scene pixels, and the heads that did not run, with the reason."""

    detections: Detections
    skipped: dict[str, str]


def detect_scene(scene: Scene, detectors: Sequence[Detector], settings: DetectionSettings) -> SceneDetections:
    """Run every head that accepts the scene's GSD.

    Raises:
        ModelError: no head accepts it.
        UnreadableError: the file is damaged.
    """
    parts, skipped = [], {}
    for head in detectors:
        if head.gsd.accepts(scene.gsd_m):
            parts.append(_run_head(scene, head, settings))
        else:
            skipped[head.name] = (
                f"{scene.gsd_m:.3g} m is outside the {head.gsd.low_m:g}-{head.gsd.high_m:g} m of head {head.name} "
                f"({', '.join(head.classes)})"
            )
    if not parts:
        raise ModelError(
            f"{scene.path}: no detector works here: {'; '.join(skipped.values())}",
            "Use imagery in that range.",
        )
    return SceneDetections(_with_flags(Detections.concat(parts)), skipped)


def _run_head(scene: Scene, head: Detector, settings: DetectionSettings) -> Detections:
    factor = head.gsd.working_m / scene.gsd_m
    factor = 1.0 if abs(factor - 1) < 0.01 else factor
    found: list[Detections] = []
    for tile in iter_tiles(scene, head.gsd.working_m, settings.tile_px, head.halo_px, head.stride_px):
        thresholds = {str(name): value for name, value in settings.threshold.items()}
        boxes = head.detect(tile.pixels, tile.valid, thresholds).moved(tile.read.x0, tile.read.y0)
        mine = tile.core.contains_points(boxes.boxes[:, :2])
        found.append(boxes.take(mine & _on_valid(boxes, tile.valid, tile.read.x0, tile.read.y0)))
    joined = Detections.concat(found)
    kept = ob.nms(joined.boxes, joined.scores, SEAM_IOU, joined.classes) if len(found) > 1 else np.arange(len(joined))
    return joined.take(kept).moved(0, 0, factor)


def _on_valid(boxes: Detections, valid: NDArray[np.bool_], x0: int, y0: int) -> NDArray[np.bool_]:
    height, width = valid.shape
    x = np.clip(np.floor(boxes.boxes[:, 0] - x0).astype(np.int64), 0, width - 1)
    y = np.clip(np.floor(boxes.boxes[:, 1] - y0).astype(np.int64), 0, height - 1)
    return np.asarray(valid[y, x])


def _with_flags(found: Detections) -> Detections:
    """Mark containers that stand on a railcar or on a ship's deck: their centre lies in its box."""
    flags = np.zeros(len(found), np.uint8)
    is_box = found.classes == CLASSES.index("container")
    for name, flag in (("railcar", Flag.ON_RAIL), ("vessel", Flag.ON_DECK)):
        carriers = found.boxes[found.classes == CLASSES.index(name)]
        if len(carriers) and is_box.any():
            carried = ob.contains(carriers, found.boxes[is_box, :2]).any(axis=0)
            flags[np.flatnonzero(is_box)[carried]] |= np.uint8(flag)
    return Detections.build(found.boxes, found.scores, found.classes, found.subtypes, flags)


def to_map(scene: Scene, detections: Detections) -> NDArray[np.float64]:
    """(N, 4, 2) corners in map coordinates of the scene's CRS (pixels for a scene without one)."""
    ring = ob.corners(detections.boxes)
    return scene.grid.to_map(ring.reshape(-1, 2)).reshape(-1, 4, 2)
