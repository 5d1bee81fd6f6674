"""The fate of objects: appeared, departed, moved, persisted, unobservable or uncertain. What could not be seen is never gone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import CLASSES, presence
from pipeline.change import evidence, matching
from pipeline.change import recurrence as rec
from pipeline.change.look import Look
from pipeline.change.records import Kind, ObjectChanges
from pipeline.change.recurrence import Recurrence, Structure
from pipeline.imagery.observed import REASONS, Unseen

F64 = NDArray[np.float64]
Row = tuple[Kind, int, int, float, int, str]

STAY_M = {"container": 1.2, "railcar": 2.5, "vessel": 12.0}
"""Within this distance an object has not moved: half a box width, a coupling's slack, a hull at its lines; detector jitter included."""
MOVE_M = {"container": 0.0, "railcar": 60.0, "vessel": 150.0}
"""A move is told apart from a swap only within this: containers look alike, a string rolls along its track, a hull shifts berth."""
ROLL_FIRST = 0.6
"""Share of the staying gate within which a car has surely not rolled: less than a quarter of the shortest pitch, 10 m (METHOD 4.2)."""
HINT_RATIO = 1.5
"""Lengths of weak boxes are worse than those of sure ones."""
SHOWN, BLANK, TAKEN, MISSED = (
    "its structure is in both looks",
    "the other look is white and blank there",
    "other objects overlap its place",
    "one look may have missed it, or the other taken it for what it is not",
)
FOLLOWED = "another hull of this length may have followed at its berth"
HINTED = "seen more weakly in the other look"


def match_objects(
    before: Look,
    after: Look,
    gsd_m: float,
    tolerance_m: float = 0.0,
    weak: tuple[Look, Look] | None = None,
    structure: tuple[Structure, Structure] | None = None,
    lean_m: float | None = None,
) -> ObjectChanges:
    """Match two looks: every object of either stands in exactly one row.

    Args:
        before: objects of the earlier look.
        after: objects of the later look, same grid.
        gsd_m: metres per pixel of the grid.
        tolerance_m: registration residual plus parallax h tan(theta) (METHOD 4.5), widens the staying gate.
        weak: what either look shows too weakly to count (`pipeline.change.evidence`); they get no rows.
        structure: what either look shows of structure; without it boxes alone decide.
        lean_m: how far all objects of a class may be displaced alike, if not by the tolerance: views that are not known lean more.
    """
    rows: list[Row] = []
    reach_m = tolerance_m if lean_m is None else lean_m
    for cls in range(len(CLASSES)):
        rows += _Match.of((before, after), weak, cls, gsd_m, (tolerance_m, reach_m), structure).rows()
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


