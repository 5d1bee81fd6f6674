"""Procedural scenes under a sensor model, with exact labels.

Same seed, same pixels, same labels. Seeds below 5 000 000 train, 5 000 000 to 9 999 999 evaluate, 10 000 000 and above are
the demo's: no weight that ships has seen a seed that judges it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from models.render import decoys, docks, lookalikes, looks, port, scenes, shore, terminals
from models.render.canvas import Backdrop, Canvas, Light, pan_sharpened, sense
from models.render.chip import Chip, with_labels

__all__ = ["DEMO_SEEDS", "EVALUATION_SEEDS", "KINDS", "Chip", "render_chip"]

EVALUATION_SEEDS = 5_000_000
DEMO_SEEDS = 10_000_000

DEEP, DEEPER = 0.4, (0.05, 0.25)
"""Share of the chips whose shadows are deeper than those of `Light.draw`, and what those leave of the light: a sharp clear sky."""

ASLANT, ASLANT_DEG = 0.3, (12.0, 30.0)
"""Share of the chips seen more aslant than most by `Light.draw`, and how far off nadir, degrees: high stacks then show their sides."""

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
    "lookalike": lookalikes.lookalike,
}


def render_chip(
    seed: int,
    kind: str,
    gsd_m: float,
    size_px: int,
    sensor_gsd_m: float | None = None,
    backdrop: Backdrop | None = None,
) -> Chip:
    """Render one scene of a kind.

    Args:
        seed: the only source of chance.
        kind: a key of `KINDS`.
        gsd_m: GSD of the result, metres per pixel.
        size_px: side of the result, pixels.
        sensor_gsd_m: GSD the sensor worked at, at least `gsd_m`; the result is resampled to `gsd_m`.
        backdrop: a real place without objects to draw the scene on, instead of on ground of its own.
    """
    rng = np.random.default_rng(seed)
    light = Light.draw(rng)
    if rng.random() < DEEP:
        light = replace(light, depth=rng.uniform(*DEEPER))
    if rng.random() < ASLANT:
        light = replace(light, lean=light.lean / np.hypot(*light.lean) * np.tan(np.radians(rng.uniform(*ASLANT_DEG))))
    canvas = Canvas(size_px, gsd_m, rng, light, backdrop)
    KINDS[kind](canvas)
    coarsen = max(1.0, (sensor_gsd_m or gsd_m) / gsd_m)
    pixels = sense(pan_sharpened(canvas.image, rng, coarsen), rng, coarsen)
    return with_labels(canvas, pixels)[0]
