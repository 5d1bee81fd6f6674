"""What came and went, zone by zone: the fates of a compared pair, and the change of the count with both looks' errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from models import CLASSES, Detections
from pipeline.activity.estimate import in_zone
from pipeline.activity.records import Estimate
from pipeline.change.records import Kind, ObjectChanges
from pipeline.site import Zone

COMPARABLE = 0.9
"""Exposure that both looks need for a difference of counts: what one look did not see cannot have come or gone."""


@dataclass(frozen=True, slots=True)
class ZoneChange:
    """One class in one zone between two looks.

    Attributes:
        site, zone: key of the zone with its version.
        cls: class name.
        before, after: scene ids.
        fates: objects by kind of fate, every kind present.
        difference: count of the later look less that of the earlier; None where either was not observed well enough.
        low, high: its 90 % interval, from both looks' intervals in quadrature.
    """

    site: str
    zone: str
    cls: str
    before: str
    after: str
    fates: Mapping[str, int]
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """One look of a pair: scene id, its detections as they were compared, and zone outlines by key, in its pixels."""

    scene: str
    detections: Detections
    outlines: Mapping[str, BaseGeometry]

    def inside(self, key: str) -> NDArray[np.bool_]:
        """(N,) which detections lie in a zone; none where the look does not reach it."""
        if key not in self.outlines:
            return np.zeros(len(self.detections), np.bool_)
        return in_zone(self.detections, self.outlines[key])


def zone_changes(
    site: str, zones: Sequence[Zone], objects: ObjectChanges, before: Side, after: Side, estimates: Sequence[Estimate]
) -> list[ZoneChange]:
    """Every zone and class that holds an object on either look.

    Args:
        site: site id.
        zones: zone versions that hold on the later look.
        objects: fates of the detections of both looks.
        before: the earlier look.
        after: the later look.
        estimates: of the site.
    """
    rows = []
    for zone in zones:
        member = _members(objects, before.inside(zone.key), after.inside(zone.key))
        for cls in zone.classes:
            mine = member & (objects.classes == CLASSES.index(cls))
            fates = {k.name.lower(): int((objects.kind[mine] == k).sum()) for k in Kind}
            if any(fates.values()):
                first, last = (_estimate(estimates, s.scene, zone, cls) for s in (before, after))
                names = (site, zone.key, str(cls), before.scene, after.scene)
                rows.append(ZoneChange(*names, fates, *count_difference(first, last)))
    return rows


def _members(objects: ObjectChanges, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(M,) whether a fate belongs to a zone: by the later place of an object where it has one, else by the earlier."""
    last, first = objects.after >= 0, (objects.after < 0) & (objects.before >= 0)
    member = np.zeros(len(objects), np.bool_)
    member[last] = after[objects.after[last]]
    member[first] = before[objects.before[first]]
    return member


def _estimate(estimates: Sequence[Estimate], scene: str, zone: Zone, cls: str) -> Estimate | None:
    mine = (e for e in estimates if scene in e.scene_ids and (e.zone, e.zone_version, e.cls) == (zone.id, zone.version, cls))
    return next(mine, None)


def count_difference(before: Estimate | None, after: Estimate | None) -> tuple[float | None, float | None, float | None]:
    """Later less earlier count, with its 90 % interval; three None where one of them cannot be compared.

    The two looks err on their own, so the arms of their intervals add in quadrature.
    """
    if (
        before is None
        or after is None
        or before.value is None
        or after.value is None
        or min(before.exposure, after.exposure) < COMPARABLE
    ):
        return None, None, None
    assert before.low is not None
    assert before.high is not None
    assert after.low is not None
    assert after.high is not None
    change = after.value - before.value
    down = hypot(after.value - after.low, before.high - before.value)
    up = hypot(after.high - after.value, before.value - before.low)
    return change, change - down, change + up
