"""Scenes, metadata, tiles and masks."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin
from shapely.geometry import box

from pipeline.config import Imagery, SceneMetadata
from pipeline.errors import ImageryError, MetadataError, UnreadableError
from pipeline.grid import Grid, Window
from pipeline.imagery.catalog import build_catalog, stac_item
from pipeline.imagery.clouds import observe
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.observed import Unseen, exposure
from pipeline.imagery.tiles import iter_tiles, read, read_at, working_grid

TIME = datetime(2024, 5, 1, 2, 10, tzinfo=UTC)
Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    def write(
        name: str = "a.tif",
        *,
        size: tuple[int, int] = (60, 80),
        count: int = 3,
        dtype: str = "uint8",
        crs: str | None = "EPSG:32611",
        gsd: float = 0.5,
        nodata: float | None = None,
        values: Any = None,
        sidecar: dict[str, Any] | None = None,
    ) -> Path:
        path = tmp_path / name
        data = np.random.default_rng(0).integers(1, 250, (count, *size)).astype(dtype) if values is None else values
        profile: dict[str, Any] = {"driver": "GTiff", "height": size[0], "width": size[1], "count": count, "dtype": dtype}
        if crs:
            profile |= {"crs": crs, "transform": from_origin(400_000, 3_700_000, gsd, gsd)}
        if nodata is not None:
            profile["nodata"] = nodata
        with rasterio.open(path, "w", **profile) as target:
            target.write(data)
        if sidecar is not None:
            path.with_suffix(".yaml").write_text(yaml.safe_dump(sidecar))
        return path

    return write


def test_a_sidecar_gives_what_the_file_does_not(make: Maker) -> None:
    scene = open_scene(make(sidecar={"acquired": "2024-05-01T04:10:00+02:00", "sensor": "Test", "sun_elevation": 40}))
    assert scene.time == TIME
    assert (scene.sensor, scene.gsd_m, scene.view.sun_elevation) == ("Test", 0.5, 40)
    assert scene.radiometry.bands == ("red", "green", "blue")


def test_the_run_wins_over_the_sidecar_and_the_sidecar_over_defaults(make: Maker) -> None:
    path = make(sidecar={"acquired": TIME.isoformat(), "sensor": "sidecar"})
    defaults = SceneMetadata(sensor="default", credit="default")
    assert open_scene(path, None, defaults).sensor == "sidecar"
    assert open_scene(path, None, defaults).credit == "default"
    assert open_scene(path, SceneMetadata(sensor="run"), defaults).sensor == "run"


@pytest.mark.parametrize(
    ("how", "sidecar", "says"),
    [
        ({}, None, "time of acquisition is not known"),
        ({}, {"acquired": "2024-05-01T02:10:00"}, "acquired"),
        ({}, {"acquired": TIME.isoformat(), "colour": 1}, "colour: unknown key"),
        ({"crs": None}, {"acquired": TIME.isoformat()}, "ground sample distance is not known"),
        ({}, {"acquired": TIME.isoformat(), "gsd_m": 3.0}, "transform says 0.5"),
        ({"dtype": "uint16"}, {"acquired": TIME.isoformat(), "bands": ["red", "green", "blue"]}, "no scale is declared"),
        ({"count": 5}, {"acquired": TIME.isoformat()}, "5 bands"),
        ({"count": 2, "dtype": "uint8"}, {"acquired": TIME.isoformat(), "bands": ["red", "nir"]}, "neither red, green and blue"),
        ({}, {"acquired": TIME.isoformat(), "bands": ["pan"]}, "1 bands are declared"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(make: Maker, how: dict[str, Any], sidecar: Any, says: str) -> None:
    with pytest.raises(MetadataError, match=says):
        open_scene(make(**how, sidecar=sidecar))


def test_a_truncated_file_and_a_text_file_are_unreadable(make: Maker, tmp_path: Path) -> None:
    path = make(size=(400, 400), sidecar={"acquired": TIME.isoformat()})
    scene = open_scene(path)
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(UnreadableError, match=r"a\.tif"):
        read(scene, scene.grid.window)
    (tmp_path / "b.tif").write_text("not an image")
    with pytest.raises(UnreadableError, match=r"b\.tif"):
        open_scene(tmp_path / "b.tif")


def test_bad_files_are_skipped_with_reasons_and_the_rest_goes_on(make: Maker, tmp_path: Path) -> None:
    make("good.tif", sidecar={"acquired": TIME.isoformat()})
    make("timeless.tif")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "link.tif").symlink_to("/etc/hostname")
    found = build_catalog(Imagery(folder=tmp_path))
    assert [s.id for s in found.scenes] == ["good"]
    assert {s.name for s in found.skipped} == {"timeless.tif", "broken.png", "link.tif"}
    assert all(s.name in s.reason for s in found.skipped)
    with pytest.raises(ImageryError, match="no usable image"):
        build_catalog(Imagery(folder=tmp_path, pattern="broken*"))
    with pytest.raises(ImageryError, match="is not a folder"):
        build_catalog(Imagery(folder=tmp_path / "none"))


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", None), ("uint16", 1e-4), ("int16", 1e-4), ("float32", 1.0)])
@pytest.mark.parametrize("kind", ["nodata", "nan", "alpha", "none"])
def test_the_mask_travels_with_the_pixels(make: Maker, dtype: str, scale: float | None, kind: str) -> None:
    if kind == "nan" and dtype != "float32":
        pytest.skip("only floats have NaN")
    values = np.full((4 if kind == "alpha" else 3, 60, 80), 100, dtype)
    bands = ["red", "green", "blue"] + (["alpha"] if kind == "alpha" else [])
    if kind == "nodata":
        values[:, :20] = 7
    elif kind == "nan":
        values[:, :20] = np.nan
    elif kind == "alpha":
        values[3, :20] = 0
    sidecar: dict[str, Any] = {"acquired": TIME.isoformat(), "bands": bands} | ({"scale": scale} if scale else {})
    path = make(count=len(bands), dtype=dtype, values=values, nodata=7 if kind == "nodata" else None, sidecar=sidecar)
    tile = read(open_scene(path), Window(-5, -5, 85, 65))
    inside = np.zeros((70, 90), np.bool_)
    inside[(5 if kind == "none" else 25) : 65, 5:85] = True
    np.testing.assert_array_equal(tile.valid, inside)
    assert (tile.pixels[:, ~inside] == 0).all()
    np.testing.assert_allclose(tile.pixels[:, inside], min(1.0, 100 * (scale or 1 / 255)), rtol=1e-5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(16, 200), st.sampled_from([0, 8, 24]), st.sampled_from([0.3, 0.5, 0.62, 1.1]))
def test_a_working_pixel_has_the_same_bits_in_every_tile(make: Maker, core: int, halo: int, gsd: float) -> None:
    values = np.random.default_rng(4).integers(1, 250, (3, 90, 130)).astype(np.uint8)
    values[:, 30:50, 40:90] = 0
    scene = open_scene(make(size=(90, 130), values=values, nodata=0, sidecar={"acquired": TIME.isoformat()}))
    grid = working_grid(scene, gsd)
    whole = read_at(scene, grid.window, gsd)
    seen = np.zeros(grid.shape, np.int64)
    for tile in iter_tiles(scene, gsd, core, halo, 8):
        assert tile.read.width % 8 == tile.read.height % 8 == tile.core.x0 % 8 == tile.core.y0 % 8 == 0
        c, r = tile.core, tile.read
        seen[c.y0 : c.y1, c.x0 : c.x1] += 1
        inner = np.s_[c.y0 - r.y0 : c.y1 - r.y0, c.x0 - r.x0 : c.x1 - r.x0]
        np.testing.assert_array_equal(tile.pixels[:, *inner], whole.pixels[:, c.y0 : c.y1, c.x0 : c.x1])
        np.testing.assert_array_equal(tile.valid[inner], whole.valid[c.y0 : c.y1, c.x0 : c.x1])
    assert (seen == 1).all()


def test_exposure_counts_what_is_hidden_and_what_lies_outside(make: Maker) -> None:
    values = np.full((3, 400, 400), 60, np.uint8)
    values[:, :, 200:] = 0
    scene = open_scene(make(size=(400, 400), values=values, nodata=0, gsd=1.0, sidecar={"acquired": TIME.isoformat()}))
    observed = observe(scene)
    assert exposure(observed, box(10, 10, 190, 390))[0] == 1.0
    share, why = exposure(observed, box(100, 100, 300, 300))
    assert share == pytest.approx(0.5, abs=0.03)
    assert why.startswith("outside the swath")
    assert exposure(observed, box(1000, 1000, 1100, 1100)) == (0.0, "outside the swath 100 %")


def test_a_cloud_is_seen_and_a_bright_roof_is_not(make: Maker) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(40, 130, (3, 400, 400)).astype(np.uint8)
    values[:, 50:250, 50:250] = 225 + rng.integers(-2, 3, (200, 200))
    values[:, 330:345, 330:360] = 240
    scene = open_scene(make(size=(400, 400), values=values, gsd=1.0, sidecar={"acquired": TIME.isoformat()}))
    observed = observe(scene)
    assert observed.seen_at(np.array([[150.0, 150.0]]))[0] == Unseen.CLOUD
    assert observed.seen_at(np.array([[345.0, 337.0], [20.0, 380.0]])).tolist() == [Unseen.OBSERVED] * 2


def test_a_mask_of_another_shape_is_refused(make: Maker) -> None:
    make("mask.tif", size=(30, 40), count=1)
    scene = open_scene(make(sidecar={"acquired": TIME.isoformat(), "mask": "mask.tif"}))
    with pytest.raises(UnreadableError, match="40 x 30"):
        observe(scene)


def test_stac_items_are_in_lon_lat_and_cut_at_the_antimeridian(make: Maker, tmp_path: Path) -> None:
    item = stac_item(open_scene(make(sidecar={"acquired": TIME.isoformat()})))
    assert item["stac_version"].startswith("1.")
    west, south, east, north = item["bbox"]
    assert -119 < west < east < -117
    assert 33 < south < north < 34
    path = tmp_path / "far.tif"
    profile = {"driver": "GTiff", "height": 50, "width": 400, "count": 3, "dtype": "uint8", "crs": "EPSG:32660"}
    with rasterio.open(path, "w", transform=from_origin(806_000, 1_900_000, 300, 300), **profile) as target:
        target.write(np.ones((3, 50, 400), np.uint8))
    far = stac_item(open_scene(path, SceneMetadata(acquired=TIME)))
    assert far["geometry"]["type"] == "MultiPolygon"
    assert far["bbox"][0] > 179 > -178 > far["bbox"][2]


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.1, 30), st.floats(-3, 3))
def test_pixels_to_map_and_back(x: float, y: float, gsd: float, turn: float) -> None:
    c, s = gsd * np.cos(turn), gsd * np.sin(turn)
    grid = Grid(100, 100, (c, s, 5e5, s, -c, 4e6), "EPSG:32611")
    np.testing.assert_allclose(grid.to_pixel(grid.to_map(np.array([[x, y]]))), [[x, y]], atol=1e-5 * (1 + abs(x) + abs(y)) / gsd * gsd)
