"""Score a detector: oriented AP, precision, recall and count error at the shipped threshold, by class and sensor GSD.

Renders come from seeds at and above `models.render.EVALUATION_SEEDS`. Real pictures are scored where they are present; of the Swiss
yard only the columns that no training saw (x >= 640). Coarser GSDs are simulated by blur, sampling and resampling.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.datasets.real import Picture, read_picture
from models.detector import CLASSES, Detections, Detector, GsdRange, load
from models.network import STRIDE
from models.render import EVALUATION_SEEDS, Chip, render_chip
from models.structure import propose

MATCH_IOU = 0.3
"""Oriented IoU that makes a hit: labels of 3 m wide bodies are not good to more (imagery notes)."""
MUTTENZ_SPLIT = 640
RENDERS = {"railcar": ("rail_yard", 0.3), "container": ("terminal", 0.3), "vessel": ("harbour", 3.0)}
RENDER_GSDS = {"railcar": (0.3, 0.5, 0.8), "container": (0.3, 0.5, 0.8), "vessel": (3.0, 10.0)}
"""By class: kind of scene and GSD that it is drawn at, and the GSDs of the sensors."""
CHIPS, CHIP_PX = 24, 512


def render_gsds(name: str, accepted: GsdRange) -> tuple[float, ...]:
    """Of the GSDs that renders of a class have, those that a head accepts."""
    return tuple(filter(accepted.accepts, RENDER_GSDS[name]))


@dataclass(frozen=True, slots=True)
class Score:
    """Hits of one class on one set.

    Attributes:
        objects, found, hits: labelled objects, boxes, boxes that hit one.
        ap: average precision.
    """

    objects: int
    found: int
    hits: int
    ap: float

    @property
    def precision(self) -> float:
        """Share of boxes that hit an object; 1 when nothing was found."""
        return self.hits / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of objects that were hit; 1 when there was none."""
        return self.hits / self.objects if self.objects else 1.0


def score(found: Sequence[Detections], truth: Sequence[NDArray[np.float64]], iou: float = MATCH_IOU) -> Score:
    """Greedy matching by score over a set of images.

    Args:
        found: detections of one class, one entry an image.
        truth: labelled boxes (N, 5), one entry an image.
        iou: oriented IoU that makes a hit; each object may be hit once.
    """
    rows: list[tuple[float, bool]] = []
    for detections, boxes in zip(found, truth, strict=True):
        overlap = ob.iou_matrix(detections.boxes, boxes)
        free = np.ones(len(boxes), np.bool_)
        for i in np.argsort(-detections.scores, kind="stable"):
            row = np.where(free, overlap[i], -1.0)
            best = int(row.argmax()) if len(row) else -1
            hit = best >= 0 and row[best] >= iou
            if hit:
                free[best] = False
            rows.append((float(detections.scores[i]), bool(hit)))
    objects = sum(len(b) for b in truth)
    rows.sort(key=lambda r: -r[0])
    hits = np.cumsum([h for _, h in rows]) if rows else np.zeros(0)
    precision = hits / np.arange(1, len(rows) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1] if rows else precision
    steps = np.diff(np.concatenate([[0], hits])) > 0
    ap = float(envelope[steps].sum() / objects) if objects else 1.0
    return Score(objects, len(rows), int(hits[-1]) if rows else 0, ap)


