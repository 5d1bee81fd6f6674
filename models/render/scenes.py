"""Places at sub-metre GSD: rail yards, container terminals, quays, and empty ground that looks like them."""

import numpy as np
from numpy.typing import NDArray

from models.render.canvas import F64, Canvas, Colour, rectangle, rectangle_at
from models.render.objects import CAR_PAINT, CARS, CONTAINER_SIZES, FLEET, car, container, lorry, railcar, shade, vary, vessel

TRACK_SPACING = (4.5, 5.3)
"""Distance between track centres, metres (METHOD 4.2)."""
COUPLING = (0.8, 1.9)
"""Body-to-body gap in a string, metres, mode 1.1 (METHOD 4.2)."""


def ground(c: Canvas, colour: Colour) -> None:
    """Plain ground with mottle and grain."""
    c.image[:] = np.asarray(colour, np.float32)
    c.mottle(c.rng.uniform(8, 40), 0.07)
    c.mottle(c.rng.uniform(1, 4), 0.05)
    c.grain(c.rng.uniform(0.02, 0.10))


def _curve(c: Canvas, offset: float, theta: float, bend: float) -> F64:
    """(P, 2) points of a track `offset` metres beside the chip's centre line."""
    s = np.linspace(-c.extent_m, c.extent_m, 60)
    across = offset + bend * s**2
    mid = c.extent_m / 2
    return np.stack(
        [mid + s * np.cos(theta) - across * np.sin(theta), mid + s * np.sin(theta) + across * np.cos(theta)],
        axis=1,
    )


def _track(c: Canvas, points: F64, ballast: Colour | None, sleepers: float) -> None:
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


def string(c: Canvas, points: F64, start: float, number: int, uniform: bool) -> None:
    """A string of coupled cars along a track, from `start` metres on."""
    steps = np.cumsum(np.r_[0, np.hypot(*np.diff(points, axis=0).T)])
    names = list(CARS)
    weights = np.array([0.20, 0.20, 0.14, 0.18, 0.14, 0.08, 0.04, 0.02])
    kind = str(c.rng.choice(names, p=weights))
    length = c.rng.uniform(*CARS[kind][1])
    paint, loaded = CAR_PAINT[c.rng.integers(len(CAR_PAINT))], bool(c.rng.random() < 0.6)
    s = start
    for _ in range(number):
        if not uniform:
            kind = str(c.rng.choice(names, p=weights))
            length = c.rng.uniform(*CARS[kind][1])
            paint, loaded = CAR_PAINT[c.rng.integers(len(CAR_PAINT))], bool(c.rng.random() < 0.6)
        at = s + length / 2
        x, y = np.interp(at, steps, points[:, 0]), np.interp(at, steps, points[:, 1])
        ahead = at + 2
        theta = np.arctan2(np.interp(ahead, steps, points[:, 1]) - y, np.interp(ahead, steps, points[:, 0]) - x)
        if -25 < x < c.extent_m + 25 and -25 < y < c.extent_m + 25:
            railcar(c, float(x), float(y), float(theta), kind, length, vary(c.rng, paint, 0.1), loaded)
        s += length + float(c.rng.triangular(COUPLING[0], 1.1, COUPLING[1]))


