"""Rail yards at sub-metre GSD, and the ground, tracks, masts and clutter that other places share."""

import numpy as np

from models.render.canvas import F64, Canvas, Colour, rectangle
from models.render.objects import CAR_PAINT, CARS, railcar, shade, vary

TRACK_SPACING = (4.5, 5.3)
"""Distance between track centres, metres (METHOD 4.2)."""
COUPLING = (0.8, 1.9)
"""Body-to-body gap in a string, metres, mode 1.1 (METHOD 4.2)."""


def ground(c: Canvas, colour: Colour) -> None:
    """Plain ground with mottle and grain; what is known of a real place lies over it."""
    c.image[:] = np.asarray(colour, np.float32)
    c.mottle(c.rng.uniform(8, 40), 0.07)
    c.mottle(c.rng.uniform(1, 4), 0.05)
    c.grain(c.rng.uniform(0.02, 0.10))
    if c.backdrop is not None:
        pixels, known = c.backdrop
        c.image[known] = pixels[known]


def _curve(c: Canvas, offset: float, theta: float, bend: float) -> F64:
    """(P, 2) points of a track `offset` metres beside the chip's centre line."""
    s = np.linspace(-c.extent_m, c.extent_m, 60)
    across = offset + bend * s**2
    mid = c.extent_m / 2
    return np.stack(
        [mid + s * np.cos(theta) - across * np.sin(theta), mid + s * np.sin(theta) + across * np.cos(theta)],
        axis=1,
    )


def track(c: Canvas, points: F64, ballast: Colour | None, sleepers: float) -> None:
    """Ballast, sleepers of some strength (0: unseen) and two rails."""
    if ballast is not None:
        c.line(points, 3.4, ballast, 0.7)
    if sleepers:
        wood = vary(c.rng, (0.42, 0.38, 0.34), 0.2)
        steps = np.cumsum(np.r_[0, np.hypot(*np.diff(points, axis=0).T)])
        for s in np.arange(0, steps[-1], 0.6 if c.gsd_m < 0.25 else 1.2):
            x, y = np.interp(s, steps, points[:, 0]), np.interp(s, steps, points[:, 1])
            if -2 < x < c.extent_m + 2 and -2 < y < c.extent_m + 2:
                nx, ny = np.interp(s + 1, steps, points[:, 0]) - x, np.interp(s + 1, steps, points[:, 1]) - y
                c.fill(
                    rectangle(float(x), float(y), 2.5, 0.28, float(np.arctan2(nx, -ny))),
                    wood,
                    sleepers,
                )
    rail = float(c.rng.uniform(0.2, 0.75))
    normal = np.gradient(points, axis=0)
    normal = np.stack([-normal[:, 1], normal[:, 0]], axis=1) / np.hypot(*normal.T)[:, None]
    for side in (-0.74, 0.74):
        c.line(points + side * normal, 0.16, (rail, rail * 0.96, rail * 0.9), 0.9)


def string(c: Canvas, points: F64, start: float, number: int, uniform: bool) -> float:
    """A string of cars along a track, from `start` metres on, in a fifth of them with single cars gone; returns where it ends."""
    steps = np.cumsum(np.r_[0, np.hypot(*np.diff(points, axis=0).T)])
    names = list(CARS)
    weights = np.array([0.20, 0.20, 0.14, 0.18, 0.14, 0.08, 0.04, 0.02])
    kind = str(c.rng.choice(names, p=weights))
    length = c.rng.uniform(*CARS[kind][1])
    paint, loaded = CAR_PAINT[c.rng.integers(len(CAR_PAINT))], bool(c.rng.random() < 0.6)
    s = start
    gone = float(c.rng.uniform(0.1, 0.5)) if c.rng.random() < 0.2 else 0.0
    for _ in range(number):
        if not uniform:
            kind = str(c.rng.choice(names, p=weights))
            length = c.rng.uniform(*CARS[kind][1])
            paint, loaded = CAR_PAINT[c.rng.integers(len(CAR_PAINT))], bool(c.rng.random() < 0.6)
        at = s + length / 2
        x, y = np.interp(at, steps, points[:, 0]), np.interp(at, steps, points[:, 1])
        ahead = at + 2
        theta = np.arctan2(np.interp(ahead, steps, points[:, 1]) - y, np.interp(ahead, steps, points[:, 0]) - x)
        if c.rng.random() >= gone and -25 < x < c.extent_m + 25 and -25 < y < c.extent_m + 25:
            railcar(c, float(x), float(y), float(theta), kind, length, vary(c.rng, paint, 0.1), loaded)
        s += length + float(c.rng.triangular(COUPLING[0], 1.1, COUPLING[1]))
    return s


