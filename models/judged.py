"""Judging a head on real pictures that were read by eye (``fixtures/labels``), of which no judged pixel trained a shipped weight.

A label file names its image and its digest; it holds oriented boxes in pixels. Where it has ``patch`` polygons, only they were read.
Objects marked uncertain, and what lies in ``ignore`` polygons, are neither wanted nor punished.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from models import boxes as ob
from models.datasets.labels import DRAWN_TWICE
from models.datasets.real import Picture, read_picture
from models.detector import CLASSES, Detections, Detector, load
from models.evaluate import MATCH_IOU, Case, at_gsd, row
from models.structure import detect, propose

TRAINED_ON = {"long-beach/scene_a.tif", "sf_bay/scene_1.jpg", "sf_bay/scene_4.jpg", "sentinel2_ports/busan/busan_rgb.tiff"}
"""Images whose labels are in ``configs/train/hull.yaml``; they judge nothing, but for the columns of Busan that no training saw."""
BUSAN_SPLIT = 610
"""Columns of Busan from here on judge; those below 600 train."""


def label_files(folder: Path) -> list[Path]:
    """Label files of images that no recipe trains on, by name."""
    files = sorted(folder.glob("*.geojson"))
    return [p for p in files if json.loads(p.read_text(encoding="utf-8"))["image"] not in TRAINED_ON]


def judge_all(model: str, labels: Path, imagery: Path) -> tuple[list[dict[str, Any]], list[str], list[Case]]:
    """Rows as in `models.evaluate.evaluate`, one a class and patch, or file; what was left out; every file as a case."""
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    cases: list[Case] = []
    for head in load(model):
        for judge in (judge for name in head.classes for judge in JUDGES.get(name, ())):
            found = judge(head, imagery)
            if isinstance(found, str):
                skipped.append(found)
            else:
                rows += found
        for path in label_files(labels):
            case = judge_file(head, path, imagery)
            if isinstance(case, str):
                skipped.append(case)
            elif case is not None:
                for part in patches(case, path, head.gsd.working_m):
                    rows += [row(part.where, CLASSES[i], case.gsd_m, [part], head.gsd.working_m) for i in np.unique(part.classes)]
                cases.append(case)
    return rows, skipped, cases


def judge_file(head: Detector, path: Path, imagery: Path) -> Case | str | None:
    """Hold a head against one label file.

    Returns:
        What was read for certain beside what was found there; a sentence when the image is absent or another one; None when the
        file holds no object of the head's classes.
    """
    labels = json.loads(path.read_text(encoding="utf-8"))
    image = imagery / labels["image"]
    wanted = sorted({f["properties"]["class"] for f in labels["features"]} & set(head.classes))
    if not wanted or not head.gsd.accepts(labels["gsd_m"]):
        return None
    if not image.exists():
        return f"{image}: absent"
    if hashlib.sha256(image.read_bytes()).hexdigest() != labels["sha256"]:
        return f"{image}: is not the image that was labelled"
    picture = read_picture(image, None, labels["gsd_m"])
    pixels, zoom = at_gsd(picture, labels["gsd_m"], head.gsd.working_m)
    parts = []
    for some in propose(head, pixels, np.ones(pixels.shape[1:], np.bool_)):
        judged = [_judged(some.of(name).moved(0, 0, 1 / zoom), labels["features"], name) for name in wanted]
        parts.append(Detections.concat([part for part, _ in judged]).moved(0, 0, zoom))
    boxes = np.concatenate([sure for _, sure in judged]) * (zoom, zoom, zoom, zoom, 1)
    classes = np.repeat([CLASSES.index(name) for name in wanted], [len(sure) for _, sure in judged]).astype(np.uint8)
    return Case(path.stem, labels["gsd_m"], pixels, parts[0], boxes, classes, np.ones(len(boxes), np.bool_), parts[1])


def patches(case: Case, path: Path, working_m: float) -> list[Case]:
    """The patches of a case, each under its own name, with what has its centre there; the whole case where its label file has none."""
    labels = json.loads(path.read_text(encoding="utf-8"))
    zoom = labels["gsd_m"] / working_m
    names = [f["properties"]["name"] for f in labels["features"] if f["properties"]["class"] == "patch"]
    ranked = case.found if case.proposals is None else case.proposals
    parts = []
    for name, area in zip(names, _polygons(labels["features"], "patch"), strict=True):
        mine, found, proposed = (_within(area, boxes, zoom) for boxes in (case.boxes, case.found.boxes, ranked.boxes))
        parts.append(
            replace(
                case, where=f"{case.where} {name}", found=case.found.take(found), proposals=ranked.take(proposed),
                boxes=case.boxes[mine], classes=case.classes[mine], asked=case.asked[mine],
            )
        )  # fmt: skip
    return parts or [case]


def _within(area: shapely.Geometry, boxes: NDArray[np.float64], zoom: float = 1.0) -> NDArray[np.bool_]:
    """(N,) boxes, in pixels `zoom` times as many as those of an area, whose centre lies in it."""
    return np.asarray(shapely.contains(area, shapely.points(boxes[:, :2] / zoom)))


LONG_HULL_M = 80.0
"""At 10 m a hull is asked for above this length only."""


def _planetscope(head: Detector, imagery: Path) -> list[dict[str, Any]] | str:
    """Recall on the larger ships of 512 px chips at 3 m: all of them, and those that the frame does not cut.

    Upright labels, some drawn twice, small craft not drawn.
    """
    chips = sorted((imagery / "planetscope_ports").glob("*.png"))
    if not chips:
        return f"{imagery / 'planetscope_ports'}: absent"
    found, truth, whole = [], [], []
    for path in chips:
        picture = read_picture(path, None, 3.0)
        height, width = picture.care.shape
        lines = path.with_suffix(".txt").read_text(encoding="utf-8").split("\n")
        drawn = np.array([line.split()[1:5] for line in lines if line.strip()], np.float64).reshape(-1, 4) * (
            width,
            height,
            width,
            height,
        )
        truth.append(_once(np.concatenate([drawn[:, :2] - drawn[:, 2:] / 2, drawn[:, :2] + drawn[:, 2:] / 2], axis=1)))
        whole.append(truth[-1][(truth[-1][:, :2] > 1).all(axis=1) & (truth[-1][:, 2:] < (width - 1, height - 1)).all(axis=1)])
        found.append(_hulls(head, picture, 3.0))
    return [_recall_row("planetscope_ports", 3.0, found, truth), _recall_row("planetscope_ports, whole ships", 3.0, found, whole)]


def _sentinel2(head: Detector, imagery: Path) -> list[dict[str, Any]] | str:
    """Recall on hulls over 80 m of two ports at 10 m; labels are masks. Of Busan, the part that trains is left out."""
    folder, found, truth = imagery / "sentinel2_ports", [], []
    for port, latitude, first in (("busan", 35.1, BUSAN_SPLIT), ("casablanca", 33.6, 0)):
        path = folder / port / f"{port}_rgb.tiff"
        if not path.exists():
            return f"{path}: absent"
        gsd = 10.0 * float(np.cos(np.radians(latitude)))  # Web Mercator metres to metres on the ground
        picture = read_picture(path, folder / "coco_annotations_all20ports.json", gsd)
        long = (picture.boxes[:, 2] * gsd >= LONG_HULL_M) & (picture.boxes[:, 0] >= first)
        ring = ob.corners(picture.boxes[long])
        truth.append(np.concatenate([ring.min(axis=1), ring.max(axis=1)], axis=1))
        hulls = _hulls(head, picture, gsd)
        found.append(hulls[hulls[:, 0] >= first])
    return [_recall_row("sentinel2_ports over 80 m", 10.0, found, truth)]


TRAILER_GSD_M = 0.124
"""Of ``negatives/trailers_P0004.png``: its longest trailers, of 53 ft, are 130 px long."""
TRAILER_M = 9.0
"""Shorter instances are tractors."""


def _trailers(head: Detector, imagery: Path) -> list[dict[str, Any]] | str:
    """Lorry trailers that are called containers; instances are masks of one colour each."""
    path = imagery / "negatives" / "trailers_P0004.png"
    mask = path.with_name("trailers_P0004_instances.png")
    if not path.exists() or not mask.exists():
        return f"{path}: absent"
    colours = read_picture(mask, None, TRAILER_GSD_M).image
    each = [np.argwhere((colours == colour).all(axis=2)) for colour in np.unique(colours.reshape(-1, 3), axis=0)[1:]]
    drawn = [cv2.boxPoints(cv2.minAreaRect(points[:, ::-1].astype(np.float32))) + 0.5 for points in each]
    trailers = ob.from_corners(np.array(drawn, np.float64))
    trailers = trailers[trailers[:, 2] * TRAILER_GSD_M >= TRAILER_M]
    pixels, zoom = at_gsd(read_picture(path, None, TRAILER_GSD_M), TRAILER_GSD_M, head.gsd.working_m)
    found = detect(head, pixels, np.ones(pixels.shape[1:], np.bool_)).of("container").moved(0, 0, 1 / zoom)
    called = int((ob.iou_matrix(trailers, found.boxes).max(axis=1, initial=0) >= MATCH_IOU).sum())
    return [_bare_row("trailers called containers", "container", TRAILER_GSD_M, len(trailers), called)]


def _hulls(head: Detector, picture: Picture, gsd: float) -> NDArray[np.float64]:
    """(N, 5) hulls in pixels of the picture; black is where a scene was cut."""
    pixels, zoom = at_gsd(picture, gsd, head.gsd.working_m)
    return detect(head, pixels, pixels.max(axis=0) > 0).of("vessel").moved(0, 0, 1 / zoom).boxes


def _once(upright: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 4) upright boxes without those drawn twice."""
    ring = np.concatenate([(upright[:, :2] + upright[:, 2:]) / 2, upright[:, 2:] - upright[:, :2], np.zeros((len(upright), 1))], axis=1)
    return upright[np.sort(ob.nms(ob.canonical(ring), np.ones(len(ring)), DRAWN_TWICE))]


