"""Ground that looks like a target and is none: trailers, car parks, roofs, empty tracks; streets and viaducts beside a railway."""

import numpy as np

from models.render.canvas import F64, Canvas, Colour, axes, rectangle_at
from models.render.objects import CONTAINER_SIZES, CONTAINER_WIDTH, FLEET, shade, stack, vary
from models.render.scenes import TRACK_SPACING, clutter, ground, rail_yard, string, track
from models.render.vehicles import Lorry, car, lorry, parked

ROOFING: tuple[Colour, ...] = (
    (0.5, 0.47, 0.44), (0.75, 0.74, 0.72), (0.3, 0.29, 0.28), (0.42, 0.27, 0.22), (0.12, 0.12, 0.13), (0.2, 0.19, 0.18),
)  # fmt: skip
"""Sheet, membrane, felt, tile, bitumen."""


def negative(c: Canvas) -> None:
    """Ground that looks like a target and holds none: trailers, parking rows, roofs, greenhouses, empty tracks, fields."""
    rng = c.rng
    what = rng.integers(6)
    if what == 0:
        rail_yard(c, cars=False)
        return
    tone = rng.uniform(0.2, 0.55)
    ground(c, vary(rng, (tone, tone, tone * 0.93) if what != 4 else (0.25, 0.32, 0.18)))
    theta = rng.uniform(0, np.pi)
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    mid = np.array([c.extent_m / 2] * 2)
    if what in {1, 5}:
        row = -0.75 * c.extent_m
        while row < 0.75 * c.extent_m:
            row += _parked(c, row, theta, 0.0) + rng.uniform(1, 14)
    elif what == 2:
        for row in np.arange(-c.extent_m, c.extent_m, 8.0 + rng.uniform(0, 6)):
            for at in np.arange(-c.extent_m, c.extent_m, 2.6):
                p = mid + u * at + v * row
                if rng.random() < 0.75 and (p > 0).all() and (p < c.extent_m).all():
                    car(c, float(p[0]), float(p[1]), theta + np.pi / 2)
    else:
        for _ in range(rng.integers(4, 30)):
            p, turn = rng.uniform(0, c.extent_m, 2), theta + float(rng.choice([0, np.pi / 2]))
            long, wide, height = rng.uniform(6, 70), rng.uniform(5, 25), rng.uniform(3, 10)
            base, colour = rectangle_at(p, long, wide, turn), vary(rng, ROOFING[rng.integers(len(ROOFING))], 0.3)
            c.shadow(base, height)
            roof = c.prism(base, height, colour, shade(colour, 0.5))
            if long > 15 and rng.random() < 0.75:
                _on_roof(c, p + c.light.lean * height, turn, long, wide, colour)
                continue
            for k in np.linspace(0, 1, int(rng.integers(2, 14))):  # roof ribs, skylights, ridges
                a, b = roof[0] + k * (roof[1] - roof[0]), roof[3] + k * (roof[2] - roof[3])
                c.line(np.stack([a, b]), 0.3, shade(colour, rng.uniform(0.7, 1.25)), 0.6)
    clutter(c, int(rng.integers(0, 25)))


def street(c: Canvas) -> None:
    """Roads with lorries in lanes, some on viaducts, among roofs, car parks and trees; a railway with a train or two beside them."""
    rng = c.rng
    tone = rng.uniform(0.2, 0.5)
    dust = rng.uniform(0.6, 1.0)  # bare earth to asphalt
    ground(c, (tone, tone * (0.6 + 0.4 * dust), tone * (0.3 + 0.68 * dust)))
    theta, mid = rng.uniform(-np.pi, np.pi), np.array([c.extent_m / 2] * 2)
    out = np.array([-np.sin(theta), np.cos(theta)])
    at = -0.75 * c.extent_m
    while at < 0.75 * c.extent_m:
        what = rng.random()
        if what < 0.22:
            wide = float(rng.choice([2, 3, 4, 6])) * 3.6 + 3
            _road(c, mid + out * (at + wide / 2), theta + rng.normal(0, 0.01), wide, rng.uniform(5, 12) if rng.random() < 0.35 else 0.0)
        elif what < 0.39:
            wide = _railway(c, at, theta)
        elif what < 0.6:
            wide = rng.uniform(14, 40)
            _roofs(c, mid + out * (at + wide / 2), theta, wide)
        elif what < 0.66:
            wide = float(rng.integers(1, 5)) * 8.5
            _car_park(c, mid + out * at, theta, wide)
        elif what < 0.75:
            wide = 18.0
            _lot(c, mid + out * (at + wide / 2), theta)
        elif what < 0.92:
            wide = _parked(c, at, theta, rng.uniform(0, 1))
        else:
            wide = rng.uniform(3, 20)
            strip = rectangle_at(mid + out * (at + wide / 2), 3 * c.extent_m, wide, theta)
            c.fill(strip, vary(rng, (0.20, 0.27, 0.15), 0.2), 0.9, grain=0.15)
        at += wide + rng.uniform(0.5, 8)
    clutter(c, int(rng.integers(0, 12)))


