# ruff: noqa: T201
# (a benchmark prints)
"""Object change on rendered yards: one place under two suns, seasons, views and sensors, a cloud over the later look.

Run: ``python tests/bench/bench_objects.py [--pairs N] [--model NAME] [--first SEED]``. Two tables: nothing moved (how much is reported
as changed), and a tenth of the cars exchanged (precision, recall and F1 of appeared and departed). Each with the boxes of the
detector, with those of a made-up better one (98 % found, 1 % false, 0.3 m off), and with the true boxes: so the faults of the
detector and those of the matching are apart. ``boxes alone`` is the same without weak boxes and structure: what a subtraction after
matching would say. Judged on seeds from 4 950 000 on, with streams of chance that no training draws from.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

import models
from models import Detections
from models import boxes as ob
from models.render.looks import LookChip, exchange, plan_yard, see_yard
from pipeline.change.objects import match_objects
from pipeline.change.pair import PairChange, compare
from pipeline.change.records import Kind, ObjectChanges
from pipeline.config import ChangeSettings, DetectionSettings, SceneMetadata
from pipeline.detection.scene import SceneDetections, detect_scene
from pipeline.imagery.clouds import observe
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.observed import Observed
from pipeline.imagery.scene import Scene

FIRST = 4_950_000
CHANGED = (Kind.APPEARED, Kind.DEPARTED, Kind.MOVED)
HIT = 0.3
"""Oriented IoU that makes a hit, as in `models.evaluate`."""


@dataclass(frozen=True)
class View:
    """A look as the pipeline gets it, and its truth."""

    scene: Scene
    seen: LookChip
    observed: Observed
    found: SceneDetections


@dataclass
class Tally:
    """Sums over pairs."""

    objects: int = 0
    changed: int = 0
    clouded: int = 0
    uncertain: int = 0
    hits: int = 0
    reported: int = 0
    events: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


def photograph(folder: Path, seed: int, look: int, seen: LookChip, found: SceneDetections | None, heads: object) -> View:
    """Write a look as a GeoTIFF that lies up to a metre off, and read, mask and detect it as any image."""
    rng = np.random.default_rng([seed, 10, look])
    off, gsd = rng.uniform(-1, 1, 2) * (look > 0), seen.chip.gsd_m
    path = folder / f"{seed}_{look}.tif"
    pixels = (seen.chip.pixels * 255).astype(np.uint8)
    shape = {"width": pixels.shape[2], "height": pixels.shape[1], "count": 3, "dtype": "uint8", "crs": "EPSG:32626"}
    with rasterio.open(path, "w", driver="GTiff", transform=from_origin(5e5 + off[0], 45e5 + off[1], gsd, gsd), **shape) as target:
        target.write(pixels)
    # a provider ships its own cloud mask with the image; the built-in rule adds to it
    mask = folder / f"{seed}_{look}_mask.tif"
    with rasterio.open(mask, "w", driver="GTiff", **(shape | {"count": 1})) as target:
        target.write((seen.cloud > 0.3).astype(np.uint8)[None])
    when = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=30 * look)
    scene = open_scene(path, SceneMetadata(acquired=when, sensor="rendered", gsd_m=gsd, mask=mask))
    return View(scene, seen, observe(scene), found or detect_scene(scene, heads, DetectionSettings()))  # type: ignore[arg-type]


def truth(seen: LookChip) -> SceneDetections:
    """What a detector without fault says."""
    boxes = seen.chip.boxes[in_sight(seen, seen.chip.boxes)]
    classes = seen.chip.classes[in_sight(seen, seen.chip.boxes)]
    return SceneDetections(Detections.build(boxes, np.ones(len(boxes)), classes), thresholds={"container": 0.5, "railcar": 0.5})


def better(seen: LookChip, seed: int) -> SceneDetections:
    """A made-up detector: 98 % of objects at or above the threshold, half of the others weakly, 1 % false boxes, ends 0.3 m off."""
    rng = np.random.default_rng([seed, 11])
    clear = np.flatnonzero(in_sight(seen, seen.chip.boxes))
    boxes, classes = seen.chip.boxes[clear].copy(), seen.chip.classes[clear]
    boxes[:, :4] += rng.normal(0, 0.3 / seen.chip.gsd_m, (len(boxes), 4)) * (0.7, 0.7, 1, 0.4)
    scores = 0.5 + 0.5 * rng.beta(2.5, 1.2, len(boxes))
    lost = rng.random(len(boxes)) < 0.02
    scores[lost] = np.where(rng.random(lost.sum()) < 0.5, rng.uniform(0.17, 0.5, lost.sum()), 0.0)
    number = round(0.01 * len(boxes))
    false = boxes[rng.permutation(len(boxes))[:number]].copy()
    false[:, :2] = rng.uniform(0.1, 0.9, (number, 2)) * seen.chip.pixels.shape[1]
    every = Detections.build(
        np.concatenate([boxes, false]),
        np.r_[scores, 0.5 + 0.25 * rng.random(number)],
        np.r_[classes, classes[:number]],
    )
    weak = every.take((every.scores < 0.5) & (every.scores > 0.1))
    return SceneDetections(every.take(every.scores >= 0.5), {}, weak, {"container": 0.5, "railcar": 0.5})


def in_sight(seen: LookChip, boxes: NDArray[np.float64], most: float = 0.3) -> NDArray[np.bool_]:
    """(N,) whether cloud covers less than `most` at each box."""
    return cloud_at(seen, boxes) < most


def cloud_at(seen: LookChip, boxes: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N,) thickest cloud over centre and corners."""
    points = np.concatenate([boxes[:, None, :2], ob.corners(boxes)], axis=1)
    x, y = (np.clip(points[..., k], 0, s - 1).astype(int) for k, s in ((0, seen.cloud.shape[1]), (1, seen.cloud.shape[0])))
    return np.asarray(seen.cloud[y, x].max(axis=1), np.float32)


