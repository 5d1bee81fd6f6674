"""The tool on real pictures. Judged pixels were in no training; where the pictures are absent the tests skip."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models import Detections
from models.datasets.labels import read_labels
from models.evaluate import score
from pipeline.cli import app

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # OpenVINO, where installed, traces the old way
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_most_cars_of_a_real_yard_are_found(imagery: Path, tmp_path: Path) -> None:
    yard = imagery / "muttenz" / "yard_west.tif"
    result = CliRunner().invoke(app, ["detect", str(yard), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "overlay.png").is_file()
    drawn = read_labels(tmp_path / "detections.txt", 0.25)
    scores = np.array([float(line.split()[-1]) for line in (tmp_path / "detections.txt").read_text().splitlines()])
    cars = Detections.build(drawn.boxes, scores, drawn.classes).of("railcar")
    found = score([cars], [read_labels(yard.with_suffix(".txt"), 0.25).boxes])
    assert found.recall >= 0.6
    assert found.precision >= 0.6
    features = json.loads((tmp_path / "detections.geojson").read_text())["features"]
    longitude, latitude = features[0]["geometry"]["coordinates"][0][0]
    assert 7.6 < longitude < 7.7
    assert 47.5 < latitude < 47.6


def test_nothing_departs_outside_the_overlap_of_long_beach(imagery: Path, tmp_path: Path) -> None:
    folder = imagery / "long-beach"
    command = ["compare", str(folder / "scene_a.tif"), str(folder / "scene_b.tif"), "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert abs(said["alignment"]["dx_px"]) < 1
    assert abs(said["alignment"]["dy_px"]) < 1
    assert said["counts"]["vessel"]["unobservable"] > 0
    east_edge_of_a, west_edge_of_b = 385270.6 + 3 * 2393, 389596.6
    from rasterio.warp import transform_geom
    from shapely.geometry import shape

    for feature in json.loads((tmp_path / "changes.geojson").read_text())["features"]:
        if feature["properties"]["kind"] in {"appeared", "departed"}:
            x = shape(transform_geom("EPSG:4326", "EPSG:32611", feature["geometry"])).centroid.x
            assert west_edge_of_b - 60 < x < east_edge_of_a + 60


def test_vessel_changes_at_the_berths_of_long_beach_agree_with_the_eye(imagery: Path, tmp_path: Path) -> None:
    """Every berth that both scenes show whole: hulls over 60 m that an analyst is sure of, and no other coming or going."""
    where = ["--imagery", str(imagery / "long-beach"), "--out", str(tmp_path), "--quiet"]
    result = CliRunner().invoke(app, ["run", str(CONFIGS / "runs" / "long-beach.yaml"), *where])
    assert result.exit_code == 0, result.output
    with (tmp_path / "changes.csv").open(encoding="utf-8") as file:
        rows = {row["zone"].split("@")[0]: row for row in csv.DictReader(file)}
    read = json.loads((CONFIGS.parent / "fixtures" / "labels" / "long-beach_changes.json").read_text(encoding="utf-8"))
    both = [z["zone"] for z in read["zones"] if z["kind"] == "berth" and z["seen_in_a"] == z["seen_in_b"] == 1.0]
    assert set(both) == {"pier-j-south-east", "cruise", "museum-ship"}
    for zone in both:
        told = [e["event"] for e in read["events"] if e["zone"] == zone and e["sure"] == "high"]
        for kind in ("appeared", "departed", "moved"):
            assert int(rows[zone][kind]) == told.count(kind), (zone, kind)
    hidden = [z["zone"] for z in read["zones"] if z["seen_in_b"] == 0.0 and z["zone"] in rows]
    assert len(hidden) > 5
    for zone in hidden:
        assert int(rows[zone]["departed"]) == int(rows[zone]["appeared"]) == 0
