"""Train a head: pooled renders and real pictures, bf16 where the machine has it, EMA, checkpoints, resumption. A plain loop."""

import copy
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
from numpy.typing import NDArray
from torch import Tensor, nn

from models.card import find
from models.codec import box_channels
from models.datasets.pool import CARE, VALID, fill_pool
from models.network import OUT_STRIDE, YardNet
from models.pretrained import start_from_photographs
from models.recipe import Recipe
from models.runtime import has_bf16, read_nets
from pipeline.errors import ModelError

log = logging.getLogger(__name__)

BOX_WEIGHTS = (0.3, 0.3, 1.5, 1.5, 0.7, 0.7)
"""Of offset (cells), log size and double angle: one cell of offset, 20 % of size and 20 deg cost about the same."""

GAMMA = (0.75, 2.2)
"""Tone curves of products, against one that is stretched for a screen: from brightened shade to linear in radiance."""
DARKEST = 0.04
"""Mean of the darkest pictures: below it eight bits hold nothing."""
STRETCHED, PERCENTILES = 0.3, (0.01, 0.985)
"""Share of the pictures that are stretched until what lies outside these is black or white, as products for a screen often are."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Augmented batches of a pool, drawn by step: a run that was cut goes on with those it would have seen.

    Attributes:
        pool: fields of `models.datasets.pool.Pool` as tensors, on the GPU where there is one.
        renders: examples below this index are renders, the others real.
    """

    recipe: Recipe
    pool: dict[str, Tensor]
    renders: int
    device: str

    @classmethod
    def of(cls, recipe: Recipe, folder: Path, device: str) -> "Batches":
        """Fill the pool and hold it."""
        pool, renders = fill_pool(recipe, folder)
        tensors = {name: torch.from_numpy(array) for name, array in pool.arrays.items()}
        return cls(recipe, {name: t.to(device) for name, t in tensors.items()}, renders, device)

    def draw(self, step: int) -> tuple[Tensor, ...]:
        """Pixels (B, 3, S, S) and the arguments of `loss_of`."""
        rng, size = np.random.default_rng((self.recipe.seed, step)), self.recipe.batch
        number = len(self.pool["done"])
        share = self.recipe.real_share if self.renders < number else 0.0
        real = rng.random(size) < (share if self.renders else 1.0)
        index = np.where(real, self.renders + rng.random(size) * (number - self.renders), rng.random(size) * self.renders)
        rows = torch.from_numpy(index.astype(np.int64)).to(self.device)
        drawn = {name: t[rows] for name, t in self.pool.items()}
        turned = _turn(drawn, torch.from_numpy(rng.random((3, size)) < 0.5).to(self.device))
        heat, care, owner = turned["heat"].float() / 255, (turned["care"] & CARE > 0).float(), turned["owner"].long()
        valid = (turned["care"] & VALID > 0).repeat_interleave(OUT_STRIDE, 1).repeat_interleave(OUT_STRIDE, 2)
        pixels = _tone(turned["pixels"], rng) * valid[:, None]
        weight = heat.amax(dim=1) * (owner >= 0) * care
        kinds = turned["subtypes"].long().gather(1, owner.clamp(min=0).flatten(1)).reshape(owner.shape)
        subtype = torch.where(owner >= 0, kinds, -1)
        return pixels, heat, box_channels(owner, turned["values"]), weight, subtype, care


def _turn(drawn: dict[str, Tensor], how: Tensor) -> dict[str, Tensor]:
    """One of the eight symmetries of the square for each example; `how` (3, B): transposed, mirrored left to right, top to bottom."""
    side = float(drawn["owner"].shape[-1])
    out = dict(drawn)
    for name in ("pixels", "heat", "owner", "care"):
        for flags, (one, two) in zip(how, ((-1, -2), (-1, None), (-2, None)), strict=True):
            t = out[name]
            turned = t.flip(one) if two is None else t.transpose(one, two)
            out[name] = torch.where(flags.reshape(-1, *[1] * (t.ndim - 1)), turned, t)
    cx, cy, w, h, cos, sin = drawn["values"].unbind(-1)
    swap, left, up = how[:, :, None]
    cx, cy, cos = torch.where(swap, cy, cx), torch.where(swap, cx, cy), torch.where(swap, -cos, cos)
    cx, sin = torch.where(left, side - cx, cx), torch.where(left, -sin, sin)
    cy, sin = torch.where(up, side - cy, cy), torch.where(up, -sin, sin)
    out["values"] = torch.stack([cx, cy, w, h, cos, sin], dim=-1)
    return out


