"""A depot over a year: pits with earth berms are dug between looks, lorries come and go, a stack stands a while, clouds pass.

Same seed, same depot. The truth is the pits: where, how large, and the first look that shows each.
"""

from dataclasses import dataclass

import numpy as np

from models.render import scenes
from models.render.canvas import F32, F64, Canvas, Light, rectangle_at, sense
from models.render.looks import LookCanvas, cast_cloud, under_cloud
from models.render.objects import shade, vary
from models.render.vehicles import lorry


@dataclass(frozen=True, slots=True)
class Pit:
    """One pit: (4, 2) outline in metres, berm included, and the index of the first look in which it is there."""

    outline: F64
    first: int


@dataclass(frozen=True, slots=True)
class Depot:
    """A place and what is dug there.

    Attributes:
        seed: of the ground.
        extent_m: side.
        theta: heading of its rows.
        pits: every pit of the series.
        days: day of the year of each look.
        clouds: opacity asked for per look: 0 clear, 1 a cloud over a third, 2 over nearly all.
    """

    seed: int
    extent_m: float
    theta: float
    pits: tuple[Pit, ...]
    days: tuple[int, ...]
    clouds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DepotLook:
    """(3, H, W) float32 pixels 0..1, and (H, W) opacity of cloud."""

    pixels: F32
    cloud: F32


def plan_depot(seed: int, looks: int = 20, pits: int = 30, extent_m: float = 300.0) -> Depot:
    """Pits in rows, each first shown by the third look or a later one and by three looks or more.

    Every fourth look has a cloud over a third of the ground, one look shows little else.
    """
    rng = np.random.default_rng([seed, 1])
    theta, mid = float(rng.uniform(-0.4, 0.4)), extent_m / 2
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    slots = [mid + u * x + v * y for y in np.arange(-0.36, 0.37, 0.12) * extent_m for x in np.arange(-0.36, 0.37, 0.09) * extent_m]
    chosen = rng.permutation(len(slots))[:pits]
    firsts = np.sort(rng.integers(2, looks - 2, pits))
    dug = tuple(
        Pit(
            rectangle_at(slots[s] + rng.normal(0, 0.8, 2), rng.uniform(13, 19), rng.uniform(11, 15), theta + rng.normal(0, 0.03)),
            int(f),
        )
        for s, f in zip(chosen, firsts, strict=True)
    )
    clouds = np.where(np.arange(looks) % 4 == 2, 1, 0)
    clouds[looks // 2] = 2
    return Depot(seed, extent_m, theta, dug, tuple(int(d) for d in np.linspace(10, 350, looks)), tuple(int(c) for c in clouds))


def see_depot(depot: Depot, look: int, gsd_m: float) -> DepotLook:
    """Render look number `look` of the series at metres per pixel."""
    rng = np.random.default_rng([depot.seed, 2, look])
    light = Light.draw(rng)
    texture = np.random.default_rng([depot.seed, 3, look])
    c = LookCanvas(round(depot.extent_m / gsd_m), gsd_m, np.random.default_rng([depot.seed, 4]), light, texture=texture)
    _ground(c, depot, depot.days[look], rng)
    for index, pit in enumerate(depot.pits):
        if pit.first <= look:
            c.rng = np.random.default_rng([depot.seed, 5, index])
            _pit(c, pit.outline)
    c.rng = rng
    for _ in range(int(rng.integers(3, 12))):
        x, y = rng.uniform(0.05, 0.95, 2) * depot.extent_m
        lorry(c, float(x), float(y), depot.theta + float(rng.choice([0, np.pi / 2])), boxed=False)
    kind = depot.clouds[look]
    radius = 0.3 if kind == 1 else 1.5
    opacity = cast_cloud(c, rng, (radius * depot.extent_m,) * 2) if kind else np.zeros((c.size, c.size), np.float32)
    pixels = sense(c.image, rng, float(rng.uniform(1.0, 1.4)))
    pixels = under_cloud(pixels, opacity, rng) if kind else pixels
    return DepotLook(np.ascontiguousarray(pixels.transpose(2, 0, 1)), opacity)


def _ground(c: Canvas, depot: Depot, day: int, look: np.random.Generator) -> None:
    """Grass that greens and yellows with the season, dirt roads, sheds that stay, a stack that stands for six looks."""
    green = 0.5 - 0.5 * np.cos(2 * np.pi * (day - 20) / 365)  # 0 in January, 1 in July
    scenes.ground(c, (0.36 - 0.12 * green, 0.33 - 0.02 * green, 0.24 - 0.10 * green))
    place = c.rng
    c.rng = look
    c.mottle(float(look.uniform(8, 40)), 0.08)
    c.rng = place
    mid = depot.extent_m / 2
    u, v = (np.array([np.cos(depot.theta), np.sin(depot.theta)]), np.array([-np.sin(depot.theta), np.cos(depot.theta)]))
    for y in np.arange(-0.42, 0.5, 0.24) * depot.extent_m:
        c.line(np.stack([mid + v * y - u * 400, mid + v * y + u * 400]), 5.0, (0.50, 0.46, 0.38), 0.9)
    for x in (-0.46, 0.44):
        base = rectangle_at(mid + u * x * depot.extent_m + v * place.uniform(-60, 60), 34, 15, depot.theta + np.pi / 2)
        paint = vary(place, (0.46, 0.42, 0.40), 0.1)
        c.shadow(base, 7.0)
        c.prism(base, 7.0, paint, shade(paint, 0.5))
    if 6 <= depot.days.index(day) < 12:
        base = rectangle_at(mid + u * 0.405 * depot.extent_m, 12.2, 7.5, depot.theta)
        c.shadow(base, 2.6)
        c.prism(base, 2.6, (0.6, 0.3, 0.2), (0.3, 0.15, 0.1))


def _pit(c: Canvas, outline: F64) -> None:
    """Bare earth, a berm on three sides with its shadow, and a floor that lies deeper and darker."""
    rng = c.rng
    earth = vary(rng, (0.52, 0.43, 0.32), 0.08)
    c.fill(outline, earth, grain=0.05)
    centre = outline.mean(axis=0)
    length, width = float(np.hypot(*(outline[1] - outline[0]))), float(np.hypot(*(outline[3] - outline[0])))
    heading = float(np.arctan2(*(outline[1] - outline[0])[::-1]))
    u, v = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    for offset, long, wide in (
        (v * (width / 2 - 1), length, 2.0),
        (-v * (width / 2 - 1), length, 2.0),
        (-u * (length / 2 - 1), 2.0, width),
    ):
        berm = rectangle_at(centre + offset, long, wide, heading)
        c.shadow(berm, 1.8)
        c.prism(berm, 1.8, shade(earth, 1.15), shade(earth, 0.7))
    c.fill(rectangle_at(centre + u * 0.8, length - 5, width - 5, heading), shade(earth, 0.45), grain=0.05)
