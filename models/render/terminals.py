"""Container terminals and quays at sub-metre GSD."""

import numpy as np
from numpy.typing import NDArray

from models.render.canvas import F64, Canvas, Colour, rectangle_at
from models.render.objects import CONTAINER_SIZES, CONTAINER_WIDTH, FLEET, PALE, VESSEL, shade, stack, vary, vessel
from models.render.scenes import ground
from models.render.vehicles import car, lorry

STEEL: tuple[Colour, ...] = ((0.6, 0.28, 0.2), (0.8, 0.7, 0.2), (0.7, 0.7, 0.72), (0.2, 0.4, 0.6), (0.35, 0.36, 0.38))
"""Paints of cranes."""

REEFERS = 0.15
"""Share of the blocks with sockets: refrigerated boxes, white or nearly so, told apart by the lines between them."""


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
    return any(bool(np.hypot(*(o.outline.mean(axis=0) - p)) < 9.5) for o in c.labels)


def _block(c: Canvas, origin: F64, theta: float, rows: int, bays: int, fill: float, palette: NDArray[np.int64], along: float) -> float:
    """One block of stacks; returns how far along its end lies. Low stacks first, so that high ones lean over them."""
    rng = c.rng
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    pitch = 2.438 + rng.uniform(0.05, 0.4)
    top_tier = int(rng.integers(1, 6))
    if rng.random() < REEFERS:
        palette = np.array(PALE)
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
    placed = [(rectangle_at(centre, length, CONTAINER_WIDTH, theta), top) for _, centre, length, top, _ in stacks]
    for i in c.rising(placed):
        tiers, centre, length, top, which = stacks[i]
        stack(c, centre, theta + rng.normal(0, 0.006), length, vary(rng, FLEET[which], 0.14), 0.0, tiers, top / tiers)
    return along + end


def _cranes(c: Canvas, theta: float) -> None:
    """Gantries over the blocks: thin bright beams high up, with far shadows."""
    for _ in range(c.rng.integers(0, 4)):
        at, heading = c.rng.uniform(0, c.extent_m, 2), theta + np.pi / 2 + c.rng.normal(0, 0.02)
        _truss(c, at, c.rng.uniform(20, 70), c.rng.uniform(1.5, 4), heading, c.rng.uniform(15, 40))


def _truss(c: Canvas, centre: F64, length: float, half: float, heading: float, high: float) -> None:
    """Two beams `half` metres on either side, braced between: box-sized panes that are no boxes."""
    colour = vary(c.rng, STEEL[c.rng.integers(len(STEEL))])
    u, v = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    for off in (-half, half):
        beam = rectangle_at(centre + v * off, length, 1.1, heading)
        c.darken(beam + c.light.shadow * high, 0.65)
        c.fill(beam + c.light.lean * high, colour)
    at = centre + c.light.lean * high - u * length / 2
    side = 1
    for step in np.arange(0, length, 2 * half):
        a, b = at + u * step - v * half * side, at + u * min(step + 2 * half, length) + v * half * side
        c.line(np.stack([a, b]), 0.5, colour, 0.9)
        side = -side


def quay(c: Canvas) -> None:
    """A terminal that ends at a quay: coping, fenders, crane rails, hatch covers on the apron, at times a ship, and cranes."""
    terminal(c)
    rng, mid = c.rng, np.array([c.extent_m / 2] * 2)
    theta = rng.uniform(-np.pi, np.pi)
    along, out = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    apron = float(rng.choice([0.0, rng.uniform(20, 60)]))
    c.labels = [o for o in c.labels if (o.outline.mean(axis=0) - mid) @ out < -4 - apron]
    if apron:
        tone = rng.uniform(0.25, 0.6)
        c.fill(rectangle_at(mid - out * apron / 2, 4 * c.extent_m, apron, theta), (tone, tone * 0.98, tone * 0.94), grain=0.06)
    water = rectangle_at(mid + out * c.extent_m * 0.75, 4 * c.extent_m, 1.5 * c.extent_m, theta)
    c.fill(water, vary(rng, (0.10, 0.16, 0.18), 0.3), grain=0.06)
    _edge(c, mid, theta, apron)
    if apron:
        _on_apron(c, mid, along, out, theta, apron)
    if rng.random() < 0.75:
        length = rng.uniform(80, 300)
        p = mid + out * (length / 12.6 + 2) + along * rng.uniform(-0.3, 0.3) * length
        vessel(c, float(p[0]), float(p[1]), length, theta, str(rng.choice(["container", "bulk", "container"])), boxes=True)
    for _ in range(int(rng.integers(0, 3))):  # tugs and barges: short hulls that are no boxes
        p = mid + out * rng.uniform(10, max(11.0, 0.4 * c.extent_m)) + along * rng.uniform(-0.5, 0.5) * c.extent_m
        if not any(np.hypot(*(o.outline.mean(axis=0) - p)) < 60 for o in c.labels if o.cls == VESSEL):
            vessel(c, float(p[0]), float(p[1]), rng.uniform(9, 35), rng.uniform(-np.pi, np.pi), "plain")
    if apron:
        for _ in range(int(rng.integers(0, 4))):
            _ship_to_shore(c, mid + along * rng.uniform(-0.5, 0.5) * c.extent_m, along, out, theta, apron)


