"""What is permanent on a site as an artefact of a run: learned from all its looks, laid over each of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import models
from pipeline.change.look import inverse, mapped
from pipeline.change.permanent import find_permanent, sight, site_map, without_permanent
from pipeline.imagery.scene import Scene
from pipeline.run import codec


def do_learn(reference: Scene, scenes: Sequence[Scene], made: Mapping[tuple[str, str], Path], folder: Path) -> None:
    """What stands on a site in every look, in pixels of its reference scene."""
    sights = []
    for scene in sorted(scenes, key=lambda s: s.time):
        to_site = _site_map(scene, reference, made["align", scene.id])
        if to_site is not None:
            observed, found = codec.load_observed(made["observe", scene.id]), codec.load_found(made["detect", scene.id])
            sights.append(sight(scene, found, observed, to_site))
    rows = [{"class": p.cls, "box": p.box.tolist(), "seen": p.seen, "shown": p.shown} for p in find_permanent(sights, reference.gsd_m)]
    codec.write_json(folder / "permanent.json", rows)


def _site_map(scene: Scene, reference: Scene, align: Path) -> NDArray[np.float64] | None:
    return site_map(scene, reference, codec.alignment_from(codec.read_json(align / "alignment.json")))


def load_permanent(folder: Path) -> list[dict[str, Any]]:
    """The artefact of `do_learn`: class, box in pixels of the reference scene, looks that found it and that show its place."""
    rows: list[dict[str, Any]] = codec.read_json(folder / "permanent.json")
    return rows


def permanent_in(scene: Scene, reference: Scene, align: Path, learned: Path) -> models.Detections:
    """What is permanent, in pixels of a scene."""
    rows, to_site = load_permanent(learned), _site_map(scene, reference, align)
    if to_site is None or not rows:
        return models.Detections.empty()
    boxes = mapped(np.array([row["box"] for row in rows], np.float64), inverse(to_site))
    return models.Detections.build(boxes, np.ones(len(rows)), np.array([models.CLASSES.index(row["class"]) for row in rows]))


def counted_in(scene: Scene, reference: Scene, detect: Path, align: Path, learned: Path) -> models.Detections:
    """Boxes of a scene, without those of what is permanent."""
    return without_permanent(codec.load_detections(detect), permanent_in(scene, reference, align, learned))
