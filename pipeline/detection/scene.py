"""One scene -> one set of boxes. A tile owns what its core contains, so the answer does not depend on the tiles."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import CLASSES, Detections, Detector
from models import boxes as ob
from models.detector import Flag
from pipeline.config import DetectionSettings
from pipeline.detection.seams import merge_tiles, near_core
from pipeline.errors import ModelError
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.tiles import iter_tiles, tile_windows, working_factor, working_grid

Progress = Callable[[str, int, int], None]
"""Called with the head's name, tiles done and tiles in all."""


@dataclass(frozen=True, slots=True)
class SceneDetections:
    """Boxes in scene pixels, and the heads that did not run, with the reason."""

    detections: Detections
    skipped: dict[str, str]


def detect_scene(
    scene: Scene,
    detectors: Sequence[Detector],
    settings: DetectionSettings,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> SceneDetections:
    """Run every head that accepts the scene's GSD.

    Args:
        scene: the image.
        detectors: heads, each with its GSD range.
        settings: tile size and thresholds.
        executor: runs the network while this thread reads the next tiles; the answer is the same without.
        progress: told of every tile.

    Raises:
        ModelError: no head accepts it.
        UnreadableError: the file is damaged.
    """
    parts, skipped = [], {}
    for head in detectors:
        if head.gsd.accepts(scene.gsd_m):
            parts.append(_run_head(scene, head, settings, executor, progress))
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


def _run_head(
    scene: Scene, head: Detector, settings: DetectionSettings, executor: Executor | None, progress: Progress | None
) -> Detections:
    """Boxes of one head in scene pixels."""
    thresholds = {str(name): value for name, value in settings.threshold.items()}
    tiles = iter_tiles(scene, head.gsd.working_m, settings.tile_px, head.halo_px, head.stride_px)
    total = len(tile_windows(working_grid(scene, head.gsd.working_m), settings.tile_px, head.halo_px, head.stride_px))
    owned: list[Detections] = []
    reserve: list[Detections] = []
    for done, (tile, boxes) in enumerate(_detect(tiles, head, thresholds, executor), start=1):
        placed = boxes.moved(tile.read.x0, tile.read.y0)
        visible = _on_valid(placed, tile)
        mine = tile.core.contains_points(placed.boxes[:, :2])
        near = near_core(placed, tile.core)
        owned.append(placed.take(mine & visible))
        reserve.append(placed.take(near & ~mine & visible))
        if progress:
            progress(head.name, done, total)
    return merge_tiles(owned, reserve).moved(0, 0, working_factor(scene, head.gsd.working_m))


def _detect(
    tiles: Iterator[Tile], head: Detector, thresholds: dict[str, float], executor: Executor | None
) -> Iterator[tuple[Tile, Detections]]:
    """Tiles with their boxes in window pixels, in order; with an executor at most `IN_FLIGHT` tiles are held."""
    if executor is None:
        for tile in tiles:
            yield tile, head.detect(tile.pixels, tile.valid, thresholds)
        return
    waiting: deque[tuple[Tile, Future[Detections]]] = deque()
    for tile in tiles:
        waiting.append((tile, executor.submit(head.detect, tile.pixels, tile.valid, thresholds)))
        if len(waiting) >= IN_FLIGHT:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


IN_FLIGHT = 3
"""Tiles read ahead: one in the network, one ready, one being read. More costs memory only."""


def _on_valid(boxes: Detections, tile: Tile) -> NDArray[np.bool_]:
    """Whether each centre lies on a valid pixel."""
    height, width = tile.valid.shape
    x = np.clip(np.floor(boxes.boxes[:, 0] - tile.read.x0).astype(np.int64), 0, width - 1)
    y = np.clip(np.floor(boxes.boxes[:, 1] - tile.read.y0).astype(np.int64), 0, height - 1)
    return np.asarray(tile.valid[y, x])


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
