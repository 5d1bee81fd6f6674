"""How well a head counts: precision, recall, and what its own confidence says of what it missed, measured on scenes (METHOD 5, E1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import NormalDist

import numpy as np

PRIOR_BOXES = 5
"""Boxes of the mean score that a scene's own mean is drawn towards: the confidence of three boxes says little about a scene."""

LEAST_OBJECTS = 8
"""Scenes with fewer objects say little about how scenes differ in proportion: they tell the floor, off whatever stands there."""

LEAST_SCENES = 8
"""Scenes below which no spread is told."""

HELD = 0.9
"""Share of scenes whose interval is to hold the truth."""
HALF_WIDTH = NormalDist().inv_cdf((1 + HELD) / 2)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well one class is found under one condition: a bin of GSD, and of the sun's height where that was measured apart.

    Attributes:
        cls: class name.
        gsd_low, gsd_high: the bin, metres.
        sun_low, sun_high: heights of the sun, degrees; from 0 to 90 speaks for looks whose sun is not declared.
        precision, recall: over all scenes that were measured.
        n: labelled objects behind them; 0 where nothing was measured.
        scene_sd: spread of the corrected count between scenes, relative to it, that chance and the score leave: light, ground and
            stock differ from scene to scene, and the detector with them.
        floor_sd: spread in objects where few or none stand: false boxes do not follow the number of true ones.
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
    floor_sd: float = 0.0
    score_mean: float = 0.0
    score_slope: float = 0.0
    sun_low: float = 0.0
    sun_high: float = 90.0


@dataclass(frozen=True, slots=True)
class Counted:
    """One scene that was measured: boxes, those that hit, objects, mean score of the boxes, height of the sun in degrees."""

    found: int
    hits: int
    objects: int
    score: float
    sun_deg: float = 45.0


def fit(cls: str, gsd: tuple[float, float], scenes: Sequence[Counted], sun: tuple[float, float] = (0.0, 90.0)) -> Calibration:
    """The calibration of one class, GSD bin and range of the sun from measured scenes, those of other suns left out.

    A slope that its scatter does not carry (below 2 sd) is none.
    """
    scenes = [s for s in scenes if sun[0] <= s.sun_deg < sun[1]]
    objects, found, hits = (sum(getattr(s, name) for s in scenes) for name in ("objects", "found", "hits"))
    precision, recall = hits / max(found, 1), hits / max(objects, 1)
    plain = Calibration(cls, *gsd, round(precision, 4), round(recall, 4), objects, sun_low=sun[0], sun_high=sun[1])
    few, many = ([s for s in scenes if (s.objects >= LEAST_OBJECTS) == side] for side in (False, True))
    if hits == 0 or len(many) < LEAST_SCENES:
        return plain
    error = np.array([log(max(s.found, 0.5) * precision / recall / s.objects) for s in many])
    score = np.array([s.score for s in many]) - (mean := float(np.mean([s.score for s in many])))
    score *= np.array([s.found / (s.found + PRIOR_BOXES) for s in many])
    slope = float(score @ error) / max(float(score @ score), 1e-12)
    left = error - slope * score
    doubt = sqrt(float(left @ left) / (len(many) - 1) / max(float(score @ score), 1e-12))
    rates = replace(plain, score_mean=round(mean, 4), score_slope=round(slope, 3) if slope >= 2 * doubt else 0.0)
    rates = replace(rates, floor_sd=round(_spread(few, rates, relative=False), 2)) if len(few) >= LEAST_SCENES else rates
    return replace(rates, scene_sd=round(_spread(many, rates, relative=True), 4))


def corrected(raw: int, rates: Calibration, score: float | None) -> tuple[float, float]:
    """The count that `raw` boxes of this mean score speak for, and its variance by chance within the scene (METHOD 5, E1).

    ``N = n P / R``; ``Var N = N (1 - R) / R + n P (1 - P) / R^2``.
    """
    precision, recall = max(rates.precision, 0.01), max(rates.recall, 0.01)
    value = raw * precision / recall
    if score is not None:
        value *= exp(-rates.score_slope * (score - rates.score_mean) * raw / (raw + PRIOR_BOXES))
    return value, value * (1 - recall) / recall + raw * precision * (1 - precision) / recall**2


def _spread(scenes: Sequence[Counted], rates: Calibration, *, relative: bool) -> float:
    """The least spread, in objects or relative to the count, with which intervals hold the truth of nine in ten scenes.

    Not their standard deviation: a few scenes go badly wrong, and would widen the interval of all others beyond what it promises.
    """
    wanted = []
    for s in scenes:
        value, chance = corrected(s.found, rates, s.score if s.found else None)
        beyond = ((value - s.objects) / HALF_WIDTH) ** 2 - chance - (rates.floor_sd**2 if relative else 0.0)
        wanted.append(max(0.0, beyond) / (max(value, 0.5) ** 2 if relative else 1.0))
    return sqrt(float(np.quantile(wanted, HELD)))