@dataclass(frozen=True, slots=True)
class _Match:
    """One class of two looks.

    Attributes:
        looks: the two looks, all classes.
        index: per side, rows of this class in its look.
        boxes: per side (N, 5); those of the after side less the common lean.
        hints: per side, weak boxes of this class in the same frame, and their strength.
        structure: of both looks; its drift is the common lean.
    """

    looks: tuple[Look, Look]
    index: tuple[NDArray[np.int64], NDArray[np.int64]]
    boxes: tuple[F64, F64]
    hints: tuple[tuple[F64, F64], tuple[F64, F64]]
    gate_px: float
    gsd_m: float
    cls: int
    structure: Recurrence

    @classmethod
    def of(
        cls,
        looks: tuple[Look, Look],
        weak: tuple[Look, Look] | None,
        which: int,
        gsd_m: float,
        limits_m: tuple[float, float],
        structure: tuple[Structure, Structure] | None,
    ) -> "_Match":
        tolerance_m, lean_m = limits_m
        b, a = (np.flatnonzero(o.classes == which) for o in looks)
        boxes_b, boxes_a = looks[0].boxes[b], looks[1].boxes[a].copy()
        common = matching.lean(boxes_b, boxes_a, lean_m / gsd_m, gsd_m)
        drift = np.zeros(2) if common is None else common
        boxes_a[:, :2] -= drift
        hints = []
        for side in (0, 1):
            mine = np.flatnonzero(weak[side].classes == which) if weak else np.zeros(0, np.int64)
            found = weak[side].boxes[mine].copy() if weak else np.zeros((0, 5))
            found[:, :2] -= drift * side
            hints.append((found, weak[side].strength[mine] if weak else np.zeros(0)))
        # once the common lean is out half of it is left, since heights of one class differ by about half
        left = tolerance_m if common is None else min(tolerance_m, 0.5 * float(np.hypot(*common)) * gsd_m)
        gate_px, pixels = (STAY_M[CLASSES[which]] + left) / gsd_m, Recurrence(structure, drift, gsd_m)
        return cls(looks, (b, a), (boxes_b, boxes_a), (hints[0], hints[1]), gate_px, gsd_m, which, pixels)

    def rows(self) -> list[Row]:
        """Fates: same place first, then weak answers, then moves, then nearly the same place, then evidence."""
        strings = CLASSES[self.cls] == "railcar"
        # a train that rolled by half a car stands near the places of its neighbours: a roll is tried before the wider gate
        gate = self.gate_px * (ROLL_FIRST if strings else 1.0)
        every = tuple(np.arange(len(self.boxes[s])) for s in (0, 1))
        sure, known = [i[self._strength(s) >= 1] for s, i in enumerate(every)], [self._by_pixels(s) for s in (0, 1)]
        pairs = self._unparted(self._stay(sure, gate), known)
        # where a car left a string the network still expects one, and its weak box there counts: no proof that the car stayed
        lone = [np.setdiff1d(i, [p[s] for p in pairs]) for s, i in enumerate(every)]
        changed = [self._changed(s, lone, known[s]) for s in (0, 1)]
        firm = [i[~changed[s][i]] for s, i in enumerate(lone)]
        pairs += self._stay(firm, gate)
        free = [np.setdiff1d(i, [p[s] for p in pairs]) for s, i in enumerate(every)]
        both = [np.intersect1d(firm[s], free[s]) for s in (0, 1)]
        seen = [i[self._states(s)[i] == Unseen.OBSERVED] for s, i in enumerate(both)]
        hinted = [self._hinted(s, seen[s]) for s in (0, 1)]
        loose = [np.setdiff1d(free[s], hinted[s]) for s in (0, 1)]
        moves = [(int(loose[0][i]), int(loose[1][j])) for i, j in self._moves(loose[0], loose[1])]
        if strings:
            moves = [m for m in moves if self._both_seen(*m)]
            rest = [np.setdiff1d(loose[s], [m[s] for m in moves]) for s in (0, 1)]
            near = self._stay([np.intersect1d(r, np.intersect1d(sure[s], firm[s])) for s, r in enumerate(rest)], self.gate_px)
            pairs, loose = pairs + near, [np.setdiff1d(loose[s], [p[s] for p in near]) for s in (0, 1)]
        else:
            still = [(i, j) for i, j in moves if self._still(self.boxes[0][i], self.boxes[1][j])]
            moves, pairs = [m for m in moves if m not in still and self._both_seen(*m)], pairs + still
            loose = [np.setdiff1d(loose[s], [p[s] for p in still]) for s in (0, 1)]
        hulls = CLASSES[self.cls] == "vessel"
        likeness = {(i, j): self.structure.same_hull(self.boxes[0][i], self.boxes[1][j]) if hulls else 1.0 for i, j in (*pairs, *moves)}
        doubted = [p for p in pairs if rec.OTHER_HULL <= likeness[p] < rec.STILL_THERE]
        # at its place a hull may be the same for all that; elsewhere nothing else says so
        parted = [p for p in pairs if likeness[p] < rec.OTHER_HULL] + [p for p in moves if likeness[p] < rec.STILL_THERE]
        loose = [np.union1d(loose[s], [p[s] for p in parted]).astype(np.int64) for s in (0, 1)]
        pairs, moves = ([p for p in some if likeness[p] >= rec.STILL_THERE] for some in (pairs, moves))
        rows = [self._pair(Kind.PERSISTED, i, j) for i, j in pairs] + [self._pair(Kind.MOVED, i, j) for i, j in moves]
        rows += [self._pair(Kind.UNCERTAIN, i, j, FOLLOWED) for i, j in doubted]
        one_light = any(k.any() for k in known) and self.structure.one_light(*self._sides(pairs))
        for side in (0, 1):
            rows += [self._single(Kind.PERSISTED, side, int(i), HINTED) for i in hinted[side]]
            alone = np.setdiff1d(loose[side], [m[side] for m in moves])
            hidden = [int(i) for i in alone if self._states(side)[i] != Unseen.OBSERVED]
            rows += [self._single(Kind.UNOBSERVABLE, side, i, REASONS[Unseen(self._states(side)[i])]) for i in hidden]
            rows += self._weigh(side, np.setdiff1d(alone, hidden), changed[side], known[side] & one_light)
        return rows

    def _states(self, side: int) -> NDArray[np.uint8]:
        return self.looks[side].seen_by_other[self.index[side]]

    def _both_seen(self, i: int, j: int) -> bool:
        """Whether the other look shows either place of a pair: what stands under cloud where it stood has not moved."""
        return bool(self._states(0)[i] == Unseen.OBSERVED and self._states(1)[j] == Unseen.OBSERVED)

    def _pair(self, kind: Kind, i: int, j: int, reason: str = "") -> Row:
        metres = float(np.hypot(*(self.boxes[1][j, :2] - self.boxes[0][i, :2]))) * self.gsd_m
        return kind, int(self.index[0][i]), int(self.index[1][j]), metres, self.cls, reason

    def _single(self, kind: Kind, side: int, i: int, reason: str = "") -> Row:
        row = int(self.index[side][i])
        return kind, -1 if side else row, row if side else -1, 0.0, self.cls, reason

    def _sides(self, pairs: matching.Pairs) -> tuple[F64, F64]:
        """(K, 5) boxes of either side of some pairs."""
        return self.boxes[0][[i for i, _ in pairs]], self.boxes[1][[j for _, j in pairs]]

    def _strength(self, side: int) -> F64:
        return self.looks[side].strength[self.index[side]]

    def _stay(self, members: Sequence[NDArray[np.int64]], gate_px: float) -> matching.Pairs:
        """Pairs among some objects of either side that have not moved."""
        found = matching.stay(self.boxes[0][members[0]], self.boxes[1][members[1]], gate_px)
        return [(int(members[0][i]), int(members[1][j])) for i, j in found]

    def _unparted(self, pairs: matching.Pairs, known: Sequence[NDArray[np.bool_]]) -> matching.Pairs:
        """Pairs less those of which the pixels say that one body is gone, and a box on bare track was taken for it."""
        for side in (0, 1):
            may, answer = known[side] & (self._states(side) == Unseen.OBSERVED), self._strength(1 - side)
            asked = [p for p in pairs if may[p[side]] and answer[p[1 - side]] < evidence.UNDOUBTED]
            chances = self._gone(side, np.array([p[side] for p in asked], np.int64))
            parted = {p for p, chance in zip(asked, chances, strict=True) if chance >= evidence.GONE}
            pairs = [p for p in pairs if p not in parted]
        return pairs

    def _hinted(self, side: int, free: NDArray[np.int64]) -> NDArray[np.int64]:
        """Free objects for which a weak box stands in the other look."""
        pairs = matching.stay(self.boxes[side][free], self.hints[1 - side][0], self.gate_px, HINT_RATIO)
        return free[[i for i, _ in pairs]]

    def _changed(self, side: int, lone: Sequence[NDArray[np.int64]], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(N,) whether each lone object has come or gone: by pixels where they are `known` to tell, else by boxes."""
        changed, asked = self._by_boxes(side, lone) >= evidence.CHANGED, lone[side][known[lone[side]]]
        changed[asked] = self._gone(side, asked) >= evidence.GONE
        return changed

    def _gone(self, side: int, bodies: NDArray[np.int64]) -> F64:
        """Chance of some bodies that they do not stand in the other look, by the pixels of both."""
        if self.structure.looks is None or len(bodies) == 0:
            return np.zeros(0)
        looks = [self._view(s, self.structure.looks[s]) for s in (side, 1 - side)]
        return presence.chance_gone(looks[0], looks[1], self.boxes[side][bodies], self.gsd_m)

    def _by_pixels(self, side: int) -> NDArray[np.bool_]:
        """(N,) whether pixels are asked about an object: about cars and what stands on them, which taught the network."""
        number, own = len(self.boxes[side]), self.looks[side]
        if self.structure.looks is None or self.gsd_m > presence.COARSEST_M or CLASSES[self.cls] == "vessel":
            return np.zeros(number, np.bool_)
        if CLASSES[self.cls] == "railcar":
            return np.ones(number, np.bool_)
        return matching.covered(own.boxes[self.index[side]], own.boxes[own.classes == CLASSES.index("railcar")])

    def _by_boxes(self, side: int, lone: Sequence[NDArray[np.int64]]) -> F64:
        """(N,) that chance by what the other look's boxes show in the place of each object and have no partner for."""
        own, other = self.boxes[side], 1 - side
        boxes = np.concatenate([self.boxes[other][lone[other]], self.hints[other][0]])
        strength = np.r_[self._strength(other)[lone[other]], self.hints[other][1]]
        weak = np.array([strength[j] for _, j in matching.stay(own[lone[side]], boxes, self.gate_px, HINT_RATIO)], np.float64)
        stand = len(own) - len(lone[side]) + int((weak < 1).sum())
        missed = (int((weak < evidence.POOR).sum()) + 0.5) / (stand + 1)
        if CLASSES[self.cls] == "vessel":  # hulls of other lengths do follow each other at one berth
            weakly = strength < 1
            answer, covered = matching.answers(own, boxes[weakly], strength[weakly], HINT_RATIO), np.zeros(len(own), np.bool_)
        else:
            answer, covered = matching.answers(own, boxes, strength), matching.covered(own, boxes)
        return evidence.chance_of_change(self._strength(side), answer, covered, missed, evidence.COMMON.get(CLASSES[self.cls], 0.0))

    def _view(self, side: int, look: Structure) -> presence.View:
        boxes, strength = np.concatenate([self.boxes[side], self.hints[side][0]]), np.r_[self._strength(side), self.hints[side][1]]
        return presence.View(look.pixels, look.valid, self.structure.drift * side, boxes, strength)

    def _moves(self, free_b: NDArray[np.int64], free_a: NDArray[np.int64]) -> matching.Pairs:
        b, a, gate = self.boxes[0][free_b], self.boxes[1][free_a], MOVE_M[CLASSES[self.cls]] / self.gsd_m
        if gate <= 0 or len(b) == 0 or len(a) == 0:
            return []
        if CLASSES[self.cls] != "railcar":
            return matching.swung(b, a, gate)
        rolls = matching.rolls(b, a, gate, self.gsd_m)
        return [p for group in rolls if self.structure.rolled(b[[i for i, _ in group]], a[[j for _, j in group]]) for p in group]

    def _still(self, before: F64, after: F64) -> bool:
        """Whether a hull (5,) that seems to have shifted looks more like what stands at its old place than at its new one.

        Then its two boxes differ, not its place: the ends of a hull among piers are hard to see.
        """
        return bool(matching.alike(before[None], after[None])[0]) and not self.structure.rolled(before[None], after[None])

    def _weigh(self, side: int, free: NDArray[np.int64], changed: NDArray[np.bool_], doubt: NDArray[np.bool_]) -> list[Row]:
        """Fate of what only one look is sure of: changed as far as the evidence carries, else persisted or uncertain.

        Of a body in `doubt` (N,) to have changed, structure that recurs whole decides.
        """
        others = np.concatenate([self.boxes[1 - side], self.hints[1 - side][0]])
        taken = matching.covered(self.boxes[side][free], others) & (CLASSES[self.cls] != "vessel")
        rows = []
        for i, occupied in zip(free.tolist(), taken, strict=True):
            if self.structure.blank(side, self.boxes[side][i]):
                rows.append(self._single(Kind.UNCERTAIN, side, i, BLANK))
            elif changed[i] and not (doubt[i] and self.structure.stands(side, self.boxes[side][i], rec.SAME_LIGHT)):
                rows.append(self._single(Kind.APPEARED if side else Kind.DEPARTED, side, i))
            elif self.structure.stands(side, self.boxes[side][i], rec.STILL_THERE):
                rows.append(self._single(Kind.PERSISTED, side, i, SHOWN))
            else:
                rows.append(self._single(Kind.UNCERTAIN, side, i, TAKEN if occupied else MISSED))
        return rows


def counts(objects: ObjectChanges) -> dict[str, dict[str, int]]:
    """Number of objects by class and kind, every one present."""
    return {
        name: {kind.name.lower(): int(((objects.classes == cls) & (objects.kind == kind)).sum()) for kind in Kind}
        for cls, name in enumerate(CLASSES)
    }
