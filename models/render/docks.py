"""Where hulls are hard to see at 2-12 m: dry docks side by side, rafts at repair quays, ships under the cranes of box terminals."""

import cv2
import numpy as np

from models.render.canvas import F32, F64, Canvas, Colour, axes, rectangle_at
from models.render.objects import FLEET, vary, vessel
from models.render.port import ANY_SHIP, SHIP_SHARES, afloat_clutter, beside, bleach, fade, open_water
from models.render.shore import free, hull, raft, row, town

PAINTS: tuple[Colour, ...] = (
    (0.85, 0.5, 0.2),
    (0.8, 0.75, 0.65),
    (0.3, 0.45, 0.7),
    (0.75, 0.25, 0.2),
    (0.9, 0.9, 0.88),
    (0.35, 0.5, 0.4),
)
"""Of cranes."""


def dockyard(c: Canvas) -> None:
    """Blocks of land with dry docks in them, quays with rafts of ships under repair, floating docks, ships at anchor."""
    rng = c.rng
    open_water(c)
    theta = rng.uniform(-np.pi, np.pi)
    u, out = axes(theta)
    mid = np.array([c.extent_m / 2] * 2)
    edge = mid + out * rng.uniform(-0.4, 0.1) * c.extent_m
    tone = rng.uniform(0.25, 0.75)
    town(c, edge, u, out, theta)
    for s in np.arange(-0.6, 0.6, rng.uniform(0.25, 0.6)) * c.extent_m:
        at = edge + u * (s + rng.uniform(-40, 40))
        what = rng.choice(["block", "quay", "floating", "jetty", "rig"], p=[0.4, 0.24, 0.14, 0.14, 0.08])
        if what == "block":
            _dock_block(c, at, theta, tone)
        elif what == "floating":
            _floating_dock(c, at + out * rng.uniform(40, 200), theta + rng.choice([0, np.pi / 2]))
        elif what == "rig":
            _rig(c, at + out * rng.uniform(-30, 90), theta)
        elif what == "quay" and rng.random() < 0.3:
            row(c, at, theta, out, float(rng.uniform(150, 450)))
        else:
            long = float(rng.uniform(60, 320))
            at = at + out * (rng.uniform(40, 160) if what == "jetty" else 0)
            if what == "jetty":
                _ground(c, at, long * 1.1, rng.uniform(8, 25), theta, tone)
                at = at + out * 8
            raft(c, at, long, theta, out)
            if rng.random() < 0.4:
                _works(c, theta)
    _anchored(c, edge, out)
    afloat_clutter(c)
    bleach(c)
    _haze(c)


def box_terminal(c: Canvas) -> None:
    """A box terminal: rows of stacks, a straight quay, ships alongside under cranes that reach over them, empty berths with cranes."""
    rng = c.rng
    open_water(c)
    theta = rng.uniform(-np.pi, np.pi)
    u, out = axes(theta)
    edge = np.array([c.extent_m / 2] * 2) + out * rng.uniform(-0.25, 0.25) * c.extent_m
    tone = rng.uniform(0.25, 0.75)
    corner = rng.uniform(0.1, 0.7) * c.extent_m if rng.random() < 0.5 else 2 * c.extent_m  # where the quay turns
    centre, reach = edge - out * c.extent_m + u * (corner - 2 * c.extent_m), 4 * c.extent_m
    _ground(c, centre, reach, 2 * c.extent_m, theta, tone)
    if rng.random() < 0.6:  # bare concrete under the cranes, paler or darker than the yard
        pale, wide = rng.uniform(0.3, 0.95), rng.uniform(15, 70)
        _ground(c, edge - out * wide / 2 + u * (corner - 2 * c.extent_m), reach, wide, theta, pale)
    _stacks(c, edge, u, out, theta, corner)
    sides = [(edge, theta, out, -0.8 * c.extent_m, min(corner, 0.8 * c.extent_m))]
    if corner < c.extent_m:
        sides.append((edge + u * corner, theta - np.pi / 2, u, 0.0, 0.8 * c.extent_m))
    taken = 0.15 if rng.random() < 0.3 else 0.75  # of the berths; booms over an idle one are no hull
    for start, heading, away, first, last in sides:
        along, s = axes(heading)[0], first
        while s < last - 60:
            long = float(np.exp(rng.uniform(np.log(60), np.log(390))))
            at = start + along * (s + long / 2)
            busy = rng.random() < taken and s + long < last
            if busy:
                _alongside(c, at, long, heading, away)
            if rng.random() < 0.75:
                _gantries(c, at, long, heading, away, parked=not busy and rng.random() < 0.6)
            s += long + rng.uniform(8, 90)
    _anchored(c, edge, out)
    afloat_clutter(c)
    bleach(c)
    _haze(c)


