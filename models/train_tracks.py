"""Train the track network of `models.occupancy` on rendered yards: ``python -m models.train_tracks OUT.safetensors``.

Yards of seeds `FIRST_SEED` on, which calibrate the heads too (`models.publish.CALIBRATION_SEEDS`), each seen once at 0.6 m, then by
three coarser sensors; centre lines lie up to a metre beside the truth, as those of a site file do. About half an hour on one core. The
shipped weights saw fleets more alike (`looks.FLEET_UNITY` 30).
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from models.occupancy import DILATIONS, REACH, STEP_M, Unrolled, normalised, unroll
from models.render.looks import Yard, plan_yard, see_yard, thinned

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FIRST_SEED, YARDS = 4_970_000, 2000
CANVAS_GSD_M = 0.6
LINE_SD_M = 0.5
"""How far a declared centre line lies beside the track, metres."""
COUPLED_M = 5.0
"""Bodies closer than this are one string (pipeline.activity.lengths.JOIN_GAP_M)."""
CHANNELS, KERNELS = 48, (7, 5, 5, 5)
LENGTH, BATCH, STEPS, RATE = 160, 64, 8000, 4e-3


@dataclass(frozen=True, slots=True)
class Track:
    """One track as the network sees it: (39, N) values, (N,) share of each step that is occupied; GSD and contrast of its scene."""

    values: NDArray[np.float16]
    occupied: F32
    gsd_m: float
    contrast: float


def sensed(pixels: F32, gsd_m: float, sensor_gsd_m: float, rng: np.random.Generator) -> F32:
    """(3, H, W) of a coarser sensor: its blur, its pixels, its noise, 8 bits."""
    image, ratio = pixels.transpose(1, 2, 0), sensor_gsd_m / gsd_m
    if ratio > 1.05:
        side = round(image.shape[0] / ratio)
        image = cv2.resize(cv2.GaussianBlur(image, (0, 0), 0.45 * ratio), (side, side), interpolation=cv2.INTER_AREA)
    noisy = image + rng.normal(0, rng.uniform(0.002, 0.01), image.shape)
    return np.ascontiguousarray((np.clip(np.round(noisy * 255), 0, 255) / 255).transpose(2, 0, 1), np.float32)


def visible(yard: Yard, track: int) -> tuple[F64, float] | None:
    """Points of a track inside the frame, metres, 1 m apart, and the distance of the first along it; None where it is short."""
    points = yard.tracks[track]
    steps = np.r_[0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    at = np.arange(0.0, steps[-1], 1.0)
    xy = np.stack([np.interp(at, steps, points[:, k]) for k in (0, 1)], axis=1)
    inside = np.flatnonzero(((xy > 4) & (xy < yard.extent_m - 4)).all(axis=1))
    if len(inside) < 30:
        return None
    return xy[inside[0] : inside[-1] + 1], float(at[inside[0]])


def strings(yard: Yard, track: int) -> list[tuple[float, float]]:
    """Start and end of each string on a track, metres along it."""
    out: list[tuple[float, float]] = []
    for body in sorted((b for b in yard.bodies if b.track == track), key=lambda b: b.at):
        start, end = body.at - body.length / 2, body.at + body.length / 2
        if out and start - out[-1][1] <= COUPLED_M:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def beside(line: F64, metres: float) -> F64:
    """A line shifted to one side."""
    ahead = np.gradient(line, axis=0)
    return np.asarray(line + metres * np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) / np.hypot(*ahead.T)[:, None])


def _tracks(seed: int) -> Iterator[Track]:
    rng = np.random.default_rng([seed, 77])
    yard = thinned(plan_yard(seed), rng)
    pixels = see_yard(yard, int(rng.integers(100)), CANVAS_GSD_M).chip.pixels
    for sensor in np.exp(rng.uniform(np.log(0.75), np.log(4.5), 3)):
        coarse = sensed(pixels, CANVAS_GSD_M, float(sensor), rng)
        gsd_m = yard.extent_m / coarse.shape[1]
        rolls: list[Unrolled] = []
        truth: list[F32] = []
        for track in range(len(yard.tracks)):
            found = visible(yard, track)
            if found is None:
                continue
            line = beside(found[0], float(rng.normal(0, LINE_SD_M))) / gsd_m
            rolls.append(unroll(coarse, np.ones(coarse.shape[1:], np.bool_), line, gsd_m))
            starts = found[1] + np.arange(len(rolls[-1].valid)) * STEP_M
            share = [np.clip(np.minimum(starts + STEP_M, b) - np.maximum(starts, a), 0, None) for a, b in strings(yard, track)]
            truth.append(np.asarray(np.sum([np.zeros(len(starts)), *share], axis=0) / STEP_M, np.float32))
        tracks, contrast = normalised(rolls)
        for values, occupied in zip(tracks, truth, strict=True):
            yield Track(values.astype(np.float16), occupied, gsd_m, contrast)


def network() -> torch.nn.Sequential:
    """The network of `models.occupancy`."""
    layers: list[torch.nn.Module] = []
    channels = 3 * (2 * REACH + 1) + 2
    for dilation, kernel in zip(DILATIONS, KERNELS, strict=True):
        layers += [
            torch.nn.Conv1d(channels, CHANNELS, kernel, padding=dilation * (kernel // 2), dilation=dilation),
            torch.nn.ReLU(),
        ]
        channels = CHANNELS
    return torch.nn.Sequential(*layers, torch.nn.Conv1d(channels, 1, 1))


def _batch(tracks: list[Track], rng: np.random.Generator) -> tuple[F32, F32, F32]:
    """Values, truth and weight; mirrored, turned round, greyed and stretched by chance."""
    channels = 3 * (2 * REACH + 1)
    x, y, w = np.zeros((BATCH, channels + 2, LENGTH)), np.zeros((BATCH, LENGTH)), np.zeros((BATCH, LENGTH))
    for i, which in enumerate(rng.integers(0, len(tracks), BATCH)):
        track = tracks[which]
        values, truth = track.values.astype(np.float32).reshape(2 * REACH + 1, 3, -1), track.occupied
        if rng.random() < 0.5:
            values = values[::-1]
        if rng.random() < 0.5:
            values, truth = values[:, :, ::-1], truth[::-1]
        if rng.random() < 0.3:
            values = np.repeat(values.mean(axis=1, keepdims=True), 3, axis=1)
        start, n = rng.integers(0, max(1, len(truth) - LENGTH + 1)), min(LENGTH, len(truth))
        x[i, :channels, :n] = values.reshape(channels, -1)[:, start : start + n] * rng.uniform(0.7, 1.4)
        x[i, channels], x[i, channels + 1] = np.log(track.gsd_m / 2), track.contrast
        y[i, :n], w[i, :n] = truth[start : start + n], 1.0
    return x.astype(np.float32), y.astype(np.float32), w.astype(np.float32)


def train(out: Path, yards: int = YARDS, steps: int = STEPS) -> None:
    """Draw the yards, fit, write the weights."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    tracks = [track for seed in range(FIRST_SEED, FIRST_SEED + yards) for track in _tracks(seed)]
    net = network()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    for _ in range(steps):
        x, y, w = (torch.from_numpy(a) for a in _batch(tracks, rng))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], y, w, reduction="sum") / w.sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    convolutions = [layer for layer in net if isinstance(layer, torch.nn.Conv1d)]
    stored = {f"{i}.{k}": v.detach().numpy().copy() for i, c in enumerate(convolutions) for k, v in c.named_parameters()}
    save_file(stored, out, metadata={"seeds": f"{FIRST_SEED} to {FIRST_SEED + yards - 1}", "licence": "Apache-2.0"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--yards", type=int, default=YARDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    train(given.out, given.yards, given.steps)
