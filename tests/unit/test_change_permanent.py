"""What stands at one place in every look is learned; what moves, is repainted, came or went, or could not be seen is not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from models import Detections
from pipeline.change.permanent import Sight, find_permanent, sight, without_permanent
from pipeline.config import SceneMetadata
from pipeline.detection.scene import SceneDetections
from pipeline.imagery.clouds import observe
from pipeline.imagery.metadata import open_scene

GSD = 0.5
SHED = (100.0, 60.0, 24.0, 6.0, 0.3)
START = datetime(2024, 1, 1, tzinfo=UTC)
Boxes = NDArray[np.float64]


def history(
    looks: int = 12,
    *,
    days: float = 120,
    box: Callable[[int], Boxes | None] = lambda _: np.array(SHED),
    hidden: tuple[int, ...] = (),
    paint: Callable[[int], float] = lambda k: 0.05 * (-1) ** k,
    strength: float = 1.3,
) -> list[Sight]:
    """Sights of one thing, half a pixel of noise on its place."""
    out = []
    for k in range(looks):
        here = box(k)
        noise = np.random.default_rng(k).normal(0, 0.5, 2) if here is not None else 0
        boxes = np.zeros((0, 5)) if here is None or k in hidden else (here + np.r_[noise, 0, 0, 0])[None]

        def shows(asked: Boxes, k: int = k) -> NDArray[np.bool_]:
            return np.full(len(asked), k not in hidden)

        def painted(asked: Boxes, k: int = k) -> Boxes:
            return np.full((len(asked), 3), paint(k))

        time = START + timedelta(days=days * k / (looks - 1))
        out.append(
            Sight(
                time,
                boxes,
                np.zeros(len(boxes), np.uint8),
                np.full(len(boxes), strength),
                np.arange(3, dtype=np.uint8),
                1.0,
                shows,
                painted,
            )
        )
    return out


def test_a_shed_taken_for_a_container_in_every_look_is_permanent() -> None:
    (one,) = find_permanent(history(), GSD)
    assert (one.cls, one.seen, one.shown) == ("container", 12, 12)
    assert np.abs(one.box[:2] - SHED[:2]).max() < 1
    there = Detections.build(one.box[None], np.ones(1), np.zeros(1, np.uint8))
    boxes = np.array([SHED, SHED, (200.0, 60.0, 24.0, 6.0, 0.3)])
    found = Detections.build(boxes, np.array([0.4, 0.5, 0.6]), np.array([0, 1, 0]))
    assert without_permanent(found, there).scores.tolist() == pytest.approx([0.6, 0.5])  # a wagon may stand where a shed seems to


def test_a_look_that_could_not_see_the_place_says_nothing() -> None:
    (one,) = find_permanent(history(hidden=(0, 5, 11)), GSD)
    assert (one.seen, one.shown) == (9, 9)


def test_a_look_whose_head_did_not_seek_the_class_says_nothing() -> None:
    nothing = np.zeros(0, np.uint8)
    coarse = [replace(s, boxes=s.boxes[:0], classes=nothing, strength=np.zeros(0), sought=nothing) for s in history(14, days=200)[:4]]
    (one,) = find_permanent([*coarse, *history(14, days=200)[4:]], GSD)
    assert (one.seen, one.shown) == (10, 10)


@pytest.mark.parametrize(
    "sights",
    [
        history(7),  # too few looks
        history(days=60),  # too short a time
        history(hidden=(1, 3, 5, 7, 9)),  # too few that show it
        history(box=lambda k: None if k in {4, 7} else np.array(SHED)),  # missed in two of twelve
        history(24, box=lambda k: None if k == 0 else np.array(SHED)),  # came
        history(24, box=lambda k: None if k == 23 else np.array(SHED)),  # went
        history(box=lambda k: np.array([100.0 + 4 * (k % 3), *SHED[1:]])),  # cars that stop two metres apart
        history(box=lambda k: np.array(SHED) * (1, 1, 1 + 0.3 * (k % 2), 1, 1)),  # of two lengths
        history(paint=lambda k: 0.7 * (k % 2)),  # boxes of one slot
        history(strength=2.0),  # a car that is stored
        history(strength=0.8),  # never counted
    ],
)
def test_what_moves_is_repainted_came_or_went_is_not(sights: list[Sight]) -> None:
    assert find_permanent(sights, GSD) == []


def test_what_stands_among_its_like_is_stock() -> None:
    blocks = []
    for s in history():
        two = np.concatenate([s.boxes, s.boxes + np.array([[-1.8, 5.7, 0, 0, 0]])])
        blocks.append(replace(s, boxes=two, classes=np.zeros(2, np.uint8), strength=np.full(2, 1.3)))
    assert find_permanent(blocks, GSD) == []
    unlike = [replace(s, classes=np.array([0, 1], np.uint8)) for s in blocks]
    assert [p.cls for p in find_permanent(unlike, GSD)] == ["container", "railcar"]


def test_two_boxes_of_one_thing_are_one() -> None:
    sights = [replace(s, boxes=np.repeat(s.boxes, 2, axis=0), classes=np.zeros(2, np.uint8), strength=np.ones(2)) for s in history()]
    assert len(find_permanent(sights, GSD)) == 1


def test_a_place_is_read_off_the_image(tmp_path: Path) -> None:
    """Paint is that of the box over that of the look; ground beyond the image is not shown; boxes lie in the frame of the site."""
    pixels = np.full((3, 80, 160), 50, np.uint8)
    pixels[:, 20:30, 40:80] = 150
    path = tmp_path / "look.tif"
    place = {"crs": "EPSG:32626", "transform": from_origin(5e5, 45e5, GSD, GSD)}
    with rasterio.open(path, "w", driver="GTiff", count=3, height=80, width=160, dtype="uint8", **place) as target:
        target.write(pixels)
    scene = open_scene(path, SceneMetadata(acquired=START, gsd_m=GSD))
    box = np.array([[60.0, 25.0, 40.0, 10.0, 0.0]])
    found = SceneDetections(Detections.build(box, np.ones(1), np.zeros(1, np.uint8)), {})
    shift = np.array([[2.0, 0, 7], [0, 2.0, -3]])  # the site's frame is twice as fine
    seen = sight(scene, found, observe(scene), shift)
    assert seen.boxes[0, :4].tolist() == [127.0, 47.0, 80.0, 20.0]
    assert seen.px == 2.0
    assert seen.shows(np.add(seen.boxes, np.array([[0.0], [250.0]]) * (1, 0, 0, 0, 0))).tolist() == [True, False]
    assert np.allclose(seen.paint(seen.boxes), np.log((150 / 255 + 0.02) / (50 / 255 + 0.02)), atol=0.02)