def _ground(c: Canvas, centre: F64, long: float, wide: float, theta: float, tone: float) -> None:
    c.fill(rectangle_at(centre, long, wide, theta), vary(c.rng, (tone, tone * 0.93, tone * 0.82)), grain=0.1)


def _hull(c: Canvas, p: F64, long: float, theta: float) -> None:
    hull(c, p, long, theta + c.rng.choice([0, np.pi]))


def _dock_block(c: Canvas, at: F64, theta: float, tone: float) -> None:
    """One to five docks abreast in a block that juts out or lies in the land; most hold a ship that fills them, some two."""
    rng = c.rng
    heading = theta + np.pi / 2
    along, across = axes(heading)
    number, long = int(rng.integers(1, 6)), float(rng.uniform(120, 420))
    widths = rng.uniform(0.14, 0.24, number) * long
    gaps = rng.uniform(8, 35, number + 1)
    centre = at + along * rng.uniform(-0.45, 0.45) * long
    _ground(c, centre, long + 30, float(widths.sum() + gaps.sum()), heading, tone * rng.uniform(0.7, 1.1))
    offset = -float(widths.sum() + gaps.sum()) / 2
    for wide, gap in zip(widths, gaps, strict=False):
        middle = centre + across * (offset + gap + wide / 2)
        offset += gap + wide
        wet = rng.random() < 0.3
        floor: Colour = (float(c.water[0]), float(c.water[1]), float(c.water[2])) if wet else vary(rng, (0.2, 0.18, 0.16), 0.3)
        c.fill(rectangle_at(middle, long, wide, heading), floor, grain=0.08)
        ships = rng.choice([0, 1, 2], p=[0.2, 0.65, 0.15])
        if ships == 1:
            _hull(c, middle, long * rng.uniform(0.6, 0.95), heading)
            if rng.random() < 0.6:
                _works(c, heading)
        elif ships == 2:
            for end in (-0.26, 0.26):
                _hull(c, middle + along * end * long, long * rng.uniform(0.35, 0.45), heading)
        for side in (-0.5, 0.5):  # walls with steps in shade, a crane on them
            c.line(
                np.stack([middle + across * side * wide - along * long / 2, middle + across * side * wide + along * long / 2]),
                4,
                (0.12, 0.11, 0.1),
                0.5,
            )
        if rng.random() < 0.7:
            _boom(
                c,
                middle + across * 0.5 * wide + along * rng.uniform(-0.4, 0.4) * long,
                heading + rng.uniform(-np.pi, np.pi),
                rng.uniform(25, 60),
            )


def _works(c: Canvas, theta: float) -> None:
    """The ship last drawn is under repair: dark and rusty, staging, blocks and hoses all over it, a crane's boom across."""
    rng, outline = c.rng, c.labels[-1].outline
    if rng.random() < 0.5:
        fade(c, vary(rng, (0.16, 0.14, 0.13), 0.3), rng.uniform(0.3, 0.65))
    (u, v), mid = axes(theta), outline.mean(axis=0)
    long, beam = np.ptp(outline @ u), np.ptp(outline @ v)
    for _ in range(int(rng.integers(5, 30))):
        p = mid + u * rng.uniform(-0.5, 0.5) * long + v * rng.uniform(-0.6, 0.6) * beam
        tint = vary(rng, PAINTS[rng.integers(len(PAINTS))], 0.3) if rng.random() < 0.5 else vary(rng, (0.12, 0.11, 0.1), 0.3)
        c.fill(rectangle_at(p, rng.uniform(3, 18), rng.uniform(2, 8), theta + rng.choice([0, np.pi / 2])), tint, rng.uniform(0.4, 0.95))
    if rng.random() < 0.4:
        _boom(c, mid + v * rng.choice([-1, 1]) * beam, theta + rng.uniform(-np.pi, np.pi), rng.uniform(25, 60))


