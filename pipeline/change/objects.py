"""The fate of objects: appeared, departed, moved, persisted, or unobservable. An object that could not be seen is never gone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from models import CLASSES, Detections
from models import boxes as ob
from pipeline.change.records import Kind, ObjectChanges
from pipeline.imagery.observed import REASONS, Observed, Unseen

F64 = NDArray[np.float64]

STAY_M = {"container": 1.2, "railcar": 2.5, "vessel": 12.0}
"""Within this distance an object has not moved: half a box width, a coupling's slack, a hull at its lines; detector jitter included."""
MOVE_M = {"container": 0.0, "railcar": 60.0, "vessel": 150.0}
"""A move is told apart from a swap only within this: containers look alike, a string rolls along its track, a hull shifts berth."""
SIZE_RATIO = 1.25
"""Lengths that differ more belong to different objects."""
TURN = np.radians(25.0)
ROLL_TOLERANCE_M = 2.0
"""Cars of one string roll by the same distance, to half a coupling."""


@dataclass(frozen=True, slots=True)
class Look:
    """Objects of one look on the common grid.

    Attributes:
        boxes: (N, 5) float64 in common-grid pixels.
        classes: (N,) uint8.
        seen_by_other: (N,) uint8, `Unseen` code of the other look at the object's place.
    """

    boxes: F64
    classes: NDArray[np.uint8]
    seen_by_other: NDArray[np.uint8]


def look(detections: Detections, to_common: F64, scale: float, other: Observed, to_other: F64) -> Look:
    """Put the detections of a scene on the common grid.

    Args:
        detections: boxes in scene pixels.
        to_common: (2, 3), scene pixels to common-grid pixels.
        scale: common-grid pixels per scene pixel.
        other: observation state of the other look.
        to_other: (2, 3), common-grid pixels to scene pixels of the other look.
    """
    boxes = detections.boxes.copy()
    boxes[:, :2] = boxes[:, :2] @ to_common[:, :2].T + to_common[:, 2]
    boxes[:, 2:4] *= scale
    boxes[:, 4] += np.arctan2(to_common[1, 0], to_common[0, 0])
    boxes = ob.canonical(boxes)
    states = np.stack([other.seen_at(p @ to_other[:, :2].T + to_other[:, 2]) for p in _probes(boxes)])
    hidden = (states != Unseen.OBSERVED).sum(axis=0) * 2 > len(states)
    worst = np.where(states[0] != Unseen.OBSERVED, states[0], states.max(axis=0))
    return Look(boxes, detections.classes, np.where(hidden, worst, Unseen.OBSERVED).astype(np.uint8))


def _probes(boxes: F64) -> list[F64]:
    """Centre and four inner points of each box: most of them hidden makes the object unobservable."""
    ring = ob.corners(boxes)
    return [boxes[:, :2], *(0.4 * boxes[:, :2] + 0.6 * ring[:, k] for k in range(4))]


def match_objects(before: Look, after: Look, gsd_m: float, tolerance_m: float = 0.0) -> ObjectChanges:
    """Match two looks: every object of either stands in exactly one row.

    Args:
        before: objects of the earlier look.
        after: objects of the later look, same grid.
        gsd_m: metres per pixel of the grid.
        tolerance_m: registration residual plus parallax h tan(theta) (METHOD 4.5), widens the staying gate.
    """
    rows: list[tuple[Kind, int, int, float, int, str]] = []
    for cls, name in enumerate(CLASSES):
        b, a = np.flatnonzero(before.classes == cls), np.flatnonzero(after.classes == cls)
        pairs = _stay(before.boxes[b], after.boxes[a], (STAY_M[name] + tolerance_m) / gsd_m)
        free_b, free_a = _rest(len(b), pairs, 0), _rest(len(a), pairs, 1)
        moves = _moves(before.boxes[b[free_b]], after.boxes[a[free_a]], MOVE_M[name] / gsd_m, gsd_m, name)
        for i, j in pairs:
            rows.append((Kind.PERSISTED, int(b[i]), int(a[j]), _metres(before, after, b[i], a[j], gsd_m), cls, ""))
        for i, j in moves:
            p, q = int(b[free_b[i]]), int(a[free_a[j]])
            rows.append((Kind.MOVED, p, q, _metres(before, after, p, q, gsd_m), cls, ""))
        rows += _alone(before, b[np.delete(free_b, [i for i, _ in moves])], Kind.DEPARTED, cls, first=True)
        rows += _alone(after, a[np.delete(free_a, [j for _, j in moves])], Kind.APPEARED, cls, first=False)
    rows.sort(key=lambda r: (r[4], r[0], r[1], r[2]))
    kinds, firsts, seconds, metres, classes, reasons = zip(*rows, strict=True) if rows else ((), (), (), (), (), ())
    return ObjectChanges(
        np.array(kinds, np.uint8),
        np.array(firsts, np.int64),
        np.array(seconds, np.int64),
        np.array(metres, np.float64),
        np.array(classes, np.uint8),
        tuple(reasons),
    )


