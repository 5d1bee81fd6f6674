"""From boxes to a count: what precision, recall and the detector's own confidence say of the number of objects (METHOD 5, E1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import NormalDist

import numpy as np

_Z90 = NormalDist().inv_cdf(0.95)

UNKNOWN_RATE_SD = 0.15
"""Standard deviation given to precision and recall where they were never measured. Ours: the published range of recall, 0.74 to
0.96 (METHOD 8, R28), lies within it around one."""

PRIOR_BOXES = 5
"""Boxes of the mean score that a scene's own mean is drawn towards: the confidence of three boxes says little about a scene."""

LEAST_OBJECTS = 8
"""Scenes with fewer objects say little about how scenes differ."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well one class is found in one GSD bin.

    Attributes:
        cls: class name.
        gsd_low, gsd_high: the bin, metres.
        precision, recall: over all scenes that were measured.
        n: labelled objects behind them; 0 where nothing was measured.
        scene_sd: spread of the corrected count between scenes, relative to it, that chance and the score leave: light, ground and
            stock differ from scene to scene, and the detector with them.
        score_mean: mean over scenes of a scene's mean score.
        score_slope: change of log(found / objects) per unit of a scene's mean score. In haze, blur and dusk a detector finds fewer
            and is less sure of those it finds, so its confidence tells part of what it missed.
    """

    cls: str
    gsd_low: float
    gsd_high: float
    precision: float
    recall: float
    n: int
    scene_sd: float = 0.0
    score_mean: float = 0.0
    score_slope: float = 0.0


ANY_CALIBRATION = Calibration("", 0.0, 100.0, 1.0, 1.0, 0)
"""Stands in where nothing was measured: the raw count, with `UNKNOWN_RATE_SD`."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One scene that was measured: boxes, those that hit, objects, mean score of the boxes."""

    found: int
    hits: int
    objects: int
    score: float


def corrected_count(raw: int, rates: Calibration, score: float | None = None) -> tuple[float, float, float]:
    """``N = n P / R`` with its 90 % interval (METHOD 5, E1), corrected by the mean `score` of the `raw` boxes.

    ``Var N = N (1 - R) / R + n P (1 - P) / R^2 + N^2 (var R / R^2 + var P / P^2 + s^2)``: chance within the scene, the number of
    labelled objects behind P and R, and the spread s of the count between scenes. The upper end is never below the number that would
    be missed altogether with probability 5 %.

    >>> [round(v) for v in corrected_count(73, Calibration("railcar", 0.3, 0.8, 0.96, 0.96, 156))]
    [73, 68, 78]
    """
    precision, recall = max(rates.precision, 0.01), max(rates.recall, 0.01)
    value = raw * precision / recall
    if score is not None and raw:
        value *= exp(-rates.score_slope * (score - rates.score_mean) * raw / (raw + PRIOR_BOXES))
    measured = ((1 - recall) / recall + (1 - precision) / precision) / max(rates.n, 1)
    from_rates = measured + rates.scene_sd**2 if rates.n > 0 else 2 * UNKNOWN_RATE_SD**2
    variance = value * (1 - recall) / recall + raw * precision * (1 - precision) / recall**2 + value**2 * from_rates
    half = _Z90 * sqrt(variance)
    missed = log(0.05) / log(1 - recall) if recall < 1 else 0.0  # (1 - R)^N = 5 %
    return value, max(0.0, value - half), max(value + half, missed)


def fit(cls: str, gsd_low: float, gsd_high: float, scenes: Sequence[Counted]) -> Calibration:
    """The calibration of one class and GSD bin from measured scenes; a slope that its scatter does not carry (below 2 sd) is none."""
    objects, found, hits = (sum(getattr(s, name) for s in scenes) for name in ("objects", "found", "hits"))
    precision, recall = hits / max(found, 1), hits / max(objects, 1)
    plain = Calibration(cls, gsd_low, gsd_high, round(precision, 4), round(recall, 4), objects)
    many = [s for s in scenes if s.objects >= LEAST_OBJECTS]
    if hits == 0 or len(many) < 4:
        return plain
    error = np.array([log(max(s.found, 0.5) * precision / recall / s.objects) for s in many])
    chance = np.array([((1 - recall) / recall + (1 - precision) / recall) / s.objects for s in many])
    score = np.array([s.score for s in many]) - (mean := float(np.mean([s.score for s in many])))
    weight = np.array([s.found / (s.found + PRIOR_BOXES) for s in many])
    score *= weight
    slope = float(score @ error) / max(float(score @ score), 1e-12)
    left = error - slope * score
    doubt = sqrt(float(left @ left) / (len(many) - 1) / max(float(score @ score), 1e-12))
    if slope < 2 * doubt:
        slope, left = 0.0, error
    # a few scenes go badly wrong: the spread is also to hold nine in ten of them
    tail = float(np.quantile(np.abs(left), 0.9)) / _Z90
    spread = sqrt(max(0.0, max(float((left**2).mean()), tail**2) - float(chance.mean())))
    return replace(plain, scene_sd=round(spread, 4), score_mean=round(mean, 4), score_slope=round(slope, 3))