def rail_yard(c: Canvas, *, cars: bool = True) -> None:
    """Parallel, slightly curved tracks with ballast, masts and, on some of them, strings of cars."""
    rng = c.rng
    tone = rng.uniform(0.22, 0.55)
    ground(c, (tone * rng.uniform(0.98, 1.1), tone, tone * rng.uniform(0.82, 1.0)))
    theta, bend = rng.uniform(-np.pi, np.pi), rng.normal(0, 0.0004)
    if rng.random() < 0.6:
        verges(c, theta)
    spacing = rng.uniform(*TRACK_SPACING)
    bed = tone * rng.uniform(0.55, 1.25)  # of the tracks, against what lies between them
    ballast = None if rng.random() < 0.3 else vary(rng, (bed, bed * 0.95, bed * 0.9), 0.1)
    reach, offset = c.extent_m * 0.75, -c.extent_m * 0.75
    tracks = []
    while offset < reach:
        tracks.append(_curve(c, offset, theta, bend))
        offset += spacing + (rng.uniform(3, 14) if rng.random() < 0.12 else rng.normal(0, 0.15))
    sleepers = float(rng.uniform(0.2, 0.8)) if c.gsd_m < 0.45 and rng.random() < 0.6 else 0.0
    strips(c, theta, int(rng.integers(0, 10)))
    for points in tracks:
        track(c, points, ballast, sleepers)
    strips(c, theta, int(rng.integers(0, 5)))
    for _ in range(rng.integers(0, 3)):  # a switch or a diagonal track across the others
        track(
            c,
            _curve(c, rng.uniform(-30, 30), theta + rng.choice([-1, 1]) * rng.uniform(0.06, 0.2), 0),
            None,
            0.0,
        )
    share = rng.uniform(0.1, 0.8) if cars else 0.0
    for points in tracks:
        start = 0.0
        while rng.random() < share and start < 1.6 * c.extent_m:
            start += float(rng.uniform(0, c.extent_m * 0.7))
            start = string(c, points, start, int(rng.integers(1, 14)), bool(rng.random() < 0.55)) + rng.uniform(3, 40)
    masts(c, theta)
    clutter(c, int(rng.integers(0, 14)))


def strips(c: Canvas, theta: float, number: int) -> None:
    """Ballast laid anew, oil, weeds, paths: along the tracks, as wide as a body and at times as long."""
    rng = c.rng
    for _ in range(number):
        tone = rng.uniform(0.12, 0.7)
        x, y = rng.uniform(0, c.extent_m, 2)
        strip = rectangle(x, y, rng.uniform(5, 60), rng.uniform(1.2, 4.5), theta + rng.normal(0, 0.06))
        colour = (tone, tone * rng.uniform(0.93, 1.02), tone * rng.uniform(0.8, 1.02))
        c.fill(strip, colour, rng.uniform(0.3, 0.9), grain=rng.uniform(0.03, 0.15))


def verges(c: Canvas, theta: float) -> None:
    """Strips of grass, gravel, road beside and between tracks."""
    mid = c.extent_m / 2
    for _ in range(c.rng.integers(1, 4)):
        off = c.rng.uniform(-mid * 1.2, mid * 1.2)
        green = c.rng.random() < 0.5
        colour = (0.22, 0.30, 0.16) if green else (c.rng.uniform(0.3, 0.6),) * 3
        strip = rectangle(mid - off * np.sin(theta), mid + off * np.cos(theta), 3 * c.extent_m, c.rng.uniform(2, 16), theta)
        c.fill(strip, vary(c.rng, colour), 0.85, grain=0.12 if green else 0.04)


def masts(c: Canvas, theta: float) -> None:
    """Catenary portals or single masts with their shadows."""
    if c.rng.random() < 0.35:
        return
    mid, phase, tone = c.extent_m / 2, c.rng.uniform(0, 60), c.rng.uniform(0.4, 0.75)
    skew = theta + np.pi / 2 + c.rng.normal(0, 0.12)
    for at in np.arange(-c.extent_m + phase, c.extent_m, c.rng.uniform(35, 70)):
        x, y = mid + at * np.cos(theta), mid + at * np.sin(theta)
        beam = rectangle(x, y, c.rng.uniform(10, 140), 0.5, skew)
        c.darken(beam + c.light.shadow * 7.5, 0.7)
        c.fill(beam + c.light.lean * 7.5, (tone, tone, tone), 0.7)


def clutter(c: Canvas, number: int) -> None:
    """Huts, pallets, piles of sleepers, bushes, bright and dark patches: car-sized things that are not cars."""
    for _ in range(number):
        x, y = c.rng.uniform(0, c.extent_m, 2)
        base = rectangle(x, y, c.rng.uniform(1, 12), c.rng.uniform(0.8, 5), c.rng.uniform(0, np.pi))
        colour = vary(c.rng, (0.4, 0.38, 0.34), 0.5)
        if c.rng.random() < 0.5:
            height = c.rng.uniform(0.5, 4)
            c.shadow(base, height)
            c.prism(base, height, colour, shade(colour, 0.5))
        else:
            c.fill(base, colour, c.rng.uniform(0.3, 0.9), grain=0.1)
