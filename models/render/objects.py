"""Bodies: railcars, containers, hulls, with the dimensions of METHOD 4."""

from collections.abc import Callable

import numpy as np

from models.render.canvas import F64, Canvas, Colour, rectangle, rectangle_at

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
