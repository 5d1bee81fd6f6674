"""Where each fact about an image comes from, and what is said when it is missing."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import Affine, from_origin

from pipeline.config import SceneMetadata
from pipeline.errors import ImageryError, MetadataError, UnreadableError
from pipeline.grid import Grid
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.place import ground_size, utm_zone
from pipeline.imagery.scene import Radiometry
from pipeline.imagery.sensors import PROFILES, profile

TIME = "2024-05-01T02:10:00Z"


def image(path: Path, *, dtype: str = "uint8", count: int = 3, crs: str | None = "EPSG:32611", tags: Any = None, **more: Any) -> Path:
    profile: dict[str, Any] = {"driver": "GTiff", "height": 20, "width": 30, "count": count, "dtype": dtype}
    if crs:
        profile |= {"crs": crs, "transform": from_origin(400_000, 3_700_000, 0.5, 0.5)}
    with rasterio.open(path, "w", **(profile | more)) as target:
        target.write(np.ones((count, 20, 30), dtype))
        target.update_tags(**(tags or {}))
    return path


def beside(path: Path, **known: Any) -> Path:
    path.with_suffix(".yaml").write_text(yaml.safe_dump(known))
    return path


def stac(path: Path, properties: dict[str, Any], asset: dict[str, Any] | None = None) -> Path:
    item = {"type": "Feature", "stac_version": "1.0.0", "properties": properties}
    item["assets"] = {"visual": {"href": f"./{path.name}"} | (asset or {})}
    path.with_suffix(".json").write_text(json.dumps(item))
    return path


def test_each_source_yields_to_the_stronger_one(tmp_path: Path) -> None:
    path = image(tmp_path / "a.tif", tags={"SENSOR": "tag", "CREDIT": "tag", "ACQUIRED": TIME, "LICENSE": "CC0"})
    defaults = SceneMetadata(sensor="default", off_nadir=3)
    assert open_scene(path, None, defaults).sensor == "tag"
    assert open_scene(path, None, defaults).view.off_nadir == 3
    stac(path, {"platform": "stac", "datetime": "2024-05-02T00:00:00Z", "view:sun_azimuth": 120})
    assert open_scene(path, None, defaults).sensor == "stac"
    assert open_scene(path, None, defaults).view.sun_azimuth == 120
    beside(path, sensor="sidecar")
    scene = open_scene(path, SceneMetadata(licence="run"), defaults)
    assert (scene.sensor, scene.credit, scene.licence, scene.time.day) == ("sidecar", "tag", "run", 2)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-05-01T04:10:00+02:00", datetime(2024, 5, 1, 2, 10, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("where", ["sidecar", "bare sidecar", "tag", "stac"])
def test_times_become_utc_and_a_day_alone_is_its_midnight(tmp_path: Path, written: str, meant: datetime, where: str) -> None:
    path = image(tmp_path / "a.tif", tags={"ACQUIRED": written} if where == "tag" else {})
    if where == "sidecar":
        beside(path, acquired=written)
    elif where == "bare sidecar":  # YAML's own dates and timestamps
        path.with_suffix(".yaml").write_text(f"acquired: {written}\n")
    elif where == "stac":
        stac(path, {"datetime": written})
    assert open_scene(path).time == meant


@pytest.mark.parametrize("written", ["2024-05-01T02:10:00", "20240501", 20240501, 1714529400.0, "yesterday"])
def test_a_time_that_could_mean_something_else_is_refused(tmp_path: Path, written: Any) -> None:
    path = beside(image(tmp_path / "a.tif"), acquired=written)
    with pytest.raises(MetadataError, match=r"a\.yaml: acquired: .*2024|a\.yaml: acquired: Input should be a valid datetime"):
        open_scene(path)


def test_a_tag_that_says_not_published_says_nothing(tmp_path: Path) -> None:
    path = image(tmp_path / "a.tif", tags={"ACQUIRED": "not published", "TIFFTAG_DATETIME": "2024:06:01 10:00:00"})
    assert open_scene(path, need_time=False).acquired is None
    with pytest.raises(MetadataError, match="2024:06:01 10:00:00 is the time of writing"):
        open_scene(path)


def test_stac_gives_radiometry_of_the_asset_that_is_the_image(tmp_path: Path) -> None:
    path = image(tmp_path / "s2.tif", dtype="uint16", count=4)
    bands = [{"name": n, "common_name": c} for n, c in (("B04", "red"), ("B03", "green"), ("B02", "blue"), ("B08", "nir"))]
    old = {"eo:bands": bands, "raster:bands": [{"scale": 1e-4, "offset": -0.1, "nodata": 0}] * 4}
    wanted = Radiometry(("red", "green", "blue", "nir"), 1e-4, -0.1, 0.0)
    assert open_scene(stac(path, {"datetime": TIME}, old)).radiometry == wanted
    new = {"bands": [{"eo:common_name": b["common_name"], "raster:scale": 1e-4, "nodata": 0} for b in bands]}
    found = open_scene(stac(path, {"datetime": TIME, "s2:processing_baseline": "05.09"}, new))
    assert found.radiometry == wanted
    old["raster:bands"] = [{"scale": 1e-4}, {"scale": 2e-4}]
    with pytest.raises(MetadataError, match="different scales"):
        open_scene(stac(path, {"datetime": TIME}, old))


def test_the_offset_of_a_processing_baseline_is_none_of_the_8_bit_picture(tmp_path: Path) -> None:
    said = {"datetime": TIME, "s2:processing_baseline": "05.09", "platform": "sentinel-2a"}
    picture = stac(image(tmp_path / "TCI.tif"), said)
    assert open_scene(picture).radiometry == Radiometry(("red", "green", "blue"), 1 / 255, 0.0)
    measured = stac(image(tmp_path / "SR.tif", dtype="uint16", photometric="RGB"), said)
    assert open_scene(measured).radiometry.offset == -0.1


@pytest.mark.parametrize(
    "asset", [{"bands": 3}, {"eo:bands": {"name": "red"}}, {"raster:bands": [1]}, {"raster:bands": [{"scale": [1]}]}], ids=str
)
def test_an_asset_of_wrong_form_is_named(tmp_path: Path, asset: dict[str, Any]) -> None:
    with pytest.raises(MetadataError, match=r"a\.json: .*(bands|scale)") as caught:
        open_scene(stac(image(tmp_path / "a.tif"), {"datetime": TIME}, asset))
    assert caught.value.fix


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"stac_version": "1.0.0", "properties": {"gsd": "fine"}}'])
def test_a_damaged_item_is_named(tmp_path: Path, text: str) -> None:
    path = image(tmp_path / "a.tif", tags={"ACQUIRED": TIME})
    path.with_suffix(".json").write_text(text)
    with pytest.raises(MetadataError, match=r"a\.json"):
        open_scene(path)


def test_other_json_beside_an_image_is_none_of_ours(tmp_path: Path) -> None:
    path = image(tmp_path / "a.tif", tags={"ACQUIRED": TIME})
    path.with_suffix(".json").write_text('[{"dx": 3}]')
    assert open_scene(path).gsd_m == 0.5


@pytest.mark.parametrize("text", ["- 1", "acquired: [", "a: &a [*a]", "gsd_m: -1", "mask: nothing.tif", "acquired: 2024-02-30"])
def test_a_damaged_sidecar_is_named(tmp_path: Path, text: str) -> None:
    path = image(tmp_path / "a.tif", tags={"ACQUIRED": TIME})
    path.with_suffix(".yaml").write_text(text)
    with pytest.raises(MetadataError, match=r"a\.(yaml|tif)"):
        open_scene(path)


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        # Snyder, Map Projections (1987), table 1 on WGS 84: a degree of latitude and of longitude at 0 and at 60 degrees
        ("EPSG:4326", (0.001, 0, 10, 0, -0.001, 0), (111.320, 110.574)),
        ("EPSG:4326", (0.001, 0, 10, 0, -0.001, 60), (55.800, 111.412)),
        ("EPSG:3857", (10, 0, 1e6, 0, -10, 8_399_737.9), (5.0, 5.0)),  # 60 N: Web Mercator doubles every length
        ("EPSG:32611", (3, 0, 4e5, 0, -3, 3.7e6), (3.0, 3.0)),
        ("EPSG:2229", (3, 0, 6.4e6, 0, -3, 1.7e6), (0.9144, 0.9144)),  # California zone 5, US survey feet
        ("EPSG:32611", (2, 2, 4e5, 2, -2, 3.7e6), (8**0.5, 8**0.5)),  # turned by 45 degrees
        ("EPSG:32601", (1, 0, 166_021.44, 0, -1, 0), (1.0, 1.0)),  # a pixel on the antimeridian
    ],
)
def test_a_georeference_declares_the_size_of_a_pixel(crs: str, transform: Any, metres: tuple[float, float]) -> None:
    size = ground_size(Grid(2, 2, tuple(map(float, transform)), crs))  # type: ignore[arg-type]
    assert size == pytest.approx(metres, rel=3e-3)


def test_a_crs_without_a_transform_declares_no_gsd(tmp_path: Path) -> None:
    path = image(tmp_path / "a.tif", crs=None, tags={"ACQUIRED": TIME})
    with rasterio.open(path, "r+") as target:
        target.crs = "EPSG:32611"
    with pytest.raises(MetadataError, match=r"a\.tif: has a CRS but no transform.*gsd_m"):
        open_scene(path, SceneMetadata(gsd_m=1))


@pytest.mark.parametrize("transform", [(0.5, 0, 4e5, 0, -9e307, 3.7e6), (0.5, 0, -1e12, 0, -0.5, 3.7e6)])
def test_a_transform_that_leads_off_the_earth_is_refused(tmp_path: Path, transform: tuple[float, ...]) -> None:
    path = image(tmp_path / "a.tif", crs="EPSG:32611", transform=Affine(*transform), tags={"ACQUIRED": TIME})
    with pytest.raises(MetadataError, match=r"a\.tif: its transform leads off the Earth"):
        open_scene(path)


def test_degrees_far_from_square_are_refused_with_the_command_that_mends_them(tmp_path: Path) -> None:
    path = image(tmp_path / "a.tif", crs="EPSG:4326", transform=from_origin(-94.5, 37.1, 6e-6, 6e-6), tags={"ACQUIRED": TIME})
    with pytest.raises(MetadataError, match=r"0\.53.* m by 0\.66.*--dst-crs EPSG:32615 --res 0\.6"):
        open_scene(path)
    assert utm_zone(Grid(1, 1, (1e-5, 0, 151.2, 0, -1e-5, -33.9), "EPSG:4326")) == "EPSG:32756"


def test_a_product_declares_what_its_name_says_and_no_more(tmp_path: Path) -> None:
    path = image(tmp_path / "a.tif", dtype="uint16", tags={"ACQUIRED": TIME}, photometric="RGB")
    assert open_scene(path, SceneMetadata(sensor="planetscope_sr")).radiometry.scale == 1e-4
    assert open_scene(path, SceneMetadata(sensor="WorldView-3")).radiometry.scale == pytest.approx(1 / 2047)
    for vague in ("PlanetScope", "WorldView-3 AComp", "Landsat"):
        with pytest.raises(MetadataError, match="no scale is declared"):
            open_scene(path, SceneMetadata(sensor=vague))
    with pytest.raises(MetadataError, match="offset"):  # harmonised or not?
        open_scene(path, SceneMetadata(sensor="Sentinel-2", acquired="2023-01-01"))
    assert open_scene(path, SceneMetadata(sensor="Sentinel-2", acquired="2021-01-01")).radiometry.offset == 0
    flat = image(tmp_path / "b.tif", crs=None, tags={"ACQUIRED": TIME, "SENSOR": "RapidEye"})
    assert open_scene(flat).gsd_m == 5
    names = [n for p in PROFILES for n in p.names]
    assert all(profile(n) is not None for n in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("how", "bands"),
    [
        ({"count": 3}, ("red", "green", "blue")),
        ({"count": 1}, ("pan",)),
        ({"count": 4, "photometric": "RGB", "alpha": "yes"}, ("red", "green", "blue", "alpha")),
        ({"count": 4, "photometric": "RGB", "alpha": "no"}, ("red", "green", "blue", "band4")),
        ({"count": 2, "alpha": "yes"}, ("pan", "alpha")),
    ],
)
def test_bands_of_8_bit_pictures_follow_the_convention(tmp_path: Path, how: dict[str, Any], bands: tuple[str, ...]) -> None:
    scene = open_scene(image(tmp_path / "a.tif", tags={"ACQUIRED": TIME}, **how))
    assert scene.radiometry.bands == bands
    assert scene.radiometry.scale == pytest.approx(1 / 255)
    assert scene.radiometry.display


def test_described_bands_are_read_in_their_order(tmp_path: Path) -> None:
    path = image(tmp_path / "a.tif", count=4, tags={"ACQUIRED": TIME})
    with rasterio.open(path, "r+") as target:
        target.descriptions = ("Blue", "Green", "Red", "NIR")
    assert open_scene(path).radiometry.bands == ("blue", "green", "red", "nir")
    with pytest.raises(MetadataError, match="given twice"):
        open_scene(path, SceneMetadata(bands=("red", "red", "green", "blue")))


def test_palettes_and_complex_numbers_are_no_pictures(tmp_path: Path) -> None:
    palette = image(tmp_path / "a.tif", count=1, photometric="PALETTE")
    with rasterio.open(palette, "r+") as target:
        target.write_colormap(1, {0: (0, 0, 0), 1: (255, 0, 0)})
    with pytest.raises(UnreadableError, match="palette"):
        open_scene(palette, need_time=False)
    with pytest.raises(UnreadableError, match="complex"):
        open_scene(image(tmp_path / "b.tif", count=1, dtype="complex64"), need_time=False)


@pytest.mark.parametrize(("stem", "expected"), [("a b(1)", "a_b_1_"), (".hidden", "hidden"), ("ü", "scene"), ("x" * 200, "x" * 128)])
def test_an_id_is_safe_as_a_file_name(tmp_path: Path, stem: str, expected: str) -> None:
    assert open_scene(image(tmp_path / f"{stem}.tif"), need_time=False).id == expected


def test_a_header_of_absurd_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    shape = {"height": 200_000, "width": 200_000, "count": 1, "dtype": "uint8", "tiled": True, "sparse_ok": True}
    with rasterio.open(path, "w", driver="GTiff", bigtiff="yes", **shape):
        pass
    with pytest.raises(UnreadableError, match="claims 200000 x 200000"):
        open_scene(path, SceneMetadata(gsd_m=1), need_time=False)


@pytest.mark.parametrize("name", ["vrt.tif", "text.png", "empty.jpg", "image.gif", "missing.tif", "folder.tif"])
def test_what_is_no_image_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    secret = image(tmp_path / "secret.tif")
    if name == "vrt.tif":  # GDAL would follow it to any file or address
        source = f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>"
        path.write_text(
            f'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte">{source}</VRTRasterBand></VRTDataset>'
        )
    elif name == "folder.tif":
        path.mkdir()
    elif name != "missing.tif":
        path.write_text("" if name == "empty.jpg" else "text")
    with pytest.raises(ImageryError, match=name):
        open_scene(path, SceneMetadata(gsd_m=1), need_time=False)
