"""What an evaluation says of mistakes, and what a calibration makes of scenes."""

from dataclasses import replace

import numpy as np
import pytest

from models import Detections
from models.calibration import LEAST_OBJECTS, Counted, fit
from models.detector import CLASSES
from models.evaluate import Case, confusion, row, score
from pipeline.activity.counted import calibration_for, corrected_count, held
from pipeline.review.sheet import FALSE, HIT, MISSED, draw_sheet

CONTAINER, RAILCAR = CLASSES.index("container"), CLASSES.index("railcar")


def case() -> Case:
    """Four objects: one found, one called by another name, one missed, one cut by the frame and found; a box on bare ground."""
    places = np.array([[40, 40], [40, 80], [40, 120], [4, 160]], np.float64)
    boxes = np.column_stack([places, np.full(4, 40.0), np.full(4, 10.0), np.zeros(4)])
    found = np.concatenate([boxes[[0, 1, 3]], [[150, 150, 40, 10, 0.0]]])
    detections = Detections.build(found, np.array([0.9, 0.8, 0.7, 0.6]), np.array([RAILCAR, CONTAINER, RAILCAR, RAILCAR]))
    asked = np.array([True, True, True, False])
    return Case("drawn", 0.3, np.full((3, 200, 200), 0.2, np.float32), detections, boxes, np.full(4, RAILCAR, np.uint8), asked)


def test_every_object_and_every_box_is_told_once() -> None:
    told = {(row["labelled"], row["called"]): row["number"] for row in confusion([case()])}
    expected = {("railcar", "railcar"): 1, ("railcar", "container"): 1, ("railcar", "missed"): 1, ("background", "railcar"): 1}
    assert told == expected


def test_the_verdict_agrees_with_the_score() -> None:
    right, false, missed = case().verdict()
    assert (right.tolist(), false.tolist(), missed.tolist()) == ([True, False, False, False], [False, True, False, True], [1, 2])
    found, truth = case().of("railcar")
    s = score([found], [truth])
    assert (s.hits, s.found, s.objects) == (1, 2, 3)


def test_average_precision_ranks_every_proposal_and_the_count_does_not() -> None:
    some = case()
    weak = Detections.build(some.boxes[[2]], np.array([0.2]), np.array([RAILCAR]))
    whole = replace(some, proposals=Detections.concat([some.found, weak]))
    alone, ranked = (row("drawn", "railcar", 0.3, [c], 0.3) for c in (some, whole))
    assert (alone["ap"], ranked["ap"]) == (pytest.approx(1 / 3, abs=1e-3), pytest.approx(1 / 3 + 2 / 3 / 3, abs=1e-3))
    assert {k: v for k, v in alone.items() if k[:2] != "ap"} == {k: v for k, v in ranked.items() if k[:2] != "ap"}


def test_lengths_are_judged_in_metres_over_hits() -> None:
    some = case()
    longer = some.found.boxes + np.array([0, 0, 8, 0, 0])
    told = row("drawn", "railcar", 1.0, [replace(some, found=replace(some.found, boxes=longer))], 1.0)
    assert (told["length_error_m"], told["length_within"]) == (8.0, 0.0)
    assert row("drawn", "railcar", 0.3, [some], 0.3)["length_within"] == 1.0


def test_an_object_is_its_own_class_first() -> None:
    """A wagon and the box on it overlap: neither is called the other, whatever the scores."""
    boxes = np.array([[50, 50, 46, 10, 0.0], [50, 50, 40, 9, 0.0]])
    found = Detections.build(boxes[::-1], np.array([0.9, 0.5]), np.array([CONTAINER, RAILCAR]))
    classes = np.array([RAILCAR, CONTAINER], np.uint8)
    both = Case("wagon", 0.3, np.zeros((3, 100, 100), np.float32), found, boxes, classes, np.ones(2, np.bool_))
    assert both.errors == 0


def test_the_sheet_tells_found_missed_and_false_apart() -> None:
    colours = {tuple(c) for c in np.array(draw_sheet([case()]))[90:].reshape(-1, 3).tolist()}  # below the key
    assert {HIT, MISSED, FALSE} <= colours


