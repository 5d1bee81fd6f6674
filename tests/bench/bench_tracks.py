# ruff: noqa: T201
# (a benchmark prints)
"""How much of a rendered yard's track `yardwatch tracks` proposes, how much of what it proposes is track, and how near it lies.

Run: ``python tests/bench/bench_tracks.py [--yards N]``. A centre line is found where a proposed one lies within 1.5 m of it, half the
width of a body. Roofs lean up to 2 m off their track in these pictures, and a proposal follows the roof. ``by chance`` is what lines
drawn at random along the yard would score.
"""

import argparse

import cv2
import numpy as np
from shapely.geometry import LineString, MultiLineString, box

from models.render.looks import plan_yard, see_yard
from pipeline.activity.centre_lines import propose

JUDGED, EXTENT_M, NEAR_M = 9_730_000, 220.0, 1.5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yards", type=int, default=6)
    yards = parser.parse_args().yards
    cv2.setNumThreads(1)
    print(f"{'gsd m':>6} {'lines':>6} {'proposed m':>10} {'precision %':>11} {'by chance %':>11} {'recall %':>9} {'median off m':>12}")
    for gsd_m in (0.3, 0.5, 0.8):
        lines, metres, right, real, found = 0, 0.0, 0.0, 0.0, 0.0
        off: list[float] = []
        chance: list[float] = []
        for seed in range(JUDGED, JUDGED + yards):
            yard = plan_yard(seed, EXTENT_M)
            pixels = see_yard(yard, 1, gsd_m).chip.pixels
            frame = box(0, 0, EXTENT_M, EXTENT_M)
            tracks = MultiLineString([LineString(t) for t in yard.tracks]).intersection(frame)
            proposed = [LineString(line.points * gsd_m) for line in propose(pixels, np.ones(pixels.shape[1:], np.bool_), gsd_m)]
            near = tracks.buffer(NEAR_M)
            chance.append(near.area / tracks.convex_hull.area)
            lines, metres, real = lines + len(proposed), metres + sum(p.length for p in proposed), real + tracks.length
            right += sum(p.intersection(near).length for p in proposed)
            found += tracks.intersection(MultiLineString(proposed).buffer(NEAR_M)).length if proposed else 0.0
            points = (p.interpolate(d) for p in proposed for d in np.arange(0, p.length, 5))
            off += [d for q in points if (d := q.distance(tracks)) < NEAR_M]
        share = 100 * right / max(metres, 1.0)
        middle, luck = float(np.median(off)) if off else float("nan"), 100 * np.mean(chance)
        sizes = f"{gsd_m:6.1f} {lines:6d} {metres:10.0f}"
        print(f"{sizes} {share:11.0f} {luck:11.0f} {100 * found / real:9.0f} {middle:12.2f}")


if __name__ == "__main__":
    main()
