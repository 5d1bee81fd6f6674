"""Has the mix of types changed? Dirichlet-multinomial, since cars of one type come together (METHOD 6.3; T5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import beta

F64 = NDArray[np.float64]

PRIOR_COUNT = 0.5
"""Jeffreys prior of a share."""

CONCENTRATION_LOG_MEAN, CONCENTRATION_LOG_SD = float(np.log(10.0)), 1.0
"""Prior of the concentration, ours: a train of 10 cars of one type moves the mix about as much as one look does."""

_NODES = 25
_DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Share:
    """Share of a type, or of types together, with its 90 % interval."""

    value: float
    low: float
    high: float


def share(counts: Mapping[str, int], types: Sequence[str]) -> Share:
    """Share of some types together (beta posterior with the Jeffreys prior).

    Raises:
        ValueError: nothing was counted.
    """
    total, part = sum(counts.values()), sum(counts.get(t, 0) for t in types)
    if total == 0:
        raise ValueError("nothing was counted; there is no mix")
    posterior = beta(part + PRIOR_COUNT, total - part + PRIOR_COUNT)
    return Share(part / total, float(posterior.ppf(0.05)), float(posterior.ppf(0.95)))


@dataclass(frozen=True, slots=True)
class MixChange:
    """How far one look's mix is from the mix of the past.

    Attributes:
        p: probability of a mix at least this far off if nothing has changed.
        concentration: posterior mean of the concentration; large when looks are alike.
        most_changed: type with the largest change of share.
        from_share, to_share: its share before and now.
    """

    p: float
    concentration: float
    most_changed: str
    from_share: float
    to_share: float


def mix_change(past: Sequence[Mapping[str, int]], now: Mapping[str, int], *, seed: int = 0) -> MixChange:
    """Compare a look's counts by type with those of past looks.

    The past mix is pooled; how much looks differ among themselves (the concentration) is learnt from them under a prior. The
    deviance of the new look is compared with that of looks drawn from the same mix and concentration.

    Args:
        past: counts by type of past looks; unknown types are a type of their own.
        now: counts by type of the look under test.
        seed: of the draws.

    Raises:
        ValueError: no past look, or an empty look.
    """
    types = sorted({t for counts in (*past, now) for t in counts})
    table = np.array([[counts.get(t, 0) for t in types] for counts in past], np.float64)
    new = np.array([now.get(t, 0) for t in types], np.float64)
    if len(past) == 0 or table.sum() == 0 or new.sum() == 0:
        raise ValueError("a change of mix needs counts in the past and in the look under test")
    pooled = table.sum(axis=0) + PRIOR_COUNT
    mix = pooled / pooled.sum()
    nodes, weight = _concentration(table, mix)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(nodes, size=_DRAWS, p=weight)
    shares = rng.gamma(np.maximum(drawn[:, None] * mix, 1e-3))
    shares /= shares.sum(axis=1, keepdims=True)
    simulated = _deviance(rng.multinomial(int(new.sum()), shares).astype(np.float64), mix)
    observed = _deviance(new[None], mix)[0]
    change = new / new.sum() - mix
    most = int(np.argmax(np.abs(change)))
    return MixChange(
        p=float((1 + (simulated >= observed).sum()) / (_DRAWS + 1)),
        concentration=float(nodes @ weight),
        most_changed=types[most],
        from_share=float(mix[most]),
        to_share=float(new[most] / new.sum()),
    )


def _concentration(table: F64, mix: F64) -> tuple[F64, F64]:
    """Nodes and posterior weights of the concentration given the past looks."""
    log_nodes = CONCENTRATION_LOG_MEAN + CONCENTRATION_LOG_SD * np.linspace(-3, 3, _NODES)
    nodes = np.exp(log_nodes)
    log_weight = -0.5 * ((log_nodes - CONCENTRATION_LOG_MEAN) / CONCENTRATION_LOG_SD) ** 2
    alpha = nodes[:, None] * mix
    for row in table:
        log_weight += gammaln(nodes) - gammaln(nodes + row.sum())
        log_weight += (gammaln(alpha + row) - gammaln(alpha)).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    return nodes, weight / weight.sum()


def _deviance(counts: F64, mix: F64) -> F64:
    """(M,) twice the log-likelihood ratio of each row's own mix over `mix`."""
    total = counts.sum(axis=1, keepdims=True)
    ratio = np.where(counts > 0, counts / (total * mix), 1.0)
    return np.asarray(2 * (counts * np.log(ratio)).sum(axis=1))
