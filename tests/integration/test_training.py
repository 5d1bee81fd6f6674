"""Every shipped recipe trains: a few steps of a small batch, stopped, resumed, published and loaded."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from safetensors.torch import load_file

import models
from models.card import find
from models.publish import publish_head
from models.recipe import Recipe
from models.train import train
from pipeline.errors import ModelError

RECIPES = sorted((Path(__file__).parents[2] / "configs" / "train").glob("*.yaml"))
pytestmark = pytest.mark.slow


def tiny_xview(folder: Path) -> None:
    """The layout of the real set: images in a folder, one GeoJSON of upright boxes."""
    images = folder / "xview" / "train_images"
    images.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 300, 300), np.uint8)
    with rasterio.open(images / "1.tif", "w", driver="GTiff", width=300, height=300, count=3, dtype="uint8") as file:
        file.write(pixels)
    properties = {"bounds_imcoords": "100,100,141,109", "type_id": 91, "image_id": "1.tif"}
    document = {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None, "properties": properties}]}
    (folder / "xview" / "xView_train.geojson").write_text(json.dumps(document))


def test_there_are_recipes() -> None:
    assert {p.stem for p in RECIPES} == {"yard", "hull", "xview"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_trains_resumes_and_publishes(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_xview(tmp_path / "imagery")
    shipped = Recipe.read(path)
    few = {kind: [(ranges[0][0], 2)] for kind, ranges in shipped.renders.items()}
    recipe = replace(shipped, renders=few, imagery=tmp_path / "imagery", size_px=64, batch=2, real_crops=3)
    with caplog.at_level(logging.INFO):
        train(recipe, tmp_path / "out", steps=2)
        weights = [train(recipe, tmp_path / "out", steps=3, member=k) for k in range(len(recipe.nets))]
    assert "resuming at step 2" in caplog.text
    card = publish_head(recipe, weights, tmp_path / "published")
    (head,) = models.load(card.with_suffix(".safetensors"), "torch")
    assert head.classes == shipped.classes
    found = head.detect(np.zeros((3, 64, 64), np.float32), np.ones((64, 64), np.bool_))
    assert len(found) == 0


def test_fine_tuning_starts_from_a_head_of_the_same_classes(tmp_path: Path) -> None:
    path = next(p for p in RECIPES if p.stem == "hull")
    recipe = replace(Recipe.read(path), renders={"harbour": [(310000, 2)]}, real=(), size_px=64, batch=2, lr=0.0)
    weights = train(recipe, tmp_path, steps=1, start="hull", member=1)
    before, after = (load_file(p) for p in (find("hull")[0].weights, weights))
    assert all(torch.equal(before[f"nets.1.{k}"], after[k]) for k in after if "running" not in k and "tracked" not in k)
    with pytest.raises(ModelError, match="no head for vessel"):
        train(recipe, tmp_path / "other", steps=1, start="yard")
