"""Sentences for a person: what was seen, how unusual it is, how good the observation was. Never in one sentence.

ICD 203 terms for likelihood (METHOD 8b); likelihood and confidence stand in different sentences and `guard` refuses a text that
mixes them. Only what was seen is said: no cause, no contents (DESIGN, law 9).
"""

import re
from collections.abc import Iterable

from pipeline.activity.records import Alert, Estimate

ICD203: tuple[tuple[float, str], ...] = (
    (0.05, "almost no chance"),
    (0.20, "very unlikely"),
    (0.45, "unlikely"),
    (0.55, "roughly even chance"),
    (0.80, "likely"),
    (0.95, "very likely"),
    (1.00, "almost certain"),
)
"""Upper end of each band of probability and its term, one row of terms only (ICD 203 D.6.e.2.a; METHOD 8b)."""

_LIKELIHOOD = re.compile(
    r"\b(almost no chance|(very )?(un)?likely|(un)?likelihood|roughly even chance|almost certain(ly)?|"
    r"(im)?probab(le|ly|ility)|remote chance|chance)\b",
    re.IGNORECASE,
)
_CONFIDENCE = re.compile(r"\bconfiden(ce|t|tly)\b", re.IGNORECASE)
_CLAIM = re.compile(r"\b(arms|weapons?|ammunition|munitions?|because|due to|caused by|in order to)\b", re.IGNORECASE)

_COUNTED = {"railcar", "vessel", "container", "train", "vessel_call"}  # others are printed as the table names them

_FEW_LOOKS, _MANY_LOOKS = 12, 20  # METHOD 6.2: p falls below 0.002 from 12 looks, below 0.001 from 20


