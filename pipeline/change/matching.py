"""Which object of one look may be which of the other: gates, optimal assignment, the common lean of a look, rolls along a track.

Work and memory grow with the pairs inside the gates, not with objects times objects: a terminal holds ten thousand boxes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from models import boxes as ob

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Pairs = list[tuple[int, int]]

SIZE_RATIO = 1.25
"""Lengths that differ more belong to different objects."""
TURN = np.radians(25.0)
"""Headings that differ more belong to different objects; ours, between the error of a box, a few degrees, and a right angle."""
ALONG = 0.6
"""Weight of a metre along a body against one across it."""
ROLL_TOLERANCE_M = 2.0
"""Cars of one string roll by the same distance, to half a coupling."""
TRACK_M = 2.2
"""Cars of one track lie within half a track spacing of each other across it (METHOD 4.2)."""
MIN_ROLL = 3
"""Fewer cars of one string prove no roll, and those of several tracks prove none: among cars that came and went some always seem to
have gone equally far."""
STRING_GAP_M = 30.0
"""Between two cars of a string: two others (METHOD 4.2) that were not found."""
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
    i, j = near(b, a, gate_px / ALONG)
    along, across = offsets(b[i], a[j])
    cost = np.hypot(along * ALONG, across)
    may = alike(b[i], a[j], size_ratio=size_ratio) & (cost <= gate_px)
    return assign(i[may], j[may], cost[may])


def near(b: F64, a: F64, reach_px: float) -> tuple[I64, I64]:
    """Indices (i, j) of every pair whose centres lie within reach, sorted by (i, j)."""
    if len(b) == 0 or len(a) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    found = KDTree(b[:, :2]).sparse_distance_matrix(KDTree(a[:, :2]), reach_px, output_type="ndarray")
    order = np.lexsort((found["j"], found["i"]))
    return found["i"][order].astype(np.int64), found["j"][order].astype(np.int64)


def offsets(b: F64, a: F64) -> tuple[F64, F64]:
    """(K,) signed offsets of each after box from its before box, along and across the before box."""
    delta = a[:, :2] - b[:, :2]
    cos, sin = np.cos(b[:, 4]), np.sin(b[:, 4])
    return delta[:, 0] * cos + delta[:, 1] * sin, delta[:, 1] * cos - delta[:, 0] * sin


def assign(i: I64, j: I64, cost: F64) -> Pairs:
    """Optimal one-to-one pairs among candidates (K,): as many as can be, and of those the nearest; group by connected group."""
    if len(i) == 0:
        return []
    left, right = int(i.max()) + 1, int(j.max()) + 1
    edges = coo_matrix((np.ones(len(i)), (i, left + j)), shape=(left + right, left + right))
    group = connected_components(edges, directed=False)[1][i]
    order = np.argsort(group, kind="stable")
    chosen: Pairs = []
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        rows, row = np.unique(i[members], return_inverse=True)
        columns, column = np.unique(j[members], return_inverse=True)
        table = np.full((len(rows), len(columns)), 1e6)
        table[row, column] = cost[members]
        p, q = linear_sum_assignment(table)
        chosen += [(int(rows[r]), int(columns[c])) for r, c in zip(p, q, strict=True) if table[r, c] < 1e6]
    return sorted(chosen)


def alike(b: F64, a: F64, turn_gate: float = TURN, size_ratio: float = SIZE_RATIO) -> NDArray[np.bool_]:
    """(K,) whether lengths and headings agree well enough to be one object."""
    ratio = np.maximum(b[:, 2], a[:, 2]) / np.minimum(b[:, 2], a[:, 2])
    turn = np.abs((a[:, 4] - b[:, 4] + np.pi / 2) % np.pi - np.pi / 2)
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
    i, j = near(b, a, reach_px)
    votes = (a[j, :2] - b[i, :2])[alike(b[i], a[j])]
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
    i, j = near(b, a, np.hypot(ROLL_TOLERANCE_M, max(ASIDE_M, reach_px * gsd_m)) / gsd_m)
    along, across = offsets(b[i], a[j])
    votes = across[alike(b[i], a[j]) & (np.abs(along) * gsd_m <= ROLL_TOLERANCE_M)] * gsd_m
    on, beside = np.abs(votes) <= reach_px * gsd_m, np.abs(votes) <= ASIDE_M
    together = _within(votes[beside & ~on], LEAN_M).max(initial=0)
    return bool(together >= MIN_LEAN and together > 2 * on.sum())


def _within(values: F64, reach: float) -> I64:
    """(N,) how many of some values lie within reach of each, itself included."""
    ranked = np.sort(values)
    return np.asarray(np.searchsorted(ranked, values + reach, "right") - np.searchsorted(ranked, values - reach, "left"), np.int64)


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
    out = np.zeros(len(own))
    i, j = ob.candidate_pairs(own, others)
    there = (ob.iou_pairs(own[i], others[j]) > ANSWER) & (np.isinf(size_ratio) | alike(own[i], others[j], size_ratio=size_ratio))
    np.maximum.at(out, i[there], strength[j[there]])
    return out


def swung(b: F64, a: F64, gate_px: float) -> Pairs:
    """Hulls that shifted, one by one; at anchor they swing with wind and tide, so that heading says nothing."""
    i, j = near(b, a, gate_px)
    may = alike(b[i], a[j], np.pi)
    return assign(i[may], j[may], np.hypot(*(a[j[may], :2] - b[i[may], :2]).T))


def rolls(b: F64, a: F64, gate_px: float, gsd_m: float) -> list[Pairs]:
    """Strings of cars that rolled by one distance along their track: the roll that most cars share, then the next."""
    i, j = near(b, a, np.hypot(gate_px, TRACK_M / gsd_m))
    along, across = offsets(b[i], a[j])
    same_track = (np.abs(across) * gsd_m < TRACK_M) & alike(b[i], a[j]) & (np.abs(along) <= gate_px)
    i, j, along = i[same_track], j[same_track], along[same_track]
    groups: list[Pairs] = []
    while len(along):
        roll = along[int(_within(along, ROLL_TOLERANCE_M / gsd_m).argmax())]
        fits = np.abs(along - roll) * gsd_m < ROLL_TOLERANCE_M
        chosen = assign(i[fits], j[fits], np.abs(along - roll)[fits])
        if len(chosen) < MIN_ROLL:
            return groups
        strings = [[chosen[k] for k in string] for string in _strings(b[[p for p, _ in chosen]], gsd_m)]
        groups += strings
        gone = [pair for string in strings for pair in string]
        free = ~fits & ~np.isin(i, [p for p, _ in gone]) & ~np.isin(j, [q for _, q in gone])
        i, j, along = i[free], j[free], along[free]
    return groups


def _strings(cars: F64, gsd_m: float) -> list[I64]:
    """Indices of the cars of each string of `MIN_ROLL` or more: one behind the other on one track."""
    i, j = near(cars, cars, float(cars[:, 2].max()) + STRING_GAP_M / gsd_m)
    turn, gap, across = ob.relative(cars, i, j)
    coupled = (turn < TURN) & (across * gsd_m < TRACK_M) & (gap * gsd_m < STRING_GAP_M)
    links = coo_matrix((np.ones(coupled.sum()), (i[coupled], j[coupled])), shape=(len(cars),) * 2)
    _, string = connected_components(links, directed=False)
    return [np.flatnonzero(string == k) for k in np.unique(string) if (string == k).sum() >= MIN_ROLL]