def _rig(c: Canvas, at: F64, theta: float) -> None:
    """A jack-up rig at the yard: a squarish deck with three or four legs, sheds and a derrick on it. No ship."""
    rng, turn = c.rng, theta + c.rng.uniform(-np.pi, np.pi)
    (u, v), side, tone = axes(turn), float(rng.uniform(35, 85)), rng.uniform(0.2, 0.7)
    base = rectangle_at(at, side, side * rng.uniform(0.75, 1.1), turn)
    c.shadow(base, 12)
    c.fill(base, vary(rng, (tone, tone * 0.92, tone * 0.85), 0.2), grain=0.2)
    for _ in range(int(rng.integers(6, 20))):
        p = at + rng.uniform(-0.4, 0.4) * side * u + rng.uniform(-0.4, 0.4) * side * v
        c.fill(rectangle_at(p, rng.uniform(4, 18), rng.uniform(3, 10), turn), vary(rng, PAINTS[rng.integers(len(PAINTS))], 0.4))
    for a, b in ((-0.4, -0.4), (-0.4, 0.4), (0.4, 0.0)):
        leg = rectangle_at(at + u * a * side + v * b * side, 9, 9, turn)
        c.shadow(leg, rng.uniform(40, 90))
        c.fill(leg, vary(rng, (0.6, 0.55, 0.5), 0.2))


def _floating_dock(c: Canvas, at: F64, theta: float) -> None:
    """Two pale wing walls and a ship between them, or none."""
    rng = c.rng
    across = axes(theta)[1]
    long = float(rng.uniform(90, 300))
    wide, tone = long / rng.uniform(4.2, 5.5), rng.uniform(0.35, 0.8)
    c.shadow(rectangle_at(at, long, wide, theta), 10)
    c.fill(rectangle_at(at, long, wide, theta), (tone * 0.4, tone * 0.4, tone * 0.4), grain=0.05)
    if rng.random() < 0.6:
        _hull(c, at, long * rng.uniform(0.6, 0.98), theta)
    for side in (-0.5, 0.5):
        c.fill(rectangle_at(at + across * side * wide, long, 6, theta), (tone, tone, tone * 0.96), grain=0.04)


def _stacks(c: Canvas, edge: F64, u: F64, out: F64, theta: float, corner: float) -> None:
    """Blocks of boxes in rows along the quay with pale lanes between them: long, ship-sized, and no ships."""
    rng = c.rng
    across = rng.uniform(40, 80)
    while across < 1.2 * c.extent_m:
        wide, s = float(rng.uniform(14, 24)), -0.9 * c.extent_m
        while s < min(corner - 20, 0.9 * c.extent_m):
            long = float(rng.uniform(60, 260))
            for bay in np.arange(0, long - 12, 12.6):
                if rng.random() < 0.12:
                    continue
                paint = vary(rng, FLEET[rng.integers(len(FLEET))], 0.3)
                p = edge - out * across + u * (s + bay)
                c.fill(rectangle_at(p, 12, wide * rng.uniform(0.5, 1), theta), paint, 0.9, grain=0.25)
            s += long + rng.uniform(8, 30)
        across += wide + rng.uniform(6, 40)


