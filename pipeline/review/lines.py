"""Proposed track centre lines: the picture to choose by, and the geometry that a site file names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from shapely.geometry import LineString

from pipeline.grid import Grid
from pipeline.imagery.scene import Tile
from pipeline.review.overlay import stretch

F64 = NDArray[np.float64]

COLOURS = ((0, 255, 255), (255, 230, 0), (255, 90, 255), (90, 255, 90))
"""In turn, so that neighbours differ."""

STRAIGHT_M = 0.3
"""A point this near the line through its neighbours is left out: a tenth of a car's width."""


def draw_lines(tile: Tile, lines: Sequence[F64], side: int = 2000) -> Image.Image:
    """Numbered lines, in pixels of the tile, over its picture; `side` is the longer one's size in pixels."""
    picture = Image.fromarray(stretch([tile])[0])
    zoom = side / max(picture.size)
    picture = picture.resize((round(picture.width * zoom), round(picture.height * zoom)), Image.Resampling.BICUBIC)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(18)
    for number, points in enumerate(lines, start=1):
        colour = COLOURS[number % len(COLOURS)]
        draw.line([(x * zoom, y * zoom) for x, y in points], fill=colour, width=2)
        x, y = points[len(points) // 2] * zoom
        draw.text((x, y), str(number), fill=colour, font=font, stroke_width=2, stroke_fill=(0, 0, 0), anchor="mm")
    return picture


def centre_line_feature(grid: Grid, lines: Sequence[F64], gsd_m: float) -> dict[str, Any]:
    """One MultiLineString in the CRS of a grid, as ``centre_lines`` of a zone wants it.

    Args:
        grid: of the image that was searched.
        lines: (P, 2) each, its pixels.
        gsd_m: metres per pixel of `grid`.
    """
    parts = [np.asarray(LineString(points).simplify(STRAIGHT_M / gsd_m).coords) for points in lines]
    coordinates = [[[round(float(x), 7), round(float(y), 7)] for x, y in grid.to_map(part)] for part in parts]
    geometry = {"type": "MultiLineString", "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": {"lines": len(lines)}}