def _road(c: Canvas, centre: F64, theta: float, wide: float, high: float) -> None:
    """Asphalt, parapets, lane paint and traffic; `high` metres above the ground with its shadow."""
    rng = c.rng
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    deck, tone = rectangle_at(centre, 3 * c.extent_m, wide, theta), rng.uniform(0.18, 0.5)
    if high:
        c.shadow(deck, high)
        c.prism(deck, high, (tone, tone, tone), shade((tone, tone, tone), c.light.wall))
    else:
        c.fill(deck, (tone, tone, tone * 0.98), grain=0.04)
    up, reach = c.light.lean * high, np.array([[-1.5], [1.5]]) * c.extent_m * u
    for side in (-0.5, 0.5):
        c.line(centre + up + reach + v * side * (wide - 0.6), rng.uniform(0.2, 0.7), (0.7, 0.7, 0.67), 0.8)
    busy, heavies = rng.uniform(0.05, 0.9), rng.uniform(0.1, 0.7)
    for lane in np.arange(-wide / 2 + 3.3, wide / 2 - 1.5, 3.6):
        for at in np.arange(-0.75 * c.extent_m, 0.75 * c.extent_m, rng.uniform(9, 15)):
            mark = rectangle_at(centre + up + u * at + v * (lane + 1.8), 3.5, 0.25, theta)
            c.fill(mark, (0.75, 0.75, 0.7), 0.7)
        at = -0.75 * c.extent_m + rng.uniform(0, 40)
        while at < 0.75 * c.extent_m:
            p, heavy = centre + up + u * at + v * lane, bool(rng.random() < heavies)
            _vehicle(c, p, theta, heavy=heavy)
            at += (18 if heavy else 6) + rng.exponential(6 / busy)


def _vehicle(c: Canvas, p: F64, theta: float, *, heavy: bool) -> None:
    """A car; or a lorry, three in ten with a container on it, or a bus."""
    if not heavy:
        car(c, float(p[0]), float(p[1]), theta)
    elif c.rng.random() < 0.2:
        base, paint = rectangle_at(p, 12.0, 2.5, theta), vary(c.rng, (0.75, 0.74, 0.72), 0.2)
        c.shadow(base, 3.2)
        c.prism(base, 3.2, paint, shade(paint, c.light.wall))
    else:
        lorry(c, float(p[0]), float(p[1]), theta + c.rng.choice([0, np.pi]), boxed=bool(c.rng.random() < 0.3))


def _railway(c: Canvas, at: float, theta: float) -> float:
    """One to four tracks, some with a train; returns the width."""
    rng, number = c.rng, int(c.rng.integers(1, 5))
    mid, spacing = np.array([c.extent_m / 2] * 2), rng.uniform(*TRACK_SPACING)
    u, out = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    tone = rng.uniform(0.2, 0.5)
    lines = [mid + out * (at + 3 + k * spacing) + np.linspace(-1, 1, 40)[:, None] * c.extent_m * u for k in range(number)]
    for points in lines:
        track(c, points, (tone, tone * 0.95, tone * 0.88), 0.0)
    for points in lines:
        if rng.random() < 0.45:
            string(c, points, rng.uniform(0, 1.2 * c.extent_m), int(rng.integers(1, 12)), bool(rng.random() < 0.55))
    return 6 + (number - 1) * spacing


