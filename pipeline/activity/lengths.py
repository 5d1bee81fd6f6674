"""Metres of occupied track, and cars from metres (METHOD 5, E2 and E3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, radians, sqrt, tan

import numpy as np
from numpy.typing import NDArray

from pipeline.activity.nb import Z90

F64 = NDArray[np.float64]

CAR_M = 14.0
"""The conditional wagon of Russian train lists, for a mixed string (METHOD 4.2)."""


FLEET_SD_M, MIX_SD_M = 1.0, 1.6
"""Which fleet it is (one error for all strings), and the spread of lengths inside it (METHOD 5, E2)."""

GAP_M = 1.1
"""Body-to-body gap, mode of 0.8 to 1.9 m (METHOD 4.2): the coupling at the end of a string shows no body."""

JOIN_GAP_M = 5.0
"""Bodies closer than this along one track are one string. Ours: coupled bodies are 0.8 to 1.9 m apart (METHOD 4.2), one missed
car leaves 12 m or more, and a pixel of 3 m must not part a string."""

END_SD_GSD = 0.7
"""Standard deviation of each end of a measured length, in GSD (METHOD 5, E2)."""

DOUBT_SHARE, STRETCH_M = 0.31, 28.0
"""Error of one picture's tracks, relative to the metres that the network itself doubts, and length of stretches that are misread
each for itself. Fitted to 300 rendered yards (seeds 4 980 000 to 4 980 299) at 1 to 3 m so that nine intervals of ten hold the truth,
at any GSD, sun and view, of few metres and of many."""

SHADOW_SHARE, SHADOW_LENGTH = 0.069, 1.38
"""Strings are read 7 % longer for each height of a body that its shadow is longer, which fills gaps and adds to ends, and right where a
shadow is 1.38 heights long. Fitted to 120 rendered yards (seeds 4 980 000 to 4 980 119) at 1 to 3 m, sun 20 to 65 degrees high."""

PITCH_RANGE_M = (10.0, 25.0)
"""Where the repeat of a string is looked for (METHOD 5, E3)."""

HARMONIC = 0.7
"""A shorter repeat wins over a longer one from this share of its height on. Ours: sampling at 1 m blurs a repeat that is no whole
number of metres."""

PROMINENCE_NOISE = 6.0
"""Height of the autocorrelation peak, in ``1 / sqrt(samples)``, below which the prior is used: the standard deviation of one lag
of white noise is one such unit, and the range of the sixteen lags exceeds six in fewer than one string of fifty."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number with its standard deviation and 90 % interval."""

    value: float
    sd: float

    @property
    def low(self) -> float:
        """Lower end, never below zero."""
        return max(0.0, self.value - Z90 * self.sd)

    @property
    def high(self) -> float:
        """Upper end."""
        return self.value + Z90 * self.sd


def misread_sd(doubt_m: float) -> float:
    """Standard deviation of occupied metres from steps of a track that were taken for the other kind, metres.

    One picture misreads its tracks alike (its light, its paint), so the error grows with the doubt and not with its root alone; the
    root is of stretches about two cars long, each wrong for itself.

    Args:
        doubt_m: metres expected to be misread, by the network's own probabilities.
    """
    return sqrt((DOUBT_SHARE * doubt_m) ** 2 + STRETCH_M * doubt_m)


def without_shadow(length_m: float, sun_deg: float | None) -> float:
    """Length of a string less what its shadow makes of it; as it was read where the height of the sun is not declared.

    >>> [round(without_shadow(100, sun)) for sun in (20, 36, 65)]
    [91, 100, 107]
    """
    if sun_deg is None:
        return length_m
    shadow = 1 / tan(radians(min(max(sun_deg, 20.0), 65.0)))
    return length_m * exp(-SHADOW_SHARE * (shadow - SHADOW_LENGTH))


def cars_from_strings(strings_m: Sequence[float], gsd_m: float, car_m: float = CAR_M, car_sd_m: float = FLEET_SD_M) -> Number:
    """E2: ``N = sum (L + g) / l`` (METHOD 5).

    ``Var N = N^2 (s_l / l)^2 + N (s_mix / l)^2 + 2 n (0.7 GSD)^2 / l^2`` with n strings.

    Args:
        strings_m: length of each string, metres.
        gsd_m: ground sample distance, metres.
        car_m: mean length over couplers.
        car_sd_m: its standard deviation: `FLEET_SD_M` for the prior, the error of the pitch where that was measured.

    >>> cars = cars_from_strings([820, 80], 3.0)
    >>> round(cars.value), round(cars.sd)
    (64, 5)
    """
    number = sum(length + GAP_M for length in strings_m) / car_m
    ends = len(strings_m) * 2 * (END_SD_GSD * gsd_m) ** 2 / car_m**2
    variance = (number * car_sd_m / car_m) ** 2 + number * (MIX_SD_M / car_m) ** 2 + ends
    return Number(number, sqrt(variance))


def join(spans: Sequence[tuple[float, float]], gap_m: float = JOIN_GAP_M) -> list[tuple[float, float]]:
    """Unions of intervals along one track, gaps up to `gap_m` closed, in order.

    >>> join([(0, 13), (14, 27), (60, 73)])
    [(0, 27), (60, 73)]
    """
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= gap_m:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


@dataclass(frozen=True, slots=True)
class Pitch:
    """Repeat of a string.

    Attributes:
        metres: length over couplers.
        sd_m: its standard deviation.
        prominence: height of the autocorrelation peak over the lowest point of the range, 0..2.
    """

    metres: float
    sd_m: float
    prominence: float


def pitch(profile: F64, step_m: float) -> Pitch | None:
    """E3: the repeat of a string from the autocorrelation of its brightness profile.

    Args:
        profile: (N,) brightness along the string, all of it observed.
        step_m: metres between samples, at most 2.

    Returns:
        None when the string is shorter than four repeats or no peak stands out: then the prior of E2 is to be used.
    """
    lags = np.arange(int(np.ceil(PITCH_RANGE_M[0] / step_m)), int(PITCH_RANGE_M[1] / step_m) + 1)
    if len(profile) < 4 * PITCH_RANGE_M[0] / step_m or len(lags) < 3 or len(profile) <= lags[-1] + 2:
        return None
    centred = profile - profile.mean()
    power = float(centred @ centred)
    if power <= 0:
        return None
    n = len(profile)
    correlation = np.array([float(centred[lag:] @ centred[:-lag]) / power * n / (n - lag) for lag in lags])
    floor = float(correlation.min())
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner >= correlation[:-2]) & (inner >= correlation[2:]))
    tall = [i for i in peaks.tolist() if correlation[i] - floor >= HARMONIC * (inner.max() - floor)]
    if not tall:
        return None
    best = tall[0]  # twice the pitch repeats as well: the shortest tall repeat is one car
    left, peak, right = correlation[best - 1 : best + 2]
    prominence = float(peak - floor)
    if prominence < PROMINENCE_NOISE / sqrt(n):
        return None
    bend = left - 2 * peak + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0  # vertex of the parabola through the three samples
    repeats = n * step_m / (lags[best] * step_m)
    return Pitch(float((lags[best] + shift) * step_m), float(step_m / (2 * sqrt(repeats))), prominence)
