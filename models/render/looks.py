"""One yard under several suns, seasons, views and sensors: the same geometry and the same bodies, or some of them exchanged.

The kinds of `models.render.KINDS` draw place and light from one stream of chance, so that two lights give two places. Here a place
is data (`Yard`), each body brings the seed of its own doors and hatches, and a look decides nothing but how they are seen.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.render import scenes
from models.render.canvas import F32, F64, Canvas, Colour, Light, sense
from models.render.chip import Chip, with_labels
from models.render.objects import CAR_PAINT, CARS, railcar, vary

TYPES = {
    "boxcar": (0.15, (13.6, 14.2, 15.3, 15.9)),
    "gondola": (0.35, (12.3, 12.8, 12.9)),
    "flat": (0.06, (12.9, 13.5)),
    "container_flat": (0.08, (12.9, 18.5)),
    "tank": (0.20, (11.2,)),
    "hopper": (0.12, (11.0, 13.6)),
    "locomotive": (0.03, (16.5, 17.1)),
    "passenger": (0.01, (23.4,)),
}  # fmt: skip
"""Share of each kind in a mean fleet, and length over body of its types, metres: METHOD 4.2 less 0.83 to 1.1 m of couplers. The shares
are ours; with them a car takes 14.5 m of track, the conditional wagon of Russian lists 14.0."""
STRANGERS = 0.15
"""Share of cars of any other length that the kind allows."""
FLEET_UNITY = 4.0
"""Concentration of the Dirichlet that a yard draws its own shares from: metres per car then differ between yards by 0.8 m (METHOD 5,
E2: 1.0 m for which fleet it is)."""

COUPLED_M = 1.1
"""Mode of the gap between coupled bodies (METHOD 4.2)."""

EDGE_M = 14.0
"""No body nearer to the frame than half a passenger car and its lean: every object of a look is whole."""


@dataclass(frozen=True, slots=True)
class Body:
    """One railcar.

    Attributes:
        key: its name in the yard and the seed of its details.
        track: index of its track.
        at: metres along the track to its centre.
        length: metres over body.
    """

    key: int
    track: int
    at: float
    kind: str
    length: float
    paint: Colour
    loaded: bool


@dataclass(frozen=True, slots=True)
class Yard:
    """A place: its ground by seed, its tracks as (P, 2) metres, its bodies."""

    seed: int
    extent_m: float
    tracks: tuple[F64, ...]
    bodies: tuple[Body, ...]


@dataclass(frozen=True, slots=True)
class LookChip:
    """A look at a yard: the picture with labels, the body of each label, and where a cloud hides the ground.

    Attributes:
        chip: picture and boxes, every one whole.
        bodies: (N,) key of the body that each box belongs to; a wagon's boxes bear the wagon's key.
        cloud: (H, W) float32, opacity of cloud.
    """

    chip: Chip
    bodies: NDArray[np.int64]
    cloud: F32


@dataclass
class LookCanvas(Canvas):
    """A canvas whose grain has a stream of its own: how many pixels a leaning body covers must not change what is drawn next."""

    texture: np.random.Generator = field(default_factory=np.random.default_rng)

    def fill(self, polygon: F64, colour: Colour, alpha: float = 1.0, grain: float = 0.0) -> None:
        """As `Canvas.fill`."""
        place_rng, self.rng = self.rng, self.texture
        super().fill(polygon, colour, alpha, grain)
        self.rng = place_rng


def plan_yard(seed: int, extent_m: float = 300.0) -> Yard:
    """A yard of parallel tracks with strings of cars on most of them, none overlapping."""
    rng = np.random.default_rng([seed, 1])
    theta, bend, spacing = rng.uniform(-np.pi, np.pi), rng.normal(0, 0.0002), rng.uniform(*scenes.TRACK_SPACING)
    offsets = np.cumsum(np.full(24, spacing) + (rng.random(24) < 0.15) * rng.uniform(3, 14, 24))
    offsets -= offsets.mean()
    mid, s = extent_m / 2, np.linspace(-0.75 * extent_m, 0.75 * extent_m, 60)
    tracks = []
    for offset in offsets:
        across = offset + bend * s**2
        tracks.append(
            np.stack([mid + s * np.cos(theta) - across * np.sin(theta), mid + s * np.sin(theta) + across * np.cos(theta)], axis=1)
        )
    return stocked(Yard(seed, extent_m, tuple(tracks), ()), rng)


def stocked(yard: Yard, rng: np.random.Generator, first_key: int = 0) -> Yard:
    """The tracks of a yard with another stock of cars on them; their keys count up from `first_key`."""
    yard, key, shares = replace(yard, bodies=()), first_key, _shares(yard.seed)
    for index in range(len(yard.tracks)):
        at, free = float(rng.uniform(0, 60)), 1.4 * yard.extent_m
        while rng.random() < 0.75 and at < free:
            number, uniform, body = int(rng.integers(2, 12)), bool(rng.random() < 0.5), _draw_body(rng, shares, index)
            for _ in range(number):
                body = body if uniform else _draw_body(rng, shares, index)
                placed = replace(body, key=key, at=at + body.length / 2)
                at += body.length + float(rng.triangular(scenes.COUPLING[0], COUPLED_M, scenes.COUPLING[1]))
                if _inside(yard, placed):
                    yard = replace(yard, bodies=(*yard.bodies, placed))
                    key += 1
            at += float(rng.uniform(8, 90))
    return yard


def _shares(seed: int) -> F64:
    """(8,) share of each kind in the fleet of a yard."""
    return np.random.default_rng([seed, 10]).dirichlet(FLEET_UNITY * np.array([share for share, _ in TYPES.values()]))


def fleet_m(seed: int) -> float:
    """Metres of track that a car of this yard's fleet takes on average, couplers included."""
    lengths = [(1 - STRANGERS) * np.mean(of_type) + STRANGERS * np.mean(CARS[kind][1]) for kind, (_, of_type) in TYPES.items()]
    low, high = scenes.COUPLING
    return float(_shares(seed) @ lengths) + (low + COUPLED_M + high) / 3


