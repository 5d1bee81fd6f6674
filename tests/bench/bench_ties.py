# ruff: noqa: T201
# (a benchmark prints)
"""Registration of real pairs against ground tie points that were read apart from it (``fixtures/labels/ties.json``).

Run: ``python tests/bench/bench_ties.py [IMAGERY]``. Prints per pair the residual at the points in pixels of the before look, and what
it was without registration. The points are never used to fit.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from pipeline.change.records import Alignment
from pipeline.change.register import register
from pipeline.grid import Grid, Window
from pipeline.imagery.scene import Tile

ROOT = Path(__file__).resolve().parents[2]
TIES = ROOT / "fixtures" / "labels" / "ties.json"


def pairs() -> list[dict[str, Any]]:
    """The pairs with their points."""
    found: list[dict[str, Any]] = json.loads(TIES.read_text(encoding="utf-8"))["pairs"]
    return found


def solve(pair: dict[str, Any], imagery: Path) -> tuple[Alignment, NDArray[np.float64], NDArray[np.float64]]:
    """Register a pair from nothing.

    Returns:
        The alignment; (N,) distances at the tie points after it, and before it, pixels.
    """
    looks = [_pixels(imagery, pair[side]) for side in ("before", "after")]
    height, width = (max(look.shape[k] for look in looks) for k in (1, 2))
    found = register(*(_tile(look, height, width) for look in looks), pair["max_shift_px"])
    points = np.array(pair["points"], np.float64).reshape(-1, 4)
    before, after = points[:, :2] - pair["before"]["cut"], points[:, 2:] - pair["after"]["cut"]
    moved = after @ found.matrix[:, :2].T + found.matrix[:, 2]
    return found, np.hypot(*(moved - before).T), np.hypot(*(after - before).T)


def _pixels(imagery: Path, side: dict[str, Any]) -> NDArray[np.float32]:
    path = imagery / side["image"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == side["sha256"], f"{path} is not the image whose points were read"
    x, y = side["cut"]
    with rasterio.open(path) as source:
        return np.asarray(source.read(indexes=[1, 2, 3])[:, y:, x:] / np.float32(255))


def _tile(look: NDArray[np.float32], height: int, width: int) -> Tile:
    """A look in a frame that holds both, without georeference."""
    pixels, valid = np.zeros((3, height, width), np.float32), np.zeros((height, width), np.bool_)
    pixels[:, : look.shape[1], : look.shape[2]], valid[: look.shape[1], : look.shape[2]] = look, look.max(axis=0) > 0
    window = Window(0, 0, width, height)
    return Tile(window, window, pixels, valid, Grid(width, height, (1, 0, 0, 0, 1, 0), None))


def main() -> None:
    """Print the table."""
    imagery = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "../shared/imagery")
    print(f"{'pair':22} {'points':>6} {'median':>7} {'largest':>7} {'without':>8}")
    for pair in pairs():
        if not (imagery / pair["before"]["image"]).exists():
            print(f"{pair['pair']:22} absent")
            continue
        found, after, before = solve(pair, imagery)
        if not found.applied:
            print(f"{pair['pair']:22} refused: {found.reason}")
            continue
        print(f"{pair['pair']:22} {len(after):6d} {np.median(after):7.2f} {after.max():7.2f} {np.median(before):8.2f}   {found.reason}")


if __name__ == "__main__":
    main()
