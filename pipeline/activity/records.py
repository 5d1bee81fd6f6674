"""What the activity room hands on: an `Estimate` per zone, class and look, and an `Alert` per judged look."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

NO_VALUE_BELOW, INTERVAL_ONLY_BELOW = 0.2, 0.5
"""Exposure below which a zone has no value, and below which the interval may be used but the point not quoted (METHOD 5)."""

Verdict = Literal["insufficient baseline", "within baseline", "watch", "spike", "drop", "not observed"]

VERDICTS: tuple[Verdict, ...] = (
    "insufficient baseline",
    "within baseline",
    "watch",
    "spike",
    "drop",
    "not observed",
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """How much of one class was in one zone on one look, or why that could not be seen.

    Attributes:
        site: site id.
        zone: zone id.
        zone_version: version of the zone's outline.
        cls: class name, or a quantity such as ``occupied_track_m`` or ``pile_teu``.
        time: aware UTC time of the look.
        value: point estimate for the *observed* part of the zone, scaled to nothing; None when not observed.
        low: lower end of the 90 % interval; None when not observed.
        high: upper end of the 90 % interval; None when not observed.
        exposure: observable fraction of the zone, 0..1.
        estimator: id of METHOD section 5, ``E1`` to ``E7``, or ``human`` for a count from a table.
        not_observed: reason why there is no value (``cloud 83 %``, ``outside the swath``), empty when there is one.
        interval_only: exposure is below 0.5: the interval may be used, the point must not be quoted (METHOD 5).
        lower_bound: the true number is at least this ("at least" in words).
        unit: ``count``, ``m`` or ``TEU``.
        raw: number of raw boxes the estimate rests on, None where it rests on something else.
        scene_ids: the scenes of the look.
        gsd_m: ground sample distance of the look, metres; None for a table.
        note: what a reader must know about this number (``no calibration at 0.9 m``), empty mostly.
    """

    site: str
    zone: str
    zone_version: int
    cls: str
    time: datetime
    value: float | None
    low: float | None
    high: float | None
    exposure: float
    estimator: str
    not_observed: str = ""
    interval_only: bool = False
    lower_bound: bool = False
    unit: str = "count"
    raw: int | None = None
    scene_ids: tuple[str, ...] = ()
    gsd_m: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        assert (self.value is None) == bool(self.not_observed), "a value or a reason, never both, never neither"
        assert 0.0 <= self.exposure <= 1.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One look judged against the baseline of its zone and class; also made for looks that raise nothing.

    Attributes:
        estimate: the look under test.
        verdict: one of `VERDICTS`.
        expected: predictive mean at the look's exposure; None without a baseline.
        band_low: lower end of the central 90 % predictive interval.
        band_high: upper end of the central 90 % predictive interval.
        p: one-sided predictive probability of a count at least (for a drop: at most) this extreme.
        q: p after Benjamini-Hochberg over the zones and classes judged together.
        ratio_to_max: value over the largest past value; None without past looks or when that is zero.
        looks: number of looks in the baseline.
        baseline_max: the largest past value.
        guard_days: guard band used.
        contaminated: looks inside the guard band that are themselves high (METHOD 2.4, T3).
        baseline_span: first and last day of the baseline, ``28 Oct 2022 to 14 Sep 2023``; says so when it is of one season.
        direction: the side on which p was taken, empty without a test.
        build_up_p: probability of a run of quiet looks standing as high as those since the baseline, this one last (NB-CUSUM);
            None where the guard band holds no other look.
        build_up_since: day on which that rise began, ``22 Sep 2023``; empty without one.
        wording: sentences for a person; likelihood and confidence in separate sentences (METHOD 6.3).
        evidence: ids of the scenes and looks it rests on.
    """

    estimate: Estimate
    verdict: Verdict
    expected: float | None = None
    band_low: float | None = None
    band_high: float | None = None
    p: float | None = None
    q: float | None = None
    ratio_to_max: float | None = None
    looks: int = 0
    baseline_max: float | None = None
    guard_days: int = 28
    contaminated: int = 0
    baseline_span: str = ""
    direction: Literal["surge", "drop", ""] = ""
    build_up_p: float | None = None
    build_up_since: str = ""
    wording: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()

    @property
    def raised(self) -> bool:
        """Whether this is something to show first: a spike or a drop."""
        return self.verdict in {"spike", "drop"}
