"""What was built over a series of looks: a lasting step of the ground's tone or relief, with its date interval (METHOD 7).

Cars move daily, and two looks cannot tell a pit from a parked lorry; many looks can. Looks come as a `Stack`. Two measures of the
ground are followed: its tone, which a season changes as much as a spade does, and its relief, the spread of tone within a few pixels:
banks, edges and their shadows make it large under every sun, and grass stays smooth. Per pixel the
cumulative sums of the looks that saw it (CUSUM; unseen ones have no weight) give, for every date, the difference of the means before
and after over its standard error; the largest one dates the step. Ground whose steps stand out and fall between the same looks makes
a patch, and the mean series of a patch is judged again, with far less noise: its step must last to the end, be a step rather than a
trend or a season, and be stronger than what the same looks in a random order hold (`EXPECTED_FALSE` patches a series and measure): an
order cannot matter where nothing was built. What both measures show of one place between the same looks may be weaker in either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import rasterio.features
from numpy.typing import NDArray
from scipy import stats
from shapely.geometry import shape

from pipeline.change.stack import Stack
from pipeline.change.steps import PIXEL, Built, candidates, clipped, steps

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

EXPECTED_FALSE = 0.25
"""Patches per series that chance may make in each of the two measures."""
MAYBE = 0.6
"""Patches of this share of the threshold may be built: their ground says nothing about chance, since a step of two looks in nineteen
comes out whole in one random order of eighty."""
BOTH = 0.7
"""Of the threshold: what shows this strongly in tone and in relief was built. Set on 13 rendered depots (seeds 4 960 000 to 4 962 004):
eight pits of 19 that either measure missed show so, and one thing that is no pit."""
FEW_LOOKS, CERTAIN = 3, 2.0
"""A step with no more looks than the first on one side is believed only where the other measure may have it as well, or from so many
thresholds. On the same depots the second finds three more pits and nothing false."""
RELIEF_PX = 5
"""Side of the window whose spread is the relief: the smallest structure that is asked for is six pixels wide (`stack.CELLS`)."""
ROUGH, FINE = 16, 64
"""Random orders behind a threshold: while the ground of chance is being found, and in the end. A quarter of a patch a series is
rare: on a rendered depot 16 orders held the threshold to 13 %, 64 hold it to 5 %."""
NEAR_M = 7.0
"""Shadow of a bank of 2.5 m under a sun of 20 degrees: ground that a new structure shades at times."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What was built over a series.

    Attributes:
        built: every new structure, by date, then place.
        low, high: 90 % interval of their number: chance patches taken away, ground that too few looks saw added.
        observed: share of the ground that enough looks saw.
        thresholds: step over its standard error from which a patch counts, in tone and in relief.
        strength: (H, W) float32 step of tone over its standard error, -1 where too few looks saw it.
    """

    built: tuple[Built, ...]
    low: int
    high: int
    observed: float
    thresholds: tuple[float, float]
    strength: F32


@dataclass
class _Measure:
    """One measure of the ground over the looks: its values, the candidates in them, and what chance reaches."""

    stack: Stack
    values: F32
    strength: F32
    candidates: list[Built]
    threshold: float = np.inf

    @classmethod
    def of(cls, stack: Stack, least: float) -> "_Measure":
        values = clipped(stack.values, stack.valid)
        strength, step = steps(values, stack.valid)
        return cls(stack, values, strength, candidates(values, stack, strength, step, least))

    def ground(self, near: float) -> Mask:
        """(H, W) ground of what may be built, and `near` pixels around it."""
        shapes = [b.geometry for b in self.candidates if b.strength >= MAYBE * self.threshold]
        if not shapes:
            return np.zeros(self.strength.shape, np.bool_)
        drawn = rasterio.features.rasterize(shapes, out_shape=self.strength.shape, all_touched=True, dtype="uint8")
        return np.asarray(cv2.dilate(drawn, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(near) + 1,) * 2)) > 0)

    def ask_chance(self, valid: Mask, least: float, orders: int, seed: int) -> None:
        """Set the threshold to what chance reaches on some ground."""
        self.threshold = _threshold(self.stack, self.values * valid, valid, least, orders, seed)

    def answers(self, b: Built) -> float:
        """The strongest candidate of this measure at one of the other, between the same looks, as a multiple of the threshold."""
        place = shape(b.geometry)
        there = (c.strength for c in self.candidates if _together(b, c) and shape(c.geometry).intersects(place))
        return max(there, default=0.0) / self.threshold

    def built(self, other: "_Measure") -> list[Built]:
        """Candidates beyond chance, strength as a multiple of it; those that few looks carry must be seen by the other measure too."""
        looks, found = len(self.values), []
        for b in self.candidates:
            own = b.strength / self.threshold
            if own < BOTH:
                continue
            answer, few = other.answers(b), min(b.last_without + 1, looks - b.first_with) <= FEW_LOOKS
            if min(own, answer) >= BOTH or own >= CERTAIN or (own >= 1 and not (few and answer < MAYBE)):
                found.append(replace(b, strength=round(own, 2)))
        return found


def _together(a: Built, b: Built) -> bool:
    """Whether their date intervals overlap."""
    return max(a.last_without, b.last_without) < min(a.first_with, b.first_with)


def find_built(stack: Stack, min_area_m2: float, seed: int = 0) -> Growth:
    """Find what was built.

    Args:
        stack: the looks.
        min_area_m2: minimum mapping unit.
        seed: of the random orders behind the threshold.
    """
    least, near = max(1.0, min_area_m2 / stack.gsd_m**2), NEAR_M / stack.gsd_m
    tone, relief = (_Measure.of(seen, least) for seen in (stack, replace(stack, values=_relief(stack))))
    for orders in (ROUGH, ROUGH, FINE):
        # what was built, and its shadows under every sun, inflate the null: leave that ground out and ask again
        elsewhere = stack.valid & ~(tone.ground(near) | relief.ground(near))
        for measure in (tone, relief):
            measure.ask_chance(elsewhere, least, orders, seed)
    enough = tone.strength >= 0
    found = _distinct(tone.built(relief), relief.built(tone), near)
    found.sort(key=lambda b: (b.first_with, b.last_without, shape(b.geometry).bounds))
    observed = float(enough.mean())
    low = max(0, len(found) - int(stats.poisson.ppf(0.95, 2 * EXPECTED_FALSE)))
    unseen = len(found) * (1 - observed) / max(observed, 0.05)  # as densely built as the ground that was seen
    high = len(found) + (int(stats.poisson.ppf(0.95, unseen)) if unseen > 0 else 0)
    return Growth(tuple(found), min(low, len(found)), high, observed, (tone.threshold, relief.threshold), tone.strength)


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


def _distinct(tone: Sequence[Built], relief: Sequence[Built], near: float) -> list[Built]:
    """What tone shows, what relief alone shows; without patches most of which lie `near` pixels around stronger ones of their date.

    Those are shade and spoil of their neighbour. Outlines of tone are the sharper ones.
    """
    outlines = [shape(b.geometry) for b in tone]
    both = [*tone, *(b for b in relief if not any(shape(b.geometry).intersects(o) for o in outlines))]
    places = {id(b): shape(b.geometry) for b in both}

    def shades(b: Built, other: Built) -> bool:
        near_it = places[id(b)].intersection(places[id(other)].buffer(near)).area
        return _together(b, other) and other.strength > b.strength and near_it > 0.5 * places[id(b)].area

    return [b for b in both if not any(shades(b, other) for other in both if other is not b)]


def _threshold(stack: Stack, values: F32, valid: Mask, least: float, orders: int, seed: int) -> float:
    """The strength that patches of the looks in random orders exceed `EXPECTED_FALSE` times a series on average.

    Where a part of the ground is left out, it is taken to hold as many chance patches as the rest.
    """
    rng = np.random.default_rng(seed)
    chance: list[float] = []
    for _ in range(orders):
        order = rng.permutation(len(values))
        mixed = replace(stack, values=values[order], valid=valid[order])
        strength, step = steps(mixed.values, mixed.valid)
        chance += [b.strength for b in candidates(mixed.values, mixed, strength, step, least)]
    share = valid.any(axis=0).sum() / max(int(stack.valid.any(axis=0).sum()), 1)
    allowed = int(EXPECTED_FALSE * orders * share)
    ranked = sorted(chance, reverse=True)
    return max(PIXEL, ranked[allowed] if len(ranked) > allowed else 0.0)
