"""Labels of others in their true layouts, on files written here."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

from models import boxes as ob
from models.datasets.labels import WIDTH_M, oriented, read_labels
from models.datasets.real import Shelf, read_picture, sample
from models.detector import CLASSES, SUBTYPES

GSD = 0.3


def hull_of(box: np.ndarray) -> np.ndarray:
    ring = ob.corners(box[None])[0]
    return np.array([ring.min(axis=0), ring.max(axis=0)])


def string_of_cars(heading: float, n: int = 5) -> np.ndarray:
    """Cars of 14 m end to end, 1.1 m apart, in pixels."""
    along = np.array([np.cos(heading), np.sin(heading)])
    centres = 300 + np.arange(n)[:, None] * along * 15.1 / GSD
    size = np.full((n, 1), 14.0 / GSD), np.full((n, 1), WIDTH_M["railcar"] / GSD)
    return ob.canonical(np.concatenate([centres, *size, np.full((n, 1), heading)], axis=1))


def xview(boxes: np.ndarray, type_id: int, image: str = "100.tif") -> list[dict[str, object]]:
    rows = [",".join(str(round(v)) for v in hull_of(b).ravel()) for b in boxes]
    return [
        {"type": "Feature", "geometry": None, "properties": {"bounds_imcoords": r, "type_id": type_id, "image_id": image}} for r in rows
    ]


def test_an_object_drawn_twice_is_one(tmp_path: Path) -> None:
    cars = string_of_cars(0.3)
    again = cars[2] + np.array([1.0, -1.0, -4.0, 0.5, 0.01])
    lines = [" ".join(f"{v:.1f}" for v in ob.corners(b[None])[0].ravel()) + " railcar 0" for b in (*cars, again)]
    (tmp_path / "yard.txt").write_text("\n".join(lines))
    found = read_labels(tmp_path / "yard.txt", GSD)
    assert len(found.boxes) == len(found.classes) == len(cars)
    assert ob.iou_matrix(found.boxes, cars).max(axis=0).min() > 0.8


@pytest.mark.parametrize("heading", np.radians([0.0, 17.0, 45.0, 80.0, -30.0, -62.0]))
def test_the_rule_turns_upright_boxes_of_a_string_into_oriented_ones(heading: float) -> None:
    cars = string_of_cars(float(heading))
    boxes, told = oriented(np.array([hull_of(b) for b in cars]), "railcar", GSD)
    assert told.all()
    assert np.diag(ob.iou_matrix(boxes, cars)).min() > 0.95


def test_a_lone_slanted_body_is_not_told_and_not_learned() -> None:
    car = string_of_cars(np.radians(35.0), 1)
    _, told = oriented(np.array([hull_of(car[0])]), "railcar", GSD)
    assert not told.any()


def test_xview_geojson_by_image_with_blocks_hidden(tmp_path: Path) -> None:
    cars = string_of_cars(np.radians(25.0))
    lot = np.array([[900.0, 900.0, 100.0, 60.0, 0.0]])
    features = [*xview(cars, 37), *xview(lot, 89), *xview(cars, 18), *xview(cars[:2], 35, "7.tif")]
    path = tmp_path / "xView_train.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    labels = read_labels(path, GSD, "100.tif")
    assert len(labels.boxes) == 5
    assert set(labels.subtypes) == {SUBTYPES.index("tank")}
    assert len(labels.hidden) == 1
    assert len(read_labels(path, GSD, "7.tif").boxes) == 2


def test_coco_polygons_and_upright_boxes(tmp_path: Path) -> None:
    ship = np.array([[400.0, 300.0, 60.0, 10.0, 0.5]])
    ring = ob.corners(ship)[0]
    document = {
        "images": [{"id": 4, "file_name": "a.tif"}, {"id": 5, "file_name": "b.tif"}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [
            {"image_id": 4, "category_id": 1, "segmentation": [ring.ravel().tolist()], "bbox": [0, 0, 1, 1]},
            {"image_id": 4, "category_id": 1, "bbox": [10, 20, 70, 9]},
            {"image_id": 4, "category_id": 1, "bbox": [10, 90, 4, 3]},
            {"image_id": 5, "category_id": 1, "bbox": [10, 20, 50, 50]},
        ],
    }
    path = tmp_path / "ships.json"
    path.write_text(json.dumps(document))
    labels = read_labels(path, 3.0, "a.tif")
    assert ob.iou_matrix(labels.boxes, ship).max() > 0.98
    assert len(labels.boxes) == 2
    assert len(labels.hidden) == 1  # 12 m: not a vessel by our definition, not background either
    assert len(read_labels(path, 3.0, "b.tif").hidden) == 1  # a hull as wide as long has no heading
    with pytest.raises(KeyError):
        read_labels(path, 3.0, "c.tif")


def test_a_run_length_mask_becomes_its_rectangle(tmp_path: Path) -> None:
    """Rows 10-12, columns 20-39 of a 50 x 60 mask, written down the columns."""
    mask = np.zeros((50, 60), np.uint8)
    mask[10:13, 20:40] = 1
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.r_[0, flat, 0])).tolist()
    counts = np.diff([0, *edges, flat.size]).tolist()
    note = {
        "image_id": 1,
        "category_id": 1,
        "segmentation": {"counts": counts, "size": [50, 60]},
        "bbox": [20, 10, 20, 3],
        "iscrowd": 0,
    }
    document = {"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "ship"}], "annotations": [note]}
    path = tmp_path / "masks.json"
    path.write_text(json.dumps(document))
    assert np.allclose(read_labels(path, 10.0, "a").boxes[0], [30, 11.5, 20, 3, 0])


def coco(folder: Path, *segmentations: object, **note: object) -> Path:
    """A file of one picture, a ship for each segmentation."""
    notes = [{"image_id": 1, "category_id": 1, "segmentation": s, "bbox": [20, 10, 20, 3]} | note for s in segmentations]
    document = {"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "ship"}], "annotations": notes}
    path = folder / "ships.json"
    path.write_text(json.dumps(document))
    return path


def test_an_object_in_parts_is_one_box(tmp_path: Path) -> None:
    """A hull of 60 x 10 px that a crane bridge cuts in two."""
    parts = [[10, 20, 30, 20, 30, 30, 10, 30], [40, 20, 70, 20, 70, 30, 40, 30]]
    assert read_labels(coco(tmp_path, parts), 3.0, "a").boxes[0] == pytest.approx([40, 25, 60, 10, 0], abs=1e-4)
    crowd = read_labels(coco(tmp_path, parts, iscrowd=1), 3.0, "a")
    assert len(crowd.boxes) == 0
    assert cv2.contourArea(crowd.hidden[0].astype(np.float32)) == 600


def test_a_packed_mask_is_hidden_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = read_labels(coco(tmp_path, {"counts": "PPYo1", "size": [50, 60]}), 10.0, "a")
    assert len(labels.boxes) == 0
    assert labels.hidden[0].tolist() == [[20, 10], [40, 10], [40, 13], [20, 13]]
    assert f"{tmp_path / 'ships.json'}: 1 masks are compressed" in caplog.text


def test_outlines_without_area_are_passed_over_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "yard.txt"
    line, point, whole = "5 5 40 40 40 40 5 5", " ".join(["7 9"] * 4), "10 10 90 10 90 22 10 22"
    crossed = "110 10 190 10 110 22 190 22"
    path.write_text("".join(f"{quad} railcar 0\n" for quad in (line, point, whole, crossed)))
    labels = read_labels(path, GSD)
    assert np.allclose(labels.boxes, [[50, 16, 80, 12, 0], [150, 16, 80, 12, 0]])
    assert f"{path}: 2 outlines have no area" in caplog.text
    flat = tmp_path / "x.geojson"
    flat.write_text(json.dumps({"features": xview(np.array([[50.0, 50.0, 40.0, 0.01, 0.0]]), 37)}))
    assert len(read_labels(flat, GSD, "100.tif").boxes) == 0
    assert f"{flat}: 1 outlines" in caplog.text


def test_outside_the_patches_of_a_file_of_ours_nothing_is_learned(tmp_path: Path) -> None:
    def feature(cls: str, x: int, y: int, w: int, h: int) -> dict[str, object]:
        ring = [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]
        return {"properties": {"class": cls}, "geometry": {"coordinates": [ring]}}

    image, labels = tmp_path / "p.png", tmp_path / "p.geojson"
    cv2.imwrite(str(image), np.full((200, 300, 3), 90, np.uint8))
    inside = [feature("container", 40, 40, 40, 8), feature("ignore", 100, 60, 10, 10)]
    labels.write_text(json.dumps({"features": inside}))
    assert read_picture(image, labels, GSD).care.mean() > 0.99
    patches = [feature("patch", 20, 20, 100, 60), feature("patch", 200, 100, 20, 20)]
    labels.write_text(json.dumps({"features": [*inside, *patches]}))
    picture = read_picture(image, labels, GSD)
    known = np.zeros((200, 300), bool)
    known[20:81, 20:121] = known[100:121, 200:221] = True
    known[60:71, 100:111] = False
    assert (picture.care == known).all()
    assert len(picture.boxes) == 1
    rng = np.random.default_rng(0)
    crops = [sample(picture, rng, GSD, 64, (GSD, GSD)) for _ in range(20)]
    assert all(crop.valid[31:34, 31:34].any() for crop in crops)


def test_a_file_of_many_pictures_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{k}.tif" for k in range(5)]
    for name in names:
        (tmp_path / name).touch()
    path, real, parsed = tmp_path / "xView_train.geojson", json.loads, []
    monkeypatch.setattr("models.datasets.labels.json.loads", lambda text: parsed.append(len(text)) or real(text))
    cars = string_of_cars(0.4)
    path.write_text(json.dumps({"features": [f for name in names[1:] for f in xview(cars, 37, name)]}))
    for _ in range(2):
        shelf = Shelf.read(tmp_path, "*.tif", path, GSD)
        assert [len(found.boxes) for found in shelf.labels] == [0, 5, 5, 5, 5]
    assert len(parsed) == 1
    path.write_text(json.dumps({"features": xview(cars, 37, names[0])}))
    changed = Shelf.read(tmp_path, "*.tif", path, GSD)
    assert [len(found.boxes) for found in changed.labels] == [5, 0, 0, 0, 0]
    assert changed.digest != shelf.digest


def test_dota_text_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "P0001.txt"
    path.write_text("imagesource:GoogleEarth\ngsd:0.15\n10 10 90 10 90 22 10 22 ship 0\n5 5 9 5 9 9 5 9 plane 0\n")
    labels = read_labels(path, 0.5)
    assert [CLASSES[c] for c in labels.classes] == ["vessel"]
    assert labels.boxes[0, :2].tolist() == [50.0, 16.0]


def test_a_large_set_is_read_by_windows_that_keep_boxes_on_their_pixels(tmp_path: Path) -> None:
    """A bright body per label: wherever a crop lands, the box lies on the bright pixels."""
    cars = string_of_cars(np.radians(25.0))
    image = np.full((1, 900, 900), 40, np.uint8)
    for quad in ob.corners(cars):
        cv2.fillPoly(image[0], [np.round(quad).astype(np.int32)], 230)
    with rasterio.open(tmp_path / "100.tif", "w", driver="GTiff", width=900, height=900, count=1, dtype="uint8") as file:
        file.write(image)
    labels = tmp_path / "xView_train.geojson"
    labels.write_text(json.dumps({"type": "FeatureCollection", "features": xview(cars, 35)}))
    shelf = Shelf.read(tmp_path, "*.tif", labels, GSD)
    rng, seen = np.random.default_rng(0), 0
    for _ in range(12):
        chip = sample(shelf.near(rng, 128), rng, 0.3, 128, (0.3, 0.3))
        for box, visible in zip(chip.boxes, chip.visible, strict=True):
            x, y = box[:2].astype(int)
            if visible > 0.6 and 0 <= x < 128 and 0 <= y < 128:
                assert chip.pixels[0, y, x] > 0.5
                seen += 1
    assert seen > 10