def _tone(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Tone curve, brightness from dark to bright products, colour cast, haze, panchromatic.

    The sensor of the renders has dimmed most of them already (`models.render.canvas.sense`). Products are stretched for a screen or
    linear in radiance: paints of the renders, which are those of a screen, then stand at their 2.2nd power.
    """
    size = len(pixels)

    def drawn(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(pixels.device).reshape(size, -1, 1, 1)

    def between(low: float, high: float) -> NDArray[Any]:
        return np.exp(rng.uniform(np.log(low), np.log(high), size))

    out = (pixels.float() / 255) ** drawn(between(*GAMMA))
    gain = drawn(between(0.45, 2.4))
    out = out * torch.maximum(gain, DARKEST / out.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3))
    out = out * drawn(1 + rng.normal(0, 0.06, (size, 3))) + drawn(rng.uniform(0, 0.1, size) * (rng.random(size) < 0.4))
    out = torch.where(drawn(rng.random(size) < 0.1) > 0, out.mean(dim=1, keepdim=True), out)
    percentiles = torch.tensor(PERCENTILES, device=out.device)
    low, high = torch.quantile(out[:, :, ::8, ::8].flatten(1), percentiles, dim=1).reshape(2, size, 1, 1, 1)
    out = torch.where(drawn(rng.random(size) < STRETCHED) > 0, (out - low) / (high - low).clamp(min=0.02), out)
    return out.clamp(0, 1)


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
    # a batch without objects counts one for each example: its loss must not grow with its size
    total = ((heat - p).abs() ** 2 * entropy * care[:, None]).sum() / soft.sum().clamp(min=len(heat)) * 8.0
    scale = torch.tensor(BOX_WEIGHTS, device=out.device)[None, :, None, None]
    error = (out[:, c : c + 6] - box).abs() * scale
    total = total + (error.sum(dim=1) * weight).sum() / weight.sum().clamp(min=1)
    if out.shape[1] > c + 6:
        logits = out[:, c + 6 :]
        known = subtype >= 0
        wrong = torch.nn.functional.cross_entropy(logits, subtype.clamp(min=0), reduction="none")
        total = total + 0.2 * (wrong * known).sum() / known.sum().clamp(min=1)
    return total


def train(recipe: Recipe, out: Path, steps: int | None = None, start: str | Path | None = None, member: int = 0) -> Path:
    """Train a network and write ``last.pt`` (resumable) and ``weights.safetensors`` (EMA, half precision) into ``out/net-MEMBER``.

    Args:
        recipe: what to learn, and from what.
        out: folder of the run, with the pool of all its networks; a run that was cut there goes on.
        steps: instead of the recipe's.
        start: a shipped head or a weights file to start from, instead of from chance: fine-tuning.
        member: which of the recipe's networks; each draws batches of its own.

    Raises:
        ModelError: `start` is no head of the recipe's classes.

    Returns:
        The weights file.
    """
    recipe, home = replace(recipe, seed=recipe.seed + member), out / f"net-{member}"
    torch.manual_seed(recipe.seed)
    steps = steps or recipe.steps
    home.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batches = Batches.of(recipe, out, device)
    net = recipe.network(member)
    if start:
        _take_over(net, recipe, start, member)
    else:
        start_from_photographs(net)
    net.to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
    ema = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(_groups(net, recipe.trunk_rate), recipe.lr, weight_decay=1e-4, fused=device == "cuda")
    first, seconds = _resume(home / "last.pt", net, ema, optimiser)
    started, running = time.monotonic(), torch.zeros((), device=device)
    with _without_denormals():
        for step in range(first, steps):
            for group in optimiser.param_groups:
                group["lr"] = group["share"] * recipe.lr * _wound(step, steps)
            x, *targets = batches.draw(step)
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda" or has_bf16()):
                maps = net(x.to(memory_format=torch.channels_last))
            loss = loss_of(maps, *targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimiser.step()
            _average(ema, net, min(0.998, (step + 1) / (step + 20)))
            running = running.lerp(loss.detach(), 0.02 if step > first else 1.0)
            if (step + 1) % 100 == 0 or step + 1 == steps:
                spent = seconds + time.monotonic() - started
                log.info("step %d of %d, loss %.3f, %.0f s", step + 1, steps, float(running), spent)
                _checkpoint(home / "last.pt", net, ema, optimiser, step + 1, spent)
                export(ema, home / "weights.safetensors")
    return home / "weights.safetensors"


def _wound(step: int, steps: int) -> float:
    """Share of the rate: up over 200 steps, then down along a cosine to a fiftieth."""
    return min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _groups(net: YardNet, trunk_rate: float) -> list[dict[str, Any]]:
    """Parameters and their share of the rate.

    A trunk whose share is 0 is left alone, with the statistics of its norms; its stages at strides 2 and 4 always are: edges and
    colours are the same everywhere, and most of the time would go to them.
    """
    left = net.trunk() if trunk_rate == 0 else nn.ModuleList([net.stem2, net.stem4] if net.kind == "lite" else [])
    left.requires_grad_(requires_grad=False).eval()
    trunk = [p for p in net.trunk().parameters() if p.requires_grad]
    own = {id(p) for p in trunk}
    rest = [p for p in net.parameters() if p.requires_grad and id(p) not in own]
    return [{"params": rest, "share": 1.0}, *([{"params": trunk, "share": trunk_rate}] if trunk else [])]


def _take_over(net: YardNet, recipe: Recipe, start: str | Path, member: int) -> None:
    """Give a network the weights of the one like it in a head: of several, of the one in its place."""
    card, *others = find(start)
    fits = not others and card.classes == recipe.classes and card.subtypes == recipe.subtypes
    alike = [other for other in read_nets(card) if (other.kind, other.width) == (net.kind, net.width)] if fits else []
    if not alike:
        raise ModelError(
            f"{start}: is no head for {', '.join(recipe.classes)} with a network {recipe.nets[member]}",
            "Start from one that is, or from chance.",
        )
    net.load_state_dict(alike[min(member, len(alike) - 1)].state_dict())


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
    pairs = zip(ema.state_dict().values(), net.state_dict().values(), strict=True)
    mine, theirs = zip(*((m, t) for m, t in pairs if m.dtype.is_floating_point), strict=True)
    torch._foreach_lerp_(mine, theirs, 1 - keep)  # as `torch.optim.swa_utils` does: one kernel, not a hundred


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
