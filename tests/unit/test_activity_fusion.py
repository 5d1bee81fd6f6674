"""The fused stock: the oracle is the same Gaussian model solved as one linear system."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.activity.cases import case
from pipeline.activity.fusion import _drift, _merged, fuse
from pipeline.activity.nb import Z90
from pipeline.activity.records import Estimate

START = datetime(2023, 1, 1, tzinfo=UTC)


def look(day: float, value: float | None, half: float = 5.0, exposure: float = 1.0, estimator: str = "E1") -> Estimate:
    reason = "" if value is not None else "cloud 90 %"
    low, high = (None, None) if value is None else (max(0.0, value - half), value + half)
    return Estimate("s", "z", 1, "railcar", START + timedelta(days=day), value, low, high, exposure, estimator, reason)


LOOKS = [look(0, 40), look(10, 52, 8, estimator="E2"), look(11, 47), look(40, 20, 6), look(55, 33, 9, estimator="human")]


def test_the_smoother_solves_the_gaussian_model() -> None:
    asked = [START + timedelta(days=d) for d in (5, 25, 33, 70)]
    got = fuse(LOOKS, asked)
    merged = _merged(LOOKS)
    drift, times = _drift(merged), [s.time for s in got]
    n = len(times)
    precision, pull = np.zeros((n, n)), np.zeros(n)
    for i in range(n - 1):
        weight = 1 / (drift * (times[i + 1] - times[i]).total_seconds() * (1 / 86400))
        precision[i : i + 2, i : i + 2] += weight * np.array([[1, -1], [-1, 1]])
    for seen in merged:
        i = times.index(seen.time)
        precision[i, i] += 1 / seen.variance
        pull[i] += seen.value / seen.variance
    mean, sd = np.linalg.solve(precision, pull), np.sqrt(np.diag(np.linalg.inv(precision)))
    np.testing.assert_allclose([s.value for s in got], mean, rtol=1e-9)
    np.testing.assert_allclose([s.high for s in got], mean + Z90 * sd, rtol=1e-9)


def test_unseen_days_widen() -> None:
    days = [START + timedelta(days=d) for d in (12, 25, 39)]
    by_time = {s.time: s for s in fuse(LOOKS, days)}
    near, middle, end = ((s := by_time[t]).high - s.low for t in days)
    assert middle > near
    assert middle > end
    assert by_time[days[1]].since_look_days == pytest.approx(14)
    assert by_time[days[1]].estimators == ()


def test_two_estimators_of_one_look_weigh_by_their_errors() -> None:
    (both,) = fuse([look(0, 40, 4), look(0, 50, 8, estimator="E2")])
    assert both.value == pytest.approx(42)
    assert both.estimators == ("E1", "E2")
    (alone,) = fuse([look(0, 40, 4)])
    assert both.high - both.low < alone.high - alone.low


def test_half_a_zone_counts_for_the_whole_with_a_wider_error() -> None:
    (half,) = fuse([look(0, 20, 4, exposure=0.5)])
    (whole,) = fuse([look(0, 40, 4)])
    assert half.value == pytest.approx(whole.value)
    assert half.high - half.low > whole.high - whole.low


def test_what_was_not_observed_is_no_look() -> None:
    assert fuse([look(0, None)]) == []
    assert fuse([*LOOKS, look(30, None)]) == fuse(LOOKS)


def test_intervals_hold_the_walk_they_were_made_for() -> None:
    rng = np.random.default_rng(4)
    held = []
    for _ in range(200):
        stock = 60 + np.cumsum(rng.normal(0, 2.0, 200))
        days = np.sort(rng.choice(200, 40, replace=False))
        looks = [look(float(d), max(0.0, float(stock[d] + rng.normal(0, 3 / Z90))), 3.0) for d in days]
        hidden = [d for d in range(days[0], days[-1]) if d not in set(days.tolist())][::7]
        states = {s.time: s for s in fuse(looks, [START + timedelta(days=d) for d in hidden])}
        held += [(s := states[START + timedelta(days=d)]).low <= stock[d] <= s.high for d in hidden]
    assert 0.86 <= np.mean(held) <= 0.94


def test_outlines_are_never_mixed() -> None:
    with pytest.raises(ValueError, match="one zone version"):
        fuse([e for e in case("rajin") if e.cls == "vessel"] + LOOKS)
