"""Built-up shores at 2-12 m: towns, finger piers, jetties with dolphins, docks, bridges, clouds; ships alongside, rafted and docked.

What is long, straight, bright and wet, and no ship, is drawn as often as ships are.
"""

import cv2
import numpy as np

from models.render.canvas import F32, F64, Canvas, Colour, axes, rectangle_at
from models.render.objects import vary, vessel
from models.render.port import ANY_SHIP, SHIP_SHARES, afloat_clutter, open_water

ROOFS: tuple[Colour, ...] = (
    (0.8, 0.8, 0.78), (0.5, 0.48, 0.45), (0.45, 0.25, 0.2), (0.3, 0.35, 0.4), (0.62, 0.56, 0.48), (0.25, 0.3, 0.2),
)  # fmt: skip


def waterfront(c: Canvas) -> None:
    """A shore across the chip with everything that stands on it and lies at it, then open water with ships, then clouds."""
    rng = c.rng
    open_water(c)
    theta = rng.uniform(-np.pi, np.pi)
    u, out = axes(theta)
    edge = np.array([c.extent_m / 2] * 2) + out * rng.uniform(-0.35, 0.25) * c.extent_m
    town(c, edge, u, out, theta)
    if rng.random() < 0.2:
        _bridge(c)
    s = -0.75 * c.extent_m
    while s < 0.75 * c.extent_m:
        s += _fixture(c, edge + u * s, theta, out) + rng.uniform(5, 140)
    at_anchor(c, edge, out, int(rng.integers(0, 10)))
    afloat_clutter(c)
    _clouds(c)


def at_anchor(c: Canvas, edge: F64, out: F64, number: int) -> None:
    """Up to `number` ships on the water before an edge, where there is room."""
    for _ in range(number):
        p = c.rng.uniform(0, c.extent_m, 2)
        length = float(np.exp(c.rng.uniform(np.log(21), np.log(340))))
        if (p - edge) @ out > length and free(c, p, length):
            hull(c, p, length, c.rng.uniform(-np.pi, np.pi))


def hull(c: Canvas, p: F64, length: float, theta: float) -> None:
    """A ship of any kind, centred on (2,) metres, labelled."""
    vessel(c, float(p[0]), float(p[1]), length, theta, str(c.rng.choice(ANY_SHIP, p=SHIP_SHARES)))


