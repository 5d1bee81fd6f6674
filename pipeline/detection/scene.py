"""One scene -> one set of boxes. A tile owns what its core contains, so the answer does not depend on the tiles."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models import CLASSES, Detections, Detector
from models import boxes as ob
from models.detector import Flag
from models.structure import coupled
from pipeline.config import DetectionSettings
from pipeline.detection.seams import merge_tiles, near_core
from pipeline.errors import ModelError
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.tiles import iter_tiles, tile_windows, working_factor, working_grid

Progress = Callable[[str, int, int], None]
"""Called with the head's name, tiles done and tiles in all."""


WEAK_SHARE = 1 / 3
"""Boxes down to this share of a threshold are kept apart as hints: the ratio of thresholds in hysteresis (Canny 1986: 2 to 3). They
are counted nowhere; a pair of looks asks them whether an object that one look is sure of may stand in the other too."""


@dataclass(frozen=True, slots=True)
class SceneDetections:
    """What the heads found on a scene.

    Attributes:
        detections: boxes in scene pixels that count: at or above the thresholds, cars as `models.structure.coupled` chooses them.
        skipped: heads that did not run, with the reason.
        weak: boxes that do not count, down to `WEAK_SHARE` of the threshold.
        thresholds: score by class name from which a box counts.
    """

    detections: Detections
    skipped: dict[str, str] = field(default_factory=dict)
    weak: Detections = field(default_factory=Detections.empty)
    thresholds: dict[str, float] = field(default_factory=dict)

    def raw_counts(self) -> dict[str, int]:
        """Boxes at or above the thresholds by class name, before the structure of strings was asked."""
        every = Detections.concat([self.detections, self.weak])
        limit = np.array([self.thresholds.get(name, np.inf) for name in CLASSES], np.float32)
        return every.take(every.scores >= limit[every.classes]).counts()


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
    parts, weak, skipped = [], [], {}
    thresholds: dict[str, float] = {}
    for head in detectors:
        if head.gsd.accepts(scene.gsd_m):
            wanted = {name: settings.threshold.get(name, value) for name, value in head.thresholds.items()}  # type: ignore[call-overload]
            sure, unsure = _run_head(scene, head, wanted, settings.tile_px, executor, progress)
            thresholds |= wanted
            parts.append(sure)
            weak.append(unsure)
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
    every = Detections.concat([*parts, *weak])
    counts = coupled(every, thresholds, scene.gsd_m)
    return SceneDetections(_with_flags(every.take(counts)), skipped, every.take(~counts), thresholds)


def _run_head(
    scene: Scene,
    head: Detector,
    wanted: Mapping[str, float],
    tile_px: int,
    executor: Executor | None,
    progress: Progress | None,
) -> tuple[Detections, Detections]:
    """Boxes of one head in scene pixels: those that count, and those that only hint.

    The hints are merged on their own, so that no box that counts depends on them; inside a window, suppression goes by score, so that
    a lower threshold takes no better box away.
    """
    thresholds = {name: value * WEAK_SHARE for name, value in wanted.items()}
    limit = np.array([wanted.get(name, 0.0) for name in CLASSES], np.float32)
    tiles = iter_tiles(scene, head.gsd.working_m, tile_px, head.halo_px, head.stride_px)
    total = len(tile_windows(working_grid(scene, head.gsd.working_m), tile_px, head.halo_px, head.stride_px))
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
    found = []
    for sure in (True, False):
        ours, spare = ([p.take((p.scores >= limit[p.classes]) == sure) for p in part] for part in (owned, reserve))
        found.append(merge_tiles(ours, spare).moved(0, 0, working_factor(scene, head.gsd.working_m)))
    return found[0], found[1]


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
