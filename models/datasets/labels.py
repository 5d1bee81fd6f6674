"""Labels of others, as they are: DOTA / iSAID text, COCO, xView GeoJSON, and yardwatch's own GeoJSON. One reader, one vocabulary.

What a foreign class means here is a table (`MEANING`). Axis-aligned boxes become oriented ones only by the declared rule of
`oriented`; where the rule cannot tell, nothing is learned there.
"""

import json
import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models import boxes as ob
from models.detector import CLASSES, SUBTYPES

log = logging.getLogger(__name__)

F64 = NDArray[np.float64]

XVIEW = {
    33: "Railway Vehicle", 34: "Passenger Car", 35: "Cargo Car", 36: "Flat Car", 37: "Tank car", 38: "Locomotive",
    40: "Maritime Vessel", 41: "Motorboat", 42: "Sailboat", 44: "Tugboat", 45: "Barge", 47: "Fishing Vessel", 49: "Ferry", 50: "Yacht",
    51: "Container Ship", 52: "Oil Tanker", 55: "Container Crane", 89: "Shipping container lot", 91: "Shipping Container",
}  # fmt: skip
"""Type ids of xView that touch our classes (arXiv 1802.07856, class list)."""

MEANING: dict[str, tuple[str, str]] = {
    **{name: (name, "unknown") for name in CLASSES},
    "Shipping Container": ("container", "unknown"),
    "Railway Vehicle": ("railcar", "unknown"),
    "Cargo Car": ("railcar", "unknown"),  # box, gondola or hopper: xView does not tell
    "Passenger Car": ("railcar", "passenger"),
    "Flat Car": ("railcar", "flat"),
    "Tank car": ("railcar", "tank"),
    "Locomotive": ("railcar", "locomotive"),
    **dict.fromkeys(
        (
            "Maritime Vessel",
            "Motorboat",
            "Sailboat",
            "Tugboat",
            "Barge",
            "Fishing Vessel",
            "Ferry",
            "Yacht",
            "Container Ship",
            "Oil Tanker",
        ),
        ("vessel", "unknown"),
    ),
    "ship": ("vessel", "unknown"),  # DOTA, iSAID
    "Ship": ("vessel", "unknown"),  # iSAID's spelling
}
"""A foreign class name -> our class and railcar subtype."""
BLOCKS = {"Shipping container lot", "ignore", "string"}
"""Areas that hold objects which nobody drew one by one: nothing is learned there."""
PATCH = "patch"
"""A part of a picture in which everything was drawn; where a file of ours has such, nothing was drawn outside them."""
LEAST_HULL_M = 20.0
"""A vessel is a hull over 20 m (DESIGN, what is counted); shorter craft are neither wanted nor punished."""
WIDTH_M = {"container": 2.44, "railcar": 3.0}
"""Body widths for the rule of `oriented` (METHOD 4.1, 4.2)."""
LEAST_PX = 0.01
"""Narrower outlines have no area but for the rounding of their corners: lines and points."""
DRAWN_TWICE = 0.5
"""Oriented IoU above which two labels of a class are one object's: bodies do not overlap."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of one picture.

    Attributes:
        boxes: (N, 5) float64 canonical, pixels.
        classes: (N,) uint8, index into `models.CLASSES`.
        subtypes: (N,) uint8, index into `models.SUBTYPES`; 0 where unknown.
        hidden: outlines (P, 2) in which nothing is known.
        patches: outlines (P, 2) of the parts that were read; none where the whole picture was.
    """

    boxes: F64
    classes: NDArray[np.uint8]
    subtypes: NDArray[np.uint8]
    hidden: tuple[F64, ...] = ()
    patches: tuple[F64, ...] = ()


def read_labels(path: Path, gsd_m: float, image: str | None = None) -> Labels:
    """Labels of one picture; the layout is told from the file's name and content.

    Args:
        path: ``.txt`` is DOTA; ``.json`` is COCO; ``.geojson`` is xView where its features have a ``type_id``, else ours.
        gsd_m: metres per pixel, for the rule of `oriented` and the 20 m of a vessel.
        image: file name of the picture, where one file holds the labels of many.

    Raises:
        KeyError: a COCO file does not hold `image`.
    """
    if path.suffix == ".txt":
        return _collect(_dota(path), gsd_m, path)
    stat = path.stat()
    by_image = _parsed(path, (stat.st_size, stat.st_mtime_ns))
    if None in by_image:
        drawn = by_image[None]
        return replace(_collect(drawn, gsd_m, path), patches=tuple(outline for name, outline, _ in drawn if name == PATCH))
    if image is None:
        return _collect([d for one in by_image.values() for d in one], gsd_m, path)
    return _collect(by_image[image] if path.suffix == ".json" else by_image.get(image, []), gsd_m, path)


Drawn = tuple[str, F64, bool]
"""Class name, outline (P, 2) in pixels, and whether it is sure; an axis-aligned box is an outline of two corners."""


