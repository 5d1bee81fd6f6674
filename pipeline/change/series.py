"""What was built over a series of looks: a lasting step of the ground's tone and relief, with its date interval (METHOD 7).

Cars move daily, and two looks cannot tell a pit from a parked lorry; many looks can. Looks come as a `Stack`. Two measures of the
ground are followed: its tone, which a season changes as much as a spade does, and its relief, the spread of tone within a few pixels:
banks, edges and their shadows make it large under every sun, and grass stays smooth. Per pixel the
cumulative sums of the looks that saw it (CUSUM; unseen ones have no weight) give, for every date, the difference of the means before
and after over its standard error; the largest one dates the step. Ground whose steps stand out in one measure and fall between the
same looks makes a patch, and its mean series in both measures are judged again, with far less noise: a step must last to
the end and be a step rather than a trend or a season, and the patch must be stronger than what the same looks in a random order hold
(`EXPECTED_FALSE` patches a series): an order cannot matter where nothing was built. A few looks come together by chance more easily
than many, so steps with two or three looks on one side are held to chances of their own (`SPLITS`).
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from shapely import Polygon
from shapely.geometry import mapping

from pipeline.change.stack import MIN_LOOKS, Stack
from pipeline.change.steps import PIXEL, RELIEF_PX, Patch, candidates, clipped

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

EXPECTED_FALSE = 0.3
"""Patches per series that chance may make."""
WAYS, SHARES = ("tone", "relief", "both"), (0.05, 0.2, 0.75)
"""How a patch may stand out, and what part of the chance patches each may make: by its steps of tone and of relief, and by the root of
their product. A season changes tone, shadows of what stands there change relief; what is built changes both."""
SPLITS = ("2 before", "3 before", "2 after", "3 after", "more")
"""Looks before or after a step where those are few: two looks of nineteen come together in one random order of eighty, and shadows that
two looks alone show are common; ten of nineteen never come together. A place that two looks alone show smooth is rarer than one that
they alone show rough."""
TAIL = 0.1
"""Share of the chance patches, the strongest, that tell how fast their number falls with strength; fewer than ten of them tell nothing.
The settings here and in `steps` were chosen on 28 rendered depots (seeds 4 960 010 to 4 960 023 and 4 961 010 to 4 961 023)."""
MAYBE = 0.6
"""Patches of this share of the threshold may be built: their ground says nothing about chance."""
CALM = 6.5
"""What chance reaches at most where it is calm: the first guess, so that it leaves out too much ground rather than too little."""
ROUGH, FINE = 16, 64
"""Random orders behind a threshold: while the ground of chance is being found, and in the end."""
NEAR_M = 7.0
"""Shadow of a bank of 2.5 m under a sun of 20 degrees: ground that a new structure shades at times."""
AROUND = 0.4
"""A patch with more than this share of it on such ground is shade, spoil or a piece of the structure."""
SAME = 0.5
"""Intersection over union of two outlines of one structure."""


@dataclass(frozen=True, slots=True)
class Built:
    """Something that was not there and then stayed.

    Attributes:
        geometry: GeoJSON polygon in pixels of the stack's grid.
        area_m2: its area.
        last_without: index of the last look that saw the place without it.
        first_with: index of the first look that saw it.
        strength: its steps of tone and relief, as a multiple of what chance reaches.
    """

    geometry: dict[str, Any]
    area_m2: float
    last_without: int
    first_with: int
    strength: float


@dataclass(frozen=True, slots=True)
class Growth:
    """What was built over a series.

    Attributes:
        built: every new structure, by date, then place.
        low, high: 90 % interval of their number: chance patches taken away, ground that too few looks saw added.
        observed: share of the ground that enough looks saw.
        thresholds: (S, 3) what chance reaches for each of `SPLITS` in each of `WAYS`.
    """

    built: tuple[Built, ...]
    low: int
    high: int
    observed: float
    thresholds: F64


@dataclass(frozen=True, slots=True)
class _Chance:
    """What chance reaches: (S, 3) for each of `SPLITS` in each of `WAYS`."""

    reach: F64

    @classmethod
    def of(cls, chance: list[Patch], allowed: float) -> "_Chance":
        """From the patches of random orders, of which `allowed` may pass."""
        split = np.array([_split(p) for p in chance])
        ways = np.array([_ways(p) for p in chance], np.float64).reshape(-1, len(WAYS))
        each = [allowed * share / len(SPLITS) for share in SHARES]
        return cls(np.array([[_reach(*of) for of in zip(ways[split == s].T, each, strict=True)] for s in range(len(SPLITS))]))

    def excess(self, patch: Patch) -> float:
        """Strength of a patch as a multiple of what chance reaches."""
        return float((_ways(patch) / self.reach[_split(patch)]).max())


def _split(patch: Patch) -> int:
    """Which of `SPLITS` a step is."""
    before, after = patch.sides
    if min(before, after) > 3:
        return 4
    return before - 2 if before <= after else after


def _ways(patch: Patch) -> F64:
    tone, relief = patch.strengths
    return np.array([tone, relief, (tone * relief) ** 0.5])


def _reach(values: F64, allowed: float) -> float:
    """What `allowed` values of as many are expected to exceed: the tail of the largest tenth falls off exponentially."""
    if len(values) * TAIL < 10:
        return float(max(PIXEL, values.max(initial=0.0)))
    start = float(np.quantile(values, 1 - TAIL))
    tail = values[values > start] - start
    return max(PIXEL, start + float(tail.mean()) * float(np.log(max(len(tail) / allowed, 1.0))))


def find_built(stack: Stack, min_area_m2: float, seed: int = 0) -> Growth:
    """Find what was built.

    Args:
        stack: the looks.
        min_area_m2: minimum mapping unit.
        seed: of the random orders behind the threshold.
    """
    least, near = max(1.0, min_area_m2 / stack.gsd_m**2), NEAR_M / stack.gsd_m
    values = np.stack([clipped(measure, stack.valid) for measure in (stack.values, _relief(stack))])
    found = candidates(values, stack, least)
    chance = _Chance(np.full((len(SPLITS), len(WAYS)), CALM))
    for orders in (ROUGH, ROUGH, FINE):
        # what was built, and its shadows under every sun, inflate the null: leave that ground out and ask again
        elsewhere = stack.valid & ~_around([p for p in found if chance.excess(p) >= MAYBE], stack.valid.shape[1:], near)
        mixed = _mixed(replace(stack, valid=elsewhere), values * elsewhere, least, orders, seed)
        # where a part of the ground is left out, it is taken to hold as many chance patches as the rest
        share = elsewhere.any(axis=0).sum() / max(int(stack.valid.any(axis=0).sum()), 1)
        chance = _Chance.of(mixed, EXPECTED_FALSE * orders * float(share))
    built = _distinct([(p, chance.excess(p)) for p in found if chance.excess(p) >= 1], stack.gsd_m)
    observed = float((stack.valid.sum(axis=0) >= MIN_LOOKS).mean())
    low = max(0, len(built) - int(stats.poisson.ppf(0.95, EXPECTED_FALSE)))
    unseen = len(built) * (1 - observed) / max(observed, 0.05)  # as densely built as the ground that was seen
    high = len(built) + (int(stats.poisson.ppf(0.95, unseen)) if unseen > 0 else 0)
    return Growth(tuple(built), low, high, observed, chance.reach)


def _mixed(stack: Stack, values: F32, least: float, orders: int, seed: int) -> list[Patch]:
    """The patches of the looks in random orders."""
    rng = np.random.default_rng(seed)
    chance: list[Patch] = []
    for _ in range(orders):
        order = rng.permutation(len(stack.valid))
        chance += candidates(values[:, order], replace(stack, valid=stack.valid[order]), least)
    return chance


def _around(patches: list[Patch], shape: tuple[int, ...], near: float) -> Mask:
    """(H, W) ground of some patches and `near` pixels around it."""
    drawn = np.zeros(shape, np.uint8)
    for patch in patches:
        drawn[patch.at.y0 : patch.at.y1, patch.at.x0 : patch.at.x1] |= patch.mask
    return np.asarray(cv2.dilate(drawn, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(near) + 1,) * 2)) > 0)


def _distinct(found: list[tuple[Patch, float]], gsd_m: float) -> list[Built]:
    """Structures by date, then place: the largest and strongest patches, without those that lie around others."""
    kept: list[tuple[Patch, float, Polygon]] = []
    around: list[Polygon] = []
    outlined = [(patch, excess, patch.outline()) for patch, excess in found]
    sharp = [outline for patch, _, outline in outlined if patch.grown == 0]
    for patch, excess, outline in sorted(outlined, key=lambda o: -o[1] * o[2].area):
        if not any(outline.intersection(ground).area > AROUND * outline.area for ground in around):
            kept.append((patch, excess, _sharper(outline, sharp) if patch.grown else outline))
            around.append(outline.buffer(NEAR_M / gsd_m))
    kept.sort(key=lambda k: (k[0].first_with, k[0].last_without, k[2].bounds))
    return [
        Built(dict(mapping(o)), round(o.area * gsd_m**2, 1), p.last_without, p.first_with, round(excess, 2)) for p, excess, o in kept
    ]


def _sharper(outline: Polygon, sharp: list[Polygon]) -> Polygon:
    """The sharp outline of the same ground, where there is one."""
    there = [(o.intersection(outline).area / o.union(outline).area, o) for o in sharp if o.intersects(outline)]
    overlap, best = max(there, key=lambda t: t[0], default=(0.0, outline))
    return best if overlap > SAME else outline


def _relief(stack: Stack) -> F32:
    """(N, H, W) logarithm of the spread of tone around each pixel, less the look's median; 0 where not valid."""
    out = np.zeros_like(stack.values)
    for k, (values, valid) in enumerate(zip(stack.values, stack.valid, strict=True)):
        cover = valid.astype(np.float32)
        number, total, squares = (
            cv2.boxFilter(part * cover, -1, (RELIEF_PX, RELIEF_PX), normalize=False) for part in (cover, values, values**2)
        )
        mean = total / np.maximum(number, 1)
        spread = np.log(np.sqrt(np.maximum(squares / np.maximum(number, 1) - mean**2, 0)) + 0.1)
        out[k] = (spread - np.median(spread[valid])) * cover if valid.any() else 0
    return out