def likelihood_term(probability: float) -> str:
    """The ICD 203 term of a probability.

    Raises:
        ValueError: not a probability.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"{probability} is not a probability")
    return next(term for top, term in ICD203 if probability <= top)


def guard(text: str | Iterable[str]) -> None:
    """Refuse a text that puts likelihood and confidence into one sentence, or names a cause or contents.

    Raises:
        ValueError: names the sentence.
    """
    for part in [text] if isinstance(text, str) else text:
        for sentence in re.split(r"(?<=[.!?])\s+", part):
            if _LIKELIHOOD.search(sentence) and _CONFIDENCE.search(sentence):
                raise ValueError(f"likelihood and confidence in one sentence: {sentence!r}; write two")
            if _CLAIM.search(sentence):
                raise ValueError(f"a count can name no cause and no contents: {sentence!r}")


def quoted(estimate: Estimate) -> str:
    """The number alone, as tables and labels give it: ``9``, ``at least 73``, ``3 to 12`` where the point must not be quoted."""
    if estimate.value is None:
        return "not observed"
    if estimate.interval_only and estimate.low is not None and estimate.high is not None:
        return f"{_number(estimate.low)} to {_number(estimate.high)}"
    return ("at least " if estimate.lower_bound else "") + _number(estimate.value)


def amount(estimate: Estimate) -> str:
    """``at least 73 railcars``, ``340 m of occupied track``."""
    if estimate.value is None:
        return "not observed"
    bound = "at least " if estimate.lower_bound else ""
    if estimate.unit == "m":
        what = "occupied track" if estimate.cls == "occupied_track_m" else estimate.cls
        return f"{bound}{_number(estimate.value)} m of {what}"
    number = _number(estimate.value)
    if estimate.unit == "TEU":
        return f"{bound}{number} TEU of boxes in a pile"
    return f"{bound}{number} {class_in_words(estimate.cls, one=number == '1')}"


def sentences(alert: Alert) -> tuple[str, ...]:
    """What is to be said of one judged look: observation, baseline, likelihood, companion, confidence."""
    estimate = alert.estimate
    if estimate.value is None or alert.verdict == "not observed":
        reason = estimate.not_observed or f"only {100 * estimate.exposure:.0f} % of the zone could be seen"
        return (f"{_place(estimate)} could not be assessed on {_day(estimate)}: {reason}.",)
    out = [_seen(estimate), _rests_on(alert)]
    if alert.p is None:
        out.append("That is too few looks to say whether this is unusual.")
    else:
        out += [*_unusual(alert), *_contamination(alert), *_build_up(alert)]
    out.append(_confidence(alert))
    return tuple(out)


def _seen(estimate: Estimate) -> str:
    interval = ""
    if estimate.low is not None and estimate.high is not None and estimate.high > estimate.low:
        interval = f" (90 % interval {_number(estimate.low)} to {_number(estimate.high)})"
    part = "" if estimate.exposure >= 0.995 else f" in the {100 * estimate.exposure:.0f} % of the zone that could be seen"
    verb = "measured" if estimate.unit != "count" else "counted"
    if estimate.interval_only and interval:
        low, high = _number(estimate.low or 0.0), _number(estimate.high or 0.0)
        many = class_in_words(estimate.cls) if estimate.unit == "count" else estimate.unit
        return f"{_place(estimate)}, {_day(estimate)}: between {low} and {high} {many}{part}."
    return f"{_place(estimate)}, {_day(estimate)}: {amount(estimate)} {verb}{interval}{part}."


def _rests_on(alert: Alert) -> str:
    guarded = f"; the {alert.guard_days} days before the look are left out" if alert.guard_days else ""
    if alert.looks == 0:
        return f"There is no earlier look to compare it with{guarded}."
    many = "look" if alert.looks == 1 else "looks"
    largest = _number(alert.baseline_max or 0.0)
    return f"The baseline is {alert.looks} {many}, {alert.baseline_span}, largest {largest}{guarded}."


def _unusual(alert: Alert) -> list[str]:
    assert alert.p is not None
    assert alert.estimate.value is not None
    term = likelihood_term(alert.p)
    surge = alert.direction == "surge"
    side = "high" if surge else "low"
    odds = f"p = {_p(alert.p)}" + ("" if alert.q is None or alert.q <= alert.p else f", q = {_p(alert.q)}")
    if term == "almost no chance":
        out = [f"There is almost no chance of a count this {side} if the place were as it was in the baseline ({odds})."]
    elif term == "roughly even chance":
        out = [f"There is a roughly even chance of a count this {side} if the place were as it was in the baseline ({odds})."]
    else:
        out = [f"A count this {side} would be {term} if the place were as it was in the baseline ({odds})."]
    ratio = alert.ratio_to_max
    if surge and ratio is not None and ratio > 1:
        out.append(f"It is {ratio:.1f} times the largest look of the baseline.")
    if alert.verdict == "watch" and alert.looks < 8:  # METHOD 6.3
        out.append(f"With {alert.looks} looks this is put on watch and is not called a {'spike' if surge else 'drop'}.")
    return out


def _contamination(alert: Alert) -> list[str]:
    if not alert.contaminated:
        return []
    looks = "1 look" if alert.contaminated == 1 else f"{alert.contaminated} looks"
    if alert.guard_days < 28:  # METHOD 2.4, T3
        return [f"The baseline is contaminated: {looks} of the last 28 days are high themselves and stand in it, so p is too large."]
    return [f"Within the guard band {looks} were already high, so the rise may have begun earlier."]


def _build_up(alert: Alert) -> list[str]:
    """Said when the looks together are rarer than one in twenty."""
    if alert.build_up_p is None or alert.build_up_p >= 0.05 or not alert.build_up_since:
        return []
    since = f"those since {alert.build_up_since} do"
    return [f"There is almost no chance that quiet looks would add up as {since} (p = {_p(alert.build_up_p)})."]


def _confidence(alert: Alert) -> str:
    """Quality of the observation: number of looks, exposure, kind of count."""
    estimate = alert.estimate
    weak = [
        reason
        for applies, reason in (
            (alert.looks < _FEW_LOOKS, f"{alert.looks} earlier look{'' if alert.looks == 1 else 's'}"),
            (estimate.exposure < 0.8, f"{100 * estimate.exposure:.0f} % of the zone seen"),
            (estimate.estimator == "human", "a published or manual count, 10 % between observers"),
            (bool(estimate.note) and estimate.estimator != "human", estimate.note),
        )
        if applies
    ]
    level = "low" if estimate.exposure < 0.5 or alert.looks < 5 else "moderate"
    if not weak:
        level = "high" if alert.looks >= _MANY_LOOKS else "moderate"
        weak = [f"{alert.looks} earlier looks", f"{100 * estimate.exposure:.0f} % of the zone seen"]
    return f"Confidence in the observation is {level}: {', '.join(weak)}."


def class_in_words(cls: str, *, one: bool = False) -> str:
    """A class in words: ``railcar`` is one railcar or several railcars, ``boxes_present`` stays as it is."""
    words = cls.replace("_", " ")
    return words if one or cls not in _COUNTED else words + "s"


def _place(estimate: Estimate) -> str:
    return f"{estimate.site}, zone {estimate.zone} (outline {estimate.zone_version})"


def _day(estimate: Estimate) -> str:
    return f"{estimate.time:%-d %b %Y}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 or abs(value - round(value)) < 0.05 else f"{value:.1f}"


def _p(value: float) -> str:
    """Two significant digits, and no more precision than ten looks can carry (METHOD 6.2)."""
    if value < 1e-4:
        return "below 0.0001"
    return f"{value:.2g}" if value < 0.0095 else f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"
