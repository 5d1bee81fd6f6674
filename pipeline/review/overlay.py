"""Pictures for a person: boxes by class, zones, what was not observed, scale, north, date, sensor, credit. Pillow only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from models import CLASSES, Detections
from models import boxes as ob
from pipeline.change.look import Look
from pipeline.change.records import Kind, ObjectChanges
from pipeline.imagery.observed import Observed, Unseen
from pipeline.imagery.scene import Scene, Tile

CLASS_COLOURS = {"container": (255, 176, 0), "railcar": (0, 224, 214), "vessel": (255, 96, 208)}
"""Apart for the three common kinds of colour blindness, and on both dark water and bright concrete with their casing."""
KIND_COLOURS = {
    Kind.APPEARED: (40, 220, 110),
    Kind.DEPARTED: (255, 80, 70),
    Kind.MOVED: (255, 200, 40),
    Kind.PERSISTED: (170, 190, 210),
    Kind.UNOBSERVABLE: (190, 120, 255),
    Kind.UNCERTAIN: (150, 120, 90),
}
UNSEEN_COLOURS = {
    Unseen.NO_DATA: (110, 110, 120),
    Unseen.CLOUD: (235, 235, 245),
    Unseen.SHADOW: (70, 60, 110),
    Unseen.MASKED: (200, 150, 60),
}
PANEL = (18, 24, 32)
INK, FAINT = (236, 240, 244), (150, 162, 176)
HEAD, FOOT = 54, 74
MIN_SIDE = 900


@dataclass(frozen=True, slots=True)
class Caption:
    """Words around a picture: title, one line under it, credit."""

    title: str
    line: str
    credit: str


def stretch(tiles: Sequence[Tile]) -> list[NDArray[np.uint8]]:
    """(H, W, 3) bytes of each tile under one 1-99 % stretch over all of them; for display only. Invalid pixels are dark grey."""
    values = np.concatenate([t.pixels[:, t.valid].ravel()[:: max(1, t.valid.sum() // 200_000)] for t in tiles])
    low, high = np.percentile(values, (1, 99)) if len(values) else (0.0, 1.0)
    out = []
    for t in tiles:
        scaled = np.clip((t.pixels - low) / max(high - low, 1e-3), 0, 1) ** 0.85 * 255
        picture = np.where(t.valid[None], scaled, 46).astype(np.uint8).transpose(1, 2, 0)
        out.append(np.ascontiguousarray(picture))
    return out


def draw_overlay(
    tile: Tile,
    scale: float,
    scene: Scene,
    detections: Detections,
    zones: Sequence[tuple[str, BaseGeometry]],
    observed: Observed | None,
    uncounted: Mapping[str, Detections] | None = None,
) -> Image.Image:
    """One look with everything that was found on it.

    Args:
        tile: pixels of the whole scene, decimated.
        scale: scene pixels per tile pixel.
        scene: what is known of the image.
        detections: boxes that are counted, in scene pixels.
        zones: (label, outline in scene pixels).
        observed: observation state, hatched where the ground was not seen.
        uncounted: why some boxes are not counted, and those; drawn grey.
    """
    zoom = max(1.0, MIN_SIDE / max(tile.valid.shape))
    picture = Image.fromarray(stretch([tile])[0])
    size = round(picture.width * zoom), round(picture.height * zoom)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    k = zoom / scale
    if observed is not None:
        picture = _hatch(picture, observed, k)
    draw = ImageDraw.Draw(picture)
    for label, outline in zones:
        _outline(draw, outline, k, label)
    others = {why: some for why, some in (uncounted or {}).items() if len(some)}
    for corners in (c for some in others.values() for c in ob.corners(some.boxes) * k):
        _box(draw, corners, FAINT)
    for corners, cls in zip(ob.corners(detections.boxes) * k, detections.classes, strict=True):
        _box(draw, corners, CLASS_COLOURS[CLASSES[cls]])
    counted = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in detections.counts().items())
    legend = [(CLASS_COLOURS[name], f"{name} {n}") for name, n in detections.counts().items()]
    legend += [((110, 110, 120), "hatched: not observed")] if observed is not None and (observed.state > 0).any() else []
    legend += [(FAINT, f"{why}, not counted {len(some)}") for why, some in others.items()]
    when = scene.acquired.strftime("%Y-%m-%d %H:%M UTC") if scene.acquired else "time not given"
    sun = "" if scene.view.sun_elevation is None else f", sun {scene.view.sun_elevation:.0f} deg high"
    line = f"{scene.sensor}, {scene.gsd_m:.2g} m{sun}: {counted}"
    caption = Caption(f"{scene.id}   {when}", line, credit_line([scene]))
    return framed(picture, caption, legend, scene.gsd_m / k, scene)


def draw_pair(
    tiles: tuple[Tile, Tile],
    looks: tuple[Look, Look],
    objects: ObjectChanges,
    scenes: tuple[Scene, Scene],
    gsd_m: float,
) -> tuple[Image.Image, list[Image.Image]]:
    """Before and after side by side on one grid and stretch, and the two frames alone for a blink."""
    zoom = max(1.0, MIN_SIDE * 0.75 / max(tiles[0].valid.shape))
    frames = []
    for side, (array, look) in enumerate(zip(stretch(tiles), looks, strict=True)):
        picture = Image.fromarray(array)
        picture = picture.resize((round(picture.width * zoom), round(picture.height * zoom)), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(picture)
        ring = ob.corners(look.boxes) * zoom
        rows = objects.before if side == 0 else objects.after
        for kind, index in zip(objects.kind, rows, strict=True):
            if index >= 0:
                _box(draw, ring[index], KIND_COLOURS[Kind(kind)], thin=Kind(kind) == Kind.PERSISTED)
        frames.append(picture)
    gap = 8
    both = Image.new("RGB", (frames[0].width * 2 + gap, frames[0].height), PANEL)
    both.paste(frames[0], (0, 0))
    both.paste(frames[1], (frames[0].width + gap, 0))
    tally = {kind: int((objects.kind == kind).sum()) for kind in Kind}
    legend = [(KIND_COLOURS[kind], f"{kind.name.lower()} {n}") for kind, n in tally.items()]
    dates = [s.acquired.strftime("%Y-%m-%d") if s.acquired else s.id for s in scenes]
    caption = Caption(f"{dates[0]}  before   |   after  {dates[1]}", f"{scenes[0].id} to {scenes[1].id}", credit_line(scenes))
    return framed(both, caption, legend, gsd_m / zoom, scenes[0]), frames


def _box(
    draw: ImageDraw.ImageDraw,
    corners: NDArray[np.float64],
    colour: tuple[int, int, int],
    *,
    thin: bool = False,
) -> None:
    points = [(float(x), float(y)) for x, y in (*corners, corners[0])]
    if not thin:
        draw.line(points, fill=(0, 0, 0), width=3)
    draw.line(points, fill=colour, width=1 if thin else 2)


def _outline(draw: ImageDraw.ImageDraw, outline: BaseGeometry, k: float, label: str) -> None:
    """An outline and its label; one that lies outside the picture gets neither, or labels would pile up at the edge."""
    frame = box(0, 0, draw.im.size[0] / k, draw.im.size[1] / k)
    polygons = [p for p in getattr(outline, "geoms", [outline]) if p.intersects(frame)]
    if not polygons:
        return
    for polygon in polygons:
        points = [(x * k, y * k) for x, y in polygon.exterior.coords]
        draw.line(points, fill=(0, 0, 0), width=4)
        draw.line(points, fill=(255, 255, 255), width=2)
    x, y, _, _ = polygons[0].bounds
    at = max(4.0, x * k + 4), max(4.0, y * k + 3)
    draw.text(at, label, fill=(255, 255, 255), font=font(15), stroke_width=2, stroke_fill=(0, 0, 0))


def _hatch(picture: Image.Image, observed: Observed, k: float) -> Image.Image:
    """Diagonal lines where the ground was not observed, coloured by reason."""
    state = Image.fromarray(observed.state)
    size = max(1, round(state.width * observed.factor * k)), max(1, round(state.height * observed.factor * k))
    states = np.array(state.resize(size, Image.Resampling.NEAREST))[: picture.height, : picture.width]
    canvas = np.array(picture)
    rows, columns = np.mgrid[0 : states.shape[0], 0 : states.shape[1]]
    stripe = (rows + columns) % 14 < 3
    for reason, colour in UNSEEN_COLOURS.items():
        part = canvas[: states.shape[0], : states.shape[1]]
        hit = (states == reason) & stripe
        part[hit] = (0.35 * part[hit] + 0.65 * np.array(colour) * (0.5 if reason == Unseen.CLOUD else 1)).astype(np.uint8)
    return Image.fromarray(canvas)


def framed(
    picture: Image.Image,
    caption: Caption,
    legend: Sequence[tuple[tuple[int, int, int], str]],
    m_per_px: float,
    scene: Scene,
) -> Image.Image:
    """Title above, legend, scale bar, north arrow and credit below; nothing is drawn over the ground."""
    width = max(picture.width, 640)
    out = Image.new("RGB", (width, picture.height + HEAD + FOOT), PANEL)
    out.paste(picture, (0, HEAD))
    draw = ImageDraw.Draw(out)
    draw.text((12, 7), caption.title, fill=INK, font=font(20))
    draw.text((12, 32), caption.line, fill=FAINT, font=font(14))
    y, x = picture.height + HEAD + 10, 12.0
    for colour, words in legend:
        draw.rectangle((x, y + 2, x + 14, y + 14), outline=colour, width=3)
        draw.text((x + 20, y), words, fill=INK, font=font(14))
        x += 34 + draw.textlength(words, font=font(14))
    metres = _round_length(m_per_px * width * 0.18)
    bar = metres / m_per_px
    base = y + 42
    draw.line((12, base, 12 + bar, base), fill=INK, width=3)
    for end in (12, 12 + bar):
        draw.line((end, base - 5, end, base + 5), fill=INK, width=2)
    draw.text((20 + bar, base - 9), f"{metres:g} m", fill=INK, font=font(14))
    _north(draw, 20 + bar + 80, base, scene)
    draw.text((width - 12, base - 9), caption.credit, fill=FAINT, font=font(13), anchor="ra")
    return out


def _north(draw: ImageDraw.ImageDraw, x: float, y: float, scene: Scene) -> None:
    """An arrow along the grid's north; without a CRS there is none to draw, and the picture says so."""
    if scene.grid.crs is None:
        draw.text((x, y - 9), "north not known", fill=FAINT, font=font(13))
        return
    origin, up = scene.grid.to_pixel(np.array([[0.0, 0.0], [0.0, 1.0]]))
    u = (up - origin) / np.hypot(*(up - origin))
    tip = (x + 16 * u[0], y + 16 * u[1])
    left, right = (-u[1], u[0]), (u[1], -u[0])
    draw.polygon(
        [
            tip,
            (x - 7 * u[0] + 6 * left[0], y - 7 * u[1] + 6 * left[1]),
            (x, y),
            (x - 7 * u[0] + 6 * right[0], y - 7 * u[1] + 6 * right[1]),
        ],
        fill=INK,
    )
    draw.text((x + 14, y - 9), "N", fill=INK, font=font(14))


