"""The pool of examples and what training makes of it: targets follow their pixels through symmetries; hidden tops are none."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from models import boxes as ob
from models.batches import Batches
from models.codec import decode
from models.datasets.pool import MOST_OBJECTS, Maker, Pool, fill_pool
from models.datasets.rearranged import Yard
from models.recipe import Recipe
from models.render.canvas import Canvas, Light
from models.render.chip import Chip, with_labels
from models.render.objects import CONTAINER_WIDTH, railcar, stack
from models.train import loss_of
from pipeline.errors import ModelError

SIDE = 160


@pytest.fixture
def recipe() -> Recipe:
    shipped = Recipe.read(Path(__file__).parents[2] / "configs" / "train" / "yard.yaml")
    return replace(shipped, renders={"rail_yard": [(1000, 3)]}, real=(), size_px=SIDE, batch=24)


def test_targets_follow_their_pixels_through_every_symmetry(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.datasets.augment.STRETCH", (1.0, 1.0))
    batches = Batches.of(recipe, tmp_path, "cpu")
    pixels, heat, box, weight, subtype, care = batches.make(batches.plan(0))
    assert pixels.shape == (24, 3, SIDE, SIDE)
    assert weight[heat < 0.3].sum() == 0
    chips = [Maker.of(recipe).make(k) for k in range(3)]
    for k in range(24):
        found, _, _, _ = decode(heat[k].numpy(), box[k].numpy(), np.array([0.99, 0.99], np.float32))
        turned = [(chip, how) for chip in range(3) for how in range(8) if _alike(_turned(chips[chip].pixels, how), pixels[k].numpy())]
        assert len(turned) == 1
        assert (ob.iou_matrix(_boxes_turned(chips[turned[0][0]], turned[0][1]), found).max(axis=1) > 0.95).all()
    assert set(np.unique(subtype.numpy())) > {-1}
    assert care.min() == 0.0  # bodies that the frame cuts are not asked for


class OneDevice(TorchDispatchMode):
    """Fails an operation that touches a tensor of the CPU: recorded as a CUDA graph it would be refused, or wait for a copy."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_flatten((args, kwargs, out))[0]:
            assert not isinstance(leaf, torch.Tensor) or leaf.device.type == "meta", func
        return out


@pytest.mark.parametrize("net", ["lite-96", "plain-96"])
def test_a_step_of_training_looks_at_its_device_alone(recipe: Recipe, net: str, tmp_path: Path) -> None:
    recipe = replace(recipe, nets=(net,), batch=2)
    pool = {name: torch.from_numpy(array).to("meta") for name, array in Pool.open(tmp_path, 4, SIDE, 2).arrays.items()}
    batches = Batches(recipe, pool, 3, 1)
    plan, network = batches.plan(0).to("meta"), recipe.network(0).to("meta")
    with OneDevice():
        x, *targets = batches.make(plan)
        loss_of(network(x), *targets).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in network.parameters())


def test_the_loss_of_a_batch_without_objects_does_not_grow_with_it() -> None:
    """Else one batch of empty chips weighs as hundreds of others."""
    maps = torch.randn((2, 14, 20, 20), generator=torch.Generator().manual_seed(1))
    empty = [torch.zeros((2, 2, 20, 20)), torch.zeros((2, 2, 6, 20, 20)), torch.zeros((2, 2, 20, 20)), torch.full((2, 20, 20), -1)]
    targets = [*empty, torch.ones((2, 20, 20))]
    small = loss_of(maps, *targets)
    large = loss_of(maps.repeat(4, 1, 1, 1), *(t.repeat(4, *[1] * (t.ndim - 1)) for t in targets))
    assert small > 0
    assert torch.isclose(large, small)


def test_a_pool_makes_only_what_it_lacks(recipe: Recipe, tmp_path: Path) -> None:
    pool, renders = fill_pool(recipe, tmp_path)
    assert renders == len(pool.done) == 3
    pool.pixels[0], pool.pixels[1], pool.done[1] = 7, 7, 0
    again, _ = fill_pool(recipe, tmp_path)
    assert (again.pixels[0] == 7).all()
    assert not (again.pixels[1] == 7).all()