def _edge(c: Canvas, mid: F64, theta: float, apron: float) -> None:
    """The straight lines of a quay: coping, the dark gap under it, fenders, rails of the cranes."""
    rng = c.rng
    along, out = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    ends = np.array([[-2.0], [2.0]]) * c.extent_m * along
    tone = rng.uniform(0.3, 0.9)
    c.line(mid + ends - out * 0.6, rng.uniform(0.6, 3.2), (tone, tone * 0.98, tone * 0.93), 0.9)
    c.line(mid + ends + out * 1.2, rng.uniform(0.5, 3.0), (0.04, 0.05, 0.05), rng.uniform(0.3, 0.9))
    step, long = rng.uniform(5, 20), rng.uniform(0.8, 4)
    for at in np.arange(-c.extent_m, c.extent_m, step):
        c.fill(rectangle_at(mid + along * at + out * 1.0, long, rng.uniform(0.8, 2.4), theta), (0.06, 0.06, 0.06), 0.9)
    for back in (3.5, 3.5 + rng.uniform(14, 32)):
        if back < apron:
            c.line(mid + ends - out * back, 0.3, (0.25, 0.22, 0.2), 0.8)


def _on_apron(c: Canvas, mid: F64, along: F64, out: F64, theta: float, apron: float) -> None:
    """Hatch covers in piles, lorries in lanes, cars, spreaders: what lies about beside a ship."""
    rng = c.rng
    for _ in range(int(rng.integers(0, 9))):
        p = mid + along * rng.uniform(-0.6, 0.6) * c.extent_m - out * rng.uniform(6, apron - 4)
        what = rng.random()
        if what < 0.4:  # hatch covers are two to five boxes wide
            base, high = rectangle_at(p, rng.uniform(11, 14), rng.uniform(7, 15), theta), rng.uniform(0.8, 3.5)
            paint = vary(rng, (0.38, 0.24, 0.18), 0.4)
            c.shadow(base, high)
            roof = c.prism(base, high, paint, shade(paint, c.light.wall))
            for k in np.linspace(0.1, 0.9, int(rng.integers(2, 6))):
                a, b = roof[0] + k * (roof[1] - roof[0]), roof[3] + k * (roof[2] - roof[3])
                c.line(np.stack([a, b]), 0.35, shade(paint, 0.7), 0.7)
        elif what < 0.8:
            lorry(c, float(p[0]), float(p[1]), theta + rng.choice([0, np.pi]), boxed=bool(rng.random() < 0.5))
        else:
            car(c, float(p[0]), float(p[1]), theta)