def scenes(rng: np.random.Generator, slope: float, spread: float) -> list[Counted]:
    """Scenes of a hundred objects whose finds follow their confidence, and scatter beyond it."""
    out = []
    for confidence in rng.uniform(0.4, 0.7, 400):
        hits = rng.binomial(100, float(np.clip(0.8 * np.exp(slope * (confidence - 0.55) + rng.normal(0, spread)), 0, 1)))
        out.append(Counted(int(hits) + int(rng.poisson(5)), int(hits), 100, float(confidence)))
    return out


def test_a_calibration_finds_what_confidence_tells_and_what_it_leaves() -> None:
    rng = np.random.default_rng(0)
    told = fit("railcar", (0.2, 0.4), scenes(rng, 1.0, 0.1))
    assert told.score_slope == pytest.approx(1.0, abs=0.15)
    assert told.scene_sd == pytest.approx(0.1, abs=0.03)
    plain = fit("railcar", (0.2, 0.4), scenes(rng, -1.0, 0.1))  # surer where fewer are found: no reason, no slope
    assert plain.score_slope == 0.0
    assert plain.scene_sd > told.scene_sd


def mixed_scenes(rng: np.random.Generator, number: int) -> list[Counted]:
    """Full and nearly empty scenes; false boxes come whatever stands there, and one scene in twelve goes badly wrong."""
    out = []
    for k in range(number):
        objects = int(rng.integers(0, 6)) if k % 4 == 0 else int(rng.integers(20, 120))
        spread = 0.45 if rng.random() < 1 / 12 else 0.06
        hits = rng.binomial(objects, float(np.clip(0.85 * np.exp(rng.normal(0, spread)), 0, 1)))
        out.append(Counted(int(hits) + int(rng.poisson(rng.gamma(1.0, 3.0))), int(hits), objects, 0.6))
    return out


def test_intervals_hold_nine_in_ten_of_full_and_of_empty_scenes_that_are_yet_to_come() -> None:
    rng = np.random.default_rng(5)
    rates = fit("railcar", (0.2, 0.4), mixed_scenes(rng, 2000))
    assert rates.floor_sd > 1
    later = mixed_scenes(rng, 4000)
    for few in (True, False):
        pictures = [(s.objects, s.found, s.score) for s in later if (s.objects < LEAST_OBJECTS) == few]
        assert held(pictures, rates) == pytest.approx(0.9, abs=0.03)


def test_a_doubtful_scene_held_more_than_was_found() -> None:
    rates = fit("railcar", (0.2, 0.4), scenes(np.random.default_rng(1), 1.0, 0.0))
    doubtful, usual, sure = (corrected_count(80, rates, rates.score_mean + step)[0] for step in (-0.1, 0.0, 0.1))
    assert doubtful > usual > sure
    assert usual == corrected_count(80, rates)[0]
    assert doubtful == pytest.approx(usual * np.exp(0.1 * rates.score_slope), rel=0.02)


def test_a_declared_sun_takes_the_calibration_of_its_own() -> None:
    """Shadows of neighbours hide cars under a low sun: one spread for every sun would be too narrow there and too wide elsewhere."""
    rng = np.random.default_rng(2)
    low = [replace(s, sun_deg=25.0) for s in scenes(rng, 1.0, 0.3)]
    high = [replace(s, sun_deg=50.0) for s in scenes(rng, 1.0, 0.05)]
    suns = (0.0, 90.0), (0.0, 35.0), (35.0, 90.0)
    bins = [fit("railcar", (0.2, 0.4), low + high, sun) for sun in suns]
    spread = {sun: calibration_for(bins, "railcar", 0.3, sun)[0].scene_sd for sun in (25.0, 50.0, None)}
    assert spread[25.0] > spread[None] > spread[50.0]
    assert calibration_for(bins, "railcar", 0.9, 25.0)[0].sun_high == 35.0  # the nearest GSD, of the same sun
