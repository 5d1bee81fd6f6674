"""Co-registration of two looks: gradient phase correlation in windows, a robust fit, and gates that refuse bad ones.

Method (METHOD 7; AROSICS' gates): first guesses from the whole frame at a side of at most `COARSE_SIDE` pixels, or features (SIFT,
RANSAC) where those lead nowhere; windows around the best guess, matched again after every fit; then the simplest of shift,
similarity and affine. A fit is refused, with the reason, when its windows could agree by chance, scatter, or leave the map in doubt
somewhere on the shared ground, and when it does not make the structures of the looks more alike than they lie.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.change.coarse import features, identity, reduced, scaled, shifts
from pipeline.change.fit import Fit, robust_fit, sound
from pipeline.change.records import Alignment
from pipeline.change.tiepoints import View, agreement, clipped, gradients, seen_at, tie_points, view
from pipeline.change.warping import patch, warp, warp_tile
from pipeline.imagery.scene import Tile

F64 = NDArray[np.float64]

IDENTITY = identity()
COARSE_SIDE = 1024
"""First guesses are made at this many pixels a side: a look of 12 km at 3 m, and a fraction of the time that reading takes."""
WINDOWS = ((256, 25, 4.0), (128, 49, 2.0), (128, 64, 1.5))
"""Passes: window side, most windows, tolerance in pixels. The side holds several ground features at 3 m and some at 0.3 m."""
MAX_RESIDUAL_PX = 1.0
"""A fit whose tie points scatter more than this is not applied: a pixel of error is half of all real difference (METHOD 7)."""
MAX_DOUBT_PX = 0.5
"""Standard error of the map anywhere on the shared ground: twice this is the pixel that must not be exceeded."""
MIN_TIE_POINTS = 4
MIN_INLIERS = 0.25
"""Least share of the textured windows that agree, unless their agreement is `CERTAIN`: ground under boxes may be a small part."""
CHANCE = -3.0
"""log10 of the agreements expected by chance in one pair that are still accepted: one in a thousand pairs."""
CERTAIN = -12.0
"""log10 of the chance agreements below which, with most windows agreeing, no other guess is tried."""
MAX_BESIDE = 0.2
"""Most windows, per window that agrees, that may lie beside the map (`pipeline.change.fit.BESIDE`) when chance does not explain them:
ground that bends between the looks, over relief or in another orthorectification, is not set right by one affine. It is at most 0.09 on
150 known warps of real images and 0.12 on PlanetScope pairs; 0.25 to 1.4 on a town before and after a storm in two CRS."""
BESIDE_CHANCE = -2.0
"""log10 of the probability below which chance does not explain them."""
SIGNIFICANT_PX = 0.1
"""A shift below this is within the error of phase correlation (METHOD 7) and is not applied."""
NEAR_PX = 0.3
"""Two looks nowhere further apart than this, and no more alike when moved, lie right: the bound on a residual (METHOD 7)."""


@dataclass(frozen=True, slots=True)
class _Found:
    fit: Fit
    looked: int


def register(before: Tile, after: Tile, max_shift_px: float) -> Alignment:
    """Find where `after` lies on `before`; both tiles are on one nominal grid.

    Args:
        before: the reference look.
        after: the other look, same shape.
        max_shift_px: largest offset looked for.

    Returns:
        x_before = matrix @ (x_after, y_after, 1). Refused fits carry the identity and a reason.
    """
    if min(before.valid.mean(), after.valid.mean()) < 0.02:
        return _refused("one of the looks covers less than 2 % of the frame")
    a, b = (view(np.asarray(t.pixels.mean(axis=0)), t.valid) for t in (before, after))
    factor = -(-max(a.valid.shape) // COARSE_SIDE)
    small_a, small_b = reduced(a, factor), reduced(b, factor)
    found = _search(small_a, small_b, max_shift_px / factor)
    if not found:
        return _refused("too few windows with texture in both looks agree")
    best = min(found, key=lambda f: f.fit.log_false_alarms)
    rival = _rival(best, found, max(small_a.valid.shape))
    final = _refine(a, b, scaled(best.fit.matrix, factor), WINDOWS[1:] if factor > 1 else WINDOWS[2:])
    if final is None:
        return _refused("too few windows with texture in both looks agree at full resolution")
    return _gate(a, b, final, rival, max_shift_px)


def _search(a: View, b: View, max_shift_px: float) -> list[_Found]:
    """Fits from the first guesses, in turn until one is beyond doubt; the guesses that it makes needless are rivals no longer."""
    found = []
    for guess in (*shifts(a, b, max_shift_px), IDENTITY, None):
        start = features(a, b, max_shift_px) if guess is None else guess
        fit = None if start is None or not sound(start) else _refine(a, b, start, WINDOWS[:2])
        if fit is not None:
            found.append(fit)
            if fit.fit.log_false_alarms < CERTAIN and fit.fit.kept.sum() > fit.looked / 2:
                break
    return found


def _refine(before: View, after: View, start: F64, passes: tuple[tuple[int, int, float], ...]) -> _Found | None:
    """Windows around a first guess, matched again after every fit; None when they do not agree."""
    matrix, found = start, None
    for window, most, tolerance in passes:
        window_px = min(window, 32 * max(1, min(before.valid.shape) // 64))
        points = tie_points(before, after, matrix, window_px, most)
        fit = None
        if len(points.before) >= MIN_TIE_POINTS:
            fit = robust_fit(points.after, points.before, tolerance, window_px / 4, points.weight)
        found = None if fit is None else _Found(fit, points.looked)
        matrix = matrix if fit is None else fit.matrix  # large windows may fail where small ones fit between cloud and shore
    return found


def _rival(best: _Found, found: list[_Found], side: int) -> str:
    """Why another fit, elsewhere, is as good as the best one: empty when none is. Rows of boxes look alike one row further."""
    corners = np.array([[0.0, 0], [side, 0], [0, side], [side, side], [side / 2, side / 2]])
    for other in found:
        apart = float(np.hypot(*(other.fit.at(corners) - best.fit.at(corners)).T).min())
        if apart > 3 and other.fit.log_false_alarms < CHANCE and other.fit.kept.sum() > 0.7 * best.fit.kept.sum():
            return f"two places fit alike, {apart:.0f} coarse pixels apart"
    return ""


def _gate(a: View, b: View, found: _Found, rival: str, max_shift_px: float) -> Alignment:
    """Apply the fit, or say why not."""
    fit = found.fit
    shape = np.array(a.valid.shape[::-1], np.float64)
    dx, dy = (fit.at(shape[None] / 2) - shape / 2)[0]
    count = int(fit.kept.sum())
    inliers = count / max(found.looked, 1)
    ground = _ground(a, b, fit)
    doubt = float(fit.doubt_at(ground).max()) if len(ground) else np.inf
    reliability = float(np.clip(-fit.log_false_alarms / 10, 0, 1) * np.clip(1 - fit.residual_px / 2, 0, 1) * np.clip(1 - doubt, 0, 1))
    largest = float(np.hypot(*(fit.at(ground) - ground).T).max()) if len(ground) else 0.0
    nominal, fitted = (_agreement(a, b, m) for m in (IDENTITY, fit.matrix))
    said = (float(dx), float(dy), fit.residual_px, reliability)
    reason = rival
    if float(np.hypot(dx, dy)) > max_shift_px:
        reason = f"the shift found, {np.hypot(dx, dy):.1f} px, is beyond the {max_shift_px:.1f} px allowed"
    elif count < MIN_TIE_POINTS or fit.log_false_alarms > CHANCE:
        reason = f"only {count} of {found.looked} windows agree, which chance explains"
    elif inliers < MIN_INLIERS and fit.log_false_alarms > CERTAIN:
        reason = f"only {count} of {found.looked} windows agree"
    elif fit.residual_px > MAX_RESIDUAL_PX:
        reason = f"the residual, {fit.residual_px:.2f} px, is above {MAX_RESIDUAL_PX:g} px"
    elif fit.beside > MAX_BESIDE * count and fit.log_beside < BESIDE_CHANCE:
        reason = f"{fit.beside} windows lie just beside the map of {count}: the ground does not move as one piece"
    elif doubt > MAX_DOUBT_PX:
        reason = f"{count} windows leave the map in doubt by {doubt:.1f} px where the looks meet"
    elif largest <= SIGNIFICANT_PX and not reason:
        return Alignment(IDENTITY, *said, False, "already registered to within 0.1 px", count, in_place=True)
    elif fitted <= nominal and not reason:
        words = f"gradient agreement does not improve ({nominal:.3f} to {fitted:.3f})"
        return Alignment(IDENTITY, *said, False, words, count, in_place=largest <= NEAR_PX)
    if reason:
        return Alignment(IDENTITY, *said, False, reason, count)
    words = f"{fit.model}, {count} of {found.looked} windows ({100 * inliers:.0f} %), gradient agreement {nominal:.3f} to {fitted:.3f}"
    return Alignment(fit.matrix, *said, True, words, count)


def _agreement(a: View, b: View, matrix: F64) -> float:
    """How alike the structures of the looks are under a map: correlation of gradients, at the coarse pixels where a turn is known."""
    factor = -(-max(a.valid.shape) // COARSE_SIDE)
    small_a, small_b = reduced(a, factor), reduced(b, factor)
    grey, valid = patch(small_b.grey, small_b.valid, scaled(matrix, 1 / factor), (0, 0), small_a.valid.shape)
    one, two = (clipped(gradients(*look)) for look in ((small_a.grey, small_a.valid, a.dark), (grey, valid, b.dark)))
    return agreement(one * (two != 0), two * (one != 0))


def _ground(a: View, b: View, fit: Fit) -> F64:
    """(N, 2) after pixels on a lattice that both looks saw."""
    height, width = b.valid.shape
    step = max(1, min(height, width) // 48)
    points = np.stack(np.meshgrid(np.arange(0, width, step), np.arange(0, height, step)), axis=-1).reshape(-1, 2) + 0.5
    return points[seen_at(b.valid, points) & seen_at(a.valid, fit.at(points))]


def _refused(reason: str) -> Alignment:
    return Alignment(IDENTITY, 0.0, 0.0, 0.0, 0.0, False, reason)


__all__ = ["IDENTITY", "register", "warp", "warp_tile"]
