"""Pixels: the same bits wherever a window is cut, Pillow's filter as oracle, masks without a vote, memory in bounds."""

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin

from pipeline.config import SceneMetadata
from pipeline.grid import Grid, Window
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.resample import area_average
from pipeline.imagery.scene import Scene
from pipeline.imagery.tiles import iter_tiles, read, read_at, read_decimated, tile_windows, working_grid

Maker = Callable[..., Scene]
TAGS = {"ACQUIRED": "2024-05-01T02:10:00Z"}


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    folder = tmp_path_factory.mktemp("resampling")

    def write(name: str, values: NDArray[Any], gsd: float = 0.5, **more: Any) -> Scene:
        said = SceneMetadata(scale=more.pop("scale", None), offset=more.pop("offset", None), bands=more.pop("bands", None))
        profile: dict[str, Any] = {"driver": "GTiff", "dtype": values.dtype, "crs": "EPSG:32611"}
        profile |= {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2]} | more
        mask = profile.pop("mask", None)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(folder / name, "w", transform=from_origin(4e5, 3.7e6, gsd, gsd), **profile) as target,
        ):
            target.write(values)
            target.update_tags(**TAGS)
            if mask is not None:
                target.write_mask(mask)
        return open_scene(folder / name, said)

    return write


@pytest.fixture(scope="session")
def speckled(make: Maker) -> Scene:
    rng = np.random.default_rng(7)
    values = rng.integers(1, 250, (3, 157, 211)).astype(np.uint8)
    values[:, 40:80, 60:130] = 0
    values[:, :, :100][:, rng.random((157, 100)) < 0.05] = 0  # the right half has windows without a hole
    return make("speckled.tif", values, nodata=0, tiled=True, blockxsize=64, blockysize=64, compress="deflate")


@settings(max_examples=60)
@given(
    x=st.integers(-40, 220), y=st.integers(-40, 170), w=st.integers(1, 150), h=st.integers(1, 150),
    gsd=st.sampled_from([0.21, 0.3, 0.5, 0.503, 0.62, 1.0, 1.37, 3.0]),
)  # fmt: skip
def test_a_window_is_a_cut_of_the_whole(speckled: Scene, x: int, y: int, w: int, h: int, gsd: float) -> None:
    grid = working_grid(speckled, gsd)
    around = grid.window.pad(60)
    whole = read_at(speckled, around, gsd)
    window = Window(x, y, x + w, y + h).intersect(around)
    if window.empty:
        return
    part = read_at(speckled, window, gsd)
    cut = np.s_[window.y0 - around.y0 : window.y1 - around.y0, window.x0 - around.x0 : window.x1 - around.x0]
    np.testing.assert_array_equal(part.valid, whole.valid[cut])
    assert part.pixels.tobytes() == whole.pixels[:, *cut].tobytes()
    np.testing.assert_allclose(part.grid.to_map(np.zeros((1, 2))), grid.to_map(np.array([[window.x0, window.y0]])))


@pytest.mark.parametrize("factor", [1.5, 2.0, 2.5, 4.0, 0.5])
def test_the_tent_is_pillows_antialiased_bilinear_filter(make: Maker, factor: float) -> None:
    plane = np.random.default_rng(3).random((1, 120, 180)).astype(np.float32)
    scene = make(f"tent{factor}.tif", plane, scale=1.0, bands=("pan",))
    grid = working_grid(scene, 0.5 * factor)
    oracle = np.asarray(Image.fromarray(plane[0]).resize((grid.width, grid.height), Image.Resampling.BILINEAR))
    found = read_at(scene, grid.window, 0.5 * factor)
    assert found.valid.all()
    np.testing.assert_allclose(found.pixels[1], oracle, atol=2e-6)