def _roofs(c: Canvas, centre: F64, theta: float, wide: float) -> None:
    """A row of buildings with ridges, monitors, parapets and plant: straight bright strips as wide as a body."""
    rng, u, at = c.rng, axes(theta)[0], -0.75 * c.extent_m
    while at < 0.75 * c.extent_m:
        long, high = rng.uniform(12, 80), rng.uniform(4, 14)
        p, deep = centre + u * (at + long / 2), wide * rng.uniform(0.6, 1.0)
        paint = vary(rng, ROOFING[rng.integers(len(ROOFING))], 0.25)
        base = rectangle_at(p, long, deep, theta)
        c.shadow(base, high)
        c.prism(base, high, paint, shade(paint, c.light.wall))
        _on_roof(c, p + c.light.lean * high, theta, long, deep, paint)
        at += long + rng.uniform(1, 25)


def _on_roof(c: Canvas, top: F64, theta: float, long: float, deep: float, paint: Colour) -> None:
    """Parapets, plant, and runs of skylights, ducts and units end to end, as long and as wide as cars of a train, either way."""
    rng, (u, v) = c.rng, axes(theta)
    for side in (-0.5, 0.5):
        band = rectangle_at(top + v * side * deep, long, rng.uniform(0.3, 2.6), theta)
        c.fill(band, shade(paint, rng.uniform(0.5, 1.8)))
    for _ in range(int(rng.integers(0, 5))):
        across = rng.random() < 0.25
        (a, b), (reach, span), turn = ((v, u), (deep, long), theta + np.pi / 2) if across else ((u, v), (long, deep), theta)
        piece = float(rng.uniform(8, 20) if rng.random() < 0.6 else rng.uniform(1.5, 8))
        pitch, broad, raised = piece + rng.uniform(0.4, 3), rng.uniform(0.8, 3.2), rng.uniform(0.3, 2) * (rng.random() < 0.5)
        number = min(int(rng.integers(1, 9)), int(0.95 * reach / pitch))
        lines, between = int(rng.choice([1, 1, 2, 3])), broad + rng.uniform(1.2, 4)
        start, off = rng.uniform(-0.47, 0.47) * (reach - number * pitch), rng.uniform(-0.46, 0.46) * (span - broad)
        tint = shade(paint, rng.uniform(0.5, 2.2)) if rng.random() < 0.6 else vary(rng, (0.65, 0.66, 0.68), 0.35)
        framed = rng.random() < 0.4
        for at in (off + k * between for k in range(lines) if off + k * between < 0.48 * span):
            for k in range(number):
                mid = top + a * (start + (k + 0.5 - number / 2) * pitch) + b * at
                strip = rectangle_at(mid, piece, broad, turn)
                if raised:
                    c.darken(strip + c.light.shadow * raised, 0.4)
                c.fill(strip, vary(rng, tint, 0.08), 0.95, grain=0.04)
                if framed:
                    c.fill(rectangle_at(mid, piece - 0.6, 0.6 * broad, turn), shade(tint, 0.7), 0.8)
    for _ in range(int(rng.integers(0, 8))):  # plant
        q = top + u * rng.uniform(-0.45, 0.45) * long + v * rng.uniform(-0.45, 0.45) * deep
        unit = rectangle_at(q, rng.uniform(1, 7), rng.uniform(1, 3), theta)
        c.darken(unit + c.light.shadow * 1.5, 0.6)
        c.fill(unit, vary(rng, (0.65, 0.65, 0.65), 0.3))