def _recall_row(where: str, gsd: float, found: list[NDArray[np.float64]], truth: list[NDArray[np.float64]]) -> dict[str, Any]:
    """A ship is found when the centre of a box of its own lies in its upright label; the labels do not bound precision."""
    hits = 0
    for boxes, labels in zip(found, truth, strict=True):
        x, y = boxes[:, 0][:, None], boxes[:, 1][:, None]
        inside = (x >= labels[:, 0]) & (y >= labels[:, 1]) & (x <= labels[:, 2]) & (y <= labels[:, 3])
        hits += int(inside[linear_sum_assignment(inside, maximize=True)].sum())
    objects = sum(len(labels) for labels in truth)
    return _bare_row(where, "vessel", gsd, objects, sum(len(b) for b in found), round(hits / max(objects, 1), 4))


def _bare_row(where: str, name: str, gsd: float, objects: int, found: int, recall: float | None = None) -> dict[str, Any]:
    """A row as of `models.evaluate.row` for a set whose labels bear no more figures than these."""
    unknown = dict.fromkeys(
        ("precision", "recall", "ap", "ap50", "count_error", "mape", "length_error_m", "length_within", "length_error_90")
    )
    return {"set": where, "class": name, "gsd_m": gsd, "objects": objects, "found": found, **unknown, "recall": recall}


def _judged(found: Detections, features: list[dict[str, Any]], name: str) -> tuple[Detections, NDArray[np.float64]]:
    """Detections of one class that count, and the objects that are asked for, both in pixels of the picture."""
    read, ignored = (_polygons(features, kind) for kind in ("patch", "ignore"))
    sure, unsure = (_boxes(features, name, certain=c) for c in (True, False))
    keep = np.ones(len(found), np.bool_)
    if read:
        area = shapely.union_all(read)
        keep &= _within(area, found.boxes)
        sure = sure[_within(area, sure)]
    if ignored:
        keep &= ~_within(shapely.union_all(ignored), found.boxes)
    doubtful = ob.iou_matrix(found.boxes, unsure).max(axis=1, initial=0) >= MATCH_IOU
    certain = ob.iou_matrix(found.boxes, sure).max(axis=1, initial=0) >= MATCH_IOU
    return found.take(keep & (certain | ~doubtful)), sure


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


JUDGES = {"vessel": (_planetscope, _sentinel2), "container": (_trailers,)}
"""By class: sets that judge it by labels of their own form."""
