"""A pool of examples on disk: rendered by seed or cut from real pictures, encoded once, read many times."""

import hashlib
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from models import boxes as ob
from models.codec import encode, regressed
from models.datasets.augment import STRETCH, repainted, stretched
from models.datasets.real import Picture, sample
from models.detector import CLASSES
from models.network import BOX_CHANNELS, OUT_STRIDE
from models.recipe import Recipe, Source
from models.render import Chip, render_chip
from models.render.canvas import Backdrop
from pipeline.errors import ModelError

log = logging.getLogger(__name__)

POOL_VERSION = 5
"""Raised with every change of what the same recipe, pictures and seeds give: of the renderer, `models.codec`, how crops are cut."""
MOST_OBJECTS = 1024
"""In a chip; 1264 boxes of 10 ft would fill one of 96 m square. The boxes of the smallest beyond it are not learned."""
INLINE = 32
"""Fewer missing examples than this are made in this process: others take seconds to start."""
PARTS = 4
"""For each core: few, since each reads the recipe's pictures anew; several, since no two take the same time."""
BACKDROP_GAIN = (0.6, 1.4)
"""Brightness of a real place under a render, over its own: what stands on it was not seen in its light."""
CARE, VALID = 1, 2
"""Bits of a cell: the heat loss is on; it holds data."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Examples as one memory-mapped array a field; see `models.codec.Targets`.

    Attributes:
        pixels: (N, 3, S, S) uint8.
        heat: (N, C, h, w) uint8, 255 in the cell of a centre.
        owner: (N, C, h, w) int16, the object of a class that each cell learns, -1 for none.
        care: (N, h, w) uint8, `CARE` and `VALID`.
        values: (N, MOST_OBJECTS, 6) float32, what is regressed of each object (`models.codec.regressed`).
        subtypes: (N, MOST_OBJECTS) int8, -1 for unknown.
        done: (N,) uint8, whether an example has been made.
    """

    pixels: NDArray[np.uint8]
    heat: NDArray[np.uint8]
    owner: NDArray[np.int16]
    care: NDArray[np.uint8]
    values: NDArray[np.float32]
    subtypes: NDArray[np.int8]
    done: NDArray[np.uint8]

    @classmethod
    def open(cls, folder: Path, number: int, size_px: int, classes: int) -> "Pool":
        """The pool in a folder, made there when it is not."""
        folder.mkdir(parents=True, exist_ok=True)
        side = size_px // OUT_STRIDE
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "pixels": ((3, size_px, size_px), np.uint8),
            "heat": ((classes, side, side), np.uint8),
            "owner": ((classes, side, side), np.int16),
            "care": ((side, side), np.uint8),
            "values": ((MOST_OBJECTS, BOX_CHANNELS), np.float32),
            "subtypes": ((MOST_OBJECTS,), np.int8),
            "done": ((), np.uint8),
        }
        arrays = {}
        for name, (shape, dtype) in shapes.items():
            path = folder / f"{name}.npy"
            if path.exists():
                arrays[name] = open_memmap(path, "r+")
            else:
                arrays[name] = open_memmap(path, "w+", dtype, (number, *shape))
        return cls(**arrays)

    def put(self, index: int, chip: Chip, recipe: Recipe, *, known: bool) -> None:
        """Encode a chip into its place; `known` says that an object without a subtype has none, rather than an unknown one."""
        mine = np.flatnonzero(np.isin(chip.classes, recipe.class_index))
        mine = mine[np.argsort(-ob.area(chip.boxes[mine]), kind="stable")]
        classes = np.array([recipe.class_index.index(c) for c in chip.classes[mine]], np.uint8)
        targets = encode(chip.boxes[mine], classes, chip.visible[mine], chip.valid, len(recipe.classes))
        n = min(len(classes), MOST_OBJECTS)
        if n < len(classes):
            log.warning("example %d: the boxes of %d objects beyond %d are not learned", index, len(classes) - n, n)
        kinds = chip.subtypes[mine[:n]].astype(np.int8)
        self.pixels[index] = np.round(np.clip(chip.pixels, 0, 1) * 255 * chip.valid)
        self.heat[index] = np.round(targets.heat * 255)
        self.owner[index] = np.where(targets.owner < n, targets.owner, -1)
        self.care[index] = CARE * targets.care + VALID * chip.valid[::OUT_STRIDE, ::OUT_STRIDE]
        self.values[index, :n] = regressed(chip.boxes[mine[:n]])
        self.subtypes[index, :n] = np.where(known | (kinds > 0), kinds, -1)
        self.done[index] = 1

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the examples of a recipe: rendered chips in order of the recipe, then crops of real pictures."""

    recipe: Recipe
    chips: tuple[tuple[str, int], ...]
    pictures: tuple[Source, ...]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, recipe: Recipe) -> "Maker":
        """Reads the pictures."""
        seeds = [(kind, range(first, first + n)) for kind, ranges in recipe.renders.items() for first, n in ranges]
        pictures, shares = recipe.pictures()
        return cls(recipe, tuple((kind, seed) for kind, some in seeds for seed in some), tuple(pictures), shares)

    @property
    def number(self) -> int:
        """Of examples."""
        return len(self.chips) + (self.recipe.real_crops if self.pictures else 0)

    def make(self, index: int) -> Chip:
        """The chip of an example: the sensor's GSD is log-uniform in the recipe's range."""
        r = self.recipe
        if index < len(self.chips):
            kind, seed = self.chips[index]
            low, high = r.sensor_gsd_m
            u = np.random.default_rng((seed, 1)).random()
            backdrop = self.backdrop(np.random.default_rng((seed, 4)))
            chip = render_chip(seed, kind, r.working_gsd_m, r.size_px, float(low * (high / low) ** u), backdrop)
            paint = np.random.default_rng((seed, 5))
            if paint.random() < r.repainted:
                chip = repainted(chip, CLASSES.index("railcar"), paint)
            return stretched(chip, np.random.default_rng((seed, 3)))
        rng = np.random.default_rng((2, index - len(self.chips)))
        source = self.pictures[rng.choice(len(self.pictures), p=self.shares)]
        picture = source.near(rng, r.size_px * r.working_gsd_m / source.gsd_m)
        return sample(picture, rng, r.working_gsd_m, r.size_px, r.sensor_gsd_m)

    def backdrop(self, rng: np.random.Generator) -> Backdrop | None:
        """A real place for a render to stand on, darker or brighter than it was, or None for ground of its own.

        Where every real picture is without containers, a network learns that what looks real holds none.
        """
        empty = [k for k, p in enumerate(self.pictures) if isinstance(p, Picture) and not len(p.boxes)]
        if not empty or rng.random() >= self.recipe.on_real:
            return None
        source = self.pictures[rng.choice(empty, p=self.shares[empty] / self.shares[empty].sum())]
        assert isinstance(source, Picture)
        r = self.recipe
        place = sample(source, rng, r.working_gsd_m, r.size_px, (r.working_gsd_m, r.working_gsd_m))
        return place.pixels.transpose(1, 2, 0) * np.float32(rng.uniform(*BACKDROP_GAIN)), place.valid

    def fill(self, pool: Pool, indices: NDArray[np.int64]) -> None:
        """Make some examples."""
        for index in indices:
            pool.put(int(index), self.make(int(index)), self.recipe, known=int(index) < len(self.chips))


def fill_pool(recipe: Recipe, folder: Path) -> tuple[Pool, int]:
    """The pool of a recipe, with what was missing made by every core; its name tells the recipe, `POOL_VERSION` and what was read.

    Returns:
        The pool, and how many of its examples are renders; they come first.
    """
    maker = Maker.of(recipe)
    r = recipe
    read = POOL_VERSION, maker.number, [picture.digest for picture in maker.pictures]
    drawn = r.renders, r.on_real, r.repainted, STRETCH
    told = drawn, r.real, r.real_crops, r.size_px, r.working_gsd_m, r.sensor_gsd_m, r.classes, read
    home = folder / f"pool-{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"
    size = maker.number, recipe.size_px, len(recipe.classes)
    pool = Pool.open(home, *size)
    left = np.flatnonzero(pool.done == 0)
    if len(left) < INLINE:
        maker.fill(pool, left)
        return pool, len(maker.chips)
    cores = os.cpu_count() or 1
    made = 0
    parts = np.array_split(left, min(PARTS * cores, len(left)))
    try:
        with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as workers:
            for number in workers.map(partial(_fill, recipe, home, size), parts):
                made += number
                log.info("%d of %d examples made", made, len(left))
    except BrokenProcessPool as error:
        remedy = "Run it again with more memory: what is made is kept, and it goes on."
        raise ModelError(f"{home}: a process that makes examples was killed", remedy) from error
    return pool, len(maker.chips)


def _fill(recipe: Recipe, home: Path, size: tuple[int, int, int], indices: NDArray[np.int64]) -> int:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    Maker.of(recipe).fill(Pool.open(home, *size), indices)
    return len(indices)