def _parked(c: Canvas, start: float, theta: float, boxed: float) -> float:
    """Lorries side by side, or end to end in lanes along a fence or a wall of boxes, `boxed` of them with a box; returns the width.

    All from one loader in half of the places.
    """
    rng, (u, v), abreast = c.rng, axes(theta), c.rng.random() < 0.5
    mid = np.array([c.extent_m / 2] * 2) + v * start
    like = Lorry.draw(rng, boxed=bool(rng.random() < boxed)) if rng.random() < 0.5 else None
    lane, full, near = rng.uniform(3.1, 4.4), rng.uniform(0.4, 1.0), rng.uniform(0.5, 8)
    lanes, facing = int(rng.integers(1, 3 if abreast else 5)), float(rng.choice([0.0, np.pi]))
    spots: list[tuple[F64, float, Lorry]] = []
    for k in range(lanes):
        at = -0.75 * c.extent_m + rng.uniform(0, 15)
        while at < 0.75 * c.extent_m:
            what = like or Lorry.draw(rng, boxed=bool(rng.random() < boxed))
            step = lane if abreast else what.length + 3.8 + rng.exponential(near)
            p = mid + u * at + v * ((9.5 + 19 * k + rng.normal(0, 0.5)) if abreast else (k + 0.8) * lane + rng.normal(0, 0.15))
            at += step
            if rng.random() < full and (p > -14).all() and (p < c.extent_m + 14).all():
                turn = theta + facing + (np.pi / 2 if abreast else 0.0) + rng.normal(0, 0.02)
                spots.append((p, turn + (np.pi if rng.random() < 0.08 else 0.0), what))
    wide = lanes * (19.0 if abreast else lane) + 1
    if rng.random() < 0.5:
        _fence(c, mid + v * wide, theta, boxes=not abreast and bool(rng.random() < boxed))
    c.shadows([body for p, turn, what in spots for body in what.casts(p, turn)])
    for p, turn, what in sorted(spots, key=lambda spot: -float(spot[0] @ c.light.lean)):
        parked(c, p, turn, what)
    return wide + 2


def _fence(c: Canvas, at: F64, theta: float, *, boxes: bool) -> None:
    """A fence or wall with its shadow; or boxes end to end in its stead."""
    rng, u = c.rng, axes(theta)[0]
    if not boxes:
        base, tone = rectangle_at(at, 3 * c.extent_m, rng.uniform(0.2, 0.6), theta), rng.uniform(0.15, 0.6)
        c.shadow(base, rng.uniform(1.5, 3))
        c.fill(base, (tone, tone, tone * 0.95))
        return
    tiers, s = int(rng.integers(1, 3)), -0.75 * c.extent_m
    while s < 0.75 * c.extent_m:
        length = float(rng.choice([6.058, 12.192], p=[0.3, 0.7]))
        p = at + u * (s + length / 2)
        c.shadow(rectangle_at(p, length, CONTAINER_WIDTH, theta), tiers * 2.591)
        stack(c, p, theta + rng.normal(0, 0.006), length, vary(rng, FLEET[rng.integers(len(FLEET))], 0.14), 0.0, tiers, 2.591)
        s += length + rng.uniform(0.05, 0.5)


def _lot(c: Canvas, centre: F64, theta: float) -> None:
    """A haulier's row: containers and trailers stood side by side, singly or in runs, most of them one high."""
    rng, at = c.rng, -0.75 * c.extent_m
    u, turn = np.array([np.cos(theta), np.sin(theta)]), theta + (np.pi / 2 if rng.random() < 0.7 else 0.0)
    trailers = rng.uniform(0.0, 0.6)
    while at < 0.75 * c.extent_m:
        length, high = CONTAINER_SIZES[rng.choice(5, p=[0.15, 0.35, 0.2, 0.25, 0.05])]
        wide = CONTAINER_WIDTH if turn != theta else length
        p = centre + u * (at + wide / 2)
        if rng.random() < trailers:
            lorry(c, float(p[0]), float(p[1]), turn, boxed=False)
            wide = max(wide, 2.6)
        else:
            tiers = 1 if rng.random() < 0.8 else 2
            c.shadow(rectangle_at(p, length, CONTAINER_WIDTH, turn), tiers * high)
            stack(c, p, turn + rng.normal(0, 0.01), length, vary(rng, FLEET[rng.integers(len(FLEET))], 0.14), 0.0, tiers, high)
        at += wide + (rng.uniform(0.05, 0.5) if rng.random() < 0.6 else rng.uniform(0.5, 12))


def _car_park(c: Canvas, start: F64, theta: float, wide: float) -> None:
    """Rows of cars side by side, and rows nose to tail along a kerb that look like a train."""
    rng = c.rng
    u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    nose_to_tail, full = rng.random() < 0.4, rng.uniform(0.3, 0.98)
    for row in np.arange(3.0, wide, 5.5 if nose_to_tail else 8.5):
        for at in np.arange(-0.75 * c.extent_m, 0.75 * c.extent_m, 5.6 if nose_to_tail else 2.6):
            p = start + u * at + v * row
            if rng.random() < full and (p > 0).all() and (p < c.extent_m).all():
                car(c, float(p[0]), float(p[1]), theta + (0.0 if nose_to_tail else np.pi / 2))
