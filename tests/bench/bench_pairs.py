# ruff: noqa: T201
# (a benchmark prints)
"""What a pair costs: register, normalise and difference beside reading the two images; and the memory of a pair of 20 000 px a side.

Run: ``python tests/bench/bench_pairs.py [--side PIXELS]``. The looks are one rendered yard laid side by side, each copy brighter or
darker than its neighbours, the second look 3.3 px off, of another gain, with noise of its own: JPEG-compressed, tiled GeoTIFFs. Each
measurement is a process of its own. The ratio is of CPU time, in one run; memory is the peak of the process.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window as Part

from models.render import render_chip
from models.render.canvas import F32
from pipeline.change.difference import difference
from pipeline.change.normalise import normalise
from pipeline.change.register import register
from pipeline.change.warping import warp_tile
from pipeline.config import SceneMetadata
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Scene
from pipeline.imagery.warp import common_grid, read_on_grid

GSD_M, STEP, SHIFT_M = 0.5, 1000, (1.65, -0.9)


def write(path: Path, side: int, gain: float, shift_m: tuple[float, float], seed: int) -> None:
    """One look, row of tiles by row of tiles."""
    rng, unit = np.random.default_rng(seed), render_chip(4_940_000, "rail_yard", GSD_M, STEP).pixels
    tone = np.random.default_rng(5).uniform(0.6, 1.2, (-(-side // STEP),) * 2)
    kind = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "crs": "EPSG:32652", "tiled": True}
    origin = from_origin(5e5 + shift_m[0], 47e5 + shift_m[1], GSD_M, GSD_M)
    with rasterio.open(
        path, "w", **kind, transform=origin, compress="jpeg", photometric="ycbcr", blockxsize=512, blockysize=512
    ) as file:
        for y in range(0, side, STEP):
            row: F32 = np.concatenate([unit * tone[y // STEP, x // STEP] for x in range(0, side, STEP)], axis=2)[:, : side - y, :side]
            noisy = row * gain + rng.normal(0, 0.01, row.shape[1:]).astype(np.float32)
            file.write((np.clip(noisy, 0, 1) * 255).astype(np.uint8), window=Part(0, y, side, row.shape[1]))


def scenes(folder: Path) -> tuple[Scene, Scene]:
    """The two looks, opened."""
    first, second = (open_scene(folder / f"{name}.tif", SceneMetadata(), need_time=False) for name in ("before", "after"))
    return first, second


def read_both(folder: Path) -> None:
    """Decode every pixel of the two looks once, block by block."""
    for name in ("before", "after"):
        with rasterio.open(folder / f"{name}.tif") as file:
            for _, window in file.block_windows(1):
                file.read(window=window)


def change(folder: Path) -> str:
    """Read on one grid, register, normalise, difference."""
    first, second = scenes(folder)
    grid = common_grid(first, second)
    assert grid is not None
    gsd_m = first.gsd_m * grid.pixel_size()[0] / first.grid.pixel_size()[0]
    before, after = (read_on_grid(s, first, grid) for s in (first, second))
    began = time.process_time()
    alignment = register(before, after, 30.0 / gsd_m)
    moved, _ = normalise(before, warp_tile(after, alignment.matrix) if alignment.applied else after)
    difference(before, moved, 0.01, 20.0, gsd_m)
    spent = time.process_time() - began
    return f"{spent:.2f} {grid.width} {alignment.applied:d}"


def measured(what: str, folder: Path) -> list[float]:
    """CPU seconds, peak MiB, and what the work prints, of a process of its own."""
    result = subprocess.run([sys.executable, __file__, "--work", what, str(folder)], capture_output=True, text=True, check=True)
    return [float(v) for v in result.stdout.split()]


def work(what: str, folder: Path) -> None:
    began = time.process_time()
    said = change(folder) if what == "change" else read_both(folder) or ""
    status = Path("/proc/self/status").read_text(encoding="ascii")  # getrusage would tell of the process that started this one
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"{time.process_time() - began:.2f} {peak:.0f} {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, nargs="*", default=[4000, 20_000])
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work[0], Path(given.work[1]))
        return
    names = ("side px", "grid px", "decode s", "change s", "ratio", "whole s", "peak MiB", "decode MiB")
    print(" ".join(f"{n:>{w}}" for n, w in zip(names, (8, 8, 9, 9, 6, 8, 9, 10), strict=True)) + "  registered")
    for side in given.side:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder / "before.tif", side, 1.0, (0.0, 0.0), 1)
            write(folder / "after.tif", side, 0.9, SHIFT_M, 2)
            decode, (whole, peak, spent, grid, applied) = measured("decode", folder), measured("change", folder)
        figures = f"{decode[0]:9.1f} {spent:9.1f} {spent / decode[0]:6.2f} {whole:8.1f} {peak:9.0f} {decode[1]:10.0f}"
        print(f"{side:8d} {grid:8.0f} {figures}  {'yes' if applied else 'no'}", flush=True)


if __name__ == "__main__":
    main()
