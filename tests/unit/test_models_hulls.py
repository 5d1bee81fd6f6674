"""The length of a hull comes from the picture, and depends on nothing far away."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models import boxes as ob
from models import hulls
from models.hulls import hull_ends
from models.network import HALO

ALL = np.ones((200, 240), np.bool_)


def painted(box: NDArray[np.float64], shade: float) -> NDArray[np.float32]:
    """A hull with two hatches on rough water, blurred as a sensor does."""
    rng = np.random.default_rng(3)
    image = np.full((200, 240), 0.12, np.float32)
    for part, tone in ((1.0, shade), (0.5, shade * 0.8)):
        inner = box * (1, 1, part, part, 1)
        corners = np.round(ob.corners(inner[None])[0] * 16 - 8).astype(np.int32)
        cv2.fillPoly(image, [corners], tone, shift=4)
    image = cv2.GaussianBlur(image, (0, 0), 0.7)
    return np.stack([image] * 3) + rng.normal(0, 0.01, (3, *image.shape)).astype(np.float32)


@pytest.mark.parametrize("shade", [0.35, 0.05])
@pytest.mark.parametrize("length", [14.0, 40.0, 90.0])
def test_ends_move_to_where_the_picture_changes(length: float, shade: float) -> None:
    true = np.array([120.3, 99.6, length, max(4.0, length / 7), 0.4])
    pixels = painted(true, shade)
    guesses = np.array([true * (1, 1, scale, 1, 1) + (shift * np.cos(0.4), shift * np.sin(0.4), 0, 0, 0)
                        for scale, shift in ((0.9, 0.0), (1.12, 0.0), (1.0, 0.06 * length))])  # fmt: skip
    told = hull_ends(pixels, ALL, guesses)
    assert np.abs(told[:, 2] - length).max() <= 1.5
    assert np.hypot(*(told[:, :2] - true[:2]).T).max() <= 1.0
    assert (told[:, 3:] == guesses[:, 3:]).all()


def test_a_hull_nothing_tells_from_the_water_keeps_its_ends() -> None:
    box = np.array([[120.0, 100.0, 40.0, 6.0, 0.4]])
    told = hull_ends(np.full((3, 200, 240), 0.2, np.float32), ALL, box)
    assert np.abs(told - box).max() <= 0.5


def test_a_window_of_its_own_gives_the_same_ends() -> None:
    box = np.array([[120.3, 99.6, 60.0, 9.0, 0.4]])
    pixels = painted(box[0], 0.3)
    own = hull_ends(pixels, ALL, box * (1, 1, 0.93, 1, 1))
    cut = hull_ends(pixels[:, 20:180, 30:210], ALL[20:180, 30:210], box * (1, 1, 0.93, 1, 1) - (30, 20, 0, 0, 0))
    assert np.abs(cut - own + np.array([30, 20, 0, 0, 0])).max() < 1e-9


def test_no_hulls_are_no_boxes() -> None:
    assert hull_ends(np.zeros((3, 50, 50), np.float32), np.ones((50, 50), np.bool_), np.zeros((0, 5))).shape == (0, 5)


@pytest.mark.parametrize("gap", [0, 3, 6, 20])
def test_nodata_near_an_end_is_not_taken_for_it(gap: int) -> None:
    """A dark hull of columns 70 to 120 of the picture; from `gap` pixels beyond it on there is none."""
    rng = np.random.default_rng(0)
    pixels = 0.10 + rng.normal(0, 0.004, (3, 200, 240))
    pixels[:, 96:104, 70:120] = 0.13 + rng.normal(0, 0.01, (3, 8, 50))
    valid = ALL.copy()
    valid[:, 120 + gap :] = False
    told = hull_ends((pixels * valid).astype(np.float32), valid, np.array([[95.0, 100.0, 50.0, 8.0, 0.0]]))[0]
    assert abs(told[0] + told[2] / 2 - 120) <= 1.0
    assert abs(told[0] - told[2] / 2 - 70) <= 1.0


def test_the_ends_of_the_longest_hulls_depend_on_nothing_beyond_the_halo() -> None:
    seen = 280 / 2 + 2 * hulls.REACH_PX[1]
    assert np.hypot(seen, hulls.STRIP * 60.0) + 1 <= HALO
