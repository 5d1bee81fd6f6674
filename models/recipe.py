"""A training recipe: what a head learns, from what, and how."""

import logging
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from models.datasets.real import Picture, Shelf, read_picture
from models.datasets.rearranged import Yard
from models.detector import CLASSES, SUBTYPES
from models.network import YardNet

log = logging.getLogger(__name__)

Source = Picture | Shelf | Yard
"""Real pictures that crops are cut from."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training recipe, as in ``configs/train/*.yaml``.

    Attributes:
        name: name and version of the head.
        classes: class names it learns.
        working_gsd_m: GSD of the chips.
        native_gsd_m: finest and coarsest native GSD that the head will accept.
        nets: kind of stems and channels of the body of each network, as in ``lite-96``; several are trained one by one and averaged.
        size_px: side of a chip.
        sensor_gsd_m: range of the simulated sensor.
        renders: per kind, ranges of seeds as first seed and number of chips.
        real: per picture, keys of `read_picture`, or per folder, keys of `Shelf.read`; and a ``weight``, and in a picture of railcars
            ``rearranged``, the share of its crops that show them elsewhere (`models.datasets.rearranged`); paths relative to `imagery`.
        real_crops: crops cut from real pictures before training, by weight.
        real_share: share of each batch drawn from those crops.
        imagery: folder of public imagery, relative to the recipe.
        steps, batch, lr, seed: the loop.
        thresholds: shipped threshold per class.
        credits: lines for the model card.
        fails: what was seen to go wrong, by the eye, one line an image; for the model card.
        folder: where the recipe lies.
        trunk_rate: rate of what came with weights from ImageNet, over `lr`; 0 leaves it as it came, which takes a third of the time.
        on_real: share of the renders that are drawn on real pictures that hold no targets, by weight.
        repainted: share of the renders in which labels of the railcars were drawn in and painted out (`models.datasets.augment`).
    """

    name: str
    classes: tuple[str, ...]
    working_gsd_m: float
    native_gsd_m: tuple[float, float]
    nets: tuple[str, ...]
    size_px: int
    sensor_gsd_m: tuple[float, float]
    renders: dict[str, list[tuple[int, int]]]
    real: tuple[dict[str, Any], ...]
    real_crops: int
    real_share: float
    imagery: Path
    steps: int
    batch: int
    lr: float
    seed: int
    thresholds: dict[str, float]
    credits: tuple[str, ...]
    fails: tuple[str, ...]
    folder: Path
    trunk_rate: float = 0.1
    on_real: float = 0.0
    repainted: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read a recipe; unknown or missing keys are a TypeError that names them."""
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key in ("classes", "nets", "native_gsd_m", "sensor_gsd_m", "real", "credits", "fails"):
            data[key] = tuple(data[key])
        for entry in data["real"]:
            folder = "folder" in entry
            known = {"weight", *([] if folder else ["rearranged"]), *signature(Shelf.read if folder else read_picture).parameters}
            if unknown := set(entry) - known:
                raise TypeError(f"real: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
        return cls(**data | {"imagery": path.parent / data["imagery"], "folder": path.parent})

    @property
    def class_index(self) -> list[int]:
        """Indices of the head's classes in `models.CLASSES`."""
        return [CLASSES.index(name) for name in self.classes]

    @property
    def subtypes(self) -> int:
        """Subtype logits: only a head that knows railcars has them."""
        return len(SUBTYPES) if "railcar" in self.classes else 0

    def network(self, member: int) -> YardNet:
        """One of its networks, from chance."""
        kind, _, width = self.nets[member].partition("-")
        return YardNet(len(self.classes), self.subtypes, int(width), kind)

    def pictures(self) -> tuple[list[Source], NDArray[np.float64]]:
        """Real pictures that are present, and the share of the crops that each gives; what is absent is said."""
        found: list[Source] = []
        weights = []
        for entry in self.real:
            keys = {k: v for k, v in entry.items() if k not in {"weight", "rearranged"}}
            paths: dict[str, Path] = {k: self.imagery / keys[k] for k in ("path", "folder") if k in keys}
            if keys.get("labels"):  # labels of ours lie in the project, beside the recipe's tree; those of others beside the image
                own = self.folder / keys["labels"]
                paths["labels"] = own if own.exists() else self.imagery / keys["labels"]
            absent = [p for p in paths.values() if not p.exists()]
            if absent:
                log.warning("%s is absent; training goes on without it", absent[0])
                continue
            if "folder" in keys:
                found.append(Shelf.read(**keys | paths))
            else:
                picture, share = read_picture(**{"labels": None} | keys | paths), entry.get("rearranged", 0.0)
                found.append(Yard.of(picture, share) if share else picture)
            weights.append(entry["weight"])
        return found, np.array(weights) / max(sum(weights), 1e-9)