def _round_length(metres: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(metres))
    return float(max(f * power for f in (1, 2, 5) if f * power <= metres))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, the same on every platform."""
    return ImageFont.load_default(size)


def png(image: Image.Image) -> bytes:
    """PNG bytes without a time stamp, so that the same picture is the same file; level 4 takes half the time of 6, for 3 % of size."""
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def credited(picture: Image.Image, words: str) -> Image.Image:
    """A picture with a line of credit on a strip below it; as it is where there is none."""
    if not words:
        return picture
    out = Image.new("RGB", (picture.width, picture.height + 22), PANEL)
    out.paste(picture, (0, 0))
    ImageDraw.Draw(out).text((picture.width - 8, picture.height + 11), words, fill=FAINT, font=font(13), anchor="rm")
    return out


def credit_line(scenes: Sequence[Scene]) -> str:
    """Credits and licences of some scenes, each once."""
    return " | ".join(dict.fromkeys(t for s in scenes for t in (s.credit, s.licence) if t))


def gif(frames: Sequence[Image.Image], credit: str) -> bytes:
    """A blink of two frames, 0.7 s each, with a line of credit."""
    buffer = BytesIO()
    small = [f.resize((min(f.width, 900), max(1, round(f.height * min(f.width, 900) / f.width)))) for f in frames]
    # an octree keeps the colour of few pixels, such as a lone box, that a median cut gives to what is like it and larger
    small = [credited(f, credit).quantize(method=Image.Quantize.FASTOCTREE) for f in small]
    small[0].save(buffer, "GIF", save_all=True, append_images=small[1:], duration=700, loop=0)
    return buffer.getvalue()


def thumbnail(image: Image.Image, side: int = 900) -> bytes:
    """JPEG bytes no longer than `side`, for the report page."""
    copy = image.copy()
    copy.thumbnail((side, side))
    buffer = BytesIO()
    copy.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
