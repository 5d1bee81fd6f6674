"""Harbours at 2-12 m: water, quays, moles and marinas; ships alongside, rafted, at anchor and under way."""

import numpy as np

from models.render.canvas import F64, Canvas, Colour, axes, rectangle_at
from models.render.objects import FLEET, vary, vessel
from models.render.scenes import ground


def harbour(c: Canvas) -> None:
    """Water, land with quays, moles, marinas; ships alongside, rafted, at anchor and under way. For GSD of 2-12 m."""
    rng, size = c.rng, c.extent_m
    open_water(c)
    theta = rng.uniform(-np.pi, np.pi)
    mid = np.array([size / 2] * 2)
    quays: list[tuple[F64, float, float]] = []
    for _ in range(rng.integers(0, 5)):
        angle = theta + rng.choice([0, np.pi / 2, np.pi, 0.4])
        length, depth = rng.uniform(200, 1600), rng.choice([rng.uniform(12, 40), rng.uniform(60, 900)])
        centre = mid + rng.uniform(-0.65, 0.65, 2) * size
        tone = rng.uniform(0.3, 0.75)
        c.fill(rectangle_at(centre, length, depth, angle), vary(rng, (tone, tone * 0.94, tone * 0.84)), grain=0.12)
        _land(c, centre, length, depth, angle)
        out = depth / 2 * np.array([-np.sin(angle), np.cos(angle)])
        quays += [(centre - out, angle, -length), (centre + out, angle, length)]
    for centre, angle, signed in quays:
        along, out = (
            np.array([np.cos(angle), np.sin(angle)]),
            np.sign(signed) * np.array([-np.sin(angle), np.cos(angle)]),
        )
        s = -abs(signed) / 2
        while s < abs(signed) / 2 - 60:
            length = float(np.exp(rng.uniform(np.log(25), np.log(380))))
            if rng.random() < 0.45 and length < abs(signed):
                beam = length / 6
                p = centre + along * (s + length / 2) + out * (beam / 2 + rng.uniform(0, 4))
                _ship(c, p, length, angle + rng.choice([0, np.pi]))
                if rng.random() < 0.15:  # rafted alongside
                    _ship(c, p + out * (beam + rng.uniform(2, 8)), length * rng.uniform(0.5, 1), angle)
            if length > 120 and rng.random() < 0.6:  # cranes stand over ships, and at empty berths as well
                _quay_cranes(c, centre + along * s, along, length, angle)
            s += length + rng.uniform(10, 150)
    for _ in range(rng.integers(0, 14)):  # at anchor or under way
        p = rng.uniform(0, size, 2)
        if not _near(c, p):
            _ship(
                c,
                p,
                float(np.exp(rng.uniform(np.log(21), np.log(350)))),
                rng.uniform(-np.pi, np.pi),
                wake=rng.random() < 0.25,
            )
    afloat_clutter(c)
    bleach(c)


WATER: tuple[Colour, ...] = (
    (0.06, 0.14, 0.17), (0.10, 0.22, 0.22), (0.20, 0.26, 0.24), (0.30, 0.30, 0.24), (0.08, 0.12, 0.2), (0.2, 0.3, 0.4),
)  # fmt: skip
"""Clear, green, silty, brown, deep and shallow water."""
ANY_SHIP = ("container", "bulk", "tanker", "carrier", "plain")
SHIP_SHARES = (0.3, 0.2, 0.25, 0.1, 0.15)


def open_water(c: Canvas) -> None:
    """Fill the canvas with water of one colour and remember it."""
    ground(c, vary(c.rng, WATER[c.rng.integers(len(WATER))], 0.25))
    c.water = c.image.mean(axis=(0, 1))


def bleach(c: Canvas) -> None:
    """Some pictures are overexposed: quays and roofs run into one white, and white hulls at them; water stays as it was, or paler."""
    if c.rng.random() < 0.13:
        white = max(0.05, float(np.percentile(c.image[::4, ::4], c.rng.uniform(72, 97))))
        c.image = np.minimum(
            c.image * np.float32(np.clip(min(1 / white, c.rng.uniform(0.3, 0.65) / c.water.mean()), 1, 4)), np.float32(1.02)
        )


