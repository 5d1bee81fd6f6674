"""One block of boxes with known tiers, on ground of any season, for bench_intervals: what E4 is asked to measure."""

from dataclasses import dataclass

import numpy as np

from models.render.canvas import F32, Canvas, Light, rectangle, sense
from models.render.objects import CONTAINER_WIDTH, FLEET, stack, vary
from models.render.scenes import ground

EXTENT_M, FINE_M, BOX_M, TIER_M = 108.0, 0.3, (6.058, 12.192), 2.591
GROUNDS = ((0.34, 0.33, 0.32), (0.45, 0.43, 0.39), (0.24, 0.24, 0.25), (0.80, 0.81, 0.84), (0.30, 0.36, 0.22), (0.40, 0.33, 0.25))
"""Asphalt, concrete, wet asphalt, snow, grass, earth."""


@dataclass(frozen=True, slots=True)
class PileChip:
    """A picture of a block.

    Attributes:
        pixels: (3, H, W) float32 at `FINE_M`.
        light: sun and view.
        teu: twenty-foot units in the block, every tier.
        tiers: boxes in its highest stacks.
        area_m2: ground it stands on, gaps and empty slots included.
    """

    pixels: F32
    light: Light
    teu: float
    tiers: int
    area_m2: float


def pile_chip(seed: int) -> PileChip:
    """Render a block of 1-5 tiers, 2-8 rows and 15-60 m, gaps of 0.05-0.4 m, up to 15 % of its stacks one tier short or empty."""
    rng = np.random.default_rng([seed, 81])
    c = Canvas(round(EXTENT_M / FINE_M), FINE_M, rng, Light.draw(rng))
    ground(c, vary(rng, GROUNDS[rng.integers(len(GROUNDS))], 0.15))
    theta, tiers, rows = rng.uniform(-np.pi, np.pi), int(rng.integers(1, 6)), int(rng.integers(2, 9))
    gap_u, gap_v, short = *rng.uniform(0.05, 0.4, 2), rng.uniform(0.0, 0.15)
    sizes = rng.choice(2, int(rng.integers(2, 9)), p=(0.6, 0.4)) if rng.random() < 0.5 else np.full(rng.integers(3, 9), rng.integers(2))
    sizes = sizes[np.cumsum([BOX_M[s] + gap_u for s in sizes]) < 60]
    span, depth = sum(BOX_M[s] + gap_u for s in sizes) - gap_u, rows * (CONTAINER_WIDTH + gap_v) - gap_v
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    middle = EXTENT_M / 2 - c.light.shadow * min(tiers * TIER_M / 2, 12.0)  # so that the shadow's end is in the frame
    stacks, at = [], -span / 2
    for s in sizes:
        for row in range(rows):
            high = tiers - int(rng.integers(1, 3)) * (rng.random() < short)
            centre = middle + u * (at + BOX_M[s] / 2) + v * (row * (CONTAINER_WIDTH + gap_v) + CONTAINER_WIDTH / 2 - depth / 2)
            if high > 0:
                stacks.append((high, centre, BOX_M[s], 1.0 + s))
        at += BOX_M[s] + gap_u
    palette = rng.permutation(len(FLEET))[: rng.integers(1, len(FLEET))]
    placed = [(rectangle(*centre, length, CONTAINER_WIDTH, theta), high * TIER_M) for high, centre, length, _ in stacks]
    for i in c.rising(placed):
        high, centre, length, _ = stacks[i]
        stack(c, centre, theta, length, vary(rng, FLEET[palette[rng.integers(len(palette))]], 0.14), 0.0, high, TIER_M)
    pixels = sense(c.image, rng, float(rng.uniform(1.0, 1.3))).transpose(2, 0, 1)
    return PileChip(np.ascontiguousarray(pixels), c.light, sum(h * t for h, _, _, t in stacks), tiers, span * depth)
