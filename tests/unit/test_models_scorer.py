"""The scorer against one written from the definitions on shapely's polygons, which shares no code with it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from shapely import Polygon

import models
from models import boxes as ob
from models.datasets.real import Picture
from models.detector import CLASSES, Detections, GsdRange
from models.evaluate import MATCH_IOU, _sets, at_gsd, score
from models.publish import gsd_bins
from models.render import EVALUATION_SEEDS, render_chip

Boxes = NDArray[np.float64]


def polygon(box: NDArray[np.float64]) -> Polygon:
    x, y, length, width, theta = box
    along, across = np.array([np.cos(theta), np.sin(theta)]) * length / 2, np.array([-np.sin(theta), np.cos(theta)]) * width / 2
    return Polygon([(x, y) + a * along + b * across for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))])


def iou(a: Polygon, b: Polygon) -> float:
    shared = a.intersection(b).area
    return float(shared / (a.area + b.area - shared))


def by_definition(found: list[Detections], truth: list[Boxes], least: float) -> tuple[float, float, float]:
    """Precision, recall, and the area under the precision envelope over recall (PASCAL VOC from 2010 on)."""
    claims = []
    for image, (detections, boxes) in enumerate(zip(found, truth, strict=True)):
        shapes, taken = [polygon(b) for b in boxes], set()
        for s, box in sorted(zip(detections.scores.tolist(), detections.boxes, strict=True), key=lambda claim: -claim[0]):
            left = {k: iou(polygon(box), shape) for k, shape in enumerate(shapes) if k not in taken}
            best = max(left, key=lambda k: left[k], default=None)
            hit = best is not None and left[best] >= least
            if hit:
                taken.add(best)
            claims.append((s, image, hit))
    claims.sort(key=lambda claim: -claim[0])
    objects, hits, area, points = sum(map(len, truth)), 0, 0.0, []
    for n, (_, _, hit) in enumerate(claims, start=1):
        hits += hit
        points.append((hits / objects, hits / n))
    for k, (recall, _) in enumerate(points):
        before = points[k - 1][0] if k else 0.0
        area += (recall - before) * max(p for _, p in points[k:])
    return hits / len(claims), hits / objects, area


def drawn(rng: np.random.Generator, number: int) -> Boxes:
    return ob.canonical(np.column_stack([rng.uniform(0, 120, (number, 2)), rng.uniform(12, 40, number), rng.uniform(5, 12, number),
                                         rng.uniform(-np.pi, np.pi, number)]))  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_scores_of_random_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = [drawn(rng, int(n)) for n in rng.integers(1, 15, 4)]
    found = []
    for boxes in truth:
        near = ob.canonical(boxes + rng.normal(0, (2, 2, 2, 1, 0.15), boxes.shape))
        every = np.concatenate([near, near[:3], drawn(rng, 5)])
        found.append(Detections.build(every, rng.permutation(np.linspace(0.1, 0.9, len(every))), np.ones(len(every), np.uint8)))
    for least in (0.3, 0.5):
        s = score(found, truth, least)
        assert (s.precision, s.recall, s.ap) == pytest.approx(by_definition(found, truth, least), abs=1e-6)


def test_overlap_of_two_boxes() -> None:
    a, b = drawn(np.random.default_rng(1), 40), drawn(np.random.default_rng(2), 40)
    expected = [[iou(polygon(x), polygon(y)) for y in b] for x in a]
    assert ob.iou_matrix(a, b) == pytest.approx(np.array(expected), abs=1e-6)


@dataclass
class Blind:
    """A head that finds nothing, and remembers what it was shown."""

    gsd: GsdRange
    classes: tuple[str, ...] = ("railcar",)
    name: str = "blind"
    thresholds: dict[str, float] = field(default_factory=lambda: {"railcar": 0.3})
    shown: list[tuple[int, ...]] = field(default_factory=list)

    def detect(self, pixels: np.ndarray, valid: np.ndarray, thresholds: object = None) -> Detections:
        del thresholds
        assert pixels.shape[1:] == valid.shape
        assert not pixels[:, ~valid].any()
        self.shown.append(pixels.shape)
        return Detections.empty()


@pytest.mark.parametrize(("working", "side"), [(0.3, 512), (0.5, 312), (0.2, 768)])
def test_scenes_reach_a_head_at_the_gsd_it_works_at(working: float, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.evaluate.CHIPS", 1)
    head: Any = Blind(GsdRange(0.08, 0.6, working))
    ((_, _, first, cases), (_, _, second, _)) = _sets(head, Path("absent"))
    assert (first, second) == (0.3, 0.5)
    assert head.shown == [(3, side, side)] * 2
    cars = cases[0].boxes[cases[0].classes == 1]
    assert len(cars) > 5
    assert np.median(cars[:, 3]) * working == pytest.approx(2.9, abs=0.1)  # metres: a car's width
    if working == 0.3:
        drawn = render_chip(EVALUATION_SEEDS, "rail_yard", 0.3, 512, 0.3)
        np.testing.assert_array_equal(cases[0].pixels, drawn.pixels)


def test_bins_of_a_calibration_lie_in_the_range_of_the_head() -> None:
    assert gsd_bins("railcar", GsdRange(0.08, 1.0, 0.3)) == [(0.08, 0.4, 0.3), (0.4, 0.65, 0.5), (0.65, 1.0, 0.8)]
    assert gsd_bins("railcar", GsdRange(0.08, 0.6, 0.3)) == [(0.08, 0.4, 0.3), (0.4, 0.6, 0.5)]
    assert gsd_bins("vessel", GsdRange(5.0, 12.0, 5.0)) == [(5.0, 12.0, 10.0)]
    assert gsd_bins("vessel", GsdRange(0.1, 1.0, 0.3)) == []


def test_scores_of_the_shipped_detector() -> None:
    (head,) = models.load("yard", "torch")
    found, truth = [], []
    for seed in (5_000_100, 5_000_101):
        chip = render_chip(seed, "rail_yard", 0.3, 320)
        mine = chip.classes == CLASSES.index("railcar")
        picture = Picture(chip.pixels.transpose(1, 2, 0), 0.3, chip.boxes[mine], chip.classes[mine], chip.subtypes[mine],
                          chip.valid.astype(np.uint8))  # fmt: skip
        pixels, _ = at_gsd(picture, 0.3, head.gsd.working_m)
        found.append(head.detect(pixels, np.ones(pixels.shape[1:], np.bool_), {"railcar": 0.1}).of("railcar"))
        truth.append(picture.boxes)
    assert sum(map(len, truth)) > 10
    assert sum(map(len, found)) > 10
    s = score(found, truth, MATCH_IOU)
    assert (s.precision, s.recall, s.ap) == pytest.approx(by_definition(found, truth, MATCH_IOU), abs=1e-6)
