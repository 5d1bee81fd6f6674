"""What a detector is, and what it returns.

Pixel frame of the whole project: continuous, x right, y down; pixel (column 0, row 0) covers [0, 1) x [0, 1), so its
centre is (0.5, 0.5). The same frame as a GDAL affine transform applied to pixel corners, and as DOTA label files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from models import boxes as ob

CLASSES = ("container", "railcar", "vessel")
"""Class names by index; the order is part of every weight file."""

SUBTYPES = (
    "unknown",
    "boxcar",
    "gondola",
    "flat",
    "container_flat",
    "tank",
    "hopper",
    "locomotive",
    "passenger",
)
"""Railcar subtypes by index (METHOD 2.1); ``unknown`` is an answer, never forced away."""


class Flag(IntFlag):
    """Where a container stands, where it can be told (DESIGN, "What is counted"): one on a lorry is not told from one on the ground."""

    NONE = 0
    ON_DECK = 1
    ON_RAIL = 2


@dataclass(frozen=True, slots=True)
class Detections:
    """Oriented boxes of one scene, struct of arrays, ordered by (-score, y, x, class).

    Attributes:
        boxes: (N, 5) float64: cx, cy, w, h in pixels, theta in radians; w >= h > 0, theta in [-pi/2, pi/2), measured
            from the x axis towards the y axis (clockwise on screen, since y points down).
        scores: (N,) float32 in [0, 1].
        classes: (N,) uint8, index into `CLASSES`.
        subtypes: (N,) uint8, index into `SUBTYPES`; 0 for anything but a railcar.
        flags: (N,) uint8, bits of `Flag`.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float32]
    classes: NDArray[np.uint8]
    subtypes: NDArray[np.uint8]
    flags: NDArray[np.uint8]

    def __post_init__(self) -> None:
        n = len(self.scores)
        assert self.boxes.shape == (n, 5), self.boxes.shape
        assert self.classes.shape == self.subtypes.shape == self.flags.shape == (n,)
        assert ob.is_canonical(self.boxes), "boxes are not in canonical form"

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def build(
        cls,
        boxes: NDArray[np.floating],
        scores: NDArray[np.floating],
        classes: NDArray[np.integer],
        subtypes: NDArray[np.integer] | None = None,
        flags: NDArray[np.integer] | None = None,
    ) -> Self:
        """Bring boxes to canonical form and everything into the stable order (-score, y, x, class)."""
        b = ob.canonical(np.asarray(boxes, np.float64).reshape(-1, 5))
        s = np.asarray(scores, np.float32)
        c = np.asarray(classes, np.uint8)
        zeros = np.zeros(len(s), np.uint8)
        sub = zeros if subtypes is None else np.asarray(subtypes, np.uint8)
        fl = zeros if flags is None else np.asarray(flags, np.uint8)
        order = np.lexsort((c, b[:, 0], b[:, 1], -s))
        return cls(b[order], s[order], c[order], sub[order], fl[order])

    @classmethod
    def empty(cls) -> Self:
        """No detections."""
        none = np.zeros(0)
        return cls.build(np.zeros((0, 5)), none, none.astype(np.uint8))

    @classmethod
    def concat(cls, parts: Sequence["Detections"]) -> Self:
        """Join detections of one pixel frame, in the stable order."""
        if not parts:
            return cls.empty()
        return cls.build(
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.classes for p in parts]),
            np.concatenate([p.subtypes for p in parts]),
            np.concatenate([p.flags for p in parts]),
        )

    def take(self, index: NDArray[np.bool_] | NDArray[np.integer]) -> Self:
        """The detections selected by a mask or by indices, in the stable order."""
        return type(self).build(
            self.boxes[index],
            self.scores[index],
            self.classes[index],
            self.subtypes[index],
            self.flags[index],
        )

    def of(self, name: str) -> Self:
        """The detections of one class, by name."""
        return self.take(self.classes == CLASSES.index(name))

    def moved(self, dx: float, dy: float, scale: float = 1.0) -> Self:
        """Boxes scaled about the origin, then shifted: working pixels to scene pixels."""
        b = self.boxes.copy()
        b[:, :4] *= scale
        b[:, 0] += dx
        b[:, 1] += dy
        return type(self).build(b, self.scores, self.classes, self.subtypes, self.flags)

    def counts(self) -> dict[str, int]:
        """Number of boxes by class name, every class present."""
        return {name: int((self.classes == i).sum()) for i, name in enumerate(CLASSES)}


@dataclass(frozen=True, slots=True)
class GsdRange:
    """Ground sample distances a detector head accepts, and the one it works at.

    Attributes:
        low_m: finest native GSD that is accepted, metres per pixel.
        high_m: coarsest native GSD that is accepted.
        working_m: the GSD that every accepted image is resampled to before the network sees it.
    """

    low_m: float
    high_m: float
    working_m: float

    def accepts(self, gsd_m: float) -> bool:
        """Whether an image of this native GSD may be given to the head."""
        return self.low_m <= gsd_m <= self.high_m


class Detector(Protocol):
    """One network with its card: oriented boxes for some classes at one working GSD.

    `detect` is translation-equivariant on the stride grid: a box whose centre lies at least `halo_px` inside the window
    does not depend on where the window was cut, as long as windows start on multiples of `stride_px`.
    """

    @property
    def name(self) -> str:
        """Name and version, e.g. ``yard-5``."""

    @property
    def sha256(self) -> str:
        """Digest of the weight file; part of every artefact key."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes it can return."""

    @property
    def gsd(self) -> GsdRange:
        """Accepted native GSD and working GSD."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Shipped threshold by class name."""

    @property
    def stride_px(self) -> int:
        """Windows must start on multiples of this many working pixels, and be a multiple of it in size."""

    @property
    def halo_px(self) -> int:
        """Context needed around a core, working pixels, a multiple of `stride_px`."""

    def detect(
        self,
        pixels: NDArray[np.float32],
        valid: NDArray[np.bool_],
        thresholds: Mapping[str, float] | None = None,
    ) -> Detections:
        """Find objects in one window at the working GSD.

        Args:
            pixels: (3, H, W) float32 red, green, blue in declared radiometry, 0..1 (panchromatic: repeated three times);
                H and W are multiples of `stride_px`.
            valid: (H, W) bool; False pixels are nodata and hold 0.
            thresholds: lowest score by class name; a class that is not named takes the card's shipped threshold.

        Returns:
            Boxes in window pixels, after suppression of duplicates by oriented IoU.
        """


def load(name_or_path: str | Path = "default", runtime: str = "auto") -> tuple[Detector, ...]:
    """Load the detectors behind a name: one per working GSD.

    Args:
        name_or_path: ``default`` (every shipped head), the name of one shipped head, or a ``.safetensors`` file with its
            card beside it.
        runtime: ``auto``, ``torch``, ``torch-bf16``, ``openvino``, ``openvino-bf16`` or ``openvino-int8``.

    Raises:
        ModelError: no such weights, a digest that differs from the card, a runtime that is not installed, or int8 whose counts differ.
    """
    from models.runtime import load_heads

    return load_heads(name_or_path, runtime)
