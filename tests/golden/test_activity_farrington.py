"""Our Farrington, the peer of the bench, against R's `surveillance` 1.20.3 (recipe: farrington.R beside this file)."""

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HERE = Path(__file__).parent


def load_peers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peers", HERE.parent / "bench" / "peers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def series() -> tuple[np.ndarray, np.ndarray]:
    """The series of farrington.R."""
    weeks = np.arange(312)
    counts = (7 * weeks * weeks + 3 * weeks) % 23 + (weeks % 5 == 0) * 4
    counts[100:104] = 90
    return counts.astype(float), 0.5 + 0.5 * ((3 * weeks) % 7) / 6


@pytest.mark.parametrize("offset", [False, True])
def test_bounds_equal_those_of_r(offset: bool) -> None:
    peers = load_peers()
    counts, exposure = series()
    if not offset:
        exposure = np.ones_like(exposure)
    with (HERE / "farrington.csv").open() as file:
        rows = [r for r in csv.reader(file) if r[0] == str(offset).upper()]
    assert len(rows) == 23
    for _, week, bound, expected, phi, p in rows:
        now = int(week)
        window = sorted({now - 52 * year + d for year in range(1, 6) for d in range(-3, 4)})
        fit = peers.fit_farrington(counts[window], exposure[window])
        assert fit.phi == pytest.approx(float(phi), rel=1e-4)  # R stops its iteration at 1e-8 of the deviance
        assert fit.rate * exposure[now] == pytest.approx(float(expected), rel=1e-4)
        assert fit.bound(exposure[now], 0.01) == float(bound)
        assert fit.p(counts[now], exposure[now]) == pytest.approx(float(p), rel=1e-3)
