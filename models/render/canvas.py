"""A ground raster that is painted in metres: flat polygons, bodies with height, walls and cast shadow, then a sensor."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Colour = tuple[float, float, float]
Backdrop = tuple[F32, NDArray[np.bool_]]
"""(H, W, 3) pixels of a real place, 0..1 and above, and (H, W) where they are known."""

SHADE = (0.1, 0.55)
"""What a shadow leaves of the light: a clear sky gives a tenth to a quarter of it, and products are stretched from their darkest
pixel on; beside the cars of a real yard (Muttenz, x < 632) half of the places kept less than 0.29, a tenth less than 0.23."""
_SUBPIXEL = 4  # fractional bits of polygon corners in cv2: 1/16 px


@dataclass(frozen=True, slots=True)
class Light:
    """Sun and view.

    Attributes:
        shadow: (2,) metres of shadow per metre of height, away from the sun, x right y down; |shadow| = 1 / tan(elevation).
        lean: (2,) metres of roof displacement per metre of height; |lean| = tan(off-nadir).
        depth: what a shadow leaves of the light, 0..1.
    """

    shadow: F64
    lean: F64
    depth: float

    @property
    def sun_deg(self) -> float:
        """Height of the sun, degrees."""
        return float(np.degrees(np.arctan2(1, np.hypot(*self.shadow))))

    @property
    def wall(self) -> float:
        """Brightness of the walls that the view shows, over the roof's: 0.35 in shade to 0.9 facing the sun."""
        both = float(np.hypot(*self.shadow) * np.hypot(*self.lean))
        facing = float(self.shadow @ self.lean) / both if both > 0 else 0.0  # roofs lean away from the viewer, shadows from the sun
        return 0.35 + 0.55 * max(0.0, facing)

    @staticmethod
    def draw(rng: np.random.Generator) -> "Light":
        """Sun 20-65 deg high (METHOD 4.5), view up to 28 deg off nadir."""
        elevation, azimuth = rng.uniform(20, 65), rng.uniform(0, 2 * np.pi)
        off_nadir, view = np.radians(min(28.0, abs(rng.normal(0, 12)))), rng.uniform(0, 2 * np.pi)
        towards = np.array([np.cos(azimuth), np.sin(azimuth)])
        leaning = np.array([np.cos(view), np.sin(view)])
        return Light(towards / np.tan(np.radians(elevation)), leaning * np.tan(off_nadir), rng.uniform(*SHADE))


def rectangle(cx: float, cy: float, length: float, width: float, theta: float) -> F64:
    """(4, 2) corners in metres."""
    u = np.array([np.cos(theta), np.sin(theta)]) * length / 2
    v = np.array([-np.sin(theta), np.cos(theta)]) * width / 2
    return np.asarray(np.array([cx, cy]) + np.array([-u - v, u - v, u + v, -u + v]))


def rectangle_at(centre: F64, length: float, width: float, theta: float) -> F64:
    """`rectangle` around a (2,) point."""
    return rectangle(float(centre[0]), float(centre[1]), length, width, theta)


def axes(theta: float) -> tuple[F64, F64]:
    """Unit vectors along a heading and to its side."""
    return np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])


@dataclass(frozen=True, slots=True)
class Label:
    """An object as an annotator would draw it.

    Attributes:
        outline: (4, 2) or (7, 2) corners, metres.
        cls, subtype: indices in `models.CLASSES` and `models.SUBTYPES`.
        mark: its value in `Canvas.top`: 1 + the number of objects drawn before.
        drawn: pixels that it covered when it was drawn; `Canvas.unhidden` says which share of them later bodies left.
    """

    outline: F64
    cls: int
    subtype: int
    mark: int
    drawn: int


