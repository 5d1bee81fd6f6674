"""E4 from pixels: a drawn block of known sides and height, and what its boxes come to."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.activity.pile_look import look_at_pile
from pipeline.activity.piles import TIER_M, from_block

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


@pytest.mark.parametrize(("gsd_m", "theta", "near_m"), [(0.3, 0.4, 0.7), (0.6, 1.9, 0.8), (1.5, -0.8, 1.5)])
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
