"""A folder with good, bad and hostile files, and what becomes of each."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin
from rasterio.warp import transform
from shapely.geometry import Polygon, shape

from pipeline.config import Imagery, SceneMetadata
from pipeline.errors import ImageryError, UnreadableError
from pipeline.imagery.catalog import build_catalog, stac_item
from pipeline.imagery.check import check_pixels
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.tiles import read, read_decimated

START = datetime(2024, 5, 1, 2, 10, tzinfo=UTC)
Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    def write(name: str, day: int = 0, values: Any = None, seed: int = 0, said: str = "", **more: Any) -> Path:
        data = np.random.default_rng([seed, day]).integers(1, 250, (3, 64, 96)).astype(np.uint8) if values is None else values
        profile: dict[str, Any] = {"driver": "GTiff", "count": data.shape[0], "height": 64, "width": 96, "dtype": "uint8"}
        profile |= {"crs": "EPSG:32611", "transform": from_origin(400_000, 3_700_000, 0.5, 0.5)} | more
        path = tmp_path / name
        path.unlink(missing_ok=True)
        if profile["driver"] != "GTiff":
            said = "gsd_m: 0.5\n"
            profile = {k: v for k, v in profile.items() if k not in {"crs", "transform"}}
        with rasterio.open(path, "w", **profile) as target:
            target.write(data)
        path.with_suffix(".yaml").write_text(f"acquired: {(START + timedelta(days=day)).isoformat()}\n{said}\n")
        return path

    return write


def test_scenes_come_by_time_then_id(make: Maker, tmp_path: Path) -> None:
    for name, day, seed in (("c", 1, 0), ("b", 2, 0), ("a", 2, 1), ("d", 0, 0)):
        make(f"{name}.tif", day, seed=seed)
    assert [s.id for s in build_catalog(Imagery(folder=tmp_path)).scenes] == ["d", "c", "a", "b"]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("strips.tif", {}),
        ("tiles.tif", {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}),
        ("planes.tif", {"interleave": "band", "compress": "lzw"}),
        ("a.png", {"driver": "PNG"}),
        ("a.jpg", {"driver": "JPEG"}),
    ],
)
def test_a_file_cut_short_is_found_before_any_stage(make: Maker, name: str, how: dict[str, Any]) -> None:
    path = make(name, **how)
    scene = open_scene(path)
    check_pixels(scene)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.raises(UnreadableError, match=Path(name).stem):
        check_pixels(open_scene(path))


def test_each_bad_file_has_its_reason_and_the_rest_goes_on(make: Maker, tmp_path: Path) -> None:
    make("good.tif")
    make("masked.tif", 1)
    make("cover.tif", 2, np.ones((1, 64, 96), np.uint8))
    (tmp_path / "masked.yaml").write_text("acquired: 2024-05-02T02:10:00Z\nmask: cover.tif\n")
    make("empty.tif", 3, np.zeros((3, 64, 96), np.uint8), nodata=0)
    (tmp_path / "twice.tif").write_bytes((tmp_path / "good.tif").read_bytes())
    (tmp_path / "twice.yaml").write_bytes((tmp_path / "good.yaml").read_bytes())
    make("same_id.tif", 4, said="id: good")
    make("no_day.tif", 6).with_suffix(".yaml").write_text("acquired: 2024-02-30\n")
    outside = tmp_path.parent / "outside.tif"
    outside.write_bytes((tmp_path / "good.tif").read_bytes())
    (tmp_path / "leads.tif").symlink_to(outside)
    (tmp_path / "dangling.tif").symlink_to(tmp_path / "nowhere.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    make("a b;$(rm).tif", 5)
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    found = build_catalog(Imagery(folder=tmp_path))
    assert [s.id for s in found.scenes] == ["good", "masked", "a_b_rm_"]
    reasons = {s.name: s.reason for s in found.skipped}
    expected = {
        "empty.tif": "no valid pixel",
        "twice.tif": "same image as good.tif",
        "same_id.tif": "id 'good' is taken by good.tif",
        "no_day.tif": "day is out of range for month",
        "leads.tif": "leads out",
        "dangling.tif": "is not a file",
        "pipe.tif": "is not a file",
    }
    assert reasons.keys() == expected.keys()
    assert [name for name, words in expected.items() if words not in reasons[name]] == []


def test_a_pattern_that_is_none_names_its_key(make: Maker, tmp_path: Path) -> None:
    make("good.tif")
    with pytest.raises(ImageryError, match=r"imagery\.pattern"):
        build_catalog(Imagery(folder=tmp_path, pattern="/etc/*"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["plain.tif", "deflate.tif", "jpeg.tif", "a.png", "a.jpg"]))
def test_damage_anywhere_is_an_error_of_ours_or_none(make: Maker, data: st.DataObject, kind: str) -> None:
    how: dict[str, Any] = {"driver": {"png": "PNG", "jpg": "JPEG"}.get(kind[-3:], "GTiff")}
    if kind in {"deflate.tif", "jpeg.tif"}:
        how |= {"compress": Path(kind).stem, "tiled": True, "blockxsize": 32, "blockysize": 32}
    path = make(kind, **how)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    said = ""
    try:
        scene = open_scene(path, SceneMetadata(bands=("red", "green", "blue"), scale=1.0))
        check_pixels(scene)
        if scene.grid.width * scene.grid.height < 1e6:
            tile = read(scene, scene.grid.window)
            assert np.isfinite(tile.pixels).all()
            assert np.isfinite(read_decimated(scene, 3.0).pixels).all()
    except ImageryError as error:
        said = str(error)
    assert said == "" or path.name in said or path.with_suffix(".yaml").name in said


@pytest.mark.parametrize("crs", ["EPSG:32611", "EPSG:3857", "EPSG:2056"])
def test_an_item_holds_its_scene_in_degrees_counter_clockwise(make: Maker, tmp_path: Path, crs: str) -> None:
    origin = {"EPSG:32611": (4e5, 3.7e6), "EPSG:3857": (8.4e5, 6e6), "EPSG:2056": (2.6e6, 1.2e6)}[crs]
    scene = open_scene(make("a.tif", crs=crs, transform=from_origin(*origin, 0.5, 0.5)), SceneMetadata())
    item = stac_item(scene, tmp_path / "items")
    outline = shape(item["geometry"])
    x, y = scene.grid.to_map(np.array([[48.0, 32.0]]))[0]
    (lon,), (lat,) = transform(crs, "EPSG:4326", [x], [y])
    assert outline.centroid.distance(shape({"type": "Point", "coordinates": (lon, lat)})) < 1e-6
    assert Polygon(outline.exterior).exterior.is_ccw
    assert outline.bounds == pytest.approx(item["bbox"])
    assert item["assets"]["image"]["href"] == "../a.tif"
    assert item["assets"]["image"]["file:checksum"] == "1220" + scene.sha256


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(east=st.floats(-9_000, 9_000), north=st.floats(-7e6, 7e6), zone=st.sampled_from([1, 60]))
def test_a_port_at_the_antimeridian_keeps_its_ground(make: Maker, east: float, north: float, zone: int) -> None:
    crs = f"EPSG:326{zone:02d}"
    (x,), (y,) = transform("EPSG:4326", crs, [180.0 if zone == 60 else -180.0], [north / 111_320])
    path = make("a.tif", crs=crs, transform=from_origin(x + east, y, 90, 90))
    item = stac_item(open_scene(path))
    west, south, eastern, northern = item["bbox"]
    outline = shape(item["geometry"])
    assert all(-180 <= lon <= 180 for lon in (west, eastern))
    assert outline.is_valid
    assert outline.geom_type == ("MultiPolygon" if west > eastern else "Polygon")
    width = (eastern - west) % 360
    assert width < 1.0
    assert outline.area == pytest.approx(width * (northern - south), rel=0.2)


def test_an_image_without_georeference_has_no_place(make: Maker) -> None:
    item = stac_item(open_scene(make("a.png", driver="PNG")))
    assert item["geometry"] is None
    assert "bbox" not in item
