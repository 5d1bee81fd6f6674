"""The predictive test: oracles are scipy's negative binomial and brute sums on the same grid."""

import numpy as np
import pytest
from scipy import stats

from pipeline.activity.nb import (
    K_NODES,
    LOG_K_MEAN,
    LOG_K_SD,
    MU_HIGH,
    MU_LOW,
    MU_NODES,
    Count,
    Sufficient,
    dispersion_nodes,
    mean_nodes,
    q_values,
)

YARD = [7, 3, 11, 5, 8, 0, 3, 24, 30, 24, 0]


def brute(counts: list[int], exposures: list[float], value: int, exposure: float) -> float:
    """P(Y >= value) by summing scipy's probabilities over the whole grid."""
    mu, k = np.meshgrid(mean_nodes(max(y / e for y, e in zip(counts, exposures, strict=True))), dispersion_nodes(), indexing="ij")
    log_weight = stats.norm.logpdf(np.log(k), LOG_K_MEAN, LOG_K_SD)
    for y, e in zip(counts, exposures, strict=True):
        log_weight = log_weight + stats.nbinom.logpmf(y, k, k / (k + mu * e))
    weight = np.exp(log_weight - log_weight.max())
    tail = stats.nbinom.sf(value - 1, k, k / (k + mu * exposure))
    return float((weight / weight.sum() * tail).sum())


@pytest.mark.parametrize("value", [1, 20, 73, 264])
@pytest.mark.parametrize("exposure", [1.0, 0.4])
def test_tail_equals_the_brute_sum(value: int, exposure: float) -> None:
    exposures = [1.0, 0.5, 0.8, 1.0, 1.0, 0.25, 1.0, 1.0, 0.9, 1.0, 1.0]
    ours = Sufficient.of(YARD, exposures).predictive()
    assert ours.at_least(float(value), exposure)[0] == pytest.approx(brute(YARD, exposures, value, exposure), rel=1e-4, abs=4e-7)


def test_both_tails_share_the_count_itself() -> None:
    predictive = Sufficient.of(YARD, [1.0] * 11).predictive()
    values = np.arange(0.0, 60.0)
    point = predictive.at_least(values) - predictive.at_least(values + 1)
    np.testing.assert_allclose(predictive.at_least(values) + predictive.at_most(values), 1 + point, atol=1e-12)
    assert predictive.at_least(0.0)[0] == 1.0


def test_band_holds_ninety_per_cent_and_not_much_more() -> None:
    predictive = Sufficient.of([40] * 30, [1.0] * 30).predictive()
    low, high = predictive.band()
    assert predictive.at_most(low)[0] >= 0.05 > predictive.at_most(low - 1)[0]
    assert predictive.at_most(high)[0] >= 0.95 > predictive.at_most(high - 1)[0]


def test_the_grid_is_the_published_one_until_counts_outgrow_it() -> None:
    np.testing.assert_allclose(mean_nodes(100.0), np.geomspace(MU_LOW, MU_HIGH, MU_NODES))
    wide = mean_nodes(3000.0)
    np.testing.assert_allclose(wide[:MU_NODES], mean_nodes(0.0))
    assert wide[-1] >= 12_000
    np.testing.assert_allclose(np.diff(np.log(wide)), np.diff(np.log(wide))[0])


@pytest.mark.parametrize("scale", [1, 10, 100])
def test_large_counts_do_not_saturate(scale: int) -> None:
    """Boxes by the thousand and metres of track: the same relative surge stays about as unusual."""
    counts = [scale * y for y in (30, 36, 28, 41, 33, 30, 38, 35, 29, 37)]
    predictive = Sufficient.of(counts, [1.0] * 10).predictive()
    assert predictive.mean() == pytest.approx(33.7 * scale, rel=0.1)
    assert predictive.at_least(scale * 36.0)[0] > 0.2
    assert predictive.at_least(scale * 110.0)[0] < 0.01


def test_p_is_averaged_over_the_count_s_own_uncertainty() -> None:
    predictive = Sufficient.of(YARD, [1.0] * 11).predictive()
    exact = predictive.surge_p(Count(73, 73, 73))
    assert exact == predictive.at_least(73.0)[0]
    unsure = predictive.surge_p(Count(73, 43, 103))
    draws = np.maximum(np.random.default_rng(0).normal(73, 60 / 3.29, 4000), 0)
    assert unsure == pytest.approx(predictive.at_least(draws).mean(), rel=0.05)
    assert unsure > exact


def test_a_look_taken_out_again_leaves_no_trace() -> None:
    a, b = Sufficient.of(YARD, [1.0] * 11), Sufficient.of(YARD, [1.0] * 11)
    b.add(50.0, 0.6)
    b.add(50.0, 0.6, -1.0)
    assert b.predictive().at_least(73.0)[0] == pytest.approx(a.predictive().at_least(73.0)[0], abs=1e-9)


def test_no_looks_at_all_is_the_prior() -> None:
    predictive = Sufficient().predictive()
    assert predictive.weight.sum() == pytest.approx(1.0)
    assert len(predictive.weight) == MU_NODES * K_NODES


@pytest.mark.parametrize("looks", [5, 12, 40])
def test_a_first_ship_after_an_empty_berth_is_nothing_silly(looks: int) -> None:
    assert Sufficient.of([0] * looks, [1.0] * looks).predictive().at_least(1.0)[0] > 0.1


def test_q_values_are_benjamini_hochberg() -> None:
    p = np.random.default_rng(3).uniform(size=40) ** 3
    q = q_values(dict(enumerate(p.tolist())))
    np.testing.assert_allclose([q[i] for i in range(40)], stats.false_discovery_control(p))
    assert q_values({}) == {}
