# ruff: noqa: T201
# (a benchmark prints)
"""The weights of `pipeline.change.evidence.chance_of_change`, learned from rendered yards whose truth is known.

Run: ``python tests/bench/fit_evidence.py [--pairs N] [--model NAME] [--first SEED]``. Every object of one look that has no partner in
the other is an example: an event if it came or went, none if it was missed there, or is false. Prints the weights of all yards, and
what those learned without a yard say of that yard. Seeds below those that `bench_objects.py` judges by; 0.3-0.8 m.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench_objects import HIT, View, across, in_sight, pairs
from numpy.typing import NDArray
from scipy.optimize import minimize

import models
from models import CLASSES
from models import boxes as ob
from pipeline.change import evidence
from pipeline.change.pair import compare
from pipeline.config import ChangeSettings

FIRST = 4_940_000
GSDS = (0.3, 0.4, 0.5, 0.6, 0.8)
RIDGE = 1e-2
F64 = NDArray[np.float64]


def examples(views: tuple[View, View]) -> tuple[F64, NDArray[np.bool_], int]:
    """Columns of `chance_of_change` (N, 5), the last all ones; (N,) whether each is an event; and events in sight, found or not."""
    told: list[F64] = []
    shipped = evidence.chance_of_change

    def noted(own: F64, answer: F64, covered: NDArray[np.bool_], missed: float, common: float) -> F64:
        columns = evidence.columns(own, answer, covered, missed)
        told.append(np.column_stack([columns, np.ones(len(own))]))
        return shipped(own, answer, covered, missed, common)

    evidence.chance_of_change = noted
    try:
        change = compare(
            (views[0].scene, views[1].scene),
            (views[0].found, views[1].found),
            (views[0].observed, views[1].observed),
            ChangeSettings(),
        )
    finally:
        evidence.chance_of_change = shipped
    objects, rows, events, number = change.objects, [], [], 0
    lone = (objects.before < 0) | (objects.after < 0)
    for side, (own, other) in enumerate((views, views[::-1])):
        true, classes = own.seen.chip.boxes, own.seen.chip.classes
        gone = ~np.isin(own.seen.bodies, other.seen.bodies)
        sight = in_sight(own.seen, true, 0.1) & in_sight(other.seen, across(own, true, other), 0.1)
        number += int((gone & sight).sum())
        found = own.found.detections
        overlap = ob.iou_matrix(found.boxes, true) * (found.classes[:, None] == classes[None])
        seen = (change.after_boxes if side else change.before_boxes).seen_by_other == 0
        mine = np.isin(np.arange(len(found)), (objects.after if side else objects.before)[lone]) & seen
        for cls in range(len(CLASSES)):  # `match_objects` asks class by class, the earlier look first
            of_class = np.flatnonzero(found.classes == cls)
            columns = told[2 * cls + side]
            for row, i in zip(columns, of_class, strict=True):
                best, on = overlap[i].max(initial=0.0), int(overlap[i].argmax()) if len(true) else 0
                if mine[i] and row[0] >= 1 and not (best >= HIT and not sight[on]):
                    rows.append(row)
                    events.append(bool(best >= HIT and gone[on]))
    return np.array(rows).reshape(-1, 5), np.array(events, np.bool_), number


def learn(columns: F64, events: NDArray[np.bool_]) -> F64:
    """Weights, the bias last, of a logistic regression with a small ridge."""

    def loss(w: F64) -> float:
        return float(np.logaddexp(0, np.where(events, -1, 1) * (columns @ w)).sum() + RIDGE * (w[:-1] ** 2).sum())

    return np.asarray(minimize(loss, np.zeros(columns.shape[1]), method="BFGS").x)


def gather(first: int, number: int, model: str) -> Iterator[tuple[str, F64, NDArray[np.bool_], int]]:
    """Examples of each pair."""
    with tempfile.TemporaryDirectory() as folder:
        for case, _, views in pairs(Path(folder), first, number, models.load(model), GSDS):
            yield case, *examples(views)


def report(told: list[tuple[str, F64, NDArray[np.bool_], int]]) -> None:
    """Weights, and precision, recall and F1 of exchanged cars by weights of the other yards; two pairs a yard."""
    every = learn(np.concatenate([c for _, c, _, _ in told]), np.concatenate([e for _, _, e, _ in told]))
    print("weights " + ", ".join(f"{w:.2f}" for w in every[:-1]), f"bias {every[-1]:.2f}")
    chances = []
    for k in range(0, len(told), 2):
        rest = told[:k] + told[k + 2 :]
        w = learn(np.concatenate([c for _, c, _, _ in rest]), np.concatenate([e for _, _, e, _ in rest]))
        chances.append(1 / (1 + np.exp(-told[k + 1][1] @ w)))
    chance, events = np.concatenate(chances), np.concatenate([e for _, _, e, _ in told[1::2]])
    number = sum(n for _, _, _, n in told[1::2])
    for limit in (0.3, evidence.CHANGED, 0.5):
        reported, hits = int((chance >= limit).sum()), int((events & (chance >= limit)).sum())
        f1 = 2 * hits / (reported + number)
        print(f"changed from {limit:.2f}: P {hits / max(reported, 1):.3f} R {hits / max(number, 1):.3f} F1 {f1:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--model", default="yard")
    parser.add_argument("--first", type=int, default=FIRST)
    options = parser.parse_args()
    report(list(gather(options.first, options.pairs, options.model)))


if __name__ == "__main__":
    main()
