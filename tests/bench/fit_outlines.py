# ruff: noqa: T201
# (a benchmark prints)
"""Train what corrects a head's boxes (`models.network.Outlines`): ``python tests/bench/fit_outlines.py OUT [--cls vessel]``.

The networks of a head that is trained stay as they are: the nine cells around some cells of each object of a recipe's pool are read off
their last maps once, and the correction learns on those, every object alike. Seeds are those after the recipe's own, since what
networks say of pictures that taught them is too good. Of ten pictures one is left out; prints the share of its boxes that miss an
oriented IoU of 0.5, before and after, by length. For containers the pool takes 6 minutes on two cores,
the maps 17, the steps 4; for hulls 2, 10 and 1: they are few, and more steps learn them by heart.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from descent import descend
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models import boxes as ob
from models.batches import Batches
from models.card import find
from models.codec import split
from models.network import BOX_CHANNELS, OUT_STRIDE, Outlines, YardNet
from models.recipe import Recipe
from models.runtime import read_nets
from models.train import export

RECIPES = Path(__file__).parents[2] / "configs" / "train"
SEEN = {
    "container": {"terminal": 144_000, "quay": 422_000, "storage": 154_000, "rail_yard": 5800, "standing": 54_000},
    "vessel": {"harbour": 611_400, "waterfront": 631_800, "dockyard": 601_800, "box_terminal": 621_800},
}
"""First seed, by class that is corrected and kind of scene."""
CHIPS = {"terminal": 1600, "storage": 700, "rail_yard": 500, "standing": 300}
OTHERS = 600
"""Number of chips by kind, and of those that are not named."""
CROPS, PICTURES = 500, 10
"""Of real pictures; and pictures a batch while the maps are read."""
CELLS, CLEAR, TIMES = 3, 0.2, 2
"""Cells of an object whose target is above `CLEAR`, drawn by it; and how often each picture is seen, in other tones."""
STEPS, SIZE, RATE, DECAY, RISE = {"container": 14_000, "vessel": 2500}, 2048, 2e-3, 1e-4, 0.1
WANTED, SOFT = 0.52, 0.08
"""Oriented IoU that a box should have, and how gently a box that has less is pushed over it."""
TURN, SIDES, APART = 0.4, 0.1, 0.1
"""Weights of heading and sides, and of the distance of boxes that do not meet: the IoU as if turned alike tells nothing of them."""
SHORT_M, LONG_M = 4.5, 9.0


@dataclass(frozen=True)
class Cells:
    """Some cells of some objects.

    Attributes:
        around: (N, nets * 48, 3, 3) float16, the last maps around each.
        said: (N, 6) what the heads say of the box, on average.
        wanted: (N, 6) what it is.
        picture: (N,) row of the pool.
    """

    around: NDArray[np.float16]
    said: NDArray[np.float32]
    wanted: NDArray[np.float32]
    picture: NDArray[np.int64]


def drawn(weight: Tensor, box: Tensor, rng: np.random.Generator) -> Tensor:
    """(N, 3) example, row and column of `CELLS` cells an object, of weights (B, h, w) and boxes (B, 6, h, w) of one class."""
    cells = torch.nonzero(weight > CLEAR)
    of = cells[:, 0], slice(None), cells[:, 1], cells[:, 2]
    middle = box[of][:, :2] + cells[:, [2, 1]] + 0.5
    _, owner = np.unique(np.round(torch.cat([cells[:, :1], middle * 4], 1).numpy()), axis=0, return_inverse=True)
    lot = rng.random(len(cells)) ** (1 / weight[cells[:, 0], cells[:, 1], cells[:, 2]].numpy())
    order = np.lexsort((-lot, owner.ravel()))
    first = np.r_[0, np.flatnonzero(np.diff(owner.ravel()[order])) + 1]
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    return cells[torch.from_numpy(order[rank < CELLS])]


def read(nets: list[YardNet], batches: Batches, cls: int, seed: int) -> Cells:
    """Cells of the objects of one class in every picture of a pool, `TIMES` over."""
    rng, number = np.random.default_rng(seed), len(batches.pool["done"])
    rows = np.concatenate([rng.permutation(number) for _ in range(TIMES)])
    parts: list[tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]] = []
    for start in range(0, len(rows), PICTURES):
        some = rows[start : start + PICTURES]
        plan = batches.plan(start)[: len(some)]
        plan[:, 0] = torch.from_numpy(some.astype(np.float32))
        pixels, _, box, weight, *_ = batches.make(plan)
        where = drawn(weight[:, cls], box[:, cls], rng)
        if not len(where):
            continue
        example, i, j = where.T
        with torch.inference_mode():
            maps = [net.features(pixels.contiguous(memory_format=torch.channels_last)) for net in nets]
            told = [split(net.head(seen), net.classes)[1][example, cls, :, i, j] for net, seen in zip(nets, maps, strict=True)]
            padded = functional.pad(torch.cat(maps, 1), (1, 1, 1, 1)).permute(0, 2, 3, 1)
            around = torch.stack([padded[example, i + dy, j + dx] for dy in range(3) for dx in range(3)], 2)
        around = around.reshape(len(where), -1, 3, 3).half()
        parts.append((around.numpy(), (sum(told) / len(told)).numpy(), box[example, cls, :, i, j].numpy(), some[example.numpy()]))  # type: ignore[union-attr]
        if start % (50 * PICTURES) == 0:
            print(f"maps of {start} of {len(rows)} pictures", flush=True)
    return Cells(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))  # type: ignore[arg-type]


def shortfall(told: Tensor, wanted: Tensor) -> Tensor:
    """What boxes (N, 6) of `models.codec.regressed` lack: 1 less their IoU as if turned alike, and whether it is too low."""
    apart, turn = told - wanted, torch.atan2(wanted[:, 5], wanted[:, 4]) / 2
    cos, sin = turn.cos(), turn.sin()
    offset = torch.stack([apart[:, 0] * cos + apart[:, 1] * sin, apart[:, 1] * cos - apart[:, 0] * sin], 1).abs()
    true, sides = (torch.exp(values[:, 2:4].clamp(-1, 7)) / OUT_STRIDE for values in (wanted, told))
    shared = torch.minimum(torch.minimum(true, sides), (true + sides) / 2 - offset)
    meet = shared.clamp(min=0).prod(1)
    iou = meet / (true.prod(1) + sides.prod(1) - meet)
    rest = APART * (-shared).clamp(min=0).sum(1) + TURN * apart[:, 4:].abs().sum(1) + SIDES * apart[:, 2:4].abs().sum(1)
    return (1 - iou + torch.sigmoid((WANTED - iou) / SOFT) + rest).mean()


def fit(cells: Cells, which: NDArray[np.int64], nets: int, classes: int, cls: int, steps: int, seed: int) -> Outlines:
    """The correction of one class, of some of the cells; it leaves the others of the head as they are."""
    torch.manual_seed(seed)
    rng, net = np.random.default_rng(seed), Outlines(nets, classes)
    net.body[0].padding = (0, 0)  # the cells around are all there

    def loss() -> Tensor:
        some = which[rng.integers(len(which), size=SIZE)]
        around, said, wanted = (torch.from_numpy(values[some]).float() for values in (cells.around, cells.said, cells.wanted))
        return shortfall(said + corrected(net, around, cls), wanted)

    descend(net, loss, steps, RATE, DECAY, RISE)
    return net.eval()


def corrected(net: Outlines, around: Tensor, cls: int) -> Tensor:
    """(N, 6) correction of one class of cells by what lies around them (N, maps, 3, 3)."""
    told = net(around)[:, :, 0, 0]
    return told.unflatten(1, (-1, BOX_CHANNELS))[:, cls]


def as_boxes(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 5) boxes in pixels, about the cell."""
    sides, turn = np.exp(np.clip(values[:, 2:4], -1, 7)), np.arctan2(values[:, 5], values[:, 4]) / 2
    return ob.canonical(np.column_stack([values[:, :2] * OUT_STRIDE, sides, turn]).astype(np.float64))


