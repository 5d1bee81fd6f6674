"""Real labelled pictures as an endless source of rotated, scaled, degraded chips."""

import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from models import boxes as ob
from models.datasets.labels import Labels, read_labels
from models.render import Chip
from models.render.chip import share_inside


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture, or the part of it that may be trained on.

    Attributes:
        image: (H, W, 3) float32, 0..1.
        gsd_m: metres per pixel.
        boxes: (N, 5) float64 canonical, pixels.
        classes: (N,) uint8.
        subtypes: (N,) uint8, 0 where unknown.
        care: (H, W) uint8, 0 where labels are incomplete or pixels must not be seen: hidden outlines, and all but the patches that
            were read.
        margin_px: crops are centred at least this far inside; for a window that was cut to fit one crop.
    """

    image: NDArray[np.float32]
    gsd_m: float
    boxes: NDArray[np.float64]
    classes: NDArray[np.uint8]
    subtypes: NDArray[np.uint8]
    care: NDArray[np.uint8]
    margin_px: float = 0.0

    def near(self, rng: np.random.Generator, side_px: float) -> "Picture":
        """The picture to draw a chip of `side_px` from: all of it, since it is in memory."""
        del rng, side_px
        return self

    @property
    def digest(self) -> str:
        """Of pixels and labels."""
        return _digest(self.image, self.boxes, self.classes, self.subtypes, self.care)


def _digest(*arrays: NDArray[Any]) -> str:
    """sha256 of arrays and their shapes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode() + array.tobytes())
    return digest.hexdigest()


NO_LABELS = Labels(np.zeros((0, 5)), np.zeros(0, np.uint8), np.zeros(0, np.uint8))


def read_picture(path: Path, labels: Path | None, gsd_m: float, x_below: int | None = None) -> Picture:
    """Read an 8- or 16-bit picture and its labels.

    Args:
        path: picture; 16-bit pictures are scaled by their 99.5th percentile, since this is training data, not measurement.
        labels: any file that `read_labels` knows; None for a picture known to hold no targets.
        gsd_m: metres per pixel.
        x_below: only columns below this are seen; the rest is blanked before anything else happens.
    """
    found = read_labels(labels, gsd_m, path.name) if labels is not None else NO_LABELS
    picture = _picture(_pixels(path, None), found, gsd_m)
    if x_below is None:
        return picture
    picture.image[:, x_below:], picture.care[:, x_below:] = 0, 0
    keep = picture.boxes[:, 0] < x_below
    return replace(picture, boxes=picture.boxes[keep], classes=picture.classes[keep], subtypes=picture.subtypes[keep])


def _pixels(path: Path, window: Window | None) -> NDArray[np.float32]:
    """(H, W, 3) float32, 0..1."""
    # training knows pixels, not places
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), rasterio.open(path) as file:
        raw = np.moveaxis(file.read(window=window), 0, -1)[..., :3]
    scale = 255.0 if raw.dtype == np.uint8 else max(float(np.percentile(raw, 99.5)), 1e-6)
    image = np.clip(np.asarray(raw, np.float32) / scale, 0, 1)
    return np.repeat(image[..., :1], 3, axis=2) if image.shape[2] < 3 else image


def _picture(image: NDArray[np.float32], labels: Labels, gsd_m: float) -> Picture:
    care = np.asarray(image.any(axis=2), np.uint8)  # black in every band is no data
    if labels.patches:
        care *= _filled(np.zeros_like(care), labels.patches, 1)
    _filled(care, labels.hidden, 0)
    return Picture(image, gsd_m, labels.boxes, labels.classes, labels.subtypes, care)


def _filled(mask: NDArray[np.uint8], outlines: tuple[NDArray[np.float64], ...], value: int) -> NDArray[np.uint8]:
    """The mask, with what lies in some outlines set."""
    for outline in outlines:
        cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], value)
    return mask


NEAR_TARGET = 0.8
"""Of the crops of a large set, this share lies about a labelled object; the rest anywhere."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of pictures too large for memory, with their labels: only the window about a crop is read.

    Attributes:
        paths: pictures that can be read.
        labels: one entry a picture.
        gsd_m: metres per pixel.
    """

    paths: tuple[Path, ...]
    labels: tuple[Labels, ...]
    gsd_m: float

    @classmethod
    def read(cls, folder: Path, pattern: str, labels: Path, gsd_m: float) -> "Shelf":
        """List a folder and read its labels: one file for all (COCO, xView), or a folder with one text file a picture (DOTA)."""
        paths = tuple(sorted(folder.glob(pattern)))
        files = [labels / f"{p.stem}.txt" if labels.is_dir() else labels for p in paths]
        return cls(paths, tuple(read_labels(f, gsd_m, p.name) for f, p in zip(files, paths, strict=True)), gsd_m)

    @property
    def digest(self) -> str:
        """Of the labels, and of names, sizes and times of the pictures, which are many."""
        stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in self.paths]
        arrays: list[NDArray[Any]] = [np.frombuffer(repr(stats).encode(), np.uint8)]
        for found in self.labels:
            arrays += [found.boxes, found.classes, found.subtypes, *found.hidden, *found.patches]
        return _digest(*arrays)

    def near(self, rng: np.random.Generator, side_px: float) -> Picture:
        """A window of one picture, wide enough for a turned and scaled chip of `side_px` source pixels."""
        k = int(rng.integers(len(self.paths)))
        found, side = self.labels[k], int(np.ceil(side_px * 1.7))
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), rasterio.open(self.paths[k]) as file:
            width, height = file.width, file.height
        about = rng.uniform((0, 0), (width, height))
        if len(found.boxes) and rng.random() < NEAR_TARGET:
            about = found.boxes[rng.integers(len(found.boxes)), :2] + rng.normal(0, side_px / 6, 2)
        x0, y0 = (int(np.clip(a - side / 2, 0, max(0, full - side))) for a, full in zip(about, (width, height), strict=True))
        window = Window(x0, y0, min(side, width - x0), min(side, height - y0))
        hidden, patches = (tuple(outline - (x0, y0) for outline in outlines) for outlines in (found.hidden, found.patches))
        moved = replace(found, boxes=found.boxes - (x0, y0, 0, 0, 0), hidden=hidden, patches=patches)
        picture = _picture(_pixels(self.paths[k], window), moved, self.gsd_m)
        return replace(picture, margin_px=min(*picture.care.shape, side) / 2 - 1)


def sample(picture: Picture, rng: np.random.Generator, gsd_m: float, size_px: int, sensor: tuple[float, float]) -> Chip:
    """A chip at `gsd_m` with a random place, heading, mirror, scale (+-12 %) and sensor GSD in `sensor`."""
    height, width = picture.care.shape
    coarse = max(1.0, sensor[0] * (sensor[1] / sensor[0]) ** rng.random() / gsd_m)
    zoom = picture.gsd_m / gsd_m * rng.uniform(0.88, 1.12)
    angle, mirror = rng.uniform(-np.pi, np.pi), -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    for _ in range(20):
        centre = rng.uniform((picture.margin_px,) * 2, (width - picture.margin_px, height - picture.margin_px))
        if picture.care[int(centre[1]), int(centre[0])]:
            break
    else:  # little of the picture was read
        y, x = np.nonzero(picture.care)
        if len(x):
            k = rng.integers(len(x))
            centre = np.array([x[k] + 0.5, y[k] + 0.5])
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
        picture.subtypes[keep],
        visible[keep],
        gsd_m,
    )
