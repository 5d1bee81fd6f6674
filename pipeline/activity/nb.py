"""Negative-binomial predictive test with a prior on the dispersion (METHOD 6.2): exact sums on a grid, no sampling.

Counts are ``y ~ NB(mean = mu * e, k)`` with exposure ``e``, variance ``mu e + (mu e)^2 / k``. What the past looks say is held
in `Sufficient`: numbers that add, so that one more look costs one step and a look that arrives late is simply added.
Values need not be whole: cars from metres of track, and metres themselves, enter through the gamma function.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln

F64 = NDArray[np.float64]

MU_LOW, MU_HIGH, MU_NODES = 0.3, 400.0, 90
"""Log-uniform prior of the mean (METHOD 6.2)."""

K_LOW, K_HIGH, K_NODES = 0.2, 50.0, 40
"""Nodes of the dispersion, uniform in log k. METHOD 6.2 gives 40 nodes and the prior below but no ends; these ends give every
figure that METHOD 6.2 prints (0.0125, 0.018, 0.068, 5e-5 ...), wider ones move the first to 0.0126."""

LOG_K_MEAN, LOG_K_SD = float(np.log(2.0)), 1.2
"""Normal prior of log k (METHOD 6.2)."""

HEADROOM = 4.0
"""The grid of the mean reaches this many times the largest past value per exposure. At Tumangang that is 4 * 73 < 400, so the
published figures rest on the published grid; a yard of 3 000 boxes gets nodes up to 12 000 at the same spacing in log mu."""

_BLOCK = 9  # nodes are added by nines, about a factor of two, so that the grid changes seldom
_STEP = float(np.log(MU_HIGH / MU_LOW) / (MU_NODES - 1))
_NEGLIGIBLE = 1e-10  # posterior weight below which a node is left out: together below 4e-7 of any probability
_HERMITE_X, _HERMITE_W = np.polynomial.hermite_e.hermegauss(7)
Z90 = 1.6448536269514722
"""Half width of a central 90 % interval of a normal variable, standard deviations."""


@lru_cache(maxsize=1)
def dispersion_nodes() -> F64:
    """(40,) values of k, read-only."""
    return _frozen(np.geomspace(K_LOW, K_HIGH, K_NODES))


def mean_nodes(largest: float) -> F64:
    """(90 + 9 m,) values of mu: the published grid, continued upwards at the same step while `HEADROOM` asks for it."""
    missing = np.log(max(HEADROOM * largest, MU_HIGH) / MU_HIGH) / _STEP
    extra = _BLOCK * int(np.ceil(missing / _BLOCK - 1e-9))
    return _mean_nodes(MU_NODES + extra)


@lru_cache(maxsize=8)
def _mean_nodes(number: int) -> F64:
    return _frozen(np.asarray(MU_LOW * np.exp(_STEP * np.arange(number))))


@lru_cache(maxsize=1)
def _log_gamma_nodes() -> F64:
    """(40,) log Gamma(k)."""
    return _frozen(np.asarray(gammaln(dispersion_nodes())))


@lru_cache(maxsize=256)  # a run meets few exposures and fewer grids; 29 kB each
def _log_totals(number: int, percent: int) -> F64:
    """(number, 40) log(k + mu e) on the grid with so many means, at one exposure: the same for every zone."""
    return _frozen(np.log(dispersion_nodes() + _mean_nodes(number)[:, None] * (percent / 100)))


def _frozen(values: F64) -> F64:
    values.setflags(write=False)
    return values


@dataclass(slots=True)
class _Bin:
    """Sums over the looks of one exposure: number, total, and ``sum log Gamma(y + k) / Gamma(k)`` per node of k."""

    looks: float = 0.0
    total: float = 0.0
    log_gamma: F64 = field(default_factory=lambda: np.zeros(K_NODES))


@dataclass(slots=True)
class Sufficient:
    """Sufficient statistics of past looks: sums per exposure, exposures rounded to 1 %.

    Attributes:
        bins: exposure in per cent -> sums.
        largest: largest value per exposure ever added; sets the reach of the grid.
    """

    bins: dict[int, _Bin] = field(default_factory=dict)
    largest: float = 0.0

    def add(self, value: float, exposure: float, weight: float = 1.0) -> None:
        """Count one look in; a weight below 1 for a look that was itself an outlier, negative to take (part of) it out."""
        percent = max(1, round(100 * exposure))
        sums = self.bins.setdefault(percent, _Bin())
        k = dispersion_nodes()
        sums.looks += weight
        sums.total += weight * value
        sums.log_gamma = sums.log_gamma + weight * (gammaln(value + k) - _log_gamma_nodes())
        if weight > 0:
            self.largest = max(self.largest, 100 * value / percent)

    def copy(self) -> Self:
        """An independent copy."""
        bins = {e: _Bin(b.looks, b.total, b.log_gamma) for e, b in self.bins.items()}
        return type(self)(bins, self.largest)

    @classmethod
    def of(cls, values: Iterable[float], exposures: Iterable[float]) -> Self:
        """Statistics of many looks at once."""
        out = cls()
        for value, exposure in zip(values, exposures, strict=True):
            out.add(value, exposure)
        return out

    def predictive(self) -> "Predictive":
        """What the next look would show if nothing has changed."""
        mu, k = mean_nodes(self.largest), dispersion_nodes()
        log_k: F64 = -0.5 * ((np.log(k) - LOG_K_MEAN) / LOG_K_SD) ** 2 + sum(b.log_gamma for b in self.bins.values())
        log_k += sum(b.looks for b in self.bins.values()) * k * np.log(k)
        log_weight: F64 = log_k + sum(b.total for b in self.bins.values()) * np.log(mu)[:, None]
        for percent, sums in self.bins.items():  # a factor e^total of each bin is the same at every node and left out
            log_weight -= (sums.looks * k + sums.total) * _log_totals(len(mu), percent)
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        keep = weight > _NEGLIGIBLE
        grid_mu, grid_k = np.broadcast_to(mu[:, None], keep.shape), np.broadcast_to(k, keep.shape)
        return Predictive(weight[keep], grid_mu[keep], grid_k[keep])


@dataclass(frozen=True, slots=True)
class Predictive:
    """A mixture of negative binomials: posterior nodes with their weights.

    Attributes:
        weight: (N,) posterior weights, sum 1.
        mu: (N,) mean per unit exposure.
        k: (N,) dispersion.
    """

    weight: F64
    mu: F64
    k: F64

    def mean(self, exposure: float = 1.0) -> float:
        """Expected value at an exposure."""
        return float(self.weight @ self.mu) * exposure

    def at_least(self, value: float | F64, exposure: float = 1.0) -> F64:
        """``P(Y >= value)``, (M,) for (M,) values: p of a surge. Values between whole numbers are interpolated."""
        y = np.atleast_1d(np.asarray(value, np.float64))
        mean = self.mu * exposure
        tail = betainc(np.maximum(y, 1e-9)[:, None], self.k, mean / (mean + self.k))
        return np.asarray(np.where(y > 0, tail @ self.weight, 1.0))

    def at_most(self, value: float | F64, exposure: float = 1.0) -> F64:
        """``P(Y <= value)``, (M,) for (M,) values: p of a drop."""
        y = np.atleast_1d(np.asarray(value, np.float64))
        return np.asarray(1.0 - self.at_least(y + 1.0, exposure))

    def surge_p(self, count: "Count", exposure: float = 1.0) -> float:
        """``P(Y >= count)`` averaged over the count's own uncertainty."""
        values, weights = count.nodes()
        return float(weights @ self.at_least(values, exposure))

    def drop_p(self, count: "Count", exposure: float = 1.0) -> float:
        """``P(Y <= count)`` averaged over the count's own uncertainty."""
        values, weights = count.nodes()
        return float(weights @ self.at_most(values, exposure))

    def band(self, exposure: float = 1.0, level: float = 0.9) -> tuple[float, float]:
        """Central predictive interval in whole numbers: at most ``(1 - level) / 2`` outside on either side."""
        tail = (1 - level) / 2
        return self._quantile(tail, exposure), self._quantile(1 - tail, exposure)

    def _quantile(self, probability: float, exposure: float) -> float:
        """Smallest whole number y with ``P(Y <= y) >= probability``, by bisection from a bracket."""
        low, high = -1.0, max(1.0, round(2 * self.mean(exposure)))
        while float(self.at_most(high, exposure)[0]) < probability:
            low, high = high, 2 * high
        while high - low > 1:
            middle = float(np.floor((low + high) / 2))
            if float(self.at_most(middle, exposure)[0]) >= probability:
                high = middle
            else:
                low = middle
        return max(high, 0.0)  # not -0.0


@dataclass(frozen=True, slots=True)
class Count:
    """A count with its own 90 % interval."""

    value: float
    low: float
    high: float

    def nodes(self) -> tuple[F64, F64]:
        """(M,) values and weights: one node for an exact count, else seven Gauss-Hermite nodes cut at zero."""
        sd = (self.high - self.low) / (2 * Z90)
        if sd <= 0:
            return np.array([self.value]), np.ones(1)
        return np.maximum(self.value + sd * _HERMITE_X, 0.0), _HERMITE_W / _HERMITE_W.sum()


def q_values(p: Mapping[int, float]) -> dict[int, float]:
    """Benjamini-Hochberg adjusted p-values: smallest false-discovery rate at which each test would be called.

    Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57, 289.
    """
    ranked = sorted(p, key=lambda key: p[key])
    out: dict[int, float] = {}
    least = 1.0
    for rank in range(len(ranked), 0, -1):
        key = ranked[rank - 1]
        least = min(least, p[key] * (len(ranked) / rank))
        out[key] = least
    return out
