"""Whether a railcar stands on each metre of a track, from the pixels beside its centre line: a small 1-D network in numpy.

At 1 to 5 m a car is no longer a shape that can be boxed; a string still differs from bare track along its own line (METHOD 3: strings
of rolling stock are NIIRS 3). The centre line is given, so the picture is unrolled along it: one row of pixels across the track per
step along it, in metres, whatever the GSD.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.card import find_tracks

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

STEP_M = 1.5
"""Metres between samples along a track, and across it."""

REACH = 6
"""Samples on either side of the centre line: 9 m, the shadow of the second track beside it (METHOD 4.5)."""

DILATIONS = (1, 2, 4, 8)
"""Of the layers: together they look 46 m back and ahead, three cars."""

CORE = 1
"""Samples on either side of the centre line that must be valid for a metre of track to be observed: a body is 3 m wide."""


@dataclass(frozen=True, slots=True)
class Unrolled:
    """The pixels along one track.

    Attributes:
        values: (C, N) float32, brightness of three bands at 13 offsets across, bands of an offset together.
        valid: (N,) bool, whether the track itself could be seen there.
    """

    values: F32
    valid: NDArray[np.bool_]


def unroll(pixels: F32, valid: NDArray[np.bool_], line: F64, gsd_m: float) -> Unrolled:
    """Sample a picture along and across a track.

    Args:
        pixels: (3, H, W), any unit.
        valid: (H, W).
        line: (P, 2) centre line in pixels.
        gsd_m: metres per pixel.
    """
    steps = np.r_[0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T))] * gsd_m
    at = np.arange(STEP_M / 2, max(steps[-1], STEP_M), STEP_M)  # one at least
    centre = np.stack([np.interp(at, steps, line[:, k]) for k in (0, 1)], axis=1)
    ahead = np.stack([np.interp(at + 2, steps, line[:, k]) - np.interp(at - 2, steps, line[:, k]) for k in (0, 1)], axis=1)
    ahead /= np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
    offsets = np.arange(-REACH, REACH + 1) * (STEP_M / gsd_m)
    points = centre[None] + offsets[:, None, None] * np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)[None]  # (13, N, 2)
    u, v = (points - 0.5).astype(np.float32).transpose(2, 0, 1)
    image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    if gsd_m < STEP_M:  # a sample stands for its whole step
        image = cv2.GaussianBlur(image, (0, 0), 0.4 * STEP_M / gsd_m)
    values = cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # (13, N, 3)
    seen = cv2.remap(valid.astype(np.float32), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0)
    core = seen[REACH - CORE : REACH + CORE + 1].min(axis=0) > 0.99
    return Unrolled(np.ascontiguousarray(values.transpose(0, 2, 1).reshape(-1, len(at))), core)


def normalised(tracks: Sequence[Unrolled]) -> tuple[list[F32], float]:
    """(C, N) values of each track less the scene's median, over its spread: haze, tone curve and season leave little behind.

    The second result is the logarithm of that spread over the median: bare tracks are stretched far, and the network is told so.
    """
    seen = [t.values[:, t.valid].reshape(2 * REACH + 1, 3, -1) for t in tracks if t.valid.any()]
    if not seen:
        return [np.zeros_like(t.values) for t in tracks], 0.0
    every = np.concatenate([s.transpose(1, 0, 2).reshape(3, -1) for s in seen], axis=1)
    low, middle, high = np.percentile(every, (16, 50, 84), axis=1)
    spread = max(float((high - low).mean()) / 2, 1e-6)  # one for all bands: colour is the difference of bands
    shift = np.tile(middle, 2 * REACH + 1)[:, None]
    contrast = float(np.log(spread / max(float(middle.mean()), 1e-6)))
    return [np.clip((t.values - shift) / spread, -6, 6).astype(np.float32) * t.valid for t in tracks], contrast


def occupied(tracks: Sequence[Unrolled], gsd_m: float) -> list[F64]:
    """(N,) probability per step of each track that a string of cars stands there; 0 where it could not be seen.

    Raises:
        ModelError: the weights are missing, or not those of their card.
    """
    layers, (values, contrast) = _layers(), normalised(tracks)
    return [_network(x, gsd_m, contrast, layers) * t.valid for x, t in zip(values, tracks, strict=True)]


@cache
def _layers() -> tuple[tuple[F32, F32], ...]:
    card = find_tracks()
    card.verify()
    stored = load_file(card.weights)
    return tuple((stored[f"{i}.weight"], stored[f"{i}.bias"]) for i in range(len(DILATIONS) + 1))


def _network(x: F32, gsd_m: float, contrast: float, layers: Sequence[tuple[F32, F32]]) -> F64:
    """Forward pass of (C, N) values; GSD and contrast of the scene are two more inputs, as logarithms."""
    scene = np.array([[np.log(gsd_m / 2)], [contrast]], np.float32)
    x = np.concatenate([x, np.repeat(scene, x.shape[1], axis=1)])
    for (weight, bias), dilation in zip(layers, (*DILATIONS, 1), strict=True):
        last = weight.shape[2] == 1
        x = _convolve(x, weight, dilation) + bias[:, None]
        x = x if last else np.maximum(x, 0)
    return np.asarray(1 / (1 + np.exp(-x[0].astype(np.float64))), np.float64)


def _convolve(x: F32, weight: F32, dilation: int) -> F32:
    """(O, N) of (C, N) and (O, C, K), zeros beyond the ends."""
    reach = weight.shape[2] // 2 * dilation
    padded = np.pad(x, ((0, 0), (reach, reach)))
    n = x.shape[1]
    return np.asarray(sum(weight[:, :, k] @ padded[:, k * dilation : k * dilation + n] for k in range(weight.shape[2])), np.float32)
