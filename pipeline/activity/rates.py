"""Rates over two windows with their exposure: the conditional binomial test (METHOD 6.3)."""

from dataclasses import dataclass

from scipy.stats import beta, binom


@dataclass(frozen=True, slots=True)
class RateComparison:
    """How much higher the rate of events is in one window than in another.

    Attributes:
        ratio: rate of the first window over that of the second; infinite when the second had no event.
        low, high: exact 95 % interval of the ratio.
        p_higher: ``P(at least so many in the first window)`` if the rates were equal.
        p_two_sided: twice the smaller tail, at most 1.
    """

    ratio: float
    low: float
    high: float
    p_higher: float
    p_two_sided: float


def compare_rates(events: int, exposure_days: float, other_events: int, other_exposure_days: float) -> RateComparison:
    """Compare two Poisson rates given their sum (Przyborowski & Wilenski 1940; Clopper-Pearson for the interval).

    Given the sum, the events of the first window are binomial with share ``w = days / (days + other days)`` when the rates are
    equal. Days on which nothing could be seen are no exposure: 36 trains in a month and 7 in another compare only over the
    usable days of each.

    Raises:
        ValueError: no events at all, or a window without exposure.
    """
    total = events + other_events
    if total == 0:
        raise ValueError("no events in either window; there is no rate to compare")
    if exposure_days <= 0 or other_exposure_days <= 0:
        raise ValueError("both windows need days on which something could be seen")
    odds = other_exposure_days / exposure_days
    share = 1 / (1 + odds)
    higher = float(binom.sf(events - 1, total, share))
    lower = float(binom.cdf(events, total, share))
    low = float(beta.ppf(0.025, events, other_events + 1)) if events else 0.0
    high = float(beta.ppf(0.975, events + 1, other_events)) if other_events else 1.0
    return RateComparison(
        ratio=_ratio(events / total, odds),
        low=_ratio(low, odds),
        high=_ratio(high, odds),
        p_higher=higher,
        p_two_sided=min(1.0, 2 * min(higher, lower)),
    )


def _ratio(share: float, odds: float) -> float:
    return float("inf") if share >= 1 else share / (1 - share) * odds
