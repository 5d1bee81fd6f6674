"""Built-up shores at 2-12 m: towns, piers, basins, jetties with dolphins, docks, bridges, clouds; ships alongside, rafted and docked.

What is long, straight, bright and wet, and no ship, is drawn as often as ships are.
"""

import cv2
import numpy as np

from models.render.canvas import F32, F64, Canvas, Colour, axes, rectangle_at
from models.render.objects import vary, vessel
from models.render.port import ANY_SHIP, SHIP_SHARES, afloat_clutter, beside, bleach, fade, open_water, wet

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
    bleach(c)
    _clouds(c)


def at_anchor(c: Canvas, edge: F64, out: F64, number: int) -> None:
    """Up to `number` ships on the water before an edge, where there is room."""
    for _ in range(number):
        p = c.rng.uniform(0, c.extent_m, 2)
        length = float(np.exp(c.rng.uniform(np.log(21), np.log(340))))
        if (p - edge) @ out > length and free(c, p, length):
            hull(c, p, length, c.rng.uniform(-np.pi, np.pi))


def hull(c: Canvas, p: F64, length: float, theta: float, kind: str | None = None) -> None:
    """A ship of any kind, centred on (2,) metres, labelled. Some are all white; some take on the tone of what lies beside them."""
    rng = c.rng
    near = beside(c, p + axes(theta)[1] * rng.choice([-1, 1]) * (0.1 * length + 8))
    vessel(c, float(p[0]), float(p[1]), length, theta, kind or str(rng.choice(ANY_SHIP, p=SHIP_SHARES)))
    look = rng.random()
    if look < 0.25:
        fade(c, near, rng.uniform(0.3, 0.65))
    elif look < 0.37:
        fade(c, vary(rng, (0.9, 0.9, 0.88), 0.1), rng.uniform(0.5, 0.95))


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
    if rng.random() < 0.6:
        _apron(c, edge, u, out, theta)
    if rng.random() < 0.35:  # a tank farm
        p0, radius = edge - out * rng.uniform(60, 400) + u * rng.uniform(-0.4, 0.4) * c.extent_m, rng.uniform(8, 35)
        for i in range(int(rng.integers(1, 5))):
            for j in range(int(rng.integers(1, 6))):
                tank(c, p0 + u * j * radius * 2.5 - out * i * radius * 2.5, radius)


def _apron(c: Canvas, edge: F64, u: F64, out: F64, theta: float) -> None:
    """Bare concrete along the edge; sea wall, sheds and stains on it in pieces as long and as wide as hulls, that are none."""
    rng, tone, wide = c.rng, c.rng.uniform(0.3, 0.9), c.rng.uniform(10, 60)
    paint: Colour = (tone, tone * 0.95, tone * 0.86)
    c.fill(rectangle_at(edge - out * wide / 2, 4 * c.extent_m, wide, theta), vary(rng, paint), grain=0.05)
    s = -0.75 * c.extent_m
    while s < 0.75 * c.extent_m:
        long, deep = float(np.exp(rng.uniform(np.log(20), np.log(250)))), float(rng.uniform(3, 24))
        if rng.random() < 0.35:
            tint = vary(rng, paint, 0.25) if rng.random() < 0.6 else vary(rng, ROOFS[rng.integers(len(ROOFS))], 0.2)
            at = edge + u * (s + long / 2) - out * (deep / 2 + rng.choice([-0.6 * deep, 0, rng.uniform(0, wide)], p=[0.15, 0.45, 0.4]))
            c.fill(rectangle_at(at, long, deep, theta), tint, rng.uniform(0.5, 1.0), grain=0.04)
        s += long + rng.uniform(0, 80)


def tank(c: Canvas, at: F64, radius: float) -> None:
    """A white tank."""
    turns = np.linspace(0, 2 * np.pi, 24)
    disc = at + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    c.shadow(disc, c.rng.uniform(8, 18))
    c.fill(disc, vary(c.rng, (0.85, 0.85, 0.83), 0.1))


