"""T1 to T9 of METHOD 2.4: the published conclusions, each with the figure it must give."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from pipeline.activity import wording
from pipeline.activity.baseline import Baseline, Ledger
from pipeline.activity.calls import Hull, HullLook, ShipCall, hull_calls, inferred_calls
from pipeline.activity.cases import CASES, case, story, voyage_months
from pipeline.activity.changepoint import segments
from pipeline.activity.composition import mix_change, share
from pipeline.activity.cusum import build_up
from pipeline.activity.judge import judge, series_key
from pipeline.activity.nb import Count, Sufficient
from pipeline.activity.rates import compare_rates
from pipeline.activity.records import Alert, Estimate
from pipeline.activity.tables import human_interval
from pipeline.activity.voyages import AtLeast, corrected, seen_probability
from pipeline.config import ActivitySettings
from pipeline.errors import TableError

SETTINGS = ActivitySettings()
OCTOBER_5 = datetime(2023, 10, 5, tzinfo=UTC)


def yard() -> list[Estimate]:
    return [e for e in case("tumangang") if (e.site, e.cls) == ("tumangang", "railcar")]


def judged(day: date, settings: ActivitySettings = SETTINGS) -> Alert:
    (alert,) = judge([e for e in yard() if e.time.date() <= day], settings)
    return alert


def rebuilt() -> Baseline:
    """Table 1 up to 14 September 2023, frozen: eleven looks."""
    return Ledger.of(yard()).baseline(datetime(2023, 9, 15, tzinfo=UTC), ActivitySettings(guard_days=0))


def test_t1_seventy_three_cars_are_an_alarm_with_an_honest_p() -> None:
    baseline = rebuilt()
    assert len(baseline) == 11
    predictive = baseline.predictive()
    assert predictive.at_least(73.0)[0] == pytest.approx(0.0125, abs=5e-5)
    assert predictive.at_least(64.0)[0] == pytest.approx(0.018, abs=5e-4)
    assert predictive.at_least(36.0)[0] == pytest.approx(0.068, abs=5e-4)
    assert predictive.surge_p(Count(73, *human_interval(73, None, None))) == pytest.approx(0.0131, abs=1e-4)
    alert = judged(date(2023, 10, 5), ActivitySettings(guard_days=20))  # a guard that leaves 14 September in
    assert alert.looks == 11
    assert alert.verdict == "spike"
    assert alert.p is not None
    assert 0.005 < alert.p < 0.02


def test_t1_holds_with_the_default_guard_band() -> None:
    alert = judged(date(2023, 10, 5))
    assert (alert.verdict, alert.looks, alert.contaminated) == ("spike", 10, 2)
    assert alert.p == pytest.approx(0.0104, abs=2e-4)
    assert alert.ratio_to_max == pytest.approx(73 / 30)


@pytest.mark.parametrize(
    ("looks", "p", "within"), [(5, 0.018, 5e-4), (8, 0.0050, 5e-5), (12, 0.0015, 5e-5), (20, 0.0004, 5e-5), (40, 3e-5, 5e-6)]
)
def test_t2_p_falls_with_the_number_of_looks(looks: int, p: float, within: float) -> None:
    spread = np.round(np.linspace(0, 20, looks))
    assert Sufficient.of(spread, np.ones(looks)).predictive().at_least(73.0)[0] == pytest.approx(p, abs=within)


def test_t2_ten_equal_looks() -> None:
    assert Sufficient.of([20] * 10, [1] * 10).predictive().at_least(73.0)[0] == pytest.approx(5e-5, abs=5e-6)


@pytest.mark.parametrize(("count", "p"), [(66, 0.016), (73, 0.0125), (80, 0.010), (94, 0.006)])
def test_sensitivity_to_detector_error(count: float, p: float) -> None:
    assert rebuilt().predictive().at_least(count)[0] == pytest.approx(p, abs=5e-4)


def test_t3_without_the_guard_band_p_rises_and_the_words_say_why() -> None:
    alert = judged(date(2023, 10, 5), ActivitySettings(guard_days=0))
    assert alert.p == pytest.approx(0.042, abs=2e-3)
    assert alert.verdict == "watch"
    assert alert.contaminated == 2
    assert any("contaminated" in sentence for sentence in alert.wording)


def test_t4_early_2023_is_a_watch_and_no_spike() -> None:
    no_guard = ActivitySettings(guard_days=0)
    first, second = judged(date(2023, 1, 30), no_guard), judged(date(2023, 2, 2), no_guard)
    assert first.p == pytest.approx(0.017, abs=1e-3)
    assert second.p == pytest.approx(0.04, abs=2e-3)
    assert (first.verdict, second.verdict) == ("watch", "watch")
    assert judged(date(2023, 1, 30)).verdict == judged(date(2023, 2, 2)).verdict == "watch"


def test_t5_june_2024_is_a_new_maximum_and_mostly_ore_and_tank() -> None:
    alert = judged(date(2024, 6, 17))
    assert alert.verdict == "spike"
    assert alert.looks == 14
    assert alert.ratio_to_max == pytest.approx(264 / 73)
    assert alert.p == pytest.approx(0.0023, abs=2e-4)
    june = {"ore": 175, "box": 14, "tank": 66, "locomotive": 6, "maintenance": 3}
    mix = share(june, ["ore", "tank"])
    assert mix.value == pytest.approx(241 / 264)
    assert 0.85 < mix.low < mix.value < mix.high < 0.95
    khasan = {"ore": 112, "box": 4, "tank": 33, "passenger": 1}
    assert mix_change([khasan], june).p > 0.05  # one railway, one mix
    boxes = mix_change([khasan, june], {"box": 60, "ore": 10, "tank": 3})
    assert boxes.p < 0.02
    assert boxes.most_changed == "box"


def pier_calls() -> list[ShipCall]:
    """Calls at the pier by its published looks: one place, one ship or none; lengths were published for none of them."""
    pier = ("nk-pier", 1)
    hull = Hull(pier, 0.0, 0.0, 115.0, 3.0, row=0)
    counts = sorted((e for e in case("rajin") if (e.zone, e.cls) == ("nk-pier", "vessel")), key=lambda e: e.time)
    return hull_calls("rajin", [HullLook(e.time, (hull,) if e.value else (), frozenset({pier})) for e in counts])


def test_t6_one_inferred_call_between_10_and_11_november() -> None:
    known = pier_calls()
    (call,) = inferred_calls(case("rajin"), known, unit_class="boxes_present")
    assert call.inferred
    assert (call.last_empty, call.first_empty) == (datetime(2023, 11, 10, tzinfo=UTC), datetime(2023, 11, 11, tzinfo=UTC))
    assert len(known) == 3
    assert not any(c.inferred for c in known)


def test_t7_zone_versions_are_never_mixed() -> None:
    calls = [e for e in case("rajin") if e.zone == "calls-since-august"]
    assert {(e.zone_version, e.value) for e in calls} == {(1, 4.0), (2, 12.0), (2, 16.0)}
    assert all(e.lower_bound for e in calls)
    assert len({series_key(e) for e in calls}) == 2
    alerts = judge(calls, ActivitySettings(guard_days=0), which="all")
    assert [a.looks for a in alerts] == [0, 0, 1]
    assert "at least 4 vessel calls" in alerts[0].wording[0]


def test_t8_voyages_are_lower_bounds() -> None:
    ships = {"Angara": AtLeast(3), "Maria": AtLeast(2), "Lady R": AtLeast(1)}
    assert str(AtLeast.total(ships.values())) == "at least 6"
    assert AtLeast(3) + AtLeast(2) == AtLeast(5)
    assert corrected(AtLeast(6), [0.371]) == pytest.approx(6 / 0.60, rel=0.01)
    assert [round(seen_probability(d, 0.371), 2) for d in range(1, 6)] == [0.37, 0.60, 0.75, 0.84, 0.90]


def test_t9_the_elevated_block_ends_about_april_2024() -> None:
    months = voyage_months()
    assert sum(p.count for p in months) == pytest.approx(64)
    high, low = segments(months)
    assert low.start == date(2024, 4, 1)
    assert low.probability > 0.5
    assert high.per_month > 1.5 * low.per_month
    assert compare_rates(31, 6, 33, 13).p_higher == pytest.approx(0.0036, abs=1e-4)
    assert compare_rates(18, 3, 46, 16).p_higher == pytest.approx(0.009, abs=5e-4)


def test_trains_of_april_2024_against_may_2023() -> None:
    trains = compare_rates(36, 30, 7, 30)
    assert trains.ratio == pytest.approx(5.1, abs=0.05)
    assert (trains.low, trains.high) == (pytest.approx(2.3, abs=0.05), pytest.approx(13.7, abs=0.05))
    assert trains.p_higher == pytest.approx(4e-6, abs=6e-7)


def test_the_build_up_is_seen_in_the_three_looks_together() -> None:
    ledger = Ledger.of(yard())
    looks = ledger.guarded(OCTOBER_5 + timedelta(days=1), 20)
    assert [look.value for look in looks] == [64, 36, 73]
    rise = build_up(rebuilt().predictive(), looks)
    assert rise.began == datetime(2023, 9, 22, tzinfo=UTC)
    assert rise.p < rebuilt().predictive().at_least(73.0)[0]


def test_the_sentence_of_5_october_2023() -> None:
    text = " ".join(judged(date(2023, 10, 5)).wording)
    assert text == (
        "tumangang, zone yard (outline 1), 5 Oct 2023: 73 railcars counted (90 % interval 61 to 85). "
        "The baseline is 10 looks, 28 Oct 2022 to 5 Feb 2023, largest 30; the 28 days before the look are left out. "
        "There is almost no chance of a count this high if the place were as it was in the baseline (p = 0.010). "
        "It is 2.4 times the largest look of the baseline. "
        "Within the guard band 2 looks were already high, so the rise may have begun earlier. "
        "There is almost no chance that quiet looks would add up as those since 22 Sep 2023 do (p = 0.010). "
        "Confidence in the observation is moderate: 10 earlier looks, a published or manual count, 10 % between observers."
    )
    wording.guard(text)


@pytest.mark.parametrize("name", CASES)
def test_every_word_about_every_case_passes_the_guard(name: str) -> None:
    for alert in judge(case(name), SETTINGS, which="all"):
        wording.guard(alert.wording)
    assert story(name)[-1].value is not None


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(TableError, match="atlantis"):
        case("atlantis")
