"""A shadow is no car, and stands for the car that casts it."""

import cv2
import numpy as np
import pytest

from models import boxes as ob
from models.shade import lit

GSD = 0.3


def scene(
    across_m: float, tones: tuple[float, float], scores: tuple[float, float], *, shaded: bool = False
) -> tuple[list[bool], list[float]]:
    """Two bodies of 14 m side by side on ballast, the ground beyond the second in shade or lit: which stay, and with which score."""
    boxes = np.array([[60.0, 50 + k * across_m / GSD * np.cos(0.3), 14 / GSD, 2.9 / GSD, 0.3] for k in (0, 1)])
    boxes[1, 0] -= across_m / GSD * np.sin(0.3)
    image = np.full((120, 130), 0.5, np.float32)
    for ring, tone in zip(ob.corners(boxes), tones, strict=True):
        cv2.fillPoly(image, [np.round(ring).astype(np.int32)], tone)
    if shaded:
        beyond = boxes[1] + (-2.9 / GSD * np.sin(0.3), 2.9 / GSD * np.cos(0.3), 0, 0, 0)
        cv2.fillPoly(image, [np.round(ob.corners(beyond[None])[0]).astype(np.int32)], 0.1)
    stays, told = lit(np.stack([image] * 3), boxes, np.array(scores, np.float32), GSD)
    return stays.tolist(), [round(float(s), 2) for s in told]


def test_the_lit_body_stays_and_takes_the_score_of_its_shadow() -> None:
    assert scene(3.0, (0.4, 0.12), (0.2, 0.45)) == ([True, False], [0.45, 0.45])
    assert scene(3.0, (0.4, 0.12), (0.6, 0.45)) == ([True, False], [0.6, 0.45])


def test_a_hint_of_a_body_is_enough_where_the_dark_one_casts_no_shadow() -> None:
    assert scene(3.0, (0.4, 0.12), (0.1, 0.45)) == ([True, False], [0.45, 0.45])


def test_a_black_car_with_its_shadow_is_no_shadow() -> None:
    assert scene(3.0, (0.4, 0.12), (0.1, 0.45), shaded=True) == ([True, True], [0.1, 0.45])


def test_what_casts_a_shadow_stands_on_one_side_of_it() -> None:
    boxes = np.array([[60.0, 50 + k * 10, 46, 9.7, 0.0] for k in range(3)])
    image = np.full((120, 130), 0.5, np.float32)
    cv2.fillPoly(image, [np.round(ob.corners(boxes[1:2])[0]).astype(np.int32)], 0.12)
    stays, told = lit(np.stack([image] * 3), boxes, np.array([0.15, 0.5, 0.3], np.float32), GSD)
    assert stays.tolist() == [True, False, True]
    assert told.tolist() == pytest.approx([0.15, 0.5, 0.5])


@pytest.mark.parametrize(
    ("across_m", "tones", "scores"),
    [
        (4.6, (0.4, 0.12), (0.2, 0.45)),  # the next track
        (3.0, (0.4, 0.3), (0.2, 0.45)),  # no shadow is so bright
        (3.0, (0.5, 0.12), (0.1, 0.8)),  # less than a hint of a body
        (0.5, (0.4, 0.12), (0.3, 0.45)),  # two boxes on one body
    ],
)
def test_other_neighbours_are_left_alone(across_m: float, tones: tuple[float, float], scores: tuple[float, float]) -> None:
    assert scene(across_m, tones, scores) == ([True, True], list(scores))


def test_no_boxes_are_none() -> None:
    stays, told = lit(np.zeros((3, 20, 20), np.float32), np.zeros((0, 5)), np.zeros(0, np.float32), GSD)
    assert len(stays) == len(told) == 0
