"""Train a head: pooled renders and real pictures, bf16 where the machine has it, EMA, checkpoints, resumption. A plain loop."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from models.card import find
from models.codec import encode
from models.datasets.pool import read_chip, render_pool
from models.datasets.real import Picture, Shelf, read_picture, sample
from models.detector import CLASSES, SUBTYPES
from models.network import YardNet
from models.render import Chip
from models.runtime import has_bf16, read_net
from pipeline.errors import ModelError

log = logging.getLogger(__name__)

BOX_WEIGHTS = (0.3, 0.3, 1.5, 1.5, 0.7, 0.7)
"""Of offset (cells), log size and double angle: one cell of offset, 20 % of size and 20 deg cost about the same."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training recipe, as in ``configs/train/*.yaml``.

    Attributes:
        name: name and version of the head.
        classes: class names it learns.
        working_gsd_m: GSD of the chips.
        native_gsd_m: finest and coarsest native GSD that the head will accept.
        size_px: side of a chip.
        sensor_gsd_m: range of the simulated sensor.
        renders: per kind, ranges of seeds as first seed and number of chips.
        real: per picture, keys of `read_picture`, or per folder, keys of `Shelf.read`; and a ``weight``; paths relative to `imagery`.
        real_share: share of each batch drawn from real pictures.
        imagery: folder of public imagery, relative to the recipe.
        steps, batch, lr, seed, workers: the loop, and the processes that feed it.
        thresholds: shipped threshold per class.
        credits: lines for the model card.
        fails: what was seen to go wrong, by the eye, one line an image; for the model card.
        folder: where the recipe lies.
    """

    name: str
    classes: tuple[str, ...]
    working_gsd_m: float
    native_gsd_m: tuple[float, float]
    size_px: int
    sensor_gsd_m: tuple[float, float]
    renders: dict[str, list[tuple[int, int]]]
    real: tuple[dict[str, Any], ...]
    real_share: float
    imagery: Path
    steps: int
    batch: int
    lr: float
    seed: int
    workers: int
    thresholds: dict[str, float]
    credits: tuple[str, ...]
    fails: tuple[str, ...]
    folder: Path

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read a recipe; unknown or missing keys are a TypeError that names them."""
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key in ("classes", "native_gsd_m", "sensor_gsd_m", "real", "credits", "fails"):
            data[key] = tuple(data[key])
        return cls(**data | {"imagery": path.parent / data["imagery"], "folder": path.parent})

    @property
    def class_index(self) -> list[int]:
        """Indices of the head's classes in `models.CLASSES`."""
        return [CLASSES.index(name) for name in self.classes]

    @property
    def subtypes(self) -> int:
        """Subtype logits: only a head that knows railcars has them."""
        return len(SUBTYPES) if "railcar" in self.classes else 0


