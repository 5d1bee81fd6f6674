# ruff: noqa: T201
# (a benchmark prints)
"""Do 90 % intervals hold 90 % of the truth? Rendered yards, the shipped weights and the estimators of `pipeline.activity`.

Run: ``python tests/bench/bench_intervals.py [--yards N] [--calibrate]``. Judged seeds lie above `models.render.EVALUATION_SEEDS`;
``--calibrate`` draws other seeds and prints the figures that the constants of `pipeline.activity` were taken from. Sun 20 to 65 degrees
high, view up to 28 degrees off nadir, any season's ground; in a third of the looks a cloud hides part of the yard. E4 has seeds of its
own (`PILES`, calibrated below `models.render.EVALUATION_SEEDS`) and blocks in full view.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from shapely.geometry import LineString, MultiLineString, box

sys.path.insert(0, str(Path(__file__).parent))

from pile_scene import EXTENT_M as PILE_M
from pile_scene import FINE_M, pile_chip

import models
from models import CLASSES, Detections
from models.card import find
from models.occupancy import STEP_M
from models.render.canvas import Light
from models.render.looks import Yard, fleet_m, plan_yard, see_yard, thinned
from models.train_tracks import beside, sensed, strings, visible
from pipeline.activity.estimate import LookView
from pipeline.activity.lengths import GAP_M
from pipeline.activity.merge import estimate_look
from pipeline.activity.occupied import look_along
from pipeline.activity.pile_look import look_at_pile
from pipeline.activity.piles import from_block
from pipeline.activity.records import Estimate
from pipeline.config import DetectionSettings, SceneMetadata
from pipeline.detection.scene import detect_scene
from pipeline.grid import Grid, Window
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Tile
from pipeline.site import Zone

F32 = NDArray[np.float32]
JUDGED, CALIBRATING = {"E1": 9_850_000, "E2": 9_760_000}, {"E1": 4_980_000, "E2": 4_980_000}
"""First seeds of yards; those from 9 700 000 to 9 830 149 judged earlier calibrations and are spent."""
FLEET_SD_M = 0.33
"""How far the metres per car of a yard lie from those of the fleet it was drawn from, which the zone declares; by ``--calibrate``."""
CAR_GSDS, TRACK_GSDS, PILE_GSDS = (0.3, 0.5, 0.8), (1.0, 1.5, 2.0, 3.0), (0.3, 0.6, 1.5, 3.0)
PILES = {False: 4_966_000, True: 4_902_200}
"""First seed of the blocks, judged and calibrated on. Seeds from 4 950 000 and 4 960 000 judged earlier calibrations and are spent."""
EXTENT_M = {"E1": 154.0, "E2": 300.0}


@dataclass(frozen=True, slots=True)
class Row:
    """One number beside its truth."""

    what: str
    gsd_m: float
    sun_deg: float
    view_deg: float
    exposure: float
    truth: float
    value: float
    low: float
    high: float

    @property
    def held(self) -> bool:
        return self.low <= self.truth <= self.high


def angles(light: Light) -> tuple[float, float]:
    """Height of the sun and off-nadir angle, degrees."""
    return light.sun_deg, float(np.degrees(np.arctan(np.hypot(*light.lean))))


def cloud(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Ground that is seen: all of it, or in one look of three less one side of a line."""
    if rng.random() > 1 / 3:
        return np.ones(shape, np.bool_)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / shape[0] - 0.5
    turn = rng.uniform(0, 2 * np.pi)
    return np.asarray(x * np.cos(turn) + y * np.sin(turn) < rng.uniform(-0.1, 0.4))


def view(side: int, gsd_m: float, found: Detections, seen: NDArray[np.bool_], sun_deg: float, **more: object) -> LookView:
    """A look at a yard that is one zone."""
    share = float(seen.mean())
    return LookView(
        site="yard",
        time=datetime(2024, 1, 1, tzinfo=UTC),
        scene_ids=("render",),
        gsd_m=gsd_m,
        detections=found,
        outlines={"yard@1": box(0, 0, side, side)},
        exposure={"yard@1": (share, "" if share == 1 else f"cloud {100 * (1 - share):.0f} %")},
        sun_deg=sun_deg,
        **more,  # type: ignore[arg-type]
    )


