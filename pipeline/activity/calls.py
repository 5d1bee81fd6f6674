"""Ship calls per berth: arrival and departure bracketed by the looks around them (METHOD 5, E5).

A call is one stay of at least one hull. Looks that could not be seen neither begin nor end a call: they widen its bracket. A
call that nobody saw can be *inferred* from stock that left the quay between two looks (METHOD 0, item 10).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import hypot, sqrt

from pipeline.activity.lengths import END_SD_GSD
from pipeline.activity.nb import Z90
from pipeline.activity.records import Estimate

EMPTIED = 0.2
"""A pile that falls to this share of itself or below between two looks has been taken away. Ours: at Rajin whole piles vanished
(METHOD 2.3, 20 Oct and 11 Nov 2023), and two people counting one pile differ by 10 to 15 % only (METHOD 0, item 8)."""

LENGTH_SCALE_SD = 0.01
"""Relative error of a measured hull from bow flare and waterline; with the ends it makes the +-4 to 6 m of METHOD 4.3 at 3 m."""

BERTH_SHIFT = 0.5
"""A hull is the same one while its centre stays within this share of its length: warping along the quay moves it less."""


@dataclass(frozen=True, slots=True)
class Hull:
    """One vessel on one look.

    Attributes:
        x_m, y_m: centre in a map frame in metres, the same for all looks of the zone.
        length_m: hull length, metres.
        gsd_m: GSD of the look, metres, from which the length's error follows.
    """

    x_m: float
    y_m: float
    length_m: float
    gsd_m: float

    @property
    def error_m(self) -> float:
        """Half width of the 90 % interval of the length, metres."""
        return Z90 * sqrt(2 * (END_SD_GSD * self.gsd_m) ** 2 + (LENGTH_SCALE_SD * self.length_m) ** 2)


@dataclass(frozen=True, slots=True)
class BerthLook:
    """A zone at one time: its hulls, or None where it could not be seen."""

    time: datetime
    hulls: tuple[Hull, ...] | None


@dataclass(frozen=True, slots=True)
class ShipCall:
    """One stay of at least one hull in a zone; a lower bound, since ships may come and go unseen.

    Attributes:
        site, zone: where.
        last_empty: last usable look without a hull before it; None when it was there on the first.
        first_seen, last_seen: first and last look with a hull.
        first_empty: first usable look without a hull after it; None when it is still there.
        most: largest number of hulls seen at once; 0 for an inferred call.
        unseen_looks: looks between the brackets on which the zone could not be seen.
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
    most: int
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


def ship_calls(estimates: Sequence[Estimate]) -> list[ShipCall]:
    """Calls of every zone version with a vessel series, from counts alone: one call while the zone is never seen empty."""
    calls: list[ShipCall] = []
    for key, looks in _series(estimates, "vessel").items():
        state = _Occupancy()
        for e in looks:
            count = None if e.value is None else e.raw if e.raw is not None else round(e.value)
            calls += state.step(*key, e.time, count)
        calls += state.finish(*key)
    return calls


def hull_calls(site: str, zone: str, looks: Sequence[BerthLook], *, zone_version: int = 1) -> list[ShipCall]:
    """Calls per hull: a hull is followed from look to look by place and length, so two ships side by side are two calls.

    Args:
        site: site id.
        zone: zone id.
        looks: looks of one zone in any order; those that could not be seen have no hulls.
        zone_version: version of the zone's outline.

    Returns:
        Calls ordered by first sight; each with the mean length of its sightings.
    """
    stays: list[_Stay] = []
    last_usable: datetime | None = None
    for look in sorted(looks, key=lambda look: look.time):
        open_stays = [s for s in stays if s.gone is None]
        if look.hulls is None:
            for stay in open_stays:
                stay.blind += 1
            continue
        free = list(look.hulls)
        for stay in open_stays:
            match = min((h for h in free if stay.same(h)), key=stay.distance, default=None)
            if match is None:
                stay.gone = look.time
            else:
                free.remove(match)
                stay.see(look.time, match)
        stays += [_Stay(last_usable, [look.time], [hull]) for hull in free]
        last_usable = look.time
    return [stay.call(site, zone, zone_version) for stay in stays]


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
                out.append(ShipCall(site, zone, start, end, end, end, 0, blind, version, inferred=True))
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
class _Occupancy:
    """A zone as one place that is taken or empty."""

    empty: datetime | None = None
    seen: list[datetime] = field(default_factory=list)
    most: int = 0
    blind: int = 0
    pending: int = 0  # unseen looks since the last usable one: they count once a call turns out to lie around them

    def step(self, site: str, zone: str, version: int, time: datetime, count: int | None) -> list[ShipCall]:
        if count is None:
            self.pending += 1
            return []
        if count > 0:
            self.seen.append(time)
            self.most = max(self.most, count)
            self.blind += self.pending
            self.pending = 0
            return []
        calls = self.finish(site, zone, version, time) if self.seen else []
        self.empty, self.seen, self.most, self.blind, self.pending = time, [], 0, 0, 0
        return calls

    def finish(self, site: str, zone: str, version: int, after: datetime | None = None) -> list[ShipCall]:
        if not self.seen:
            return []
        blind = self.blind + self.pending
        return [ShipCall(site, zone, self.empty, self.seen[0], self.seen[-1], after, self.most, blind, version)]


@dataclass(slots=True)
class _Stay:
    """One hull followed over looks."""

    empty: datetime | None
    times: list[datetime]
    hulls: list[Hull]
    gone: datetime | None = None
    blind: int = 0

    def distance(self, hull: Hull) -> float:
        return hypot(hull.x_m - self.hulls[-1].x_m, hull.y_m - self.hulls[-1].y_m)

    def same(self, hull: Hull) -> bool:
        """Same place along the quay and the same length within both errors."""
        last = self.hulls[-1]
        near = self.distance(hull) <= BERTH_SHIFT * max(hull.length_m, last.length_m)
        return near and abs(hull.length_m - last.length_m) <= hypot(hull.error_m, last.error_m)

    def see(self, time: datetime, hull: Hull) -> None:
        self.times.append(time)
        self.hulls.append(hull)

    def call(self, site: str, zone: str, version: int) -> ShipCall:
        n = len(self.hulls)
        length = sum(h.length_m for h in self.hulls) / n
        error = sqrt(sum(h.error_m**2 for h in self.hulls)) / n
        return ShipCall(
            site,
            zone,
            self.empty,
            self.times[0],
            self.times[-1],
            self.gone,
            1,
            self.blind,
            version,
            length,
            error,
        )
