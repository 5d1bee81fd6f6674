"""What was built over a series: picture, features, table rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from shapely.affinity import affine_transform
from shapely.geometry import mapping, shape

from pipeline.change.series import SPLITS, WAYS, Built, Growth
from pipeline.change.stack import Stack
from pipeline.imagery.scene import Scene
from pipeline.review.export import lonlat
from pipeline.review.overlay import MIN_SIDE, PANEL, Caption, credit_line, font, framed, stretch

EARLY, LATE = (255, 214, 64), (255, 64, 160)
"""Colour of the first and of the last date: apart for the common kinds of colour blindness, and on grass, sand and concrete."""


def draw_growth(stack: Stack, growth: Growth, scene: Scene) -> Image.Image:
    """The first and the last clear look side by side; what was built outlined on both, numbered, coloured by date.

    Args:
        stack: the looks.
        growth: what was built.
        scene: any of the looks; credit and north are taken from it.
    """
    zoom = max(1.0, MIN_SIDE * 0.9 / max(stack.first.valid.shape))
    frames = []
    for array in stretch((stack.first, stack.last)):
        picture = Image.fromarray(array)
        picture = picture.resize((round(picture.width * zoom), round(picture.height * zoom)), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(picture)
        for number, built in enumerate(growth.built, start=1):
            _mark(draw, built, number, zoom, _colour(built.first_with, len(stack.times)))
        frames.append(picture)
    gap = 8
    both = Image.new("RGB", (frames[0].width * 2 + gap, frames[0].height), PANEL)
    both.paste(frames[0], (0, 0))
    both.paste(frames[1], (frames[0].width + gap, 0))
    dates = [t.strftime("%Y-%m-%d") for t in (stack.times[0], stack.times[len(stack.times) // 2], stack.times[-1])]
    legend = [
        (_colour(i, len(stack.times)), f"first seen about {d}") for i, d in zip((0, len(stack.times) // 2, 99), dates, strict=True)
    ]
    title = f"{dates[0]} to {dates[-1]}: {len(growth.built)} new structures ({growth.low} to {growth.high})"
    line = (
        f"{len(stack.times)} looks, {100 * growth.observed:.0f} % of the ground seen often enough; left an early look, right a late one"
    )
    caption = Caption(title, line, credit_line([scene]))
    return framed(both, caption, legend, stack.gsd_m / zoom, scene)


def _colour(index: int, number: int) -> tuple[int, int, int]:
    t = min(1.0, index / max(1, number - 1))
    r, g, b = (round(e + t * (l - e)) for e, l in zip(EARLY, LATE, strict=True))
    return r, g, b


def _mark(draw: ImageDraw.ImageDraw, built: Built, number: int, zoom: float, colour: tuple[int, int, int]) -> None:
    outline: Any = shape(built.geometry)
    points = [(x * zoom, y * zoom) for x, y in outline.exterior.coords]
    draw.line(points, fill=(0, 0, 0), width=4)
    draw.line(points, fill=colour, width=2)
    _, y0, x1, _ = outline.bounds
    draw.text((x1 * zoom + 2, y0 * zoom - 6), str(number), fill=colour, font=font(13), stroke_width=2, stroke_fill=(0, 0, 0))


def growth_features(stack: Stack, growth: Growth) -> list[dict[str, Any]]:
    """One feature per new structure: number, area, last look without and first look with it, strength."""
    a, b, c, d, e, f = stack.grid.transform
    features = []
    for number, built in enumerate(growth.built, start=1):
        ground = mapping(affine_transform(shape(built.geometry), [a, b, d, e, c, f]))
        features.append(
            {
                "type": "Feature",
                "geometry": lonlat(ground, stack.grid.crs),
                "properties": {"number": number, **_facts(stack, built)},
            }
        )
    return features


def _facts(stack: Stack, built: Built) -> dict[str, Any]:
    return {
        "area_m2": built.area_m2,
        "last_without": stack.times[built.last_without].isoformat(),
        "first_with": stack.times[built.first_with].isoformat(),
        "last_without_scene": stack.names[built.last_without],
        "first_with_scene": stack.names[built.first_with],
        "strength": built.strength,
    }


def growth_summary(stack: Stack, growth: Growth) -> dict[str, Any]:
    """Number with its interval, share of the ground seen, looks used and left out, every structure."""
    return {
        "new_structures": len(growth.built),
        "low": growth.low,
        "high": growth.high,
        "observed_share": round(growth.observed, 3),
        "thresholds": {
            s: dict(zip(WAYS, row, strict=True)) for s, row in zip(SPLITS, growth.thresholds.round(2).tolist(), strict=True)
        },
        "looks": list(stack.names),
        "skipped": [{"scene": n, "reason": r} for n, r in stack.skipped],
        "structures": [_facts(stack, b) for b in growth.built],
    }


def by_interval(stack: Stack, built: Sequence[Built]) -> list[tuple[str, int, float]]:
    """Rows of a table: dates between which, how many, square metres in all."""
    spans = sorted({(b.last_without, b.first_with) for b in built}, key=lambda s: (s[1], s[0]))
    rows = []
    for before, after in spans:
        mine = [b.area_m2 for b in built if (b.last_without, b.first_with) == (before, after)]
        rows.append((f"{stack.times[before]:%Y-%m-%d} to {stack.times[after]:%Y-%m-%d}", len(mine), float(np.sum(mine))))
    return rows