def report(name: str, told: NDArray[np.float32], wanted: NDArray[np.float32], gsd_m: float) -> None:
    """Mean IoU of boxes, and the share below 0.5, by true length."""
    truth = as_boxes(wanted)
    iou, length = ob.iou_pairs(as_boxes(told), truth), truth[:, 2] * gsd_m
    print(f"{name:10}", end="")
    for kind, mine in {"short": length < SHORT_M, "middle": (length >= SHORT_M) & (length < LONG_M), "long": length >= LONG_M}.items():
        if mine.any():
            print(f" {kind} {mine.sum()}: IoU {iou[mine].mean():.3f}, below 0.5 {(iou[mine] < 0.5).mean():.1%}", end="")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="a .safetensors file")
    parser.add_argument("--cls", choices=SEEN, default="container", help="the class whose boxes are corrected, of its shipped head")
    parser.add_argument("--steps", type=int, help="instead of those that the shipped correction took")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    name, steps = "hull" if options.cls == "vessel" else "yard", options.steps or STEPS[options.cls]
    (card,), folder = find(name), options.out.with_suffix("")
    nets, cls = [net.eval() for net in read_nets(card)], card.classes.index(options.cls)
    folder.mkdir(parents=True, exist_ok=True)
    stored = folder / "cells.npz"
    if not stored.is_file():
        seeds = {kind: [(first, CHIPS.get(kind, OTHERS))] for kind, first in SEEN[options.cls].items()}
        recipe = replace(Recipe.read(RECIPES / f"{name}.yaml"), renders=seeds, real_crops=CROPS)
        np.savez(stored, **vars(read(nets, Batches.of(recipe, folder, "cpu"), cls, options.seed)))
    with np.load(stored) as file:
        cells = Cells(**file)
    judged = np.flatnonzero(cells.picture % 10 == 0)
    net = fit(cells, np.flatnonzero(cells.picture % 10), len(nets), len(card.classes), cls, steps, options.seed)
    export(net, options.out)
    with torch.inference_mode():
        told = [corrected(net, torch.from_numpy(cells.around[part]).float(), cls) for part in np.array_split(judged, 50)]
    said, wanted = cells.said[judged], cells.wanted[judged]
    report("heads", said, wanted, card.gsd.working_m)
    report("corrected", said + torch.cat(told).numpy(), wanted, card.gsd.working_m)


if __name__ == "__main__":
    main()
