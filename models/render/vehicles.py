"""Lorries and cars: what stands on streets, lots and quays and is no target, but for the boxes that lorries carry."""

from typing import NamedTuple

import numpy as np

from models.render.canvas import F64, Canvas, Colour, axes, rectangle, rectangle_at
from models.render.objects import CAR_PAINT, CONTAINER_WIDTH, FLEET, container, shade, vary

LORRIES: dict[str, tuple[float, tuple[float, float]]] = {
    # name: height m, length of trailer or body m
    "box": (3.9, (5.5, 13.6)),
    "tarpaulin": (3.9, (6.0, 13.6)),
    "open": (3.1, (4.5, 13.6)),
    "tank": (3.5, (6.0, 12.5)),
    "flat": (1.4, (6.0, 13.6)),
    "chassis": (1.2, (11.8, 14.0)),
}
CARGO: tuple[Colour, ...] = (
    (0.07, 0.07, 0.08), (0.14, 0.12, 0.11), (0.32, 0.29, 0.26), (0.48, 0.45, 0.41), (0.62, 0.55, 0.42), (0.80, 0.79, 0.76),
    (0.36, 0.22, 0.16), (0.45, 0.33, 0.20),
)  # fmt: skip
"""Coal, scrap, ballast, stone, sand, salt, ore, timber."""


class Lorry(NamedTuple):
    """A key of `LORRIES`, the length of that body, whether a cab stands before it, length of the container on it (0: none), paint."""

    body: str
    length: float
    cab: bool
    box: float
    white: bool = False

    @staticmethod
    def draw(rng: np.random.Generator, *, boxed: bool) -> "Lorry":
        """Long trailers in most cases, which are as long as a railcar."""
        if boxed:
            size = float(rng.choice([6.058, 12.192]))
            return Lorry("chassis", float(rng.choice([12.4, 13.6])), bool(rng.random() < 0.8), size)
        name = str(rng.choice(list(LORRIES), p=[0.2, 0.2, 0.28, 0.1, 0.14, 0.08]))
        low, high = LORRIES[name][1]
        length = float(rng.uniform(max(low, high - 2.0), high) if rng.random() < 0.6 else rng.uniform(low, high))
        white = bool(rng.random() < {"box": 0.9, "tarpaulin": 0.6}.get(name, 0.35))
        closed = name in {"box", "tarpaulin"}  # seen without a cab, one of colour would be taken for a container by anyone
        return Lorry(name, length, bool(length < 9 or (closed and not white) or rng.random() < 0.75), 0.0, white)

    def casts(self, centre: F64, theta: float) -> list[tuple[F64, float]]:
        """Bases and heights of what casts its shadow."""
        u = axes(theta)[0]
        bodies = [(rectangle_at(centre, self.length, 2.5, theta), 1.2 if self.box else LORRIES[self.body][0])]
        if self.cab:
            bodies.append((rectangle_at(centre + u * (self.length / 2 + 1.6), 2.2, 2.4, theta), 3.0))
        if self.box:
            bodies.append((rectangle_at(centre, self.box, CONTAINER_WIDTH, theta), 3.8))
        return bodies


def lorry(c: Canvas, x: float, y: float, theta: float, boxed: bool) -> None:
    """A lorry by itself, with its shadow."""
    if -14 < x < c.extent_m + 14 and -14 < y < c.extent_m + 14:
        mid, what = np.array([x, y]), Lorry.draw(c.rng, boxed=boxed)
        c.shadows(what.casts(mid, theta))
        parked(c, mid, theta, what)


def parked(c: Canvas, mid: F64, theta: float, what: Lorry) -> None:
    """Cab, gap, and trailer or body, without shadow; with a box on it the box is a container, without it nothing is labelled."""
    rng, u, length = c.rng, axes(theta)[0], what.length
    wide = rng.uniform(2.4, 2.6)
    if what.cab:
        gap, deep = rng.uniform(0.1, 0.4) if length < 9 else rng.uniform(0.3, 1.4), rng.uniform(1.6, 2.5)
        cab = rectangle_at(mid + u * (length / 2 + gap + deep / 2), deep, 2.4, theta)
        high, front = rng.uniform(2.5, 3.5), u * deep * rng.uniform(-0.15, 0.25)
        paint = vary(rng, (0.85, 0.84, 0.82) if rng.random() < 0.55 else FLEET[rng.integers(len(FLEET))], 0.15)
        c.fill(rectangle_at(mid + u * (length / 2 + gap / 2), gap + 1.5, 1.1, theta), (0.10, 0.10, 0.10), 0.9)
        roof = c.prism(cab, high, paint, shade(paint, c.light.wall)).mean(axis=0)
        hatch = rectangle_at(roof + front, rng.uniform(0.3, 0.9), rng.uniform(0.6, 2.2), theta)
        c.fill(hatch, shade(paint, rng.uniform(0.1, 0.6)), 0.8)
    if what.box:
        c.prism(rectangle_at(mid, length, 2.5, theta), 1.2, (0.2, 0.2, 0.2), (0.15, 0.15, 0.15))
        container(c, float(mid[0]), float(mid[1]), theta, what.box, vary(rng, FLEET[rng.integers(len(FLEET))]), 1.2, 3.8)
    else:
        _trailer(c, mid, theta, what, wide)


