"""E1: a number of boxes, corrected by how well the detector finds their class, and how often that interval holds (METHOD 5)."""

from collections.abc import Sequence
from math import log, sqrt

from models.calibration import Calibration, corrected
from pipeline.activity.nb import Z90

UNKNOWN_RATE_SD = 0.15
"""Standard deviation given to precision and recall where they were never measured. Ours: the published range of recall, 0.74 to
0.96 (METHOD 8, R28), lies within it around one."""

ANY_CALIBRATION = Calibration("", 0.0, 100.0, 1.0, 1.0, 0)
"""Stands in where nothing was measured: the raw count, with `UNKNOWN_RATE_SD`."""


def calibration_for(
    calibration: Sequence[Calibration], cls: str, gsd_m: float, sun_deg: float | None = None
) -> tuple[Calibration, str]:
    """The bin that holds the GSD, under this sun where it is declared and was measured apart; else the nearest bin of the class.

    Returns:
        The bin, and a note where it is another's or none.
    """
    mine = [row for row in calibration if row.cls == cls]
    bins = [row for row in mine if sun_deg is not None and _of_one_sun(row) and row.sun_low <= sun_deg < row.sun_high]
    bins = bins or [row for row in mine if not _of_one_sun(row)]
    for row in bins:
        if row.gsd_low <= gsd_m <= row.gsd_high:
            return row, ""
    if not bins:
        return ANY_CALIBRATION, f"precision and recall of {cls}s were never measured"
    nearest = min(bins, key=lambda row: min(abs(log(gsd_m / row.gsd_low)), abs(log(gsd_m / row.gsd_high))))
    return (
        nearest,
        f"precision and recall were measured at {nearest.gsd_low:g} to {nearest.gsd_high:g} m only",
    )


def _of_one_sun(row: Calibration) -> bool:
    return (row.sun_low, row.sun_high) != (0.0, 90.0)


def corrected_count(raw: int, rates: Calibration, score: float | None = None) -> tuple[float, float, float]:
    """E1: ``N = n P / R`` with its 90 % interval (METHOD 5), corrected by the mean `score` of the `raw` boxes.

    To the variance by chance within the scene (`models.calibration.corrected`) come ``N^2 (var R / R^2 + var P / P^2 + s^2) + a^2``:
    the number of labelled objects behind P and R, the spread s of the count between scenes, and the floor a. The upper end is never
    below the number that would be missed altogether with probability 5 %.

    >>> [round(v) for v in corrected_count(73, Calibration("railcar", 0.3, 0.8, 0.96, 0.96, 156))]
    [73, 68, 78]
    """
    precision, recall = max(rates.precision, 0.01), max(rates.recall, 0.01)
    value, variance = corrected(raw, rates, score)
    measured = ((1 - recall) / recall + (1 - precision) / precision) / max(rates.n, 1)
    from_rates = measured + rates.scene_sd**2 if rates.n > 0 else 2 * UNKNOWN_RATE_SD**2
    half = Z90 * sqrt(variance + value**2 * from_rates + rates.floor_sd**2)
    missed = log(0.05) / log(1 - recall) if recall < 1 else 0.0  # (1 - R)^N = 5 %
    return value, max(0.0, value - half), max(value + half, missed)


def held(pictures: Sequence[tuple[int, int, float]], rates: Calibration) -> float:
    """Share of pictures whose 90 % interval holds the truth, 0..1.

    Args:
        pictures: of each, the number of objects, of boxes, and the mean score of the boxes.
        rates: calibration of their class and GSD.
    """
    intervals = [corrected_count(found, rates, score if found else None)[1:] for _, found, score in pictures]
    return sum(low <= objects <= high for (objects, _, _), (low, high) in zip(pictures, intervals, strict=True)) / len(pictures)