def _draw_body(rng: np.random.Generator, shares: F64, track: int) -> Body:
    kind = str(rng.choice(list(TYPES), p=shares))
    length = float(rng.uniform(*CARS[kind][1]) if rng.random() < STRANGERS else rng.choice(TYPES[kind][1]))
    paint = vary(rng, CAR_PAINT[rng.integers(len(CAR_PAINT))], 0.1)
    return Body(0, track, 0.0, kind, length, paint, bool(rng.random() < 0.6))


def place(yard: Yard, body: Body) -> tuple[float, float, float]:
    """x, y in metres and heading of a body."""
    points = yard.tracks[body.track]
    steps = np.cumsum(np.r_[0, np.hypot(*np.diff(points, axis=0).T)])
    x, y, ahead_x, ahead_y = (float(np.interp(a, steps, points[:, k])) for a in (body.at, body.at + 2) for k in (0, 1))
    return x, y, float(np.arctan2(ahead_y - y, ahead_x - x))


def _inside(yard: Yard, body: Body) -> bool:
    x, y, _ = place(yard, body)
    return bool(min(x, y) > EDGE_M and max(x, y) < yard.extent_m - EDGE_M)


def exchange(yard: Yard, share: float, seed: int) -> Yard:
    """The yard with a share of its cars gone and as many new ones at places that were free: nothing stands where one left."""
    rng = np.random.default_rng([yard.seed, 2, seed])
    number = round(share * len(yard.bodies))
    gone = {int(k) for k in rng.permutation([b.key for b in yard.bodies])[:number]}
    everything, key = list(yard.bodies), max(b.key for b in yard.bodies) + 1
    added: list[Body] = []
    shares = _shares(yard.seed)
    for _ in range(4000):
        if len(added) == number:
            break
        body = _draw_body(rng, shares, int(rng.integers(len(yard.tracks))))
        body = replace(body, key=key + len(added), at=float(rng.uniform(0, 1.5 * yard.extent_m)))
        clear = all(o.track != body.track or abs(o.at - body.at) > (o.length + body.length) / 2 + 1.0 for o in (*everything, *added))
        if clear and _inside(yard, body):
            added.append(body)
    return replace(yard, bodies=(*(b for b in yard.bodies if b.key not in gone), *added))


def roll(yard: Yard, track: int, metres: float) -> Yard:
    """The yard with every car of one track rolled along it."""
    return replace(yard, bodies=tuple(replace(b, at=b.at + metres) if b.track == track else b for b in yard.bodies))


def see_yard(yard: Yard, look: int, gsd_m: float, *, cloud: bool = False, light: Light | None = None) -> LookChip:
    """Render a look.

    Args:
        yard: what stands there.
        look: seed of sun, season, view, sensor and cloud.
        gsd_m: metres per pixel.
        cloud: whether a cloud with its shadow lies over a part of it.
        light: instead of the one that `look` draws.
    """
    rng = np.random.default_rng([yard.seed, 3, look])
    drawn = Light.draw(rng)
    size, place_rng, texture = (
        round(yard.extent_m / gsd_m),
        np.random.default_rng([yard.seed, 4]),
        np.random.default_rng([yard.seed, 9, look]),
    )
    canvas = LookCanvas(size, gsd_m, place_rng, light or drawn, texture=texture)
    keys = _draw(canvas, yard, rng)
    opacity = cast_cloud(canvas, rng, (75.0, 95.0)) if cloud else np.zeros((canvas.size, canvas.size), np.float32)
    pixels = sense(canvas.image, rng, float(rng.uniform(1.0, 1.3)))
    chip, kept = with_labels(canvas, under_cloud(pixels, opacity, rng) if cloud else pixels)
    return LookChip(chip, np.array(keys, np.int64)[kept], opacity)


