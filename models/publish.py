"""From trained weights to a head that ships: weights and card under one name, then its measured figures."""

import hashlib
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.calibration import Counted, fit
from models.datasets.real import Picture
from models.detector import CLASSES, Detector, GsdRange, load
from models.evaluate import CHIP_PX, RENDERS, WHOLE, Case, at_gsd, render_gsds, score
from models.recipe import Recipe
from models.render import render_chip
from models.render.looks import plan_yard, see_yard, thinned
from models.runtime import OUTLINES
from models.structure import detect

CALIBRATION_SEEDS = 4_970_000
"""First seed of the scenes behind a calibration: no head is trained or judged by them. The track network (`models.train_tracks`), which
counts nothing here, is trained on yards of the same seeds."""
SCENES = {"container": 150, "railcar": 400, "vessel": 60}
"""Scenes per GSD: a rendered yard holds some 40 cars, a terminal 350 boxes."""
SUNS = ((0.0, 35.0), (35.0, 90.0))
"""Heights of the sun that are calibrated apart: below 35 degrees the shadows of neighbours cover a car or a box."""
YARD_M = 154.0
"""Side of a calibration yard."""


def joined(weights: Sequence[Path], outlines: Path | None = None) -> dict[str, Tensor]:
    """The tensors of several trained networks, and of what corrects their boxes, named as those of a `models.network.Ensemble`."""
    parts = {f"nets.{k}": load_file(path) for k, path in enumerate(weights)}
    if outlines is not None:
        parts[OUTLINES] = load_file(outlines)
    return {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}


def publish_head(
    recipe: Recipe, weights: Sequence[Path], folder: Path, seconds: float | None = None, outlines: Path | None = None
) -> Path:
    """Write the weights of the networks to be averaged under the head's name, with the card that lets `models.load` take them.

    `outlines` are weights of `tests/bench/fit_outlines.py` for these networks.

    Returns:
        The card; its calibration is filled by `calibrate`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{recipe.name}.safetensors"
    save_file(joined(weights, outlines), target)
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


def gsd_bins(name: str, accepted: GsdRange) -> list[tuple[float, float, float]]:
    """Finest and coarsest GSD for which renders of a class at a third one speak: half way to their neighbours, of those accepted."""
    gsds = render_gsds(name, accepted)
    edges = [accepted.low_m, *[(a + b) / 2 for a, b in pairwise(gsds)], accepted.high_m]
    return list(zip(edges, edges[1:], gsds, strict=False))  # none where no GSD is accepted


def calibrate(card: Path) -> None:
    """Write the calibration into a card, of scenes that judge nothing; each GSD speaks for its bin of `gsd_bins`.

    All suns together, and for what stands on land each of `SUNS`. Every core counts scenes of its own.
    """
    data = yaml.safe_load(card.read_text(encoding="utf-8"))
    weights = str(card.with_suffix(".safetensors"))
    (head,) = load(weights)
    bins = []
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as workers:
        for name in head.classes:
            for low, high, gsd in gsd_bins(name, head.gsd):
                parts = np.array_split(np.arange(SCENES[name]), min(4 * cores, SCENES[name]))
                counted = [scene for part in workers.map(partial(_count, weights, name, gsd), parts) for scene in part]
                suns = ((0.0, 90.0), *(SUNS if name != "vessel" else ()))
                bins += [asdict(fit(name, (round(low, 3), round(high, 3)), counted, sun)) for sun in suns]
    data["calibration"] = bins
    card.write_text(yaml.safe_dump(data, sort_keys=False, width=120), encoding="utf-8")


def _count(weights: str, name: str, gsd_m: float, indices: NDArray[np.int64]) -> list[Counted]:
    torch.set_num_threads(1)
    (head,) = load(weights)
    return [count_scene(head, name, gsd_m, int(index)) for index in indices]


def record(card: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write figures, rows of `models.evaluate.evaluate`, into a card; the counts of single pictures stay out."""
    data = yaml.safe_load(card.read_text(encoding="utf-8"))
    data["figures"] = [{k: v for k, v in r.items() if k != "counts"} for r in rows if r["class"] in data["classes"]]
    card.write_text(yaml.safe_dump(data, sort_keys=False, width=120), encoding="utf-8")


def count_scene(head: Detector, name: str, gsd_m: float, index: int) -> Counted:
    """Detect and match one rendered scene of calibration: for railcars a whole yard under a light of its own, else a chip."""
    seed = CALIBRATION_SEEDS + index
    if name == "railcar":
        rng = np.random.default_rng([seed, 79])
        yard, look = thinned(plan_yard(seed, YARD_M), rng), int(1000 * gsd_m)
        chip = see_yard(yard, look, gsd_m).chip
    else:
        kind, working_m = RENDERS[name]
        chip = render_chip(seed, kind, working_m, CHIP_PX, gsd_m)
    mine = chip.classes == CLASSES.index(name)
    picture = Picture(chip.pixels.transpose(1, 2, 0), chip.gsd_m, chip.boxes[mine], chip.classes[mine], chip.subtypes[mine],
                      chip.valid.astype(np.uint8))  # fmt: skip
    pixels, zoom = at_gsd(picture, chip.gsd_m, head.gsd.working_m)
    found = detect(head, pixels, np.ones(pixels.shape[1:], np.bool_)).of(name).moved(0, 0, 1 / zoom)
    case = Case(name, gsd_m, chip.pixels, found, picture.boxes, picture.classes, chip.visible[mine] >= WHOLE)
    found, boxes = case.of(name)
    result = score([found], [boxes])
    assert chip.light is not None  # of a render
    return Counted(len(found), result.hits, result.objects, float(found.scores.mean()) if len(found) else 0.0, chip.light.sun_deg)
