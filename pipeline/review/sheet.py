"""The worst pictures of an evaluation on one sheet: what was hit, missed, and seen where nothing is."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from models import boxes as ob
from models.evaluate import Case
from pipeline.review.overlay import FAINT, INK, PANEL, font

COLUMNS, CELLS = 4, 12
"""Pictures beside each other, and in all."""
SIDE, TITLE, HEAD = 420, 40, 46
HIT, MISSED, FALSE = (150, 215, 255), (255, 80, 70), (255, 200, 40)


def draw_sheet(cases: Sequence[Case]) -> Image.Image:
    """Thin blue: found and called right. Thick red: missed. Yellow with a cross: nothing there, or of another class."""
    rows = -(-len(cases) // COLUMNS)
    out = Image.new("RGB", (COLUMNS * (SIDE + 8) + 8, HEAD + rows * (SIDE + TITLE + 8)), PANEL)
    draw, x = ImageDraw.Draw(out), 12.0
    for colour, words in ((HIT, "found"), (MISSED, "missed"), (FALSE, "false, or called by another name")):
        draw.rectangle((x, 16, x + 14, 28), outline=colour, width=3)
        draw.text((x + 20, 13), words, fill=INK, font=font(15))
        x += 50 + draw.textlength(words, font=font(15))
    for k, case in enumerate(cases):
        left, top = 8 + k % COLUMNS * (SIDE + 8), HEAD + k // COLUMNS * (SIDE + TITLE + 8)
        picture, words = draw_case(case, SIDE / max(case.pixels.shape))
        draw.text((left, top), f"{case.where}, {case.gsd_m:g} m", fill=INK, font=font(14))
        draw.text((left, top + 18), words, fill=FAINT, font=font(13))
        out.paste(picture, (left, top + TITLE))
    return out


def draw_case(case: Case, zoom: float) -> tuple[Image.Image, str]:
    """One picture with its marks, `zoom` times its size, and what they come to in words."""
    low, high = np.percentile(case.pixels, (1, 99))
    bright = np.clip((case.pixels - low) / max(high - low, 1e-3), 0, 1) ** 0.85 * 255
    picture = Image.fromarray(bright.transpose(1, 2, 0).astype(np.uint8))
    picture = picture.resize((round(picture.width * zoom), round(picture.height * zoom)), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    right, false, missed = case.verdict()
    marks = [(case.boxes[missed], MISSED, 3), (case.found.boxes[false], FALSE, 2), (case.found.boxes[right], HIT, 1)]
    for boxes, colour, width in marks:
        for ring in ob.corners(boxes) * zoom:
            points = [(float(px), float(py)) for px, py in ring]
            draw.line([*points, points[0]], fill=colour, width=width)
            if colour == FALSE:
                draw.line([points[0], points[2]], fill=colour, width=1)
                draw.line([points[1], points[3]], fill=colour, width=1)
    return picture, f"{int(right.sum())} found, {len(missed)} missed, {int(false.sum())} false"
