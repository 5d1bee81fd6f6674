"""One set of boxes per scene, whatever the tiles: a detector whose answer is known stands in for the networks."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.transform import from_origin
from scipy import ndimage

from models import CLASSES, Detections
from models import boxes as ob
from models.detector import Flag, GsdRange
from pipeline.config import DetectionSettings, SceneMetadata
from pipeline.detection.scene import detect_scene, to_map
from pipeline.detection.seams import SEAM_IOU, SEAM_PX, merge_tiles, near_core
from pipeline.errors import ModelError
from pipeline.grid import Window
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.scene import Scene

WORKS = GsdRange(0.1, 1.0, 0.5)


@dataclass(frozen=True)
class Blobs:
    """Finds bright connected blobs and fits their moments: exact, deterministic, blind beyond its window.

    `shake` moves every box by that many pixels in a direction that depends on the window, as rounding does in a network.
    """

    name: str = "blobs"
    sha256: str = "0" * 64
    classes: tuple[str, ...] = ("railcar",)
    gsd: GsdRange = WORKS
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"railcar": 0.5})
    stride_px: int = 8
    halo_px: int = 40
    shake: float = 0.0

    def detect(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], thresholds: Mapping[str, float] | None = None
    ) -> Detections:
        assert all(n % self.stride_px == 0 for n in valid.shape)
        labels, _ = ndimage.label((pixels[0] > 0.5) & valid)
        boxes, scores = [], []
        for index, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            y, x = np.nonzero(labels[rows, columns] == index)
            if len(x) < 6:
                continue
            spread = np.cov(np.stack([x, y]).astype(np.float64), bias=True) + np.eye(2) / 12
            (low, high), axes = np.linalg.eigh(spread)
            centre = np.array([x.mean() + columns.start, y.mean() + rows.start]) + 0.5
            centre += self.shake * np.sign(np.sin(float(valid.shape[0]) * 7 + float(pixels.sum()) * 13 + np.arange(2)))
            boxes.append([*centre, (12 * high) ** 0.5, (12 * low) ** 0.5, np.arctan2(axes[1, 1], axes[0, 1])])
            scores.append(float(pixels[0][labels == index].mean()))
        if not boxes:
            return Detections.empty()
        every = Detections.build(np.array(boxes), np.array(scores), np.full(len(boxes), CLASSES.index("railcar")))
        return every.take(every.scores >= (thresholds or self.thresholds)["railcar"])


@pytest.fixture(scope="session")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Scene]:
    folder = tmp_path_factory.mktemp("yards")

    def make(name: str, gsd: float = 0.5, offset: tuple[int, int] = (0, 0), hole: bool = False) -> Scene:
        values = np.full((1, 420, 530), 20, np.uint8)
        rng = np.random.default_rng(11)
        for row in range(9):
            for column in range(11):
                y, x = 30 + 40 * row + offset[1], 25 + 43 * column + offset[0]
                long, wide = int(rng.integers(12, 30)), int(rng.integers(4, 8))
                values[0, y : y + wide, x : x + long] = rng.integers(160, 250)
        if hole:
            values[0, 100:260, 200:330] = 0
        path = folder / f"{name}.tif"
        shape = {"count": 1, "height": 420, "width": 530, "dtype": "uint8", "crs": "EPSG:32611", "nodata": 0 if hole else None}
        with rasterio.open(path, "w", driver="GTiff", transform=from_origin(4e5, 3.7e6, gsd, gsd), **shape) as target:
            target.write(values)
        return open_scene(path, SceneMetadata(), need_time=False)

    return make


def found(scene: Scene, head: Blobs, tile: int, **how: object) -> Detections:
    settings_ = DetectionSettings.model_construct(tile_px=tile, threshold={}, runtime="auto")
    return detect_scene(scene, [head], settings_, **how).detections  # type: ignore[arg-type]


def same(a: Detections, b: Detections) -> None:
    assert len(a) == len(b)
    np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-9)
    np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize(("gsd", "hole"), [(0.5, False), (0.5, True), (0.3, False), (0.8, True)])
def test_the_boxes_of_a_scene_do_not_depend_on_its_tiles(draw: Callable[..., Scene], gsd: float, hole: bool) -> None:
    scene = draw(f"yard-{gsd}-{hole}", gsd, hole=hole)
    whole = found(scene, Blobs(), 2048)
    assert len(whole) == 99 if not hole else 70 < len(whole) < 99
    for tile in (64, 100, 128, 200, 256, 777, 1024):
        same(found(scene, Blobs(), tile), whole)


@settings(max_examples=25)
@given(dx=st.integers(-20, 20), dy=st.integers(-20, 20), tile=st.integers(48, 300))
def test_the_boxes_move_with_the_content(draw: Callable[..., Scene], dx: int, dy: int, tile: int) -> None:
    still, moved = found(draw("still"), Blobs(), 2048), found(draw("moved", offset=(dx, dy)), Blobs(), tile)
    shifted = still.moved(dx, dy)
    assert len(moved) == len(still)
    np.testing.assert_allclose(moved.boxes, shifted.boxes, atol=1e-9)


@pytest.mark.parametrize("tile", [48, 64, 104, 128, 200])
def test_rounding_at_a_seam_neither_loses_nor_doubles(draw: Callable[..., Scene], tile: int) -> None:
    scene = draw("shaken")
    steady = found(scene, Blobs(), 2048)
    shaken = found(scene, Blobs(shake=0.4), tile)
    assert len(shaken) == len(steady)
    nearest = np.abs(shaken.boxes[:, None, :2] - steady.boxes[None, :, :2]).max(axis=2)
    assert (nearest.min(axis=1) < 0.5).all()
    assert len(np.unique(nearest.argmin(axis=1))) == len(steady)


def test_an_executor_gives_the_same_boxes_and_progress_counts_tiles(draw: Callable[..., Scene]) -> None:
    scene = draw("threads")
    told: list[tuple[str, int, int]] = []
    with ThreadPoolExecutor(2) as pool:
        parallel = found(scene, Blobs(), 96, executor=pool, progress=lambda *step: told.append(step))
    same(parallel, found(scene, Blobs(), 96))
    assert told[-1][1] == told[-1][2] == len(told)
    assert all(b[1] == a[1] + 1 for a, b in pairwise(told))


def test_a_head_that_does_not_fit_says_the_number(draw: Callable[..., Scene]) -> None:
    scene = draw("coarse", 0.8)
    ship = Blobs(name="hull", gsd=GsdRange(2.0, 12.0, 3.0), classes=("vessel",))
    result = detect_scene(scene, [Blobs(), ship], DetectionSettings())
    assert result.skipped == {"hull": "0.8 m is outside the 2-12 m of head hull (vessel)"}
    with pytest.raises(ModelError, match=r"0\.8 m is outside the 2-12 m of head hull"):
        detect_scene(scene, [ship], DetectionSettings())


def test_weak_boxes_are_kept_apart_and_change_nothing(draw: Callable[..., Scene]) -> None:
    scene = draw("weak")
    every = found(scene, Blobs(), 96)
    limit = float(np.median(every.scores))
    result = detect_scene(scene, [Blobs(thresholds={"railcar": limit})], DetectionSettings(tile_px=128))
    same(result.detections, every.take(every.scores >= np.float32(limit)))
    same(result.weak, every.take(every.scores < np.float32(limit)))
    strict = detect_scene(scene, [Blobs()], DetectionSettings(tile_px=128, threshold={"railcar": 1.0}))
    assert len(strict.detections) == 0
    same(strict.weak, every)


def test_boxes_lie_on_the_map_where_the_pixels_lie(draw: Callable[..., Scene]) -> None:
    scene = draw("map", 0.8)
    boxes = found(scene, Blobs(), 128)
    corners = to_map(scene, boxes)
    centres = corners.mean(axis=1)
    np.testing.assert_allclose(centres[:, 0], 4e5 + 0.8 * boxes.boxes[:, 0], atol=1e-6)
    np.testing.assert_allclose(centres[:, 1], 3.7e6 - 0.8 * boxes.boxes[:, 1], atol=1e-6)
    sides = np.hypot(*(corners[:, 1] - corners[:, 0]).T)
    np.testing.assert_allclose(sides, 0.8 * boxes.boxes[:, 2], rtol=1e-6)


def railcars(*boxes: tuple[float, float, float, float, float], score: float = 0.9) -> Detections:
    return Detections.build(np.array(boxes, np.float64).reshape(-1, 5), np.full(len(boxes), score), np.ones(len(boxes), np.uint8))


def test_what_one_tile_says_twice_is_not_a_matter_of_seams() -> None:
    # a head may return neighbours that overlap: only its own suppression judges them, so the number of tiles changes nothing
    close = railcars((10, 10, 20, 6, 0), (10, 12, 20, 6, 0))
    assert ob.iou_pairs(close.boxes[:1], close.boxes[1:])[0] > SEAM_IOU
    none = Detections.empty()
    assert len(merge_tiles([close], [none])) == len(merge_tiles([close, railcars((99, 9, 20, 6, 0))], [none, none])) - 1 == 2


def test_a_seam_keeps_the_better_of_two_and_a_reserve_only_where_nobody_owns() -> None:
    left, right = railcars((100.1, 10, 30, 6, 0), score=0.8), railcars((99.9, 10, 30, 6, 0), score=0.7)
    none = Detections.empty()
    assert merge_tiles([left, right], [none, none]).scores.tolist() == pytest.approx([0.8])
    assert merge_tiles([left, none], [none, right]).scores.tolist() == pytest.approx([0.8])
    assert len(merge_tiles([none, none], [left, right])) == 1
    other = Detections.build(right.boxes, right.scores, np.array([2]))
    assert len(merge_tiles([left, other], [none, none])) == 2


def test_the_reserve_reaches_one_pixel_beyond_the_core() -> None:
    core = Window(0, 0, 64, 64)
    x = np.array([-1.5, -0.5, 0.0, 63.9, 64.5, 65.0])
    boxes = railcars(*((v, 10.0, 8.0, 4.0, 0.0) for v in x))
    assert set(boxes.boxes[near_core(boxes, core), 0]) == {v for v in x if -SEAM_PX <= v < 64 + SEAM_PX}


def test_boxes_on_cars_and_decks_are_flagged_as_such(draw: Callable[..., Scene]) -> None:
    car, ship = (100, 100, 60, 12, 0), (300, 200, 90, 20, 0)
    tops = [(x, y, 24, 10, 0) for x, y in ((100, 100), (200, 100), (300, 200))]

    class Fixed(Blobs):
        def detect(self, *_: object) -> Detections:  # type: ignore[override] # blind: what it returns is the test's
            at = np.array([car, ship, *tops], np.float64) + np.array([self.halo_px, self.halo_px, 0, 0, 0])
            return Detections.build(at, np.linspace(0.9, 0.5, 5), np.array([1, 2, 0, 0, 0]))

    boxes = found(draw("flags"), Fixed(), 2048)
    flags = {float(x): int(f) for x, c, f in zip(boxes.boxes[:, 0], boxes.classes, boxes.flags, strict=True) if c == 0}
    assert flags == {100.0: Flag.ON_RAIL, 200.0: 0, 300.0: Flag.ON_DECK}
