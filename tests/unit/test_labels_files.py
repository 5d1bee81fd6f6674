import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rasterio
from shapely import is_valid_reason
from shapely.geometry import Polygon, box

from pipeline.config import load_run, load_site

ROOT = Path(__file__).parents[2]
IMAGERY = ROOT.parent / "shared" / "imagery"
LABELS = sorted((ROOT / "fixtures" / "labels").glob("*.geojson"))
CHANGES = ROOT / "fixtures" / "labels" / "long-beach_changes.json"
SITES = sorted((ROOT / "configs" / "sites").glob("*.yaml"))
RUNS = sorted((ROOT / "configs" / "runs").glob("*.yaml"))
OBJECTS = {"vessel", "container", "trailer"}
FROM_MASKS = "masks of sen2ships (MIT), held against the picture by eye"
AREAS = {"ignore", "negative", "patch", "string"}

each_label = pytest.mark.parametrize("path", LABELS, ids=lambda p: p.stem)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def quads(document: dict[str, Any], name: str) -> list[Polygon]:
    return [Polygon(f["geometry"]["coordinates"][0]) for f in document["features"] if f["properties"]["class"] == name]


def image_of(document: dict[str, Any]) -> Path:
    path = IMAGERY / str(document["image"])
    if not path.exists():
        pytest.skip(f"{path} is absent: real images are not part of the repository")
    return path


def test_there_are_label_files() -> None:
    assert len(LABELS) >= 10
    assert {p.stem for p in LABELS} >= {"long-beach_scene_a", "long-beach_scene_b", "terminal_two_dates_t1"}


@each_label
def test_a_label_file_says_what_it_is(path: Path) -> None:
    document = read(path)
    assert document["type"] == "FeatureCollection"
    assert document["read_by"] in {"eye", FROM_MASKS}
    assert document["note"]
    assert 0.05 < document["gsd_m"] <= 10
    assert len(document["sha256"]) == 64
    folder, *_, name = Path(document["image"]).parts
    assert path.stem == f"{folder}_{Path(name).stem}"


@each_label
def test_every_outline_is_valid_and_every_object_a_quad(path: Path) -> None:
    for index, feature in enumerate(read(path)["features"]):
        kind = feature["properties"]["class"]
        assert kind in OBJECTS | AREAS, index
        assert isinstance(feature["properties"]["certain"], bool), index
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        polygon = Polygon(ring)
        assert ring[0] == ring[-1], index
        assert polygon.is_valid, f"{index}: {is_valid_reason(polygon)}"
        assert polygon.area > 4, index
        if kind in OBJECTS:
            assert len(ring) == 5, index


@each_label
def test_counts_of_patches_and_strings_agree_with_their_boxes(path: Path) -> None:
    document = read(path)
    boxes = [f["properties"] for f in document["features"] if f["properties"]["class"] == "container"]
    for feature in document["features"]:
        p = feature["properties"]
        if p["class"] in {"patch", "string"}:
            assert 0 <= p["low"] <= p["count"] <= p["high"]
        if p["class"] == "patch":
            inside = [b["certain"] for b in boxes if b["patch"] == p["name"]]
            assert (sum(inside), len(inside)) == (
                p["certain_count"],
                p["certain_count"] + p["uncertain_count"],
            )
    names = {f["properties"]["name"] for f in document["features"] if f["properties"]["class"] == "patch"}
    assert {b["patch"] for b in boxes} <= names


@each_label
def test_no_two_objects_are_one(path: Path) -> None:
    for name in OBJECTS:
        shapes = quads(read(path), name)
        for i, a in enumerate(shapes):
            for b in shapes[i + 1 :]:
                if a.intersects(b):
                    assert a.intersection(b).area < 0.7 * min(a.area, b.area), (name, i)


@each_label
def test_the_labels_belong_to_the_image(path: Path) -> None:
    document = read(path)
    image = image_of(document)
    assert hashlib.sha256(image.read_bytes()).hexdigest() == document["sha256"]
    with rasterio.open(image) as data:
        frame = box(-2, -2, data.width + 2, data.height + 2)
        width, height = data.width, data.height
    for index, feature in enumerate(document["features"]):
        polygon = Polygon(feature["geometry"]["coordinates"][0])
        assert frame.covers(polygon) or feature["properties"]["class"] == "container", index
        assert 0 <= polygon.centroid.x <= width, index
        assert 0 <= polygon.centroid.y <= height, index


@pytest.mark.parametrize("path", SITES, ids=lambda p: p.stem)
def test_sites_load_and_their_zones_do_not_overlap(path: Path) -> None:
    site = load_site(path)
    assert site.id == path.stem
    for i, a in enumerate(site.zones):
        for b in site.zones[i + 1 :]:
            assert a.shape.intersection(b.shape).area <= 1e-3 * min(a.shape.area, b.shape.area), (a.id, b.id)


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_runs_load_with_their_sites(path: Path) -> None:
    run = load_run(path)
    assert run.load_sites()
    assert set(run.imagery.scenes) <= {f.name for f in run.imagery.folder.glob("*")} or not IMAGERY.exists()


def test_the_change_table_agrees_with_labels_and_zones() -> None:
    table = read(CHANGES)
    site = load_site(ROOT / "configs" / "sites" / "long-beach.yaml")
    scenes = {k: read(ROOT / "fixtures" / "labels" / f"long-beach_scene_{k}.geojson") for k in "ab"}
    transforms = {"a": (385270.6260008942, 3736626.815160803), "b": (389596.6260008942, 3737076.815160803)}
    zones = {z.id: z.shape for z in site.zones}
    assert [row["zone"] for row in table["zones"]] == list(zones)
    for row in table["zones"]:
        for key, document in scenes.items():
            x0, y0 = transforms[key]
            inside = []
            for index, feature in enumerate(document["features"]):
                if feature["properties"]["class"] == "vessel":
                    centre = Polygon(feature["geometry"]["coordinates"][0]).centroid
                    on_map = type(centre)(x0 + 3 * centre.x, y0 - 3 * centre.y)
                    if zones[row["zone"]].contains(on_map):
                        inside.append(index)
            assert [ship["feature"] for ship in row[key]] == inside, (row["zone"], key)
    kinds = {event["event"] for event in table["events"]}
    assert kinds == {"appeared", "departed", "moved", "persisted", "unobservable"}
