"""int8 after training (NNCF): ranges from seeded renders, and the proof that the counts stay those of fp32."""

import logging
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from models.card import Card
from models.detector import Detector
from models.evaluate import RENDER_GSDS, RENDERS
from models.render import Chip, render_chip
from models.structure import detect
from pipeline.errors import ModelError

CALIBRATION_SEEDS, CHECK_SEEDS = 4_980_000, 4_981_000
"""First seeds; neither judges anything (`models.render.EVALUATION_SEEDS`)."""
CHIPS, CHIP_PX = 4, 256
"""Chips per class and GSD, and their side: NNCF's ranges are settled by a few hundred thousand values a layer."""
TOLERANCE = 0.05
"""Largest difference of a class's count from fp32, relative; that of bf16 in the tests, and a third of the cards' spread of scenes."""


def chips(card: Card, first: int) -> Iterator[tuple[str, Chip]]:
    """Class and picture, at every GSD that the classes of a head are judged at."""
    for name in card.classes:
        kind, working = RENDERS[name]
        for gsd in RENDER_GSDS[name]:
            yield from ((name, render_chip(first + k, kind, working, CHIP_PX, gsd)) for k in range(CHIPS))


def quantise(graph: Any, card: Card) -> Any:
    """Weights and activations of a network in int8, but for its last convolution.

    Args:
        graph: ``openvino.Model`` of a `models.network.YardNet` in fp32.
        card: its card: says what to calibrate on.

    Returns:
        A new ``openvino.Model``. Same graph, same result.

    Raises:
        ModelError: NNCF is not installed.
    """
    try:
        import nncf
    except ImportError as error:
        raise ModelError("NNCF is not installed", "Install it with `pip install 'yardwatch[int8]'`.") from error
    nncf.set_log_level(logging.ERROR)
    pictures = [chip.pixels[None] for _, chip in chips(card, CALIBRATION_SEEDS)]
    head = nncf.IgnoredScope(patterns=[r"__module\.head/.*"])  # boxes come from it, and leaving it takes no more time
    with redirect_stdout(StringIO()):  # NNCF draws its progress where the results go
        return nncf.quantize(graph, nncf.Dataset(pictures), subset_size=len(pictures), ignored_scope=head)


def disagreement(head: Detector, other: Detector, card: Card) -> dict[str, float]:
    """By how much the counts of another head differ from those of `head`: by class, over pictures that calibrated neither."""
    count = {name: [0, 0] for name in card.classes}
    for name, chip in chips(card, CHECK_SEEDS):
        for k, which in enumerate((head, other)):
            count[name][k] += len(detect(which, chip.pixels, chip.valid).of(name))
    return {name: abs(b - a) / max(a, 1) for name, (a, b) in count.items()}