def _alongside(c: Canvas, at: F64, long: float, theta: float, away: F64) -> None:
    """A ship at the quay, mostly with boxes; at times a barge on its other side."""
    rng = c.rng
    off = rng.uniform(1, 5) + long / 12.6
    kind = "container" if rng.random() < 0.75 else str(rng.choice(ANY_SHIP, p=SHIP_SHARES))
    p = at + away * off
    near = beside(c, at - away * rng.uniform(8, 60))
    vessel(c, float(p[0]), float(p[1]), long, theta + rng.choice([0, np.pi]), kind)
    if rng.random() < 0.3:
        fade(c, near, rng.uniform(0.3, 0.65))
    if rng.random() < 0.12:
        ship = long * rng.uniform(0.2, 0.4)
        _hull(c, at + away * (off + long / 12.6 + ship / 10 + 2), ship, theta)


def _gantries(c: Canvas, at: F64, long: float, theta: float, away: F64, *, parked: bool = False) -> None:
    """Cranes abreast: portal on the quay, boom over the ship or raised, shadows of both; parked ones stand leg to leg."""
    rng = c.rng
    along, paint = axes(theta)[0], vary(rng, PAINTS[rng.integers(len(PAINTS))])
    solid = (0.7, 1.0) if rng.random() < 0.35 else (0.2, 0.6)  # of the portals: white blobs on the quay
    number = int(rng.integers(2, 10)) if parked or rng.random() < 0.6 else max(2, int(long / rng.uniform(28, 50)))
    gap = rng.uniform(22, 32) if parked else 0.9 * long / (number - 1)
    for s in (np.arange(number) - (number - 1) / 2) * gap + rng.normal(0, 1.5 if parked else 4.0, number):
        base = at + along * s
        down, high = rng.random() < 0.7, rng.uniform(25, 45)
        reach, back = (rng.uniform(30, 65) if down else 8.0), rng.uniform(20, 50)
        boom = rectangle_at(base + away * (reach - back) / 2, reach + back, rng.uniform(2.5, 6), theta + np.pi / 2)
        c.darken(boom + c.light.shadow * high, 0.55)
        c.darken(rectangle_at(base - away * 12, 30, 18, theta + np.pi / 2) + c.light.shadow * high * 0.5, 0.7)
        c.fill(rectangle_at(base - away * 14, 24, rng.uniform(14, 24), theta + np.pi / 2), paint, rng.uniform(*solid))
        c.fill(boom + c.light.lean * high, paint, rng.uniform(0.6, 1.0))


def _boom(c: Canvas, at: F64, heading: float, reach: float) -> None:
    """A jib crane."""
    paint = vary(c.rng, PAINTS[c.rng.integers(len(PAINTS))])
    tip = at + axes(heading)[0] * reach
    c.line(np.stack([at, tip]) + c.light.shadow * 20, 2.5, (0.05, 0.05, 0.05), 0.4)
    c.line(np.stack([at, tip]) + c.light.lean * 25, 2.5, paint, 0.9)


def _anchored(c: Canvas, edge: F64, out: F64) -> None:
    """Ships at anchor and under way, on open water, clear of each other; now and then two lie side by side."""
    rng = c.rng
    for _ in range(int(rng.integers(0, 9))):
        p, long = rng.uniform(0, c.extent_m, 2), float(np.exp(rng.uniform(np.log(21), np.log(340))))
        if (p - edge) @ out < 0.6 * long + 120 or not free(c, p, long):
            continue
        theta = rng.uniform(-np.pi, np.pi)
        _hull(c, p, long, theta)
        if rng.random() < 0.15:
            ship = long * rng.uniform(0.3, 1.0)
            _hull(c, p + axes(theta)[1] * (long + ship) / 12.0, ship, theta)


def _haze(c: Canvas) -> None:
    """Dust and thin cloud: a veil of one tone, patchy, through which hulls keep little contrast."""
    rng = c.rng
    if rng.random() > 0.4:
        return
    cells = int(rng.integers(2, 8))
    patchy: F32 = cv2.resize(rng.normal(0, 0.12, (cells, cells)).astype(np.float32), (c.size, c.size), interpolation=cv2.INTER_CUBIC)
    veil = np.clip(rng.uniform(0.1, 0.65) + patchy, 0, 0.85)[..., None]
    c.image += veil * (np.asarray(vary(rng, (0.75, 0.7, 0.6), 0.2), np.float32) - c.image)