def across(view: View, boxes: NDArray[np.float64], other: View) -> NDArray[np.float64]:
    """Boxes in pixels of one look in nominal pixels of the other."""
    moved, ratio = boxes.copy(), view.seen.chip.gsd_m / other.seen.chip.gsd_m
    moved[:, :2] = other.scene.grid.to_pixel(view.scene.grid.to_map(boxes[:, :2]))
    moved[:, 2:4] *= ratio
    return moved


def score(tally: Tally, views: tuple[View, View], found: tuple[SceneDetections, SceneDetections], objects: ObjectChanges) -> None:
    """Add one pair."""
    tally.objects += len(objects)
    for side, (own, other, kind) in enumerate(((views[0], views[1], Kind.DEPARTED), (views[1], views[0], Kind.APPEARED))):
        rows = objects.after if side else objects.before
        mine = np.isin(objects.kind, [kind, Kind.MOVED]) & (rows >= 0)
        boxes, classes = found[side].detections.boxes[rows[mine]], objects.classes[mine]
        dim = cloud_at(other.seen, across(own, boxes, other))
        tally.clouded += int((dim > 0.5).sum())
        tally.changed += int((objects.kind == kind).sum()) + int((objects.kind == Kind.MOVED).sum()) * (side == 0)
        stays = set(other.seen.bodies.tolist())
        gone = np.array([key not in stays for key in own.seen.bodies.tolist()])
        true, true_classes = own.seen.chip.boxes[gone], own.seen.chip.classes[gone]
        sight = in_sight(own.seen, true, 0.1) & in_sight(other.seen, across(own, true, other), 0.1)
        overlap = ob.iou_matrix(boxes, true) * (classes[:, None] == true_classes[None])
        best = overlap.max(axis=1, initial=0.0) >= HIT
        target = overlap.argmax(axis=1) if len(true) else np.zeros(len(boxes), int)
        hit = {int(t) for t, b in zip(target, best, strict=True) if b and sight[t]}
        doubtful = np.array([bool(b and not sight[t]) for t, b in zip(target, best, strict=True)], np.bool_)
        tally.hits += len(hit)
        tally.reported += int((~doubtful).sum()) if len(doubtful) else 0
        tally.events += int(sight.sum())
    tally.uncertain += int((objects.kind == Kind.UNCERTAIN).sum())


def pairs(
    folder: Path, first: int, number: int, heads: object, gsds: tuple[float, ...] = (0.3, 0.4, 0.5)
) -> Iterator[tuple[str, int, tuple[View, View]]]:
    """(case, seed, views) with nothing moved and with a tenth exchanged."""
    for seed in range(first, first + number):
        yard = plan_yard(seed)
        rng = np.random.default_rng([seed, 12])
        views = []
        for look, (place, cloud) in enumerate(((yard, False), (yard, True), (exchange(yard, 0.1, 0), True))):
            seen = see_yard(place, look, float(rng.choice(gsds)), cloud=cloud)
            views.append(photograph(folder, seed, look, seen, None, heads))
        yield "nothing moved", seed, (views[0], views[1])
        yield "10 % exchanged", seed, (views[0], views[2])


def alone(change: PairChange, gsd_m: float) -> ObjectChanges:
    """Fates by boxes alone."""
    return match_objects(change.before_boxes, change.after_boxes, gsd_m, change.tolerance_m)


def run(first: int, number: int, model: str) -> dict[tuple[str, str], Tally]:
    """Both cases with every source of boxes."""
    heads = models.load(model)
    table: dict[tuple[str, str], Tally] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case, seed, views in pairs(Path(folder), first, number, heads):
            sources = {
                f"detector {model}": (views[0].found, views[1].found),
                "made-up 98 %": (better(views[0].seen, seed), better(views[1].seen, seed + 1_000_000)),
                "true boxes": (truth(views[0].seen), truth(views[1].seen)),
            }
            for name, found in sources.items():
                change = compare((views[0].scene, views[1].scene), found, (views[0].observed, views[1].observed), ChangeSettings())
                score(table.setdefault((case, name), Tally()), views, found, change.objects)
                score(table.setdefault((case, name + ", boxes alone"), Tally()), views, found, alone(change, change.gsd_m))
            cv2.setNumThreads(1)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--model", default="yard")
    parser.add_argument("--first", type=int, default=FIRST)
    options = parser.parse_args()
    table = run(options.first, options.pairs, options.model)
    print(
        f"{options.pairs} yards of 300 m from seed {options.first}, 0.3-0.5 m, sun 20-65 deg, off nadir to 28 deg, cloud of 150-190 m"
    )
    print(f"{'case':15} {'boxes':34} {'objects':>7} {'changed':>8} {'in cloud':>8} {'uncertain':>9} {'P':>6} {'R':>6} {'F1':>6}")
    for (case, name), t in sorted(table.items(), reverse=True):
        n = max(1, t.objects)
        line = f"{case:15} {name:34} {t.objects:7d} {t.changed / n:8.1%} {t.clouded:8d} {t.uncertain / n:9.1%}"
        if t.events:
            precision, recall = t.hits / max(1, t.reported), t.hits / t.events
            line += f" {precision:6.3f} {recall:6.3f} {2 * precision * recall / max(1e-9, precision + recall):6.3f}"
        print(line)


if __name__ == "__main__":
    main()
