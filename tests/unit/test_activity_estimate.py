"""Estimators of METHOD 5 and their published checks."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from shapely.geometry import LineString, MultiLineString, box

from models import CLASSES, Detections
from models.calibration import Calibration
from models.occupancy import STEP_M
from models.render.looks import plan_yard, see_yard
from models.train_tracks import sensed, strings, visible
from pipeline.activity.counted import calibration_for, corrected_count, held
from pipeline.activity.estimate import (
    LookView,
    choose_estimator,
)
from pipeline.activity.lengths import cars_from_strings, join, pitch
from pipeline.activity.merge import estimate_look
from pipeline.activity.occupied import TrackLook, look_along, union
from pipeline.activity.piles import Tiers, from_area, from_length, lattice, tiers_from_shadow
from pipeline.grid import Grid, Window
from pipeline.imagery.observed import Observed, Unseen
from pipeline.imagery.scene import Tile
from pipeline.site import Site, Zone

TIME = datetime(2023, 10, 5, tzinfo=UTC)
GOOD = (Calibration("railcar", 0.2, 0.8, 0.96, 0.96, 156),)


def zone(*classes: str) -> Zone:
    ring = [[0, 0], [200, 0], [200, 100], [0, 100], [0, 0]]
    return Zone.model_validate(
        {"id": "yard", "kind": "track", "classes": classes, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    )


def test_centre_lines_are_those_inside_the_outline() -> None:
    """Zones of one yard may name one file of its lines; a zone with none of them is a slip of the pen."""
    lines = {"type": "MultiLineString", "coordinates": [[[-50, 10], [250, 10]], [[0, 500], [200, 500]]]}
    drawn = Zone.model_validate(zone("railcar").model_dump() | {"centre_lines": lines})
    assert drawn.lines is not None
    assert (len(drawn.lines.geoms), drawn.lines.length) == (1, 200)
    away = {"type": "LineString", "coordinates": [[0, 500], [200, 500]]}
    site = {"id": "s", "name": "s", "kind": "rail_yard", "crs": "pixel", "aoi": drawn.geometry}
    with pytest.raises(ValidationError, match="lie outside its outline"):
        Site.model_validate(site | {"zones": [zone("railcar").model_dump() | {"centre_lines": away}]})


def boxes(centres: list[tuple[float, float]], cls: str = "railcar", w: float = 26.0, h: float = 6.0) -> Detections:
    rows = np.array([[x, y, w, h, 0.0] for x, y in centres]).reshape(-1, 5)
    return Detections.build(rows, np.ones(len(rows)), np.full(len(rows), CLASSES.index(cls)))


def view(detections: Detections, gsd_m: float = 0.5, exposure: float = 1.0, **changes: Any) -> LookView:
    return LookView(
        **{
            "site": "port",
            "time": TIME,
            "scene_ids": ("a",),
            "gsd_m": gsd_m,
            "detections": detections,
            "outlines": {"yard@1": box(0, 0, 200, 100)},
            "exposure": {"yard@1": (exposure, "" if exposure == 1 else "cloud 60 %")},
        }
        | changes
    )


@pytest.mark.parametrize(
    ("recall", "precision", "value", "low", "high"),
    [(0.96, 0.96, 73, 68, 78), (0.90, 0.95, 77, 70, 84), (0.74, 0.95, 94, 81, 106)],
)
def test_e1_of_seventy_three_boxes(recall: float, precision: float, value: int, low: int, high: int) -> None:
    """METHOD 5, E1; 156 cars stand behind the published rates (R28)."""
    got = corrected_count(73, Calibration("railcar", 0.2, 0.8, precision, recall, 156))
    assert got == pytest.approx((value, low, high), abs=1.2)


def test_e1_without_boxes_still_has_an_upper_end() -> None:
    assert corrected_count(0, GOOD[0])[:2] == (0.0, 0.0)
    assert corrected_count(0, Calibration("railcar", 0.2, 0.8, 0.9, 0.74, 100))[2] == pytest.approx(2.22, abs=0.01)


def test_e1_covers_the_truth_nine_times_in_ten() -> None:
    rng = np.random.default_rng(0)
    truth, recall, precision, labelled = 60, 0.85, 0.92, 200
    inside = 0
    for _ in range(2000):
        measured = Calibration(
            "railcar", 0.2, 0.8, rng.binomial(labelled, precision) / labelled, rng.binomial(labelled, recall) / labelled, labelled
        )
        hits = rng.binomial(truth, recall)
        raw = hits + rng.poisson(truth * recall * (1 - precision) / precision)
        _, low, high = corrected_count(int(raw), measured)
        inside += low <= truth <= high
    assert 0.87 <= inside / 2000 <= 0.94


def test_coverage_of_pictures_is_the_share_of_intervals_that_hold() -> None:
    rates = Calibration("railcar", 0.2, 0.8, 0.9, 0.9, 400, 0.05)
    assert held([(100, 100, 0.7), (100, 98, 0.7), (100, 300, 0.7), (0, 0, 0.0)], rates) == 0.75


def test_boxes_are_counted_by_their_centre() -> None:
    looked = view(boxes([(20, 20), (60, 20), (199, 99), (201, 50), (-1, 50)]))
    (e,) = estimate_look([looked], [zone("railcar")], GOOD)
    assert (e.raw, e.estimator, e.unit, e.note) == (3, "E1", "count", "")
    assert e.value == pytest.approx(3.0)
    assert e.zone_version == 1


@pytest.mark.parametrize(
    ("cls", "gsd_m", "estimator", "works"),
    [
        ("railcar", 0.8, "E1", True),
        ("railcar", 3.0, "E2", True),
        ("railcar", 5.1, "E2", False),
        ("container", 0.5, "E1", True),
        ("container", 3.0, "E1", False),
        ("vessel", 3.0, "E5", True),
        ("vessel", 10.0, "E6", True),
        ("vessel", 30.0, "E6", False),
    ],
)
def test_the_estimator_follows_the_gsd(cls: str, gsd_m: float, estimator: str, works: bool) -> None:
    name, refusal = choose_estimator(cls, gsd_m)
    assert (name, refusal == "") == (estimator, works)


def test_cars_are_refused_above_five_metres_and_the_reason_is_said() -> None:
    (e,) = estimate_look([view(boxes([(20, 20)]), gsd_m=10.0)], [zone("railcar")], GOOD)
    assert e.value is None
    assert e.not_observed == "railcars cannot be told at 10 m per pixel (limit 5 m)"
    (e,) = estimate_look([view(boxes([(20, 20)]), gsd_m=3.0)], [zone("railcar")], GOOD)
    assert "centre lines" in e.not_observed


@pytest.mark.parametrize(("share", "has_value", "interval_only"), [(1.0, True, False), (0.4, True, True), (0.1, False, False)])
def test_exposure_limits(share: float, has_value: bool, interval_only: bool) -> None:
    (e,) = estimate_look([view(boxes([(20, 20)]), exposure=share)], [zone("railcar")], GOOD)
    assert (e.value is not None, e.interval_only, e.exposure) == (has_value, interval_only, share)
    assert e.not_observed == ("" if has_value else "cloud 60 %")


def test_a_missing_calibration_is_said_and_widens_the_interval() -> None:
    rates, note = calibration_for(GOOD, "railcar", 1.5)
    assert (rates, note) == (GOOD[0], "precision and recall were measured at 0.2 to 0.8 m only")
    (known,) = estimate_look([view(boxes([(20, 20)] * 40))], [zone("railcar")], GOOD)
    (unknown,) = estimate_look([view(boxes([(20, 20)] * 40))], [zone("railcar")], ())
    assert "never measured" in unknown.note
    assert (unknown.high or 0) - (unknown.low or 0) > 2 * ((known.high or 0) - (known.low or 0))


@pytest.mark.parametrize(("strings", "cars", "sd"), [([820, 80], 64, 5), ([200, 300], 36, 3), ([770], 55, 4)])
def test_e2_checks_of_method_5(strings: list[float], cars: int, sd: int) -> None:
    got = cars_from_strings(strings, 3.0)
    assert (round(got.value), round(got.sd)) == (cars, sd)


def track(occupied: list[tuple[float, float]], length_m: float = 300.0, hidden: tuple[float, float] = (0, 0)) -> TrackLook:
    """A track of which stretches, in metres, are occupied or hidden."""
    at = (np.arange(round(length_m / STEP_M)) + 0.5) * STEP_M
    chance = np.zeros(len(at))
    for start, end in occupied:
        chance[(at > start) & (at < end)] = 0.9
    return TrackLook(chance, ~((at > hidden[0]) & (at < hidden[1])))


def test_e2_measures_along_the_tracks() -> None:
    tracks = (track([(30, 171)]), track([(60, 73.5)]), track([]))
    looked = view(boxes([]), gsd_m=3.0, tracks={"yard@1": tracks})
    number, metres = estimate_look([looked], [zone("railcar")], ())
    assert (number.cls, number.estimator, metres.cls, metres.unit) == ("railcar", "E2", "occupied_track_m", "m")
    assert (metres.low or 0) < (metres.value or 0) < (metres.high or 0)
    assert metres.value == pytest.approx(141 + 13.5, abs=2 * STEP_M)
    assert number.value == pytest.approx(((metres.value or 0) + 2 * 1.1) / 14.0)
    assert (number.raw, number.exposure) == (None, 1.0)


def test_what_no_head_looked_for_is_not_observed() -> None:
    """Law 1: nothing found by nobody is no zero."""
    looked = view(boxes([]), gsd_m=15.0, sought=frozenset())
    (e,) = estimate_look([looked], [zone("vessel")], ())
    assert (e.value, e.estimator) == (None, "E6")
    assert "no head of the model looks for vessels at 15 m" in e.not_observed


def test_a_coarse_scene_of_the_day_takes_nothing_from_a_fine_count() -> None:
    fine = view(boxes([(20, 20), (60, 20)]), exposure=0.9, observed=None)
    coarse = view(boxes([]), gsd_m=3.0, scene_ids=("b",), tracks={"yard@1": (track([(30, 171)]),)})
    (e,) = estimate_look([coarse, fine], [zone("railcar")], GOOD)
    assert (e.estimator, e.raw, e.scene_ids, e.exposure) == ("E1", 2, ("a",), 0.9)
    number, metres = estimate_look([replace(fine, exposure={"yard@1": (0.3, "cloud 70 %")}), coarse], [zone("railcar")], GOOD)
    assert (number.estimator, metres.scene_ids) == ("E2", ("b",))  # it saw the half that the fine one did not


def test_a_declared_fleet_replaces_the_prior() -> None:
    looked = view(boxes([]), gsd_m=3.0, tracks={"yard@1": (track([(30, 171)]),)})
    prior, _ = estimate_look([looked], [zone("railcar")], ())
    ore = zone("railcar").model_copy(update={"fleet": (12.0, 0.3)})
    declared, _ = estimate_look([looked], [ore], ())
    assert declared.value == pytest.approx((prior.value or 0) * 14.0 / 12.0)


def test_hidden_track_is_no_empty_track() -> None:
    tracks = (track([(30, 171)], hidden=(100, 300)),)
    looked = view(boxes([]), gsd_m=3.0, tracks={"yard@1": tracks})
    number, metres = estimate_look([looked], [zone("railcar")], ())
    assert metres.value == pytest.approx(70, abs=2 * STEP_M)
    assert number.exposure == metres.exposure == pytest.approx(1 / 3, abs=0.01)
    assert number.interval_only
    nothing = view(boxes([]), gsd_m=3.0, tracks={"yard@1": (track([], hidden=(0, 300)),)})
    assert all(e.value is None for e in estimate_look([nothing], [zone("railcar")], ()))


def test_two_scenes_of_a_day_share_a_track() -> None:
    west, east = track([(30, 171)], hidden=(150, 300)), track([(30, 171)], 301.5, hidden=(0, 140))
    (whole,) = union([(west,), (east,)])
    assert whole.seen.all()
    assert [(b - a) * STEP_M for a, b in whole.strings()] == [pytest.approx(141, abs=3 * STEP_M)]


def test_a_string_is_joined_over_a_coupling_and_a_fleck_is_none() -> None:
    looked = track([(30, 60), (63, 90), (120, 123)])
    assert [(a * STEP_M, b * STEP_M) for a, b in looked.strings()] == [(pytest.approx(30, abs=1.5), pytest.approx(90, abs=1.5))]
    assert join([]) == []


@pytest.mark.parametrize("gsd_m", [1.0, 3.0])
def test_e2_finds_the_strings_of_a_rendered_yard(gsd_m: float) -> None:
    """One yard of a seed that no weight has seen; the bench does it at length."""
    yard = plan_yard(9_790_001, 220.0)
    chip = see_yard(yard, 1, 0.5).chip
    coarse = sensed(chip.pixels, 0.5, gsd_m, np.random.default_rng(0))
    gsd = yard.extent_m / coarse.shape[1]
    lines, truth = [], 0.0
    for index in range(len(yard.tracks)):
        found = visible(yard, index)
        if found is None:
            continue
        lines.append(LineString(found[0] / gsd))
        truth += sum(min(b, found[1] + len(found[0])) - max(a, found[1]) for a, b in strings(yard, index) if b > found[1])
    frame = Window(0, 0, *coarse.shape[1:])
    seen = np.ones(coarse.shape[1:], np.bool_)
    tile = Tile(frame, frame, coarse, seen, Grid(*coarse.shape[1:], (1, 0, 0, 0, 1, 0), None))
    looks = look_along(tile, MultiLineString(lines), gsd)
    assert sum((b - a) * STEP_M for look in looks for a, b in look.strings()) == pytest.approx(truth, rel=0.25)


@pytest.mark.parametrize("length_m", [12.0, 14.0, 19.6])
def test_e3_finds_the_pitch_and_falls_back_on_noise(length_m: float) -> None:
    rng = np.random.default_rng(2)
    along = np.arange(0, 400, 1.0)
    profile = np.where(along % length_m < 1.1, 0.2, 0.6) + rng.normal(0, 0.05, len(along))
    found = pitch(profile, 1.0)
    assert found is not None
    assert found.metres == pytest.approx(length_m, abs=0.4)
    assert pitch(np.ones(400), 1.0) is None
    assert pitch(profile[:30], 1.0) is None
    refined = cars_from_strings([400], 1.0, found.metres, found.sd_m)
    assert refined.sd < cars_from_strings([400], 1.0).sd


@pytest.mark.parametrize("samples", [60, 200])
def test_e3_finds_no_pitch_in_noise(samples: int) -> None:
    rng = np.random.default_rng(0)
    false = sum(pitch(rng.normal(size=samples), 1.0) is not None for _ in range(200))
    assert false <= 10


@pytest.mark.parametrize(("gsd_m", "sd", "usable"), [(0.5, 0.15, True), (3.0, 0.9, False)])
def test_tiers_from_shadow(gsd_m: float, sd: float, usable: bool) -> None:
    tiers = tiers_from_shadow(2.591 * 3 / np.tan(np.radians(38)), 38.0, gsd_m)
    assert tiers.value == pytest.approx(3.0)
    assert tiers.sd == pytest.approx(sd, abs=0.01)
    assert tiers.usable == usable


def test_e4_lattice_counts_a_block_it_knows() -> None:
    """Ten twenty-foot boxes long, six wide, three high, 0.2 m apart: 180 boxes."""
    long, wide = 10 * 6.058 + 9 * 0.2, 6 * 2.438 + 5 * 0.2
    pile = lattice(long, wide, 0.3, Tiers(3.0, 0.09), fill=(0.95, 1.0))
    turned = lattice(wide, long, 0.3, Tiers(3.0, 0.09), fill=(0.95, 1.0))
    assert pile.low <= 180 <= pile.high
    assert pile.value == pytest.approx(180, rel=0.1)
    assert turned == pile


def test_e4_at_three_metres_is_an_interval() -> None:
    pile = from_length(90, 3.0)
    assert pile.low < 300 < pile.high  # about 300 boxes by analogy, METHOD 2.3
    area = from_area(1580.0)
    assert (area.low, area.high) == (pytest.approx(60), pytest.approx(300))


def seen(columns: slice, shape: tuple[int, int] = (100, 300)) -> Observed:
    state = np.full(shape, Unseen.NO_DATA, np.uint8)
    state[:, columns] = Unseen.OBSERVED
    return Observed(state, Grid(shape[1], shape[0], (1, 0, 0, 0, 1, 0), None), 1.0)


def test_two_scenes_of_a_day_are_one_look() -> None:
    """West and east halves overlap by 20 px; the second scene is shifted by 40 px. Cars at 30, 95, 105 and 170."""
    west = view(boxes([(30, 50), (95, 50), (105, 50)], w=8), exposure=0.55, observed=seen(slice(0, 110)), scene_ids=("west",))
    east = view(
        boxes([(135.4, 50), (145, 50.3), (210, 50)], w=8),
        exposure=0.545,
        observed=seen(slice(131, 300)),
        scene_ids=("east",),
        outlines={"yard@1": box(40, 0, 240, 100)},
    )
    (e,) = estimate_look([east, west], [zone("railcar")], GOOD)
    assert e.raw == 4
    assert e.exposure == pytest.approx(1.0, abs=0.01)
    assert e.scene_ids == ("west", "east")
    (alone,) = estimate_look([west], [zone("railcar")], GOOD)
    assert (alone.raw, alone.exposure) == (3, 0.55)
    assert estimate_look([view(boxes([]), outlines={})], [zone("railcar")], GOOD) == []