@dataclass
class Canvas:
    """A picture in the making, and its labels.

    Attributes:
        size: side in pixels.
        gsd_m: metres per pixel.
        rng: the only source of chance.
        light: sun and view.
        image: (size, size, 3) float32, 0..1 and above.
        water: (3,) colour of the open water, where the scene has any.
        labels: objects, in the order in which they were drawn.
        top: (size, size) int32, mark of the object that a pixel shows, 0 for none.
        marks: objects drawn so far, those that a scene took back among them.
        lit: (size, size) float32, share of the light that shadows leave.
        backdrop: a real place to draw the scene on, instead of on ground of its own.
    """

    size: int
    gsd_m: float
    rng: np.random.Generator
    light: Light
    backdrop: Backdrop | None = None
    image: F32 = field(init=False)
    water: F32 = field(default_factory=lambda: np.ones(3, np.float32))
    labels: list[Label] = field(default_factory=list)
    top: NDArray[np.int32] = field(init=False)
    lit: F32 = field(init=False)
    marks: int = 0

    def __post_init__(self) -> None:
        self.image = np.zeros((self.size, self.size, 3), np.float32)
        self.top = np.zeros((self.size, self.size), np.int32)
        self.lit = np.ones((self.size, self.size), np.float32)

    @property
    def extent_m(self) -> float:
        """Side in metres."""
        return self.size * self.gsd_m

    def _mask(self, polygons: list[F64]) -> tuple[slice, slice, F32] | None:
        """Anti-aliased cover of metre polygons on the pixels around them."""
        every = np.concatenate(polygons) / self.gsd_m
        x0, y0 = np.maximum(np.floor(every.min(axis=0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(every.max(axis=0)).astype(int) + 2, self.size)
        if x0 >= x1 or y0 >= y1:
            return None
        return slice(y0, y1), slice(x0, x1), self._cover(polygons, x0, y0, (y1 - y0, x1 - x0))

    def _cover(self, polygons: list[F64], x0: int, y0: int, shape: tuple[int, int]) -> F32:
        mask = np.zeros(shape, np.uint8)
        for p in polygons:
            points = np.round((p / self.gsd_m - (x0, y0) - 0.5) * 2**_SUBPIXEL).astype(np.int32)
            cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, _SUBPIXEL)
        return np.asarray(mask.astype(np.float32) / np.float32(255))

    def fill(self, polygon: F64, colour: Colour, alpha: float = 1.0, grain: float = 0.0) -> None:
        """Paint a metre polygon; `grain` is the spread of a per-pixel brightness texture."""
        found = self._mask([polygon])
        if found is None:
            return
        rows, columns, mask = found
        paint = np.asarray(colour, np.float32) * np.ones((*mask.shape, 1), np.float32)
        if grain:
            paint = paint * (1 + self.rng.normal(0, grain, (*mask.shape, 1)).astype(np.float32))
        cover = (mask * alpha)[..., None]
        self.image[rows, columns] += cover * (paint - self.image[rows, columns])
        if alpha == 1.0:
            covered = mask > 0.5
            self.top[rows, columns][covered], self.lit[rows, columns][covered] = 0, 1.0

    def darken(self, polygon: F64, leave: float) -> None:
        """Multiply what lies under a metre polygon by `leave`: a shadow keeps the texture beneath it."""
        found = self._mask([polygon])
        if found is None:
            return
        rows, columns, mask = found
        self._shade(rows, columns, mask, leave)

    def _shade(self, rows: slice, columns: slice, mask: F32, leave: float) -> None:
        left = 1 - mask * (1 - leave)
        self.image[rows, columns] *= left[..., None]
        self.lit[rows, columns] *= left

    def line(self, points: F64, width_m: float, colour: Colour, alpha: float = 1.0) -> None:
        """Paint a polyline of metres with a width in metres; thinner than a pixel is fainter, not wider."""
        px = width_m / self.gsd_m
        thick = max(1, round(px))
        mask = np.zeros((self.size, self.size), np.uint8)
        scaled = np.round((points / self.gsd_m - 0.5) * 2**_SUBPIXEL).astype(np.int32)
        cv2.polylines(mask, [scaled], False, 255, thick, cv2.LINE_AA, _SUBPIXEL)
        touched = np.flatnonzero(mask)  # a long thin line touches a hundredth of its bounding box
        flat = self.image.reshape(-1, 3)
        cover = (mask.reshape(-1)[touched].astype(np.float32) / 255 * alpha * min(1.0, px / thick))[:, None]
        flat[touched] += cover * (np.asarray(colour, np.float32) - flat[touched])

    def shadow(self, base: F64, height: float, lifted: float = 0.0) -> None:
        """Cast the shadow of a prism on the ground."""
        near, far = base + self.light.shadow * lifted, base + self.light.shadow * (lifted + height)
        self.darken(_hull(near, far), self.light.depth)

    def shadows(self, bodies: list[tuple[F64, float]], on: list[F64] | None = None, level: float = 0.0) -> None:
        """Cast the shadows of many prisms (base, height) at once: where two meet it is no darker than under one.

        Args:
            bodies: bases and heights above ground, metres.
            on: outlines as seen that the shadow falls on; the whole ground when None.
            level: height of what it falls on, metres.
        """
        up, away = self.light.lean * level, self.light.shadow
        falls = [_hull(base + up, base + up + away * (height - level)) for base, height in bodies if height > level]
        found = self._mask(falls if on is None else on) if falls and (on is None or on) else None
        if found is None:
            return
        rows, columns, mask = found
        if on is not None:
            mask = mask * self._cover(falls, columns.start, rows.start, mask.shape)
        self._shade(rows, columns, mask, self.light.depth)

    def rising(self, bodies: list[tuple[F64, float]]) -> Iterator[int]:
        """Indices of prisms (base, top) to be drawn and labelled, low ones first; what is higher then shades the tops just drawn."""
        self.shadows(bodies)
        for level in sorted({top for _, top in bodies}):
            first = len(self.labels)
            yield from (i for i, (_, top) in enumerate(bodies) if top == level)
            self.shadows(bodies, [label.outline for label in self.labels[first:]], level)

    def prism(self, base: F64, height: float, roof: Colour, wall: Colour, lifted: float = 0.0) -> F64:
        """Walls and roof of a body; returns the roof outline as seen (leaned), which is what an annotator draws."""
        low, high = base + self.light.lean * lifted, base + self.light.lean * (lifted + height)
        self.fill(_hull(low, high), wall, grain=0.03)
        self.fill(high, roof, grain=0.03)
        return high

    def label(self, outline: F64, cls: int, subtype: int = 0) -> None:
        """Remember an object by its outline in metres, once it is drawn."""
        found = self._mask([outline])
        seen = found[2] > 0.5 if found else np.zeros((0, 0), np.bool_)
        self.marks += 1
        self.labels.append(Label(outline, cls, subtype, self.marks, int(seen.sum())))
        if found:
            self.top[found[0], found[1]][seen] = self.marks

    def unhidden(self) -> tuple[F64, F64]:
        """(N,) share of each label's pixels that no opaque paint covered after it, and the light on those that are left.

        High stacks lean over low ones beside them, and shade them.
        """
        places = self.top.ravel()
        left = np.bincount(places, minlength=self.marks + 1)
        light = np.bincount(places, self.lit.ravel(), self.marks + 1) / np.maximum(left, 1)
        marks = np.array([label.mark for label in self.labels], np.int64)
        drawn = np.array([label.drawn for label in self.labels], np.int64)
        return np.where(drawn > 0, left[marks] / np.maximum(drawn, 1), 1.0), light[marks]

    def mottle(self, scale_m: float, amount: float) -> None:
        """Smooth brightness variation of the whole ground."""
        cells = max(2, int(self.extent_m / scale_m) + 2)
        coarse = self.rng.normal(0, amount, (cells, cells)).astype(np.float32)
        self.image *= 1 + cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_CUBIC)[..., None]

    def grain(self, amount: float) -> None:
        """Pixel-scale texture of the ground."""
        self.image *= 1 + self.rng.normal(0, amount, (self.size, self.size, 1)).astype(np.float32)


