"""Is this more, or less, than this place has ever shown? One `Alert` per judged look (METHOD 6, issue of verdicts).

Every look is judged by its own past: the baseline of a look holds no later look, so a chart of verdicts never changes when
time goes on, except by looks that arrive late.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from pipeline.activity import wording
from pipeline.activity.baseline import FAMILIES, Baseline, Ledger, Look
from pipeline.activity.cusum import BuildUp, build_up
from pipeline.activity.nb import Count, Predictive, q_values
from pipeline.activity.records import NO_VALUE_BELOW, Alert, Estimate, Verdict
from pipeline.config import ActivitySettings

CONTAMINATION_DAYS = 28
"""Looks this short before the one under test may belong to the same build-up (METHOD 6.3's guard band, T3)."""

CONTAMINATION_P = 0.10
"""A look in that stretch counts as high below this p: 64 and 36 cars (p = 0.018, 0.068) were, METHOD 2.4 T3."""

SeriesKey = tuple[str, str, int, str, str]
"""Site, zone, zone version, class, estimator family."""


def series_key(estimate: Estimate) -> SeriesKey:
    """The series an estimate belongs to; numbers of two series are never compared."""
    family = FAMILIES.get(estimate.estimator, estimate.estimator)
    return estimate.site, estimate.zone, estimate.zone_version, estimate.cls, family


def judge(
    estimates: Sequence[Estimate],
    settings: ActivitySettings,
    which: Literal["last", "all"] = "last",
) -> list[Alert]:
    """Judge looks against their own past.

    Args:
        estimates: any number of sites, zones, classes and looks, in any order; scenes of one day already merged.
        settings: levels, guard band, minimum looks.
        which: ``last`` judges the last look of every site, zone and class and adjusts p over all of them together; ``all``
            judges every look, and adjusts p over what was judged for the same day.

    Returns:
        One alert per judged look, also for looks that raise nothing, ordered by time, site, zone, class.
    """
    ordered = sorted(estimates, key=lambda e: (e.time, *series_key(e)))
    chosen = _last(ordered) if which == "last" else ordered
    ledgers = _ledgers(ordered)
    judged = [_judge_one(e, ledgers[series_key(e)], settings) for e in chosen]
    families = [judged] if which == "last" else [list(g) for _, g in groupby(judged, lambda j: j.estimate.time.date())]
    return [_alert(j, q, settings) for family in families for j, q in zip(family, _adjust(family), strict=True)]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One look with its baseline and test, before adjustment for the number of tests."""

    estimate: Estimate
    baseline: Baseline
    expected: float | None = None
    band: tuple[float, float] | None = None
    p: float | None = None
    surge: bool = True
    contaminated: int = 0
    rise: BuildUp | None = None


def _last(ordered: Sequence[Estimate]) -> list[Estimate]:
    """The last look of every (site, zone, class); two estimators of one look are both kept."""
    latest = {(e.site, e.zone, e.cls): e.time for e in ordered}
    return [e for e in ordered if latest[e.site, e.zone, e.cls] == e.time]


def _ledgers(ordered: Sequence[Estimate]) -> dict[SeriesKey, Ledger]:
    ledgers: dict[SeriesKey, Ledger] = {}
    for estimate in ordered:
        ledger = ledgers.setdefault(series_key(estimate), Ledger())
        if estimate.exposure >= NO_VALUE_BELOW:
            ledger.add(estimate)
    return ledgers


def _judge_one(estimate: Estimate, ledger: Ledger, settings: ActivitySettings) -> _Judged:
    baseline = ledger.baseline(estimate.time, settings)
    if len(baseline) < settings.min_looks_p:
        return _Judged(estimate, baseline)
    predictive = baseline.predictive()
    exposure = max(estimate.exposure, NO_VALUE_BELOW)
    expected, band = predictive.mean(exposure), predictive.band(exposure)
    if estimate.value is None or estimate.exposure < NO_VALUE_BELOW:
        return _Judged(estimate, baseline, expected, band)
    p, surge = _test(estimate, predictive)
    high = _high_before(estimate, ledger, settings)
    return _Judged(estimate, baseline, expected, band, p, surge, high, _rise(estimate, ledger, predictive, settings))


def _rise(estimate: Estimate, ledger: Ledger, predictive: Predictive, settings: ActivitySettings) -> BuildUp | None:
    """The looks of the guard band and this one together; None when the band holds no other look."""
    earlier = ledger.guarded(estimate.time, settings.guard_days)
    if not earlier:
        return None
    assert estimate.value is not None
    return build_up(predictive, [*earlier, Look(estimate.time, estimate.value, estimate.exposure)])


def _test(estimate: Estimate, predictive: Predictive) -> tuple[float, bool]:
    """One-sided p on the side where the count lies, and whether that is the upper side; "at least" so many are never too few."""
    assert estimate.value is not None
    low, high = estimate.low, estimate.high
    count = Count(estimate.value, estimate.value if low is None else low, estimate.value if high is None else high)
    surge, drop = predictive.surge_p(count, estimate.exposure), predictive.drop_p(count, estimate.exposure)
    return (surge, True) if surge <= drop or estimate.lower_bound else (drop, False)


def _high_before(estimate: Estimate, ledger: Ledger, settings: ActivitySettings) -> int:
    """How many looks of the last 28 days are high themselves by what was seen before them (METHOD 2.4, T3)."""
    days = max(settings.guard_days, CONTAMINATION_DAYS)
    recent = ledger.guarded(estimate.time, days)
    if not recent:
        return 0
    frozen = ledger.baseline(estimate.time, settings.model_copy(update={"guard_days": days}))
    if len(frozen) < settings.min_looks_p:
        return 0
    predictive = frozen.predictive()
    return sum(float(predictive.at_least(x.value, x.exposure)[0]) < CONTAMINATION_P for x in recent)


def _adjust(family: Sequence[_Judged]) -> list[float | None]:
    q = q_values({i: j.p for i, j in enumerate(family) if j.p is not None})
    return [q.get(i) for i in range(len(family))]


def _verdict(judged: _Judged, q: float | None, settings: ActivitySettings) -> Verdict:
    if judged.estimate.value is None or judged.estimate.exposure < NO_VALUE_BELOW:
        return "not observed"
    if judged.p is None or q is None:
        return "insufficient baseline"
    size = judged.estimate.value if judged.surge else judged.expected or 0.0
    enough = len(judged.baseline) >= settings.min_looks_spike and size >= settings.min_count
    if q < settings.alpha and enough:
        return "spike" if judged.surge else "drop"
    rising = judged.rise is not None and judged.rise.p < settings.alpha and enough
    return "watch" if judged.p < settings.watch or rising else "within baseline"


def _alert(judged: _Judged, q: float | None, settings: ActivitySettings) -> Alert:
    estimate, baseline = judged.estimate, judged.baseline
    largest = baseline.largest
    ratio = estimate.value / largest if estimate.value is not None and largest else None
    low, high = judged.band or (None, None)
    series = f"{estimate.site}/{estimate.zone}@{estimate.zone_version}/{estimate.cls}"
    evidence = (*estimate.scene_ids, *(f"{series} {look.label}" for look in baseline.looks))
    alert = Alert(
        estimate=estimate,
        verdict=_verdict(judged, q, settings),
        expected=judged.expected,
        band_low=low,
        band_high=high,
        p=judged.p,
        q=q,
        ratio_to_max=ratio,
        looks=len(baseline),
        baseline_max=largest,
        guard_days=settings.guard_days,
        contaminated=judged.contaminated,
        baseline_span=baseline.span,
        direction="" if judged.p is None else "surge" if judged.surge else "drop",
        build_up_p=judged.rise.p if judged.rise else None,
        build_up_since=f"{judged.rise.began:%-d %b %Y}" if judged.rise and judged.rise.began else "",
        evidence=evidence,
    )
    return replace(alert, wording=wording.sentences(alert))