def _fixture(c: Canvas, at: F64, theta: float, out: F64) -> float:
    """One thing at the water's edge, with or without ships; returns how much of the edge it takes, metres."""
    rng = c.rng
    what = rng.choice(["pier", "block", "roof", "jetty", "dock", "berth", "nothing"], p=[0.15, 0.15, 0.06, 0.15, 0.1, 0.31, 0.08])
    if what == "pier":
        return _pier(c, at, out)
    if what == "block":
        return _block(c, at, out)
    if what == "roof":
        return _ferry_pier(c, at, theta, out)
    if what == "jetty":
        return _jetty(c, at, theta, out)
    if what == "dock":
        return _dock(c, at, out)
    length = float(np.exp(rng.uniform(np.log(25), np.log(360))))
    if what == "berth" and rng.random() < 0.45:
        length = float(rng.uniform(150, 500))
        row(c, at, theta, out, length)
    elif what == "berth":
        raft(c, at + np.array([np.cos(theta), np.sin(theta)]) * length / 2, length, theta, out)
    return length


def row(c: Canvas, start: F64, theta: float, out: F64, run: float) -> None:
    """Ships of like length close behind each other at a quay, with little or no water between them and it."""
    rng, u = c.rng, axes(theta)[0]
    like, s = float(np.exp(rng.uniform(np.log(35), np.log(240)))), 0.0
    while s < run - like:
        long = like * rng.uniform(0.75, 1.1)
        p = start + u * (s + long / 2) + out * (long / 12.6 + rng.uniform(-1, 4))
        if rng.random() < 0.85 and wet(c, p):
            hull(c, p, long, theta + rng.choice([0, np.pi]))
        s += long + rng.uniform(3, 25)


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


def _block(c: Canvas, at: F64, out: F64) -> float:
    """A broad pier with sheds or box rows on it and ships close along both sides; the basin to the next is two or three beams wide."""
    rng = c.rng
    long, wide, tone = float(rng.uniform(150, 600)), float(rng.uniform(60, 240)), rng.uniform(0.25, 0.9)
    heading = float(np.arctan2(out[1], out[0]))
    side, paint = axes(heading)[1], (tone, tone * 0.95, tone * 0.86)
    centre = at + out * (long / 2 - 10) - side * (wide / 2 + 40)
    c.fill(rectangle_at(centre, long, wide, heading), vary(rng, paint), grain=0.08)
    lane, boxes = float(rng.uniform(14, 45)), rng.random() < 0.4
    for off in np.arange(-wide / 2 + rng.uniform(8, 35), wide / 2 - 8, lane):
        s = -long / 2
        while s < long / 2 - 20:
            piece = float(rng.uniform(20, 140))
            if rng.random() < 0.8 and s + piece < long / 2:
                base = rectangle_at(centre + out * (s + piece / 2) + side * off, piece, lane * rng.uniform(0.4, 0.8), heading)
                tint = vary(rng, (0.3, 0.24, 0.22) if boxes else ROOFS[rng.integers(len(ROOFS))], 0.2)
                c.fill(base, tint, rng.uniform(0.6, 1.0), grain=0.25 if boxes else 0.04)
            s += piece + rng.uniform(4, 40)
    for sign in (-1, 1):
        if rng.random() < 0.8:
            row(c, centre - out * long / 2 + side * sign * wide / 2 + out * rng.uniform(10, 60), heading, side * sign, long - 40)
    return wide + float(rng.uniform(60, 200))


