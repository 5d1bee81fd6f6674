# ruff: noqa: T201
# (a benchmark prints)
"""Fate of the hulls over 60 m in real pairs of looks, against kinds read by eye (``fixtures/labels/hulls``).

Run: ``python tests/bench/bench_hulls.py [IMAGERY] [--list]``. Each pair goes through the job's comparison twice: with the labelled
hulls as boxes, which judges registration and matching alone, and with the detector's. A hull is right when its kind is one that the
eye allows; ``unsure`` is the matcher's own "uncertain". With the detector, what went wrong because a look's hull was missed stands
apart, and hulls missed in every look that shows them are not judged. ``outside`` counts those that appear or depart where the other
image does not reach.
"""

import argparse
import json
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from sys import path as module_path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

module_path.insert(0, str(Path(__file__).parent))

from real_pairs import F64, IMAGERY, ROOT, RealPair, open_pair, present, told

import models
from models import CLASSES, Detections
from models import boxes as ob
from pipeline.change.pair import PairChange
from pipeline.change.records import Kind, ObjectChanges
from pipeline.config import DetectionSettings
from pipeline.detection.scene import SceneDetections, detect_scene

HULLS = ROOT / "fixtures" / "labels" / "hulls"
LONG_M = 60.0
VESSEL = CLASSES.index("vessel")
HIT = 0.3
"""Oriented IoU that makes a detection a labelled hull, as in `models.evaluate`."""
COLUMNS = ("right", "wrong", "unsure", "wrong, missed", "missed")


@dataclass(frozen=True, slots=True)
class Hull:
    """One hull, or two of which one followed the other at a berth.

    Attributes:
        kinds: the names of `Kind` that the eye allows.
        boxes: of the earlier and the later look, (5,) in pixels of that look, None where it shows none.
        why: what the eye saw.
    """

    kinds: tuple[str, ...]
    boxes: tuple[F64 | None, F64 | None]
    why: str


def hulls(name: str, gsd_m: float) -> list[Hull]:
    """The hulls of a pair's label file that are long enough."""
    found = []
    for hull in json.loads((HULLS / f"{name}.json").read_text(encoding="utf-8"))["hulls"]:
        boxes = tuple(_box(hull[side]) for side in ("before", "after"))
        if max(box[2] for box in boxes if box is not None) * gsd_m >= LONG_M:
            found.append(Hull(tuple(hull["kinds"]), (boxes[0], boxes[1]), hull["why"]))
    return found


def _box(told_box: list[float] | None) -> F64 | None:
    if told_box is None:
        return None
    return np.asarray(ob.canonical(np.array([[*told_box[:4], np.radians(told_box[4])]], np.float64))[0])


def as_found(labelled: list[Hull], side: int) -> SceneDetections:
    """The labelled hulls of one look, as a perfect detector would give them."""
    shown = np.array([hull.boxes[side] for hull in labelled if hull.boxes[side] is not None], np.float64).reshape(-1, 5)
    return SceneDetections(Detections.build(shown, np.ones(len(shown)), np.full(len(shown), VESSEL)))


def sought(labelled: list[Hull], side: int, found: Detections) -> list[int]:
    """Index of the detection that overlaps each hull most, -1 where none does by `HIT`."""
    vessels = np.flatnonzero(found.classes == VESSEL)
    out = []
    for hull in labelled:
        box, best = hull.boxes[side], -1
        if box is not None and len(vessels):
            overlap = ob.iou_pairs(np.repeat(box[None], len(vessels), axis=0), found.boxes[vessels])
            best = int(vessels[overlap.argmax()]) if overlap.max() >= HIT else -1
        out.append(best)
    return out


def verdict(hull: Hull, index: tuple[int, int], objects: ObjectChanges) -> tuple[str, str]:
    """(column of the table, what was said) for a hull whose boxes have these indices in the two looks."""
    rows = [_row(objects, side, index[side]) for side in (0, 1) if index[side] >= 0]
    if not rows:
        return "missed", ""
    said = {Kind(int(objects.kind[row])).name.lower() for row in rows}
    missed = any(box is not None and i < 0 for box, i in zip(hull.boxes, index, strict=True))
    both = all(box is not None for box in hull.boxes)
    allowed = set(hull.kinds) | ({"appeared"} if both and "departed" in hull.kinds else set())
    words = " + ".join(sorted(said))
    if said <= allowed or (said == {"uncertain"} and len(hull.kinds) > 1):  # where the eye cannot tell, doubt is right
        return "right", words
    if said <= allowed | {"uncertain"}:
        return "unsure", words
    return ("wrong, missed" if missed else "wrong"), words


