"""Where pixels changed, as outlines with their area; and which of them the view alone may have made (METHOD 4.5, 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import rasterio.features
from scipy import ndimage
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from pipeline.change.records import ChangeMap


@dataclass(frozen=True, slots=True)
class Patch:
    """Ground that changed.

    Attributes:
        outline: polygon in pixels of the map's grid.
        area_m2: its area.
        view: whether it is nowhere wider than what parallax and registration may leave between two places of one body
            (METHOD 4.5, 7): then the view alone may have made it, and it is shown but not counted.
    """

    outline: BaseGeometry
    area_m2: float
    view: bool


def patches(change: ChangeMap, gsd_m: float, tolerance_m: float) -> list[Patch]:
    """Connected ground that changed, largest first.

    Args:
        change: pixel change, minimum mapping unit applied.
        gsd_m: metres per pixel of its grid.
        tolerance_m: parallax ``h tan(theta)`` of both views and the residual of the registration, metres.
    """
    mask = change.changed.astype(np.uint8)
    # from the centre of a pixel to that of the nearest unchanged one: half a width and half a pixel
    width = 2 * cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1] - 1
    _, labels = cv2.connectedComponents(mask, connectivity=8)
    widest = ndimage.maximum(width, labels, np.arange(labels.max() + 1)) * gsd_m
    found = []
    for geometry, label in rasterio.features.shapes(labels, mask=change.changed, connectivity=8):
        outline = shape(geometry)
        found.append(Patch(outline.simplify(0.7), round(outline.area * gsd_m**2, 1), bool(widest[int(label)] <= tolerance_m)))
    return sorted(found, key=lambda p: (-p.area_m2, p.outline.bounds))


def patch_summary(found: Sequence[Patch]) -> dict[str, float]:
    """Patches that count, their area in m2, and how many more the view alone may have made."""
    counted = [p for p in found if not p.view]
    return {"counted": len(counted), "area_m2": round(sum(p.area_m2 for p in counted), 1), "view": len(found) - len(counted)}


def patch_words(summary: Mapping[str, float]) -> str:
    """A summary as a sentence."""
    words = f"Pixels changed on {summary['counted']:.0f} patches, {summary['area_m2']:,.0f} m2 in all"
    return words + (f"; {summary['view']:.0f} more are no wider than the view alone may make." if summary["view"] else ".")