def _draw(c: Canvas, yard: Yard, look: np.random.Generator) -> list[int]:
    """Ground and bodies; the body's key for each label."""
    _ground(c, yard, look)
    keys: list[int] = []
    for body in yard.bodies:
        c.rng = np.random.default_rng([yard.seed, 5, body.key])
        before = len(c.labels)
        railcar(c, *place(yard, body), body.kind, body.length, body.paint, body.loaded)
        keys += [body.key] * (len(c.labels) - before)
    return keys


def standing(c: Canvas) -> None:
    """A chip of a yard whose strings begin and end in sight, with cars missing: bare track between cars and beyond them.

    In half of them single cars are gone as well: a place for one car in a string must not look like one.
    """
    rng = c.rng
    yard = thinned(plan_yard(int(rng.integers(2**31)), c.extent_m + 2 * EDGE_M), rng)
    gone = rng.uniform(0.1, 0.4) if rng.random() < 0.5 else 0.0
    yard = replace(yard, bodies=tuple(b for b in yard.bodies if rng.random() >= gone))
    _draw(c, replace(yard, tracks=tuple(points - EDGE_M for points in yard.tracks)), rng)


def thinned(yard: Yard, rng: np.random.Generator) -> Yard:
    """The yard with whole tracks cleared, from none to all of them; in a third of the yards single cars are gone as well."""
    kept = rng.random(len(yard.tracks)) < rng.uniform(0, 1.3)
    yard = replace(yard, bodies=tuple(b for b in yard.bodies if kept[b.track]))
    if rng.random() < 0.3:
        yard = replace(yard, bodies=tuple(b for b in yard.bodies if rng.random() < 0.6))
    return yard


def _ground(c: Canvas, yard: Yard, look: np.random.Generator) -> None:
    """Ballast, verges, rails, masts and clutter of the place; then the season: tone, colour, wet and dry patches of this look."""
    place_rng = c.rng
    tone = place_rng.uniform(0.25, 0.5)
    scenes.ground(c, (tone * 1.03, tone, tone * 0.92))
    theta = float(np.arctan2(*(yard.tracks[0][-1] - yard.tracks[0][0])[::-1]))
    scenes.verges(c, theta)
    c.image *= (1 + look.normal(0, 0.05, 3)).astype(np.float32)
    c.rng = look
    c.mottle(float(look.uniform(10, 50)), 0.06)
    for index, points in enumerate(yard.tracks):
        c.rng = np.random.default_rng([yard.seed, 6, index])
        scenes.track(c, points, vary(place_rng, (tone, tone * 0.95, tone * 0.9), 0.1), sleepers=0.0)
    c.rng = np.random.default_rng([yard.seed, 7])
    scenes.masts(c, theta)
    for item in range(int(place_rng.integers(0, 12))):
        c.rng = np.random.default_rng([yard.seed, 8, item])
        scenes.clutter(c, 1)


def cast_cloud(c: Canvas, rng: np.random.Generator, radii_m: tuple[float, float]) -> F32:
    """Opacity of a round cloud with a soft edge, its radius within a range; its shadow is cast some way off."""
    y, x = (np.mgrid[0 : c.size, 0 : c.size].astype(np.float32) + 0.5) * np.float32(c.gsd_m)
    centre, radius = rng.uniform(0.3, 0.7, 2) * c.extent_m, float(rng.uniform(*radii_m))
    rough = cv2.resize(rng.normal(0, 0.12, (9, 9)).astype(np.float32), (c.size, c.size), interpolation=cv2.INTER_CUBIC)
    depth = 1 - np.hypot(x - centre[0], y - centre[1]) / radius + rough
    opacity = np.clip(depth * 6, 0, 1).astype(np.float32)
    away = np.round(c.light.shadow / np.hypot(*c.light.shadow) * 1.6 * radius / c.gsd_m)
    shade = cv2.warpAffine(opacity, np.array([[1, 0, away[0]], [0, 1, away[1]]], np.float32), (c.size, c.size))
    c.image *= (1 - 0.5 * shade)[..., None]
    return np.asarray(opacity, np.float32)


def under_cloud(pixels: F32, opacity: F32, rng: np.random.Generator) -> F32:
    """A sensed picture with cloud over it: thick cloud is near the top of any display range, whatever the tone of the ground."""
    white = rng.uniform(0.92, 0.99) + rng.normal(0, 0.01, pixels.shape)
    return np.asarray(np.clip(pixels + opacity[..., None] * (white - pixels), 0, 1), np.float32)
