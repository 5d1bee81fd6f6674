"""Occupied track of a look, from its pixels along declared centre lines (METHOD 5, E2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from shapely import get_coordinates, get_parts
from shapely.geometry.base import BaseGeometry

from models.occupancy import STEP_M, occupied, unroll
from pipeline.activity.lengths import join
from pipeline.imagery.observed import Observed
from pipeline.imagery.scene import Tile

F64 = NDArray[np.float64]

REACH_M = 12.0
"""How far beside a centre line pixels are read: 9 m across the track, and half a sample's blur."""

MIN_STRING_M = 6.0
"""A shorter stretch is no railcar: the shortest body is 9.5 m (METHOD 4.2, a tank of 12 m less its couplings and the error of
two ends)."""


@dataclass(frozen=True, slots=True)
class TrackLook:
    """One track on one look, in steps of `STEP_M` from the start of its centre line.

    Attributes:
        chance: (N,) probability that a string stands on the step.
        seen: (N,) whether the step could be observed.
    """

    chance: F64
    seen: NDArray[np.bool_]

    @property
    def doubt_m(self) -> float:
        """Metres expected to be taken for the other kind: the chance of the less likely answer, summed over what was seen."""
        return float(np.minimum(self.chance, 1 - self.chance)[self.seen].sum()) * STEP_M

    def strings(self) -> list[tuple[int, int]]:
        """First and last-but-one step of each string; what was not seen belongs to none."""
        at = np.flatnonzero((self.chance >= 0.5) & self.seen)
        spans = join([(i * STEP_M, (i + 1) * STEP_M) for i in at.tolist()])
        return [(round(a / STEP_M), round(b / STEP_M)) for a, b in spans if b - a >= MIN_STRING_M]


def hidden(tile: Tile, observed: Observed) -> Tile:
    """A native tile whose mask also leaves out cloud, shadow and what was masked."""
    seen = observed.shown_on(tile.valid.shape, np.array([[1.0, 0, tile.read.x0], [0, 1, tile.read.y0]]))
    return replace(tile, valid=tile.valid & seen)


def look_along(tile: Tile, lines: BaseGeometry, gsd_m: float) -> tuple[TrackLook, ...]:
    """Look along every track of a zone.

    Args:
        tile: pixels and mask around the lines, at native GSD.
        lines: LineString or MultiLineString in scene pixels.
        gsd_m: metres per pixel.

    Returns:
        One entry per line, in the order of `lines`.
    """
    if tile.read.empty:
        steps = [max(1, round(line.length * gsd_m / STEP_M)) for line in get_parts(lines)]
        return tuple(TrackLook(np.zeros(n), np.zeros(n, np.bool_)) for n in steps)
    shift = np.array([tile.read.x0, tile.read.y0], np.float64)
    rolls = [unroll(tile.pixels, tile.valid, get_coordinates(line) - shift, gsd_m) for line in get_parts(lines)]
    chances = occupied(rolls, gsd_m)
    return tuple(TrackLook(c, r.valid) for c, r in zip(chances, rolls, strict=True))


def union(views: Sequence[tuple[TrackLook, ...]]) -> tuple[TrackLook, ...]:
    """Tracks of several scenes of one look: what the first did not see is taken from the next.

    The same line may be a step longer in one scene than in another; steps are matched by their share of the line.
    """
    out = []
    for first, *others in zip(*views, strict=True):
        chance, seen = first.chance.copy(), first.seen.copy()
        for other in others:
            if len(other.seen) == 0:
                continue
            index = np.minimum(np.arange(len(seen)) * len(other.seen) // max(len(seen), 1), len(other.seen) - 1)
            adds = ~seen & other.seen[index]
            chance[adds] = other.chance[index[adds]]
            seen |= adds
        out.append(TrackLook(chance, seen))
    return tuple(out)


def seen_share(tracks: Sequence[TrackLook]) -> float:
    """Share of the declared track that could be observed, 0..1."""
    steps = sum(len(t.seen) for t in tracks)
    return sum(int(t.seen.sum()) for t in tracks) / steps if steps else 0.0
