"""Score a detector: oriented AP, precision, recall and count error at the shipped threshold, by class and sensor GSD.

Renders come from seeds at and above `models.render.EVALUATION_SEEDS`. Real pictures are scored where they are present; of the Swiss
yard only the columns that no training saw (x >= 640). Coarser GSDs are simulated by blur, sampling and resampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.datasets.real import Picture, read_picture
from models.detector import CLASSES, Detections, Detector, load
from models.network import STRIDE
from models.render import EVALUATION_SEEDS, render_chip
from models.structure import detect

MATCH_IOU = 0.3
"""Oriented IoU that makes a hit: labels of 3 m wide bodies are not good to more (imagery notes)."""
MUTTENZ_SPLIT = 640
RENDERS = {"railcar": ("rail_yard", 0.3), "container": ("terminal", 0.3), "vessel": ("harbour", 3.0)}
RENDER_GSDS = {"railcar": (0.3, 0.5, 0.8), "container": (0.3, 0.5, 0.8), "vessel": (3.0, 10.0)}
CHIPS, CHIP_PX = 24, 512


@dataclass(frozen=True, slots=True)
class Score:
    """Hits of one class on one set.

    Attributes:
        objects, found, hits: labelled objects, boxes, boxes that hit one.
        ap: average precision.
        scene_sd: spread of the corrected count between images, relative to it, beyond what chance alone gives.
    """

    objects: int
    found: int
    hits: int
    ap: float
    scene_sd: float = 0.0

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
    result = Score(objects, len(rows), int(hits[-1]) if rows else 0, ap)
    return replace(result, scene_sd=_between(result, [len(f) for f in found], [len(t) for t in truth]))


LEAST_PER_IMAGE = 8
"""Images with fewer objects say little about how images differ."""


def _between(total: Score, found: Sequence[int], objects: Sequence[int]) -> float:
    """Root mean square of log(corrected count / objects) over images, less its part from chance within an image."""
    if total.hits == 0:
        return 0.0
    pairs = np.array([(f, n) for f, n in zip(found, objects, strict=True) if n >= LEAST_PER_IMAGE], np.float64).reshape(-1, 2)
    if len(pairs) < 2:
        return 0.0
    error = np.log(np.maximum(pairs[:, 0], 0.5) * total.precision / total.recall / pairs[:, 1])
    chance = ((1 - total.recall) / total.recall + (1 - total.precision) / total.recall) / pairs[:, 1]
    return float(np.sqrt(max(0.0, float((error**2 - chance).mean()))))


def evaluate(model: str, imagery: Path) -> dict[str, Any]:
    """Score every head of a model.

    Returns:
        ``rows`` (set, class, gsd_m, objects, found, precision, recall, ap, count_error) and ``skipped`` (sets that are absent).
    """
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for head in load(model):
        for name in head.classes:
            kind, working = RENDERS[name]
            rows += [row(f"render {kind}", name, g, _on_renders(head, name, kind, working, g)) for g in RENDER_GSDS[name]]
        if "railcar" in head.classes:
            path = imagery / "muttenz" / "yard_west.tif"
            if not path.exists():
                skipped.append(f"{path}: absent")
                continue
            rows += [row("muttenz x >= 640", "railcar", g, _on_muttenz(head, path, g)) for g in (0.25, 0.5, 0.8)]
    return {"model": [{"name": h.name, "sha256": h.sha256} for h in load(model)], "rows": rows, "skipped": skipped}


def row(where: str, name: str, gsd: float, s: Score) -> dict[str, Any]:
    """One line of the table of figures."""
    error = (s.found - s.objects) / max(s.objects, 1)
    values = {"objects": s.objects, "found": s.found, "precision": s.precision, "recall": s.recall, "ap": s.ap, "count_error": error}
    values["scene_sd"] = s.scene_sd
    return {"set": where, "class": name, "gsd_m": gsd, **{k: round(v, 4) for k, v in values.items()}}


def _on_renders(head: Detector, name: str, kind: str, working: float, gsd: float) -> Score:
    """Objects of which at least 40 % is in the frame; detections of the others are not counted against the head."""
    found, truth = [], []
    for k in range(CHIPS):
        chip = render_chip(EVALUATION_SEEDS + k, kind, working, CHIP_PX, gsd)
        mine = chip.classes == CLASSES.index(name)
        boxes, visible = chip.boxes[mine], chip.visible[mine] >= 0.4
        detections = detect(head, chip.pixels, chip.valid).of(name)
        cut = ob.iou_matrix(detections.boxes, boxes[~visible])
        found.append(detections.take(cut.max(axis=1, initial=0) < MATCH_IOU))
        truth.append(boxes[visible])
    return score(found, truth)


def _on_muttenz(head: Detector, path: Path, gsd: float) -> Score:
    """The columns that no training saw, at a simulated sensor GSD."""
    picture = read_picture(path, path.with_suffix(".txt"), 0.2546)
    pixels, zoom = at_gsd(picture, gsd, head.gsd.working_m)
    detections = detect(head, pixels, np.ones(pixels.shape[1:], np.bool_)).of("railcar").moved(0, 0, 1 / zoom)
    east = detections.take(detections.boxes[:, 0] >= MUTTENZ_SPLIT)
    return score([east], [picture.boxes[picture.boxes[:, 0] >= MUTTENZ_SPLIT]])


def at_gsd(picture: Picture, gsd: float, working: float) -> tuple[NDArray[np.float32], float]:
    """A picture as a sensor of `gsd` would give it, resampled to the working GSD and padded to the stride.

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
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if image.shape[1] > size[0] else cv2.INTER_CUBIC)
    pad = [(0, -size[1] % STRIDE), (0, -size[0] % STRIDE), (0, 0)]
    padded = np.pad(np.clip(resized, 0, 1), pad)
    return np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32), zoom
