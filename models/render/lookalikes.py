"""What is taken for a hull at 2-12 m: berths of marinas, empty jetties, oil islands, tank rows, stacks, roofs, roads in dark woods."""

import numpy as np

from models.render.canvas import F64, Canvas, Colour, axes, rectangle_at
from models.render.objects import FLEET, vary
from models.render.port import afloat_clutter, open_water
from models.render.shore import ROOFS, at_anchor, hull, tank

WOODS: tuple[Colour, ...] = ((0.06, 0.09, 0.06), (0.10, 0.14, 0.08), (0.16, 0.18, 0.11), (0.24, 0.22, 0.16))
"""Dark conifers, broadleaf, scrub, dry grass."""


def lookalike(c: Canvas) -> None:
    """A coast of such things, and ships at some of the jetties and on the water, so that neither is told by its surroundings."""
    rng = c.rng
    open_water(c)
    theta = rng.uniform(-np.pi, np.pi)
    u, out = axes(theta)
    edge = np.array([c.extent_m / 2] * 2) + out * rng.uniform(-0.35, 0.35) * c.extent_m
    _hinterland(c, edge, u, out, theta)
    s = -0.75 * c.extent_m
    while s < 0.75 * c.extent_m:
        at, what = edge + u * s, rng.random()
        if what < 0.35:
            s += _marina(c, at, u, out, theta)
        elif what < 0.65:
            s += _empty_jetty(c, at, out, theta)
        else:
            s += rng.uniform(30, 200)
        s += rng.uniform(10, 100)
    for _ in range(int(rng.integers(0, 3))):
        _island(c, rng.uniform(0, c.extent_m, 2))
    at_anchor(c, edge, out, int(rng.integers(0, 8)))
    afloat_clutter(c)


def _hinterland(c: Canvas, edge: F64, u: F64, out: F64, theta: float) -> None:
    """Woods with roads, or open ground; rows of long roofs, of tanks, of boxes, side by side like ships in a dock."""
    rng, depth = c.rng, 2.0 * c.extent_m
    dark = rng.random() < 0.5
    tone = rng.uniform(0.25, 0.75)
    ground = vary(rng, WOODS[rng.integers(len(WOODS))] if dark else (tone, tone * 0.93, tone * 0.82), 0.2)
    c.fill(rectangle_at(edge - out * depth / 2, 4 * c.extent_m, depth, theta), ground, grain=0.15)
    for _ in range(int(rng.integers(1, 7))):  # roads and clearings: bright, as wide as a hull, short and long
        p = edge - out * rng.uniform(0.02, 0.9) * c.extent_m + u * rng.uniform(-0.6, 0.6) * c.extent_m
        paint, heading = vary(rng, (0.5, 0.48, 0.45), 0.3), rng.uniform(-np.pi, np.pi)
        if rng.random() < 0.5:
            ahead = np.array([np.cos(heading), np.sin(heading)]) * rng.uniform(40, 500)
            bend = rng.normal(0, 40, 2)
            c.line(np.stack([p - ahead, p + bend, p + ahead]), rng.uniform(6, 25), paint, 0.9)
        else:
            c.fill(rectangle_at(p, rng.uniform(20, 250), rng.uniform(8, 40), heading), paint, grain=0.06)
    for _ in range(int(rng.integers(1, 7))):
        p = edge - out * rng.uniform(20, 0.7 * c.extent_m) + u * rng.uniform(-0.6, 0.6) * c.extent_m
        turn, what = theta + float(rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])), rng.random()
        if what < 0.45:
            _rows(c, p, turn, roofs=True)
        elif what < 0.7:
            _rows(c, p, turn, roofs=False)
        else:
            _tanks(c, p, turn)


def _rows(c: Canvas, at: F64, theta: float, *, roofs: bool) -> None:
    """Two to twelve long roofs, or rows of boxes in many paints, abreast."""
    rng = c.rng
    u, v = axes(theta)
    long, wide = float(np.exp(rng.uniform(np.log(30), np.log(280)))), float(rng.uniform(8, 35))
    gap, paint, high = rng.uniform(4, 30), ROOFS[rng.integers(len(ROOFS))], rng.uniform(4, 14)
    for k in range(int(rng.integers(2, 13))):
        p = at + v * k * (wide + gap)
        base = rectangle_at(p, long * rng.uniform(0.8, 1.0), wide, theta)
        c.shadow(base, high)
        if roofs:
            c.fill(base, vary(rng, paint, 0.1), grain=0.03)
            continue
        for bay in np.arange(-long / 2, long / 2, 12.6):
            if rng.random() < 0.9:
                tint = vary(rng, FLEET[rng.integers(len(FLEET))], 0.3)
                c.fill(rectangle_at(p + u * bay, 12.0, wide * rng.uniform(0.5, 1.0), theta), tint, 0.95, grain=0.2)


