"""Known warps of real images: pairs of looks whose true geometry is known because it was made.

A crop of a real image is the first look. The second is sampled from the same image through a known map, by Lanczos, and then given
another radiometry, noise, haze or clouds. Cloud masks are imperfect on purpose: a rim of cloud stays valid. Sources are listed by
name so that the cases stay the same when images are added.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray

from pipeline.grid import Grid, Window
from pipeline.imagery.scene import Tile

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

IMAGERY = Path(__file__).resolve().parents[2].parent / "shared" / "imagery"
SOURCES = (
    "long-beach/scene_a.tif",
    "long-beach/scene_b.tif",
    "sf_bay/scene_1.jpg",
    "sf_bay/scene_4.jpg",
    "terminal_two_dates/t1.tif",
    "terminal_two_dates/t2.png",
    "container_yard_10cm/yard.png",
    "joplin/pre/tile_1361-10160.tif",
    "joplin/post/tile_31500-5137.tif",
    "muttenz/yard_west.tif",
    "negatives/trailers_P0004.png",
    "negatives/atlanta_pan_05m.tif",
    "ports_submetre/02.png",
    "ports_submetre/09.png",
    "ports_submetre/sample3.tif",
    "ports_submetre/sample8.tif",
    "xview_port/t_0616.png",
    "xview_port/t_0633.png",
    "xview_port/t_0648.png",
    "xview_port/t_0656.png",
    "change_pairs/levir/A/test_101_full.png",
    "planetscope_ports/20190506_025553_1043_3B_Visual_5.png",
    "planetscope_ports/20190426_062552_0e19_3B_Visual_1.png",
)
KINDS = (
    "shift",
    "shift, radiometry and noise",
    "shift and haze",
    "rotation to 2 deg",
    "30 % overlap",
    "40 % clouded",
    "2x GSD",
    "mixed",
)
PURE = KINDS[:1]
SIDE = 512
MAX_SHIFT = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """One pair with its truth.

    Attributes:
        kind: one of `KINDS`.
        source: image it was made from.
        before: first look.
        after: second look.
        truth: (2, 3), x_before = truth @ (x_after, 1), pixel corners.
        clear: (H, W) per look, whether no cloud, not even a thin rim that the masks let through, lies over a pixel.
    """

    kind: str
    source: str
    before: Tile
    after: Tile
    truth: F64
    clear: tuple[NDArray[np.bool_], NDArray[np.bool_]]

    def error(self, matrix: F64) -> float:
        """Largest distance, pixels, between a map and the truth over the ground that both looks saw."""
        ys, xs = np.nonzero(self.after.valid & (sample(self.before.valid.astype(np.float32), self.truth, cv2.INTER_NEAREST) > 0))
        points = np.column_stack([xs, ys])[:: max(1, len(xs) // 4000)] + 0.5
        gap = points @ (matrix - self.truth)[:, :2].T + (matrix - self.truth)[:, 2]
        return float(np.hypot(*gap.T).max()) if len(points) else 0.0


def load(name: str) -> F32:
    """(3, H, W) in 0..1; display images by 255, the 11-bit pan by its own top."""
    with rasterio.open(IMAGERY / name) as source:
        bands = source.read(indexes=[1, 2, 3] if source.count >= 3 else [1, 1, 1]).astype(np.float32)
    return np.asarray(np.clip(bands / (255.0 if bands.max() < 256 else 2047.0), 0, 1), np.float32)


def sample(image: F32, matrix: F64, how: int = cv2.INTER_LANCZOS4, size: tuple[int, int] | None = None) -> F32:
    """(H, W[, C]) values at matrix @ (x, y, 1) of every pixel, corners not centres; outside is 0."""
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    flags = how | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, centred, size or image.shape[1::-1], flags=flags, borderValue=0), np.float32)


def tile(pixels: F32, valid: NDArray[np.bool_]) -> Tile:
    """A tile that is its whole grid."""
    height, width = valid.shape
    window = Window(0, 0, width, height)
    grid = Grid(width, height, (1, 0, 0, 0, 1, 0), None)
    return Tile(window, window, np.ascontiguousarray(np.clip(pixels, 0, 1) * valid, np.float32), valid, grid)


def field(rng: np.random.Generator, side: int, scale: float) -> F32:
    """(side, side) smooth random field, standard normal."""
    noise = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), scale)
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def case(number: int, side: int = SIDE) -> Case:
    """Case `number` of the seeded series; kinds take turns."""
    rng = np.random.default_rng(40_000 + number)
    kind = KINDS[number % len(KINDS)]
    source = SOURCES[int(rng.integers(len(SOURCES)))]
    mixed = kind == "mixed"
    pixels = load(source)
    factor = 2 if kind == "2x GSD" else 1
    truth = _truth(rng, kind, side // factor)
    full = side
    left, top = (int(rng.integers(-40, max(1, n - full + 40))) for n in (pixels.shape[2], pixels.shape[1]))
    scaled = truth.copy()
    scaled[:, 2] *= factor
    looks, masks = [], []
    for look, matrix in enumerate((np.eye(3)[:2], scaled)):
        place = np.column_stack([matrix[:, :2], matrix[:, 2] + (left, top)])
        hwc = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        if factor == 2 and look == 1:
            hwc = cv2.GaussianBlur(hwc, (0, 0), 1.0)  # the coarse sensor's own blur, before it samples
        image = sample(hwc, place, size=(full, full))
        mask = sample(np.ones(pixels.shape[1:], np.float32), place, cv2.INTER_LINEAR, (full, full)) > 0.999
        if factor == 2:
            image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask.astype(np.float32), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) > 0.999
        looks.append(np.ascontiguousarray(image.transpose(2, 0, 1)))
        masks.append(mask)
    small = full // factor
    clear = [np.ones(m.shape, np.bool_) for m in masks]
    if kind == "30 % overlap" or (mixed and rng.random() < 0.3):
        _swaths(rng, masks, small)
    if kind == "shift and haze" or (mixed and rng.random() < 0.3):
        veil = 0.35 + 0.2 * field(rng, small, small / 8)
        looks[1] = looks[1] * (1 - np.clip(veil, 0, 0.7)) + 0.8 * np.clip(veil, 0, 0.7)
    if kind == "40 % clouded" or (mixed and rng.random() < 0.5):
        for k in range(2):
            clear[k] &= _cloud(rng, looks, masks, k, small, 0.4 if not mixed else rng.uniform(0.1, 0.4)) < 0.01
    if kind != "shift":
        strong = kind in {"shift, radiometry and noise", "mixed"}
        gain, lift = (rng.uniform(0.5, 1.6), rng.uniform(-0.05, 0.15)) if strong else (1.0, 0.0)
        looks[1] = looks[1] * gain + lift
        level = rng.uniform(0.01, 0.04) if strong else 0.005
        looks = [x + rng.normal(0, level, x.shape).astype(np.float32) for x in looks]
    return Case(kind, source, tile(looks[0], masks[0]), tile(looks[1], masks[1]), truth, (clear[0], clear[1]))


def _truth(rng: np.random.Generator, kind: str, side: int) -> F64:
    reach, bearing = MAX_SHIFT * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    turn = np.radians(rng.uniform(-2, 2)) if kind in {"rotation to 2 deg", "mixed"} else 0.0
    scale = rng.uniform(0.99, 1.01) if kind == "mixed" else 1.0
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array([side / 2, side / 2])
    shift = reach * np.array([np.cos(bearing), np.sin(bearing)])
    return np.column_stack([rotation, centre + shift - rotation @ centre])


def _swaths(rng: np.random.Generator, masks: list[NDArray[np.bool_]], side: int) -> None:
    """Two swaths with slanted edges that share 30 % of the frame."""
    slant = rng.uniform(-0.25, 0.25)
    x = np.linspace(0, 1, side)[None] + slant * (np.linspace(0, 1, side)[:, None] - 0.5)
    if rng.random() < 0.5:
        x = x.T
    low = rng.uniform(0.1, 0.6)
    masks[0] &= x < low + 0.3
    masks[1] &= x > low


def _cloud(rng: np.random.Generator, looks: list[F32], masks: list[NDArray[np.bool_]], k: int, side: int, share: float) -> F32:
    """Lay a cloud over look `k` and mask its thick part; returns its opacity."""
    density = field(rng, side, side / 24) + 0.4 * field(rng, side, side / 100)
    top = float(np.quantile(density, 1 - share))
    opacity = np.asarray(np.clip((density - top) / 0.25 + 0.5, 0, 1), np.float32)
    looks[k] = looks[k] * (1 - opacity) + opacity * (0.85 + 0.05 * field(rng, side, 4))
    masks[k] &= opacity < 0.6  # the thin rim stays valid
    return opacity