class Chips(IterableDataset[tuple[Tensor, ...]]):
    """An endless stream of augmented chips with targets."""

    def __init__(self, recipe: Recipe, pool: Path, first_step: int) -> None:
        super().__init__()
        self.recipe, self.pool, self.first_step = recipe, pool, first_step

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        rng = np.random.default_rng((self.recipe.seed, self.first_step, worker.id if worker else 0))
        paths = sorted(p for p in self.pool.glob("*.npz") if ".part" not in p.name)
        chips = [_in_bytes(read_chip(p)) for p in paths]
        pictures, weights = self._pictures()
        while True:
            if pictures and rng.random() < self.recipe.real_share:
                source = pictures[rng.choice(len(pictures), p=weights)]
                picture = source.near(rng, self.recipe.size_px * self.recipe.working_gsd_m / source.gsd_m)
                chip = sample(picture, rng, self.recipe.working_gsd_m, self.recipe.size_px, self.recipe.sensor_gsd_m)
                known = False
            else:
                chip, known = chips[rng.integers(len(chips))], True
            yield self._example(chip, rng, known)

    def _pictures(self) -> tuple[list[Picture | Shelf], np.ndarray]:
        found: list[Picture | Shelf] = []
        weights = []
        for entry in self.recipe.real:
            keys = {k: v for k, v in entry.items() if k != "weight"}
            paths: dict[str, Path] = {k: self.recipe.imagery / keys[k] for k in ("path", "folder") if k in keys}
            if keys.get("labels"):  # labels of ours lie in the project, beside the recipe's tree; those of others beside the image
                own = self.recipe.folder / keys["labels"]
                paths["labels"] = own if own.exists() else self.recipe.imagery / keys["labels"]
            absent = [p for p in paths.values() if not p.exists()]
            if absent:
                log.warning("%s is absent; training goes on without it", absent[0])
                continue
            found.append(Shelf.read(**keys | paths) if "folder" in keys else read_picture(**{"labels": None} | keys | paths))
            weights.append(entry["weight"])
        return found, np.array(weights) / max(sum(weights), 1e-9)

    def _example(self, chip: Chip, rng: np.random.Generator, known: bool) -> tuple[Tensor, ...]:
        pixels, valid, boxes = _flip(chip, rng)
        pixels = _tone(pixels, rng)
        index = self.recipe.class_index
        mine = np.isin(chip.classes, index)
        classes = np.array([index.index(c) for c in chip.classes[mine]], np.uint8)
        subtypes = np.where(known | (chip.subtypes[mine] > 0), chip.subtypes[mine].astype(np.int64), -1)
        t = encode(boxes[mine], classes, subtypes, chip.visible[mine], valid, len(index))
        arrays = (pixels * valid, t.heat, t.box, t.weight, t.subtype, t.care)
        return tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)


def _in_bytes(chip: Chip) -> Chip:
    """The chip with 8-bit pixels: floats come on demand, so that a pool of thousands fits in memory."""
    return replace(chip, pixels=np.round(chip.pixels * 255).astype(np.uint8))


def _flip(chip: Chip, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One of the eight symmetries of the square, applied to pixels, mask and boxes."""
    valid, b = chip.valid, chip.boxes.copy()
    stored: np.ndarray = chip.pixels
    pixels = stored.astype(np.float32) / np.float32(255) if stored.dtype == np.uint8 else stored
    size = pixels.shape[-1]
    if rng.random() < 0.5:
        pixels, valid = pixels[..., ::-1], valid[:, ::-1]
        b[:, 0], b[:, 4] = size - b[:, 0], -b[:, 4]
    for _ in range(int(rng.integers(4))):
        pixels, valid = np.rot90(pixels, axes=(1, 2)), np.rot90(valid)
        b[:, 0], b[:, 1], b[:, 4] = b[:, 1].copy(), size - b[:, 0], b[:, 4] - np.pi / 2
    return pixels, valid, b


def _tone(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness from dark to bright products, gamma, colour cast, haze, panchromatic."""
    out = np.clip(pixels, 0, 1) ** rng.uniform(0.75, 1.35) * rng.uniform(0.5, 1.5)
    out = out * (1 + rng.normal(0, 0.06, (3, 1, 1))) + rng.uniform(0, 0.1) * (rng.random() < 0.4)
    if rng.random() < 0.1:
        out = np.repeat(out.mean(axis=0, keepdims=True), 3, axis=0)
    return np.asarray(np.clip(out, 0, 1), np.float32)


def loss_of(out: Tensor, heat: Tensor, box: Tensor, weight: Tensor, subtype: Tensor, care: Tensor) -> Tensor:
    """Quality focal loss on heat (soft targets, beta 2), weighted L1 on boxes, cross-entropy on subtypes.

    Soft targets learn several times faster here than the one-cell positives of CornerNet: the centre of a uniform body 60 px
    long is not defined to a cell.
    """
    out = out.float()
    c = heat.shape[1]
    logit, p = out[:, :c], torch.sigmoid(out[:, :c])
    soft = heat * care[:, None]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logit, heat, reduction="none")
    total = ((heat - p).abs() ** 2 * entropy * care[:, None]).sum() / soft.sum().clamp(min=1) * 8.0
    scale = torch.tensor(BOX_WEIGHTS, device=out.device)[None, :, None, None]
    error = (out[:, c : c + 6] - box).abs() * scale
    total = total + (error.sum(dim=1) * weight).sum() / weight.sum().clamp(min=1)
    if out.shape[1] > c + 6:
        logits = out[:, c + 6 :]
        known = subtype >= 0
        if bool(known.any()):
            wrong = torch.nn.functional.cross_entropy(logits, subtype.clamp(min=0), reduction="none")
            total = total + 0.2 * (wrong * known).sum() / known.sum()
    return total


