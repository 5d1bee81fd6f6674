"""int8: its counts are those of fp32 to a stated share, or it is refused; nothing chooses it unasked."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import models
from models import quantise, runtime
from models.card import find
from models.detector import GsdRange
from models.network import YardNet
from models.render import EVALUATION_SEEDS, render_chip
from models.runtime import Head
from models.structure import detect
from pipeline.errors import ModelError


@pytest.mark.slow
def test_a_head_that_counts_otherwise_is_told_from_its_twin() -> None:
    (head,), (card,) = models.load("hull", "torch"), find("hull")
    assert isinstance(head, Head)
    assert quantise.disagreement(head, head, card) == {"vessel": 0.0}
    meek = Head(card, lambda x: head._forward(x) - np.float32(1.0), "torch")  # logits: half as sure
    assert quantise.disagreement(head, meek, card)["vessel"] > quantise.TOLERANCE


def test_calibration_and_check_are_apart_and_judge_nothing() -> None:
    (card,) = find("hull")
    used = [
        {chip.pixels.tobytes() for _, _, chip in quantise.chips(card, s)} for s in (quantise.CALIBRATION_SEEDS, quantise.CHECK_SEEDS)
    ]
    assert used[0]
    assert not used[0] & used[1]
    assert max(quantise.CALIBRATION_SEEDS, quantise.CHECK_SEEDS) + quantise.CHIPS <= EVALUATION_SEEDS


def test_calibration_shows_what_the_head_will_see() -> None:
    """Accepted GSDs only, at the working one: 256 px of 3 m are 77 of 10 m, padded to 80."""
    card = replace(find("hull")[0], gsd=GsdRange(5.0, 12.0, 10.0))
    shown = list(quantise.chips(card, quantise.CALIBRATION_SEEDS))
    assert {gsd for _, gsd, _ in shown} == {10.0}
    assert {(chip.pixels.shape, chip.gsd_m) for _, _, chip in shown} == {((3, 80, 80), 10.0)}
    assert all(chip.valid.sum() == 77 * 77 for _, _, chip in shown)


@pytest.mark.parametrize("flags", [set(), {"avx512_vnni"}, {"avx512_vnni", "avx512_bf16"}, {"amx_int8", "amx_bf16"}])
def test_int8_is_never_chosen_unasked(flags: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "cpu_flags", lambda: flags)
    assert "int8" not in runtime.best_runtime()


def test_without_nncf_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ModelError, match=r"yardwatch\[int8\]"):
        quantise.quantise(None, find("hull")[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter traces with an interface that torch calls old
def test_int8_that_disagrees_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="the extra `fast` is not installed")
    monkeypatch.setattr(quantise, "quantise", lambda _, card: runtime._graph(YardNet(len(card.classes), card.subtypes).eval()))
    with pytest.raises(ModelError, match="differ from fp32 by vessel 100"):
        models.load("hull", "openvino-int8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_int8_counts_as_fp32_does(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nncf", reason="the extra `int8` is not installed")
    (exact,), (int8,) = models.load("yard", "torch"), models.load("yard", "openvino-int8")
    assert capfd.readouterr().out == ""  # results go there
    for name, kind in (("railcar", "rail_yard"), ("container", "terminal")):
        pictures = [render_chip(5_003_000 + k, kind, 0.3, 384, gsd) for k, gsd in enumerate((0.3, 0.5, 0.8) * 3)]
        a, b = (sum(len(detect(head, c.pixels, c.valid).of(name)) for c in pictures) for head in (exact, int8))
        assert a > 200  # fewer differ by chance alone
        assert abs(b - a) <= quantise.TOLERANCE * a


def test_openvino_tells_nobody() -> None:
    pytest.importorskip("openvino", reason="the extra `fast` is not installed")
    said = "import sys, models.runtime as r; r.best_runtime(); import openvino; print(sys.modules['openvino_telemetry'])"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
