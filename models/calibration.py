"""How well a head counts: precision, recall, and what its own confidence says of what it missed, measured on scenes (METHOD 5, E1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from statistics import NormalDist

import numpy as np

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


@dataclass(frozen=True, slots=True)
class Counted:
    """One scene that was measured: boxes, those that hit, objects, mean score of the boxes."""

    found: int
    hits: int
    objects: int
    score: float


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
    tail = float(np.quantile(np.abs(left), 0.9)) / NormalDist().inv_cdf(0.95)
    spread = sqrt(max(0.0, max(float((left**2).mean()), tail**2) - float(chance.mean())))
    return replace(plain, scene_sd=round(spread, 4), score_mean=round(mean, 4), score_slope=round(slope, 3))
