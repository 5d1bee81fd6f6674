"""Outbreak tests of others, for comparison on the same draws. Each returns a score (larger is more unusual) and its usual limit.

Farrington is held to the R package `surveillance` by tests/golden/test_activity_farrington.py; EARS follows `earsC` of the same
package (baseline of seven looks; C2 and C3 with a gap of two).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

F64 = NDArray[np.float64]
Score = Callable[[F64, F64, float, float], float]
"""(past values, past exposures, value, exposure) -> score."""

EARS_LOOKS = 7


@dataclass(frozen=True, slots=True)
class Farrington:
    """Fit of the intercept-only quasi-Poisson model with offset, re-weighted once.

    Attributes:
        rate: events per unit exposure.
        phi: overdispersion, at least 1.
    """

    rate: float
    phi: float

    def bound(self, exposure: float, alpha: float) -> float:
        """Upper bound, negative-binomial plug-in (Noufaily et al. 2013)."""
        mean = self.rate * exposure
        if self.phi > 1:
            return float(stats.nbinom.ppf(1 - alpha, mean / (self.phi - 1), 1 / self.phi))
        return float(stats.poisson.ppf(1 - alpha, mean))

    def p(self, value: float, exposure: float) -> float:
        """``P(Y >= value)`` of the plug-in negative binomial."""
        mean = self.rate * exposure
        if value <= 0:
            return 1.0
        if self.phi > 1:
            return float(special.betainc(value, mean / (self.phi - 1), 1 - 1 / self.phi))
        return float(special.gammainc(value, mean))


def fit_farrington(values: F64, exposures: F64, threshold: float = 2.58) -> Farrington:
    """`farringtonFlexible` without trend and with one seasonal level, as `algo.farrington.fitGLM.flexible` does it."""
    rate, phi = _quasi_poisson(values, exposures, np.ones(len(values)))
    mean = rate * exposures
    hat = mean / mean.sum()
    residual = 1.5 * (values ** (2 / 3) * mean ** (-1 / 6) - mean**0.5) / np.sqrt(max(phi, 1.0) * (1 - hat))
    weight = np.where(residual > threshold, np.maximum(residual, 1e-9) ** -2.0, 1.0)
    weight *= len(values) / weight.sum()
    rate, phi = _quasi_poisson(values, exposures, weight)
    return Farrington(rate, max(phi, 1.0))


def _quasi_poisson(values: F64, exposures: F64, weight: F64) -> tuple[float, float]:
    rate = max(float((weight * values).sum() / (weight * exposures).sum()), 1e-9)
    mean = rate * exposures
    return rate, float((weight * (values - mean) ** 2 / mean).sum()) / (len(values) - 1)


def z_score(values: F64, exposures: F64, value: float, exposure: float) -> float:
    """Mean and standard deviation of the rates."""
    rates = values / exposures
    return (value / exposure - float(rates.mean())) / max(float(rates.std(ddof=1)), 1e-9)


def mad_score(values: F64, exposures: F64, value: float, exposure: float) -> float:
    """Median and median absolute deviation of the rates, at least half a count."""
    rates = values / exposures
    middle = float(np.median(rates))
    return (value / exposure - middle) / max(1.4826 * float(np.median(np.abs(rates - middle))), 0.5)


def poisson_score(values: F64, exposures: F64, value: float, exposure: float) -> float:
    """``-log10 p`` of a Poisson variable with the mean plugged in."""
    mean = max(float(values.sum() / exposures.sum()), 1e-3) * exposure
    return -float(np.log10(max(special.gammainc(value, mean), 1e-300))) if value > 0 else 0.0


def farrington_score(values: F64, exposures: F64, value: float, exposure: float) -> float:
    """``-log10 p`` of farringtonFlexible with the negative-binomial plug-in."""
    return -np.log10(max(fit_farrington(values, exposures).p(value, exposure), 1e-300))


def ears_score(lag: int, sums: bool) -> Score:
    """EARS: C1 (no lag), C2 (lag two), C3 (lag two, two earlier excesses added)."""

    def one(rates: F64, at: int) -> float:
        window = rates[max(0, at - lag - EARS_LOOKS) : max(0, at - lag)]
        if len(window) < 3:
            return 0.0
        return float((rates[at] - window.mean()) / max(window.std(ddof=1), 0.5))

    def score(values: F64, exposures: F64, value: float, exposure: float) -> float:
        rates = np.append(values / exposures, value / exposure)
        last = len(rates) - 1
        if not sums:
            return one(rates, last)
        return one(rates, last) + sum(max(0.0, one(rates, last - back) - 1) for back in (1, 2))

    return score


PEERS: dict[str, tuple[Score, float]] = {
    "z > 3": (z_score, 3.0),
    "MAD-z > 3": (mad_score, 3.0),
    "Poisson p < .001": (poisson_score, 3.0),
    "EARS C1": (ears_score(0, sums=False), float(stats.norm.isf(0.001))),
    "EARS C2": (ears_score(2, sums=False), float(stats.norm.isf(0.001))),
    "EARS C3": (ears_score(2, sums=True), float(stats.norm.isf(0.025))),
    "Farrington p < .01": (farrington_score, 2.0),
}
"""Name -> score and the limit its users take (`earsC` defaults; METHOD 6.1)."""