def _tanks(c: Canvas, at: F64, theta: float) -> None:
    """A row or two of tanks, nearly touching: at a coarse GSD one bright bar."""
    rng = c.rng
    radius, (u, v) = rng.uniform(6, 30), axes(theta)
    pitch = radius * rng.uniform(2.05, 3.0)
    for row in range(int(rng.integers(1, 4))):
        for k in range(int(rng.integers(2, 8))):
            tank(c, at + u * k * pitch + v * row * pitch, radius)


def _marina(c: Canvas, at: F64, u: F64, out: F64, theta: float) -> float:
    """A basin of pontoons with fingers and boats of 6-19 m, some berths empty; a mole around it, or none; returns its length."""
    rng = c.rng
    wide, deep = float(rng.uniform(80, 450)), float(rng.uniform(60, 350))
    stone, tone = vary(rng, (0.5, 0.47, 0.42), 0.2), rng.uniform(0.4, 0.85)
    if rng.random() < 0.6:
        gap = rng.uniform(0.6, 0.9)
        corners = np.stack([at, at + out * deep, at + out * deep + u * wide * gap])
        c.line(corners, rng.uniform(5, 15), stone)
    boat, full = rng.uniform(6, 19), rng.uniform(0.2, 0.95)
    pitch = 2 * boat + rng.uniform(8, 25)
    along_shore = rng.random() < 0.5
    a, b, reach, span = (out, u, wide, deep) if along_shore else (u, out, deep, wide)
    heading = theta if along_shore else theta + np.pi / 2
    for offset in np.arange(pitch / 2, span, pitch):
        start = at + a * offset
        c.line(np.stack([start, start + b * reach * 0.92]), rng.uniform(2, 5), (tone, tone * 0.97, tone * 0.92), 0.9)
        for k in np.arange(4, reach * 0.9, max(4.0, boat * 0.38)):
            for side in (-1, 1):
                if rng.random() < full:
                    p = start + b * k + a * side * (boat / 2 + 2)
                    paint = vary(rng, (0.85, 0.85, 0.84) if rng.random() < 0.8 else (0.2, 0.25, 0.4), 0.1)
                    c.fill(rectangle_at(p, boat * rng.uniform(0.7, 1.0), boat * 0.27, heading + np.pi / 2), paint, 0.9)
    return wide


def _empty_jetty(c: Canvas, at: F64, out: F64, theta: float) -> float:
    """A jetty in pieces: trestle, platforms, dolphins, catwalks, each as long as a hull; a ship beside it now and then."""
    rng = c.rng
    long, reach, tone = float(rng.uniform(80, 360)), rng.uniform(20, 250), rng.uniform(0.35, 0.9)
    paint, heading = (tone, tone * 0.97, tone * 0.9), theta + float(rng.choice([0.0, np.pi / 2, rng.normal(0, 0.3)]))
    head, ahead = at + out * reach, np.array([np.cos(heading), np.sin(heading)])
    c.line(np.stack([at - out * 10, head]), rng.uniform(3, 9), paint)
    s = -long / 2
    while s < long / 2:
        piece = float(rng.uniform(10, 110))
        base = rectangle_at(head + ahead * (s + piece / 2), piece, rng.uniform(4, 18), heading)
        c.shadow(base, 4)
        c.fill(base, vary(rng, paint, 0.1), grain=0.04)
        s += piece + rng.uniform(0, 40)
    if rng.random() < 0.4:
        c.line(np.stack([head - ahead * long / 2, head + ahead * long / 2]), 2.0, paint, 0.7)
    if rng.random() < 0.35:
        ship, side = float(rng.uniform(0.4, 1.0) * long), np.array([-ahead[1], ahead[0]]) * rng.choice([-1, 1])
        hull(c, head + side * (10 + ship / 12.6), ship, heading + rng.choice([0, np.pi]))
    return long


def _island(c: Canvas, at: F64) -> None:
    """A made island: stone edge, pale ground, palms, sheds and rigs; its edges and corners are hull-sized."""
    rng = c.rng
    theta, long, wide = rng.uniform(0, np.pi), rng.uniform(60, 260), rng.uniform(50, 180)
    if any(np.hypot(*(o.outline.mean(axis=0) - at)) < long + 200 for o in c.labels):
        return
    for grow, paint in ((1.0, (0.45, 0.43, 0.4)), (0.8, (0.3, 0.34, 0.2)), (0.65, (0.6, 0.56, 0.48))):
        c.fill(rectangle_at(at, long * grow, wide * grow, theta), vary(rng, paint, 0.2), grain=0.08)
    for _ in range(int(rng.integers(2, 12))):
        p = at + rng.uniform(-0.3, 0.3, 2) * min(long, wide)
        base = rectangle_at(p, rng.uniform(8, 50), rng.uniform(5, 20), theta + rng.choice([0, np.pi / 2]))
        c.shadow(base, rng.uniform(4, 40))
        c.fill(base, vary(rng, ROOFS[rng.integers(len(ROOFS))], 0.3))
