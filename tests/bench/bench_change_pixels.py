# ruff: noqa: T201
# (a benchmark prints)
"""Pixel change on LEVIR pairs and on pairs without change, beside image difference, CVA and textbook IR-MAD, in one table.

Run: ``python tests/bench/bench_change_pixels.py``. LEVIR labels buildings only, so trees, cars and roads that changed count as false
for every method alike. The pairs without change are one image twice: second look moved by a known map, registered back by the
pipeline, another gain, offset and noise. Each method's limit is set by its own null at the false-alarm rate: ours as fitted; image
difference and CVA by the robust spread of their score (normal, chi-square); IR-MAD by its chi-square.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from skimage.io import imread

sys.path.insert(0, str(Path(__file__).parent))

from warps import IMAGERY, case, tile

from pipeline.change.difference import difference
from pipeline.change.normalise import normalise
from pipeline.change.register import register
from pipeline.change.warping import warp, warp_tile
from pipeline.imagery.scene import Tile

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
GSD_M = 0.5
RATES = (0.1, 0.05, 0.01)
MMU_M2 = 20.0
QUIET_KINDS = ("shift", "shift, radiometry and noise", "rotation to 2 deg", "40 % clouded", "2x GSD")


def ours(before: Tile, after: Tile) -> F64:
    """Two-sided p-value of the pipeline's score."""
    return np.asarray(2 * stats.norm.sf(difference(before, after, 0.01, MMU_M2, GSD_M).score.astype(np.float64)))


def by_difference(before: Tile, after: Tile) -> F64:
    """Absolute difference of brightness over its robust spread."""
    step = after.pixels.mean(axis=0) - before.pixels.mean(axis=0)
    step = np.abs(step - np.median(step[before.valid & after.valid]))
    return np.asarray(2 * stats.norm.sf(step / (1.4826 * np.median(step[before.valid & after.valid]) + 1e-9)))


def by_cva(before: Tile, after: Tile) -> F64:
    """Squared length of the change vector, bands scaled by their robust spread: chi-square of three."""
    both = before.valid & after.valid
    total = np.zeros(both.shape)
    for a, b in zip(before.pixels, after.pixels, strict=True):
        step = b.astype(np.float64) - a
        step -= np.median(step[both])
        total += (step / (1.4826 * np.median(np.abs(step[both])) + 1e-9)) ** 2
    return np.asarray(stats.chi2.sf(total, 3))


def by_ir_mad(before: Tile, after: Tile) -> F64:
    """Nielsen, IEEE TIP 16 (2007): canonical variates' differences over their spread, re-weighted by the chi-square probability."""
    both = before.valid & after.valid
    x, y = (t.pixels[:, both].T.astype(np.float64) for t in (before, after))
    x, y = (v + np.random.default_rng(0).normal(0, 1e-5, v.shape) for v in (x, y))  # pan: three equal bands would be singular
    weight = np.ones(len(x))
    squares = np.zeros(len(x))
    for _ in range(30):
        both_bands = np.cov(np.hstack([x, y]).T, aweights=weight)
        sxx, syy, sxy = both_bands[:3, :3], both_bands[3:, 3:], both_bands[:3, 3:]
        values, a = np.linalg.eig(np.linalg.solve(sxx, sxy @ np.linalg.solve(syy, sxy.T)))
        order = np.argsort(-values.real)
        rho, a = np.sqrt(np.clip(values.real[order], 0, 1 - 1e-9)), a.real[:, order]
        a = a / np.sqrt(np.einsum("ik,ij,jk->k", a, sxx, a))
        b = np.linalg.solve(syy, sxy.T @ a)
        b = b / np.sqrt(np.einsum("ik,ij,jk->k", b, syy, b))
        mad = (x - np.average(x, axis=0, weights=weight)) @ a - (y - np.average(y, axis=0, weights=weight)) @ b
        squares = (mad**2 / (2 * (1 - rho))).sum(axis=1)
        weight = stats.chi2.sf(squares, 3) + 1e-12
    p = np.ones(both.shape)
    p[both] = stats.chi2.sf(squares, 3)
    return p


METHODS: dict[str, Callable[[Tile, Tile], F64]] = {"ours": ours, "difference": by_difference, "CVA": by_cva, "IR-MAD": by_ir_mad}


