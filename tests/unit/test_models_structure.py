"""Cars in a yard: shadows beside them fall, gaps in a string fill, and nothing else moves."""

import numpy as np
import pytest

from models import Detections
from models.structure import coupled

GSD = 0.3
HEADING = 0.4


def body(along: float, across: float, score: float, cls: int = 1, length: float = 14.0) -> tuple[list[float], float, int]:
    """A body by its place along and across a track, metres."""
    x = 100 + along * np.cos(HEADING) - across * np.sin(HEADING)
    y = 100 + along * np.sin(HEADING) + across * np.cos(HEADING)
    return [x / GSD, y / GSD, length / GSD, 2.9 / GSD, HEADING], score, cls


def kept(*bodies: tuple[list[float], float, int]) -> list[float]:
    """Scores of what counts."""
    boxes, scores, classes = zip(*bodies, strict=True)
    found = Detections.build(np.array(boxes), np.array(scores), np.array(classes))
    return [round(float(s), 2) for s in found.take(coupled(found, {"railcar": 0.4, "container": 0.4}, GSD)).scores]


def test_the_shadow_beside_a_car_falls_and_a_car_on_the_next_track_stays() -> None:
    assert kept(body(0, 0, 0.9), body(1, 3.0, 0.5)) == [0.9]
    assert kept(body(0, 0, 0.9), body(1, 4.6, 0.5)) == [0.9, 0.5]


def test_a_weak_car_counts_only_where_it_is_coupled_to_one_that_counts() -> None:
    assert kept(body(0, 0, 0.9), body(15.1, 0, 0.35)) == [0.9, 0.35]
    assert kept(body(0, 0, 0.9), body(19.0, 0, 0.35)) == [0.9]
    assert kept(body(0, 0, 0.9), body(15.1, 0, 0.25)) == [0.9]


def test_a_string_of_weak_cars_is_followed_from_its_sure_end() -> None:
    assert len(kept(*[body(15.1 * k, 0, 0.9 if k == 4 else 0.38 - 0.01 * k) for k in range(5)])) == 5
    assert kept(*[body(15.1 * k, 0, 0.38 - 0.01 * k) for k in range(5)]) == []


def test_a_weak_box_on_taken_ground_does_not_count() -> None:
    assert kept(body(0, 0, 0.9), body(15.1, 0, 0.8), body(15.0, 2.5, 0.35)) == [0.9, 0.8]


@pytest.mark.parametrize("cls", [0, 2])
def test_other_classes_keep_their_threshold(cls: int) -> None:
    assert kept(body(0, 0, 0.9, cls), body(1, 2.6, 0.5, cls), body(7, 0, 0.3, cls)) == ([0.9, 0.5] if cls == 0 else [0.9, 0.5, 0.3])


def test_nothing_found_is_nothing_kept() -> None:
    assert coupled(Detections.empty(), {}, GSD).tolist() == []
