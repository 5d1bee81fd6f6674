"""Batches for training: drawn from a pool, turned and mirrored, toned as products are; planned on the CPU, made where the pool is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.codec import box_channels
from models.datasets.pool import CARE, VALID, fill_pool
from models.network import OUT_STRIDE
from models.recipe import Recipe

PLAN = 12
"""Numbers that tell an example of a batch (`Batches.plan`)."""
GAMMA = (0.75, 2.2)
"""Tone curves of products, against one that is stretched for a screen: from brightened shade to linear in radiance."""
GAIN, CAST, HAZE, PANCHROMATIC = (0.45, 2.4), 0.06, 0.1, 0.1
"""Brightness of products; spread of their bands; most haze, in two of five; share without colour."""
DARKEST = 0.04
"""Mean of the darkest pictures: below it eight bits hold nothing."""
STRETCHED, PERCENTILES = 0.3, (0.01, 0.985)
"""Share of the pictures that are stretched until what lies outside these is black or white, as products for a screen often are."""


@dataclass(slots=True)
class Batches:
    """Augmented batches of a pool, planned by step: a run that was cut goes on with those it would have seen.

    Attributes:
        pool: fields of `models.datasets.pool.Pool` as tensors, on the GPU where there is one.
        renders, crops: how many examples are drawn from: the first ones of the pool, and the last ones.
    """

    recipe: Recipe
    pool: dict[str, Tensor]
    renders: int
    crops: int

    @classmethod
    def of(cls, recipe: Recipe, folder: Path, device: str) -> "Batches":
        """Fill the pool and hold it."""
        pool, renders = fill_pool(recipe, folder)
        tensors = {name: torch.from_numpy(array).to(device) for name, array in pool.arrays.items()}
        return cls(recipe, tensors, renders, len(pool.done) - renders)

    def plan(self, step: int) -> Tensor:
        """All that is random about a batch (B, PLAN): row of the pool, three flags of `_turn`, then what `_tone` reads."""
        rng, n = np.random.default_rng((self.recipe.seed, step)), self.recipe.batch
        plan = np.column_stack(
            [self.rows(rng), rng.random((n, 3)) < 0.5, _between(rng, *GAMMA, n), _between(rng, *GAIN, n),
             1 + rng.normal(0, CAST, (n, 3)), rng.uniform(0, HAZE, n) * (rng.random(n) < 0.4),
             rng.random(n) < PANCHROMATIC, rng.random(n) < STRETCHED]
        )  # fmt: skip
        return torch.from_numpy(plan.astype(np.float32))

    def rows(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows of the pool: of each example whether it is real, then which."""
        n, last = self.recipe.batch, len(self.pool["done"]) - 1
        share = (self.recipe.real_share if self.renders else 1.0) if self.crops else 0.0
        real, which = rng.random(n) < share, rng.random(n)
        return np.where(real, last - np.floor(which * self.crops), np.floor(which * self.renders)).astype(np.int64)

    def make(self, plan: Tensor) -> tuple[Tensor, ...]:
        """Pixels (B, 3, S, S) and the arguments of `models.train.loss_of` of a plan, where the pool is, without a look at the CPU."""
        drawn = {name: t[plan[:, 0].long()] for name, t in self.pool.items() if name != "done"}
        turned = _turn(drawn, plan[:, 1:4].T > 0)
        heat, care, owner = turned["heat"].float() / 255, (turned["care"] & CARE > 0).float(), turned["owner"].long()
        valid = (turned["care"] & VALID > 0).repeat_interleave(OUT_STRIDE, 1).repeat_interleave(OUT_STRIDE, 2)
        pixels = _tone(turned["pixels"], plan[:, 4:]) * valid[:, None]
        weight = heat * (owner >= 0) * care[:, None]
        cars = owner[:, self.recipe.classes.index("railcar") if self.recipe.subtypes else 0]
        kinds = turned["subtypes"].long().gather(1, cars.clamp(min=0).flatten(1)).reshape(cars.shape)
        subtype = torch.where(cars >= 0, kinds, -1)
        return pixels, heat, box_channels(owner, turned["values"]), weight, subtype, care


def _between(rng: np.random.Generator, low: float, high: float, number: int) -> NDArray[np.float64]:
    """Log-uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), number))


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


def _tone(pixels: Tensor, how: Tensor) -> Tensor:
    """Tone curve, brightness from dark to bright products, colour cast, haze, panchromatic, stretched; `how` (B, 8), in this order.

    The sensor of the renders has dimmed most of them already (`models.render.canvas.sense`). Products are stretched for a screen or
    linear in radiance: paints of the renders, which are those of a screen, then stand at their 2.2nd power.
    """
    gamma, gain, red, green, blue, haze, panchromatic, stretched = how[:, :, None, None, None].unbind(1)
    out = (pixels.float() / 255) ** gamma
    out = out * torch.maximum(gain, DARKEST / out.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3))
    out = out * torch.cat([red, green, blue], dim=1) + haze
    out = torch.where(panchromatic > 0, out.mean(dim=1, keepdim=True), out)
    ordered = out[:, :, ::8, ::8].flatten(1).sort(dim=1).values
    low, high = (ordered[:, int(p * ordered.shape[1]), None, None, None] for p in PERCENTILES)
    out = torch.where(stretched > 0, (out - low) / (high - low).clamp(min=0.02), out)
    return out.clamp(0, 1)
