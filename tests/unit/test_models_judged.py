"""Scoring against label files: patches bound it, doubt excuses, another image is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import models
from models import boxes as ob
from models.datasets.labels import read_labels
from models.evaluate import Case, Score, score
from models.judged import BUSAN_SPLIT, TRAINED_ON, judge_file, label_files, patches
from models.recipe import Recipe
from models.render import render_chip

LABELS = Path(__file__).resolve().parents[2] / "fixtures" / "labels"


@pytest.fixture(scope="module")
def head() -> models.Detector:
    (found,) = models.load("yard", "torch")
    return found


def write(folder: Path, features: list[dict[str, Any]], image: Path) -> Path:
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    path = folder / "labels.geojson"
    path.write_text(json.dumps({"image": image.name, "sha256": digest, "gsd_m": 0.3, "features": features}))
    return path


def feature(ring: Any, cls: str, **properties: Any) -> dict[str, Any]:
    closed = [*np.asarray(ring).tolist(), np.asarray(ring)[0].tolist()]
    return {"geometry": {"type": "Polygon", "coordinates": [closed]}, "properties": {"class": cls, **properties}}


def labelled(folder: Path) -> tuple[Path, NDArray[np.float64]]:
    """A rendered terminal as a picture, and the containers that are whole in it."""
    chip = render_chip(5_002_000, "terminal", 0.3, 320)
    image = folder / "chip.png"
    Image.fromarray((chip.pixels.transpose(1, 2, 0) * 255).astype(np.uint8)).save(image)
    return image, chip.boxes[(chip.classes == 0) & (chip.visible > 0.9)]


def counts(case: Case | str | None) -> Score:
    assert isinstance(case, Case)
    boxes, truth = case.of("container")
    return score([boxes], [truth])


def test_truth_patches_and_doubt(head: models.Detector, tmp_path: Path) -> None:
    image, mine = labelled(tmp_path)
    rings = ob.corners(mine)
    everything = judge_file(head, write(tmp_path, [feature(r, "container") for r in rings], image), tmp_path)
    whole = counts(everything)
    assert whole.objects == len(mine)
    patch = [[0, 0], [160, 0], [160, 320], [0, 320]]
    half = judge_file(head, write(tmp_path, [feature(r, "container") for r in rings] + [feature(patch, "patch")], image), tmp_path)
    assert counts(half).objects == int((mine[:, 0] < 160).sum())
    assert counts(half).found <= whole.found
    doubt = judge_file(head, write(tmp_path, [feature(r, "container", certain=False) for r in rings], image), tmp_path)
    assert counts(doubt).objects == 0
    assert counts(doubt).found <= whole.found - whole.hits  # what hit a doubtful object is not held against the head


def test_each_patch_is_judged_by_itself(head: models.Detector, tmp_path: Path) -> None:
    image, mine = labelled(tmp_path)
    west = [[0, 0], [160, 0], [160, 320], [0, 320]]
    labels = [feature(r, "container") for r in ob.corners(mine)]
    halves = [feature(west, "patch", name="west"), feature([[x + 160, y] for x, y in west], "patch", name="east")]
    case = judge_file(head, write(tmp_path, labels + halves, image), tmp_path)
    assert isinstance(case, Case)
    parts = patches(case, tmp_path / "labels.geojson", head.gsd.working_m)
    assert [part.where for part in parts] == ["labels west", "labels east"]
    assert [counts(part).objects for part in parts] == [int((mine[:, 0] < 160).sum()), int((mine[:, 0] >= 160).sum())]
    assert sum(counts(part).found for part in parts) == counts(case).found
    write(tmp_path, labels, image)
    assert patches(case, tmp_path / "labels.geojson", head.gsd.working_m) == [case]


def test_an_absent_or_another_image_is_said(head: models.Detector, tmp_path: Path) -> None:
    image = tmp_path / "chip.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(image)
    path = write(tmp_path, [feature([[1, 1], [20, 1], [20, 5], [1, 5]], "container")], image)
    image.write_bytes(image.read_bytes() + b" ")
    assert "is not the image" in str(judge_file(head, path, tmp_path))
    image.unlink()
    assert "absent" in str(judge_file(head, path, tmp_path))


def test_no_trained_image_judges() -> None:
    judging = {json.loads(p.read_text())["image"] for p in label_files(LABELS)}
    assert judging
    assert not judging & TRAINED_ON
    assert not {name for name in judging if name.startswith("muttenz")}


def test_no_column_of_busan_both_trains_and_judges() -> None:
    recipe = Recipe.read(Path(__file__).parents[2] / "configs" / "train" / "hull.yaml")
    (busan,) = (entry for entry in recipe.real if "busan" in entry["path"])
    assert busan["x_below"] < BUSAN_SPLIT
    assert {entry["path"] for entry in recipe.real} == TRAINED_ON


def test_ignored_and_doubtful_objects_switch_the_loss_off() -> None:
    labels = read_labels(LABELS / "long-beach_scene_a.geojson", 3.0)
    assert len(labels.boxes) == len(labels.classes) == 34
    assert len(labels.hidden) == 12 + 5
