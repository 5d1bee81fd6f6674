# ruff: noqa: T201
# (a benchmark prints)
"""Registration on known warps of real images, beside scikit-image's phase correlation and OpenCV's ECC in the same run.

Run: ``python tests/bench/bench_change.py [--cases N] [--first SEED] [--peers-every K]``. An error is the largest distance between the
map found and the true one over the ground that both looks saw; *wrong* is a map accepted with more than one pixel. The peers have
no gate, except that ECC may fail to converge; the third peer starts ECC at scikit-image's shift.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.registration import phase_cross_correlation

sys.path.insert(0, str(Path(__file__).parent))

from warps import IMAGERY, KINDS, MAX_SHIFT, Case, case

from pipeline.change.register import IDENTITY, register

F64 = NDArray[np.float64]
Method = Callable[[Case], F64 | None]


def ours(c: Case) -> F64 | None:
    """The pipeline's own; a pair that lies right within 0.1 px is solved by leaving it."""
    found = register(c.before, c.after, 1.5 * MAX_SHIFT)
    return found.matrix if found.applied or "already registered" in found.reason else None


def by_scikit_image(c: Case) -> F64 | None:
    """Masked where the case has masks (whole pixels then), otherwise to 1/100 pixel."""
    a, b = (t.pixels.mean(axis=0) for t in (c.before, c.after))
    if c.before.valid.mean() > 0.99 and c.after.valid.mean() > 0.99:
        shift = phase_cross_correlation(a, b, upsample_factor=100)[0]
    else:
        masks = {"reference_mask": c.before.valid, "moving_mask": c.after.valid}
        shift = phase_cross_correlation(a, b, overlap_ratio=0.1, **masks)[0]
    return np.array([[1, 0, shift[1]], [0, 1, shift[0]]], np.float64)


def by_ecc(c: Case, start: F64 | None = None) -> F64 | None:
    """Euclidean ECC from the nominal place or a given one; the mask is the first look's."""
    a, b = (t.pixels.mean(axis=0).astype(np.float32) for t in (c.before, c.after))
    inverse = np.linalg.inv(np.vstack([IDENTITY if start is None else start, [0, 0, 1]]))[:2].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    try:
        _, found = cv2.findTransformECC(a, b, inverse, cv2.MOTION_EUCLIDEAN, stop, c.after.valid.astype(np.uint8) * 255, 5)
    except cv2.error:
        return None
    inverse = np.asarray(found, np.float64)
    inverse[:, 2] += 0.5 - inverse[:, :2] @ (0.5, 0.5)  # cv2 counts from pixel centres
    return np.linalg.inv(np.vstack([inverse, [0, 0, 1]]))[:2]


def by_both(c: Case) -> F64 | None:
    """ECC started at scikit-image's shift."""
    return by_ecc(c, by_scikit_image(c))


METHODS: dict[str, Method] = {"ours": ours, "scikit-image": by_scikit_image, "ECC": by_ecc, "both": by_both}


def table(cases: int, first: int, every: int) -> None:
    """Print kind by method: solved, refused, wrong, median and 95th percentile of the error of what was accepted."""
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    spent: dict[str, float] = defaultdict(float)
    ran: dict[str, int] = defaultdict(int)
    for number in range(first, first + cases):
        c = case(number)
        for name, method in METHODS.items():
            if name != "ours" and number % every:
                continue
            clock = time.process_time()
            found = method(c)
            spent[name] += time.process_time() - clock
            ran[name] += 1
            errors[c.kind, name].append(np.inf if found is None else c.error(found))
            if name == "ours" and 1 < errors[c.kind, name][-1] < np.inf:
                print(f"wrong: case {number}, {c.kind}, {c.source}: {errors[c.kind, name][-1]:.2f} px")
    print(f"\n{'known warps':<29}{'method':<14}{'cases':>6}{'solved':>8}{'refused':>9}{'wrong':>7}{'median px':>11}{'p95 px':>9}")
    for kind in (*KINDS, "all"):
        for name in METHODS:
            all_of = [e for (k, n), found in errors.items() if n == name and kind in {k, "all"} for e in found]
            kept = np.array([e for e in all_of if np.isfinite(e)])
            if not all_of:
                continue
            wrong = int((kept > 1).sum())
            middle, high = (np.quantile(kept, (0.5, 0.95))) if len(kept) else (np.nan, np.nan)
            row = f"{len(all_of):>6}{len(kept) - wrong:>8}{len(all_of) - len(kept):>9}{wrong:>7}{middle:>11.3f}{high:>9.2f}"
            print(f"{kind:<29}{name:<14}{row}")
    own = spent["ours"] / ran["ours"]
    print("CPU time against ours: " + ", ".join(f"{n} {spent[n] / ran[n] / own:.2f} x" for n in METHODS if n != "ours" and ran[n]))


def main() -> None:
    """Parse the command line and print the table, or say why there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--first", type=int, default=2000, help="seed of the first case; those below 2000 developed the code")
    parser.add_argument("--peers-every", type=int, default=5, help="coprime to the number of kinds, so that every kind is among them")
    args = parser.parse_args()
    if not IMAGERY.is_dir():
        print("no public imagery beside the project: nothing to warp")
        return
    cv2.setNumThreads(1)
    table(args.cases, args.first, args.peers_every)


if __name__ == "__main__":
    main()
