"""Registration, radiometry and the fate of objects, on truths by construction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import Detections
from models.render import render_chip
from pipeline.change.difference import difference, normalise
from pipeline.change.fit import robust_fit, sound
from pipeline.change.look import Look, look
from pipeline.change.matching import rolls
from pipeline.change.objects import counts, match_objects
from pipeline.change.patches import patch_summary, patches
from pipeline.change.records import ChangeMap, Kind
from pipeline.change.register import IDENTITY, register, warp
from pipeline.grid import Grid, Window
from pipeline.imagery.observed import Observed, Unseen
from pipeline.imagery.scene import Tile


def tile(pixels: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> Tile:
    h, w = pixels.shape[1:]
    v = np.ones((h, w), np.bool_) if valid is None else valid
    window = Window(0, 0, w, h)
    return Tile(window, window, np.ascontiguousarray(pixels * v, np.float32), v, Grid(w, h, (1, 0, 0, 0, 1, 0), None))


@pytest.fixture(scope="module")
def ground() -> NDArray[np.float32]:
    return render_chip(5_001_000, "terminal", 0.5, 640).pixels


def moved(pixels: NDArray[np.float32], matrix: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    out = warp(np.ascontiguousarray(pixels.transpose(1, 2, 0)), matrix).transpose(2, 0, 1)
    return out, warp(np.ones(pixels.shape[1:], np.float32), matrix) > 0.999


@pytest.mark.parametrize(("dx", "dy", "turn"), [(3.3, -7.6, 0.0), (-41.2, 17.9, 0.0), (0.4, 0.3, 0.0), (5.0, 9.0, 1.3)])
def test_a_known_warp_is_found(ground: NDArray[np.float32], dx: float, dy: float, turn: float) -> None:
    t = np.radians(turn)
    matrix = np.array([[np.cos(t), -np.sin(t), dx], [np.sin(t), np.cos(t), dy]])
    other, valid = moved(ground, matrix)
    noisy = np.clip(other * 0.8 + 0.05 + np.random.default_rng(1).normal(0, 0.01, other.shape), 0, 1).astype(np.float32)
    found = register(tile(ground), tile(noisy, valid), 80)
    assert found.applied, found.reason
    points = np.array([[100.0, 100], [500, 120], [320, 500]])
    back = points @ matrix[:, :2].T + matrix[:, 2]
    error = np.hypot(*(back @ found.matrix[:, :2].T + found.matrix[:, 2] - points).T)
    assert error.max() < (0.1 if turn == 0 else 0.3)


def test_pictures_of_different_places_are_refused(ground: NDArray[np.float32]) -> None:
    other = render_chip(5_001_777, "rail_yard", 0.5, 640).pixels
    found = register(tile(ground), tile(other), 60)
    assert not found.applied
    np.testing.assert_array_equal(found.matrix, IDENTITY)
    assert found.reason


def test_a_pair_that_lies_right_is_left_alone(ground: NDArray[np.float32]) -> None:
    noisy = np.clip(ground + np.random.default_rng(2).normal(0, 0.01, ground.shape), 0, 1).astype(np.float32)
    found = register(tile(ground), tile(noisy), 60)
    assert not found.applied
    assert abs(found.dx_px) < 0.1
    assert "already registered" in found.reason


def test_gain_and_offset_are_recovered_under_real_change(ground: NDArray[np.float32]) -> None:
    after = ground.copy()
    after[:, 100:260, 100:300] = 0.7
    before = np.clip(after * 1.25 + 0.03, 0, 1)
    before[:, 100:260, 100:300] = ground[:, 100:260, 100:300]
    _, gain = normalise(tile(before), tile(after))
    np.testing.assert_allclose(gain.gain, 1.25, atol=0.02)
    np.testing.assert_allclose(gain.offset, 0.03, atol=0.01)


def test_quantities_of_other_units_are_brought_together_in_the_mean(ground: NDArray[np.float32]) -> None:
    faint = ground / 8
    even, gain = normalise(tile(ground), tile(faint))
    np.testing.assert_allclose(gain.gain, 5.0)
    np.testing.assert_allclose(even.pixels.mean(), ground.mean(), atol=0.03)


def test_change_is_where_it_was_put_and_nowhere_unobserved(ground: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(3)
    before, after = (np.clip(ground + rng.normal(0, 0.01, ground.shape), 0, 1).astype(np.float32) for _ in range(2))
    valid = np.ones(ground.shape[1:], np.bool_)
    valid[:, 500:] = False
    after[:, 200:240, 200:280] = 0.95
    after[:, 200:240, 520:600] = 0.95
    found = difference(tile(before), tile(after, valid), 0.01, 20, 0.5)
    assert found.changed[205:235, 205:275].mean() > 0.7
    assert not found.changed[:, 500:].any()
    found.changed[195:245, 195:285] = False
    assert found.changed.mean() < 0.015


def look_of(boxes: list[list[float]], cls: int, hidden: list[int] | None = None) -> Look:
    b = np.array(boxes, np.float64).reshape(-1, 5)
    return Look(b, np.full(len(b), cls, np.uint8), np.array(hidden or [0] * len(b), np.uint8))


def test_a_train_that_rolled_is_moved_not_forty_and_forty() -> None:
    train = [[20 + 16 * k, 50, 14, 3, 0.0] for k in range(20)]
    rolled = [[20 + 16 * k + 10, 50, 14, 3, 0.0] for k in range(20)]
    kinds = match_objects(look_of(train, 1), look_of(rolled, 1), 1.0).kind
    assert (kinds == Kind.MOVED).sum() >= 19
    assert (kinds == Kind.MOVED).sum() + (kinds == Kind.PERSISTED).sum() == 20 or (kinds == Kind.MOVED).sum() == 20


def test_what_the_other_look_could_not_see_is_unobservable() -> None:
    state = np.zeros((100, 100), np.uint8)
    state[:, 60:] = Unseen.CLOUD
    observed = Observed(state, Grid(100, 100, (1, 0, 0, 0, 1, 0), None), 1.0)
    boxes = np.array([[30.0, 50, 12, 3, 0], [80, 50, 12, 3, 0], [130, 50, 12, 3, 0]])
    before = look(Detections.build(boxes, np.ones(3), np.full(3, 1)), IDENTITY, observed, IDENTITY)
    found = match_objects(before, look_of([], 1), 1.0)
    fates = {tuple(before.boxes[i, :1]): (Kind(k), r) for k, i, r in zip(found.kind, found.before, found.reason, strict=True)}
    assert fates[(30.0,)] == (Kind.DEPARTED, "")
    assert fates[(80.0,)] == (Kind.UNOBSERVABLE, "cloud")
    assert fates[(130.0,)] == (Kind.UNOBSERVABLE, "outside the swath")


BOX = st.tuples(
    st.floats(0, 200), st.floats(0, 200), st.floats(6, 20), st.floats(2, 4), st.floats(-1.5, 1.5), st.integers(0, 2), st.booleans()
)


@settings(deadline=None, max_examples=60)
@given(st.lists(BOX, max_size=14), st.lists(BOX, max_size=14))
def test_every_object_has_one_fate_and_time_reversal_swaps_them(
    first: list[tuple[float, ...]], second: list[tuple[float, ...]]
) -> None:
    def build(rows: list[tuple[float, ...]]) -> Look:
        b = np.array([r[:5] for r in rows], np.float64).reshape(-1, 5)
        return Look(b, np.array([r[5] for r in rows], np.uint8), np.array([3 * r[6] for r in rows], np.uint8))

    a, b = build(first), build(second)
    found = match_objects(a, b, 1.0)
    assert sorted(found.before[found.before >= 0]) == list(range(len(first)))
    assert sorted(found.after[found.after >= 0]) == list(range(len(second)))
    back = counts(match_objects(b, a, 1.0))
    for name, tally in counts(found).items():
        assert (
            tally["unobservable"] + tally["appeared"] + tally["departed"]
            == sum(back[name][k] for k in ("unobservable", "appeared", "departed"))
            or tally["moved"] + tally["persisted"] > 0
        )
    hidden = {int(i) for i in np.flatnonzero(a.seen_by_other)}
    departed = set(found.before[found.kind == Kind.DEPARTED].tolist())
    assert not departed & hidden


def test_matches_that_fold_the_ground_are_no_map() -> None:
    rng = np.random.default_rng(3)
    line = np.column_stack([np.linspace(0, 100, 30), np.full(30, 50.0)])
    fit = robust_fit(line, line + rng.normal(0, 0.1, line.shape), 1.0, 16.0)  # on one line the other axis is anyone's guess
    assert fit is None or sound(fit.matrix)
    assert sound(np.array([[1.0, 0.05, 3.0], [-0.05, 1.0, 2.0]]))
    for folded in (
        np.zeros((2, 3)),
        np.full((2, 3), np.nan),
        np.array([[1.0, 0, 0], [1.0, 0, 0]]),
        np.array([[-1.0, 0, 0], [0, 1, 0]]),
    ):
        assert not sound(folded)


def test_changed_ground_is_outlined_and_what_the_view_may_have_made_is_told_apart() -> None:
    """At 0.5 m: a block of 10 m x 6 m, and a strip 2 m wide along an edge, under views that may leave 2.5 m."""
    changed = np.zeros((80, 80), np.bool_)
    changed[10:22, 10:30] = True
    changed[40:44, 5:75] = True
    grid = Grid(80, 80, (1, 0, 0, 0, 1, 0), None)
    found = patches(ChangeMap(changed.astype(np.float32), changed, ~np.zeros_like(changed), grid, 2.6, ""), 0.5, 2.5)
    assert [(p.area_m2, p.view) for p in found] == [(70.0, True), (60.0, False)]
    assert found[1].outline.bounds == (10, 10, 30, 22)
    assert patch_summary(found) == {"counted": 1, "area_m2": 60.0, "view": 1}


def test_cars_of_several_tracks_that_went_equally_far_have_not_rolled() -> None:
    """What leaves and comes on five tracks makes no train, though each came ten metres from where one left."""
    gone = [[60 + 100 * k, 50 + 6 * k, 14, 3, 0.0] for k in range(5)]
    came = [[x + 10, *rest] for x, *rest in gone]
    assert rolls(np.array(gone), np.array(came), 60.0, 1.0) == []
    string = [[60 + 16 * k, 50, 14, 3, 0.0] for k in range(4)]
    (group,) = rolls(np.array([*gone[1:], *string]), np.array([*came[1:], *([x + 22, *rest] for x, *rest in string)]), 60.0, 1.0)
    assert group == [(k, k) for k in range(4, 8)]