def _dota(path: Path) -> list[Drawn]:
    """``x1 y1 x2 y2 x3 y3 x4 y4 class difficulty``; header lines are passed over, difficulty 1 is unsure: cut by the frame, say."""
    parts = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [(p[8], np.array(p[:8], np.float64).reshape(4, 2), p[9:10] != ["1"]) for p in parts if len(p) >= 9]


@lru_cache(maxsize=4)
def _parsed(path: Path, stamp: tuple[int, int]) -> dict[str | None, list[Drawn]]:
    """What a JSON file of a size and time holds, by the file name of the picture; None where it is about one.

    Sets of thousands of pictures come in one file: it is read once in a process.
    """
    del stamp
    document = json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".json":
        return _coco(document, path)
    features = document["features"]
    return _xview(features) if features and "type_id" in features[0]["properties"] else {None: _own(features)}


def _own(features: list[dict[str, Any]]) -> list[Drawn]:
    return [
        (f["properties"]["class"], np.array(f["geometry"]["coordinates"][0][:-1], np.float64), f["properties"].get("certain", True))
        for f in features
    ]


def _xview(features: list[dict[str, Any]]) -> dict[str | None, list[Drawn]]:
    """``bounds_imcoords`` is ``x0,y0,x1,y1`` in pixels."""
    found: dict[str | None, list[Drawn]] = {}
    for p in (f["properties"] for f in features):
        name = XVIEW.get(int(p["type_id"]))
        if name is not None:
            corners = np.array([float(v) for v in p["bounds_imcoords"].split(",")]).reshape(2, 2)
            found.setdefault(p["image_id"], []).append((name, corners, True))
    return found


def _coco(document: dict[str, Any], path: Path) -> dict[str | None, list[Drawn]]:
    """Polygons, of all parts of an object, and run-length masks become their smallest rectangle; a bare box is axis-aligned."""
    names = {c["id"]: c["name"] for c in document["categories"]}
    files = {i["id"]: i["file_name"] for i in document["images"]}
    found: dict[str | None, list[Drawn]] = {name: [] for name in files.values()}
    packed = 0
    for a in document["annotations"]:
        if a["image_id"] not in files:
            continue
        shape, name, sure = a.get("segmentation"), names[a["category_id"]], not a.get("iscrowd", 0)
        if isinstance(shape, list) and shape:
            outline = np.concatenate([np.array(part, np.float64).reshape(-1, 2) for part in shape])
        elif isinstance(shape, dict) and isinstance(shape["counts"], list):
            outline = _outline(shape["counts"], shape["size"])
        else:
            x, y, w, h = a["bbox"]
            outline = np.array([[x, y], [x + w, y + h]], np.float64)
            sure, packed = sure and not shape, packed + bool(shape)
        if len(outline) > 2 and (name in BLOCKS or not sure):  # an area, whose points may be in any order
            outline = cv2.convexHull(outline.astype(np.float32))[:, 0].astype(np.float64)
        found[files[a["image_id"]]].append((name, outline, sure))
    if packed:
        log.warning("%s: %d masks are compressed run lengths, which are not read; nothing is learned in their boxes", path, packed)
    return found


def _outline(counts: list[int], size: list[int]) -> F64:
    """(4P, 2) pixel corners of a run-length mask: runs of 0 and 1 in turn, down the columns."""
    flat = np.repeat(np.arange(len(counts)) % 2, counts).reshape(size[1], size[0])
    x, y = np.nonzero(flat)
    return np.concatenate([np.stack([x + i, y + j], axis=1) for i in (0, 1) for j in (0, 1)]).astype(np.float64)


def _collect(drawn: list[Drawn], gsd_m: float, path: Path) -> Labels:
    """Foreign names to ours, two-corner boxes to oriented ones, what is unsure to hidden outlines; what has no area is passed over."""
    rows: list[tuple[F64, int, int]] = []
    hidden: list[F64] = []
    flat: dict[str, list[tuple[F64, int]]] = {}
    thin = 0
    for name, outline, sure in drawn:
        if name in MEANING and not _solid(outline):
            thin += 1
        elif name in BLOCKS or (name in MEANING and not sure):
            hidden.append(_ring(outline))
        elif name in MEANING:
            ours, sub = MEANING[name]
            if len(outline) == 2:
                flat.setdefault(ours, []).append((outline, SUBTYPES.index(sub)))
            else:
                rows.append((_rectangle(outline), CLASSES.index(ours), SUBTYPES.index(sub)))
    if thin:
        log.warning("%s: %d outlines have no area and are passed over", path, thin)
    for ours, items in flat.items():
        boxes, told = oriented(np.array([o for o, _ in items]), ours, gsd_m)
        hidden += [_ring(o) for (o, _), t in zip(items, told, strict=True) if not t]
        rows += [(b, CLASSES.index(ours), s) for b, t, (_, s) in zip(boxes, told, items, strict=True) if t]
    boats = {CLASSES.index("vessel")}
    small = [r for r in rows if r[1] in boats and r[0][2] * gsd_m < LEAST_HULL_M]
    hidden += [ob.corners(r[0][None])[0] for r in small]
    rows = [r for r in rows if not (r[1] in boats and r[0][2] * gsd_m < LEAST_HULL_M)]
    boxes, classes = np.array([r[0] for r in rows]).reshape(-1, 5), np.array([r[1] for r in rows], np.uint8)
    once = np.sort(ob.nms(boxes, -np.arange(len(boxes), dtype=np.float64), DRAWN_TWICE, classes))  # the first stands
    return Labels(boxes[once], classes[once], np.array([r[2] for r in rows], np.uint8)[once], tuple(hidden))


