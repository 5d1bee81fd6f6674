"""Procedural scenes under a sensor model, with exact labels.

Same seed, same pixels, same labels. Seeds below 5 000 000 train, 5 000 000 to 9 999 999 evaluate, 10 000 000 and above are
the demo's: no weight that ships has seen a seed that judges it.
"""

from collections.abc import Callable

import numpy as np

from models.render import decoys, docks, looks, port, scenes, shore, terminals
from models.render.canvas import Canvas, Light, sense
from models.render.chip import Chip, with_labels

__all__ = ["DEMO_SEEDS", "EVALUATION_SEEDS", "KINDS", "Chip", "render_chip"]

EVALUATION_SEEDS = 5_000_000
DEMO_SEEDS = 10_000_000

KINDS: dict[str, Callable[[Canvas], None]] = {
    "rail_yard": scenes.rail_yard,
    "standing": looks.standing,
    "terminal": terminals.terminal,
    "quay": terminals.quay,
    "storage": terminals.storage,
    "negative": decoys.negative,
    "street": decoys.street,
    "harbour": port.harbour,
    "waterfront": shore.waterfront,
    "dockyard": docks.dockyard,
    "box_terminal": docks.box_terminal,
}


def render_chip(seed: int, kind: str, gsd_m: float, size_px: int, sensor_gsd_m: float | None = None) -> Chip:
    """Render one scene of a kind.

    Args:
        seed: the only source of chance.
        kind: a key of `KINDS`.
        gsd_m: GSD of the result, metres per pixel.
        size_px: side of the result, pixels.
        sensor_gsd_m: GSD the sensor worked at, at least `gsd_m`; the result is resampled to `gsd_m`.
    """
    rng = np.random.default_rng(seed)
    canvas = Canvas(size_px, gsd_m, rng, Light.draw(rng))
    KINDS[kind](canvas)
    pixels = sense(canvas.image, rng, max(1.0, (sensor_gsd_m or gsd_m) / gsd_m))
    return with_labels(canvas, pixels)
