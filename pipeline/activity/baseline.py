"""What a look is compared with: past looks of the same zone version and estimator family, outside a guard band.

A `Baseline` is frozen and can be written down: it names every look it rests on. A `Ledger` keeps the looks of one series in
order of time and hands out baselines; a new look costs one step, and a look that arrives late is put in its place.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

import numpy as np

from pipeline.activity.nb import F64, Predictive, Sufficient
from pipeline.activity.records import Estimate
from pipeline.config import ActivitySettings

FAMILIES = {
    "human": "count",  # METHOD 2.4: counts by eye and by detector make one series, the former with the 10 % term
    "E1": "count",
    "E2": "length",  # metres over metres per car; E3 only measures the divisor
    "E3": "length",
    "E4": "pile",
    "E5": "call",
    "E6": "coarse",
    "E7": "fusion",
}
"""Estimator id (METHOD 5) -> family; numbers of two families are never compared (METHOD 6.3)."""

OUTLIER = 2.58
"""Standardised residual above which a past look loses weight (farringtonFlexible's ``weightsThreshold``, METHOD 6.3)."""

SEASON_HISTORY = timedelta(days=730)
"""History needed before the season window is used (METHOD 6.3: "needs >= 2 years")."""

_YEAR_DAYS = 365.25


@dataclass(frozen=True, slots=True)
class Look:
    """One observed past look.

    Attributes:
        time: aware UTC.
        value: count, or metres.
        exposure: observable fraction, 0.2 to 1.
        weight: 1, or less for a look that was itself an outlier.
        ids: scenes it came from.
    """

    time: datetime
    value: float
    exposure: float
    weight: float = 1.0
    ids: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``2023-09-14 0``: the look as it stands in a list of evidence."""
        part = "" if self.exposure >= 1 else f" of {100 * self.exposure:.0f} %"
        return f"{self.time:%Y-%m-%d} {self.value:g}{part}"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The looks that one look is judged by.

    Attributes:
        looks: in order of time.
        before: looks at or after this time are not in it.
        guard_days: days between `before` and the look under test.
        seasonal: only looks of the same season are in it.
        total: sufficient statistics of `looks` at their weights.
    """

    looks: tuple[Look, ...]
    before: datetime
    guard_days: int
    seasonal: bool
    total: Sufficient

    def __len__(self) -> int:
        return len(self.looks)

    @property
    def largest(self) -> float | None:
        """Largest past value, None without looks."""
        return max((look.value for look in self.looks), default=None)

    @property
    def span(self) -> str:
        """``28 Oct 2022 to 14 Sep 2023``, empty without looks."""
        if not self.looks:
            return ""
        season = ", same season only" if self.seasonal else ""
        return f"{self.looks[0].time:%-d %b %Y} to {self.looks[-1].time:%-d %b %Y}{season}"

    def predictive(self) -> Predictive:
        """What the next look would show if nothing has changed."""
        return self.total.predictive()

    def to_json(self) -> dict[str, Any]:
        """JSON-able record; the statistics follow from the looks and are not written."""
        looks = [asdict(look) | {"time": look.time.isoformat(), "ids": list(look.ids)} for look in self.looks]
        return {
            "looks": looks,
            "before": self.before.isoformat(),
            "guard_days": self.guard_days,
            "seasonal": self.seasonal,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        looks = tuple(Look(**(r | {"time": datetime.fromisoformat(r["time"]), "ids": tuple(r["ids"])})) for r in record["looks"])
        before = datetime.fromisoformat(record["before"])
        return cls(looks, before, record["guard_days"], record["seasonal"], _statistics(looks))


@dataclass(slots=True)
class Ledger:
    """The observed looks of one series (site, zone, version, class, estimator family), in order of time.

    Not observed looks never enter, least of all as zeros (METHOD 8c.1).
    """

    looks: list[Look] = field(default_factory=list)
    _sum: Sufficient = field(default_factory=Sufficient)
    _summed: int = 0

    @classmethod
    def of(cls, estimates: Iterable[Estimate]) -> Self:
        """A ledger of the observed ones among the estimates."""
        ledger = cls()
        for estimate in sorted(estimates, key=lambda e: e.time):
            ledger.add(estimate)
        return ledger

    def add(self, estimate: Estimate) -> None:
        """Put a look in its place; nothing happens when it was not observed."""
        if estimate.value is None:
            return
        look = Look(estimate.time, estimate.value, estimate.exposure, ids=estimate.scene_ids)
        place = bisect_left(self.looks, look.time, key=lambda past: past.time)
        self.looks.insert(place, look)
        if place < self._summed:  # late: it belongs to what was already summed
            self._sum.add(look.value, look.exposure)
            self._summed += 1

    def baseline(self, time: datetime, settings: ActivitySettings) -> Baseline:
        """What a look at `time` is judged by: its own past only, less the guard band."""
        before = time - timedelta(days=settings.guard_days)
        count = bisect_left(self.looks, before, key=lambda past: past.time)
        past = self.looks[:count]
        same_season = _season(past, time, settings)
        if same_season is not None:
            looks = _weighted(same_season)
            return Baseline(looks, before, settings.guard_days, True, _statistics(looks))
        looks = _weighted(past)
        total = self._summed_to(count).copy()
        for look in looks:
            if look.weight < 1:
                total.add(look.value, look.exposure, look.weight - 1)
        return Baseline(looks, before, settings.guard_days, False, total)

    def guarded(self, time: datetime, days: int) -> tuple[Look, ...]:
        """Looks in the `days` before `time`, the look at `time` itself left out."""
        first = bisect_left(self.looks, time - timedelta(days=days), key=lambda past: past.time)
        last = bisect_left(self.looks, time, key=lambda past: past.time)
        return tuple(self.looks[first:last])

    def _summed_to(self, count: int) -> Sufficient:
        if count < self._summed:  # asked about an earlier day: the sums start again
            self._sum, self._summed = Sufficient(), 0
        for look in self.looks[self._summed : count]:
            self._sum.add(look.value, look.exposure)
        self._summed = count
        return self._sum


def _statistics(looks: Iterable[Look]) -> Sufficient:
    total = Sufficient()
    for look in looks:
        total.add(look.value, look.exposure, look.weight)
    return total


def _season(past: Sequence[Look], time: datetime, settings: ActivitySettings) -> list[Look] | None:
    """Past looks of the same season, when the history is long enough and leaves enough of them."""
    if not settings.season_days or not past or time - past[0].time < SEASON_HISTORY:
        return None
    kept = [look for look in past if _season_distance(look.time, time) <= settings.season_days]
    return kept if len(kept) >= settings.min_looks_spike else None


def _season_distance(a: datetime, b: datetime) -> float:
    """Days between two dates' places in the year, 0 to 183."""
    apart = abs((b - a).total_seconds()) / 86400 % _YEAR_DAYS
    return min(apart, _YEAR_DAYS - apart)


def _weighted(looks: Sequence[Look]) -> tuple[Look, ...]:
    """Looks far above the others lose weight, as in Farrington's method: ``(2.58 / residual)^2`` above 2.58.

    The residual is Anscombe's for a Poisson mean, over the root of the overdispersion of the looks themselves
    (Noufaily et al. 2013, Stat. Med. 32, 1206).
    """
    if len(looks) < 3:
        return tuple(looks)
    residual = _residuals(np.array([x.value for x in looks]), np.array([x.exposure for x in looks]))
    weights = np.where(residual > OUTLIER, (OUTLIER / np.maximum(residual, OUTLIER)) ** 2, 1.0)
    return tuple(
        look if w == 1.0 else Look(look.time, look.value, look.exposure, float(w), look.ids)
        for look, w in zip(looks, weights, strict=True)
    )


def _residuals(values: F64, exposures: F64) -> F64:
    mean = exposures * max(values.sum() / exposures.sum(), 1e-6)
    dispersion = max(1.0, float(((values - mean) ** 2 / mean).sum()) / (len(values) - 1))
    return np.asarray(1.5 * (values ** (2 / 3) * mean ** (-1 / 6) - mean**0.5) / dispersion**0.5)
