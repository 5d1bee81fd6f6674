# ruff: noqa: T201
# (a benchmark prints)
"""A depot over twenty looks of a year: thirty pits dug one by one, some looks clouded, one overcast.

Run: ``python tests/bench/bench_series.py [--depots N] [--first SEED]``. Prints found, dated (between the last look that surely shows
the place without and the first that surely shows it with), false structures, the interval of their number, and how well outlines fit
the pits. Judged on seeds from 4 950 000 on, with streams of chance that no training draws from.
"""

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from shapely import Polygon
from shapely.geometry import shape

from models.render.depot import Depot, Pit, plan_depot, see_depot
from pipeline.change.series import Growth, find_built
from pipeline.change.stack import Stack, stack_looks
from pipeline.config import ChangeSettings, SceneMetadata
from pipeline.imagery.clouds import observe
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Scene

FIRST, GSD, MIN_AREA = 4_950_000, 0.6, 40.0


def photograph(folder: Path, depot: Depot) -> tuple[list[Scene], list[NDArray[np.float32]]]:
    """The looks as GeoTIFFs up to 1.5 m off, each with its provider's cloud mask; and the true clouds."""
    scenes, clouds = [], []
    for k, day in enumerate(depot.days):
        seen = see_depot(depot, k, GSD)
        pixels = (seen.pixels * 255).astype(np.uint8)
        off = np.random.default_rng([depot.seed, 12, k]).uniform(-1.5, 1.5, 2) * (k > 0)
        kind = {"width": pixels.shape[2], "height": pixels.shape[1], "dtype": "uint8"}
        path, mask = folder / f"{depot.seed}_{k:02d}.tif", folder / f"{depot.seed}_{k:02d}_mask.tif"
        with rasterio.open(
            path, "w", count=3, crs="EPSG:32626", transform=from_origin(5e5 + off[0], 45e5 + off[1], GSD, GSD), **kind
        ) as t:
            t.write(pixels)
        with rasterio.open(mask, "w", count=1, **kind) as t:
            t.write((seen.cloud > 0.3).astype(np.uint8)[None])
        when = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)
        scenes.append(open_scene(path, SceneMetadata(id=f"{k:02d}", acquired=when, sensor="rendered", gsd_m=GSD, mask=mask)))
        clouds.append(seen.cloud)
    return scenes, clouds


def bracket(pit: Pit, looks: list[int], clouds: list[NDArray[np.float32]]) -> tuple[int, int]:
    """Last look that surely shows the place without the pit, first that surely shows the pit."""
    covered = cv2.fillPoly(np.zeros(clouds[0].shape, np.uint8), [np.round(pit.outline / GSD).astype(np.int32)], 1) > 0
    clear = [k for k in looks if clouds[k][covered].max() < 0.1]
    return max((k for k in clear if k < pit.first), default=-1), min((k for k in clear if k >= pit.first), default=len(clouds))


def judge(depot: Depot, stack: Stack, growth: Growth, clouds: list[NDArray[np.float32]]) -> tuple[int, int, int, float]:
    """Pits found, pits dated, structures that are no pit or a pit's second, and the median IoU of outlines with their pits."""
    looks = [int(name) for name in stack.names]
    outlines = [shape(b.geometry) for b in growth.built]
    owner: dict[int, int] = {}
    overlaps = []
    found = dated = 0
    for number, pit in enumerate(depot.pits):
        place = Polygon(pit.outline / stack.gsd_m)
        hits = [i for i, o in enumerate(outlines) if o.intersects(place) and i not in owner]
        low, high = bracket(pit, looks, clouds)
        right = [i for i in hits if low <= looks[growth.built[i].last_without] < pit.first <= looks[growth.built[i].first_with] <= high]
        if hits:
            mine = (right or hits)[0]
            owner[mine] = number
            overlaps.append(outlines[mine].intersection(place).area / outlines[mine].union(place).area)
        found, dated = found + bool(hits), dated + bool(right)
    return found, dated, len(outlines) - len(owner), float(np.median(overlaps or [0.0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depots", type=int, default=4)
    parser.add_argument("--first", type=int, default=FIRST)
    options = parser.parse_args()
    print(f"20 looks at {GSD} m, 30 pits, minimum mapping unit {MIN_AREA:g} m2")
    print(f"{'seed':>8} {'looks':>5} {'found':>5} {'dated':>5} {'false':>5} {'number':>6} {'90 %':>9} {'IoU':>5}")
    for seed in range(options.first, options.first + options.depots):
        depot = plan_depot(seed)
        with tempfile.TemporaryDirectory() as folder:
            scenes, clouds = photograph(Path(folder), depot)
            stack = stack_looks(scenes, [observe(s) for s in scenes], ChangeSettings(min_area_m2=MIN_AREA))
        growth = find_built(stack, MIN_AREA)
        found, dated, false, overlap = judge(depot, stack, growth, clouds)
        interval = f"{growth.low}-{growth.high}"
        print(
            f"{seed:8d} {len(stack.names):5d} {found:5d} {dated:5d} {false:5d} {len(growth.built):6d} {interval:>9} {overlap:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
