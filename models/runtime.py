"""One network behind one call, whatever runs it: torch in fp32 or bf16, OpenVINO in fp32, bf16 or int8."""

import logging
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models import boxes as ob
from models.card import Card, find
from models.codec import decode, split
from models.detector import CLASSES, Detections, GsdRange
from models.hulls import hull_ends
from models.network import HALO, STRIDE, Ensemble, Outlines, YardNet
from models.shade import HINTED, lit
from pipeline.errors import ModelError

log = logging.getLogger(__name__)

F32 = NDArray[np.float32]
OUTLINES = "outlines"
NMS_IOU = 0.25
"""Oriented IoU above which two boxes of a class are one object; bodies side by side do not overlap at all."""


class Head:
    """A `models.detector.Detector`: card, network, runtime."""

    def __init__(self, card: Card, forward: Callable[[F32], F32], runtime: str) -> None:
        self.card, self.runtime = card, runtime
        self._forward = forward

    @property
    def name(self) -> str:
        """Name and version."""
        return self.card.name

    @property
    def sha256(self) -> str:
        """Digest of the weights."""
        return self.card.sha256

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names it can return."""
        return self.card.classes

    @property
    def gsd(self) -> GsdRange:
        """Accepted native GSD and working GSD."""
        return self.card.gsd

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Shipped threshold by class name."""
        return self.card.thresholds

    @property
    def stride_px(self) -> int:
        """Windows start on multiples of this."""
        return STRIDE

    @property
    def halo_px(self) -> int:
        """Context around a core."""
        return HALO

    def detect(self, pixels: F32, valid: NDArray[np.bool_], thresholds: Mapping[str, float] | None = None) -> Detections:
        """See `models.detector.Detector.detect`."""
        assert pixels.shape[0] == 3
        assert pixels.shape[1] % STRIDE == 0
        assert pixels.shape[2] % STRIDE == 0
        if not valid.any():
            return Detections.empty()
        logits, box, kinds = split(self._forward(pixels[None])[0], len(self.classes))
        heat = 1 / (1 + np.exp(-logits))
        low = np.array([(thresholds or {}).get(c, self.card.thresholds[c]) for c in self.classes], np.float32)
        # a car may take the score of its shadow: those that may come to count by it are looked at as well
        shipped = np.array([self.card.thresholds[c] * (HINTED if c == "railcar" else np.inf) for c in self.classes], np.float32)
        asked = np.minimum(low, shipped)
        boxes, scores, classes, (i, j) = decode(heat, box, asked)
        index = np.array([CLASSES.index(c) for c in self.classes], np.uint8)[classes]
        subtypes = kinds[:, i, j].argmax(axis=0) if self.card.subtypes else np.zeros(len(scores), np.int64)
        subtypes = np.where(index == CLASSES.index("railcar"), subtypes, 0)
        keep = ob.nms(boxes, scores, NMS_IOU, index)
        hulls = keep[index[keep] == CLASSES.index("vessel")]
        boxes[hulls] = hull_ends(pixels, valid, boxes[hulls])
        cars = keep[index[keep] == CLASSES.index("railcar")]
        stays, scores[cars] = lit(pixels, boxes[cars], scores[cars], self.gsd.working_m)
        keep = np.setdiff1d(keep[scores[keep] >= low[classes[keep]]], cars[~stays])
        return Detections.build(boxes[keep], scores[keep], index[keep], subtypes[keep])


def load_heads(name_or_path: str | Path, runtime: str) -> tuple[Head, ...]:
    """See `models.load`."""
    return tuple(_load(card, runtime) for card in find(name_or_path))


def _load(card: Card, runtime: str) -> Head:
    net = Ensemble(*_read(card)).eval()
    chosen = best_runtime() if runtime == "auto" else runtime
    log.info("head %s runs on %s", card.name, chosen)
    makers = {
        "torch": lambda: _torch(net, bf16=False),
        "torch-bf16": lambda: _torch(net, bf16=True),
        "openvino": lambda: _openvino(net, "f32"),
        "openvino-bf16": lambda: _openvino(net, "bf16"),
        "openvino-int8": lambda: _int8(net, card),
    }
    if chosen not in makers:
        raise ModelError(f"runtime '{runtime}' is not known", f"Choose auto, {', '.join(makers)}.")
    return Head(card, makers[chosen](), chosen)