def free(c: Canvas, p: F64, length: float) -> bool:
    """Whether no hull lies within reach, and water does: piers and bridges are no place to anchor."""
    x, y = (p / c.gsd_m).astype(int)
    reach = max(3, int(length / c.gsd_m / 2))
    around = c.image[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    wet = bool(np.abs(np.median(around.mean(axis=2)) / c.water.mean() - 1) < 0.25 and around.std() < 0.06)
    return wet and all(np.hypot(*(o.outline.mean(axis=0) - p)) > 0.6 * length + 120 for o in c.labels)


def town(c: Canvas, edge: F64, u: F64, out: F64, theta: float) -> None:
    """Land behind the edge: tone from dark industry to bright sand, blocks of roofs, tanks, roads, green."""
    rng = c.rng
    tone = rng.uniform(0.22, 0.8)
    depth = 2.0 * c.extent_m
    c.fill(rectangle_at(edge - out * depth / 2, 4 * c.extent_m, depth, theta), vary(rng, (tone, tone * 0.92, tone * 0.8)), grain=0.1)
    turn, dense = theta + rng.choice([0.0, rng.normal(0, 0.4)]), rng.uniform(0.0, 1.0)
    for _ in range(int(dense * 900)):
        p = edge + u * rng.uniform(-0.9, 0.9) * c.extent_m - out * rng.exponential(0.25) * c.extent_m
        if not ((p > 0) & (p < c.extent_m)).all() or (p - edge) @ out > -8:
            continue
        long, wide = np.exp(rng.uniform(np.log(12), np.log(170))), rng.uniform(8, 45)
        room = 1.6 * abs(float((p - edge) @ out))
        base = rectangle_at(p, min(long, max(room, 12)), min(wide, room), turn + rng.choice([0, np.pi / 2]))
        c.shadow(base, rng.uniform(3, 22))
        c.fill(base, vary(rng, ROOFS[rng.integers(len(ROOFS))], 0.25), grain=0.04)
    for _ in range(rng.integers(0, 5)):  # roads and rails along and across the shore
        asphalt, wide = vary(rng, (0.4, 0.39, 0.37), 0.3), rng.uniform(6, 20)
        if rng.random() < 0.5:
            c.fill(rectangle_at(edge - out * rng.uniform(10, 500), 4 * c.extent_m, wide, theta), asphalt, 0.8)
        else:
            p = edge - out * c.extent_m + u * rng.uniform(-0.6, 0.6) * c.extent_m
            c.fill(rectangle_at(p, 2 * c.extent_m, wide, theta + np.pi / 2), asphalt, 0.8)
    if rng.random() < 0.35:  # a tank farm
        p0, radius = edge - out * rng.uniform(60, 400) + u * rng.uniform(-0.4, 0.4) * c.extent_m, rng.uniform(8, 35)
        for i in range(int(rng.integers(1, 5))):
            for j in range(int(rng.integers(1, 6))):
                tank(c, p0 + u * j * radius * 2.5 - out * i * radius * 2.5, radius)


def tank(c: Canvas, at: F64, radius: float) -> None:
    """A white tank."""
    turns = np.linspace(0, 2 * np.pi, 24)
    disc = at + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    c.shadow(disc, c.rng.uniform(8, 18))
    c.fill(disc, vary(c.rng, (0.85, 0.85, 0.83), 0.1))


def _fixture(c: Canvas, at: F64, theta: float, out: F64) -> float:
    """One thing at the water's edge, with or without ships; returns how much of the edge it takes, metres."""
    what = c.rng.choice(["pier", "jetty", "dock", "berth", "nothing"], p=[0.28, 0.14, 0.12, 0.3, 0.16])
    if what == "pier":
        return _pier(c, at, out)
    if what == "jetty":
        return _jetty(c, at, theta, out)
    if what == "dock":
        return _dock(c, at, out)
    length = float(np.exp(c.rng.uniform(np.log(25), np.log(360))))
    if what == "berth":
        raft(c, at + np.array([np.cos(theta), np.sin(theta)]) * length / 2, length, theta, out)
    return length


def raft(c: Canvas, at: F64, length: float, theta: float, out: F64) -> None:
    """One ship alongside, sometimes up to five abreast."""
    off = c.rng.uniform(0, 5)
    for _ in range(int(c.rng.choice([1, 2, 3, 5], p=[0.7, 0.18, 0.07, 0.05]))):
        long = length * c.rng.uniform(0.75, 1.0)
        off += long / 12.6
        hull(c, at + out * off, long, theta + c.rng.choice([0, np.pi]) + c.rng.normal(0, 0.01))
        off += long / 12.6 + c.rng.uniform(1, 8)


def _pier(c: Canvas, at: F64, out: F64) -> float:
    """A finger pier: hull-sized, straight, with or without a shed; ships on either side of it, or none."""
    rng = c.rng
    long, wide, skew = rng.uniform(40, 350), rng.uniform(8, 55), rng.choice([0.0, rng.normal(0, 0.3)])
    heading = np.arctan2(out[1], out[0]) + skew
    ahead, side = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    centre, tone = at + ahead * (long / 2 - 5), rng.uniform(0.3, 0.85)
    base = rectangle_at(centre, long, wide, heading)
    c.shadow(base, 3)
    c.fill(base, vary(rng, (tone, tone * 0.95, tone * 0.86)), grain=0.06)
    if wide > 15 and rng.random() < 0.6:
        shed = rectangle_at(centre, long * rng.uniform(0.4, 0.95), wide * rng.uniform(0.4, 0.85), heading)
        c.fill(shed, vary(rng, ROOFS[rng.integers(len(ROOFS))], 0.2), grain=0.03)
    for sign in (-1, 1):
        if rng.random() < 0.4 and long > 60:
            ship = float(rng.uniform(0.35, 1.0) * long)
            hull(c, centre + side * sign * (wide / 2 + ship / 12.6 + rng.uniform(0, 4)), ship, heading + rng.choice([0, np.pi]))
    return wide + long * 0.25


def _jetty(c: Canvas, at: F64, theta: float, out: F64) -> float:
    """A thin trestle with a head and a row of dolphins parallel to the shore; a tanker lies there half of the time."""
    rng = c.rng
    reach, ship, tone = rng.uniform(40, 300), float(rng.uniform(70, 340)), rng.uniform(0.4, 0.8)
    u, head, paint = np.array([np.cos(theta), np.sin(theta)]), at + out * reach, (tone, tone * 0.97, tone * 0.9)
    c.line(np.stack([at - out * 10, head]), rng.uniform(4, 10), paint)
    c.fill(rectangle_at(head, rng.uniform(15, 50), rng.uniform(8, 20), theta), paint)
    for k in np.linspace(-0.55, 0.55, int(rng.integers(2, 9))):
        c.fill(rectangle_at(head + u * k * ship, rng.uniform(4, 10), rng.uniform(4, 10), theta), paint)
    if rng.random() < 0.7:
        c.line(np.stack([head - u * 0.55 * ship, head + u * 0.55 * ship]), 2.0, paint, 0.7)
    if rng.random() < 0.5:
        hull(c, head + out * (8 + ship / 12.6), ship, theta + rng.choice([0, np.pi]))
    return ship


def _dock(c: Canvas, at: F64, out: F64) -> float:
    """A graving or floating dock cut into the shore, with a ship in it or dry."""
    rng = c.rng
    long = float(rng.uniform(80, 330))
    wide, heading = long / rng.uniform(3.5, 5.5), float(np.arctan2(out[1], out[0]))
    centre = at - out * (long / 2 - rng.uniform(0, 0.4) * long)
    tone = rng.uniform(0.3, 0.7)
    c.fill(rectangle_at(centre, long + 10, wide + 14, heading), vary(rng, (tone, tone * 0.95, tone * 0.9)), grain=0.08)
    wet = rng.random() < 0.5
    floor: Colour = (float(c.water[0]), float(c.water[1]), float(c.water[2])) if wet else vary(rng, (0.22, 0.2, 0.18))
    c.fill(rectangle_at(centre, long, wide, heading), floor, grain=0.05)
    if rng.random() < 0.6:
        hull(c, centre, long * rng.uniform(0.6, 0.93), heading + rng.choice([0, np.pi]))
    return wide + 20


def _bridge(c: Canvas) -> None:
    p, heading = c.rng.uniform(0.2, 0.8, 2) * c.extent_m, c.rng.uniform(0, np.pi)
    deck, tone = rectangle_at(p, 3 * c.extent_m, c.rng.uniform(9, 36), float(heading)), c.rng.uniform(0.4, 0.8)
    c.darken(deck + c.light.shadow * c.rng.uniform(8, 40), 0.6)
    c.fill(deck, (tone, tone, tone * 0.96))


def _clouds(c: Canvas) -> None:
    """A few soft clouds with their shadows: white, rounded, and over anything. Bodies under them lose their label."""
    if c.rng.random() < 0.7:
        return
    cells = int(c.rng.integers(4, 14))
    field: F32 = cv2.resize(c.rng.normal(0, 1, (cells, cells)).astype(np.float32), (c.size, c.size), interpolation=cv2.INTER_CUBIC)
    cover = np.clip((field - c.rng.uniform(1.0, 1.8)) * 1.6, 0, 1)
    shift = np.round(c.light.shadow * c.rng.uniform(150, 500) / c.gsd_m).astype(int)
    moved = cv2.warpAffine(cover, np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32), (c.size, c.size))
    c.image *= (1 - 0.6 * moved)[..., None]
    c.image += cover[..., None] * (c.rng.uniform(0.95, 1.5) - c.image)
    c.labels = [label for label in c.labels if _cover_at(c, cover, label.outline) < 0.3]


def _cover_at(c: Canvas, cover: F32, outline: F64) -> float:
    points = np.linspace(outline.min(axis=0), outline.max(axis=0), 7) / c.gsd_m
    inside = points[((points >= 0) & (points < c.size)).all(axis=1)].astype(int)
    return float(cover[inside[:, 1], inside[:, 0]].mean()) if len(inside) else 0.0
