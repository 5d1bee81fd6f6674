"""Registration of real pairs: two dates of one place, and a small seeded part of the known warps of the bench."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from pipeline.change.records import Alignment
from pipeline.change.register import register
from pipeline.grid import Grid, Window
from pipeline.imagery.scene import Tile

pytestmark = pytest.mark.slow
BENCH = Path(__file__).resolve().parents[1] / "bench"


def bench(name: str) -> ModuleType:
    """A module of the benches, which are scripts and no package."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAIRS, HULLS = bench("real_pairs"), bench("bench_hulls")
REFUSED = {
    "terminal_two_dates": "windows agree, which chance explains",
    "joplin": "does not move as one",
}
"""Boxes that came and went over most of the ground, seen from two sides; a town on hills, after a tornado."""


def framed(path: Path, shape: tuple[int, int], cut: tuple[slice, slice] = (slice(None), slice(None))) -> Tile:
    with rasterio.open(path) as source:
        seen = (source.read(indexes=[1, 2, 3]) / np.float32(255))[(slice(None), *cut)][:, : shape[0], : shape[1]]
    pixels, valid = np.zeros((3, *shape), np.float32), np.zeros(shape, np.bool_)
    pixels[:, : seen.shape[1], : seen.shape[2]], valid[: seen.shape[1], : seen.shape[2]] = seen, True
    window = Window(0, 0, shape[1], shape[0])
    return Tile(window, window, pixels, valid, Grid(shape[1], shape[0], (1, 0, 0, 0, 1, 0), None))


def shift(found: Alignment) -> NDArray[np.float64]:
    assert found.applied, found.reason
    return np.array([found.dx_px, found.dy_px])


def test_the_looks_of_long_beach_lie_within_half_a_pixel(imagery: Path) -> None:
    shape = (1437, 951)
    a = framed(imagery / "long-beach" / "scene_a.tif", shape, (slice(None), slice(1442, None)))
    b = framed(imagery / "long-beach" / "scene_b.tif", shape, (slice(150, None), slice(None)))
    found = register(a, b, 30)
    assert np.hypot(found.dx_px, found.dy_px) < 0.5
    assert found.residual_px < 0.3


def test_san_francisco_is_found_from_nothing(imagery: Path) -> None:
    said = json.loads((imagery / "sf_bay" / "pair.json").read_text())
    a, b = (framed(imagery / "sf_bay" / said[k], (1777, 2825)) for k in ("ref", "mov"))
    np.testing.assert_allclose(shift(register(a, b, 1600)), (said["dx"], said["dy"]), atol=0.5)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("label", PAIRS.told(), ids=lambda label: label["pair"])
def test_ground_tie_points_meet_within_half_a_pixel_or_a_pair_is_refused(imagery: Path, tmp_path: Path, label: dict[str, Any]) -> None:
    """Points read by eye, apart from the registration; a pair without points shows too little of the same ground."""
    pair = PAIRS.open_pair(label, imagery, tmp_path)
    change = pair.compare()
    assert change.alignment.applied is (label["pair"] not in REFUSED), change.alignment.reason
    if label["pair"] in REFUSED:
        assert REFUSED[label["pair"]] in change.alignment.reason
        return
    assert pair.readings
    for reading in pair.readings:
        after, undone = (np.median(PAIRS.residuals(m, reading)) for m in (pair.found(change), pair.nominal()))
        assert after <= 0.5
        assert after <= undone  # where the looks lie on one grid already, nothing gets worse


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", ["long-beach", "sf_bay", "planetscope_04", "planetscope_10", "planetscope_19"])
def test_labelled_hulls_over_60_m_get_the_kind_that_the_eye_gives(imagery: Path, tmp_path: Path, name: str) -> None:
    """Registration and matching alone: the boxes are the labels, not the detector's."""
    read = json.loads((HULLS.HULLS / f"{name}.json").read_text(encoding="utf-8"))
    pair = PAIRS.open_pair(next(told for told in PAIRS.told() if told["pair"] == read["pair"]), imagery, tmp_path)
    tally, outside, wrong = HULLS.judge(pair, HULLS.hulls(name, pair.scenes[0].gsd_m), None)
    assert not wrong
    assert tally["right"] > 0
    assert outside == 0


def test_three_dates_of_one_place_close(imagery: Path) -> None:
    groups = json.loads((imagery / "planetscope_ports" / "same_place.json").read_text())["groups"]
    names = groups[0]["chips"][:3]
    one, two, three = (framed(imagery / "planetscope_ports" / f"{name}.png", (512, 512)) for name in names)
    around = shift(register(one, two, 60)) + shift(register(two, three, 60))
    np.testing.assert_allclose(around, shift(register(one, three, 60)), atol=0.5)


@pytest.mark.parametrize("number", range(8, 16))
def test_known_warps_of_real_images_are_solved_or_refused(imagery: Path, number: int) -> None:
    del imagery  # only its presence matters
    warps = bench("warps")
    case = warps.case(number)
    found = register(case.before, case.after, 90)
    if found.applied:
        assert case.error(found.matrix) < (0.1 if case.kind in warps.PURE else 0.3)
    else:
        assert found.reason
