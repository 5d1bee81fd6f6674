"""Ship calls: brackets, dwell, hulls, voyages; unseen looks widen and never end a call."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from models import CLASSES
from pipeline.activity.calls import Hull, HullLook, ShipCall, hull_calls, inferred_calls
from pipeline.activity.records import Estimate
from pipeline.activity.voyages import AtLeast, RouteVoyages, usable_rate, voyages
from pipeline.change.records import Kind, ObjectChanges

START = datetime(2023, 9, 1, tzinfo=UTC)
BERTH = ("berth", 1)


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def ship(x: float, length: float, gsd: float = 3.0, row: int = 0) -> Hull:
    return Hull(BERTH, x, 0.0, length, gsd, row)


def fates(*rows: tuple[Kind, int, int]) -> ObjectChanges:
    kind, before, after = (np.array([row[k] for row in rows]) for k in range(3))
    vessel = np.full(len(rows), CLASSES.index("vessel"), np.uint8)
    return ObjectChanges(kind.astype(np.uint8), before, after, np.zeros(len(rows)), vessel, ("",) * len(rows))


def berth(*looks: tuple[Hull, ...] | int | None) -> list[ShipCall]:
    """Calls of looks a day apart: hulls, or how many stand one behind the other; None where the berth could not be seen."""
    rows = [tuple(ship(300 * i, 100, row=i) for i in range(hulls)) if isinstance(hulls, int) else hulls for hulls in looks]
    shown = [frozenset({BERTH} if hulls is not None else ()) for hulls in rows]
    return hull_calls("port", [HullLook(day(k), hulls or (), seen) for k, (hulls, seen) in enumerate(zip(rows, shown, strict=True))])


def counted(values: list[int | None], cls: str, zone: str) -> list[Estimate]:
    return [
        Estimate("port", zone, 1, cls, day(i), None if v is None else float(v), v, v, float(v is not None), "E5",
                 not_observed="cloud" if v is None else "")
        for i, v in enumerate(values)
    ]  # fmt: skip


def test_a_call_is_bracketed_by_the_looks_around_it() -> None:
    (call,) = berth(0, 0, 1, 1, 1, 0, 0)
    assert (call.last_empty, call.first_seen, call.last_seen, call.first_empty) == (day(1), day(2), day(4), day(5))
    assert call.dwell_days == (2.0, 4.0)


def test_clouds_widen_the_bracket_and_end_nothing() -> None:
    (call,) = berth(0, None, 1, None, 1, None, None, 0)
    assert (call.last_empty, call.first_empty) == (day(0), day(7))
    assert call.unseen_looks == 4
    assert call.dwell_days == (2.0, 7.0)


def test_open_ends_stay_open() -> None:
    (call,) = berth(1, 1)
    assert call.dwell_days == (1.0, None)
    assert (call.last_empty, call.first_empty) == (None, None)
    assert berth(0, None, None) == []
    assert len(berth(1, 0, 1, 0, None, 1)) == 3


def test_no_call_begins_or_ends_at_a_look_that_could_not_be_seen() -> None:
    rng = np.random.default_rng(4)
    for _ in range(1000):
        values = [None if rng.uniform() < 0.4 else int(rng.integers(0, 3)) for _ in range(20)]
        unseen = {day(i) for i, v in enumerate(values) if v is None}
        for call in berth(*values):
            assert not {call.last_empty, call.first_seen, call.last_seen, call.first_empty} & unseen


def test_two_ships_at_one_quay_are_two_calls() -> None:
    first, second = berth((), (ship(0, 115),), None, (ship(6, 117), ship(200, 180, row=1)), (ship(201, 178),), ())
    assert (first.last_empty, first.first_seen, first.last_seen, first.first_empty) == (day(0), day(1), day(3), day(4))
    assert (first.unseen_looks, first.length_m) == (1, 116.0)
    assert (second.last_empty, second.first_seen, second.first_empty) == (day(1), day(3), day(5))


def test_another_length_at_the_same_place_is_another_ship() -> None:
    calls = berth((ship(0, 115),), (ship(0, 150),))
    assert [round(c.length_m or 0) for c in calls] == [115, 150]


def followed(*looks: tuple[tuple[Hull, ...], ObjectChanges | None]) -> list[ShipCall]:
    """Calls of looks a day apart that all show the berth."""
    return hull_calls("port", [HullLook(day(k), hulls, frozenset({BERTH}), changes) for k, (hulls, changes) in enumerate(looks)])


def test_a_hull_that_one_look_only_missed_has_not_left() -> None:
    here = (ship(0, 100, row=0),)
    for missed in (Kind.PERSISTED, Kind.UNCERTAIN, Kind.UNOBSERVABLE):
        back = Kind.UNCERTAIN if missed == Kind.PERSISTED else missed
        (call,) = followed((here, None), ((), fates((missed, 0, -1))), (here, fates((back, -1, 0))))
        assert (call.first_seen, call.last_seen, call.first_empty) == (day(0), day(2), None)
        assert call.unseen_looks == (missed != Kind.PERSISTED)
    left, came = followed((here, None), ((), fates((Kind.DEPARTED, 0, -1))), (here, fates((Kind.APPEARED, -1, 0))))
    assert (left.first_empty, came.last_empty) == (day(1), day(1))


def test_what_the_look_before_shows_weakly_was_there() -> None:
    (call,) = followed(((), None), ((), None), ((ship(0, 100, row=0),), fates((Kind.PERSISTED, -1, 0))))
    assert (call.last_empty, call.first_seen) == (day(0), day(1))


def test_a_hull_is_followed_where_it_moves_and_another_may_have_followed_it() -> None:
    looks = [((ship(0, 100, row=2),), None)]
    looks += [((ship(90, 100, row=0),), fates((Kind.MOVED, 2, 0))), ((ship(95, 130, row=1),), fates((Kind.UNCERTAIN, 0, 1)))]
    (call,) = followed(*looks)
    assert (call.first_seen, call.last_seen) == (day(0), day(2))
    new, old = (ship(0, 102, row=1),), (ship(0, 100, row=0),)
    changes = fates((Kind.DEPARTED, 0, -1), (Kind.APPEARED, -1, 1))
    assert len(followed((old, None), (new, changes))) == 2  # of like length, and told apart by what they show


def test_a_length_errs_as_much_as_the_head_that_measured_it() -> None:
    assert ship(0, 115).error_m / 115 == pytest.approx(0.14, abs=0.01)  # nine of ten rendered hulls at 3 m
    assert 0.17 <= ship(0, 115, gsd=10).error_m / 115 <= 0.21


def test_stock_that_leaves_under_a_known_ship_infers_nothing() -> None:
    stock = counted([3, 3, 0, 0, 2], "container", "quay")
    assert inferred_calls(stock, berth(0, 1, 1, 0, 0)) == []
    (call,) = inferred_calls(stock, berth(0, 0, 0, 0, 0))
    assert (call.last_empty, call.first_empty, call.inferred, call.dwell_days[0]) == (day(1), day(2), True, 0.0)


def call(first: float, last: float, length: float | None = None, *, inferred: bool = False) -> ShipCall:
    error = None if length is None else 5.0
    return ShipCall("port", "berth", day(first - 1), day(first), day(last), day(last + 1), 0, 1, length, error, inferred)


def test_voyages_use_each_call_once_and_count_from_below() -> None:
    loads = [call(1, 2, 115), call(10, 12, 120), call(30, 31)]
    deliveries = [call(4, 5, 117), call(5, 6, 180), call(15, 16, 121), call(33, 34, inferred=True)]
    found, bound = voyages(loads, deliveries, timedelta(days=1), timedelta(days=4))
    assert [(v.loaded.first_seen, v.delivered.first_seen) for v in found] == [
        (day(1), day(4)),
        (day(10), day(15)),
        (day(30), day(33)),
    ]
    assert [v.inferred for v in found] == [False, False, True]
    assert str(bound) == "at least 2"


def test_a_call_before_the_departure_delivers_nothing() -> None:
    found, bound = voyages([call(10, 12)], [call(3, 5)], timedelta(days=1), timedelta(days=9))
    assert found == []
    assert bound.count == 0


@pytest.mark.parametrize("gap", [30, 60])
def test_a_ship_that_comes_back_too_late_is_another_voyage(gap: float) -> None:
    found, _ = voyages([call(1, 2)], [call(gap, gap + 1)], timedelta(days=1), timedelta(days=6))
    assert found == []


def test_the_likely_number_follows_from_how_often_both_ends_are_seen() -> None:
    rate = usable_rate(counted([0, None, 1, None, None, 0, None, None], "vessel", "berth"))
    assert rate == 3 / 8
    known = voyages([call(1, 2, 115), call(10, 12, 120)], [call(4, 5, 117), call(15, 16, 121)], timedelta(days=1), timedelta(days=4))
    route = RouteVoyages.of("rajin", "dunai", known, (rate, 0.5))
    assert route.bound == AtLeast(2)
    assert route.likely == pytest.approx(2 / ((1 - (5 / 8) ** 2) * 0.75))
    assert RouteVoyages.of("rajin", "dunai", known, (0.0, 0.5)).likely is None
    assert usable_rate([]) == 0.0
