"""Real labelled pictures as an endless source of rotated, scaled, degraded chips."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from models import boxes as ob
from models.detector import CLASSES
from models.render import Chip, share_inside


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture, or the part of it that may be trained on.

    Attributes:
        image: (H, W, 3) float32, 0..1.
        gsd_m: metres per pixel.
        boxes: (N, 5) float64 canonical, pixels.
        classes: (N,) uint8.
        care: (H, W) uint8, 0 where labels are incomplete or pixels must not be seen.
    """

    image: NDArray[np.float32]
    gsd_m: float
    boxes: NDArray[np.float64]
    classes: NDArray[np.uint8]
    care: NDArray[np.uint8]


def read_picture(path: Path, labels: Path | None, gsd_m: float, x_below: int | None = None, ignore: Path | None = None) -> Picture:
    """Read an 8- or 16-bit picture and its DOTA labels.

    Args:
        path: picture; 16-bit pictures are scaled by their 99.5th percentile, since this is training data, not measurement.
        labels: DOTA text (``x1 y1 ... x4 y4 class difficulty``) or GeoJSON in pixels; None for a picture known to hold no targets.
        gsd_m: metres per pixel.
        x_below: only columns below this are seen; the rest is blanked before anything else happens.
        ignore: text file of ``x0 y0 x1 y1`` lines where labels are incomplete.
    """
    # training knows pixels, not places
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), rasterio.open(path) as file:
        raw = np.moveaxis(file.read(), 0, -1)[..., :3]
    scale = 255.0 if raw.dtype == np.uint8 else float(np.percentile(raw, 99.5))
    image = np.asarray(raw, np.float32) / scale
    image = np.repeat(image[..., :1], 3, axis=2) if image.shape[2] < 3 else image
    care = np.ones(image.shape[:2], np.uint8)
    if x_below is not None:
        image = image.copy()
        image[:, x_below:], care[:, x_below:] = 0, 0
    if ignore is not None:
        for x0, y0, x1, y1 in np.loadtxt(ignore, ndmin=2).astype(int):
            care[y0:y1, x0:x1] = 0
    boxes, classes, hidden = read_labels(labels) if labels is not None else (np.zeros((0, 5)), np.zeros(0, np.uint8), [])
    for outline in hidden:
        cv2.fillPoly(care, [np.round(outline).astype(np.int32)], 0)
    keep = np.ones(len(boxes), np.bool_) if x_below is None else boxes[:, 0] < x_below
    return Picture(np.clip(image, 0, 1), gsd_m, boxes[keep], classes[keep], care)


def read_labels(path: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8], list[NDArray[np.float64]]]:
    """Labels of one picture: DOTA text, or GeoJSON in pixels whose ``ignore`` polygons and uncertain objects switch the loss off.

    Returns:
        boxes (N, 5), class indices (N,), and outlines in which nothing is known.
    """
    if path.suffix != ".geojson":
        return *read_dota(path), []
    quads, classes, hidden = [], [], []
    for feature in json.loads(path.read_text(encoding="utf-8"))["features"]:
        ring = np.array(feature["geometry"]["coordinates"][0][:-1], np.float64)
        name = feature["properties"]["class"]
        if name in CLASSES and feature["properties"].get("certain", True) and len(ring) == 4:
            quads.append(ring)
            classes.append(CLASSES.index(name))
        else:
            hidden.append(ring)
    boxes = ob.from_corners(np.array(quads)) if quads else np.zeros((0, 5))
    return boxes, np.array(classes, np.uint8), hidden


def read_dota(path: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """DOTA text -> boxes (N, 5) and class indices (N,); header lines and classes that yardwatch does not know are passed over."""
    quads, classes = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        part = line.split()
        if len(part) >= 9 and part[8] in CLASSES:
            quads.append([float(v) for v in part[:8]])
            classes.append(CLASSES.index(part[8]))
    boxes = ob.from_corners(np.array(quads).reshape(-1, 4, 2)) if quads else np.zeros((0, 5))
    return boxes, np.array(classes, np.uint8)


def sample(picture: Picture, rng: np.random.Generator, gsd_m: float, size_px: int, sensor: tuple[float, float]) -> Chip:
    """A chip at `gsd_m` with a random place, heading, mirror, scale (+-12 %) and sensor GSD in `sensor`."""
    height, width = picture.care.shape
    coarse = max(1.0, sensor[0] * (sensor[1] / sensor[0]) ** rng.random() / gsd_m)
    zoom = picture.gsd_m / gsd_m * rng.uniform(0.88, 1.12)
    angle, mirror = rng.uniform(-np.pi, np.pi), -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    for _ in range(20):
        centre = rng.uniform((0, 0), (width, height))
        if picture.care[int(centre[1]), int(centre[0])]:
            break
    matrix = np.concatenate([linear, (size_px / 2 - linear @ centre)[:, None]], axis=1)
    half = matrix.copy()
    half[:, 2] += linear @ (0.5, 0.5) - 0.5  # cv2 counts from pixel centres
    pixels = np.asarray(cv2.warpAffine(picture.image, half, (size_px, size_px), flags=cv2.INTER_LINEAR), np.float32)
    valid = np.asarray(cv2.warpAffine(picture.care, half, (size_px, size_px), flags=cv2.INTER_NEAREST), np.uint8) > 0
    if coarse > 1.05:
        small = max(8, round(size_px / coarse))
        blurred = cv2.GaussianBlur(pixels, (0, 0), 0.45 * coarse)
        low = cv2.resize(blurred, (small, small), interpolation=cv2.INTER_AREA)
        pixels = np.asarray(cv2.resize(low, (size_px, size_px), interpolation=cv2.INTER_CUBIC), np.float32)
    pixels = np.clip(pixels + rng.normal(0, rng.uniform(0, 0.012), pixels.shape), 0, 1).astype(np.float32)
    boxes = picture.boxes.copy()
    boxes[:, :2] = boxes[:, :2] @ linear.T + matrix[:, 2]
    boxes[:, 2:4] *= zoom
    boxes[:, 4] = mirror * boxes[:, 4] + angle
    boxes = ob.canonical(boxes)
    visible = share_inside(boxes, size_px, size_px)
    keep = visible > 0
    return Chip(
        np.ascontiguousarray(pixels.transpose(2, 0, 1)),
        valid,
        boxes[keep],
        picture.classes[keep],
        np.zeros(int(keep.sum()), np.uint8),
        visible[keep],
        gsd_m,
    )
