"""When did the rate change? Exact Bayesian segmentation of counts over periods of any length (METHOD 6.3; T9).

Fearnhead 2006, Stat. Comput. 16, 203: with a marginal likelihood per segment, the posterior over all segmentations is summed
exactly in n^2 steps. Segments are Poisson with a gamma prior of the overall rate worth one event; overdispersed counts enter
with their log-likelihood divided by the dispersion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Period:
    """Events counted from `start` up to, not including, `end`.

    Attributes:
        start, end: days.
        count: events; not whole where a total was spread over months.
        exposure_days: days on which something could be seen; the whole period when None.
    """

    start: date
    end: date
    count: float
    exposure_days: float | None = None

    @property
    def days(self) -> float:
        """Days of exposure."""
        return float((self.end - self.start).days) if self.exposure_days is None else self.exposure_days


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring periods of one rate.

    Attributes:
        start, end: first day, and day after the last.
        per_month: events per 30.44 days.
        probability: posterior probability that the rate changes at `start`; 1 for the first segment.
    """

    start: date
    end: date
    per_month: float
    probability: float


_MONTH_DAYS = 365.25 / 12


def segments(periods: Sequence[Period], *, dispersion: float = 1.0, expected_changes: float = 2.0) -> list[Segment]:
    """The most probable segmentation, each change with its probability.

    Args:
        periods: in order of time, without overlap.
        dispersion: variance over mean inside a segment; 1 for single events such as voyages, about 10 for railcars
            (METHOD 0.4).
        expected_changes: prior mean number of changes over the whole series; an episode has two ends.

    Raises:
        ValueError: fewer than two periods, or periods out of order.
    """
    n = len(periods)
    if n < 2 or any(a.end > b.start for a, b in pairwise(periods)):
        raise ValueError("change points need at least two periods in order of time, without overlap")
    fit = _segment_log_likelihood(periods) / dispersion
    hazard = min(0.5, expected_changes / (n - 1))
    first = _best_starts(fit, hazard)
    probability = _change_probability(fit, hazard)
    ends = [*first[1:], n]
    return [
        Segment(
            periods[i].start,
            periods[j - 1].end,
            _MONTH_DAYS * sum(p.count for p in periods[i:j]) / sum(p.days for p in periods[i:j]),
            float(probability[i]),
        )
        for i, j in zip(first, ends, strict=True)
    ]


def _segment_log_likelihood(periods: Sequence[Period]) -> F64:
    """(n, n + 1) log marginal likelihood of periods i..j-1 as one segment; terms common to all segmentations left out."""
    count = np.concatenate([[0.0], np.cumsum([p.count for p in periods])])
    days = np.concatenate([[0.0], np.cumsum([p.days for p in periods])])
    shape, rate = 1.0, days[-1] / max(count[-1], 1.0)  # gamma prior worth one event at the overall rate
    y = np.maximum(count[None, :] - count[:-1, None], 0.0)
    t = np.maximum(days[None, :] - days[:-1, None], 0.0)
    out: F64 = shape * np.log(rate) - gammaln(shape) + gammaln(shape + y) - (shape + y) * np.log(rate + t)
    return out


def _best_starts(fit: F64, hazard: float) -> list[int]:
    """First periods of the segments of the most probable segmentation."""
    n = len(fit)
    score, back = np.full(n + 1, -np.inf), np.zeros(n + 1, np.int64)
    score[0] = 0.0
    for j in range(1, n + 1):
        candidates = score[:j] + fit[:j, j] + _prior(np.arange(j), j, hazard)
        back[j] = int(np.argmax(candidates))
        score[j] = candidates[back[j]]
    starts = [n]
    while starts[0] > 0:
        starts.insert(0, int(back[starts[0]]))
    return starts[:-1]


def _change_probability(fit: F64, hazard: float) -> F64:
    """(n,) posterior probability that a segment begins at each period."""
    n = len(fit)
    forward, backward = np.full(n + 1, -np.inf), np.full(n + 1, -np.inf)
    forward[0], backward[n] = 0.0, 0.0
    for j in range(1, n + 1):
        forward[j] = logsumexp(forward[:j] + fit[:j, j] + _prior(np.arange(j), j, hazard))
    for i in range(n - 1, -1, -1):
        ends = np.arange(i + 1, n + 1)
        backward[i] = logsumexp(backward[ends] + fit[i, ends] + _prior(i, ends, hazard))
    out: F64 = np.exp(forward[:n] + backward[:n] - forward[n])
    return out


def _prior(start: int | NDArray[np.int64], end: int | NDArray[np.int64], hazard: float) -> F64:
    """Log prior of a segment: no change inside it, and a change at its start unless it is the first."""
    inside = np.asarray(end) - np.asarray(start) - 1
    return np.asarray(inside * np.log1p(-hazard) + np.where(np.asarray(start) > 0, np.log(hazard), 0.0))
