"""Boxes in a pile that cannot be counted one by one (METHOD 5, E4)."""

from dataclasses import dataclass
from math import exp, floor, hypot, radians, sqrt, tan

from pipeline.activity.lengths import END_SD_GSD
from pipeline.activity.nb import Z90

BOXES_M = {"20": (6.058, 2.438), "40": (12.192, 2.438), "45": (13.716, 2.438)}
"""Length and width by size in feet (ISO 668; METHOD 4.1)."""

TIER_M = 2.591
"""Height of a standard box (METHOD 4.1)."""

GAP_M = (0.05, 0.4)
"""Gap between neighbours in a tight block (METHOD 5, E4)."""

SLOT_M2 = 15.8
"""Ground slot of a twenty-foot unit inside a tight block (METHOD 4.1)."""

PER_METRE = (3.3, 2.0, 5.0)
"""Boxes per metre of an improvised quay pile: value, low, high (METHOD 4.1 and 5, E4; a weak prior)."""

SLACK = 0.2
"""Share of a box that may lack at the end of a row in the value (not in its bounds): a block ends where a box ends, and with a
gap taken 2 cm too wide ten boxes of 6.06 m would become nine."""

SHADOW_LIMIT_TIER = 0.5
"""Standard deviation of the tiers, in tiers, from which a shadow says nothing: neighbours could not be told apart."""


SIDE_SD_GSD = 1.6
"""Error of a side measured by `pile_look`, metres per metre of GSD. This, `HEIGHT_SD_M` and `STACKS_SD`: 180 blocks of
tests/bench/pile_scene.py at 0.3 to 3 m, seeds 4 902 200 to 4 902 379, so that 90 % intervals hold nine in ten at each GSD."""

HEIGHT_SD_M = (0.4, 0.6)
"""Error of a height by `pile_look`: metres, and metres per ``GSD tan(sun)``, the height of one pixel of shadow."""

STACKS_SD = 0.1
"""Relative error of a block for stacks that lack a tier or two, whatever the GSD."""

USUAL_TIERS = (2.5, 1.5)
"""Mean and spread of the tiers of piles before one is seen (METHOD 4.1: up to 3 high, empties about 5): what a shadow that is shorter
than a pixel or two is weighed with (METHOD 5, E4: such a shadow says little by itself)."""

FILL = (0.85, 1.0)
"""Share of the slots of a tight block that hold a box, low and high."""


@dataclass(frozen=True, slots=True)
class Pile:
    """Number of boxes with its 90 % interval, or metres of pile that could not be turned into boxes.

    Attributes:
        value, low, high: boxes.
        tiers: how many high the pile was taken to be.
        method: ``lattice``, ``block``, ``length`` or ``area``.
    """

    value: float
    low: float
    high: float
    tiers: float
    method: str


@dataclass(frozen=True, slots=True)
class Tiers:
    """Height of a pile in boxes, with its standard deviation."""

    value: float
    sd: float

    @property
    def usable(self) -> bool:
        """Whether the shadow tells neighbouring heights apart (METHOD 5: 0.15 tier at 0.5 m, 0.9 at 3 m is unusable)."""
        return self.sd < SHADOW_LIMIT_TIER


def tiers_from_shadow(shadow_m: float, sun_elevation_deg: float, gsd_m: float) -> Tiers:
    """Tiers from the length of a shadow on flat ground: ``shadow tan(sun) / 2.591`` (METHOD 5, E4).

    >>> round(tiers_from_shadow(10.0, 38.0, 0.5).sd, 2)
    0.15

    Raises:
        ValueError: the sun is not above the horizon.
    """
    if not 0 < sun_elevation_deg < 90:
        raise ValueError(f"the sun stands at {sun_elevation_deg} degrees; there is no shadow to measure")
    slope = tan(radians(sun_elevation_deg)) / TIER_M
    return Tiers(shadow_m * slope, gsd_m * slope)