def _ferry_pier(c: Canvas, at: F64, theta: float, out: F64) -> float:
    """A roofed landing before the shore: a bar of two tones with a ridge, on a walkway; a ferry at it now and then."""
    rng = c.rng
    long, wide, reach = float(rng.uniform(35, 150)), float(rng.uniform(10, 28)), float(rng.uniform(0, 60))
    heading = theta + float(rng.choice([0.0, np.pi / 2]))
    side, head = axes(heading)[1], at + out * (reach + (wide if heading == theta else long) / 2)
    c.line(np.stack([at, head]), rng.uniform(4, 12), (0.6, 0.58, 0.54))
    paint, base = vary(rng, ROOFS[rng.integers(len(ROOFS))], 0.25), rectangle_at(head, long, wide, heading)
    c.shadow(base, rng.uniform(4, 12))
    c.fill(base, paint, grain=0.03)
    c.fill(rectangle_at(head + side * wide / 4, long, wide / 2, heading), vary(rng, paint, 0.15))
    if rng.random() < 0.35:
        hull(c, head + side * rng.choice([-1, 1]) * (wide / 2 + 7), float(rng.uniform(25, 60)), heading)
    return long + 20


def _jetty(c: Canvas, at: F64, theta: float, out: F64) -> float:
    """A thin trestle, and along its head one to three berths: platform, dolphins, catwalk; a tanker at half of them, or two alike."""
    rng = c.rng
    reach, ship, tone = rng.uniform(30, 300), float(np.exp(rng.uniform(np.log(50), np.log(340)))), rng.uniform(0.35, 0.85)
    u, head, paint = axes(theta)[0], at + out * reach, (tone, tone * 0.97, tone * 0.9)
    berths, pitch, thin = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15])), ship * rng.uniform(1.15, 1.6), rng.uniform(3, 9)
    c.line(np.stack([at - out * 10, head]), thin, paint)
    if berths > 1 or rng.random() < 0.2:  # the trestle goes on along the shore
        c.line(np.stack([head - u * 0.5 * ship, head + u * ((berths - 1) * pitch + 0.5 * ship)]), thin, paint)
    for k in range(berths):
        place = head + u * k * pitch
        deep, bow = float(rng.uniform(8, 24)), rng.uniform(-12, 12)
        c.fill(rectangle_at(place, rng.uniform(15, 60), deep, theta), vary(rng, paint, 0.15), grain=0.05)
        for _ in range(int(rng.integers(0, 5))):  # pipes, huts and arms on the platform
            spot = place + u * rng.uniform(-12, 12) + out * rng.uniform(-0.4, 0.4) * deep
            c.fill(rectangle_at(spot, rng.uniform(3, 9), rng.uniform(3, 9), theta), vary(rng, (0.5, 0.5, 0.5), 0.6))
        ends = np.linspace(-1, 1, int(rng.integers(2, 9))) * rng.uniform(0.45, 0.85)
        spots = place + u * ends[:, None] * ship + out * (deep / 2 - bow * np.abs(ends[:, None]))
        for spot in spots:
            c.fill(rectangle_at(spot, rng.uniform(4, 12), rng.uniform(4, 12), theta), vary(rng, paint, 0.15))
        if rng.random() < 0.6:
            c.line(spots, 2.0, paint, 0.7)
        if rng.random() < 0.5:
            _at_jetty(c, place + out * (deep / 2 + rng.uniform(0, 8)), place, ship, theta, out)
    return ship + (berths - 1) * pitch


def _at_jetty(c: Canvas, side: F64, arm: F64, ship: float, theta: float, out: F64) -> None:
    """A tanker at a berth, its manifold tied to the platform by arms; at times its twin lies along its other side."""
    rng, kind = c.rng, "tanker" if c.rng.random() < 0.7 else None
    long, turn, p = ship * rng.uniform(0.7, 1.0), theta + float(rng.choice([0, np.pi])), side
    for _ in range(2 if rng.random() < 0.15 else 1):
        p = p + out * long / 11
        hull(c, p, long, turn, kind)
        p = p + out * (long / 11 + rng.uniform(0, 5))
    if rng.random() < 0.5:
        c.line(np.stack([arm, side + out * long * 0.08]), rng.uniform(3, 8), vary(rng, (0.6, 0.58, 0.55), 0.3), 0.8)


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
