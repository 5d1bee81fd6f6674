"""Numbers per zone and look, each with its estimator, interval and exposure (METHOD 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from shapely import contains_xy
from shapely.geometry.base import BaseGeometry

from models import CLASSES, Detections
from models.card import Calibration
from pipeline.activity.records import Estimate
from pipeline.config import Zone

NO_VALUE_BELOW = 0.2
"""Exposure below which a zone has no value (METHOD 5)."""
INTERVAL_ONLY_BELOW = 0.5
"""Exposure below which the interval may be used but the point not quoted (METHOD 5)."""
Z90 = 1.645
CAR_LENGTH_M = 14.0
"""The conditional wagon of Russian train lists, for a mixed string (METHOD 4.2)."""
CAR_LENGTH_SD_M, CAR_MIX_SD_M = 1.0, 1.6
"""Which fleet (systematic), and spread within it (METHOD 5, E2)."""
COUPLING_M = 1.1
MAX_COUNT_GSD = {"railcar": 1.0, "container": 1.0, "vessel": 12.0}
"""Coarsest GSD at which single objects of a class are counted."""


@dataclass(frozen=True, slots=True)
class LookView:
    """What one look offers to counting.

    Attributes:
        site: site id.
        time: aware UTC time of the look.
        scene_ids: scenes it is made of.
        gsd_m: coarsest GSD among them.
        detections: boxes in the pixels of the look's frame.
        outlines: zone key -> outline in the same pixels.
        exposure: zone key -> (observable fraction, what hides the rest).
    """

    site: str
    time: datetime
    scene_ids: tuple[str, ...]
    gsd_m: float
    detections: Detections
    outlines: Mapping[str, BaseGeometry]
    exposure: Mapping[str, tuple[float, str]]


def in_zone(detections: Detections, outline: BaseGeometry) -> NDArray[np.bool_]:
    """(N,) which boxes have their centre in the outline."""
    centres = detections.boxes[:, :2]
    return np.asarray(contains_xy(outline, centres[:, 0], centres[:, 1]), np.bool_)


def estimate_zones(look: LookView, zones: Sequence[Zone], calibration: Sequence[Calibration]) -> list[Estimate]:
    """Count every class of every zone on one look."""
    found = []
    for zone in zones:
        share, hidden = look.exposure[zone.key]
        inside = look.detections.take(in_zone(look.detections, look.outlines[zone.key]))
        for cls in zone.classes:
            found.append(_count(look, zone, cls, inside, share, hidden, calibration))
    return found


def _count(
    look: LookView, zone: Zone, cls: str, inside: Detections, share: float, hidden: str, calibration: Sequence[Calibration]
) -> Estimate:
    common = {
        "site": look.site,
        "zone": zone.id,
        "zone_version": zone.version,
        "cls": cls,
        "time": look.time,
        "exposure": share,
        "scene_ids": look.scene_ids,
        "gsd_m": look.gsd_m,
    }
    estimator = "E5" if cls == "vessel" else "E1"
    reason = hidden or "not observed"
    if look.gsd_m > MAX_COUNT_GSD[cls]:
        reason = f"{cls}s cannot be told apart at {look.gsd_m:.2g} m (limit {MAX_COUNT_GSD[cls]:g} m)"
        return Estimate(**common, value=None, low=None, high=None, estimator=estimator, not_observed=reason)
    if share < NO_VALUE_BELOW:
        return Estimate(**common, value=None, low=None, high=None, estimator=estimator, not_observed=reason)
    raw = int((inside.classes == CLASSES.index(cls)).sum())
    value, low, high = corrected_count(raw, *rates(calibration, cls, look.gsd_m))
    return Estimate(
        **common,
        value=value,
        low=low,
        high=high,
        estimator=estimator,
        interval_only=share < INTERVAL_ONLY_BELOW,
        raw=raw,
    )


def rates(calibration: Sequence[Calibration], cls: str, gsd_m: float) -> tuple[float, float, int]:
    """Precision, recall and sample size of the bin that holds the GSD; without one the only published pair (METHOD 8: R28)."""
    for row in calibration:
        if row.cls == cls and row.gsd_low <= gsd_m <= row.gsd_high:
            return row.precision, row.recall, row.n
    return 0.96, 0.74, 156


def corrected_count(raw: int, precision: float, recall: float, n: int = 10**9) -> tuple[float, float, float]:
    """E1: N = n P / R with its 90 % interval (METHOD 5).

    Var N = N (1 - R) / R + n P (1 - P) / R^2 + N^2 (var R / R^2 + var P / P^2), the last term from `n` labelled objects.

    >>> [round(v) for v in corrected_count(73, 0.96, 0.96)]
    [73, 69, 77]
    """
    value = raw * precision / recall
    from_rates = ((1 - recall) / recall + (1 - precision) / precision) / n
    variance = value * (1 - recall) / recall + raw * precision * (1 - precision) / recall**2 + value**2 * from_rates
    half = Z90 * float(np.sqrt(variance))
    return value, max(0.0, value - half), value + half


def cars_on_track(strings_m: Sequence[float], gsd_m: float, car_m: float = CAR_LENGTH_M) -> tuple[float, float]:
    """E2: cars from metres of occupied track, with their standard deviation.

    Args:
        strings_m: length of each string.
        gsd_m: ground sample distance, which blurs each end by 0.7 GSD.
        car_m: mean length over couplers.

    >>> [round(v) for v in cars_on_track([820, 80], 3.0)]
    [64, 5]
    """
    n = sum(s + COUPLING_M for s in strings_m) / car_m
    ends = len(strings_m) * 2 * (0.7 * gsd_m) ** 2 / car_m**2
    variance = (n * CAR_LENGTH_SD_M / car_m) ** 2 + n * (CAR_MIX_SD_M / car_m) ** 2 + ends
    return n, float(np.sqrt(variance))