def lattice(
    length_m: float,
    width_m: float,
    gsd_m: float,
    tiers: Tiers,
    *,
    size: str = "20",
    fill: tuple[float, float] = FILL,
) -> Pile:
    """Boxes in a tight rectangular block: as many as fit, both orientations tried, times tiers and fill.

    The interval spans the gaps, one GSD of error of either side (at 90 %), the tiers and the share of slots that are filled.

    Args:
        length_m: one side of the block.
        width_m: the other side.
        gsd_m: metres per pixel.
        tiers: from `tiers_from_shadow`, or known.
        size: ``20``, ``40`` or ``45`` feet.
        fill: low and high share of filled slots.
    """
    blur = Z90 * END_SD_GSD * sqrt(2) * gsd_m
    most = _fit(length_m + blur, width_m + blur, size, GAP_M[0])
    least = _fit(max(0.0, length_m - blur), max(0.0, width_m - blur), size, GAP_M[1])
    middle = _fit(length_m, width_m, size, sum(GAP_M) / 2, SLACK)
    low, high = max(1.0, tiers.value - Z90 * tiers.sd), max(1.0, tiers.value + Z90 * tiers.sd)
    value = middle * max(1.0, tiers.value) * sum(fill) / 2
    return Pile(value, min(value, least * low * fill[0]), max(value, most * high * fill[1]), tiers.value, "lattice")


def from_block(length_m: float, width_m: float, height_m: float, gsd_m: float, sun_elevation_deg: float) -> Pile:
    """Twenty-foot units of a block whose sides and height `pile_look` measured; the interval is of their logarithm.

    Slots of the ground with the middle of `GAP_M` between them, times tiers, times the middle of `FILL`. The tiers are the height over
    `TIER_M`, drawn towards `USUAL_TIERS` as far as the shadow is uncertain.

    >>> pile = from_block(37.3, 13.0, 7.8, 0.5, 38.0)
    >>> round(pile.low), round(pile.value), round(pile.high)
    (64, 82, 106)
    """
    gap = sum(GAP_M) / 2
    along, across = BOXES_M["20"]
    slots = (length_m + gap) * (width_m + gap) / ((along + gap) * (across + gap))
    usual, spread = USUAL_TIERS
    shadow_sd = (HEIGHT_SD_M[0] + HEIGHT_SD_M[1] * gsd_m * tan(radians(sun_elevation_deg))) / TIER_M
    trust = spread**2 / (spread**2 + shadow_sd**2)
    tiers = max(1.0, trust * height_m / TIER_M + (1 - trust) * usual)
    sides = SIDE_SD_GSD * gsd_m * hypot(1 / length_m, 1 / width_m)
    filled = (FILL[1] - FILL[0]) / (FILL[0] + FILL[1]) / Z90
    factor = exp(Z90 * sqrt(sides**2 + trust * (shadow_sd / tiers) ** 2 + filled**2 + STACKS_SD**2))
    value = slots * tiers * sum(FILL) / 2
    return Pile(value, value / factor, value * factor, tiers, "block")


def from_length(length_m: float, gsd_m: float) -> Pile:
    """Boxes of an improvised quay pile from its length alone, ``3.3 L`` with the prior 2 to 5 (METHOD 5, E4).

    >>> pile = from_length(90, 3.0)
    >>> round(pile.value), round(pile.low), round(pile.high)
    (297, 170, 474)
    """
    value, low, high = PER_METRE
    blur = Z90 * END_SD_GSD * sqrt(2) * gsd_m
    return Pile(value * length_m, low * max(0.0, length_m - blur), high * (length_m + blur), 0.0, "length")


def from_area(area_m2: float, *, tiers: tuple[float, float] = (1.0, 3.0), fill: tuple[float, float] = (0.6, 1.0)) -> Pile:
    """Twenty-foot units from the area of a pile at 3 m: ``area / 15.8 x tiers x fill``, an interval first of all (METHOD 5, E4)."""
    slots = area_m2 / SLOT_M2
    low, high = slots * tiers[0] * fill[0], slots * tiers[1] * fill[1]
    return Pile((low + high) / 2, low, high, sum(tiers) / 2, "area")


def _fit(length_m: float, width_m: float, size: str, gap_m: float, slack: float = 1e-9) -> int:
    """Boxes on the ground of a block, the better of the two orientations; `slack` is the share of a box that may lack."""
    along, across = BOXES_M[size]

    def rows(side: float, box: float) -> int:
        return max(0, floor((side + gap_m) / (box + gap_m) + slack))

    straight = rows(length_m, along) * rows(width_m, across)
    turned = rows(length_m, across) * rows(width_m, along)
    return max(straight, turned)