def _trailer(c: Canvas, mid: F64, theta: float, what: Lorry, wide: float) -> None:
    """What stands behind the cab: box, bows under a tarpaulin, open top with cargo, tank, deck with goods, bare chassis."""
    rng, name, length, (u, v) = c.rng, what.body, what.length, axes(theta)
    height = LORRIES[name][0]
    base, top = rectangle_at(mid, length, wide, theta), mid + c.light.lean * height
    paint = vary(rng, (0.8, 0.8, 0.8) if what.white else CAR_PAINT[rng.integers(len(CAR_PAINT))], 0.2)
    sunward = -1 if c.light.shadow @ v > 0 else 1

    def piece(at: float, long: float, across: float, broad: float) -> F64:
        return rectangle_at(top + u * at + v * across, long, broad, theta)

    if name == "chassis":
        paint = shade(paint, rng.uniform(0.2, 1.0))
        for across in (-0.45, 0.45) if rng.random() < 0.6 else (0.0,):
            c.fill(piece(0, length, across, rng.uniform(0.2, 0.5)), paint)
        for at in np.linspace(-length / 2 + 0.2, length / 2 - 0.2, int(rng.integers(2, 6))):
            c.fill(piece(float(at), 0.3, 0, rng.uniform(0.9, wide)), shade(paint, 0.8))
        c.fill(piece(0.2 - length * 0.3, 3.6, 0, wide), (0.08, 0.08, 0.08), 0.8)
        return
    c.prism(base, height, paint, shade(paint, c.light.wall))
    if name in {"box", "tarpaulin"}:
        bows, tone = rng.uniform(1.0, 4.0) if name == "box" else rng.uniform(1.2, 2.4), rng.uniform(0.65, 1.3)
        for at in np.arange(bows / 2 - length / 2, length / 2, bows):
            c.fill(piece(float(at), 0.25, 0, wide), shade(paint, tone), 0.4)
    elif name == "open":
        loaded = rng.random() < 0.75
        inside = vary(rng, CARGO[rng.integers(len(CARGO))], 0.25) if loaded else (0.12, 0.11, 0.10)
        floor = length - rng.uniform(0.2, 0.6), wide - rng.uniform(0.2, 0.5)
        c.fill(piece(0, floor[0], 0, floor[1]), inside, 0.95, grain=rng.uniform(0.05, 0.3))
        for _ in range(int(rng.integers(0, 3)) if loaded else 0):  # heaps and hollows
            long = floor[0] * rng.uniform(0.15, 0.5)
            at = rng.uniform(-0.5, 0.5) * (floor[0] - long)
            c.fill(piece(at, long, 0, floor[1] * rng.uniform(0.4, 0.9)), shade(inside, rng.uniform(0.5, 1.6)), 0.5, grain=0.1)
        c.darken(piece(0, floor[0], sunward * floor[1] * 0.36, floor[1] * 0.28), rng.uniform(0.4, 0.9) if loaded else 0.6)
    elif name == "tank":
        for across, tone in ((-0.38, 0.5), (-0.18, 0.85), (0.02, 1.25), (0.38, 0.6)):
            c.fill(piece(0, length, -sunward * across * wide, wide * 0.22), shade(paint, tone), 0.85)
        for at in np.linspace(-length / 3, length / 3, int(rng.integers(1, 5))):
            c.fill(piece(float(at), 0.8, 0, 0.8), shade(paint, 0.5), 0.8)
    else:
        at, end = -length / 2 + rng.uniform(0, 1), length / 2
        while rng.random() < 0.85 and at < end - 1:
            long = min(float(rng.uniform(0.9, 7.0)), end - at)
            goods, broad = vary(rng, CARGO[rng.integers(len(CARGO))], 0.3), wide * rng.uniform(0.4, 0.95)
            load = piece(at + long / 2, long, 0, broad)
            c.darken(load + c.light.shadow * 0.6, 0.5)
            c.fill(load, goods, grain=0.1)
            for across in (-0.25, 0.25) if rng.random() < 0.5 else ():  # of timber, pipes, bars
                c.fill(piece(at + long / 2, long, across * broad, 0.2), shade(goods, 0.5), 0.7)
            at += long + rng.uniform(0.1, 3.0)


def car(c: Canvas, x: float, y: float, theta: float) -> None:
    """A passenger car: bonnet, glass, roof, glass."""
    if not (-4 < x < c.extent_m + 4 and -4 < y < c.extent_m + 4):
        return
    long = c.rng.uniform(3.8, 5.0)
    base = rectangle(x, y, long, 1.8, theta)
    c.shadow(base, 1.5)
    tone = c.rng.uniform(0.06, 0.95)
    hue = ((0.45, 0.12, 0.1), (0.12, 0.18, 0.4), (0.3, 0.28, 0.22))[c.rng.integers(3)]
    paint = vary(c.rng, hue if c.rng.random() < 0.25 else (tone, tone, tone), 0.06)
    c.prism(base, 0.9, paint, shade(paint, 0.6))
    cabin = rectangle(x - 0.25 * np.cos(theta), y - 0.25 * np.sin(theta), 0.62 * long, 1.55, theta) + c.light.lean * 1.2
    c.fill(cabin, shade(paint, 0.35), 0.8)
    c.fill(rectangle_at(cabin.mean(axis=0), 0.3 * long, 1.5, theta), paint)
