# ruff: noqa: T201
# (a benchmark prints)
"""Runtimes of one head beside each other: speed as a ratio in one run, and how far counts and AP are from those of torch in fp32.

Run: ``python tests/bench/bench_runtime.py [--model yard] [--chips N] [--rounds N]``. Runtimes that are not installed are named and
left out. Rounds are interleaved and the ratio is the median over rounds, so that a busy machine slows all alike. Seeds from 4 982 000
on: they neither train, nor calibrate int8, nor judge.
"""

import argparse
import time
import warnings

import numpy as np

import models
from models import CLASSES, Detector
from models.evaluate import MATCH_IOU, RENDER_GSDS, RENDERS, WHOLE, Score, score
from models.quantise import TOLERANCE
from models.render import Chip, render_chip
from models.structure import detect
from pipeline.errors import ModelError

FIRST, SIDE = 4_982_000, 512
RUNTIMES = ("torch", "torch-bf16", "openvino", "openvino-bf16", "openvino-int8")


def heads(model: str) -> dict[str, Detector]:
    """The head by runtime, with the seconds that loading took."""
    found: dict[str, Detector] = {}
    for runtime in RUNTIMES:
        start = time.perf_counter()
        try:
            (found[runtime],) = models.load(model, runtime)
            print(f"{runtime:14} loaded in {time.perf_counter() - start:.0f} s")
        except ModelError as error:
            print(f"{runtime:14} left out: {error}")
    return found


def speed(heads_: dict[str, Detector], chip: Chip, rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in heads_}
    for round_ in range(rounds + 1):
        for name, head in heads_.items():
            start = time.perf_counter()
            head.detect(chip.pixels, chip.valid)
            if round_:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    print(f"\nruntime         x torch fp32   Mpx/s   (median of {rounds} rounds, {SIDE} px, boxes and suppression included)")
    for name, took in seconds.items():
        ratio = np.median(np.array(seconds["torch"]) / np.array(took))
        print(f"{name:14} {ratio:12.2f} {SIDE**2 / 1e6 / np.median(took):9.2f}")


def on_chips(head: Detector, name: str, chips: list[Chip]) -> Score:
    """Objects that are whole enough, as in `models.evaluate`."""
    truth = [c.boxes[(c.classes == CLASSES.index(name)) & (c.visible >= WHOLE)] for c in chips]
    return score([detect(head, c.pixels, c.valid).of(name) for c in chips], truth, MATCH_IOU)


def agreement(heads_: dict[str, Detector], number: int) -> None:
    print(f"\nclass       gsd m  runtime         count   from fp32      AP   points   (tolerance of int8 by class {TOLERANCE:.0%})")
    first = heads_["torch"]
    for name in first.classes:
        total = dict.fromkeys(heads_, 0)
        kind, working = RENDERS[name]
        for gsd in RENDER_GSDS[name]:
            chips = [render_chip(FIRST + k, kind, working, SIDE, gsd) for k in range(number)]
            exact = on_chips(first, name, chips)
            for runtime, head in heads_.items():
                s = exact if head is first else on_chips(head, name, chips)
                total[runtime] += s.found
                share, points = s.found / max(exact.found, 1) - 1, 100 * (s.ap - exact.ap)
                print(f"{name:10} {gsd:6g}  {runtime:14} {s.found:6d} {share:+11.1%} {s.ap:7.3f} {points:+8.2f}", flush=True)
        for runtime, found in total.items():
            print(f"{name:10} {'all':>6}  {runtime:14} {found:6d} {found / max(total['torch'], 1) - 1:+11.1%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yard")
    parser.add_argument("--chips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # OpenVINO traces with an interface that torch calls old
    found = heads(asked.model)
    kind, working = RENDERS[found["torch"].classes[0]]
    speed(found, render_chip(FIRST, kind, working, SIDE), asked.rounds)
    agreement(found, asked.chips)


if __name__ == "__main__":
    main()
