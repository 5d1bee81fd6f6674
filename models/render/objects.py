"""Bodies: railcars, containers, lorries, hulls, with the dimensions of METHOD 4."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from models.render.canvas import F64, Canvas, Colour, axes, rectangle, rectangle_at

CONTAINER, RAILCAR, VESSEL = 0, 1, 2

CONTAINER_SIZES = ((2.991, 2.591), (6.058, 2.591), (12.192, 2.591), (12.192, 2.896), (13.716, 2.896))
"""Length and height of 10 ft, 20 ft, 40 ft, 40 ft high cube and 45 ft boxes (METHOD 4.1; 10 ft: ISO 668); every box is 2.438 m wide."""
CONTAINER_WIDTH = 2.438

CARS: dict[str, tuple[int, tuple[float, float], float, float]] = {
    # name: index in models.SUBTYPES, length over body m (METHOD 4.2, less 0.8-1.9 m of couplings), width m, height m
    "boxcar": (1, (12.5, 22.0), 2.9, 4.2),
    "gondola": (2, (9.5, 15.0), 3.0, 3.2),
    "flat": (3, (12.5, 20.0), 2.8, 1.3),
    "container_flat": (4, (12.5, 19.5), 2.7, 1.2),
    "tank": (5, (9.8, 16.5), 2.9, 4.2),
    "hopper": (6, (10.5, 15.5), 3.0, 4.2),
    "locomotive": (7, (15.5, 19.5), 2.9, 4.2),
    "passenger": (8, (23.5, 26.0), 2.8, 4.1),
}

FLEET: tuple[Colour, ...] = (
    (0.44, 0.20, 0.17), (0.50, 0.28, 0.20), (0.18, 0.26, 0.38), (0.22, 0.36, 0.48), (0.18, 0.33, 0.29),
    (0.66, 0.66, 0.64), (0.78, 0.78, 0.76), (0.45, 0.47, 0.48), (0.56, 0.40, 0.22), (0.34, 0.23, 0.23), (0.34, 0.42, 0.46),
)  # fmt: skip
"""Paints of box fleets: oxide reds, blues, green, reefer white, greys, orange, maroon, pale blue."""
PALE = (5, 6)
"""Of them, those of refrigerated boxes."""
CAR_PAINT: tuple[Colour, ...] = (
    (0.38, 0.25, 0.18), (0.30, 0.22, 0.18), (0.26, 0.30, 0.42), (0.42, 0.44, 0.46), (0.72, 0.72, 0.70), (0.50, 0.22, 0.17),
    (0.22, 0.23, 0.24), (0.48, 0.41, 0.32), (0.30, 0.40, 0.42), (0.56, 0.45, 0.36), (0.33, 0.32, 0.31),
)  # fmt: skip


def vary(rng: np.random.Generator, colour: Colour, spread: float = 0.12) -> Colour:
    """A weathered version of a paint."""
    bright = 1 + rng.normal(0, spread)
    r, g, b = (max(0.02, c * bright * (1 + rng.normal(0, spread / 3))) for c in colour)
    return r, g, b


def shade(colour: Colour, factor: float) -> Colour:
    """Darker or brighter."""
    r, g, b = (c * factor for c in colour)
    return r, g, b


def container(c: Canvas, x: float, y: float, theta: float, length: float, colour: Colour, low: float, top: float) -> None:
    """One visible top at height `top`, walls down to `low`; labelled."""
    base = rectangle(x, y, length, CONTAINER_WIDTH, theta)
    roof = c.prism(base, top - low, colour, shade(colour, c.light.wall), low)
    if c.rng.random() < 0.5:  # corrugation and end frames
        for side in (-1, 1):
            end = rectangle(x + side * np.cos(theta) * (length / 2 - 0.15), y + side * np.sin(theta) * (length / 2 - 0.15),
                            0.3, CONTAINER_WIDTH, theta) + c.light.lean * top  # fmt: skip
            c.fill(end, shade(colour, 0.75), 0.7)
    for _ in range(int(c.rng.integers(0, 4))):  # rust, dirt, water that stands, letters
        wide, long = c.rng.uniform(0.3, CONTAINER_WIDTH), c.rng.uniform(0.5, 0.6 * length)
        at, off = c.rng.uniform(-0.5, 0.5, 2) * (length - long, CONTAINER_WIDTH - wide)
        place = x + np.cos(theta) * at - np.sin(theta) * off, y + np.sin(theta) * at + np.cos(theta) * off
        c.fill(
            rectangle(*place, long, wide, theta) + c.light.lean * top, shade(colour, c.rng.uniform(0.5, 1.5)), c.rng.uniform(0.1, 0.5)
        )
    c.label(roof, CONTAINER)


def stack(c: Canvas, centre: F64, theta: float, length: float, colour: Colour, low: float, tiers: int, height: float) -> None:
    """Boxes of `height` metres on one another: the sides of the lower ones show where the view leans, each in a paint of its own."""
    base = rectangle_at(centre, length, CONTAINER_WIDTH, theta)
    for tier in range(tiers - 1):
        paint = vary(c.rng, FLEET[c.rng.integers(len(FLEET))], 0.14)
        c.prism(base, height, shade(paint, 0.3), shade(paint, c.light.wall), low + tier * height)
    container(c, float(centre[0]), float(centre[1]), theta, length, colour, low + (tiers - 1) * height, low + tiers * height)


def railcar(c: Canvas, x: float, y: float, theta: float, kind: str, length: float, paint: Colour, loaded: bool) -> None:
    """One body on a track; a wagon that carries boxes is one railcar and its boxes are containers."""
    index, _, width, height = CARS[kind]
    base = rectangle(x, y, length, width, theta)
    low = kind in {"flat", "container_flat"}
    if c.rng.random() < (0.45 if low else 0.25):
        paint = _like_ground(c, x, y, paint)
    skeleton = low and c.rng.random() < 0.4  # two sills and cross-bearers, the ballast between them
    c.shadow(base, height * (0.6 if skeleton else 1.0))
    roof = base + c.light.lean * height if skeleton else c.prism(base, height, paint, shade(paint, 0.4))
    up = c.light.lean * height
    along = np.array([np.cos(theta), np.sin(theta)])

    def piece(at: float, long: float, wide: float, across: float = 0.0) -> F64:
        centre = np.array([x, y]) + along * at + np.array([-along[1], along[0]]) * across + up
        return rectangle(float(centre[0]), float(centre[1]), long, wide, theta)

    if skeleton:
        _skeleton(c, piece, length, width, paint)
    if kind in {"boxcar", "passenger"}:
        c.fill(piece(0, length, width * 0.5), shade(paint, 1.15), 0.8)
        for at in np.arange(-length / 2 + 1, length / 2, c.rng.uniform(1.5, 4)):
            c.fill(piece(float(at), 0.25, width), shade(paint, 0.8), 0.5)
    elif kind == "gondola":
        inside = (0.12, 0.11, 0.10) if not loaded else vary(c.rng, (0.35, 0.30, 0.25), 0.4)
        if loaded and c.rng.random() < 0.4:  # stone, of the colour of the ballast it is for
            inside = _like_ground(c, x, y, inside)
        c.fill(piece(0, length - 0.7, width - 0.6), inside, 0.9, grain=0.12 if loaded else 0.05)
        if not loaded:  # the wall towards the sun shades the floor beside it
            sunward = -1 if c.light.shadow @ (-along[1], along[0]) > 0 else 1
            c.darken(piece(0, length - 0.7, width * 0.35, width * 0.25 * sunward), 0.6)
    elif kind == "tank":
        for across, tone in ((-0.36, 0.55), (-0.2, 0.85), (0.0, 1.2), (0.2, 0.9), (0.36, 0.6)):
            c.fill(piece(0, length, width * 0.2, across * width), shade(paint, tone), 0.9)
        c.fill(piece(0, 1.4, 1.2), shade(paint, 0.6), 0.8)
    elif kind == "hopper":
        hatches = int(c.rng.integers(2, 5))
        for at in np.linspace(-length / 2, length / 2, hatches + 2)[1:-1]:
            c.fill(piece(float(at), length / (hatches + 2), width * 0.55), shade(paint, 0.6), 0.8)
    elif kind == "locomotive":
        c.fill(piece(0, length * 0.8, width * 0.45), (0.25, 0.25, 0.26), 0.8)
        for at in c.rng.uniform(-length / 2.5, length / 2.5, 4):
            c.fill(piece(float(at), 1.2, 1.2), vary(c.rng, (0.3, 0.3, 0.3), 0.4), 0.8)
    elif kind == "flat" and loaded:
        c.fill(
            piece(0, length * c.rng.uniform(0.5, 0.95), width * 0.8),
            vary(c.rng, (0.4, 0.36, 0.3), 0.4),
            0.9,
            grain=0.1,
        )
    c.label(roof, RAILCAR, index)
    if kind == "container_flat" and loaded:
        _boxes_on_wagon(c, x, y, theta, length, height)


def _skeleton(c: Canvas, piece: Callable[..., F64], length: float, width: float, paint: Colour) -> None:
    """Sills, cross-bearers and bogies of an open frame."""
    sill, bearer = c.rng.uniform(0.25, 0.5), c.rng.uniform(0.25, 0.6)
    for across in (-0.32, 0.32):
        c.fill(piece(0, length, sill, across * width), paint)
    for at in np.linspace(-length / 2 + bearer / 2, length / 2 - bearer / 2, int(c.rng.integers(5, 14))):
        c.fill(piece(float(at), bearer, width), shade(paint, 0.9))
    for end in (-1, 1):  # bogies fill the frame at either end
        c.fill(piece(end * (length / 2 - 2.6), 2.4, width * 0.8), shade(paint, 0.55), 0.8)


def _like_ground(c: Canvas, x: float, y: float, paint: Colour) -> Colour:
    """A paint near the tone of the ground a car stands on: dust and weathered planks take the colour of ballast."""
    row, column = (int(np.clip(m / c.gsd_m, 0, c.size - 1)) for m in (y, x))
    around = c.image[max(0, row - 8) : row + 9, max(0, column - 8) : column + 9].mean(axis=(0, 1))
    mix = c.rng.uniform(0.5, 1.0)
    r, g, b = (float(mix * near + (1 - mix) * own) for near, own in zip(around, paint, strict=True))
    return vary(c.rng, (r, g, b), 0.15)


def _boxes_on_wagon(c: Canvas, x: float, y: float, theta: float, length: float, deck: float) -> None:
    sizes = [6.058, 12.192] if length >= 12.6 else [6.058]
    size = float(c.rng.choice(sizes))
    number = max(1, int((length + 0.2) // (size + 0.1)))
    start = -(number * (size + 0.1) - 0.1) / 2 + size / 2
    for k in range(number):
        if c.rng.random() < 0.85:
            at = start + k * (size + 0.1)
            bx, by = x + at * np.cos(theta), y + at * np.sin(theta)
            c.shadow(rectangle(bx, by, size, CONTAINER_WIDTH, theta), 2.6, deck)
            container(c, bx, by, theta, size, vary(c.rng, FLEET[c.rng.integers(len(FLEET))]), deck, deck + 2.6)


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


def lorry(c: Canvas, x: float, y: float, theta: float, boxed: bool, what: Lorry | None = None) -> None:
    """Cab, gap, and trailer or body; with a box on it the box is a container, without it nothing is labelled.

    One that is given as `what` casts no shadow: its row did.
    """
    if not (-14 < x < c.extent_m + 14 and -14 < y < c.extent_m + 14):
        return
    rng, (u, _) = c.rng, axes(theta)
    mid, cast = np.array([x, y]), what is None
    what = what or Lorry.draw(rng, boxed=boxed)
    length, wide = what.length, rng.uniform(2.4, 2.6)
    if cast:
        c.shadows(what.casts(mid, theta))
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
        c.prism(rectangle(x, y, length, 2.5, theta), 1.2, (0.2, 0.2, 0.2), (0.15, 0.15, 0.15))
        container(c, x, y, theta, what.box, vary(rng, FLEET[rng.integers(len(FLEET))]), 1.2, 3.8)
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


def hull_outline(x: float, y: float, length: float, beam: float, theta: float, bow: float = 0.16) -> F64:
    """(7, 2) outline with a pointed bow and a slightly narrowed stern."""
    a, b = length / 2, beam / 2
    local = np.array(
        [
            [-a, -b * 0.85],
            [-a * 0.9, -b],
            [a - bow * length, -b],
            [a, 0],
            [a - bow * length, b],
            [-a * 0.9, b],
            [-a, b * 0.85],
        ]
    )
    cos, sin = np.cos(theta), np.sin(theta)
    return np.asarray(local @ np.array([[cos, sin], [-sin, cos]]) + (x, y))


def vessel(c: Canvas, x: float, y: float, length: float, theta: float, kind: str, boxes: bool = False) -> None:
    """A ship with hull shadow, deck, hatches or boxes, and superstructure aft; L/B 5-7.5."""
    rng = c.rng
    beam = float(np.clip(length / rng.uniform(5.2, 7.4), 5, 60))
    outline = hull_outline(x, y, length, beam, theta, rng.uniform(0.06, 0.2))
    side = min(12.0, 3 + length / 30)
    c.shadow(outline, side)
    deck = vary(
        rng,
        [
            (0.45, 0.18, 0.14),
            (0.35, 0.37, 0.38),
            (0.22, 0.36, 0.30),
            (0.55, 0.53, 0.5),
            (0.25, 0.27, 0.33),
            (0.7, 0.7, 0.68),
        ][rng.integers(6)],
        0.2,
    )
    c.prism(outline, side, deck, shade(deck, 0.5))
    up = c.light.lean * side
    along, across = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    house_at = rng.uniform(0.32, 0.42) * (-1 if rng.random() < 0.85 else 1)

    def part(at: float, long: float, wide: float, off: float, colour: Colour, alpha: float = 1.0) -> None:
        p = np.array([x, y]) + along * at * length + across * off * beam + up
        c.fill(rectangle(float(p[0]), float(p[1]), long, wide, theta), colour, alpha, grain=0.04)

    if kind == "container":
        row = max(6.3, c.gsd_m * 1.0)
        for at in np.arange(-0.45 * length, 0.36 * length, 12.6 if length > 90 else row):
            if abs(at / length - house_at) < 0.06 or rng.random() < 0.12:
                continue
            for off in np.arange(-0.5 * beam + 1.4, 0.5 * beam - 1.2, 2.5):
                p = np.array([x, y]) + along * at + across * off
                size, tiers = (12.19, rng.integers(1, 5)) if length > 90 else (6.06, rng.integers(1, 3))
                colour = vary(rng, FLEET[rng.integers(len(FLEET))])
                if boxes:
                    stack(c, p, theta, size, colour, side, int(tiers), 2.6)
                else:
                    c.fill(rectangle(float(p[0] + up[0]), float(p[1] + up[1]), size, 2.44, theta), colour)
    elif kind == "bulk":
        for at in np.linspace(-0.25, 0.36, max(3, int(length / 28))):
            part(float(at), length * 0.07, beam * 0.6, 0, vary(rng, (0.55, 0.45, 0.35), 0.3))
    elif kind == "tanker":
        part(0.05, length * 0.75, max(1.2, beam * 0.06), 0, (0.6, 0.6, 0.6))
        part(0.02, 3.0, beam * 0.8, 0, (0.6, 0.6, 0.6))
    elif kind == "carrier":
        part(0, length * 0.9, beam * 0.92, 0, vary(rng, (0.75, 0.75, 0.76), 0.1))
    part(
        house_at,
        length * rng.uniform(0.06, 0.12),
        beam * rng.uniform(0.7, 0.95),
        0,
        vary(rng, (0.85, 0.85, 0.84), 0.1),
    )
    c.label(outline + up, VESSEL)
