"""Ship calls per hull: arrival and departure bracketed by the looks around them (METHOD 5, E5).

A hull is followed from look to look by what the comparison of the two says became of it, and across what could not be seen by place
and length. A look that cannot be seen, or in which the hull may only have been missed, neither begins nor ends a call: it widens its
bracket. So calls are counted from below. A call that nobody saw can be *inferred* from stock that left the quay between two looks
(METHOD 0, item 10).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import hypot, sqrt

from models import CLASSES
from pipeline.activity.lengths import END_SD_GSD
from pipeline.activity.nb import Z90
from pipeline.activity.records import Estimate
from pipeline.change.matching import SIZE_RATIO
from pipeline.change.records import Kind, ObjectChanges

EMPTIED = 0.2
"""A pile that falls to this share of itself or below between two looks has been taken away. Ours: at Rajin whole piles vanished
(METHOD 2.3, 20 Oct and 11 Nov 2023), and two people counting one pile differ by 10 to 15 % only (METHOD 0, item 8)."""

LENGTH_SCALE_SD = 0.085
"""Relative error of a hull's length as the head measures it: nine of ten rendered hulls at 3 m are right to 0.14 of their length
(`length_error_90` of `yardwatch evaluate`), at 10 m to 0.17. A person who measures gets to 4 to 6 m at 3 m (METHOD 4.3)."""

BERTH_SHIFT = 0.5
"""A hull is the same one while its centre stays within this share of its length: warping along the quay moves it less."""

ZoneKey = tuple[str, int]
"""Id of a zone and version of its outline."""


@dataclass(frozen=True, slots=True)
class Hull:
    """One vessel on one look.

    Attributes:
        zone: the zone it lies in.
        x_m, y_m: centre in a frame in metres, the same for all looks of the site.
        length_m: hull length, metres.
        gsd_m: GSD of the look, metres, from which the length's error follows.
        row: its index among the objects of its look, as fates name it; no other hull of the look has it.
    """

    zone: ZoneKey
    x_m: float
    y_m: float
    length_m: float
    gsd_m: float
    row: int

    @property
    def error_m(self) -> float:
        """Half width of the 90 % interval of the length, metres."""
        return Z90 * sqrt(2 * (END_SD_GSD * self.gsd_m) ** 2 + (LENGTH_SCALE_SD * self.length_m) ** 2)


@dataclass(frozen=True, slots=True)
class HullLook:
    """A site at one time.

    Attributes:
        time: of the look.
        hulls: those in its zones.
        shown: zones that were seen well enough to say that a hull is not there.
        fates: what became of objects since the look before; None where the two were not compared.
    """

    time: datetime
    hulls: tuple[Hull, ...]
    shown: frozenset[ZoneKey]
    fates: ObjectChanges | None = None


@dataclass(frozen=True, slots=True)
class ShipCall:
    """One stay of a hull in a zone.

    Attributes:
        site, zone: where.
        last_empty: last look that shows the zone without it; None when it was there on the first.
        first_seen, last_seen: first and last look with it.
        first_empty: first look that shows the zone without it; None when it may still be there.
        unseen_looks: looks between the brackets that do not say whether it was there.
        zone_version: version of the zone's outline.
        length_m: mean hull length, None where it was not measured.
        length_error_m: half width of its 90 % interval.
        inferred: nobody saw the ship; stock left between `last_empty` and `first_empty`, and the two *seen* times are those
            looks as well.
    """

    site: str
    zone: str
    last_empty: datetime | None
    first_seen: datetime
    last_seen: datetime
    first_empty: datetime | None
    unseen_looks: int
    zone_version: int = 1
    length_m: float | None = None
    length_error_m: float | None = None
    inferred: bool = False

    @property
    def dwell_days(self) -> tuple[float, float | None]:
        """Shortest and longest stay the looks allow, days; None where an end was not seen."""
        shortest = 0.0 if self.inferred else _days(self.first_seen, self.last_seen)
        if self.last_empty is None or self.first_empty is None:
            return shortest, None
        return shortest, _days(self.last_empty, self.first_empty)

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether the ship may have been there at some time between two looks, by what is known of its stay."""
        begins = self.last_empty or self.first_seen
        ends = self.first_empty or self.last_seen
        return begins < end and ends > start


def hull_calls(site: str, looks: Sequence[HullLook]) -> list[ShipCall]:
    """Calls of one site, ordered by first sight.

    Args:
        site: site id.
        looks: its looks in order of time.
    """
    stays: list[_Stay] = []
    for k, look in enumerate(looks):
        before, after, links = _fates(look.fates)
        free = {hull.row: hull for hull in look.hulls}
        waiting = [s for s in stays if s.gone is None]
        for stay in [s for s in waiting if s.last == k - 1 and links.get(s.row) in free]:
            stay.see(k, free.pop(links[stay.row]))
            waiting.remove(stay)
        for stay in waiting:
            fate = before.get(stay.row) if stay.last == k - 1 else None
            same = [row for row, hull in free.items() if stay.same(hull) and after.get(row) != Kind.APPEARED]
            if same and fate != Kind.DEPARTED:
                stay.see(k, free.pop(min(same, key=lambda row: stay.distance(free[row]))))
            elif fate == Kind.PERSISTED:
                stay.see_weakly(k)
            elif fate in {Kind.DEPARTED, Kind.MOVED} or (fate is None and stay.zone in look.shown):
                stay.gone = k
        stays += [_Stay.begun(k, hull, after.get(row), looks) for row, hull in free.items()]
    return [stay.call(site, looks) for stay in stays]


