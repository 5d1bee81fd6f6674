"""A robust map through tie points: similarity consensus, then the simplest of shift, similarity and affine that explains it.

Every fit says how far off it may be at any point (`Fit.doubt_at`), because few windows on one shore fix a shift well and a turn badly,
and how unlikely it is as a chance agreement (`Fit.log_false_alarms`; Moisan and Stival, IJCV 57, 2004, "a contrario RANSAC").
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

MAX_DISTORTION = 0.12
"""Largest |scale and turn - 1| of a hypothesis: 7 degrees or 12 %; looks on one nominal grid differ by far less."""
FLOOR_PX = 0.03
"""Spread of perfect tie points; keeps the choice of model from chasing rounding."""
BESIDE = 3.0
"""A tie point off by one to this many tolerances lies beside the map: seldom by chance, whose errors spread over the whole search."""
_PARAMETERS: dict[str, int] = {"shift": 2, "similarity": 4, "affine": 6}
_NEEDED: dict[str, int] = {"shift": 3, "similarity": 4, "affine": 20}


@dataclass(frozen=True, slots=True)
class Fit:
    """A map from after to before pixels, and how much it can be trusted.

    Attributes:
        matrix: (2, 3) float64, x_before = matrix @ (x_after, 1).
        kept: (N,) bool, tie points that agree.
        residual_px: median distance of the kept ones.
        model: what was fitted.
        covariance: (3, 3), of one axis' affine coefficients; used for the doubt whichever model was chosen.
        log_false_alarms: log10 of the number of equally good agreements expected by chance.
        beside: tie points that miss the map by one to `BESIDE` tolerances.
        log_beside: log10 of the probability that so many do by chance.
    """

    matrix: F64
    kept: Bool
    residual_px: float
    model: Literal["shift", "similarity", "affine"]
    covariance: F64
    log_false_alarms: float
    beside: int
    log_beside: float

    def at(self, points: F64) -> F64:
        """(N, 2) after pixels -> (N, 2) before pixels."""
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])

    def doubt_at(self, points: F64) -> F64:
        """(N,) standard error of the map, pixels, if turn and scale are left free."""
        delta = np.column_stack([points, np.ones(len(points))])
        return np.asarray(np.sqrt(2 * np.einsum("ni,ij,nj->n", delta, self.covariance, delta)))


def sound(matrix: F64) -> bool:
    """Whether a (2, 3) map is one of ground to ground: finite, and of a scale that two looks on one nominal grid can have."""
    area = float(np.linalg.det(matrix[:, :2])) if np.isfinite(matrix).all() else 0.0
    return abs(area - 1) < 3 * MAX_DISTORTION


def robust_fit(source: F64, target: F64, tolerance_px: float, search_px: float, weight: float = 1.0) -> Fit | None:
    """Fit the map that most tie points share; None where no three agree.

    Args:
        source: (N, 2) places in the after look, pixels.
        target: (N, 2) the same ground in the before look.
        tolerance_px: a tie point within this of the map agrees with it.
        search_px: half side of the square in which each match was searched: gives the odds of chance.
        weight: independent matches per match, for the odds of chance.
    """
    kept = _consensus(source, target, tolerance_px)
    if kept is None:
        return None
    model, matrix = "shift", np.zeros((2, 3))
    for _ in range(3):  # the model decides who agrees, who agrees decides the model
        model, matrix = _simplest(source[kept], target[kept])
        if not sound(matrix):
            return None
        now = np.hypot(*(source @ matrix[:, :2].T + matrix[:, 2] - target).T) <= tolerance_px
        if now.sum() < 3 or (now == kept).all():
            break
        kept = now
    gap = np.hypot(*(source @ matrix[:, :2].T + matrix[:, 2] - target).T)
    residual = gap[kept]
    chance = _log_chance(weight * len(source), weight * float(kept.sum()), tolerance_px, search_px)
    beside = int(((gap > tolerance_px) & (gap <= BESIDE * tolerance_px)).sum())
    odds = min(1.0, (BESIDE**2 - 1) * _odds(tolerance_px, search_px))
    by_chance = stats.binom.logsf(np.floor(weight * beside) - 1, round(weight * float((~kept).sum())), odds) / np.log(10)
    covariance = _covariance(source[kept], residual, model)
    return Fit(matrix, kept, float(np.median(residual)), model, covariance, chance, beside, float(by_chance))  # type: ignore[arg-type]


def _consensus(source: F64, target: F64, tolerance_px: float) -> Bool | None:
    """Tie points that agree with the best of all shifts by one point and all similarities by two."""
    z, w = source @ (1, 1j), target @ (1, 1j)
    i, j = np.triu_indices(len(z), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = (w[i] - w[j]) / (z[i] - z[j])
    usable = np.abs(turn - 1) < MAX_DISTORTION
    turn, i = np.append(turn[usable], np.ones(len(z))), np.append(i[usable], np.arange(len(z)))
    if len(turn) > 4000:
        pick = np.linspace(0, len(turn) - 1, 4000).astype(np.int64)
        turn, i = turn[pick], i[pick]
    offset = w[i] - turn * z[i]
    gap = np.abs(turn[:, None] * z[None] + offset[:, None] - w[None])
    votes = np.maximum(0, 1 - (gap / tolerance_px) ** 2).sum(axis=1)  # MSAC: close agreement counts more
    kept = gap[int(votes.argmax())] <= tolerance_px
    return np.asarray(kept) if kept.sum() >= 3 else None


def _simplest(source: F64, target: F64) -> tuple[str, F64]:
    """The model of least BIC among those that the points support."""
    n, best = len(source), (np.inf, "shift", np.zeros((2, 3)))
    for model, needed in _NEEDED.items():
        if n < needed:
            continue
        matrix = _solve(source, target, model)
        gap = np.hypot(*(source @ matrix[:, :2].T + matrix[:, 2] - target).T)
        bic = 2 * n * float(np.log(np.mean(gap**2) / 2 + FLOOR_PX**2)) + _PARAMETERS[model] * float(np.log(2 * n))
        if bic < best[0]:
            best = (bic, model, matrix)
    return best[1], best[2]


def _solve(source: F64, target: F64, model: str) -> F64:
    """Least squares, re-weighted by Cauchy's function at the spread of the residuals."""
    weight = np.ones(len(source))
    matrix = np.zeros((2, 3))
    for _ in range(6):
        root = np.sqrt(weight)
        if model == "shift":
            mean = np.average(target - source, axis=0, weights=weight)
            matrix = np.column_stack([np.eye(2), mean])
        elif model == "similarity":
            design = np.column_stack([source @ (1, 1j), np.ones(len(source))])
            (turn, offset), *_ = np.linalg.lstsq(design * root[:, None], target @ (1, 1j) * root, rcond=None)
            matrix = np.array([[turn.real, -turn.imag, offset.real], [turn.imag, turn.real, offset.imag]])
        else:
            design = np.column_stack([source, np.ones(len(source))])
            solution, *_ = np.linalg.lstsq(design * root[:, None], target * root[:, None], rcond=None)
            matrix = solution.T
        gap = np.hypot(*(source @ matrix[:, :2].T + matrix[:, 2] - target).T)
        weight = 1 / (1 + (gap / (1.5 * max(float(np.median(gap)), FLOOR_PX))) ** 2)
    return np.asarray(matrix, np.float64)