def read_nets(card: Card) -> list[YardNet]:
    """The networks of a card with their weights, in fp32: one, or those that `models.publish.joined` put into one file.

    Raises:
        ModelError: a digest that differs from the card, or weights of another network.
    """
    return _read(card)[0]


def _read(card: Card) -> tuple[list[YardNet], Outlines | None]:
    """Those networks, and what corrects their boxes where the file holds it."""
    card.verify()
    try:
        states = _by_part(load_file(card.weights))
        told = states.pop(OUTLINES, None)
        nets = [YardNet.of_state(states[k], len(card.classes), card.subtypes) for k in sorted(states)]
        return nets, Outlines.of_state(told, len(nets), len(card.classes)) if told else None
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ModelError(f"{card.weights}: does not fit the network", "Weights and code are of different versions.") from error


def _by_part(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The states of the parts of an `Ensemble`: its networks by number, `OUTLINES`; or the one state of a network, as number 0."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        part, _, name = key.removeprefix("nets.").partition(".")
        inside = part == OUTLINES or key.startswith("nets.")
        parts.setdefault(part if inside else "0", {})[name if inside else key] = value
    return parts


def cpu_flags() -> set[str]:
    """Abilities of the CPU as Linux names them; empty where that cannot be read."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return set()
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()


def has_bf16() -> bool:
    """Whether the CPU computes in bf16; elsewhere it is emulated, five to ten times slower than fp32 (PERF 0)."""
    return bool({"amx_bf16", "avx512_bf16"} & cpu_flags())


def best_runtime() -> str:
    """bf16 only where the CPU has it; OpenVINO where it is installed.

    Never int8: it costs a calibration at every load, and at single GSDs its counts are 2 % from fp32 where those of bf16 are 1 %
    (``tests/bench/bench_runtime.py``).
    """
    bf16 = has_bf16()
    try:
        _openvino_package()
    except ImportError:
        return "torch-bf16" if bf16 else "torch"
    return "openvino-bf16" if bf16 else "openvino"


def _openvino_package() -> Any:
    """OpenVINO without `openvino_telemetry`, by which it and NNCF tell their maker of each import and conversion unless told not to."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # None makes its import fail; both do without
    import openvino

    return openvino


def _fused(net: nn.Module) -> nn.Module:
    """Put each normalisation into the convolution before it, and activations in place: a small network waits for memory most."""
    for chain in [m for m in net.modules() if isinstance(m, nn.Sequential)]:
        for k, (layer, after) in enumerate(pairwise(list(chain))):
            if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                chain[k], chain[k + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
            elif isinstance(after, (nn.ReLU, nn.ReLU6)):
                after.inplace = True
    return net


def _torch(net: nn.Module, *, bf16: bool) -> Callable[[F32], F32]:
    net = _fused(net).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it

    @torch.inference_mode()
    def forward(x: F32) -> F32:
        tensor = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return np.asarray(net(tensor).float().numpy(), np.float32)

    return forward


def _openvino(net: nn.Module, precision: str) -> Callable[[F32], F32]:
    return _compiled(_graph(net), precision)


def _int8(net: nn.Module, card: Card) -> Callable[[F32], F32]:
    """Refused when its counts are not those of fp32 to `models.quantise.TOLERANCE`."""
    from models.quantise import TOLERANCE, disagreement, quantise

    graph = _graph(net)
    exact, forward = _compiled(graph, "f32"), _compiled(quantise(graph, card), "f32")
    off = disagreement(Head(card, exact, "openvino"), Head(card, forward, "openvino-int8"), card)
    said = ", ".join(f"{name} {share:.1%}" for name, share in off.items())
    log.info("head %s in int8: counts differ from fp32 by %s", card.name, said)
    if max(off.values()) > TOLERANCE:
        raise ModelError(f"{card.name}: counts in int8 differ from fp32 by {said}", "Choose the runtime `auto`.")
    return forward


def _graph(net: nn.Module) -> Any:
    try:
        ov = _openvino_package()
    except ImportError as error:
        raise ModelError("OpenVINO is not installed", "Install it with `pip install 'yardwatch[fast]'`.") from error
    return ov.convert_model(net, example_input=torch.zeros(1, 3, 256, 256))


def _compiled(graph: Any, precision: str) -> Callable[[F32], F32]:
    compiled = _openvino_package().Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": precision})

    def forward(x: F32) -> F32:
        return np.asarray(compiled(x)[0], np.float32)

    return forward
