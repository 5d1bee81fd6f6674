# ruff: noqa: T201
# (a benchmark prints)
"""What is learned as permanent on rendered yards: ten looks over 300 days, another stock of cars in each, one string stored throughout.

Run: ``python tests/bench/bench_permanent.py [--yards N] [--first SEED]``. Prints the detector's boxes by what they are: on no object,
on a car that is there in that look only, on a car of the stored string; and of each how many are left out of the counts.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_objects import HIT, photograph

import models
from models import boxes as ob
from models.render.looks import Yard, plan_yard, see_yard, stocked
from pipeline.change.matching import ANSWER
from pipeline.change.permanent import Permanent, find_permanent, sight, site_map
from pipeline.change.register import register
from pipeline.config import ChangeSettings
from pipeline.imagery.warp import common_grid, read_on_grid

FIRST, GSD, LOOKS = 4_945_000, 0.5, 10


def stocks(seed: int) -> tuple[list[Yard], set[int]]:
    """The yard of each look, and the keys of what is stored on its fullest track."""
    yard = plan_yard(seed)
    tracks = [b.track for b in yard.bodies]
    kept = [b for b in yard.bodies if b.track == max(tracks, key=tracks.count)]
    days = []
    for look in range(LOOKS):
        others = stocked(yard, np.random.default_rng([seed, 13, look]), 1000 * (look + 1)).bodies
        days.append(replace(yard, bodies=(*kept, *(b for b in others if b.track != kept[0].track))))
    return days, {b.key for b in kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yards", type=int, default=4)
    parser.add_argument("--first", type=int, default=FIRST)
    options = parser.parse_args()
    heads = models.load("yard")
    names = ("false", "of that look", "stored")
    totals, left_out = np.zeros(3, int), np.zeros(3, int)
    print(f"{LOOKS} looks at {GSD} m, 300 days")
    for seed in range(options.first, options.first + options.yards):
        days, stored = stocks(seed)
        with tempfile.TemporaryDirectory() as folder:
            views = [photograph(Path(folder), seed, k, see_yard(day, k, GSD), None, heads) for k, day in enumerate(days)]
            reference, maps = views[0].scene, []
            for view in views:
                grid = common_grid(reference, view.scene)
                assert grid is not None
                looks = [read_on_grid(s, reference, grid) for s in (reference, view.scene)]
                maps.append(site_map(view.scene, reference, register(*looks, ChangeSettings().max_shift_m / GSD)))
            pairs = [(v, m) for v, m in zip(views, maps, strict=True) if m is not None]
            permanent: list[Permanent] = find_permanent([sight(v.scene, v.found, v.observed, m) for v, m in pairs], GSD)
        fixed = np.array([p.box for p in permanent]).reshape(-1, 5)
        classes = np.array([models.CLASSES.index(p.cls) for p in permanent], np.uint8)
        for view, to_site in pairs:
            boxes = view.found.detections.boxes
            own = boxes.copy()
            own[:, :2] = boxes[:, :2] @ to_site[:, :2].T + to_site[:, 2]
            overlap = ob.iou_matrix(boxes, view.seen.chip.boxes)
            best = view.seen.bodies[overlap.argmax(axis=1)] if overlap.size else np.zeros(len(boxes), np.int64)
            kind = np.where(overlap.max(axis=1, initial=0) < HIT, 0, np.where(np.isin(best, list(stored)), 2, 1))
            totals += np.bincount(kind, minlength=3)
            alike = view.found.detections.classes[:, None] == classes
            gone = (ob.iou_matrix(own, fixed) * alike > ANSWER).any(axis=1)
            left_out += np.bincount(kind[gone], minlength=3)
        shares = ", ".join(f"{name} {out} of {every}" for name, out, every in zip(names, left_out, totals, strict=True))
        print(f"{seed}: {len(permanent)} permanent; so far left out: {shares}", flush=True)


if __name__ == "__main__":
    main()
