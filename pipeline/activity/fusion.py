"""What stood in a zone on any day, from all estimators together, days without a look included (METHOD 5, E7).

A latent stock that drifts: every look pulls it by the inverse of its own variance, whichever estimator made it; every day without
one lets it widen by what arrives and leaves at that place. The drift comes from the looks themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import sqrt

from pipeline.activity.nb import Z90
from pipeline.activity.records import Estimate

LEAST_SD = 0.5
"""Least error of a look, in units of the count: a whole number is known to a half."""


@dataclass(frozen=True, slots=True)
class Stock:
    """The stock at one time.

    Attributes:
        time: aware UTC.
        value, low, high: number, and its 90 % interval; `low` is never negative.
        since_look_days: days to the nearest look; 0 on a look.
        estimators: ids that were fused at this very time, empty between looks.
    """

    time: datetime
    value: float
    low: float
    high: float
    since_look_days: float
    estimators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneStock:
    """The stock of one class in one zone version."""

    site: str
    zone: str
    zone_version: int
    cls: str
    stock: Stock

    def record(self) -> dict[str, str | int | float | bool]:
        """One flat record; ``inferred`` where nobody looked at that very time."""
        s = self.stock
        return {
            "site": self.site,
            "zone": self.zone,
            "zone_version": self.zone_version,
            "class": self.cls,
            "date": s.time.isoformat(),
            "value": s.value,
            "low": s.low,
            "high": s.high,
            "days_from_look": s.since_look_days,
            "inferred": not s.estimators,
            "estimator": "E7",
        }

    def sentence(self) -> str:
        """What to say of it."""
        s = self.stock
        how = "from the looks of that time" if s.estimators else f"inferred, {s.since_look_days:.0f} days from the nearest look"
        name = self.cls.replace("_", " ")
        where = f"{self.site}, zone {self.zone} (outline {self.zone_version}), {s.time:%-d %b %Y}"
        return f"{where}: {name} about {s.value:.0f} (90 % interval {s.low:.0f} to {s.high:.0f}), {how}."


def stock_on(estimates: Sequence[Estimate], day: datetime) -> list[ZoneStock]:
    """What stood in every zone on a day that begins at `day`, UTC, whether or not anybody looked.

    At the last look of the day, else at 00:00; series without a usable look are left out.
    """
    series: dict[tuple[str, str, int, str], list[Estimate]] = {}
    for e in estimates:
        series.setdefault((e.site, e.zone, e.zone_version, e.cls), []).append(e)
    found = []
    for key, looks in sorted(series.items()):
        time = max((e.time for e in looks if e.value is not None and e.time.date() == day.date()), default=day)
        found += [ZoneStock(*key, state) for state in fuse(looks, [time]) if state.time == time]
    return found


def fuse(estimates: Sequence[Estimate], at: Sequence[datetime] = ()) -> list[Stock]:
    """Stock of one zone version and class at every look and at the times asked for.

    Filter and smoother of the local-level model (Durbin & Koopman 2012, section 2); a look that saw a share `f` of the zone is
    scaled to all of it and its error with it. A look that saw nothing is no look.

    Args:
        estimates: of one zone version and one class, in any order, any mixture of estimators.
        at: further times.

    Returns:
        In order of time; empty without a usable look.

    Raises:
        ValueError: estimates of several zones, versions or classes.
    """
    if len({(e.site, e.zone, e.zone_version, e.cls) for e in estimates}) > 1:
        raise ValueError("only one zone version and one class can be fused; numbers of two outlines are never mixed")
    looks = _merged(estimates)
    if not looks:
        return []
    times = sorted({*(look.time for look in looks), *at})
    drift = _drift(looks)
    by_time = {look.time: look for look in looks}
    states = _smooth(times, by_time, drift)
    out = []
    for time, (mean, variance) in zip(times, states, strict=True):
        half = Z90 * sqrt(variance)
        days = min(abs((time - look.time).total_seconds()) / 86400 for look in looks)
        known = by_time[time].estimators if time in by_time else ()
        out.append(Stock(time, max(0.0, mean), max(0.0, mean - half), max(0.0, mean + half), days, known))
    return out


@dataclass(frozen=True, slots=True)
class _Look:
    time: datetime
    value: float
    variance: float
    estimators: tuple[str, ...]


def _merged(estimates: Sequence[Estimate]) -> list[_Look]:
    """Looks in order of time, those of one time weighted by the inverse of their variances."""
    groups: dict[datetime, list[Estimate]] = {}
    for e in estimates:
        if e.value is not None and e.exposure > 0:
            groups.setdefault(e.time, []).append(e)
    out = []
    for time, group in sorted(groups.items()):
        weights = [1 / _variance(e) for e in group]
        value = sum(w * (e.value or 0.0) / e.exposure for w, e in zip(weights, group, strict=True)) / sum(weights)
        out.append(_Look(time, value, 1 / sum(weights), tuple(sorted({e.estimator for e in group}))))
    return out


def _variance(e: Estimate) -> float:
    """Of the value scaled to the whole zone; what stood on the unseen part is as uncertain as a Poisson count."""
    assert e.value is not None
    half = (e.high - e.low) / (2 * Z90) if e.low is not None and e.high is not None else 0.0
    unseen = max(e.value, 1.0) * (1 - e.exposure) / e.exposure**2
    return max(half / e.exposure, LEAST_SD) ** 2 + unseen


def _drift(looks: Sequence[_Look]) -> float:
    """Variance that a day adds: mean over pairs of consecutive looks of what their difference shows beyond their errors."""
    shown = [((b.value - a.value) ** 2 - a.variance - b.variance, _days(a.time, b.time)) for a, b in pairwise(looks)]
    total = sum(days for _, days in shown)
    floor = max(sum(look.value for look in looks) / len(looks), 1.0) / 365.25  # a stock that never moved may still, within the year
    return max(sum(excess for excess, _ in shown) / total if total > 0 else floor, floor)


def _smooth(times: Sequence[datetime], looks: dict[datetime, _Look], drift: float) -> list[tuple[float, float]]:
    """Smoothed mean and variance at each time; times before the first look are reached backwards."""
    known = [i for i, t in enumerate(times) if t in looks]
    start = looks[times[known[0]]]
    mean, variance = start.value, start.variance
    filtered: list[tuple[float, float]] = [(mean, variance)]
    for before, time in pairwise(times[known[0] :]):
        variance += drift * _days(before, time)
        look = looks.get(time)
        if look is not None:
            gain = variance / (variance + look.variance)
            mean, variance = mean + gain * (look.value - mean), (1 - gain) * variance
        filtered.append((mean, variance))
    smoothed = [filtered[-1]]
    late = times[known[0] :]
    for i in range(len(filtered) - 2, -1, -1):
        (m, v), (ahead, ahead_v) = filtered[i], smoothed[-1]
        predicted = v + drift * _days(late[i], late[i + 1])
        back = v / predicted
        smoothed.append((m + back * (ahead - m), v + back**2 * (ahead_v - predicted)))
    smoothed.reverse()
    first_mean, first_variance = smoothed[0]
    early = [(first_mean, first_variance + drift * _days(t, times[known[0]])) for t in times[: known[0]]]
    return early + smoothed


def _days(a: datetime, b: datetime) -> float:
    return (b - a).total_seconds() / 86400
