"""Compare two looks: register, normalise, difference in pixels and in objects."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from models import CLASSES
from pipeline.change import matching
from pipeline.change.difference import Gain, difference, normalise
from pipeline.change.look import Look, look
from pipeline.change.objects import match_objects
from pipeline.change.patches import Patch, patches
from pipeline.change.records import Alignment, ChangeMap, ObjectChanges
from pipeline.change.recurrence import Structure
from pipeline.change.register import IDENTITY, register, warp_tile
from pipeline.change.warping import inverse
from pipeline.config import ChangeSettings
from pipeline.detection.scene import SceneDetections
from pipeline.errors import ImageryError
from pipeline.grid import Grid
from pipeline.imagery.observed import Observed
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.warp import common_grid, frame, pixel_map, read_on_grid

OBJECT_HEIGHT_M = 4.0
"""Height of a car or a box above its base (METHOD 4.5); times tan(off-nadir) it is the parallax a match must tolerate."""
UNKNOWN_PARALLAX_M = 0.7
"""Parallax of 4 m at 10 degrees off nadir, where no view angle is published (METHOD 4.5)."""
UNKNOWN_LEAN_M = 2.1
"""Parallax of 4 m at 28 degrees: how far all objects of a look whose view angle is not published may lean alike."""


@dataclass(frozen=True, slots=True)
class PairChange:
    """Everything that two looks say together.

    Attributes:
        alignment: how the after look lies on the before look.
        gain: radiometry of after to before.
        change: pixel change on `grid`.
        patches: where pixels changed, largest first.
        objects: fate of every object.
        grid: the common grid.
        before: pixels of the earlier look on `grid`.
        after: pixels of the later look on `grid`, aligned, own radiometry.
        before_boxes: objects of the earlier look on `grid`.
        after_boxes: objects of the later look on `grid`, aligned.
        gsd_m: metres per pixel of `grid`.
        tolerance_m: what registration and parallax may leave between the two places of an object.
    """

    alignment: Alignment
    gain: Gain
    change: ChangeMap
    patches: tuple[Patch, ...]
    objects: ObjectChanges
    grid: Grid
    before: Tile
    after: Tile
    before_boxes: Look
    after_boxes: Look
    gsd_m: float
    tolerance_m: float


def compare(
    scenes: tuple[Scene, Scene],
    found: tuple[SceneDetections, SceneDetections],
    observed: tuple[Observed, Observed],
    settings: ChangeSettings,
) -> PairChange:
    """Compare an earlier and a later scene.

    Args:
        scenes: the two looks.
        found: what the detector says of each, weak boxes included.
        observed: what of the ground each shows.
        settings: gates.

    Raises:
        ImageryError: the two do not meet, or only one of them has a CRS.
    """
    first, second = scenes
    grid = common_grid(first, second)
    if grid is None:
        raise ImageryError(f"{first.id} and {second.id}: the two looks do not overlap", "Compare looks of one place.")
    gsd_m = first.gsd_m * grid.pixel_size()[0] / first.grid.pixel_size()[0]
    before, after = (
        _masked(read_on_grid(s, first, grid), o, pixel_map(grid, frame(s, first))) for s, o in zip(scenes, observed, strict=True)
    )
    alignment = register(before, after, settings.max_shift_m / gsd_m)
    place = partial(_looks, scenes, found, observed, grid)
    nominal = replace(alignment, matrix=IDENTITY, applied=False, reason="cars would stand beside their tracks")
    if alignment.applied:
        askew = [_askew(place(a, weak=False), _tolerance(scenes, a, gsd_m), gsd_m) for a in (alignment, nominal)]
        alignment = nominal if askew == [True, False] else alignment
    tolerance = _tolerance(scenes, alignment, gsd_m)
    aligned = warp_tile(after, alignment.matrix) if alignment.applied else after
    normalised, gain = normalise(before, aligned)
    change = difference(before, normalised, settings.false_alarm_rate, settings.min_area_m2, gsd_m)
    looks, weak = (place(alignment, weak=w) for w in (False, True))
    structure = (Structure.of(before), Structure.of(aligned))
    more = sum(UNKNOWN_LEAN_M - UNKNOWN_PARALLAX_M for scene in scenes if scene.view.off_nadir is None)
    objects = match_objects(*looks, gsd_m, tolerance, weak, structure, lean_m=tolerance + more)
    found_patches = tuple(patches(change, gsd_m, tolerance))
    return PairChange(alignment, gain, change, found_patches, objects, grid, before, aligned, *looks, gsd_m, tolerance)


def _masked(tile: Tile, observed: Observed, to_scene: np.ndarray) -> Tile:
    """The tile less the pixels that were not observed."""
    valid = tile.valid & observed.shown_on(tile.valid.shape, to_scene)
    return Tile(tile.core, tile.read, tile.pixels * valid, valid, tile.grid)


def _looks(
    scenes: tuple[Scene, Scene],
    found: tuple[SceneDetections, SceneDetections],
    observed: tuple[Observed, Observed],
    grid: Grid,
    alignment: Alignment,
    *,
    weak: bool,
) -> tuple[Look, Look]:
    to_before, to_after = (pixel_map(frame(s, scenes[0]), grid) for s in scenes)
    shift = np.vstack([alignment.matrix, [0, 0, 1]])
    to_after = (shift @ np.vstack([to_after, [0, 0, 1]]))[:2]
    back_before, back_after = map(inverse, (to_before, to_after))
    boxes = [f.weak if weak else f.detections for f in found]
    return (
        look(boxes[0], to_before, observed[1], back_after, found[0].thresholds, scenes[0].gsd_m),
        look(boxes[1], to_after, observed[0], back_before, found[1].thresholds, scenes[1].gsd_m),
    )


def _askew(looks: tuple[Look, Look], tolerance_m: float, gsd_m: float) -> bool:
    """Whether the looks, as an alignment lays them, show cars beside their tracks."""
    before, after = (some.boxes[some.classes == CLASSES.index("railcar")] for some in looks)
    return matching.aside(before, after, tolerance_m / gsd_m, gsd_m)


def _tolerance(scenes: tuple[Scene, Scene], alignment: Alignment, gsd_m: float) -> float:
    """Metres that registration and parallax may leave between the two places of an object."""
    return sum(map(_parallax, scenes)) + (alignment.residual_px if alignment.applied else 1.0) * gsd_m


def _parallax(scene: Scene) -> float:
    angle = scene.view.off_nadir
    return UNKNOWN_PARALLAX_M if angle is None else OBJECT_HEIGHT_M * float(np.tan(np.radians(angle)))