def levir() -> list[tuple[Tile, Tile, Bool]]:
    """Pairs with their building labels; the second look is registered and normalised by the pipeline for every method."""
    found = []
    for path in sorted((IMAGERY / "change_pairs" / "levir" / "label").glob("*.png")):
        a, b = (imread(path.parents[1] / look / path.name)[..., :3].transpose(2, 0, 1) / np.float32(255) for look in "AB")
        label = imread(path)
        truth = (label if label.ndim == 2 else label[..., 0]) > 127
        before, after = (tile(np.asarray(x, np.float32), np.ones(truth.shape, np.bool_)) for x in (a, b))
        found.append((*prepared(before, after, 12.0), truth))
    return found


def prepared(before: Tile, after: Tile, max_shift_px: float) -> tuple[Tile, Tile]:
    """Register, warp and normalise."""
    alignment = register(before, after, max_shift_px)
    return before, normalise(before, warp_tile(after, alignment.matrix) if alignment.applied else after)[0]


def quiet(first: int, cases: int) -> list[tuple[Tile, Tile, Bool]]:
    """Pairs without change that the pipeline registered, and the pixels of them without cloud: a rim of cloud is a change."""
    found = []
    for number in range(first, first + cases):
        c = case(number)
        if c.kind in QUIET_KINDS:
            alignment = register(c.before, c.after, 90.0)
            if alignment.applied:
                after = normalise(c.before, warp_tile(c.after, alignment.matrix))[0]
                clear = warp(c.clear[1].astype(np.float32), alignment.matrix)
                found.append((c.before, after, c.before.valid & after.valid & c.clear[0] & (clear > 0.99)))
    return found


def area(p: F64, truth: Bool, both: Bool) -> tuple[float, float]:
    """Area under the ROC curve and average precision of 1 - p."""
    order = np.argsort(p[both], kind="stable")
    hits = truth[both][order]
    right, wrong = np.cumsum(hits), np.cumsum(~hits)
    auc = float(np.trapezoid(right / max(right[-1], 1), wrong / max(wrong[-1], 1)))
    return auc, float((right / np.arange(1, len(hits) + 1))[hits].mean()) if hits.any() else np.nan


def main(cases: int = 80) -> None:
    """Print both tables, or say why there are none."""
    if not IMAGERY.is_dir():
        print("no public imagery beside the project: nothing to compare")
        return
    cv2.setNumThreads(1)
    pairs, still = levir(), quiet(5000, cases)
    print(f"LEVIR buildings, {len(pairs)} pairs, {sum(t.size for *_, t in pairs) / 1e6:.1f} Mpx; no-change pairs: {len(still)}")
    print(f"{'method':<12}{'AUC':>7}{'AP':>7}{'F1 at 1 %':>11}{'best F1':>9}   " + "  ".join(f"false alarms at {r:g}" for r in RATES))
    for name, method in METHODS.items():
        ps = [method(b, a) for b, a, _ in pairs]
        flat = np.concatenate([p.ravel() for p in ps])[None]
        truth = np.concatenate([t.ravel() for *_, t in pairs])[None]
        both = np.concatenate([(b.valid & a.valid).ravel() for b, a, _ in pairs])[None]
        auc, ap = area(flat, truth, both)
        called = (flat < 0.01) & both
        f1 = 2 * (called & truth).sum() / (called.sum() + (truth & both).sum())
        limits = np.quantile(flat[both], np.linspace(0.005, 0.6, 120))
        best = max(2 * ((flat <= v) & truth & both).sum() / (((flat <= v) & both).sum() + (truth & both).sum()) for v in limits)
        rates, quiet_ps = [], [method(b, a) for b, a, _ in still]
        for rate in RATES:
            shares = [(p[ok] < rate).mean() for p, (_, _, ok) in zip(quiet_ps, still, strict=True)]
            rates.append(f"{np.mean(shares):.4f} ({np.mean(shares) / rate:4.1f} x)")
        print(f"{name:<12}{auc:>7.3f}{ap:>7.3f}{f1:>11.3f}{best:>9.3f}   " + "  ".join(f"{r:>19}" for r in rates))
    unlabelled = np.mean([(ours(b, a) < 0.01)[~t & b.valid & a.valid].mean() for b, a, t in pairs])
    print(f"ours at 0.01 on LEVIR pixels without a building label (trees, cars and roads did change there): {unlabelled:.3f}")


if __name__ == "__main__":
    main()