@settings(max_examples=50)
@given(
    factor=st.floats(0.4, 9), width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 99), strip=st.integers(20, 500)
)
def test_the_average_is_that_of_the_valid_ground(factor: float, width: int, height: int, seed: int, strip: int) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((height, width)) < 0.7
    plane = (rng.random((1, height, width)) * valid).astype(np.float32)
    grid = Grid(width, height, (1, 0, 0, 0, 1, 0), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.imagery.resample.STRIP_PX", strip)
        cut = lambda w: (plane[:, w.y0 : w.y1, w.x0 : w.x1], valid[w.y0 : w.y1, w.x0 : w.x1])  # noqa: E731 - a reader
        means, seen = area_average(cut, grid, grid.scaled(factor).window, factor)
    for row, column in np.ndindex(seen.shape):
        down = [max(0.0, min(y + 1, (row + 1) * factor) - max(y, row * factor)) for y in range(height)]
        across = [max(0.0, min(x + 1, (column + 1) * factor) - max(x, column * factor)) for x in range(width)]
        weight = np.outer(down, across)
        share = (weight * valid).sum() / weight.sum()
        if abs(share - 0.5) > 1e-4:
            assert seen[row, column] == (share > 0.5)
        if seen[row, column]:
            assert means[0, row, column] == pytest.approx((weight * plane[0]).sum() / (weight * valid).sum(), abs=1e-5)
        else:
            assert means[0, row, column] == 0


@settings(max_examples=80)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(16, 300), st.sampled_from([4, 8, 32]), st.integers(0, 3))
def test_cores_partition_the_grid_and_reads_keep_the_stride(width: int, height: int, core: int, stride: int, halos: int) -> None:
    grid = Grid(width, height, (1, 0, 0, 0, 1, 0), None)
    seen = np.zeros(grid.shape, np.int64)
    for own, window in tile_windows(grid, core, halos * stride, stride):
        seen[own.y0 : own.y1, own.x0 : own.x1] += 1
        assert own.width <= 1.5 * core + stride
        assert all(v % stride == 0 for v in (window.x0, window.y0, window.width, window.height))
        assert own.pad(halos * stride).intersect(window) == own.pad(halos * stride)
    assert (seen == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("kind", ["nodata", "nodata beyond the type", "nan", "inf", "alpha", "mask", "none"])
def test_every_kind_of_mask_with_every_kind_of_number(make: Maker, dtype: str, kind: str) -> None:
    if kind in {"nan", "inf"} and not dtype.startswith("float"):
        pytest.skip("only floats hold it")
    values = np.full((4 if kind == "alpha" else 3, 40, 50), 51, dtype)
    more: dict[str, Any] = {"scale": 1 / 255, "bands": ("red", "green", "blue", "alpha")[: len(values)]}
    hole = np.zeros((40, 50), np.bool_)
    hole[:12, 5:30] = kind not in {"none", "nodata beyond the type"}
    if kind == "nodata":
        values[:, hole] = 7
        more["nodata"] = 7
    elif kind == "alpha":
        values[3] = np.where(hole, 0, 1)
    elif kind == "mask":
        more["mask"] = ~hole
    elif kind != "none" and dtype.startswith("float"):
        values[:, hole] = {"nan": np.nan, "inf": np.inf}.get(kind, 51)
    scene = make(f"{dtype}-{kind}.tif", values, **more)
    if kind == "nodata beyond the type":
        scene = open_scene(scene.path, SceneMetadata(nodata=-3.4e39, scale=1 / 255, bands=more["bands"]))
    tile = read(scene, scene.grid.window)
    np.testing.assert_array_equal(tile.valid, ~hole)
    assert (tile.pixels[:, hole] == 0).all()
    np.testing.assert_allclose(tile.pixels[:, ~hole], 0.2, rtol=1e-6)
    for small in (read_decimated(scene, 5.0), read_at(scene, working_grid(scene, 2.5).window, 2.5)):
        np.testing.assert_allclose(small.pixels[:, small.valid], 0.2, rtol=1e-5)  # no hole bleeds into its neighbours
        assert (small.pixels[:, ~small.valid] == 0).all()
        assert small.valid.mean() == pytest.approx(1 - hole.mean(), abs=0.08)


def test_offset_and_scale_are_applied_and_values_clipped(make: Maker) -> None:
    scene = make(
        "s2.tif", np.array([[[0, 1000, 6000, 20_000]]] * 3, np.uint16), scale=1e-4, offset=-0.1, bands=("blue", "green", "red")
    )
    np.testing.assert_allclose(read(scene, scene.grid.window).pixels[0, 0], [0, 0, 0.5, 1], atol=1e-6)


def test_bands_are_found_by_name_not_by_place(make: Maker) -> None:
    planes = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((4, 8, 8), np.uint8) * 10
    scene = make("bgrn.tif", planes, bands=("blue", "green", "red", "nir"))
    np.testing.assert_allclose(read(scene, scene.grid.window).pixels[:, 0, 0] * 255, [20, 10, 0], atol=1e-4)


def test_threads_read_what_one_thread_reads(speckled: Scene) -> None:
    def digest(gsd: float) -> list[bytes]:
        return [t.pixels.tobytes() + t.valid.tobytes() for t in iter_tiles(speckled, gsd, 48, 16, 8)]

    gsds = [0.5, 0.8, 1.3, 0.5] * 3
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(digest, gsds)) == [digest(g) for g in gsds]


def test_memory_is_bound_by_the_strip_not_by_the_scene(make: Maker) -> None:
    side = 9000
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": side, "height": side, "tiled": True}
    path = make("seed.tif", np.ones((3, 8, 8), np.uint8)).path.with_name("large.tif")
    with rasterio.open(path, "w", crs="EPSG:32611", transform=from_origin(4e5, 3.7e6, 0.5, 0.5), sparse_ok=True, **profile) as target:
        target.write(np.full((3, 256, 256), 99, np.uint8), window=rasterio.windows.Window(0, 0, 256, 256))
    scene = open_scene(path, need_time=False)
    tracemalloc.start()
    try:
        read_decimated(scene, 9.0)
        next(iter_tiles(scene, 0.8, 1024, 64, 8))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.35 * 3 * 4 * side**2  # a third of the scene in float32; one strip or tile takes 240 MiB
