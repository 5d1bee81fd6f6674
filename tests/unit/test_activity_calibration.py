"""A small seeded simulation of what the bench does at length: quiet looks alarm as seldom as promised."""

import numpy as np
import pytest

from pipeline.activity.nb import Sufficient


@pytest.mark.parametrize(("dispersion", "looks", "seed"), [(1.0, 20, 0), (3.0, 8, 1), (10.0, 5, 2), (10.0, 20, 3)])
def test_false_alarms_stay_within_one_and_a_half_of_nominal(dispersion: float, looks: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    runs, mean = 500, 11.4
    p = np.empty(runs)
    for i in range(runs):
        e = rng.uniform(0.3, 1.0, looks + 1)
        k = mean / (dispersion - 1) if dispersion > 1 else np.inf
        y = rng.poisson(mean * e) if np.isinf(k) else rng.negative_binomial(k, k / (k + mean * e))
        p[i] = Sufficient.of(y[:-1], e[:-1]).predictive().at_least(float(y[-1]), e[-1])[0]
    for nominal in (0.05, 0.01):
        limit = 1.5 * nominal
        noise = 2.33 * np.sqrt(limit * (1 - limit) / runs)  # one-sided 1 % of the simulation itself
        assert (p < nominal).mean() <= limit + noise
