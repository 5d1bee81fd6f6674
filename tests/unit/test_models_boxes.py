"""Oriented boxes against shapely."""

import tracemalloc

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import boxes as ob

NUMBER = st.floats(-1e4, 1e4)
SIDE = st.floats(0.5, 500)


def random_boxes(n: int, seed: int, spread: float = 30.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return ob.canonical(
        np.stack(
            [rng.uniform(0, spread, n), rng.uniform(0, spread, n), rng.uniform(2, 30, n), rng.uniform(1, 12, n), rng.uniform(-7, 7, n)],
            axis=1,
        )
    )


def test_iou_of_ten_thousand_pairs_equals_shapely() -> None:
    a, b = random_boxes(10_000, 0), random_boxes(10_000, 1)
    p, q = shapely.polygons(ob.corners(a)), shapely.polygons(ob.corners(b))
    want = shapely.area(shapely.intersection(p, q)) / shapely.area(shapely.union(p, q))
    np.testing.assert_allclose(ob.iou_pairs(a, b), want, atol=1e-9)


def test_iou_of_a_box_with_itself_and_far_from_the_origin() -> None:
    a = random_boxes(200, 3) + np.array([4e6, 5e5, 0, 0, 0])
    np.testing.assert_allclose(ob.iou_pairs(a, a), 1.0, atol=1e-7)


@given(NUMBER, NUMBER, SIDE, SIDE, st.floats(-20, 20))
def test_canonical_form_is_the_same_rectangle(cx: float, cy: float, w: float, h: float, theta: float) -> None:
    raw = np.array([[cx, cy, w, h, theta]])
    box = ob.canonical(raw)
    assert ob.is_canonical(box)
    assert shapely.Polygon(ob.corners(raw)[0]).symmetric_difference(shapely.Polygon(ob.corners(box)[0])).area < 1e-4 * w * h + 1e-6


@given(NUMBER, NUMBER, SIDE, SIDE, st.floats(-1.5, 1.5))
def test_corners_and_back(cx: float, cy: float, w: float, h: float, theta: float) -> None:
    box = ob.canonical(np.array([[cx, cy, w, h, theta]]))
    again = ob.from_corners(ob.corners(box))
    np.testing.assert_allclose(ob.iou_pairs(box, again), 1.0, atol=1e-6)


@pytest.mark.parametrize("bad", [[0, 0, 0, 1, 0], [0, 0, 1, -1, 0], [np.nan, 0, 1, 1, 0], [0, 0, np.inf, 1, 0]])
def test_impossible_boxes_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="positive sides"):
        ob.canonical(np.array([bad]))


def test_candidate_pairs_hold_every_overlap() -> None:
    a, b = random_boxes(150, 5, 200), random_boxes(170, 6, 200)
    i, j = ob.candidate_pairs(a, b)
    p, q = shapely.polygons(ob.corners(a)), shapely.polygons(ob.corners(b))
    touching = {(int(r), int(c)) for r, c in zip(*np.nonzero(shapely.intersects(p[:, None], q[None])), strict=True)}
    assert touching <= set(zip(i.tolist(), j.tolist(), strict=True))


@pytest.mark.parametrize("at_once", [1, 100, 10**6])
def test_candidate_pairs_are_those_of_every_pair_in_order(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ob, "AT_ONCE", at_once)
    for stretch in ((1, 1), (1, 20), (20, 1)):
        a, b = (random_boxes(n, n, 60) * (*stretch, 1, 1, 1) for n in (90, 70))
        rings = [ob.corners(boxes) for boxes in (a, b)]
        (low_a, high_a), (low_b, high_b) = ((ring.min(axis=1), ring.max(axis=1)) for ring in rings)
        meet = ((low_a[:, None] <= high_b) & (low_b <= high_a[:, None])).all(axis=2)
        np.testing.assert_array_equal(np.stack(ob.candidate_pairs(a, b)), np.stack(np.nonzero(meet)))


@pytest.mark.parametrize("turned", [False, True])
def test_a_column_of_boxes_takes_no_more_memory_than_a_row(turned: bool) -> None:
    n = 3000
    far, near = np.arange(n) * 100.0, np.full(n, 50.0)
    boxes = np.column_stack([*((near, far) if turned else (far, near)), np.full(n, 20.0), np.full(n, 8.0), np.zeros(n)])
    tracemalloc.start()
    try:
        i, j = ob.candidate_pairs(boxes, boxes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (i == j).all()
    assert len(i) == n
    assert peak < 20e6


@pytest.mark.parametrize("angle", [0, 30, 45, 77])
@pytest.mark.parametrize(("length", "width", "pitch"), [(16.0, 3.0, 4.5), (12.2, 2.44, 2.84)])
def test_no_neighbour_of_a_dense_yard_is_suppressed(angle: float, length: float, width: float, pitch: float) -> None:
    # 72 bodies side by side and end to end: hulls of axis-aligned boxes overlap here, the bodies do not
    theta = np.radians(angle)
    along, across = np.meshgrid(np.arange(9) * (length + 0.3), np.arange(8) * pitch)
    x = along.ravel() * np.cos(theta) - across.ravel() * np.sin(theta)
    y = along.ravel() * np.sin(theta) + across.ravel() * np.cos(theta)
    n = len(x)
    boxes = ob.canonical(np.stack([x, y, np.full(n, length), np.full(n, width), np.full(n, theta)], axis=1))
    scores = np.linspace(0.9, 0.4, n)
    assert len(ob.nms(boxes, scores, 0.1)) == 72
    doubled = np.concatenate([boxes, boxes + np.array([0.4, -0.3, 0, 0, 0.01])])
    kept = ob.nms(doubled, np.concatenate([scores, scores * 0.9]), 0.3)
    assert sorted(kept.tolist()) == list(range(72))


def test_suppression_stays_inside_a_class_and_does_not_depend_on_order() -> None:
    boxes, scores = random_boxes(120, 8, 60), np.random.default_rng(9).random(120)
    groups = np.arange(120) % 2
    kept = set(ob.nms(boxes, scores, 0.2, groups).tolist())
    alone = {i for g in (0, 1) for i in np.flatnonzero(groups == g)[ob.nms(boxes[groups == g], scores[groups == g], 0.2)].tolist()}
    assert kept == alone
    shuffle = np.random.default_rng(10).permutation(120)
    assert {int(shuffle[i]) for i in ob.nms(boxes[shuffle], scores[shuffle], 0.2, groups[shuffle])} == kept


def test_containment_counts_the_border_in() -> None:
    box = ob.canonical(np.array([[10.0, 10.0, 8.0, 2.0, np.pi / 4]]))
    inside = ob.contains(box, np.array([[10.0, 10.0], [12.0, 12.0], [12.0, 8.0]]))
    assert inside.tolist() == [[True, True, False]]