def rail_yard(c: Canvas, *, cars: bool = True) -> None:
    """Parallel, slightly curved tracks with ballast, masts and, on some of them, strings of cars."""
    rng = c.rng
    tone = rng.uniform(0.22, 0.55)
    ground(c, (tone * rng.uniform(0.98, 1.1), tone, tone * rng.uniform(0.82, 1.0)))
    theta, bend = rng.uniform(-np.pi, np.pi), rng.normal(0, 0.0004)
    if rng.random() < 0.6:
        _verges(c, theta)
    spacing = rng.uniform(*TRACK_SPACING)
    ballast = None if rng.random() < 0.3 else vary(rng, (tone, tone * 0.95, tone * 0.9), 0.15)
    reach, offset = c.extent_m * 0.75, -c.extent_m * 0.75
    tracks = []
    while offset < reach:
        tracks.append(_curve(c, offset, theta, bend))
        offset += spacing + (rng.uniform(3, 14) if rng.random() < 0.12 else rng.normal(0, 0.15))
    sleepers = float(rng.uniform(0.2, 0.8)) if c.gsd_m < 0.45 and rng.random() < 0.6 else 0.0
    for points in tracks:
        _track(c, points, ballast, sleepers)
    for _ in range(rng.integers(0, 3)):  # a switch or a diagonal track across the others
        _track(
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
            number = int(rng.integers(1, 14))
            string(c, points, start, number, bool(rng.random() < 0.55))
            start += number * 16.0 + rng.uniform(3, 40)
    _masts(c, theta)
    _clutter(c, int(rng.integers(0, 14)))


def _verges(c: Canvas, theta: float) -> None:
    """Strips of grass, gravel, road beside and between tracks."""
    mid = c.extent_m / 2
    for _ in range(c.rng.integers(1, 4)):
        off = c.rng.uniform(-mid * 1.2, mid * 1.2)
        green = c.rng.random() < 0.5
        colour = (0.22, 0.30, 0.16) if green else (c.rng.uniform(0.3, 0.6),) * 3
        strip = rectangle(mid - off * np.sin(theta), mid + off * np.cos(theta), 3 * c.extent_m, c.rng.uniform(2, 16), theta)
        c.fill(strip, vary(c.rng, colour), 0.85, grain=0.12 if green else 0.04)


def _masts(c: Canvas, theta: float) -> None:
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


def _clutter(c: Canvas, number: int) -> None:
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


def terminal(c: Canvas) -> None:
    """Container blocks: rows side by side, bays end to end, 1-5 tiers, with lanes, lorries, lane paint and cranes."""
    rng = c.rng
    tone = rng.uniform(0.2, 0.5)
    ground(c, (tone, tone * 0.98, tone * 0.95))
    theta = rng.uniform(-np.pi, np.pi)
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    mid = np.array([c.extent_m / 2] * 2)
    for off in np.arange(-c.extent_m, c.extent_m, rng.uniform(12, 40)):
        c.line(np.stack([mid + v * off - u * 200, mid + v * off + u * 200]), 0.2, (0.8, 0.8, 0.7), 0.5)
    reach, across = c.extent_m * 0.75, -c.extent_m * 0.75
    packed = rng.random() < 0.5  # a full yard: whole blocks of nearly equal stacks, told apart by paint alone
    fill, palette = 1.0 if packed else rng.uniform(0.35, 1.0), rng.permutation(len(FLEET))[: rng.integers(3, len(FLEET))]
    while across < reach:
        rows = int(rng.integers(4, 9)) if packed else int(rng.integers(1, 9))
        along = -reach + rng.uniform(0, 12)
        while along < reach:
            bays = int(rng.integers(6, 14)) if packed else int(rng.integers(1, 12))
            along = _block(c, mid + u * along + v * across, theta, rows, bays, fill, palette, along)
            along += rng.uniform(0.3, 1.0) if rng.random() < 0.5 else rng.uniform(4, 25)
        across += rows * 2.7 + rng.uniform(3, 25)
    for _ in range(rng.integers(0, 10)):
        p = mid + rng.uniform(-reach, reach, 2)
        if not _covered(c, p):
            lorry(
                c,
                float(p[0]),
                float(p[1]),
                theta + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1),
                bool(rng.random() < 0.7),
            )
    _cranes(c, theta)


def _covered(c: Canvas, p: F64) -> bool:
    """Whether a place is within a lorry's length of a labelled object."""
    return any(bool(np.hypot(*(o.mean(axis=0) - p)) < 9.5) for o, _, _ in c.labels)


def _block(c: Canvas, origin: F64, theta: float, rows: int, bays: int, fill: float, palette: NDArray[np.int64], along: float) -> float:
    """One block of stacks; returns how far along its end lies. Low stacks first, so that high ones lean over them."""
    rng = c.rng
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    pitch = 2.438 + rng.uniform(0.05, 0.4)
    top_tier = int(rng.integers(1, 6))
    one_colour = rng.random() < 0.25
    stacks, end = [], 0.0
    for _ in range(bays):
        length, height = CONTAINER_SIZES[rng.choice(5, p=[0.05, 0.32, 0.29, 0.29, 0.05])]
        for row in range(rows):
            if rng.random() < fill:
                tiers = int(rng.integers(1, top_tier + 1)) if rng.random() < 0.5 else top_tier
                centre = origin + u * (end + length / 2 + rng.normal(0, 0.08)) + v * (row * pitch + rng.normal(0, 0.04))
                which = int(palette[0] if one_colour else palette[rng.integers(len(palette))])
                stacks.append((tiers, centre, length, tiers * height, which))
        end += length + rng.uniform(0.1, 0.6)
    for _, centre, length, top, _ in stacks:
        c.shadow(rectangle(float(centre[0]), float(centre[1]), length, 2.438, theta), top)
    drawn: list[tuple[F64, float]] = []
    for _, centre, length, top, which in sorted(stacks, key=lambda s: s[0]):
        for other, height in drawn:  # a stack shades the lower tops beside it, not only the ground
            if height > top and np.hypot(*(other - centre)) < 14:
                c.shadow(rectangle(float(other[0]), float(other[1]), length, 2.438, theta), height - top)
        skew = theta + rng.normal(0, 0.006)
        container(c, float(centre[0]), float(centre[1]), skew, length, vary(rng, FLEET[which], 0.14), 0.0, top)
        drawn.append((centre, top))
    return along + end


