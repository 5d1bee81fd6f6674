"""The network that sees two looks at one body: its windows, and what it says of rendered yards that taught it nothing."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import CLASSES, presence
from models import boxes as ob
from models.datasets.real import read_picture
from models.evaluate import MUTTENZ_SPLIT
from models.presence import View, chance_gone, cut, normalised
from models.presence_net import Eyes
from models.render.looks import LookChip, Yard, exchange, plan_yard, see_yard
from pipeline.change import evidence

NONE = np.zeros((0, 5))


def plain(level: float, boxes: np.ndarray = NONE, strength: float = 1.5, offset: tuple[float, float] = (0.0, 0.0)) -> View:
    pixels = np.full((80, 200, 3), level, np.float32)
    return View(pixels, np.ones((80, 200), np.bool_), np.array(offset), boxes, np.full(len(boxes), strength))


def test_windows_show_the_body_in_the_middle_of_both_looks_wherever_it_leans() -> None:
    body = np.array([[100.0, 40, 30, 8, 0.0]])
    own, other = plain(0.2, body), plain(0.4, body + np.array([0, 8, 0, 0, 0]), 1.0, (6.0, -4.0))
    other.pixels[34:38, 102:110] = 1.0  # at the body's place less its lean: (4..8, -2..2) beside its middle
    (window,) = next(iter(cut(own, other, body, presence.STEP_M)))
    assert window.shape == (9, presence.ACROSS, presence.ALONG)
    assert np.all(window[:3] == 51)
    bright = np.argwhere(window[3] > 200)
    assert np.abs(bright.mean(axis=0) - [(presence.ACROSS - 1) / 2, (presence.ALONG - 1) / 2]).max() < 1.5
    assert window[6, 15, 47] == 1.5 * presence.LEVELS  # its own box, as sure as it is
    assert window[7, 15, 47] == 0
    assert window[7, 23, 47] == presence.LEVELS  # the other's box, a track below
    assert np.all(window[8] == 255)


def test_gain_and_haze_leave_no_trace_in_what_the_network_sees() -> None:
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 120, (2, 9, presence.ACROSS, presence.ALONG)).astype(np.uint8)
    stack[:, 8] = 255
    hazy = stack.copy()
    hazy[:, 3:6] = stack[:, 3:6] + 100
    gsd_m = np.full(2, 0.5)
    assert np.abs(normalised(stack, gsd_m) - normalised(hazy, gsd_m)).max() < 1e-5


def test_the_detector_sees_either_picture_by_itself_and_a_batch_alike() -> None:
    rng, eyes = np.random.default_rng(1), Eyes.read()
    stack = rng.integers(0, 255, (3, 9, presence.ACROSS, presence.ALONG)).astype(np.uint8)
    stack[0, 3:6] = stack[0, :3]
    seen = eyes.see(stack).numpy()
    assert seen.shape[:2] == (3, 2)
    assert np.abs(seen[0, 0] - seen[0, 1]).max() < 1e-4
    assert np.abs(seen[1, 0] - seen[1, 1]).max() > 0.1
    assert np.abs(eyes.see(stack[1:2]).numpy() - seen[1:2]).max() < 1e-3


def test_nothing_is_asked_of_nothing() -> None:
    assert chance_gone(plain(0.2), plain(0.2), NONE, 0.5).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("gsd_m", [0.35, 0.6])
def test_cars_that_left_are_told_from_cars_that_one_look_missed(gsd_m: float) -> None:
    assert np.mean([order(plan_yard(seed, 200.0), gsd_m) for seed in range(4_947_000, 4_947_004)]) > 0.85


def order(yard: Yard, gsd_m: float) -> float:
    """How often, of a car that left and one that stands, the one that left gets the higher chance."""
    first, second = see_yard(yard, 0, gsd_m), see_yard(exchange(yard, 0.3, 0), 1, gsd_m)
    stays = np.isin(first.bodies, second.bodies)
    mine = first.chip.classes == CLASSES.index("railcar")
    own, other = view(first, np.ones(len(first.bodies), np.bool_)), view(second, np.ones(len(second.bodies), np.bool_))
    left = chance_gone(own, other, first.chip.boxes[mine & ~stays], gsd_m)
    # each of those that stay, as if the other look had missed it: half of its boxes are taken away
    lost = np.arange(len(second.bodies)) % 2 == 0
    missed = ob.iou_matrix(first.chip.boxes, second.chip.boxes[lost]).max(axis=1, initial=0.0) > 0.5
    stayed = chance_gone(own, view(second, ~lost), first.chip.boxes[mine & stays & missed], gsd_m)
    assert min(len(left), len(stayed)) >= 8
    return float((left[:, None] > stayed[None]).mean())


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.7, 1.0, 1.3])
def test_cars_of_a_real_yard_that_one_look_missed_have_not_left(imagery: Path, gamma: float) -> None:
    """Columns that no training saw, at 0.5 m, and the same in another tone, where half of the cars have no box."""
    yard = read_picture(imagery / "muttenz" / "yard_west.tif", imagery / "muttenz" / "yard_west.txt", 0.2546)
    size = tuple(side // 2 for side in yard.image.shape[1::-1])
    pixels = np.ascontiguousarray(cv2.resize(yard.image, size, interpolation=cv2.INTER_AREA)[:, MUTTENZ_SPLIT // 2 :])
    cars = yard.boxes * np.array([0.5, 0.5, 0.5, 0.5, 1]) - np.array([MUTTENZ_SPLIT // 2, 0, 0, 0, 0])
    cars = cars[(cars[:, 0] > 0) & (cars[:, 1] > 0)]
    valid, strength = np.ones(pixels.shape[:2], np.bool_), np.full(len(cars), 2.0)
    own = View(pixels, valid, np.zeros(2), cars, strength)
    other = View(np.asarray(pixels**gamma, np.float32), valid, np.zeros(2), cars[::2], strength[::2])
    assert len(cars) >= 40
    assert (chance_gone(own, other, cars[1::2], 2 * 0.2546) >= evidence.GONE).mean() <= 0.2


def view(seen: LookChip, kept: np.ndarray) -> View:
    cars = kept & (seen.chip.classes == CLASSES.index("railcar"))
    pixels = np.ascontiguousarray(seen.chip.pixels.transpose(1, 2, 0), np.float32)
    look = View(pixels, np.ones(pixels.shape[:2], np.bool_), np.zeros(2), seen.chip.boxes[cars], np.full(cars.sum(), 1.8))
    return replace(look, pixels=np.clip(look.pixels, 0, 1))
