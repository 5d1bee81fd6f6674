"""A rendered depot: what is dug is found and dated, what comes and goes is not, and clouds widen dates instead of making structures."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin
from shapely import Polygon
from shapely.geometry import shape
from typer.testing import CliRunner

from models.render.depot import Depot, plan_depot, see_depot
from pipeline.change.series import find_built
from pipeline.change.stack import MIN_LOOKS, Stack, stack_looks
from pipeline.cli import app
from pipeline.config import ChangeSettings, SceneMetadata
from pipeline.errors import ImageryError
from pipeline.grid import Grid, Window
from pipeline.imagery.clouds import observe
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Scene, Tile

GSD = 0.7


def photographed(folder: Path, depot: Depot) -> list[Scene]:
    scenes = []
    for k, day in enumerate(depot.days):
        seen = see_depot(depot, k, GSD)
        pixels = (seen.pixels * 255).astype(np.uint8)
        off = np.random.default_rng([depot.seed, 12, k]).uniform(-1.5, 1.5, 2) * (k > 0)
        kind = {"width": pixels.shape[2], "height": pixels.shape[1], "dtype": "uint8"}
        place = from_origin(5e5 + off[0], 45e5 + off[1], GSD, GSD)
        path, mask = folder / f"look_{k:02d}.tif", folder / f"look_{k:02d}_mask.tif"
        with rasterio.open(path, "w", count=3, crs="EPSG:32626", transform=place, **kind) as t:
            t.write(pixels)
        with rasterio.open(mask, "w", count=1, **kind) as t:
            t.write((seen.cloud > 0.3).astype(np.uint8)[None])
        when = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)
        path.with_suffix(".yaml").write_text(f"acquired: {when.isoformat()}\nsensor: rendered\ngsd_m: {GSD}\nmask: {mask.name}\n")
        scenes.append(open_scene(path, SceneMetadata()))
    return scenes


@pytest.fixture(scope="module")
def depot() -> Depot:
    return plan_depot(4_952_000, looks=12, pits=10, extent_m=220.0)


@pytest.fixture(scope="module")
def folder(depot: Depot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("depot")
    photographed(place, depot)
    return place


@pytest.fixture(scope="module")
def stack(folder: Path) -> Stack:
    scenes = [open_scene(p, SceneMetadata()) for p in sorted(folder.glob("look_??.tif"))]
    return stack_looks(scenes, [observe(s) for s in scenes], ChangeSettings(min_area_m2=40))


def test_pits_are_found_and_dated_by_the_looks_around_them(stack: Stack, depot: Depot) -> None:
    growth = find_built(stack, 40.0)
    looks = [int(name.removeprefix("look_")) for name in stack.names]
    pits = [Polygon(p.outline / stack.gsd_m) for p in depot.pits]
    hits = [[i for i, pit in enumerate(pits) if shape(b.geometry).intersects(pit)] for b in growth.built]
    assert sum(1 for h in hits if not h) <= 1
    # eleven looks carry half of what twenty do (tests/bench/bench_series.py): the bar here is that what is said is right
    assert len({i for h in hits for i in h}) >= len(pits) / 2
    for built, hit in zip(growth.built, hits, strict=True):
        if hit:
            first = depot.pits[hit[0]].first
            assert looks[built.last_without] < first <= looks[built.first_with]
    assert growth.low <= len(growth.built) <= growth.high
    assert find_built(stack, 40.0).built == growth.built


def test_the_command_writes_picture_features_and_summary(folder: Path, tmp_path: Path, stack: Stack) -> None:
    result = CliRunner().invoke(app, ["series", str(folder), "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "series.png") as picture:
        assert picture.width > 1200
    features = (tmp_path / "series.geojson").read_text(encoding="utf-8")
    assert features.count('"first_with"') == len(find_built(stack, 40.0).built)


def test_looks_that_bear_one_name_are_registered_like_others(folder: Path, stack: Stack) -> None:
    scenes = [replace(open_scene(p, SceneMetadata()), id="visual") for p in sorted(folder.glob("look_??.tif"))]
    named = stack_looks(scenes, [observe(s) for s in scenes], ChangeSettings(min_area_m2=40))
    np.testing.assert_array_equal(named.values, stack.values)


def quiet(looks: int, seed: int = 0) -> Stack:
    rng = np.random.default_rng(seed)
    size = 80
    values = rng.normal(0, 1, (looks, size, size)).astype(np.float32)
    grid, window = Grid(size, size, (1, 0, 0, 0, 1, 0), None), Window(0, 0, size, size)
    tile = Tile(window, window, np.zeros((3, size, size), np.float32), np.ones((size, size), np.bool_), grid)
    times = tuple(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=9 * k) for k in range(looks))
    return Stack(values, np.ones(values.shape, np.bool_), times, tuple(map(str, range(looks))), grid, 1.0, tile, tile, ())


def test_nothing_is_built_where_nothing_was() -> None:
    assert sum(len(find_built(quiet(20, seed), 40.0).built) for seed in range(4)) <= 1


def test_what_goes_again_is_no_structure_and_cloud_widens_the_date() -> None:
    stack = quiet(20)
    stack.values[8:13, 10:20, 10:20] += 8  # a stack that stood for five looks
    stack.values[9:, 40:50, 40:50] += 8
    stack.valid[7:11, 35:55, 35:55] = False  # cloud over the place from before to after the digging
    stack.values[~stack.valid] = 0
    (built,) = find_built(stack, 40.0).built
    assert (built.last_without, built.first_with) == (6, 11)
    assert built.area_m2 == pytest.approx(100, rel=0.2)


def test_a_season_is_no_structure() -> None:
    stack = quiet(24)
    days = np.array([(t - stack.times[0]).days for t in stack.times]) * 365 / 207
    wave = (4 * np.cos(2 * np.pi * days / 365.25))[:, None, None]
    stack.values[:, 20:40, 20:40] += wave.astype(np.float32)
    spread = tuple(stack.times[0] + timedelta(days=float(d)) for d in days)
    seasonal = Stack(stack.values, stack.valid, spread, stack.names, stack.grid, 1.0, stack.first, stack.last, ())
    assert not find_built(seasonal, 40.0).built


def test_too_few_looks_are_refused(folder: Path) -> None:
    scenes = [open_scene(p, SceneMetadata()) for p in sorted(folder.glob("look_0[0-3].tif"))]
    with pytest.raises(ImageryError, match=f"a series needs {MIN_LOOKS}"):
        stack_looks(scenes, [observe(s) for s in scenes], ChangeSettings())
