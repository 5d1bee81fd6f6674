# ruff: noqa: T201
# (a benchmark prints)
"""What the shipped `models.presence` says of a real yard: ``python tests/bench/bench_presence.py [--imagery FOLDER] [--pairs N]``.

The yard's second look is made from its first (`presence_real.py`), of the columns that no training saw.
"""

import argparse
from pathlib import Path

import numpy as np
from presence_examples import score
from presence_real import judging
from warps import IMAGERY

from models import presence
from models.card import find_presence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imagery", type=Path, default=IMAGERY)
    parser.add_argument("--pairs", type=int, default=60)
    options = parser.parse_args()
    if not options.imagery.is_dir():
        print(f"no public imagery at {options.imagery}: name its folder with --imagery")
        return
    examples = judging(options.imagery, options.pairs)
    batches = (slice(k, k + presence.BATCH) for k in range(0, len(examples.event), presence.BATCH))
    chance = np.concatenate([presence.told(examples.windows[b], examples.gsd_m[b]) for b in batches])
    score(find_presence().name, chance, examples)


if __name__ == "__main__":
    main()
