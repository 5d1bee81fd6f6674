"""Judging a head on real pictures that were read by eye (``fixtures/labels``), none of which trained a shipped weight.

A label file names its image and its digest; it holds oriented boxes in pixels. Where it has ``patch`` polygons, only they were read.
Objects marked uncertain, and what lies in ``ignore`` polygons, are neither wanted nor punished.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from models import boxes as ob
from models.datasets.real import read_picture
from models.detector import CLASSES, Detections, Detector, load
from models.evaluate import MATCH_IOU, Score, at_gsd, row, score

TRAINED_ON = {"long-beach/scene_a.tif", "sf_bay/scene_1.jpg", "sf_bay/scene_4.jpg"}
"""Images whose labels are in ``configs/train/hull.yaml``; they judge nothing."""


def label_files(folder: Path) -> list[Path]:
    """Label files of images that no recipe trains on, by name."""
    files = sorted(folder.glob("*.geojson"))
    return [p for p in files if json.loads(p.read_text(encoding="utf-8"))["image"] not in TRAINED_ON]


def judge_all(model: str, labels: Path, imagery: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows as in `models.evaluate.evaluate`, one per label file and class, and what was left out."""
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for head in load(model):
        for path in label_files(labels):
            result = judge_file(head, path, imagery)
            if isinstance(result, str):
                skipped.append(result)
            elif result is not None:
                rows += [row(path.stem, name, gsd, found) for name, (found, gsd) in result.items()]
    return rows, skipped


def judge_file(head: Detector, path: Path, imagery: Path) -> dict[str, tuple[Score, float]] | str | None:
    """Score one label file.

    Returns:
        Per class of the head: the score and the GSD; a sentence when the image is absent or another one; None when the file holds
        no object of the head's classes.
    """
    labels = json.loads(path.read_text(encoding="utf-8"))
    image = imagery / labels["image"]
    wanted = {f["properties"]["class"] for f in labels["features"]} & set(head.classes)
    if not wanted or not head.gsd.accepts(labels["gsd_m"]):
        return None
    if not image.exists():
        return f"{image}: absent"
    if hashlib.sha256(image.read_bytes()).hexdigest() != labels["sha256"]:
        return f"{image}: is not the image that was labelled"
    picture = read_picture(image, None, labels["gsd_m"])
    pixels, zoom = at_gsd(picture, labels["gsd_m"], head.gsd.working_m)
    found = head.detect(pixels, np.ones(pixels.shape[1:], np.bool_)).moved(0, 0, 1 / zoom)
    return {name: (_score(found.of(name), labels["features"], name), labels["gsd_m"]) for name in sorted(wanted)}


def _score(found: Detections, features: list[dict[str, Any]], name: str) -> Score:
    patches, ignored = (_polygons(features, kind) for kind in ("patch", "ignore"))
    sure, unsure = (_boxes(features, name, certain=c) for c in (True, False))
    keep = np.ones(len(found), np.bool_)
    points = shapely.points(found.boxes[:, :2])
    if patches:
        area = shapely.union_all(patches)
        keep &= shapely.contains(area, points)
        sure = sure[shapely.contains(area, shapely.points(sure[:, :2]))]
    if ignored:
        keep &= ~shapely.contains(shapely.union_all(ignored), points)
    doubtful = ob.iou_matrix(found.boxes, unsure).max(axis=1, initial=0) >= MATCH_IOU
    certain = ob.iou_matrix(found.boxes, sure).max(axis=1, initial=0) >= MATCH_IOU
    return score([found.take(keep & (certain | ~doubtful))], [sure])


def _polygons(features: list[dict[str, Any]], kind: str) -> list[shapely.Polygon]:
    return [shapely.Polygon(f["geometry"]["coordinates"][0]) for f in features if f["properties"]["class"] == kind]


def _boxes(features: list[dict[str, Any]], name: str, *, certain: bool) -> NDArray[np.float64]:
    assert name in CLASSES
    rings = [
        f["geometry"]["coordinates"][0][:-1]
        for f in features
        if f["properties"]["class"] == name and f["properties"].get("certain", True) == certain
    ]
    quads = np.array([r for r in rings if len(r) == 4], np.float64).reshape(-1, 4, 2)
    return ob.from_corners(quads)
