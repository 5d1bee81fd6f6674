"""Which object of one look may be which of the other: gates, optimal assignment, the common lean of a look, rolls along a track."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from models import boxes as ob

F64 = NDArray[np.float64]
Pairs = list[tuple[int, int]]

SIZE_RATIO = 1.25
"""Lengths that differ more belong to different objects."""
TURN = np.radians(25.0)
ROLL_TOLERANCE_M = 2.0
"""Cars of one string roll by the same distance, to half a coupling."""
TRACK_M = 2.2
"""Cars of one track lie within half a track spacing of each other across it (METHOD 4.2)."""
MIN_ROLL = 3
"""Fewer cars prove no roll."""
LEAN_M = 0.75
"""Objects that lean alike are displaced alike, to the error of a box."""
MIN_LEAN = 6
"""Fewer objects prove no common lean."""
ASIDE_M = 8.0
"""A map of two looks that is off by more than this across the tracks is not looked for: the next track but one lies there."""
ANSWER = 0.3
"""Oriented IoU from which a box of the other look answers for a place: what makes a hit (`models.evaluate`)."""
COVERED = 0.5
"""Share of a box that another must cover to occupy its place."""


def stay(b: F64, a: F64, gate_px: float, size_ratio: float = SIZE_RATIO) -> Pairs:
    """Optimal pairs that have not moved; along the body the gate is wider, since its ends are harder to place than its sides."""
    along, across = offsets(b, a)
    return assign(np.hypot(along * 0.6, across), alike(b, a, size_ratio=size_ratio), gate_px)


def offsets(b: F64, a: F64) -> tuple[F64, F64]:
    """(N, M) signed offsets of each after box from each before box, along and across the before box."""
    delta = a[None, :, :2] - b[:, None, :2]
    cos, sin = np.cos(b[:, 4])[:, None], np.sin(b[:, 4])[:, None]
    return delta[..., 0] * cos + delta[..., 1] * sin, delta[..., 1] * cos - delta[..., 0] * sin


def assign(cost: F64, possible: NDArray[np.bool_], gate_px: float) -> Pairs:
    """Optimal one-to-one pairs among those that are possible and within the gate."""
    allowed = possible & (cost <= gate_px)
    i, j = linear_sum_assignment(np.where(allowed, cost, 1e6))
    return [(int(p), int(q)) for p, q in zip(i, j, strict=True) if allowed[p, q]]


def alike(b: F64, a: F64, turn_gate: float = TURN, size_ratio: float = SIZE_RATIO) -> NDArray[np.bool_]:
    """(N, M) whether lengths and headings agree well enough to be one object."""
    ratio = np.maximum(b[:, None, 2], a[None, :, 2]) / np.minimum(b[:, None, 2], a[None, :, 2])
    turn = np.abs((a[None, :, 4] - b[:, None, 4] + np.pi / 2) % np.pi - np.pi / 2)
    return np.asarray((ratio < size_ratio) & (turn < turn_gate))


def lean(b: F64, a: F64, reach_px: float, gsd_m: float) -> F64 | None:
    """(2,) the displacement that most objects share: roofs of one height lean alike (METHOD 4.5). None where few agree.

    Args:
        b: (N, 5) boxes of one class in the earlier look.
        a: (M, 5) those of the later look.
        reach_px: the largest displacement that the views allow, or registration left over.
        gsd_m: metres per pixel.
    """
    if min(len(b), len(a)) < MIN_LEAN or reach_px <= 0:
        return None
    delta = a[None, :, :2] - b[:, None, :2]
    near = alike(b, a) & (np.hypot(delta[..., 0], delta[..., 1]) <= reach_px)
    votes = delta[near]
    if len(votes) < MIN_LEAN:
        return None
    votes = votes[:: max(1, len(votes) // 2000)]
    together = np.hypot(*np.moveaxis(votes[:, None] - votes[None], 2, 0)) * gsd_m <= LEAN_M
    best = together[int(together.sum(axis=1).argmax())]
    if best.sum() < max(MIN_LEAN, 0.25 * min(len(b), len(a))):
        return None
    return np.asarray(np.median(votes[best], axis=0), np.float64)


def aside(b: F64, a: F64, reach_px: float, gsd_m: float) -> bool:
    """Whether cars contradict the map between two looks, which is then off across the tracks.

    More than twice as many stand beside their places, by one distance, as stand on them. Cars roll along a track, never across; rails
    and the edges of shadows repeat from track to track.

    Args:
        b: (N, 5) cars of the earlier look.
        a: (M, 5) cars of the later look, where the map puts them.
        reach_px: the largest displacement that the views and the residual of the map allow.
        gsd_m: metres per pixel.
    """
    if min(len(b), len(a)) < MIN_LEAN:
        return False
    along, across = offsets(b, a)
    votes = across[alike(b, a) & (np.abs(along) * gsd_m <= ROLL_TOLERANCE_M)] * gsd_m
    on, beside = np.abs(votes) <= reach_px * gsd_m, np.abs(votes) <= ASIDE_M
    off = votes[beside & ~on]
    together = (np.abs(off[:, None] - off[None]) <= LEAN_M).sum(axis=1).max(initial=0)
    return bool(together >= MIN_LEAN and together > 2 * on.sum())


def covered(own: F64, others: F64) -> NDArray[np.bool_]:
    """(N,) whether boxes of the other look cover half of each box, whatever their sizes: one alone, or several between them."""
    if len(own) == 0 or len(others) == 0:
        return np.zeros(len(own), np.bool_)
    i, j = ob.candidate_pairs(own, others)
    shared = ob.intersection_pairs(own[i], others[j])
    alone = shared >= COVERED * np.minimum(ob.area(own)[i], ob.area(others)[j])
    together = np.bincount(i, shared, len(own)) >= COVERED * ob.area(own)
    return np.isin(np.arange(len(own)), i[alone]) | together


def answers(own: F64, others: F64, strength: F64, size_ratio: float = np.inf) -> F64:
    """(N,) strength of the strongest box of the other look on the place of each box, 0 for none."""
    if len(own) == 0 or len(others) == 0:
        return np.zeros(len(own))
    there = (ob.iou_matrix(own, others) > ANSWER) & (np.isinf(size_ratio) | alike(own, others, size_ratio=size_ratio))
    return np.asarray((there * strength).max(axis=1), np.float64)


def swung(b: F64, a: F64, gate_px: float) -> Pairs:
    """Hulls that shifted, one by one; at anchor they swing with wind and tide, so that heading says nothing."""
    along, across = offsets(b, a)
    return assign(np.hypot(along, across), alike(b, a, np.pi), gate_px)


def rolls(b: F64, a: F64, gate_px: float, gsd_m: float) -> list[Pairs]:
    """Groups of cars that rolled by one distance along their track: the roll that most cars share, then the next."""
    if len(b) == 0 or len(a) == 0:
        return []
    along, across = offsets(b, a)
    same_track = (np.abs(across) * gsd_m < TRACK_M) & alike(b, a) & (np.abs(along) <= gate_px)
    groups: list[Pairs] = []
    free_b, free_a = np.ones(len(b), np.bool_), np.ones(len(a), np.bool_)
    while True:
        open_pairs = same_track & free_b[:, None] & free_a[None]
        found = along[open_pairs]
        if len(found) == 0:
            return groups
        near = np.abs(found[:, None] - found[None]) * gsd_m < ROLL_TOLERANCE_M
        roll = found[int(near.sum(axis=1).argmax())]
        fits = open_pairs & (np.abs(along - roll) * gsd_m < ROLL_TOLERANCE_M)
        i, j = linear_sum_assignment(np.where(fits, np.abs(along - roll), 1e6))
        chosen = [(int(p), int(q)) for p, q in zip(i, j, strict=True) if fits[p, q]]
        if len(chosen) < MIN_ROLL:
            return groups
        groups.append(chosen)
        for p, q in chosen:
            free_b[p], free_a[q] = False, False
