"""E4 from pixels: a drawn block of known sides and height, and what its boxes come to."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine

from pipeline.activity.pile_look import look_at_pile
from pipeline.activity.piles import TIER_M, from_block
from pipeline.activity.records import Estimate
from pipeline.config import ChangeSettings, DetectionSettings, SceneMetadata
from pipeline.imagery.metadata import open_scene
from pipeline.imagery.place import slants
from pipeline.imagery.scene import Scene
from pipeline.run import stages
from pipeline.run.learned import do_learn
from pipeline.site import Site

SHADOW, LEAN = np.array([0.9, 0.5]), np.array([-0.15, 0.2])
LONG, WIDE, HIGH = 40.0, 13.0, 3 * TIER_M


def picture(gsd_m: float, theta: float, *, block: bool = True) -> NDArray[np.float32]:
    """(3, H, W): grey ground with grain; a block with its shadow on it."""
    rng, side = np.random.default_rng(7), round(100 / gsd_m)
    image = np.full((side, side, 3), 0.4, np.float32)
    turn = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
    base = np.array([[-LONG, -WIDE], [LONG, -WIDE], [LONG, WIDE], [-LONG, WIDE]]) / 2 @ turn + 50
    if block:
        for reach, colour in ((SHADOW, (0.15, 0.15, 0.15)), (LEAN, (0.3, 0.35, 0.6))):
            hull = cv2.convexHull(np.concatenate([base, base + reach * HIGH]).astype(np.float32))
            cv2.fillConvexPoly(image, np.round((hull / gsd_m - 0.5) * 16).astype(np.int32), colour, cv2.LINE_AA, 4)
    return np.ascontiguousarray((image + rng.normal(0, 0.02, image.shape)).transpose(2, 0, 1), np.float32)


@pytest.mark.parametrize(("gsd_m", "theta", "near_m"), [(0.3, 0.4, 1.0), (0.6, 1.9, 1.0), (1.5, -0.8, 2.0)])
def test_the_block_is_measured_back(gsd_m: float, theta: float, near_m: float) -> None:
    pixels = picture(gsd_m, theta)
    look = look_at_pile(pixels, np.ones(pixels.shape[1:], np.bool_), gsd_m, SHADOW, LEAN)
    assert look is not None
    assert (look.length_m, look.width_m, look.height_m) == pytest.approx((LONG, WIDE, HIGH), abs=near_m)


def test_nothing_is_said_of_bare_ground_or_of_a_picture_in_part_unseen() -> None:
    bare, pile = picture(0.6, 0.0, block=False), picture(0.6, 0.0)
    seen = np.ones(bare.shape[1:], np.bool_)
    assert look_at_pile(bare, seen, 0.6, SHADOW, LEAN) is None
    seen[5, 5] = False
    assert look_at_pile(pile, seen, 0.6, SHADOW, LEAN) is None


def test_a_block_comes_to_the_boxes_that_it_was_built_of() -> None:
    """Six bays by five rows by three tiers, gaps of 0.2 m, every slot filled."""
    sides = 6 * 6.058 + 5 * 0.2, 5 * 2.438 + 4 * 0.2
    fine, coarse = from_block(*sides, 3 * TIER_M, 0.3, 40.0), from_block(*sides, 3 * TIER_M, 3.0, 40.0)
    assert fine.low < 90 < fine.high
    assert fine.value == pytest.approx(90, rel=0.1)
    assert coarse.low < fine.low < fine.high < coarse.high


@pytest.mark.parametrize(("turn_deg", "shadow"), [(0.0, (-1.0, -1.0)), (90.0, (1.0, -1.0))])
def test_a_shadow_points_away_from_the_sun_however_the_grid_is_turned(
    tmp_path: Path, turn_deg: float, shadow: tuple[float, float]
) -> None:
    """Sun in the south-east, 35.3 degrees high: one metre throws a shadow of sqrt(2) m to the north-west."""
    scene = on_disk(tmp_path, turn_deg=turn_deg, sun_elevation=np.degrees(np.arctan(np.sqrt(0.5))), sun_azimuth=135.0)
    found = slants(scene)
    assert not isinstance(found, str)
    assert found[0] == pytest.approx(shadow, abs=0.03)
    assert found[1] == pytest.approx((0, np.tan(np.radians(14.0))) if turn_deg == 0 else (-np.tan(np.radians(14.0)), 0), abs=0.01)


def test_without_the_sun_no_pile_is_measured(tmp_path: Path) -> None:
    _, e = estimated(on_disk(tmp_path, sun_elevation=None), tmp_path, "storage")
    assert (e.cls, e.unit, e.value) == ("pile_teu", "TEU", None)
    assert "must be declared" in e.not_observed


def test_a_run_measures_a_pile_where_boxes_cannot_be_counted(tmp_path: Path) -> None:
    """The drawn block has 40 x 13 m and three tiers: 6.4 x 5.0 slots of gaps of 0.22 m, 89 boxes at the usual fill."""
    shadow_deg = float(np.degrees(np.arctan2(SHADOW[0], -SHADOW[1])))
    lean_deg = float(np.degrees(np.arctan2(LEAN[0], -LEAN[1])))
    angles = {"sun_elevation": float(np.degrees(np.arctan(1 / np.hypot(*SHADOW)))), "sun_azimuth": (shadow_deg + 180) % 360}
    angles |= {"off_nadir": float(np.degrees(np.arctan(np.hypot(*LEAN)))), "view_azimuth": (lean_deg + 180) % 360}
    scene = on_disk(tmp_path, **angles)
    count, e = estimated(scene, tmp_path, "storage")
    assert (count.cls, count.value) == ("container", None)  # the series of counts says that this look could not be counted
    assert (e.cls, e.estimator, e.unit) == ("pile_teu", "E4", "TEU")
    assert e.low is not None
    assert e.high is not None
    assert e.low < 90 < e.high
    assert [float(n) for n in re.findall(r"(\d+) x (\d+) m", e.note)[0]] == pytest.approx((LONG, WIDE), abs=2)
    (yard,) = estimated(scene, tmp_path, "container_yard")  # many blocks are no pile
    assert (yard.cls, yard.value) == ("container", None)


def on_disk(folder: Path, turn_deg: float = 0.0, **angles: float | None) -> Scene:
    """The drawn block as a GeoTIFF at 1.5 m in UTM on the central meridian, its grid turned counter-clockwise about its corner."""
    path = folder / "look.tif"
    pixels = np.round(picture(1.5, 0.4) * 255).astype(np.uint8)
    grid = Affine.translation(500_000, 4_700_000) @ Affine.rotation(turn_deg) @ Affine.scale(1.5, -1.5)
    with rasterio.open(path, "w", driver="GTiff", width=pixels.shape[2], height=pixels.shape[1], count=3, dtype="uint8",
                       crs="EPSG:32652", transform=grid) as file:  # fmt: skip
        file.write(pixels)
    known = {"sun_elevation": 40.0, "sun_azimuth": 150.0, "off_nadir": 14.0, "view_azimuth": 0.0} | angles
    return open_scene(path, SceneMetadata.model_validate({"acquired": "2024-05-01T02:00:00Z", **known}))


def estimated(scene: Scene, folder: Path, kind: str) -> list[Estimate]:
    """Numbers of a zone around the block, through the stages of a run."""
    x, y = 500_000 + np.array([15, 85, 85, 15, 15]), 4_700_000 - np.array([15, 15, 85, 85, 15])
    geometry = {"type": "Polygon", "coordinates": [np.stack([x, y], axis=1).tolist()]}
    zone = {"id": "pile", "kind": kind, "classes": ["container"], "geometry": geometry}
    site = Site.model_validate({"id": "depot", "name": "Depot", "kind": "depot", "crs": "EPSG:32652", "aoi": geometry, "zones": [zone]})
    made = {(stage, scene.id): folder / kind / stage for stage in ("observe", "detect", "align")}
    learned, estimate = folder / kind / "learn", folder / kind / "estimate"
    for made_in in (*made.values(), learned, estimate):
        made_in.mkdir(parents=True)
    stages.do_observe(scene, made["observe", scene.id])
    stages.do_detect(scene, "default", DetectionSettings(runtime="torch"), made["detect", scene.id])
    stages.do_align(scene, scene, ChangeSettings(), made["align", scene.id])
    do_learn(site, scene, [scene], made, learned)
    stages.do_estimate(site, scene, [[scene]], made, learned, "default", estimate)
    return stages.load_estimates(estimate)
