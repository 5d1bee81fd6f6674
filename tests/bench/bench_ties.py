# ruff: noqa: T201
# (a benchmark prints)
"""Registration of real pairs against ground tie points that were read by eye, apart from it (``fixtures/labels/ties``).

Run: ``python tests/bench/bench_ties.py [IMAGERY]``. Per pair and reader: median and largest distance at the points, in pixels of the
coarser look, as the job's comparison aligned the looks; beside it the median if nothing were done, and under the coarse map that came
with the images. The points are never used to fit.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from rasterio.errors import NotGeoreferencedWarning

sys.path.insert(0, str(Path(__file__).parent))

from real_pairs import F64, IMAGERY, Reading, RealPair, open_pair, present, residuals, told


def row(pair: RealPair, reading: Reading, matrix: F64) -> str:
    """One line of the table."""
    per_px = pair.scenes[0].gsd_m / max(s.gsd_m for s in pair.scenes)
    after, undone = (residuals(m, reading) * per_px for m in (matrix, pair.nominal()))
    coarse = "-" if pair.coarse is None else f"{np.median(residuals(pair.coarse, reading)) * per_px:.2f}"
    return f"{len(after):6d} {np.median(after):7.2f} {after.max():8.2f} {np.median(undone):10.2f} {coarse:>12}"


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    imagery = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGERY
    print(f"{'pair':22} {'points':>6} {'median':>7} {'largest':>8} {'do nothing':>10} {'given coarse':>12}  registration")
    for label in told():
        if not present(label, imagery):
            print(f"{label['pair']:22} skipped: no such images under {imagery}")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            pair = open_pair(label, imagery, Path(scratch))
            change = pair.compare()
        found = change.alignment
        said = f"{'accepted' if found.applied else 'not applied'}: {found.reason}{', after rio warp' if pair.warped else ''}"
        if not pair.readings:
            print(f"{pair.name:22} {'no ground that the eye can match':>48}  {said}")
        for reading in pair.readings:
            print(f"{pair.name:22} {row(pair, reading, pair.found(change))}  {said}")


if __name__ == "__main__":
    main()