@dataclass(frozen=True, slots=True)
class Case:
    """One picture of a judged set.

    Attributes:
        where: name of the set, and which picture of it.
        gsd_m: of the sensor.
        pixels: (3, H, W) float32 at the head's working GSD.
        found: detections of the labelled classes, pixels.
        boxes: (N, 5) float64 labelled boxes, pixels.
        classes: (N,) uint8.
        asked: (N,) bool, False for objects that the frame cuts: neither wanted nor punished.
        proposals: every box of the labelled classes that the head proposes, which average precision ranks; those that count when None.
    """

    where: str
    gsd_m: float
    pixels: NDArray[np.float32]
    found: Detections
    boxes: NDArray[np.float64]
    classes: NDArray[np.uint8]
    asked: NDArray[np.bool_]
    proposals: Detections | None = None

    def of(self, name: str, *, proposed: bool = False) -> tuple[Detections, NDArray[np.float64]]:
        """Detections, or proposals, and asked objects of one class."""
        boxes = self.proposals if proposed and self.proposals is not None else self.found
        found, mine = boxes.of(name), self.classes == CLASSES.index(name)
        cut = ob.iou_matrix(found.boxes, self.boxes[mine & ~self.asked]).max(axis=1, initial=0) >= MATCH_IOU
        return found.take(~cut), self.boxes[mine & self.asked]

    def matches(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """What each detection lies on, whatever it was called.

        Returns:
            (M,) index of the object, -1 for none: objects of its own class first, then any that is left; and (M,) whether the
            detection counts, which those on objects that the frame cuts do not.
        """
        overlap = ob.iou_matrix(self.found.boxes, self.boxes)
        same = self.found.classes[:, None] == self.classes[None, :]
        on = np.full(len(self.found), -1, np.int64)
        free = np.ones(len(self.boxes), np.bool_)
        for allowed in (same, ~same):
            for i in np.argsort(-self.found.scores, kind="stable"):
                row = np.where(free & allowed[i], overlap[i], 0.0)
                if on[i] < 0 and row.max(initial=0.0) >= MATCH_IOU:
                    on[i] = row.argmax()
                    free[on[i]] = False
        return on, ~((on >= 0) & ~self.asked[on]) if len(self.boxes) else np.ones(len(on), np.bool_)

    def verdict(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
        """(M,) detections that are right; (M,) that are false, on nothing or called by another name; objects that nothing right hit."""
        on, counts = self.matches()
        right = counts & (on >= 0)
        right[right] = self.found.classes[right] == self.classes[on[right]]
        return right, counts & ~right, np.setdiff1d(np.flatnonzero(self.asked), on[right])

    @property
    def errors(self) -> int:
        """Detections that are false, and objects that were missed."""
        _, false, missed = self.verdict()
        return int(false.sum()) + len(missed)


def confusion(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """How often each labelled class (``background`` for none) was called what (``missed`` for nothing), all pairs that occur."""
    table: Counter[tuple[str, str]] = Counter()
    for case in cases:
        on, counts = case.matches()
        for index, cls in zip(on[counts], case.found.classes[counts], strict=True):
            table["background" if index < 0 else CLASSES[case.classes[index]], CLASSES[cls]] += 1
        for index in np.setdiff1d(np.flatnonzero(case.asked), on):
            table[CLASSES[case.classes[index]], "missed"] += 1
    return [{"labelled": labelled, "called": called, "number": n} for (labelled, called), n in sorted(table.items())]


def evaluate(model: str, imagery: Path, worst: int = 0) -> tuple[dict[str, Any], list[Case]]:
    """Score every head of a model.

    Returns:
        ``rows`` as of `row`, ``confusion`` (set, gsd_m, labelled, called, number) and ``skipped`` (sets that are absent or that a head
        does not accept); and the `worst` pictures, those with most errors first.
    """
    rows: list[dict[str, Any]] = []
    mixed: list[dict[str, Any]] = []
    bad: list[Case] = []
    skipped: list[str] = []
    heads = load(model)
    path = imagery / "muttenz" / "yard_west.tif"
    if not path.exists() and any("railcar" in h.classes for h in heads):
        skipped.append(f"{path}: absent")
    for head in heads:
        left = [name for name in head.classes if not render_gsds(name, head.gsd)]
        skipped += [f"renders of {name}: {head.name} accepts none of their GSDs" for name in left]
        for where, name, gsd, cases in _sets(head, path):
            rows.append(row(where, name, gsd, cases, head.gsd.working_m))
            mixed += [{"set": where, "gsd_m": gsd, **entry} for entry in confusion(cases)]
            bad = sorted([*bad, *cases], key=lambda case: -case.errors)[:worst]
    models = [{"name": h.name, "sha256": h.sha256} for h in heads]
    return {"model": models, "rows": rows, "confusion": mixed, "skipped": skipped}, bad


LENGTH_M = 6.0
"""A hull's length is right to this: two pixels at 3 m."""


def row(where: str, name: str, gsd: float, cases: Sequence[Case], pixel_m: float) -> dict[str, Any]:
    """One line of the table of figures, of the detections and objects of one class in the pictures of a set, `pixel_m` metres a pixel.

    Returns:
        set, class, gsd_m, objects, found; precision and recall of what counts, and ap of all proposals, at `MATCH_IOU`, ap50 at an
        oriented IoU of 0.5; count_error of the sum, and mape over pictures with objects, relative; of the lengths of hits
        length_error_m, the median error, length_within, the share that is right to `LENGTH_M`, and length_error_90, relative, which
        nine of ten do not exceed; counts, per picture the objects, the boxes and their mean score.
    """
    pictures = [case.of(name) for case in cases]
    found, truth = zip(*pictures, strict=True)
    ranked = [case.of(name, proposed=True)[0] for case in cases]
    s = score(found, truth)
    counts = [[len(t), len(f), round(float(f.scores.mean()), 4) if len(f) else 0.0] for f, t in pictures]
    errors = [abs(f - t) / t for t, f, _ in counts if t]
    errors_px, true_px = (np.concatenate(part) for part in zip(*(_length_errors(case, name) for case in cases), strict=True))
    lengths = errors_px * pixel_m
    figures = {
        "precision": s.precision,
        "recall": s.recall,
        "ap": score(ranked, truth).ap,
        "ap50": score(ranked, truth, 0.5).ap,
        "count_error": (s.found - s.objects) / max(s.objects, 1),
        "mape": float(np.mean(errors)) if errors else 0.0,
        "length_error_m": float(np.median(lengths)) if len(lengths) else 0.0,
        "length_within": float((lengths <= LENGTH_M).mean()) if len(lengths) else 1.0,
        "length_error_90": float(np.quantile(errors_px / true_px, 0.9)) if len(lengths) else 0.0,
    }
    rounded = {key: round(value, 4) for key, value in figures.items()}
    return {"set": where, "class": name, "gsd_m": gsd, "objects": s.objects, "found": s.found, **rounded, "counts": counts}


def _length_errors(case: Case, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Absolute error of the length of each hit of a class, and its true length, pixels."""
    on, counts = case.matches()
    mine = counts & (on >= 0) & (case.found.classes == CLASSES.index(name))
    mine[mine] = case.classes[on[mine]] == CLASSES.index(name)
    true = case.boxes[on[mine], 2]
    return np.abs(case.found.boxes[mine, 2] - true), true


def _sets(head: Detector, muttenz: Path) -> Iterator[tuple[str, str, float, list[Case]]]:
    """Name, judged class, GSD and pictures of every set of a head."""
    for name in head.classes:
        for gsd in render_gsds(name, head.gsd):
            yield f"render {RENDERS[name][0]}", name, gsd, _renders(head, name, gsd)
    if "railcar" in head.classes and muttenz.exists():
        for gsd in filter(head.gsd.accepts, (0.25, 0.5, 0.8)):
            yield "muttenz x >= 640", "railcar", gsd, [_muttenz(head, muttenz, gsd)]


WHOLE = 0.4
"""Share of an object inside the frame from which it is asked for."""


def _renders(head: Detector, name: str, gsd: float) -> list[Case]:
    """The chips of a class, as a sensor of `gsd` would give them."""
    kind, canvas = RENDERS[name]
    cases = []
    for seed in range(EVALUATION_SEEDS, EVALUATION_SEEDS + CHIPS):
        chip = at_working(render_chip(seed, kind, canvas, CHIP_PX, gsd), head.gsd.working_m)
        mine = np.isin(chip.classes, [CLASSES.index(n) for n in head.classes])
        found, proposals = propose(head, chip.pixels, chip.valid)
        where, asked = f"render {kind} {seed}", chip.visible[mine] >= WHOLE
        cases.append(Case(where, gsd, chip.pixels, found, chip.boxes[mine], chip.classes[mine], asked, proposals))
    return cases


def _muttenz(head: Detector, path: Path, gsd: float) -> Case:
    """The columns that no training saw, at a simulated sensor GSD; only railcars are labelled."""
    picture = read_picture(path, path.with_suffix(".txt"), 0.2546)
    pixels, zoom = at_gsd(picture, gsd, head.gsd.working_m)
    edge = MUTTENZ_SPLIT * zoom
    start = int(edge) // STRIDE * STRIDE
    boxes = picture.boxes * (zoom, zoom, zoom, zoom, 1)
    asked = boxes[:, 0] >= edge
    height, width = picture.care.shape
    east = []
    for some in propose(head, pixels, np.ones(pixels.shape[1:], np.bool_)):
        cars = some.of("railcar")
        x, y = np.floor(cars.boxes[:, :2] / zoom).astype(np.int64).T
        known = picture.care[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] > 0  # not on a car that the frame cuts
        # of a car across the split, the label tells the side
        mine = (cars.boxes[:, 0] >= edge) | (ob.iou_matrix(cars.boxes, boxes[asked]).max(axis=1, initial=0) >= MATCH_IOU)
        east.append(cars.take(mine & known).moved(-start, 0, 1))
    railcars = np.full(len(boxes), CLASSES.index("railcar"), np.uint8)
    return Case("muttenz x >= 640", gsd, pixels[:, :, start:], east[0], boxes - (start, 0, 0, 0, 0), railcars, asked, east[1])


def at_working(chip: Chip, working: float) -> Chip:
    """A chip resampled to the working GSD of a head and padded, with its boxes; the same where it has that GSD."""
    if chip.gsd_m == working:
        return chip
    care = chip.valid.astype(np.uint8)
    picture = Picture(chip.pixels.transpose(1, 2, 0), chip.gsd_m, chip.boxes, chip.classes, chip.subtypes, care)
    pixels, zoom = at_gsd(picture, chip.gsd_m, working)
    height, width = (round(side * zoom) for side in care.shape)
    valid = np.zeros(pixels.shape[1:], np.bool_)
    valid[:height, :width] = cv2.resize(care, (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return replace(chip, pixels=pixels, valid=valid, boxes=chip.boxes * (zoom, zoom, zoom, zoom, 1), gsd_m=working)


def at_gsd(picture: Picture, gsd: float, working: float) -> tuple[NDArray[np.float32], float]:
    """A picture as a sensor of `gsd` would give it, resampled to the working GSD, linearly upwards as a run does, and padded.

    Returns:
        pixels (3, H, W), and working pixels per picture pixel.
    """
    zoom = picture.gsd_m / working
    image = picture.image
    if gsd > 1.1 * picture.gsd_m:
        ratio = gsd / picture.gsd_m
        blurred = cv2.GaussianBlur(image, (0, 0), 0.45 * ratio)
        image = cv2.resize(blurred, None, fx=1 / ratio, fy=1 / ratio, interpolation=cv2.INTER_AREA)
    size = round(picture.image.shape[1] * zoom), round(picture.image.shape[0] * zoom)
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if image.shape[1] > size[0] else cv2.INTER_LINEAR)
    pad = [(0, -size[1] % STRIDE), (0, -size[0] % STRIDE), (0, 0)]
    padded = np.pad(np.clip(resized, 0, 1), pad)
    return np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32), zoom