def fade(c: Canvas, towards: Colour, share: float) -> None:
    """Take the hull last drawn some way towards a tone: what is left of it is its shadow, its house and a trace of its deck."""
    c.fill(c.labels[-1].outline, towards, share, grain=0.05)


def beside(c: Canvas, p: F64) -> Colour:
    """Tone of the picture at (2,) metres; of open water outside the frame."""
    x, y = (p / c.gsd_m).astype(int)
    inside = 1 <= x < c.size - 1 and 1 <= y < c.size - 1
    r, g, b = c.image[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1)) if inside else c.water
    return float(r), float(g), float(b)


def _quay_cranes(c: Canvas, start: F64, along: F64, length: float, angle: float) -> None:
    """A few gantries abreast: bright booms across the quay edge with dark shadows beside them."""
    rng, tone = c.rng, c.rng.uniform(0.55, 0.95)
    pitch, across = rng.uniform(12, 45), angle + np.pi / 2
    for k in range(int(rng.integers(1, 6))):
        q = start + along * (rng.uniform(0, 6) + min(k * pitch, length))
        boom = rectangle_at(q, rng.uniform(40, 110), rng.uniform(3, 9), across)
        c.darken(boom + c.light.shadow * rng.uniform(15, 45), 0.6)
        c.fill(boom, (tone, tone * 0.98, tone * 0.94), 0.8)
        c.fill(rectangle_at(q, rng.uniform(15, 30), rng.uniform(12, 20), across), (tone, tone, tone), 0.5)


def _near(c: Canvas, p: F64) -> bool:
    """Whether another hull lies within a ship's length."""
    return any(np.hypot(*(o.outline.mean(axis=0) - p)) < 220 for o in c.labels)


def _ship(c: Canvas, p: F64, length: float, theta: float, *, wake: bool = False) -> None:
    """A ship, unless land or another hull is in the way."""
    along = np.array([np.cos(theta), np.sin(theta)])
    probes = p + np.linspace(-0.42, 0.42, 5)[:, None] * along * length
    inside = probes[((probes >= c.gsd_m) & (probes < (c.size - 1) * c.gsd_m)).all(axis=1)]
    if len(inside) == 0 or not all(wet(c, probe) for probe in inside):
        return
    if wake:
        back = -np.array([np.cos(theta), np.sin(theta)])
        c.line(
            np.stack([p, p + back * length * c.rng.uniform(2, 8)]),
            length / 10 + 3,
            (0.75, 0.8, 0.8),
            c.rng.uniform(0.2, 0.7),
        )
    near = beside(c, p + np.array([-along[1], along[0]]) * c.rng.choice([-1, 1]) * (0.1 * length + 8))
    vessel(c, float(p[0]), float(p[1]), length, theta, str(c.rng.choice(ANY_SHIP, p=SHIP_SHARES)))
    if c.rng.random() < 0.25:
        fade(c, near, c.rng.uniform(0.3, 0.65))


def wet(c: Canvas, p: F64) -> bool:
    """Whether (2,) metres has about the colour of the open water in the chip, or lies outside it."""
    return bool(np.abs(np.array(beside(c, p)) / c.water - 1).max() < 0.45)


def _land(c: Canvas, centre: F64, length: float, depth: float, angle: float) -> None:
    """Roofs, container rows, tanks and roads on a quay, in its own axes."""
    u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    for _ in range(int(length * depth / 9000)):
        p = centre + u * c.rng.uniform(-0.47, 0.47) * length + v * c.rng.uniform(-0.4, 0.4) * depth
        if not ((p > -100) & (p < c.extent_m + 100)).all():
            continue
        long, wide = min(depth * 0.5, c.rng.uniform(15, 160)), c.rng.uniform(8, 50)
        wide = min(wide, depth * 0.2)
        if c.rng.random() < 0.5:
            base = rectangle_at(p, long, wide, angle + c.rng.choice([0, np.pi / 2]))
            c.shadow(base, c.rng.uniform(3, 15))
            c.fill(
                base,
                vary(
                    c.rng,
                    [(0.8, 0.8, 0.78), (0.5, 0.48, 0.45), (0.45, 0.25, 0.2), (0.3, 0.35, 0.4)][c.rng.integers(4)],
                    0.2,
                ),
            )
        else:
            for k in range(int(c.rng.integers(2, 9))):
                q = p + v * k * c.rng.uniform(9, 16)
                c.fill(
                    rectangle_at(q, long, 6.0, angle),
                    vary(c.rng, FLEET[c.rng.integers(len(FLEET))], 0.2),
                    0.9,
                    grain=0.25,
                )