def _fates(objects: ObjectChanges | None) -> tuple[dict[int, Kind], dict[int, Kind], dict[int, int]]:
    """Fate of each hull of the look before, of each of this one, and this one's row by the row before where both may be one hull."""
    if objects is None:
        return {}, {}, {}
    rows = [
        (Kind(kind), int(b), int(a))
        for kind, b, a, cls in zip(objects.kind, objects.before, objects.after, objects.classes, strict=True)
        if CLASSES[cls] == "vessel"
    ]
    before, after = {b: kind for kind, b, _ in rows if b >= 0}, {a: kind for kind, _, a in rows if a >= 0}
    return before, after, {b: a for _, b, a in rows if min(a, b) >= 0}


def inferred_calls(stock: Sequence[Estimate], calls: Sequence[ShipCall], *, unit_class: str = "container") -> list[ShipCall]:
    """Calls that nobody saw: the stock of a zone went between two looks and no known call lies between them (T6).

    Stock can leave by rail or road as well: an inferred call says *something took it away*, is flagged, and is never counted
    as an observed one.

    Args:
        stock: estimates; those of `unit_class` are used.
        calls: observed calls of the same site, any zone.
        unit_class: class of the stock.
    """
    out: list[ShipCall] = []
    for (site, zone, version), looks in _series(stock, unit_class).items():
        seen = [(e.time, e.value) for e in looks if e.value is not None]
        for (start, before), (end, after) in pairwise(seen):
            known = any(c.site == site and not c.inferred and c.overlaps(start, end) for c in calls)
            if before > 0 and after <= EMPTIED * before and not known:
                blind = sum(e.value is None and start < e.time < end for e in looks)
                out.append(ShipCall(site, zone, start, end, end, end, blind, version, inferred=True))
    return out


def _days(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() / 86400


def _series(estimates: Sequence[Estimate], cls: str) -> Mapping[tuple[str, str, int], list[Estimate]]:
    """Estimates of a class by (site, zone, version), each in order of time."""
    out: dict[tuple[str, str, int], list[Estimate]] = {}
    for e in sorted(estimates, key=lambda e: (e.site, e.zone, e.zone_version, e.time)):
        if e.cls == cls:
            out.setdefault((e.site, e.zone, e.zone_version), []).append(e)
    return out


@dataclass(slots=True)
class _Stay:
    """One hull followed over looks, which are named by their index.

    Attributes:
        empty, gone: last look without it before, first one after.
        seen: looks with it.
        hulls: its sightings that count.
        row: its index among the objects of the last look, -1 where that shows it too weakly to count.
    """

    empty: int | None
    seen: list[int]
    hulls: list[Hull]
    row: int
    gone: int | None = None

    @classmethod
    def begun(cls, k: int, hull: Hull, fate: Kind | None, looks: Sequence[HullLook]) -> "_Stay":
        """A stay first seen in look `k`, or weakly in the one before."""
        doubted = fate in {Kind.PERSISTED, Kind.UNCERTAIN, Kind.UNOBSERVABLE}
        without = (m for m in range(k - 1 - doubted, -1, -1) if hull.zone in looks[m].shown)
        empty = k - 1 if fate == Kind.APPEARED else next(without, None)
        return cls(empty, [k - 1, k] if fate == Kind.PERSISTED else [k], [hull], hull.row)

    @property
    def last(self) -> int:
        return self.seen[-1]

    @property
    def zone(self) -> ZoneKey:
        return self.hulls[-1].zone

    def distance(self, hull: Hull) -> float:
        return hypot(hull.x_m - self.hulls[-1].x_m, hull.y_m - self.hulls[-1].y_m)

    def same(self, hull: Hull) -> bool:
        """Whether a hull has the place and about the length of the last sighting."""
        shorter, longer = sorted((hull.length_m, self.hulls[-1].length_m))
        return self.distance(hull) <= BERTH_SHIFT * longer and longer < SIZE_RATIO * shorter

    def see(self, k: int, hull: Hull) -> None:
        self.seen.append(k)
        self.hulls.append(hull)
        self.row = hull.row

    def see_weakly(self, k: int) -> None:
        self.seen.append(k)
        self.row = -1

    def call(self, site: str, looks: Sequence[HullLook]) -> ShipCall:
        n = len(self.hulls)
        start, end = -1 if self.empty is None else self.empty, len(looks) if self.gone is None else self.gone
        zone, version = self.hulls[0].zone
        return ShipCall(
            site,
            zone,
            None if self.empty is None else looks[self.empty].time,
            looks[self.seen[0]].time,
            looks[self.last].time,
            None if self.gone is None else looks[self.gone].time,
            end - start - 1 - len(self.seen),
            version,
            sum(h.length_m for h in self.hulls) / n,
            sum(h.error_m for h in self.hulls) / n,  # looks err alike: cranes, barges and quays beside a hull stay with it
        )
