"""Fates by zone, and the difference of two counts with both looks' errors."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from shapely.geometry import box

from models import Detections
from pipeline.activity.records import Estimate
from pipeline.activity.zonal import Side, count_difference, zone_changes
from pipeline.change.records import Kind, ObjectChanges
from pipeline.site import Zone

QUAY = Zone.model_validate(
    {
        "id": "quay",
        "kind": "berth",
        "classes": ["vessel"],
        "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [100, 0], [100, 50], [0, 50], [0, 0]]]},
    }
)


def ships(*x: float) -> Detections:
    boxes = np.array([[v, 20.0, 30.0, 6.0, 0.0] for v in x])
    return Detections.build(boxes, np.linspace(0.9, 0.5, len(x)), np.full(len(x), 2))


def estimate(value: float, low: float, high: float, exposure: float = 1.0) -> Estimate:
    return Estimate("port", "quay", 1, "vessel", datetime(2024, 1, 1, tzinfo=UTC), value, low, high, exposure, "E1", scene_ids=("a",))


def test_an_object_belongs_to_the_zone_it_came_to_or_left() -> None:
    """Before: at 20 (stays), 60 (leaves), 150 (outside). After: 20, 80 (came), 90 (moved in from 150)."""
    before, after = ships(20, 60, 150), ships(20, 80, 90)
    kinds = np.array([Kind.PERSISTED, Kind.DEPARTED, Kind.MOVED, Kind.APPEARED], np.uint8)
    objects = ObjectChanges(kinds, np.array([0, 1, 2, -1]), np.array([0, -1, 2, 1]), np.zeros(4), np.full(4, 2, np.uint8), ("",) * 4)
    shapes = {QUAY.key: box(0, 0, 100, 50)}
    later = replace(estimate(3, 2, 4), scene_ids=("b",))
    (row,) = zone_changes("port", [QUAY], objects, Side("a", before, shapes), Side("b", after, shapes), [estimate(2, 1, 3), later])
    assert {k: v for k, v in row.fates.items() if v} == {"appeared": 1, "departed": 1, "moved": 1, "persisted": 1}
    assert (row.difference, row.low, row.high) == pytest.approx((1.0, 1 - 2**0.5, 1 + 2**0.5))


def test_a_zone_without_objects_or_out_of_sight_has_no_row() -> None:
    none = ObjectChanges(np.zeros(0, np.uint8), *(np.zeros(0, np.int64),) * 2, np.zeros(0), np.zeros(0, np.uint8), ())
    empty = Side("a", Detections.empty(), {})
    assert zone_changes("port", [QUAY], none, empty, empty, []) == []


def test_counts_are_compared_only_where_both_looks_saw_the_zone() -> None:
    assert count_difference(estimate(10, 8, 13), estimate(4, 3, 6)) == pytest.approx((-6, -6 - 10**0.5, -6 + 8**0.5))
    assert count_difference(estimate(10, 8, 13), estimate(4, 3, 6, exposure=0.6)) == (None, None, None)
    assert count_difference(None, estimate(4, 3, 6)) == (None, None, None)
