"""Registration of real pairs: two dates of one place, and a small seeded part of the known warps of the bench."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform

from pipeline.change.records import Alignment
from pipeline.change.register import register
from pipeline.config import SceneMetadata
from pipeline.errors import MetadataError
from pipeline.grid import Grid, Window
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Tile
from pipeline.imagery.warp import common_grid, read_on_grid

pytestmark = pytest.mark.slow
BENCH = Path(__file__).resolve().parents[1] / "bench"


def bench(name: str) -> ModuleType:
    """A module of the benches, which are scripts and no package."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TIES = bench("bench_ties")


def framed(path: Path, shape: tuple[int, int], cut: tuple[slice, slice] = (slice(None), slice(None))) -> Tile:
    with rasterio.open(path) as source:
        seen = (source.read(indexes=[1, 2, 3]) / np.float32(255))[(slice(None), *cut)][:, : shape[0], : shape[1]]
    pixels, valid = np.zeros((3, *shape), np.float32), np.zeros(shape, np.bool_)
    pixels[:, : seen.shape[1], : seen.shape[2]], valid[: seen.shape[1], : seen.shape[2]] = seen, True
    window = Window(0, 0, shape[1], shape[0])
    return Tile(window, window, pixels, valid, Grid(shape[1], shape[0], (1, 0, 0, 0, 1, 0), None))


def shift(found: Alignment) -> NDArray[np.float64]:
    assert found.applied, found.reason
    return np.array([found.dx_px, found.dy_px])


def test_the_looks_of_long_beach_lie_within_half_a_pixel(imagery: Path) -> None:
    shape = (1437, 951)
    a = framed(imagery / "long-beach" / "scene_a.tif", shape, (slice(None), slice(1442, None)))
    b = framed(imagery / "long-beach" / "scene_b.tif", shape, (slice(150, None), slice(None)))
    found = register(a, b, 30)
    assert np.hypot(found.dx_px, found.dy_px) < 0.5
    assert found.residual_px < 0.3


def test_san_francisco_is_found_from_nothing(imagery: Path) -> None:
    said = json.loads((imagery / "sf_bay" / "pair.json").read_text())
    a, b = (framed(imagery / "sf_bay" / said[k], (1777, 2825)) for k in ("ref", "mov"))
    np.testing.assert_allclose(shift(register(a, b, 1600)), (said["dx"], said["dy"]), atol=0.5)


@pytest.mark.parametrize("pair", TIES.pairs(), ids=lambda pair: pair["pair"])
def test_ground_tie_points_meet_within_half_a_pixel_or_the_pair_is_refused(imagery: Path, pair: dict[str, Any]) -> None:
    """Points read by eye apart from the registration; the pairs without points show too little of the same ground."""
    found, after, before = TIES.solve(pair, imagery)
    if not pair["points"]:
        assert not found.applied
        assert found.reason
        return
    assert found.applied, found.reason
    assert np.median(after) <= 0.5
    assert np.median(after) <= np.median(before)  # where the looks lie on one grid already, nothing gets worse


def test_the_two_crs_of_joplin_are_refused_with_the_reason(imagery: Path, tmp_path: Path) -> None:
    """First for pixels that are not square on the ground; then, warped as told, because a tornado left too little to match."""
    before, after = (imagery / "joplin" / name for name in ("pre/tile_337-10160.tif", "post/tile_31500-5137.tif"))
    with pytest.raises(MetadataError, match="rio warp"):
        open_scene(after, SceneMetadata(), need_time=False)
    warped = tmp_path / "post.tif"
    with rasterio.open(after) as source:
        transform, width, height = calculate_default_transform(
            source.crs, "EPSG:32615", *source.shape[::-1], *source.bounds, resolution=0.6
        )
        kind = {"crs": "EPSG:32615", "transform": transform, "width": width, "height": height, "nodata": 0}
        with (
            WarpedVRT(source, resampling=Resampling.cubic, **kind) as vrt,
            rasterio.open(warped, "w", count=3, dtype="uint8", **kind) as file,
        ):
            file.write(vrt.read(indexes=[1, 2, 3]))
    scenes = [open_scene(path, SceneMetadata(), need_time=False) for path in (before, warped)]
    grid = common_grid(*scenes)
    assert grid is not None
    found = register(*(read_on_grid(scene, scenes[0], grid) for scene in scenes), 60)
    assert not found.applied
    assert "in doubt" in found.reason


def test_three_dates_of_one_place_close(imagery: Path) -> None:
    groups = json.loads((imagery / "planetscope_ports" / "same_place.json").read_text())["groups"]
    names = groups[0]["chips"][:3]
    one, two, three = (framed(imagery / "planetscope_ports" / f"{name}.png", (512, 512)) for name in names)
    around = shift(register(one, two, 60)) + shift(register(two, three, 60))
    np.testing.assert_allclose(around, shift(register(one, three, 60)), atol=0.5)


@pytest.mark.parametrize("number", range(8, 16))
def test_known_warps_of_real_images_are_solved_or_refused(imagery: Path, number: int) -> None:
    del imagery  # only its presence matters
    warps = bench("warps")
    case = warps.case(number)
    found = register(case.before, case.after, 90)
    if found.applied:
        assert case.error(found.matrix) < (0.1 if case.kind in warps.PURE else 0.3)
    else:
        assert found.reason