def _ring(outline: F64) -> F64:
    if len(outline) != 2:
        return outline
    (x0, y0), (x1, y1) = outline
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _solid(outline: F64) -> bool:
    if len(outline) < 2 or not np.isfinite(outline).all():
        return False
    return bool(min(cv2.minAreaRect(_ring(outline).astype(np.float32))[1]) > LEAST_PX)


def _rectangle(outline: F64) -> F64:
    """(5,) box of a quad, or the smallest rectangle about a polygon or about four corners that are not in the order of a ring."""
    points = outline.astype(np.float32)
    if len(outline) == 4 and cv2.contourArea(points) > 0.5 * cv2.contourArea(cv2.convexHull(points)):
        return np.asarray(ob.from_corners(outline[None])[0])
    (cx, cy), (w, h), degrees = cv2.minAreaRect(points)
    return np.asarray(ob.canonical(np.array([[cx, cy, w, h, np.radians(degrees)]]))[0])


UNAMBIGUOUS = np.radians(6.0)
"""So close to an axis, a heading and its mirror image are one."""
TOWARDS = np.radians(12.0)
"""A neighbour in a string or row lies in the direction of the heading within this."""


def oriented(hulls: F64, name: str, gsd_m: float) -> tuple[F64, NDArray[np.bool_]]:
    """The declared rule by which axis-aligned boxes (N, 2, 2) become oriented ones.

    A body of known width W and heading t fills b_x = L cos t + W sin t by b_y = L sin t + W cos t; both are known, so L and t follow
    (b_x sin t - b_y cos t + W cos 2t = 0, one root in 0..90 deg). Its mirror image fills the same box: the nearest neighbour of the
    class decides, since cars and boxes stand end to end. A hull has no neighbours: it is told only near an axis, as a rectangle.

    Returns:
        boxes (N, 5) in pixels, and (N,) whether the rule could tell.
    """
    low, high = hulls.min(axis=1), hulls.max(axis=1)
    centre, size = (low + high) / 2, high - low
    if name not in WIDTH_M:
        boxes = ob.canonical(np.concatenate([centre, np.maximum(size, 1e-3), np.zeros((len(size), 1))], axis=1))
        return boxes, boxes[:, 2] > 4.0 * boxes[:, 3]
    width = np.minimum(WIDTH_M[name] / gsd_m, size.min(axis=1))
    heading = _heading(size[:, 0], size[:, 1], width)
    length = np.maximum(size[:, 0] * np.cos(heading) + size[:, 1] * np.sin(heading) - width * np.sin(2 * heading), width)
    sign = np.array([_mirror(centre, i, heading[i], length[i]) for i in range(len(centre))])
    boxes = ob.canonical(np.stack([*centre.T, length, width, heading * np.where(sign == 0, 1, sign)], axis=1))
    return boxes, sign != 0


def _heading(bx: F64, by: F64, width: F64) -> F64:
    """The root, by bisection: the left side rises from W - b_y <= 0 to b_x - W >= 0."""
    low, high = np.zeros(len(bx)), np.full(len(bx), np.pi / 2)
    for _ in range(40):
        mid = (low + high) / 2
        below = bx * np.sin(mid) - by * np.cos(mid) + width * np.cos(2 * mid) < 0
        low, high = np.where(below, mid, low), np.where(below, high, mid)
    return np.asarray((low + high) / 2)


def _mirror(centre: F64, i: int, heading: float, length: float) -> int:
    """1 or -1 by the direction of the nearest neighbours, 0 where they do not tell."""
    if min(heading, np.pi / 2 - heading) < UNAMBIGUOUS:
        return 1
    delta = np.delete(centre, i, axis=0) - centre[i]
    near = delta[np.hypot(*delta.T) < 1.6 * length]
    bearing = np.arctan2(near[:, 1], near[:, 0])
    votes = [int((np.abs((bearing - s * heading + np.pi / 2) % np.pi - np.pi / 2) < TOWARDS).sum()) for s in (1, -1)]
    return int(np.sign(votes[0] - votes[1]))
