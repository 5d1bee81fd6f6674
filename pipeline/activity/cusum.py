"""Slow build-up: a negative-binomial CUSUM over the looks since the baseline was frozen (METHOD 6.3).

The single-look test is blind to a ramp whose every step is modest. The sum of log-likelihood ratios "twice the baseline" against
"the baseline" is not; its p comes from looks simulated from the same predictive mixture, so it carries the baseline's own
uncertainty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.activity.baseline import Look
from pipeline.activity.nb import Predictive

F64 = NDArray[np.float64]

RATIO = 2.0
"""Rate ratio the sum is tuned to: "more than twice the historical maximum" is what analysts look for (METHOD 6.1)."""

_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class BuildUp:
    """State of the sum after the last look.

    Attributes:
        path: (n,) the sum after each look.
        began: first look of the present rise, None when the sum stands at zero.
        p: probability that the sum of so many quiet looks would stand at least this high.
    """

    path: F64
    began: datetime | None
    p: float


def build_up(predictive: Predictive, looks: Sequence[Look], *, seed: int = 0) -> BuildUp:
    """CUSUM over looks that are not in the baseline.

    Args:
        predictive: what the frozen baseline says of a look.
        looks: observed looks since the freeze, in order of time, the one under test last.
        seed: of the simulated quiet looks.

    Raises:
        ValueError: no looks.
    """
    if not looks:
        raise ValueError("a build-up needs at least one look after the baseline")
    values = np.array([[look.value for look in looks]])
    exposures = np.array([look.exposure for look in looks])
    mu = float(predictive.weight @ predictive.mu)
    k = float(np.exp(predictive.weight @ np.log(predictive.k)))
    path = _sums(_ratios(values, exposures, mu, k))[0]
    rng = np.random.default_rng(seed)
    node = rng.choice(len(predictive.weight), size=_DRAWS, p=predictive.weight / predictive.weight.sum())
    mean, size = predictive.mu[node, None] * exposures, predictive.k[node, None]
    quiet = rng.negative_binomial(size, size / (size + mean)).astype(np.float64)
    ends = _sums(_ratios(quiet, exposures, mu, k))[:, -1]
    zeros = np.flatnonzero(path <= 0)
    begin = 0 if len(zeros) == 0 else int(zeros[-1]) + 1
    return BuildUp(
        path=path,
        began=looks[begin].time if begin < len(looks) else None,
        p=float((1 + (ends >= path[-1]).sum()) / (_DRAWS + 1)) if path[-1] > 0 else 1.0,
    )


def _ratios(values: F64, exposures: F64, mu: float, k: float) -> F64:
    """Log-likelihood ratio of `RATIO` times the mean against the mean, per look."""
    mean = mu * exposures
    return np.asarray(values * np.log(RATIO) - (values + k) * np.log((k + RATIO * mean) / (k + mean)))


def _sums(ratios: F64) -> F64:
    """Running sums along the last axis, held at zero from below."""
    out = np.empty_like(ratios)
    level = np.zeros(len(ratios))
    for i in range(ratios.shape[1]):
        level = np.maximum(0.0, level + ratios[:, i])
        out[:, i] = level
    return out
