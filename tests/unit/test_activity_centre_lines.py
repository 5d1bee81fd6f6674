"""Proposed track centre lines, on drawn rails whose place is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from shapely.geometry import LineString, MultiLineString

from pipeline.activity.centre_lines import APART_M, propose, search
from pipeline.config import SceneMetadata
from pipeline.errors import ImageryError
from pipeline.imagery.metadata import open_scene
from pipeline.review.export import collection
from pipeline.review.lines import centre_line_feature
from pipeline.site import Zone

GSD = 0.4
SIDE = 300


def rails(offsets: list[float], *, bodies: bool, bend: float = 0.0) -> tuple[np.ndarray, list[LineString]]:
    """A (3, H, W) picture of tracks 20 degrees off the rows, and their centre lines in pixels; pixels are 16 samples each."""
    rng = np.random.default_rng(5)
    fine = (np.mgrid[0 : 4 * SIDE, 0 : 4 * SIDE] + 0.5) * GSD / 4
    y, x = fine - SIDE * GSD / 2
    along, across = x * np.cos(0.35) + y * np.sin(0.35), -x * np.sin(0.35) + y * np.cos(0.35)
    across = across - bend * along**2
    picture = np.full(x.shape, 0.4)
    for offset in offsets:
        for side in (-0.75, 0.75):
            picture[np.abs(across - offset - side) < 0.1] = 0.62
        if bodies:
            picture[(np.abs(across - offset) < 1.45) & (np.abs(along) < 33) & ((along % 14) < 12.9)] = 0.2
    coarse = picture.reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3)) + rng.normal(0, 0.02, (SIDE, SIDE))
    s = np.linspace(-90, 90, 200)
    lines = []
    for offset in offsets:
        v = offset + bend * s**2
        px = (np.stack([s * np.cos(0.35) - v * np.sin(0.35), s * np.sin(0.35) + v * np.cos(0.35)], axis=1)) / GSD + SIDE / 2
        inside = ((px > 0) & (px < SIDE)).all(axis=1)
        lines.append(LineString(px[inside]))
    return np.repeat(coarse[None], 3, axis=0).astype(np.float32), lines


@pytest.mark.parametrize("bodies", [False, True])
@pytest.mark.parametrize("bend", [0.0, 0.0008])
def test_lines_lie_on_the_tracks(bodies: bool, bend: float) -> None:
    picture, truth = rails([-9.6, -4.8, 0.0, 4.8, 12.0], bodies=bodies, bend=bend)
    found = [LineString(line.points) for line in propose(picture, np.ones((SIDE, SIDE), np.bool_), GSD)]
    every, proposed = MultiLineString(truth), MultiLineString(found)
    on_track = sum(line.intersection(every.buffer(1.0 / GSD)).length for line in found)
    assert on_track > 0.95 * proposed.length
    assert every.intersection(proposed.buffer(1.0 / GSD)).length > 0.85 * every.length
    off = [line.interpolate(d).distance(every) * GSD for line in found for d in np.arange(0, line.length, 10)]
    assert np.median(off) < 0.3


def test_lines_keep_their_distance() -> None:
    picture, _ = rails([-4.8, 0.0, 4.8], bodies=False)
    found = [LineString(line.points) for line in propose(picture, np.ones((SIDE, SIDE), np.bool_), GSD)]
    middles = [line.interpolate(0.5, normalized=True) for line in found]
    gaps = [m.distance(other) * GSD for m, line in zip(middles, found, strict=True) for other in found if other is not line]
    assert min(gaps) > 0.9 * APART_M


def test_nothing_is_proposed_in_noise_or_where_nothing_was_seen() -> None:
    noise = np.random.default_rng(0).normal(0.4, 0.05, (3, SIDE, SIDE)).astype(np.float32)
    assert propose(noise, np.ones((SIDE, SIDE), np.bool_), GSD) == []
    picture, _ = rails([0.0], bodies=False)
    assert propose(picture, np.zeros((SIDE, SIDE), np.bool_), GSD) == []


def test_the_file_fits_a_zone(tmp_path: Path) -> None:
    picture, truth = rails([0.0, 6.0], bodies=True)
    path = tmp_path / "yard.tif"
    place = rasterio.Affine(GSD, 0, 500_000, 0, -GSD, 5_000_000)
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype="uint8", crs="EPSG:32632", transform=place
    ) as out:
        out.write(np.round(picture * 255).astype(np.uint8))
    scene = open_scene(path, SceneMetadata(gsd_m=GSD, scale=1 / 255, offset=0.0, bands=("red", "green", "blue")), need_time=False)
    tile, lines = search(scene)
    feature = centre_line_feature(tile.grid, [line.points for line in lines], GSD)
    (tmp_path / "lines.geojson").write_text(collection([feature], "EPSG:32632"), encoding="utf-8")
    assert json.loads((tmp_path / "lines.geojson").read_text(encoding="utf-8"))["features"][0]["geometry"]["type"] == "MultiLineString"
    ring = [[500_000, 4_999_000], [501_000, 4_999_000], [501_000, 5_000_000], [500_000, 5_000_000], [500_000, 4_999_000]]
    zone = Zone.model_validate(
        {
            "id": "yard",
            "kind": "track",
            "classes": ["railcar"],
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "centre_lines": "lines.geojson",
        },
        context={"base": tmp_path},
    )
    assert zone.centre_lines is not None
    stored = MultiLineString([LineString(c) for c in zone.centre_lines["coordinates"]])
    drawn = MultiLineString([LineString(scene.grid.to_map(np.asarray(line.coords))) for line in truth])
    assert stored.hausdorff_distance(drawn) < 6.0


def test_a_coarse_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "coarse.tif"
    with rasterio.open(path, "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8") as out:
        out.write(np.zeros((3, 64, 64), np.uint8))
    scene = open_scene(path, SceneMetadata(gsd_m=3.0, scale=1 / 255, offset=0.0, bands=("red", "green", "blue")), need_time=False)
    with pytest.raises(ImageryError, match="told apart at 3 m"):
        search(scene)