def _cranes(c: Canvas, theta: float) -> None:
    """Gantries over the blocks: thin bright beams high up, with far shadows."""
    for _ in range(c.rng.integers(0, 4)):
        x, y = c.rng.uniform(0, c.extent_m, 2)
        colour = vary(c.rng, [(0.6, 0.28, 0.2), (0.8, 0.7, 0.2), (0.7, 0.7, 0.72), (0.2, 0.4, 0.6)][c.rng.integers(4)])
        length, heading, high = c.rng.uniform(20, 70), theta + np.pi / 2 + c.rng.normal(0, 0.02), c.rng.uniform(15, 40)
        u, v = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
        half = c.rng.uniform(1.5, 4)
        for off in (-half, half):
            beam = rectangle_at(np.array([x, y]) + v * off, length, 1.1, heading)
            c.darken(beam + c.light.shadow * high, 0.65)
            c.fill(beam + c.light.lean * high, colour)
        at = np.array([x, y]) + c.light.lean * high - u * length / 2
        side = 1
        for step in np.arange(0, length, 2 * half):  # bracing: box-sized panes that are no boxes
            a, b = at + u * step - v * half * side, at + u * min(step + 2 * half, length) + v * half * side
            c.line(np.stack([a, b]), 0.5, colour, 0.9)
            side = -side


def negative(c: Canvas) -> None:
    """Ground that looks like a target and holds none: trailers, parking rows, roofs, greenhouses, empty tracks, fields."""
    rng = c.rng
    what = rng.integers(5)
    if what == 0:
        rail_yard(c, cars=False)
        return
    tone = rng.uniform(0.2, 0.55)
    ground(c, vary(rng, (tone, tone, tone * 0.93) if what != 4 else (0.25, 0.32, 0.18)))
    theta = rng.uniform(0, np.pi)
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    mid = np.array([c.extent_m / 2] * 2)
    if what in {1, 2}:
        pitch, step = (3.4, 22.0) if what == 1 else (2.6, 8.0)
        for row in np.arange(-c.extent_m, c.extent_m, step + rng.uniform(0, 6)):
            for at in np.arange(-c.extent_m, c.extent_m, pitch):
                p = mid + u * at + v * row
                if rng.random() < 0.75 and (p > 0).all() and (p < c.extent_m).all():
                    if what == 1:
                        lorry(c, float(p[0]), float(p[1]), theta + np.pi / 2 + rng.normal(0, 0.02), boxed=False)
                    else:
                        car(c, float(p[0]), float(p[1]), theta + np.pi / 2)
    else:
        for _ in range(rng.integers(4, 30)):
            p = rng.uniform(0, c.extent_m, 2)
            base = rectangle(
                float(p[0]),
                float(p[1]),
                rng.uniform(6, 45),
                rng.uniform(5, 22),
                theta + rng.choice([0, np.pi / 2]),
            )
            colour, height = vary(rng, (0.5, 0.47, 0.44), 0.35), rng.uniform(3, 10)
            c.shadow(base, height)
            roof = c.prism(base, height, colour, shade(colour, 0.5))
            for k in np.linspace(0, 1, int(rng.integers(2, 14))):  # roof ribs, skylights, ridges
                a, b = roof[0] + k * (roof[1] - roof[0]), roof[3] + k * (roof[2] - roof[3])
                c.line(np.stack([a, b]), 0.3, shade(colour, rng.uniform(0.7, 1.25)), 0.6)
    _clutter(c, int(rng.integers(0, 25)))


def quay(c: Canvas) -> None:
    """A ship with boxes on deck beside an apron, sub-metre."""
    terminal(c)
    rng, mid = c.rng, c.extent_m / 2
    theta = rng.uniform(-np.pi, np.pi)
    normal = np.array([-np.sin(theta), np.cos(theta)])
    water = rectangle_at(np.array([mid, mid]) + normal * c.extent_m * 0.75, 4 * c.extent_m, 1.5 * c.extent_m, theta)
    c.labels = [item for item in c.labels if not (((item[0].mean(axis=0) - mid) @ normal) > -4)]
    c.fill(water, vary(rng, (0.10, 0.16, 0.18), 0.3), grain=0.06)
    length = rng.uniform(80, 300)
    beam = length / 6.3
    p = np.array([mid, mid]) + normal * (beam / 2 + 2) + np.array([np.cos(theta), np.sin(theta)]) * rng.uniform(-0.3, 0.3) * length
    vessel(
        c,
        float(p[0]),
        float(p[1]),
        length,
        theta,
        str(rng.choice(["container", "bulk", "container"])),
        boxes=True,
    )
