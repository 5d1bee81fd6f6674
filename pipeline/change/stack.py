"""Looks of one place on one grid, freed of tone: what `change.series` looks for steps in (METHOD 7).

Looks are aligned, put on one grid at a fraction of the minimum mapping unit, and freed of tone: logarithm, less the neighbourhood's
mean, over the look's own spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.change.records import Alignment
from pipeline.change.register import register, warp_tile
from pipeline.config import ChangeSettings
from pipeline.errors import ImageryError
from pipeline.grid import Grid
from pipeline.imagery.observed import Observed, Unseen
from pipeline.imagery.scene import Scene, Tile
from pipeline.imagery.warp import frame, pixel_map, read_on_grid

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_LOOKS = 6
"""Looks below which no step can be told from chance: two before, two after, and two to know the noise."""
CELLS = 6.0
"""Working pixels along the side of the minimum mapping unit: a berm is a sixth of a pit."""
MAX_SIDE_PX = 2048
TONE_M = 25.0
"""Neighbourhood whose mean is taken out, metres: larger than what is built, smaller than a field."""
NEIGHBOURS = 2
"""Looks just before one that it may be registered to instead of the reference."""
CLEAR = 0.9
"""Of what the clearest look shows: enough for the picture, where the date counts."""
SURE = 0.3
"""Reliability of a fit from which a look that it leaves where it is lies right."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Looks on one grid.

    Attributes:
        values: (T, H, W) float32 brightness freed of tone, 0 where not valid.
        valid: (T, H, W) bool.
        times: T aware UTC times, rising.
        names: T scene ids.
        grid: common grid.
        gsd_m: metres per pixel.
        first: the earliest look that is about as clear as any early one, for the picture.
        last: the latest look that is about as clear as any late one.
        skipped: scene id and reason of looks that were not used.
    """

    values: F32
    valid: Mask
    times: tuple[datetime, ...]
    names: tuple[str, ...]
    grid: Grid
    gsd_m: float
    first: Tile
    last: Tile
    skipped: tuple[tuple[str, str], ...]


def stack_looks(scenes: Sequence[Scene], observed: Sequence[Observed], settings: ChangeSettings) -> Stack:
    """Put looks of one place, in order of time, on one grid.

    Raises:
        ImageryError: fewer than `MIN_LOOKS` looks can be used.
    """
    clear = [(o.state == Unseen.OBSERVED).sum() * (o.factor * s.gsd_m) ** 2 for s, o in zip(scenes, observed, strict=True)]  # m2
    best = int(np.argmax(clear))
    reference = scenes[best]
    longest = max(reference.grid.width, reference.grid.height)
    factor = max(1.0, settings.min_area_m2**0.5 / CELLS / reference.gsd_m, longest / MAX_SIDE_PX)
    grid, gsd_m = reference.grid.scaled(factor), reference.gsd_m * factor
    base = _read(reference, reference, observed[best], grid)
    before: list[Tile] = []  # the looks just before; of the others only what is asked of them is kept
    values: list[F32] = []
    valid: list[Mask] = []
    used: list[tuple[int, Alignment | None]] = []
    skipped: list[tuple[str, str]] = []
    for index, (scene, seen) in enumerate(zip(scenes, observed, strict=True)):
        tile, found = base, None
        if index != best:
            tile = _read(scene, reference, seen, grid)
            found = _place([base, *before], tile, settings.max_shift_m / gsd_m)
            if not _placed(found):
                skipped.append((scene.id, f"could not be registered: {found.reason}"))
                continue
            tile = _aligned(tile, found)
        before = [tile, *before][:NEIGHBOURS]
        values.append(_toneless(tile, gsd_m))
        valid.append(tile.valid)
        used.append((index, found))
    if len(used) < MIN_LOOKS:
        raise ImageryError(
            f"{len(used)} of {len(scenes)} looks can be used; a series needs {MIN_LOOKS}",
            "; ".join(f"{n}: {r}" for n, r in skipped) or "Give more looks of the place.",
        )

    def clear_look(part: Sequence[int]) -> Tile:
        shown = [float(valid[i].mean()) for i in part]
        index, found = used[next(i for i, share in zip(part, shown, strict=True) if share >= CLEAR * max(shown))]
        return _aligned(_read(scenes[index], reference, observed[index], grid), found)

    n = len(used)
    first, last = clear_look(range(n // 3)), clear_look(range(2 * n // 3, n)[::-1])
    times, names = tuple(scenes[i].time for i, _ in used), tuple(scenes[i].id for i, _ in used)
    return Stack(np.stack(values), np.stack(valid), times, names, grid, gsd_m, first, last, tuple(skipped))


def _place(anchors: Sequence[Tile], tile: Tile, max_shift_px: float) -> Alignment:
    """How a look lies on the reference, or, where season or building has made that too unlike, on the looks just before it."""
    first = found = register(anchors[0], tile, max_shift_px)
    for anchor in anchors[1:]:
        if _placed(found):
            return found
        found = register(anchor, tile, max_shift_px)
    return found if _placed(found) else first


def _placed(found: Alignment) -> bool:
    """Applied, or surely so near that nothing had to be."""
    return found.applied or (found.in_place and found.reliability > SURE)


def _aligned(tile: Tile, found: Alignment | None) -> Tile:
    return warp_tile(tile, found.matrix) if found is not None and found.applied else tile


def _read(scene: Scene, reference: Scene, observed: Observed, grid: Grid) -> Tile:
    """A look on the grid, less what was not observed."""
    tile = read_on_grid(scene, reference, grid)
    matrix = pixel_map(grid, frame(scene, reference))
    hidden = ~observed.shown_on(tile.valid.shape, matrix)
    # the rim of a cloud is thin cloud: one cell of the mask more
    reach = 2 * max(1, round(observed.factor * scene.gsd_m / (reference.gsd_m * _step(reference.grid, grid)))) + 1
    hidden = cv2.dilate(hidden.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    valid = tile.valid & ~hidden
    return Tile(tile.core, tile.read, tile.pixels * valid, valid, grid)


def _step(source: Grid, grid: Grid) -> float:
    return grid.pixel_size()[0] / source.pixel_size()[0]


def _toneless(tile: Tile, gsd_m: float) -> F32:
    """(H, W) logarithm of brightness less its neighbourhood's mean, over the look's spread; 0 where not valid."""
    level = np.log(tile.pixels.mean(axis=0) + np.float32(0.05)) * tile.valid
    cover = tile.valid.astype(np.float32)
    around = cv2.GaussianBlur(level, (0, 0), TONE_M / gsd_m) / np.maximum(cv2.GaussianBlur(cover, (0, 0), TONE_M / gsd_m), 1e-3)
    flat = level - around
    if not tile.valid.any():
        return np.zeros_like(flat)
    spread = 1.4826 * float(np.median(np.abs(flat[tile.valid]))) + 1e-4
    return np.asarray(flat / spread * tile.valid, np.float32)