def killed(*_: object) -> int:
    """What a kernel short of memory does to a worker."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_a_killed_worker_is_a_clear_error_and_what_was_made_stays(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, _ = fill_pool(recipe, tmp_path)
    pool.pixels[0], pool.done[1:] = 7, 0
    monkeypatch.setattr("models.datasets.pool.INLINE", 0)
    with monkeypatch.context() as patch:
        patch.setattr("models.datasets.pool._fill", killed)
        with pytest.raises(ModelError, match="was killed"):
            fill_pool(recipe, tmp_path)
    assert (fill_pool(recipe, tmp_path)[0].pixels[0] == 7).all()


@pytest.mark.parametrize(
    ("right", "wrong"), [("x_below", "x_bellow"), ("path: muttenz/yard_west.tif", "folder: muttenz, pattern: '*.tif'")]
)
def test_an_unknown_key_of_a_picture_is_named(right: str, wrong: str, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "configs" / "train" / "yard.yaml"
    (tmp_path / "yard.yaml").write_text(shipped.read_text().replace(right, wrong))
    with pytest.raises(TypeError, match="x_bellow" if "bellow" in wrong else "rearranged"):  # of a folder only windows are read
        Recipe.read(tmp_path / "yard.yaml")


def pictured(recipe: Recipe, folder: Path, corners: list[tuple[int, int]]) -> Recipe:
    """A recipe of one grey picture with boxes of 40 x 8 px at these places."""
    if not (folder / "p.png").exists():
        cv2.imwrite(str(folder / "p.png"), np.full((200, 200, 3), 120, np.uint8))
    quads = [(x, y, x + 40, y, x + 40, y + 8, x, y + 8) for x, y in corners]
    (folder / "p.txt").write_text("\n".join(" ".join(map(str, quad)) + " container 0" for quad in quads))
    entry = {"path": "p.png", "labels": "p.txt", "gsd_m": 0.3, "weight": 1}
    return replace(recipe, renders={}, real=(entry,), real_crops=4, imagery=folder, folder=folder)


def test_a_picture_whose_crops_are_rearranged_is_a_yard(recipe: Recipe, tmp_path: Path) -> None:
    one = pictured(recipe, tmp_path, [(80, 90)])
    yards, _ = replace(one, real=({**one.real[0], "rearranged": 0.5},)).pictures()
    assert [yard.share for yard in yards if isinstance(yard, Yard)] == [0.5]


def test_a_pool_follows_its_labels_pictures_and_version(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [(20 * k % 160, 12 * k) for k in range(15)]
    pool, _ = fill_pool(pictured(recipe, tmp_path, several), tmp_path / "run")
    assert (pool.owner >= 0).sum() > 20
    fewer, _ = fill_pool(pictured(recipe, tmp_path, []), tmp_path / "run")
    assert (fewer.owner < 0).all()
    cv2.imwrite(str(tmp_path / "p.png"), np.full((200, 200, 3), 200, np.uint8))
    brighter, _ = fill_pool(pictured(recipe, tmp_path, several), tmp_path / "run")
    assert brighter.pixels.max() > pool.pixels.max() + 50
    monkeypatch.setattr("models.datasets.pool.POOL_VERSION", 99)
    fill_pool(pictured(recipe, tmp_path, several), tmp_path / "run")
    assert len(list((tmp_path / "run").iterdir())) == 4


def test_renders_stand_on_real_places_that_hold_no_targets(recipe: Recipe, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), np.full((400, 400, 3), (0, 250, 0), np.uint8))
    empty = replace(pictured(recipe, tmp_path, []), renders=recipe.renders, on_real=1.0)
    on_green, on_own = Maker.of(empty).make(1), Maker.of(replace(empty, on_real=0.0)).make(1)
    assert len(on_own.boxes) > 0
    assert np.array_equal(on_green.boxes, on_own.boxes)
    red, green, blue = on_green.pixels - on_own.pixels
    assert (green > red + 0.05).mean() > 0.2
    assert (green > blue + 0.05).mean() > 0.2
    full = replace(pictured(recipe, tmp_path, [(20, 20)]), renders=recipe.renders, on_real=1.0)  # its boxes would go unlabelled
    assert np.array_equal(Maker.of(full).make(1).pixels, on_own.pixels)


def test_of_too_many_objects_the_largest_are_learned(recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    n = MOST_OBJECTS + 76
    y, x = np.divmod(np.arange(n), 40)
    boxes = np.column_stack([x * 4 + 2.0, y * 5 + 2.5, np.full(n, 4.0), np.full(n, 3.0), np.zeros(n)])
    boxes[-76:, 2:4] = 4.5, 3.5  # the last are not the least
    side = np.ones((SIDE, SIDE), np.bool_)
    none = np.zeros(n, np.uint8)
    chip = Chip(np.zeros((3, SIDE, SIDE), np.float32), side, boxes, none, none, np.ones(n, np.float32), 0.3)
    pool = Pool.open(tmp_path, 1, SIDE, 2)
    pool.put(0, chip, recipe, known=True)
    assert "76 objects beyond 1024" in caplog.text
    assert pool.owner.max() == MOST_OBJECTS - 1
    assert (np.exp(pool.values[0, :76, 2]) > 4.4).all()
    assert (pool.heat[0, 0] == 255).sum() == n  # each is an object, whether its box is learned or not


@pytest.mark.parametrize("heading", [0.3, 1.8, 3.4, -2.5])
@pytest.mark.parametrize("shadow", [(0.0, 0.8), (0.8, 0.0), (-0.6, 0.6)])
def test_the_wall_towards_the_sun_shades_an_empty_gondola(heading: float, shadow: tuple[float, float]) -> None:
    canvas = Canvas(200, 0.1, np.random.default_rng(3), Light(np.array(shadow), np.zeros(2), 0.3))
    canvas.image[:] = 0.45
    railcar(canvas, 10.0, 10.0, heading, "gondola", 12.0, (0.7, 0.6, 0.5), loaded=False)
    across = np.array([-np.sin(heading), np.cos(heading)])
    towards = -across * np.sign(across @ shadow)
    tones = []
    for side in (0.75, -0.75):
        x, y = ((10.0 + towards * side) / 0.1).astype(int)
        tones.append(canvas.image[y - 2 : y + 3, x - 2 : x + 3].mean())
    assert tones[0] < 0.8 * tones[1]


def test_a_top_behind_a_high_stack_is_no_object_and_one_in_deep_shade_is_not_asked_for() -> None:
    seen = {}
    for lean, depth in ((0.5, 0.5), (0.0, 0.5), (0.0, 0.1)):
        light = Light(np.array([0.0, 0.6]), np.array([0.0, lean]), depth)
        canvas = Canvas(200, 0.2, np.random.default_rng(0), light)
        canvas.image[:] = 0.4
        low, high = np.array([20.0, 18.0 + CONTAINER_WIDTH + 0.2]), np.array([20.0, 18.0])
        bodies = [(centre, tiers) for centre, tiers in ((low, 1), (high, 5))]
        for i in canvas.rising([(_base(centre), 2.6 * tiers) for centre, tiers in bodies]):
            stack(canvas, bodies[i][0], 0.0, 12.192, (0.5, 0.3, 0.2), 0.0, bodies[i][1], 2.6)
        seen[lean, depth] = with_labels(canvas, canvas.image)
    assert seen[0.5, 0.5][1].tolist() == [False, True]
    assert (seen[0.0, 0.5][0].visible > 0.9).all()
    in_shade = seen[0.0, 0.1][0]
    assert in_shade.visible[0] < 0.4 < in_shade.visible[1]


def _base(centre: np.ndarray) -> np.ndarray:
    return centre + np.array([[-6.1, -1.2], [6.1, -1.2], [6.1, 1.2], [-6.1, 1.2]])


def _turned(pixels: np.ndarray, how: int) -> np.ndarray:
    out = pixels.swapaxes(-1, -2) if how & 1 else pixels
    out = out[..., ::-1] if how & 2 else out
    return out[..., ::-1, :] if how & 4 else out


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two pictures differ by tone only."""
    return bool(np.corrcoef(a.mean(axis=0).ravel(), b.mean(axis=0).ravel())[0, 1] > 0.9)


def _boxes_turned(rendered: Chip, how: int) -> np.ndarray:
    """Bodies that are whole and bear no container: a cell that two classes share learns the box of one."""
    containers = rendered.boxes[rendered.classes == 0]
    bare = ob.iou_matrix(rendered.boxes, containers).max(axis=1, initial=0.0) == 0
    corners = ob.corners(rendered.boxes[(rendered.visible > 0.9) & (rendered.classes == 1) & bare])
    corners = corners[..., ::-1] if how & 1 else corners
    flipped = np.array([bool(how & 2), bool(how & 4)])
    return ob.from_corners(np.where(flipped, SIDE - corners, corners))