def _metres(before: Look, after: Look, i: int, j: int, gsd_m: float) -> float:
    return float(np.hypot(*(after.boxes[j, :2] - before.boxes[i, :2]))) * gsd_m


def _rest(n: int, pairs: list[tuple[int, int]], side: int) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(n), [p[side] for p in pairs])


def _alone(own: Look, index: NDArray[np.int64], kind: Kind, cls: int, *, first: bool) -> list[tuple[Kind, int, int, float, int, str]]:
    rows = []
    for i in index:
        state = Unseen(own.seen_by_other[i])
        verdict, reason = (kind, "") if state == Unseen.OBSERVED else (Kind.UNOBSERVABLE, REASONS[state])
        rows.append((verdict, int(i) if first else -1, -1 if first else int(i), 0.0, cls, reason))
    return rows


def _stay(b: F64, a: F64, gate_px: float) -> list[tuple[int, int]]:
    """Optimal pairs that have not moved; along the body the gate is wider, since its ends are harder to place than its sides."""
    along, across = _offsets(b, a)
    return _assign(np.hypot(along * 0.6, across), _alike(b, a), gate_px)


def _offsets(b: F64, a: F64) -> tuple[F64, F64]:
    """(N, M) signed offsets of each after box from each before box, along and across the before box."""
    delta = a[None, :, :2] - b[:, None, :2]
    cos, sin = np.cos(b[:, 4])[:, None], np.sin(b[:, 4])[:, None]
    return delta[..., 0] * cos + delta[..., 1] * sin, delta[..., 1] * cos - delta[..., 0] * sin


def _assign(cost: F64, possible: NDArray[np.bool_], gate_px: float) -> list[tuple[int, int]]:
    """Optimal one-to-one pairs among those that are possible and within the gate."""
    allowed = possible & (cost <= gate_px)
    i, j = linear_sum_assignment(np.where(allowed, cost, 1e6))
    return [(int(p), int(q)) for p, q in zip(i, j, strict=True) if allowed[p, q]]


def _alike(b: F64, a: F64, turn_gate: float = TURN) -> NDArray[np.bool_]:
    """(N, M) whether lengths and headings agree well enough to be one object."""
    ratio = np.maximum(b[:, None, 2], a[None, :, 2]) / np.minimum(b[:, None, 2], a[None, :, 2])
    turn = np.abs((a[None, :, 4] - b[:, None, 4] + np.pi / 2) % np.pi - np.pi / 2)
    return np.asarray((ratio < SIZE_RATIO) & (turn < turn_gate))


def _moves(b: F64, a: F64, gate_px: float, gsd_m: float, name: str) -> list[tuple[int, int]]:
    """Objects that moved: cars of a string by one common roll along their track, hulls one by one."""
    if gate_px <= 0 or len(b) == 0 or len(a) == 0:
        return []
    along, across = _offsets(b, a)
    if name != "railcar":
        # a hull at anchor swings with wind and tide, so its heading says nothing
        return _assign(np.hypot(along, across), _alike(b, a, np.pi), gate_px)
    same_track = (np.abs(across) * gsd_m < 2.2) & _alike(b, a) & (np.abs(along) <= gate_px)
    pairs: list[tuple[int, int]] = []
    free_b, free_a = np.ones(len(b), np.bool_), np.ones(len(a), np.bool_)
    while True:  # the roll that most cars share, then the next; a single car proves no roll
        open_pairs = same_track & free_b[:, None] & free_a[None]
        rolls = along[open_pairs]
        if len(rolls) == 0:
            return pairs
        near = np.abs(rolls[:, None] - rolls[None]) * gsd_m < ROLL_TOLERANCE_M
        roll = rolls[int(near.sum(axis=1).argmax())]
        fits = open_pairs & (np.abs(along - roll) * gsd_m < ROLL_TOLERANCE_M)
        i, j = linear_sum_assignment(np.where(fits, np.abs(along - roll), 1e6))
        chosen = [(int(p), int(q)) for p, q in zip(i, j, strict=True) if fits[p, q]]
        if len(chosen) < 3:
            return pairs
        pairs += chosen
        for p, q in chosen:
            free_b[p], free_a[q] = False, False


def counts(objects: ObjectChanges) -> dict[str, dict[str, int]]:
    """Number of objects by class and kind, every one present."""
    return {
        name: {kind.name.lower(): int(((objects.classes == cls) & (objects.kind == kind)).sum()) for kind in Kind}
        for cls, name in enumerate(CLASSES)
    }
