# ruff: noqa: T201
# (a benchmark prints)
"""Examples that teach `models.presence`, of rendered yards: what one look is sure of and the other does not surely have.

Each yard is seen three times under other suns, seasons, views and sensors (0.3-0.8 m), with 10, 25 or 40 % of its cars exchanged
between looks and a cloud over some. Every object that the detector is sure of and that has no sure partner in the other look
(`evidence.UNDOUBTED`) is an example: an event if its body is not there, none if it stands there or never was one. Examples weigh as
much as they would were a tenth of the cars exchanged, as in `bench_objects.py`, whose seeds are not used here.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_objects import HIT, View, across, in_sight, photograph
from numpy.typing import NDArray

from models import CLASSES, presence
from models import boxes as ob
from models.render.looks import Yard, exchange, plan_yard, see_yard
from pipeline.change import evidence, objects
from pipeline.change.pair import compare
from pipeline.config import ChangeSettings
from pipeline.imagery.observed import Unseen

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

GSDS, SHARES = (0.3, 0.4, 0.5, 0.6, 0.8), (0.1, 0.25, 0.4)
NOMINAL = 0.1
"""Share of cars exchanged for which the chances are meant."""


@dataclass(frozen=True)
class Examples:
    """Windows and what is known of them, of (N,) each.

    Attributes:
        windows: (N, 9, 32, 96) of `models.presence.cut`.
        gsd_m: metres per pixel of the common grid.
        event: whether the body is not in the other look.
        weight: what the example stands for were `NOMINAL` of the cars exchanged.
        chance: what `evidence.chance_of_change` says.
        events: of all pairs, found or not, weighed likewise.
    """

    windows: U8
    gsd_m: F64
    event: NDArray[np.bool_]
    weight: F64
    chance: F64
    events: float

    @classmethod
    def join(cls, parts: list["Examples"]) -> "Examples":
        names = ("windows", "gsd_m", "event", "weight", "chance")
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in names), sum(p.events for p in parts))


@contextmanager
def caught() -> Iterator[list[objects._Match]]:
    """The matches of every comparison made meanwhile, one per class."""
    seen: list[objects._Match] = []
    plain = objects._Match.rows

    def rows(self: objects._Match) -> list[objects.Row]:
        seen.append(self)
        return []  # fates ask for the weights that are to be learned

    objects._Match.rows = rows  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        objects._Match.rows = plain  # type: ignore[method-assign]


def of_pair(views: tuple[View, View], share: float) -> Iterator[Examples]:
    """Examples of one pair of looks."""
    with caught() as matches:
        scenes, found, observed = (tuple(getattr(v, name) for v in views) for name in ("scene", "found", "observed"))
        gsd_m = compare(scenes, found, observed, ChangeSettings()).gsd_m  # type: ignore[arg-type]
    for match in matches:
        if CLASSES[match.cls] == "vessel" or match.structure.looks is None:
            continue
        sure = [np.flatnonzero(match._strength(s) >= 1) for s in (0, 1)]
        gate = match.gate_px * (objects.ROLL_FIRST if CLASSES[match.cls] == "railcar" else 1)
        partners = match._stay(sure, gate)
        for side in (0, 1):
            yield of_side(views, match, partners, side, (share, gsd_m))


def of_side(
    views: tuple[View, View],
    match: objects._Match,
    partners: list[tuple[int, int]],
    side: int,
    facts: tuple[float, float],
) -> Examples:
    """Examples of the objects of one class that one look of a pair is sure of and the other does not surely have."""
    (share, gsd_m), own, other = facts, views[side], views[1 - side]
    partner = {p[side]: p[1 - side] for p in partners}
    lone = [np.setdiff1d(np.arange(len(match.boxes[s])), [p[s] for p in partners]) for s in (0, 1)]
    strength, answer = match._strength(side), match._strength(1 - side)
    seen = own.seen.chip
    laid = across(own, seen.boxes, other)
    gone = ~np.isin(own.seen.bodies, other.seen.bodies)
    # where another body stands now, one that left cannot be told from one that stayed
    replaced = (ob.iou_matrix(laid, other.seen.chip.boxes) > HIT / 3).any(axis=1) & gone
    sight = in_sight(own.seen, seen.boxes, 0.1) & in_sight(other.seen, laid, 0.1)
    overlap = ob.iou_matrix(own.found.detections.boxes[match.index[side]], seen.boxes) * (seen.classes == match.cls)
    kept, event, weight = [], [], []
    for k in np.flatnonzero((match._states(side) == Unseen.OBSERVED) & (strength >= 1)):
        on = int(overlap[k].argmax()) if len(seen.boxes) else 0
        hit = bool(len(seen.boxes) and overlap[k, on] >= HIT)
        if k in partner and answer[partner[k]] >= evidence.UNDOUBTED:
            continue
        if hit and (not sight[on] or replaced[on]):
            continue
        left = bool(hit and gone[on])
        kept.append(int(k))
        event.append(left)
        weight.append(NOMINAL / share if left else (1 - NOMINAL) / (1 - share))
    looks = [match._view(s, match.structure.looks[s]) for s in (side, 1 - side)]  # type: ignore[index]
    stacks = [np.zeros((0, 9, presence.ACROSS, presence.ALONG), np.uint8), *presence.cut(*looks, match.boxes[side][kept], gsd_m)]
    chance = match._by_boxes(side, lone)
    events = float((gone & sight & ~replaced & (seen.classes == match.cls)).sum()) * NOMINAL / share
    return Examples(
        np.concatenate(stacks),
        np.full(len(kept), gsd_m),
        np.array(event, np.bool_),
        np.array(weight, np.float64),
        np.where(np.isin(kept, lone[side]), chance[kept], 0.0),
        events,
    )


def of_yard(seed: int, heads: object) -> Examples:
    """Examples of three looks at one yard."""
    yard, rng = plan_yard(seed), np.random.default_rng([seed, 12])
    shares, gsds = rng.choice(SHARES, 2), rng.choice(GSDS, 3)
    places = (yard, exchange(yard, shares[0], 0), _renamed(yard, exchange(yard, shares[1], 1)))
    with tempfile.TemporaryDirectory() as folder:
        looks = []
        for k, place in enumerate(places):
            seen = see_yard(place, k, float(gsds[k]), cloud=bool(k and rng.random() < 0.4))
            looks.append(photograph(Path(folder), seed, k, seen, None, heads))
        both = 1 - (1 - shares[0]) * (1 - shares[1])
        pairs = ((0, 1, shares[0]), (2, 0, shares[1]), (1, 2, both))
        return Examples.join([e for i, j, share in pairs for e in of_pair((looks[i], looks[j]), float(share))])


def _renamed(yard: Yard, other: Yard) -> Yard:
    """The other yard, whose new bodies bear names that no third yard has."""
    last = max(b.key for b in yard.bodies)
    return replace(other, bodies=tuple(replace(b, key=b.key + 100_000 * (b.key > last)) for b in other.bodies))


def score(name: str, chance: F64, examples: Examples) -> None:
    """Print precision, recall and F1 of what is reported from some chances on, and the share of what stands that is called gone."""
    for limit in (0.3, 0.35, 0.4, 0.45, 0.5):
        said = chance >= limit
        hits, number = (float(examples.weight[m].sum()) for m in (said & examples.event, said))
        f1, false = 2 * hits / (number + examples.events), said[~examples.event].mean()
        shown = f"P {hits / max(number, 1e-9):.3f} R {hits / examples.events:.3f} F1 {f1:.3f}, of what stands {false:.3f} gone"
        print(f"{name:18} from {limit:.2f}: {shown}")
