"""Numbers per zone and look, each with its estimator, interval and exposure (METHOD 5).

The estimator follows the GSD and is named in every number; where none works the estimate says so instead of being left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray
from shapely import contains_xy
from shapely.geometry.base import BaseGeometry

from models import CLASSES, Detections
from models.calibration import Calibration
from models.occupancy import STEP_M
from pipeline.activity.counted import calibration_for, corrected_count
from pipeline.activity.lengths import CAR_M, END_SD_GSD, FLEET_SD_M, Number, cars_from_strings, misread_sd, without_shadow
from pipeline.activity.occupied import TrackLook, seen_share
from pipeline.activity.pile_look import SMALLEST_M2, PileLook
from pipeline.activity.piles import SLOT_M2, USUAL_TIERS, from_block
from pipeline.activity.records import INTERVAL_ONLY_BELOW, NO_VALUE_BELOW, Estimate
from pipeline.imagery.observed import Observed
from pipeline.site import Zone

COUNT_GSD_M = 0.8
"""Coarsest GSD at which cars and boxes are counted one by one (METHOD 5, E1)."""

LENGTH_GSD_M = 5.0
"""Coarsest GSD at which metres of track become cars (METHOD 5, E2; METHOD 8c.3)."""

PILE_GSD_M = 3.0
"""Coarsest GSD at which a pile is measured by its outline and its shadow (METHOD 5, E4)."""

PILE_KINDS = ("apron", "storage")
"""Kinds of zone that hold one pile on open ground; a container yard holds many blocks."""

HULL_GSD_M, COARSE_GSD_M = 5.0, 20.0
"""Coarsest GSD of hulls with a length (E5), and of ships as a count (E6); METHOD 5."""


@dataclass(frozen=True, slots=True)
class LookView:
    """What one scene of a look offers to counting.

    Attributes:
        site: site id.
        time: aware UTC time of the look.
        scene_ids: scenes it is made of.
        gsd_m: coarsest GSD among them.
        detections: boxes in the pixels of the look's frame.
        outlines: zone key -> outline in the same pixels.
        exposure: zone key -> (observable fraction, what hides the rest).
        tracks: zone key -> what the pixels along its track centre lines show, for occupied-track length (0.8 to 5 m).
        piles: zone key -> the largest pile of a zone, None where nothing stands there, or why it could not be measured; only of zones
            that are `measured_as_pile` (E4).
        observed: what of the ground the scene shows; needed only where several scenes make one look.
        sun_deg: height of the sun, degrees; None where it is not declared.
        sought: classes that a head looked for; of the others nothing found says nothing (law 1).
    """

    site: str
    time: datetime
    scene_ids: tuple[str, ...]
    gsd_m: float
    detections: Detections
    outlines: Mapping[str, BaseGeometry]
    exposure: Mapping[str, tuple[float, str]]
    tracks: Mapping[str, tuple[TrackLook, ...]] = field(default_factory=dict)
    piles: Mapping[str, PileLook | str | None] = field(default_factory=dict)
    observed: Observed | None = None
    sun_deg: float | None = None
    sought: frozenset[str] = frozenset(CLASSES)


def in_zone(detections: Detections, outline: BaseGeometry) -> NDArray[np.bool_]:
    """(N,) which boxes have their centre in the outline."""
    centres = detections.boxes[:, :2]
    return np.asarray(contains_xy(outline, centres[:, 0], centres[:, 1]), np.bool_)


def estimate_class(look: LookView, zone: Zone, cls: str, calibration: Sequence[Calibration]) -> list[Estimate]:
    """Estimate one class of one zone on one look.

    Args:
        look: detections, outlines and exposures in one pixel frame.
        zone: a zone version that holds on the day of the look.
        cls: one of its classes.
        calibration: measured precision and recall per class and GSD bin.

    Returns:
        One estimate, also where nothing could be seen or no estimator works; railcars by length give two, cars and
        ``occupied_track_m``.
    """
    share, hidden = look.exposure[zone.key]
    estimator, refusal = estimator_of(look, zone, cls)
    tracks = look.tracks.get(zone.key, ()) if estimator == "E2" else ()
    share = min(share, seen_share(tracks)) if tracks else share
    if not refusal and share < NO_VALUE_BELOW:
        refusal = hidden or f"only {100 * share:.0f} % of the zone could be seen"
    blank = _blank(look, zone, cls, share, estimator, refusal)
    if refusal:
        return [blank]
    seen = replace(blank, value=0.0, low=0.0, high=0.0, not_observed="")
    if estimator == "E2":
        return _by_length(seen, tracks, zone, look.sun_deg)
    of_class = look.detections.take(in_zone(look.detections, look.outlines[zone.key])).of(cls)
    rates, note = calibration_for(calibration, cls, look.gsd_m, look.sun_deg)
    value, low, high = corrected_count(len(of_class), rates, float(of_class.scores.mean()) if len(of_class) else None)
    return [replace(seen, value=value, low=low, high=high, raw=len(of_class), note=note)]


def _blank(look: LookView, zone: Zone, cls: str, share: float, estimator: str, refusal: str) -> Estimate:
    """What an estimate is before it has a value."""
    return Estimate(
        site=look.site,
        zone=zone.id,
        zone_version=zone.version,
        cls=cls,
        time=look.time,
        value=None,
        low=None,
        high=None,
        exposure=share,
        estimator=estimator,
        not_observed=refusal or "not yet estimated",
        interval_only=not refusal and share < INTERVAL_ONLY_BELOW,
        scene_ids=look.scene_ids,
        gsd_m=look.gsd_m,
    )


def estimator_of(look: LookView, zone: Zone, cls: str) -> tuple[str, str]:
    """`choose_estimator` for a class of a zone on a look, which may also lack what the estimator works on."""
    estimator, refusal = choose_estimator(cls, look.gsd_m)
    if not refusal and estimator == "E2" and not look.tracks.get(zone.key):
        refusal = f"at {look.gsd_m:.2g} m cars are measured along track centre lines, and zone '{zone.id}' has none"
    if not refusal and estimator != "E2" and cls not in look.sought:
        refusal = f"no head of the model looks for {cls}s at {look.gsd_m:.2g} m per pixel"
    return estimator, refusal


def choose_estimator(cls: str, gsd_m: float) -> tuple[str, str]:
    """Estimator of METHOD 5 for a class at a GSD, and the reason why there is none (empty when there is one).

    >>> choose_estimator("railcar", 3.0)
    ('E2', '')
    >>> choose_estimator("railcar", 10.0)[1]
    'railcars cannot be told at 10 m per pixel (limit 5 m)'
    """
    if cls == "vessel":
        estimator, limit = ("E5", COARSE_GSD_M) if gsd_m <= HULL_GSD_M else ("E6", COARSE_GSD_M)
    elif cls == "railcar":
        estimator, limit = ("E1", LENGTH_GSD_M) if gsd_m <= COUNT_GSD_M else ("E2", LENGTH_GSD_M)
    else:
        estimator, limit = "E1", COUNT_GSD_M
    if gsd_m <= limit:
        return estimator, ""
    return estimator, f"{cls}s cannot be told at {gsd_m:.2g} m per pixel (limit {limit:g} m)"


def measured_as_pile(zone: Zone, gsd_m: float) -> bool:
    """Whether the boxes of a zone, too coarse to be counted, are measured as one pile (E4)."""
    return zone.kind in PILE_KINDS and "container" in zone.classes and COUNT_GSD_M < gsd_m <= PILE_GSD_M


def estimate_pile(look: LookView, zone: Zone) -> Estimate:
    """E4: twenty-foot units of the largest pile; a zone where nothing stands out holds less than the smallest pile."""
    pile, (share, _) = look.piles[zone.key], look.exposure[zone.key]
    blank = replace(_blank(look, zone, "pile_teu", share, "E4", pile if isinstance(pile, str) else ""), unit="TEU")
    if isinstance(pile, str):
        return blank
    if pile is None:
        return replace(blank, value=0.0, low=0.0, high=SMALLEST_M2 / SLOT_M2 * USUAL_TIERS[0], not_observed="")
    assert look.sun_deg is not None
    found = from_block(pile.length_m, pile.width_m, pile.height_m, look.gsd_m, look.sun_deg)
    note = f"the largest pile, taken as one block: {pile.length_m:.0f} x {pile.width_m:.0f} m, {found.tiers:.1f} boxes high"
    return replace(blank, value=found.value, low=found.low, high=found.high, not_observed="", note=note)


def _by_length(seen: Estimate, tracks: Sequence[TrackLook], zone: Zone, sun_deg: float | None) -> list[Estimate]:
    """E2: metres of occupied track, and the cars they make."""
    assert seen.gsd_m is not None
    lengths = [without_shadow((end - start) * STEP_M, sun_deg) for track in tracks for start, end in track.strings()]
    misread = misread_sd(sum(track.doubt_m for track in tracks))
    ends = sqrt(2 * len(lengths)) * END_SD_GSD * seen.gsd_m
    metres = Number(sum(lengths), hypot(misread, ends))
    car_m, car_sd_m = zone.fleet or (CAR_M, FLEET_SD_M)
    cars = cars_from_strings(lengths, seen.gsd_m, car_m, car_sd_m)
    cars = Number(cars.value, hypot(cars.sd, misread / car_m))
    track = replace(seen, cls="occupied_track_m", unit="m", value=metres.value, low=metres.low, high=metres.high)
    return [replace(seen, value=cars.value, low=cars.low, high=cars.high), track]
