"""Two scenes on one grid: exact where lattices agree, close to the ground truth where CRSs differ, empty where they do not meet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.warp import transform
from scipy.ndimage import binary_erosion

from pipeline.config import SceneMetadata
from pipeline.errors import ImageryError
from pipeline.grid import Grid
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Scene
from pipeline.imagery.tiles import read
from pipeline.imagery.warp import MAX_SIDE_PX, MIN_SIDE_PX, common_grid, frame, pixel_map, read_on_grid

Maker = Callable[..., Scene]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    def write(name: str, at: Affine, values: NDArray[Any], crs: str | None = "EPSG:32611", gsd: float | None = None) -> Scene:
        path = tmp_path / name
        shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
        georeference = {"crs": crs, "transform": at} if crs else {}
        with rasterio.open(path, "w", driver="GTiff", nodata=0, **shape, **georeference) as target:
            target.write(values)
        scale = None if values.dtype == np.uint8 else 1.0
        return open_scene(path, SceneMetadata(gsd_m=gsd, scale=scale, bands=("pan",)), need_time=False)

    return write


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(1, 250, (1, height, width)).astype(np.uint8)


def test_scenes_of_one_lattice_are_cropped_not_resampled(make: Maker) -> None:
    ground = noise(200, 300)
    a = make("a.tif", from_origin(4e5, 3.7e6, 3, 3), ground[:, :150, :200])
    b = make("b.tif", from_origin(4e5 + 3 * 90, 3.7e6 - 3 * 40, 3, 3), ground[:, 40:, 90:])
    grid = common_grid(a, b)
    assert grid == Grid(110, 110, (3, 0, 4e5 + 270, 0, -3, 3.7e6 - 120), "EPSG:32611")
    for scene in (a, b):
        tile = read_on_grid(scene, a, grid)
        assert tile.valid.all()
        np.testing.assert_allclose(tile.pixels[0] * 255, ground[0, 40:150, 90:200], atol=1e-3)


def test_nodata_never_bleeds_into_valid_pixels(make: Maker) -> None:
    values = np.full((1, 120, 120), 200, np.uint8)
    values[:, 50:70, 30:90] = 0
    a = make("a.tif", from_origin(4e5, 3.7e6, 1, 1), values)
    turned = Affine.translation(4e5 + 60, 3.7e6 - 60) @ Affine.rotation(20) @ Affine.translation(-40, 40) @ Affine.scale(0.7, -0.7)
    b = make("b.tif", turned, np.full((1, 110, 110), 90, np.uint8))
    grid = common_grid(a, b)
    assert grid is not None
    tile = read_on_grid(a, b, grid)
    assert 0.5 < tile.valid.mean() < 1
    np.testing.assert_allclose(tile.pixels[:, tile.valid] * 255, 200, atol=1e-2)
    assert (tile.pixels[:, ~tile.valid] == 0).all()


@pytest.mark.parametrize(("crs", "gsd"), [("EPSG:32612", 1.0), ("EPSG:3857", 1.2), ("EPSG:32612", 0.2), ("EPSG:4326", None)])
def test_ground_keeps_its_place_across_two_crss(make: Maker, crs: str, gsd: float | None) -> None:
    """A scene whose value is a smooth function of place, seen through another CRS, has that function's values there."""
    here = from_origin(4e5, 3.7e6, 1, 1) if crs != "EPSG:4326" else from_origin(833_978, 1000, 1, 1)
    home = "EPSG:32611" if crs != "EPSG:4326" else "EPSG:32632"
    a = make("a.tif", here, np.full((1, 90, 90), 9, np.uint8), home)
    centre = here @ (45, 45)
    (x,), (y,) = transform(home, crs, [centre[0]], [centre[1]])
    step = gsd or 1 / 111_000
    side = int(60 / (gsd or 1))
    there = from_origin(x - side * step / 2, y + side * step / 2, step, step)
    rows, columns = np.mgrid[0:side, 0:side] + 0.5
    u, v = (np.array(w) for w in transform(crs, home, *(there @ (columns.ravel(), rows.ravel()))))
    wave = lambda px, py: 0.5 + 0.2 * np.sin((px - centre[0]) / 9) + 0.2 * np.cos((py - centre[1]) / 7)  # noqa: E731 - a formula
    b = make("b.tif", there, wave(u, v).reshape(1, side, side).astype(np.float32), crs)
    grid = common_grid(a, b)
    assert grid is not None
    tile = read_on_grid(b, a, grid)
    assert tile.valid.mean() > 0.5
    inner = binary_erosion(tile.valid)  # at the very edge half a bilinear kernel is missing
    px, py = grid.to_map(np.stack(np.nonzero(inner)[::-1], axis=1) + 0.5).T
    np.testing.assert_allclose(tile.pixels[0][inner], wave(px, py), atol=0.008)  # 0.16 m at the steepest