def zone(cls: str, fleet: tuple[float, float] | None = None) -> Zone:
    ring = [[0, 0], [1, 0], [1, 1], [0, 0]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return Zone.model_validate({"id": "yard", "kind": "track", "classes": [cls], "geometry": geometry, "fleet": fleet})


def row(what: str, e: Estimate, light: Light, truth: float) -> Row | None:
    if e.value is None or e.low is None or e.high is None or e.gsd_m is None:
        return None
    return Row(what, e.gsd_m, *angles(light), e.exposure, truth, e.value, e.low, e.high)


def count_cars(seed: int, heads: Sequence[models.Detector], folder: Path) -> list[Row]:
    """E1: the detector on a GeoTIFF at native GSD, every car of the seen ground against its interval."""
    rng = np.random.default_rng([seed, 79])
    yard = thinned(plan_yard(seed, EXTENT_M["E1"]), rng)
    calibration = [c for card in find("default") for c in card.calibration]
    out = []
    for gsd_m in CAR_GSDS:
        light = Light.draw(rng)
        chip = see_yard(yard, int(rng.integers(1000)), gsd_m, light=light).chip
        seen = cloud(chip.valid.shape, rng)
        path = folder / f"{seed}-{gsd_m}.tif"
        pixels = np.round(chip.pixels * 255).astype(np.uint8)
        with rasterio.open(path, "w", driver="GTiff", width=len(seen), height=len(seen), count=3, dtype="uint8") as file:
            file.write(pixels)
        declared = SceneMetadata(gsd_m=gsd_m, scale=1 / 255, offset=0.0, bands=("red", "green", "blue"))
        found = detect_scene(open_scene(path, declared, need_time=False), heads, DetectionSettings()).detections
        path.unlink()
        found = found.take(_on(seen, found.boxes))
        truth = int(_on(seen, chip.boxes[chip.classes == CLASSES.index("railcar")]).sum())
        (e,) = estimate_look([view(len(seen), gsd_m, found, seen, angles(light)[0])], [zone("railcar")], calibration)
        out.append(row("E1 railcars", e, light, truth))
    return [r for r in out if r is not None]


def _on(seen: NDArray[np.bool_], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    x, y = np.clip(np.floor(boxes[:, :2]).astype(np.int64), 0, len(seen) - 1).T
    return np.asarray(seen[y, x])


def measure_tracks(seed: int) -> list[Row]:
    """E2: occupied metres and cars from pixels along centre lines that lie about half a metre beside the tracks."""
    rng = np.random.default_rng([seed, 80])
    yard, light = thinned(plan_yard(seed, EXTENT_M["E2"]), rng), Light.draw(rng)
    pixels = see_yard(yard, int(rng.integers(1000)), 0.6, light=light).chip.pixels
    out = []
    for sensor in TRACK_GSDS:
        coarse = sensed(pixels, 0.6, sensor, rng)
        gsd_m, seen = yard.extent_m / coarse.shape[1], cloud(coarse.shape[1:], rng)
        places = [(t, found) for t in range(len(yard.tracks)) if (found := visible(yard, t)) is not None]
        lines = MultiLineString([LineString(beside(p[0], float(rng.normal(0, 0.4))) / gsd_m) for _, p in places])
        frame = Window(0, 0, *seen.shape)
        tile = Tile(frame, frame, np.where(seen, coarse, 0).astype(np.float32), seen, Grid(*seen.shape, (1, 0, 0, 0, 1, 0), None))
        looks = look_along(tile, lines, gsd_m)
        metres, cars = 0.0, 0.0
        for (track, (_, start)), look in zip(places, looks, strict=True):
            at = start + np.arange(len(look.seen)) * STEP_M
            for a, b in strings(yard, track):
                metres += float((np.clip(np.minimum(at + STEP_M, b) - np.maximum(at, a), 0, None) * look.seen).sum())
            middles = np.array([body.at for body in yard.bodies if body.track == track])
            index = np.floor((middles - start) / STEP_M).astype(np.int64)
            inside = (index >= 0) & (index < len(look.seen))
            cars += float(look.seen[index[inside]].sum())
        for name, fleet in (("E2 cars, fleet declared", (fleet_m(seed), FLEET_SD_M)), ("E2 cars, 14.0 m prior", None)):
            look_view = view(len(seen), gsd_m, Detections.empty(), seen, angles(light)[0], tracks={"yard@1": looks})
            number, track_m = estimate_look([look_view], [zone("railcar", fleet)], ())
            out.append(row(name, number, light, cars))
        out.append(row("E2 occupied metres", track_m, light, metres))
    return [r for r in out if r is not None]


def measure_piles(seed: int) -> list[Row]:
    """E4: boxes (twenty-foot units) of a block from its outline and its shadow; a look that finds no block gives no row."""
    chip, rng, out = pile_chip(seed), np.random.default_rng([seed, 82]), []
    sun_deg, view_deg = angles(chip.light)
    for sensor in PILE_GSDS:
        pixels = sensed(chip.pixels, FINE_M, sensor, rng)
        gsd_m = PILE_M / pixels.shape[2]
        look = look_at_pile(pixels, np.ones(pixels.shape[1:], np.bool_), gsd_m, chip.light.shadow, chip.light.lean)
        if look is not None:
            pile = from_block(look.length_m, look.width_m, look.height_m, gsd_m, sun_deg)
            out.append(Row("E4 boxes in a pile", gsd_m, sun_deg, view_deg, 1.0, chip.teu, pile.value, pile.low, pile.high))
    return out


def report(rows: Sequence[Row]) -> None:
    """Coverage by quantity and GSD, then by sun, view and exposure."""
    print(f"{'':26} {'gsd m':>6} {'looks':>5} {'held %':>7} {'bias %':>7} {'|error| %':>9} {'half width %':>12}")
    for what in dict.fromkeys(r.what for r in rows):
        mine = [r for r in rows if r.what == what]
        for gsd_m in sorted({round(r.gsd_m, 1) for r in mine}):
            _line(what, f"{gsd_m:g}", [r for r in mine if round(r.gsd_m, 1) == gsd_m])
        _line(what, "all", mine)
        for name, group in (
            ("sun below 35", [r for r in mine if r.sun_deg < 35]),
            ("sun 35 to 50", [r for r in mine if 35 <= r.sun_deg < 50]),
            ("sun above 50", [r for r in mine if r.sun_deg >= 50]),
            ("view below 10", [r for r in mine if r.view_deg < 10]),
            ("view above 10", [r for r in mine if r.view_deg >= 10]),
            ("all seen", [r for r in mine if r.exposure > 0.995]),
            ("part seen", [r for r in mine if r.exposure <= 0.995]),
        ):
            _line(f"  {name}", "", group)


def _line(name: str, gsd: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    truth, value = np.array([r.truth for r in rows]), np.array([r.value for r in rows])
    width = np.array([(r.high - r.low) / 2 for r in rows])
    total = max(truth.mean(), 1e-9)
    held = 100 * np.mean([r.held for r in rows])
    figures = (100 * (value - truth).mean() / total, 100 * np.abs(value - truth).mean() / total, 100 * width.mean() / total)
    print(f"{name:26} {gsd:>6} {len(rows):5d} {held:7.1f} {figures[0]:+7.1f} {figures[1]:9.1f} {figures[2]:12.1f}")


def fleet(yards: Sequence[Yard]) -> None:
    """Metres of string per car of the rendered yards, beside those of their fleets."""
    each = []
    for yard in yards:
        found = [b - a + GAP_M for t in range(len(yard.tracks)) for a, b in strings(yard, t)]
        each.append((sum(found) / len(yard.bodies), fleet_m(yard.seed)))
    metres, declared = np.array(each).T
    print(f"fleet: {metres.mean():.2f} m per car, {metres.std():.2f} between yards, {(metres - declared).std():.2f} off the fleet")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yards", type=int, default=60)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--only", choices=("E1", "E2", "E4"), help="one estimator alone")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    seeds = {e: range(first, first + given.yards) for e, first in (CALIBRATING if given.calibrate else JUDGED).items()}
    rows: list[Row] = []
    if given.only in {None, "E2"}:
        rows += [r for seed in seeds["E2"] for r in measure_tracks(seed)]
    if given.only in {None, "E1"}:
        heads = models.load("yard")
        with tempfile.TemporaryDirectory() as folder:
            rows += [r for seed in seeds["E1"] for r in count_cars(seed, heads, Path(folder))]
    if given.only in {None, "E4"}:
        piles = [r for at in range(given.yards) for r in measure_piles(PILES[given.calibrate] + at)]
        print(f"E4: a block found in {len(piles)} of {given.yards * len(PILE_GSDS)} looks")
        rows += piles
    if given.calibrate and given.only != "E4":
        fleet([plan_yard(seed, EXTENT_M["E2"]) for seed in seeds["E2"]])
    if given.calibrate:
        calibration(rows)
    report(rows)


def calibration(rows: Sequence[Row]) -> None:
    """Spread of ``log(value / truth)`` between scenes, beyond what the interval already holds, by quantity and GSD."""
    for what in dict.fromkeys(r.what for r in rows):
        for gsd_m in sorted({round(r.gsd_m, 1) for r in rows if r.what == what}):
            mine = [r for r in rows if r.what == what and round(r.gsd_m, 1) == gsd_m and r.truth >= 10 and r.value > 0]
            ratio = np.log([r.value / r.truth for r in mine])
            middle = np.percentile(ratio, (5, 95)).round(3)
            print(f"{what:26} {gsd_m:g} m: log ratio {ratio.mean():+.3f}, sd {ratio.std():.3f}, middle 90 % {middle}")


if __name__ == "__main__":
    main()