def _ship_to_shore(c: Canvas, at: F64, along: F64, out: F64, theta: float, apron: float) -> None:
    """A crane that straddles the apron: two sill beams, four legs, a boom far out over the water, a house on top."""
    rng = c.rng
    gauge, wide, high = min(apron - 6, rng.uniform(15, 32)), rng.uniform(14, 24), rng.uniform(28, 48)
    paint = vary(rng, STEEL[rng.integers(len(STEEL))])
    for back in (3.5, 3.5 + gauge):
        base = rectangle_at(at - out * back, wide, rng.uniform(1.2, 2.2), theta)
        c.shadow(base, 5)
        c.prism(base, 3, paint, shade(paint, c.light.wall))
        for side in (-0.45, 0.45):
            foot = at - out * back + along * side * wide
            c.line(np.stack([foot, foot + c.light.shadow * high]), 1.4, (0.08, 0.08, 0.08), 0.45)
            c.line(np.stack([foot, foot + c.light.lean * high]), 1.4, shade(paint, 0.8), 0.9)
    reach = rng.uniform(30, 65) if rng.random() < 0.7 else 4.0  # boom down, or raised
    length = reach + gauge + rng.uniform(8, 22)
    _truss(c, at + out * (reach - length / 2), length, rng.uniform(2.0, 4.5), theta + np.pi / 2, high)
    house = rectangle_at(at - out * gauge * 0.9, rng.uniform(8, 14), rng.uniform(5, 9), theta) + c.light.lean * high
    c.fill(house, vary(rng, (0.6, 0.6, 0.58), 0.3))


def storage(c: Canvas) -> None:
    """Boxes in slots of which many stand empty: floor as large as a box between boxes, in sun and in shade, painted out, worn."""
    rng = c.rng
    tone = rng.uniform(0.15, 0.65)
    floor = vary(rng, (tone, tone * rng.uniform(0.94, 1.02), tone * rng.uniform(0.86, 1.02)), 0.05)
    ground(c, floor)
    mid, theta = np.array([c.extent_m / 2] * 2), rng.uniform(-np.pi, np.pi)
    palette = rng.permutation(len(FLEET))[: rng.integers(2, len(FLEET))]
    high = int(rng.choice([1, 1, 2, 3]))
    across = -0.75 * c.extent_m
    while across < 0.75 * c.extent_m:
        rows, pitch, along = (
            int(rng.integers(1, 9)),
            CONTAINER_WIDTH + float(rng.choice([rng.uniform(0.05, 0.5), rng.uniform(0.5, 2.5)])),
            -0.75 * c.extent_m,
        )
        while along < 0.75 * c.extent_m:
            turn = theta + (np.pi / 2 if rng.random() < 0.1 else 0.0)
            at = mid + np.array([np.cos(theta), np.sin(theta)]) * along + np.array([-np.sin(theta), np.cos(theta)]) * across
            along += _slots(c, at, turn, rows, pitch, palette, high, floor) + rng.uniform(0.3, 25)
        across += rows * pitch + rng.uniform(3, 25)
    if rng.random() < 0.3:
        _cranes(c, theta)


def _slots(
    c: Canvas, origin: F64, theta: float, rows: int, pitch: float, palette: NDArray[np.int64], high: int, floor: Colour
) -> float:
    """A block of slots of one length, taken at random; returns its length, metres. Paint or a worn patch marks some free ones."""
    rng = c.rng
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    length, height = CONTAINER_SIZES[rng.choice(5, p=[0.06, 0.3, 0.3, 0.3, 0.04])]
    bays, taken, step = int(rng.integers(1, 10)), rng.uniform(0.1, 0.9), length + rng.uniform(0.1, 1.2)
    painted, worn = rng.random() < 0.25, rng.random() < 0.25
    stacks = []
    for bay in range(bays):
        for row in range(rows):
            centre = origin + u * (bay + 0.5) * step + v * row * pitch
            if rng.random() < taken:
                which = int(palette[rng.integers(len(palette))])
                stacks.append(
                    (rectangle_at(centre, length, CONTAINER_WIDTH, theta), height * int(rng.integers(1, high + 1)), centre, which)
                )
                continue
            if worn and rng.random() < 0.5:
                c.fill(
                    rectangle_at(centre, length, CONTAINER_WIDTH, theta),
                    shade(floor, rng.uniform(0.8, 1.15)),
                    rng.uniform(0.2, 0.6),
                    grain=0.05,
                )
            if painted:
                outline = rectangle_at(centre, length + 0.2, CONTAINER_WIDTH + 0.2, theta)
                c.line(np.concatenate([outline, outline[:1]]), 0.15, (0.85, 0.85, 0.8), 0.6)
    for i in c.rising([(base, top) for base, top, _, _ in stacks]):
        _, top, centre, which = stacks[i]
        tilt = theta + rng.normal(0, 0.008)
        stack(c, centre + rng.normal(0, 0.07, 2), tilt, length, vary(rng, FLEET[which], 0.14), 0.0, round(top / height), height)
    return bays * step
