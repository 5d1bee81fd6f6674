"""From trained weights to a head that ships: weights and card under one name, then its measured figures."""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from models.train import Recipe


def publish_head(recipe: Recipe, weights: Path, folder: Path, seconds: float | None = None) -> Path:
    """Copy weights under the head's name and write the card that lets `models.load` take them.

    Returns:
        The card; its calibration is filled by `calibrate`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{recipe.name}.safetensors"
    target.write_bytes(weights.read_bytes())
    card: dict[str, Any] = {
        "name": recipe.name,
        "weights": target.name,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "classes": list(recipe.classes),
        "subtypes": recipe.subtypes,
        "native_gsd_m": list(recipe.native_gsd_m),
        "working_gsd_m": recipe.working_gsd_m,
        "thresholds": recipe.thresholds,
        "calibration": [],
        "data": {"credits": list(recipe.credits), "steps": recipe.steps, "batch": recipe.batch, "seed": recipe.seed},
        "fails": list(recipe.fails),
        "licence": "Apache-2.0",
    }
    if seconds is not None:
        card["data"]["cpu_seconds"] = round(seconds)
    path = folder / f"{recipe.name}.yaml"
    path.write_text(yaml.safe_dump(card, sort_keys=False, width=120), encoding="utf-8")
    return path


def calibrate(card: Path, scores: dict[str, Any]) -> None:
    """Write measured precision and recall into a card: each evaluated GSD speaks for the bin up to half way to its neighbours."""
    data = yaml.safe_load(card.read_text(encoding="utf-8"))
    rows = [r for r in scores["rows"] if r["class"] in data["classes"]]
    bins = []
    for name in data["classes"]:
        gsds = sorted({r["gsd_m"] for r in rows if r["class"] == name and r["set"].startswith("render")})
        edges = [data["native_gsd_m"][0], *[(a + b) / 2 for a, b in pairwise(gsds)], data["native_gsd_m"][1]]
        for low, high, gsd in zip(edges, edges[1:], gsds, strict=False):
            row = next(r for r in rows if r["class"] == name and r["gsd_m"] == gsd and r["set"].startswith("render"))
            rates = {"precision": row["precision"], "recall": row["recall"], "n": row["objects"], "scene_sd": row["scene_sd"]}
            bins.append({"cls": name, "gsd_low": round(low, 3), "gsd_high": round(high, 3), **rates})
    data["calibration"] = bins
    data["figures"] = rows
    card.write_text(yaml.safe_dump(data, sort_keys=False, width=120), encoding="utf-8")