def _covariance(source: F64, residual: F64, model: str) -> F64:
    """(3, 3) of the x, y and constant coefficients of one axis; infinite where the points lie too close together."""
    centre = source.mean(axis=0)
    spent = _PARAMETERS[model]
    variance = max(float((residual**2).sum()) / max(2 * len(source) - spent, 1), FLOOR_PX**2)
    scatter = (source - centre).T @ (source - centre)
    if model != "affine":  # one turn and scale for both axes: the baseline is the spread in x and y together
        scatter = np.eye(2) * np.trace(scatter)
    if np.linalg.eigvalsh(scatter)[0] < 1:
        return np.full((3, 3), np.inf)
    to_centre = np.array([[1.0, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, 1]])
    own = np.zeros((3, 3))
    own[:2, :2], own[2, 2] = variance * np.linalg.inv(scatter), variance / len(source)
    return np.asarray(to_centre.T @ own @ to_centre)


def _log_chance(points: float, kept: float, tolerance_px: float, search_px: float) -> float:
    """log10 of the expected number of similarities that as many of `points` random matches would agree with."""
    odds = _odds(tolerance_px, search_px)
    pairs = points * (points - 1) / 2
    return float(np.log10(max(pairs, 1)) + stats.binom.logsf(np.floor(kept) - 3, max(round(points) - 2, 1), odds) / np.log(10))


def _odds(tolerance_px: float, search_px: float) -> float:
    """Probability that a random match agrees with a map."""
    return float(min(1.0, np.pi * tolerance_px**2 / (2 * search_px) ** 2))
