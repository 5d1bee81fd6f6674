"""int8 after training (NNCF): ranges from seeded renders, and the proof that the counts stay those of fp32."""

import logging
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from models.card import Card
from models.detector import Detector
from models.evaluate import RENDERS, at_working, render_gsds
from models.render import Chip, render_chip
from models.structure import detect
from pipeline.errors import ModelError

CALIBRATION_SEEDS, CHECK_SEEDS = 4_980_000, 4_981_000
"""First seeds; neither judges anything (`models.render.EVALUATION_SEEDS`)."""
CHIPS, CHIP_PX = 4, 256
"""Chips per class and GSD, and their side: NNCF's ranges are settled by a few hundred thousand values a layer."""
TOLERANCE = 0.05
"""Largest difference of a class's count from fp32, relative; that of bf16 in the tests, and a third of the cards' spread of scenes."""


def chips(card: Card, first: int) -> Iterator[tuple[str, float, Chip]]:
    """Class, sensor GSD and picture at the working GSD, at every GSD that the classes of a head are judged at and that it accepts."""
    for name in card.classes:
        kind, canvas = RENDERS[name]
        for gsd in render_gsds(name, card.gsd):
            drawn = (render_chip(first + k, kind, canvas, CHIP_PX, gsd) for k in range(CHIPS))
            yield from ((name, gsd, at_working(chip, card.gsd.working_m)) for chip in drawn)


def quantise(graph: Any, card: Card) -> Any:
    """Weights and activations of a network in int8, but for the last convolutions.

    Args:
        graph: ``openvino.Model`` of a `models.network.YardNet` or an `Ensemble` in fp32.
        card: its card: says what to calibrate on.

    Returns:
        A new ``openvino.Model``. Same graph, same result.

    Raises:
        ModelError: NNCF is not installed, or the head accepts no GSD of the renders.
    """
    try:
        import nncf
    except ImportError as error:
        raise ModelError("NNCF is not installed", "Install it with `pip install 'yardwatch[int8]'`.") from error
    nncf.set_log_level(logging.ERROR)
    pictures = [chip.pixels[None] for _, _, chip in chips(card, CALIBRATION_SEEDS)]
    if not pictures:
        raise ModelError(f"{card.name}: accepts no GSD of the renders that calibrate int8", "Choose the runtime `auto`.")
    # boxes come from the heads, and leaving them takes no more time
    head = nncf.IgnoredScope(patterns=[r"__module\.((nets\.\d+|outlines)\.)?head/.*"])
    with redirect_stdout(StringIO()):  # NNCF draws its progress where the results go
        return nncf.quantize(graph, nncf.Dataset(pictures), subset_size=len(pictures), ignored_scope=head)


def disagreement(head: Detector, other: Detector, card: Card) -> dict[str, float]:
    """By how much the counts of another head differ from those of `head`, over pictures that calibrated neither.

    Returns:
        By class: the differences at each GSD without their signs, so that more here does not hide less there, over the count.
    """
    count: dict[str, dict[float, list[int]]] = {name: {} for name in card.classes}
    for name, gsd, chip in chips(card, CHECK_SEEDS):
        pair = count[name].setdefault(gsd, [0, 0])
        for k, which in enumerate((head, other)):
            pair[k] += len(detect(which, chip.pixels, chip.valid).of(name))
    return {name: sum(abs(b - a) for a, b in by.values()) / max(sum(a for a, _ in by.values()), 1) for name, by in count.items()}