def _hull(a: F64, b: F64) -> F64:
    points = np.concatenate([a, b]).astype(np.float32)
    return np.asarray(cv2.convexHull(points)[:, 0], np.float64)


def pan_sharpened(image: F32, rng: np.random.Generator, coarsen: float) -> F32:
    """Half of all products: colour of bands two to four sensor pixels coarse, not quite in register, under the sharp brightness of pan.

    Bodies side by side are then told apart by brightness, while their colours run into each other.
    """
    if rng.random() < 0.5:
        return image
    ratio, shift = coarsen * rng.uniform(2.0, 4.0), rng.normal(0, 0.5 * coarsen, 2)
    place = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    soft = cv2.warpAffine(cv2.GaussianBlur(image, (0, 0), 0.5 * ratio), place, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    weights = rng.dirichlet((4.0, 4.0, 4.0)).astype(np.float32)  # of the bands in the brightness of pan
    sharp, mean = (image @ weights)[..., None], (soft @ weights)[..., None]
    if rng.random() < 0.5:  # by ratio (Brovey), else by adding the detail
        return np.asarray(soft * np.clip(sharp / np.maximum(mean, 0.02), 0, 4), np.float32)
    return np.asarray(np.clip(soft + sharp - mean, 0, None), np.float32)


def sense(image: F32, rng: np.random.Generator, coarsen: float) -> F32:
    """The sensor: MTF blur and sampling `coarsen` times coarser than the canvas, noise, tone curve, haze, 8 bits.

    The blur is 0.45 to 0.75 of a sensor pixel: MTF 0.37 to 0.06 at Nyquist.
    The result has the canvas's size again (resampled), as the loader does with an image coarser than the working GSD.
    """
    sigma = coarsen * rng.uniform(0.45, 0.75)
    out = cv2.GaussianBlur(image, (0, 0), sigma)
    small = max(8, round(image.shape[0] / coarsen))
    if small < image.shape[0]:
        out = cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:  # unsharp mask of display products
        out = out + rng.uniform(0.2, 0.9) * (out - cv2.GaussianBlur(out, (0, 0), 1.2))
    out = np.clip(out, 0, None) ** rng.uniform(0.8, 1.25) * rng.uniform(0.35, 1.35)
    if rng.random() < 0.4:  # haze and stray light flatten contrast and colour
        grey = out.mean(axis=2, keepdims=True)
        out = grey + rng.uniform(0.35, 1.0) * (out - grey)
        out = out.mean() + rng.uniform(0.4, 1.0) * (out - out.mean())
    out = np.clip(out, 0, None) + rng.uniform(0.0, 0.12) * (rng.random() < 0.6)
    out = out * (1 + rng.normal(0, 0.05, 3)).astype(np.float32)
    if rng.random() < 0.15:  # panchromatic
        out = np.repeat(out.mean(axis=2, keepdims=True), 3, axis=2)
    out = out + rng.normal(0, rng.uniform(0.002, 0.018), out.shape)
    byte = np.clip(out * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        ok, code = cv2.imencode(".jpg", byte, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 95))])
        assert ok
        byte = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    if byte.shape[0] != image.shape[0]:
        byte = np.asarray(cv2.resize(byte, image.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.asarray(byte.astype(np.float32) / np.float32(255))