def _row(objects: ObjectChanges, side: int, index: int) -> int:
    column = objects.after if side else objects.before
    return int(np.flatnonzero((column == index) & (objects.classes == VESSEL))[0])


def outside(pair: RealPair, change: PairChange) -> int:
    """Vessels said to appear or depart whose middle lies outside the other image."""
    matrix = np.vstack([pair.found(change), [0, 0, 1]])
    frames: tuple[tuple[Kind, NDArray[np.int64], F64, int], ...] = (
        (Kind.DEPARTED, change.objects.before, np.linalg.inv(matrix), 1),
        (Kind.APPEARED, change.objects.after, matrix, 0),
    )
    wrong = 0
    to_scene = np.linalg.inv(np.vstack([pair.to_grid(change.grid), [0, 0, 1]]))
    for kind, column, to_other, other in frames:
        which = column[(change.objects.kind == kind) & (change.objects.classes == VESSEL)]
        look = change.before_boxes if kind == Kind.DEPARTED else change.after_boxes
        middle = np.column_stack([look.boxes[which, :2], np.ones(len(which))]) @ to_scene.T  # both looks' boxes lie on the grid
        at = middle if kind == Kind.APPEARED else middle @ to_other.T
        size = np.array([pair.scenes[other].grid.width, pair.scenes[other].grid.height])
        wrong += int(((at[:, :2] < 0) | (at[:, :2] > size)).any(axis=1).sum())
    return wrong


def judge(pair: RealPair, labelled: list[Hull], heads: Any | None) -> tuple[Counter[str], int, list[str]]:
    """Counts by column, changes outside the overlap, and a line per hull that is not right; without heads the labels are the boxes."""
    if heads is None:
        first, second = (as_found(labelled, side) for side in (0, 1))
    else:
        first, second = (detect_scene(scene, heads, DetectionSettings()) for scene in pair.scenes)
    a, b = (sought(labelled, side, found.detections) for side, found in enumerate((first, second)))
    change = pair.compare((first, second))
    tally: Counter[str] = Counter()
    lines = []
    for hull, i, j in zip(labelled, a, b, strict=True):
        column, said = verdict(hull, (i, j), change.objects)
        tally[column] += 1
        if column != "right":
            source = "labels" if heads is None else "detector"
            lines.append(f"    {source}: {column}: said {said or 'nothing'}, eye {'|'.join(hull.kinds)}: {hull.why}")
    return tally, outside(pair, change), lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("imagery", nargs="?", type=Path, default=IMAGERY)
    parser.add_argument("--list", action="store_true", help="every hull that is not right")
    options = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    heads, sums = models.load("default"), {"labels": Counter[str](), "detector": Counter[str]()}
    print(f"{'pair':22} {'boxes':9} {'hulls':>5} " + " ".join(f"{c:>13}" for c in (*COLUMNS, "outside")))
    for path in sorted(HULLS.glob("*.json")):
        label = next(t for t in told() if t["pair"] == json.loads(path.read_text(encoding="utf-8"))["pair"])
        if not present(label, options.imagery):
            print(f"{label['pair']:22} skipped: no such images under {options.imagery}")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            pair = open_pair(label, options.imagery, Path(scratch))
        labelled = hulls(path.stem, pair.scenes[0].gsd_m)
        for name, used in (("labels", None), ("detector", heads)):
            tally, beyond, lines = judge(pair, labelled, used)
            sums[name] += tally
            print(f"{pair.name:22} {name:9} {len(labelled):5d} " + " ".join(f"{n:13d}" for n in (*(tally[c] for c in COLUMNS), beyond)))
            print("\n".join(lines)) if options.list and lines else None
    for name, tally in sums.items():
        print(f"{'all':22} {name:9} {tally.total():5d} " + " ".join(f"{tally[c]:13d}" for c in COLUMNS))


if __name__ == "__main__":
    main()
