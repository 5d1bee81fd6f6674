"""Ship calls: brackets, dwell, hulls, voyages; unseen looks widen and never end a call."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.activity.calls import BerthLook, Hull, ShipCall, hull_calls, inferred_calls, ship_calls
from pipeline.activity.records import Estimate
from pipeline.activity.voyages import voyages

START = datetime(2023, 9, 1, tzinfo=UTC)


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def looks(values: list[int | None], cls: str = "vessel", zone: str = "berth") -> list[Estimate]:
    return [
        Estimate("port", zone, 1, cls, day(i), None if v is None else float(v), v, v, float(v is not None), "E5",
                 not_observed="cloud" if v is None else "")
        for i, v in enumerate(values)
    ]  # fmt: skip


def test_a_call_is_bracketed_by_the_looks_around_it() -> None:
    (call,) = ship_calls(looks([0, 0, 1, 2, 1, 0, 0]))
    assert (call.last_empty, call.first_seen, call.last_seen, call.first_empty) == (day(1), day(2), day(4), day(5))
    assert call.most == 2
    assert call.dwell_days == (2.0, 4.0)


def test_clouds_widen_the_bracket_and_end_nothing() -> None:
    (call,) = ship_calls(looks([0, None, 1, None, 1, None, None, 0]))
    assert (call.last_empty, call.first_empty) == (day(0), day(7))
    assert call.unseen_looks == 4
    assert call.dwell_days == (2.0, 7.0)


def test_open_ends_stay_open() -> None:
    (call,) = ship_calls(looks([1, 1]))
    assert call.dwell_days == (1.0, None)
    assert (call.last_empty, call.first_empty) == (None, None)
    assert ship_calls(looks([0, None, None])) == []
    assert len(ship_calls(looks([1, 0, 1, 0, None, 1]))) == 3


def test_no_call_begins_or_ends_at_a_look_that_could_not_be_seen() -> None:
    rng = np.random.default_rng(4)
    for _ in range(1000):
        values = [None if rng.uniform() < 0.4 else int(rng.uniform() < 0.4) for _ in range(20)]
        unseen = {day(i) for i, v in enumerate(values) if v is None}
        for call in ship_calls(looks(values)):
            assert not {call.last_empty, call.first_seen, call.last_seen, call.first_empty} & unseen


def ship(x: float, length: float, gsd: float = 3.0) -> Hull:
    return Hull(x, 0.0, length, gsd)


def test_two_ships_at_one_quay_are_two_calls() -> None:
    calls = hull_calls(
        "port",
        "berth",
        [
            BerthLook(day(0), ()),
            BerthLook(day(1), (ship(0, 115),)),
            BerthLook(day(2), None),
            BerthLook(day(3), (ship(6, 117), ship(200, 180))),
            BerthLook(day(4), (ship(201, 178),)),
            BerthLook(day(5), ()),
        ],
    )
    first, second = calls
    assert (first.last_empty, first.first_seen, first.last_seen, first.first_empty) == (day(0), day(1), day(3), day(4))
    assert (first.unseen_looks, first.length_m) == (1, 116.0)
    assert (second.last_empty, second.first_seen, second.first_empty) == (day(1), day(3), day(5))


def test_another_length_at_the_same_place_is_another_ship() -> None:
    calls = hull_calls("port", "berth", [BerthLook(day(0), (ship(0, 115),)), BerthLook(day(1), (ship(0, 150),))])
    assert [round(c.length_m or 0) for c in calls] == [115, 150]


def test_hull_error_at_three_metres() -> None:
    assert 4 <= ship(0, 115).error_m <= 6  # METHOD 4.3


def test_stock_that_leaves_under_a_known_ship_infers_nothing() -> None:
    stock = looks([3, 3, 0, 0, 2], cls="container", zone="quay")
    with_ship = ship_calls(looks([0, 1, 1, 0, 0]))
    assert inferred_calls(stock, with_ship) == []
    (call,) = inferred_calls(stock, ship_calls(looks([0, 0, 0, 0, 0])))
    assert (call.last_empty, call.first_empty, call.inferred, call.dwell_days[0]) == (day(1), day(2), True, 0.0)


def call(first: float, last: float, length: float | None = None, *, inferred: bool = False) -> ShipCall:
    error = None if length is None else 5.0
    return ShipCall("port", "berth", day(first - 1), day(first), day(last), day(last + 1), 1, 0, 1, length, error, inferred)


def test_voyages_use_each_call_once_and_count_from_below() -> None:
    loads = [call(1, 2, 115), call(10, 12, 120), call(30, 31)]
    deliveries = [call(4, 5, 117), call(5, 6, 180), call(15, 16, 121), call(33, 34, inferred=True)]
    found, bound = voyages(loads, deliveries, shortest=timedelta(days=1), longest=timedelta(days=4))
    assert [(v.loaded.first_seen, v.delivered.first_seen) for v in found] == [
        (day(1), day(4)),
        (day(10), day(15)),
        (day(30), day(33)),
    ]
    assert [v.inferred for v in found] == [False, False, True]
    assert str(bound) == "at least 2"


def test_a_call_before_the_departure_delivers_nothing() -> None:
    found, bound = voyages([call(10, 12)], [call(3, 5)], shortest=timedelta(days=1), longest=timedelta(days=9))
    assert found == []
    assert bound.count == 0


@pytest.mark.parametrize("gap", [30, 60])
def test_a_ship_that_comes_back_too_late_is_another_voyage(gap: float) -> None:
    found, _ = voyages([call(1, 2)], [call(gap, gap + 1)], shortest=timedelta(days=1), longest=timedelta(days=6))
    assert found == []
