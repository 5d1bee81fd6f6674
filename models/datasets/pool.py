"""A pool of rendered chips on disk: rendered once by seed, read many times with augmentation."""

from dataclasses import fields
from pathlib import Path

import numpy as np

from models.render import Chip, render_chip


def render_pool(folder: Path, kind: str, seeds: range, gsd_m: float, size_px: int, sensor_gsd: tuple[float, float]) -> None:
    """Render chips ``<kind>-<seed>.npz`` that are not there yet; the sensor's GSD is log-uniform in `sensor_gsd`."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = folder / f"{kind}-{seed:07d}.npz"
        if path.exists():
            continue
        u = np.random.default_rng((seed, 1)).random()
        sensor = sensor_gsd[0] * (sensor_gsd[1] / sensor_gsd[0]) ** u
        write_chip(path, render_chip(seed, kind, gsd_m, size_px, float(sensor)))


def write_chip(path: Path, chip: Chip) -> None:
    """One chip as npz, pixels as bytes; under a temporary name first."""
    values = {f.name: getattr(chip, f.name) for f in fields(chip)}
    values["pixels"] = np.round(chip.pixels * 255).astype(np.uint8)
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, **values)
    temporary.replace(path)


def read_chip(path: Path) -> Chip:
    """The inverse of `write_chip`."""
    with np.load(path) as data:
        values = {name: data[name] for name in data.files}
    values["pixels"] = values["pixels"].astype(np.float32) / 255
    values["gsd_m"] = float(values["gsd_m"])
    return Chip(**values)