def train(recipe: Recipe, out: Path, steps: int | None = None, start: str | Path | None = None) -> Path:
    """Train and write ``last.pt`` (resumable) and ``weights.safetensors`` (EMA, half precision) into `out`.

    Args:
        recipe: what to learn, and from what.
        out: folder of the run; a run that was cut there goes on.
        steps: instead of the recipe's.
        start: a shipped head or a weights file to start from, instead of from chance: fine-tuning.

    Raises:
        ModelError: `start` is no head of the recipe's classes.

    Returns:
        The weights file.
    """
    torch.manual_seed(recipe.seed)
    steps = steps or recipe.steps
    out.mkdir(parents=True, exist_ok=True)
    pool = out / "pool"
    for kind, ranges in recipe.renders.items():
        for first, number in ranges:
            seeds = range(first, first + number)
            render_pool(pool, kind, seeds, recipe.working_gsd_m, recipe.size_px, recipe.sensor_gsd_m)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = (_started(recipe, start) if start else YardNet(len(recipe.classes), recipe.subtypes)).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
    ema = YardNet(len(recipe.classes), recipe.subtypes).to(device)
    ema.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), recipe.lr, weight_decay=1e-4)
    first, seconds = _resume(out / "last.pt", net, ema, optimiser)
    stream = iter(DataLoader(Chips(recipe, pool, first), recipe.batch, num_workers=recipe.workers, prefetch_factor=4))
    started, running = time.monotonic(), 0.0
    with _without_denormals():
        for step in range(first, steps):
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
            x, *targets = (part.to(device, non_blocking=True) for part in next(stream))
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda" or has_bf16()):
                maps = net(x.to(memory_format=torch.channels_last))
            loss = loss_of(maps, *targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimiser.step()
            _average(ema, net, min(0.998, (step + 1) / (step + 20)))
            running += 0.02 * (float(loss.detach()) - running) if step > first else float(loss.detach())
            if (step + 1) % 100 == 0 or step + 1 == steps:
                spent = seconds + time.monotonic() - started
                log.info("step %d of %d, loss %.3f, %.0f s", step + 1, steps, running, spent)
                _checkpoint(out / "last.pt", net, ema, optimiser, step + 1, spent)
                export(ema, out / "weights.safetensors")
    return out / "weights.safetensors"


def _started(recipe: Recipe, start: str | Path) -> YardNet:
    card, *others = find(start)
    if others or card.classes != recipe.classes or card.subtypes != recipe.subtypes:
        raise ModelError(f"{start}: is no head for {', '.join(recipe.classes)}", "Start from one that is, or from chance.")
    return read_net(card)


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Denormals slow small nets badly on CPUs; whatever else the process does keeps them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@torch.no_grad()
def _average(ema: YardNet, net: YardNet, keep: float) -> None:
    for mine, theirs in zip(ema.state_dict().values(), net.state_dict().values(), strict=True):
        if mine.dtype.is_floating_point:
            mine.lerp_(theirs, 1 - keep)
        else:
            mine.copy_(theirs)


def _checkpoint(path: Path, net: YardNet, ema: YardNet, optimiser: torch.optim.Optimizer, step: int, seconds: float) -> None:
    state = {
        "net": net.state_dict(),
        "ema": ema.state_dict(),
        "opt": optimiser.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(path)


def _resume(path: Path, net: YardNet, ema: YardNet, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location="cpu")
    net.load_state_dict(state["net"])
    ema.load_state_dict(state["ema"])
    optimiser.load_state_dict(state["opt"])
    log.info("resuming at step %d", state["step"])
    return int(state["step"]), float(state["seconds"])


def export(net: YardNet, path: Path) -> None:
    """Weights as half precision safetensors, under a temporary name first."""
    from safetensors.torch import save_file

    tensors = {k: v.half() if v.dtype.is_floating_point else v for k, v in net.state_dict().items()}
    temporary = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary)
    temporary.replace(path)