def test_pixels_without_georeference_share_their_corner_and_their_metres(make: Maker) -> None:
    coarse = noise(50, 60)
    fine = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)
    a = make("a.tif", Affine.identity(), coarse, None, 2.0)
    b = make("b.tif", Affine.identity(), fine, None, 0.5)
    grid = common_grid(a, b)
    assert grid == Grid(60, 50, (1, 0, 0, 0, 1, 0), None)
    np.testing.assert_allclose(read_on_grid(b, a, grid).pixels, read(a, a.grid.window).pixels, atol=1e-5)
    other = common_grid(b, a)
    assert other is not None
    assert other.pixel_size() == (4, 4)
    np.testing.assert_allclose(pixel_map(frame(a, b), other), [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_scenes_that_do_not_meet_have_no_common_grid(make: Maker) -> None:
    a = make("a.tif", from_origin(4e5, 3.7e6, 1, 1), noise(40, 40))
    far = make("b.tif", from_origin(4e5 + 40, 3.7e6, 1, 1), noise(40, 40))
    assert common_grid(a, far) is None
    none = make("c.tif", Affine.identity(), noise(40, 40), None, 1.0)
    with pytest.raises(ImageryError, match=r"a\.tif and c\.tif: only one has a CRS"):
        common_grid(a, none)


def test_scenes_that_share_a_strip_of_a_few_pixels_have_no_common_grid(make: Maker) -> None:
    a = make("a.tif", from_origin(4e5, 3.7e6, 1, 1), noise(3000, 40))
    for shared, meet in ((1, False), (MIN_SIDE_PX - 1, False), (MIN_SIDE_PX, True)):
        b = make("b.tif", from_origin(4e5 + 40 - shared, 3.7e6, 1, 1), noise(3000, 40))
        assert (common_grid(a, b) is not None) == meet
    coarse = make("c.tif", from_origin(4e5, 3.7e6, 6, 6), noise(500, 40))  # 40 m are 7 pixels of 6 m
    assert common_grid(a, coarse) is None


def test_a_large_pair_is_compared_at_a_coarser_gsd() -> None:
    scene = Scene.__new__(Scene)  # no pixel is read
    for name, value in {"grid": Grid(30_000, 20_000, (0.5, 0, 4e5, 0, -0.5, 3.7e6), "EPSG:32611"), "gsd_m": 0.5}.items():
        object.__setattr__(scene, name, value)
    grid = common_grid(scene, scene)
    assert grid is not None
    assert max(grid.width, grid.height) == MAX_SIDE_PX
    np.testing.assert_allclose(pixel_map(scene.grid, grid)[:, :2], np.eye(2) * MAX_SIDE_PX / 30_000, atol=1e-9)


def test_the_pixel_map_between_zones_is_right_over_the_overlap() -> None:
    a = Grid(2000, 1500, (3, 0, 7.2e5, 0, -3, 3.7e6), "EPSG:32611")
    (x,), (y,) = transform("EPSG:32611", "EPSG:32612", [7.2e5], [3.7e6])
    b = Grid(1800, 1800, (3, 0, x, 0, -3, y), "EPSG:32612")
    points = np.random.default_rng(2).uniform(100, 1400, (50, 2))
    u, v = transform("EPSG:32611", "EPSG:32612", *a.to_map(points).T)
    exact = b.to_pixel(np.stack([u, v], axis=1))
    matrix = pixel_map(a, b)
    assert np.abs(points @ matrix[:, :2].T + matrix[:, 2] - exact).max() < 0.1


def test_joplin_before_meets_joplin_after_in_another_zone_of_numbers(imagery: Path, tmp_path: Path) -> None:
    """Real pictures of one town in two CRSs: warped to UTM first, as the error asks, then on one grid; streets must coincide."""
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    after = []
    for path in sorted((imagery / "joplin" / "post").glob("*.tif")):
        with rasterio.open(path) as source:
            at, width, height = calculate_default_transform(
                source.crs, "EPSG:32615", source.width, source.height, *source.bounds, resolution=0.6
            )
            profile = {
                "driver": "GTiff",
                "count": 3,
                "dtype": "uint8",
                "width": width,
                "height": height,
                "crs": "EPSG:32615",
                "nodata": 0,
            }
            with rasterio.open(tmp_path / path.name, "w", transform=at, **profile) as target:
                for band in (1, 2, 3):
                    reproject(rasterio.band(source, band), rasterio.band(target, band), resampling=Resampling.bilinear)
        after.append(open_scene(tmp_path / path.name, need_time=False))
    before = [open_scene(p, need_time=False) for p in sorted((imagery / "joplin" / "pre").glob("*.tif"))]
    best = 0.0
    for a in before:
        for b in after:
            grid = common_grid(a, b)
            if grid is None or min(grid.shape) < 200:
                continue
            first, second = read_on_grid(a, a, grid), read_on_grid(b, a, grid)
            both = first.valid & second.valid
            if both.sum() > 40_000:
                best = max(best, float(np.corrcoef(first.pixels[1][both], second.pixels[1][both])[0, 1]))
    assert best > 0.3
