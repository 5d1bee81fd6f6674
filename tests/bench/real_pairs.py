"""Real pairs of looks whose ground tie points were read by eye (``fixtures/labels/ties``), opened as the pipeline opens them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, transform

from models import Detections
from pipeline.change.pair import PairChange, compare
from pipeline.config import ChangeSettings, SceneMetadata
from pipeline.detection.scene import SceneDetections
from pipeline.errors import MetadataError
from pipeline.grid import Grid
from pipeline.imagery.clouds import observe
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Scene
from pipeline.imagery.warp import frame, pixel_map

F64 = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[2]
TIES = ROOT / "fixtures" / "labels" / "ties"
IMAGERY = ROOT.parent / "shared" / "imagery"


@dataclass(frozen=True, slots=True)
class Reading:
    """Ground tie points of one reader.

    Attributes:
        read_by: how they were read.
        before: (N, 2) pixels of the earlier look.
        after: (N, 2) the same ground, pixels of the later look as it is opened.
    """

    read_by: str
    before: F64
    after: F64


@dataclass(frozen=True, slots=True)
class RealPair:
    """Two looks at one place.

    Attributes:
        name: of the pair.
        scenes: earlier and later look; which is the earlier is nominal where no time was published.
        max_shift_m: largest offset that is looked for.
        coarse: (2, 3) map from after to before pixels that came with the images, None where none did.
        readings: of the ground tie points; none where no ground can be matched by eye.
        warped: the complaint after which the later look was warped, empty where it was read as it is.
    """

    name: str
    scenes: tuple[Scene, Scene]
    max_shift_m: float
    coarse: F64 | None
    readings: tuple[Reading, ...]
    warped: str

    def nominal(self) -> F64:
        """(2, 3) after to before pixels as the images are georeferenced."""
        return pixel_map(*(frame(s, self.scenes[0]) for s in self.scenes[::-1]))

    def to_grid(self, grid: Grid) -> F64:
        """(2, 3) before pixels to pixels of the common grid."""
        return pixel_map(frame(self.scenes[0], self.scenes[0]), grid)

    def found(self, change: PairChange) -> F64:
        """(2, 3) after to before pixels as the comparison aligned them."""
        before, after = self.scenes
        to_grid = change.alignment.matrix @ _square(pixel_map(frame(after, before), change.grid))
        return np.asarray(np.linalg.solve(_square(self.to_grid(change.grid)), _square(to_grid))[:2])

    def compare(self, boxes: tuple[SceneDetections, SceneDetections] | None = None) -> PairChange:
        """What the job's own stage says of the pair, with the boxes given or with none."""
        none = SceneDetections(Detections.empty())
        seen = (observe(self.scenes[0]), observe(self.scenes[1]))
        return compare(self.scenes, boxes or (none, none), seen, ChangeSettings(max_shift_m=self.max_shift_m))


def told() -> list[dict[str, Any]]:
    """The label files, as they are."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(TIES.glob("*.json"))]


def present(label: dict[str, Any], imagery: Path) -> bool:
    """Whether both images of a pair are there."""
    return all((imagery / label[side]["image"]).is_file() for side in ("before", "after"))


def open_pair(label: dict[str, Any], imagery: Path, scratch: Path) -> RealPair:
    """Open a pair; a later look whose pixels are refused as not square is warped to the CRS of the earlier one first.

    Args:
        label: what a label file holds.
        imagery: the folder of public imagery.
        scratch: an empty folder for warped images.

    Raises:
        MetadataError: an image is refused for another reason.
    """
    paths = [imagery / label[side]["image"] for side in ("before", "after")]
    for path, side in zip(paths, ("before", "after"), strict=True):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == label[side]["sha256"], f"{path} is not the image that was read"
    said, original = _declared(paths[0], label["gsd_m"]), paths[1]
    before, warped = open_scene(paths[0], said, need_time=False), ""
    try:
        after = open_scene(original, said, need_time=False)
    except MetadataError as error:
        if "rio warp" not in str(error):
            raise
        warped = str(error)
        after = open_scene(_warp(original, before, scratch / original.name), said, need_time=False)
    readings = []
    for reading in label["readings"]:
        first, second = (np.array([p[side] for p in reading["points"]], np.float64) for side in ("before", "after"))
        readings.append(Reading(reading["read_by"], first, _moved(second, original, after) if warped else second))
    coarse = label["coarse_after_to_before"]
    given = None if coarse is None else np.array(coarse, np.float64)
    return RealPair(label["pair"], (before, after), label["max_shift_m"], given, tuple(readings), warped)


def _declared(path: Path, gsd_m: float | None) -> SceneMetadata:
    with rasterio.open(path) as source:
        bands = ("red", "green", "blue") if source.count >= 3 else ("pan",)
    return SceneMetadata(gsd_m=gsd_m, bands=bands, scale=1 / 255, offset=0.0, sensor="8-bit visual product")


def _warp(path: Path, before: Scene, target: Path) -> Path:
    crs, step = str(before.grid.crs), before.gsd_m
    with rasterio.open(path) as source:
        at, width, height = calculate_default_transform(source.crs, crs, *source.shape[::-1], *source.bounds, resolution=step)
        kind = {"crs": crs, "transform": at, "width": width, "height": height, "nodata": 0}
        with (
            WarpedVRT(source, resampling=Resampling.cubic, **kind) as warped,
            rasterio.open(target, "w", driver="GTiff", count=3, dtype="uint8", **kind) as file,
        ):
            file.write(warped.read(indexes=[1, 2, 3]))
    return target


def _moved(points: F64, original: Path, scene: Scene) -> F64:
    """(N, 2) pixels of an image as those of the scene into which it was warped."""
    with rasterio.open(original) as source:
        x, y = source.transform * points.T
        at = transform(source.crs, str(scene.grid.crs), x, y)
    return scene.grid.to_pixel(np.column_stack(at))


def _square(matrix: F64) -> F64:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def residuals(matrix: F64, reading: Reading) -> F64:
    """(N,) distances at the tie points under a map from after to before pixels, in before pixels."""
    gap = reading.after @ matrix[:, :2].T + matrix[:, 2] - reading.before
    return np.asarray(np.hypot(gap[:, 0], gap[:, 1]))