def afloat_clutter(c: Canvas) -> None:
    """Breakwaters, small boats, buoys, foam, cloud puffs: long or bright things that are not ships."""
    rng, size = c.rng, c.extent_m
    for _ in range(rng.integers(0, 3)):
        a = rng.uniform(0, size, 2)
        b = a + rng.normal(0, 300, 2)
        if not all(wet(c, a + part * (b - a)) for part in (0.25, 0.5, 0.75)):
            continue
        course, wide = np.stack([a, (a + b) / 2 + rng.normal(0, 40, 2), b]), rng.uniform(5, 30)
        c.line(course, wide, vary(rng, (0.5, 0.47, 0.42), 0.2))
        if wide > 10 and rng.random() < 0.6:  # the wall or road on a mole
            c.line(course + rng.normal(0, wide / 6, 2), wide * rng.uniform(0.2, 0.5), vary(rng, (0.7, 0.67, 0.6), 0.3))
    for _ in range(rng.choice([0, 1, 3], p=[0.6, 0.25, 0.15])):
        if wet(c, p := rng.uniform(0, size, 2)):
            _wake(c, p, rng.uniform(-np.pi, np.pi))
    if rng.random() < 0.12:
        _streaks(c)
    if rng.random() < 0.25:  # a marina
        p, angle = rng.uniform(0, size, 2), rng.uniform(0, np.pi)
        u, v = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        for row in range(int(rng.integers(2, 8))):
            if not all(wet(c, p + v * row * 45 + u * reach) for reach in (0, 110, 220)):
                continue
            c.line(np.stack([p + v * row * 45, p + v * row * 45 + u * 220]), 4, (0.55, 0.5, 0.45))
            for k in range(40):
                q = p + v * (row * 45 + rng.choice([-9, 9])) + u * k * 5.5
                c.fill(rectangle_at(q, rng.uniform(8, 15), 3.5, angle + np.pi / 2), (0.9, 0.9, 0.9), 0.8)
    for _ in range(rng.integers(0, 30)):
        q = rng.uniform(0, size, 2)
        c.fill(
            rectangle_at(q, rng.uniform(4, 14), 3.5, rng.uniform(0, np.pi)),
            (0.85, 0.85, 0.85),
            rng.uniform(0.3, 0.9),
        )


def _wake(c: Canvas, at: F64, theta: float) -> None:
    """The wake of a boat too small to count: foam behind it, arms that spread, all hull-sized; at times the boat is out of sight."""
    rng, ahead = c.rng, axes(theta)[0]
    long, foam, seen = rng.uniform(40, 400), vary(rng, (0.7, 0.75, 0.75), 0.15), rng.uniform(0.15, 0.7)
    c.line(np.stack([at, at - ahead * long * rng.uniform(0.2, 0.5)]), rng.uniform(4, 14), foam, seen)
    for turn in (-1, 1):
        c.line(np.stack([at, at - axes(theta + turn * rng.uniform(0.1, 0.3))[0] * long]), rng.uniform(2, 6), foam, 0.6 * seen)
    if rng.random() < 0.7:
        c.fill(rectangle_at(at, rng.uniform(8, 17), 4.5, theta), vary(rng, (0.85, 0.85, 0.84), 0.2))


def _streaks(c: Canvas) -> None:
    """Streaks of the sensor: faint straight lines of one tint and direction across everything, whole or in pieces."""
    rng, (ahead, across) = c.rng, axes(c.rng.uniform(-np.pi, np.pi))
    for _ in range(int(rng.integers(1, 8))):
        p, long = rng.uniform(0, c.extent_m, 2), rng.uniform(60, 900)
        tint = vary(rng, (0.7, 0.7, 0.7) if rng.random() < 0.6 else (0.08, 0.08, 0.1), 0.3)
        c.line(np.stack([p - ahead * long / 2, p + ahead * long / 2]) + across, rng.uniform(3, 14), tint, rng.uniform(0.05, 0.25))
