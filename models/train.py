"""Train a head: pooled renders and real pictures, bf16 where the machine has it, EMA, checkpoints, resumption. A plain loop."""

import copy
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.batches import PLAN, Batches
from models.card import find
from models.codec import split
from models.network import YardNet
from models.pretrained import start_from_photographs
from models.recipe import Recipe
from models.runtime import has_bf16, read_nets
from pipeline.errors import ModelError

log = logging.getLogger(__name__)

EAGER = 11
"""Steps before a GPU's are recorded: libraries choose their kernels and the optimiser makes its state in them."""

BOX_WEIGHTS = (0.3, 0.3, 1.5, 1.5, 0.7, 0.7)
"""Of offset (cells), log size and double angle: one cell of offset, 20 % of size and 20 deg cost about the same."""


def loss_of(out: Tensor, heat: Tensor, box: Tensor, weight: Tensor, subtype: Tensor, care: Tensor) -> Tensor:
    """Quality focal loss on heat (soft targets, beta 2), weighted L1 on boxes, cross-entropy on subtypes.

    Soft targets learn several times faster here than the one-cell positives of CornerNet: the centre of a uniform body 60 px
    long is not defined to a cell.
    """
    logit, boxes, kinds = split(out.float(), heat.shape[1])
    p = torch.sigmoid(logit)
    soft = heat * care[:, None]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logit, heat, reduction="none")
    # a batch without objects counts one for each example: its loss must not grow with its size
    total = ((heat - p).abs() ** 2 * entropy * care[:, None]).sum() / soft.sum().clamp(min=len(heat)) * 8.0
    error = torch.stack([w * (boxes[:, :, k] - box[:, :, k]).abs() for k, w in enumerate(BOX_WEIGHTS)]).sum(dim=0)
    total = total + (error * weight).sum() / weight.sum().clamp(min=1)
    if kinds.shape[1]:
        known = subtype >= 0
        wrong = torch.nn.functional.cross_entropy(kinds, subtype.clamp(min=0), reduction="none")
        total = total + 0.2 * (wrong * known).sum() / known.sum().clamp(min=1)
    return total


class Learner:
    """A network in training, the mean of its weights over time and its optimiser.

    On a GPU its step is recorded once as a CUDA graph and replayed on a stream of its own: the thousands of small kernels of a step
    take several times longer to be told than to run, and learners side by side fill each other's gaps.

    Attributes:
        done: steps, those before a cut included.
        loss: running mean, on the device.
    """

    def __init__(self, net: YardNet, recipe: Recipe, batches: Batches, device: str) -> None:
        self.net, self.recipe, self.batches = net.to(device), recipe, batches
        self.done = self.ran = 0
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
        self.ema = copy.deepcopy(self.net)
        self.loss = torch.zeros((), device=device)
        self.on_gpu = device == "cuda"
        groups = [{**group, "lr": torch.zeros((), device=device)} for group in _groups(net, recipe.trunk_rate)]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=1e-4, fused=True, capturable=self.on_gpu)
        self.told = torch.zeros(recipe.batch * PLAN + 3, pin_memory=self.on_gpu)
        self.inputs = self.told.to(device)
        self.stream = torch.cuda.Stream() if self.on_gpu else None  # type: ignore[no-untyped-call]
        self.read = torch.cuda.Event() if self.on_gpu else None  # type: ignore[no-untyped-call]
        self.graph = torch.cuda.CUDAGraph() if self.on_gpu else None

    def advance(self, progress: float) -> None:
        """One step, `progress` (0 to 1) on the way: the rate winds up over 200 steps, then down along a cosine to a fiftieth."""
        wound = min(1.0, (self.done + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        kept = min(0.998, (self.done + 1) / (self.done + 20))
        scalars = torch.tensor([self.recipe.lr * wound, 1 - kept, 0.02 if self.done else 1.0])
        plan = self.batches.plan(self.done)
        if self.on_gpu and self.ran == 0:
            torch.cuda.synchronize()  # weights come from another stream
        with torch.cuda.stream(self.stream):
            if self.read is not None:
                self.read.synchronize()  # the last step has read what it was told
            torch.cat([plan.flatten(), scalars], out=self.told)
            self.inputs.copy_(self.told, non_blocking=True)
            if self.read is not None:
                self.read.record()
            if self.graph is None or self.ran < EAGER:
                self._step()
            else:
                if self.ran == EAGER:
                    with torch.cuda.graph(self.graph, stream=self.stream):
                        self._step()
                self.graph.replay()
        self.done, self.ran = self.done + 1, self.ran + 1

    def _step(self) -> None:
        """Draw, learn, average: of `inputs` alone, so that it can be recorded."""
        plan, (rate, share, news) = self.inputs[:-3].view(-1, PLAN), self.inputs[-3:]
        x, *targets = self.batches.make(plan)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.on_gpu or has_bf16()):
            maps = self.net(x.to(memory_format=torch.channels_last))
        loss = loss_of(maps, *targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.optimiser.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined] # as a GradScaler: such a step is left out
        for group in self.optimiser.param_groups:
            group["lr"].copy_(rate * group["share"])
        self.optimiser.step()
        self._average(share)
        self.loss.lerp_(torch.where(loss.isfinite(), loss, self.loss).detach(), news)

    @torch.no_grad()
    def _average(self, share: Tensor) -> None:
        pairs = zip(self.ema.state_dict().values(), self.net.state_dict().values(), strict=True)
        mine, theirs = zip(*((m, t) for m, t in pairs if m.dtype.is_floating_point), strict=True)
        apart = torch._foreach_sub(theirs, mine)  # noqa: SLF001 # as `torch.optim.swa_utils` does: a kernel for all, not a hundred
        torch._foreach_mul_(apart, share)
        torch._foreach_add_(mine, apart)

    def save(self, folder: Path, seconds: float) -> None:
        """Write ``last.pt`` and ``weights.safetensors``, each under a temporary name first."""
        if self.stream is not None:
            self.stream.synchronize()
        state = {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "opt": self.optimiser.state_dict(),
            "step": self.done,
            "seconds": seconds,
        }
        temporary = folder / "last.part"
        torch.save(state, temporary)
        temporary.replace(folder / "last.pt")
        export(self.ema, folder / "weights.safetensors")

    def resume(self, folder: Path) -> float:
        """Go on from ``last.pt`` where there is one; returns the seconds spent."""
        path = folder / "last.pt"
        if not path.exists():
            return 0.0
        state = torch.load(path, weights_only=True, map_location=self.inputs.device)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["opt"])
        self.done = int(state["step"])
        log.info("resuming at step %d", self.done)
        return float(state["seconds"])


def train(recipe: Recipe, out: Path, steps: int | None = None, start: str | Path | None = None, member: int = 0) -> Path:
    """Train a network and write ``last.pt`` (resumable) and ``weights.safetensors`` (EMA, half precision) into ``out/net-MEMBER``.

    Args:
        recipe: what to learn, and from what.
        out: folder of the run, with the pool of all its networks; a run that was cut there goes on.
        steps: instead of the recipe's.
        start: a shipped head or a weights file to start from, instead of from chance: fine-tuning.
        member: which of the recipe's networks; each draws batches of its own.

    Raises:
        ModelError: `start` is no head of the recipe's classes.

    Returns:
        The weights file.
    """
    recipe, home = replace(recipe, seed=recipe.seed + member), out / f"net-{member}"
    torch.manual_seed(recipe.seed)
    steps = steps or recipe.steps
    home.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batches = Batches.of(recipe, out, device)
    net = recipe.network(member)
    if start:
        _take_over(net, recipe, start, member)
    else:
        start_from_photographs(net)
    learner = Learner(net, recipe, batches, device)
    before, started = learner.resume(home), time.monotonic()
    with _without_denormals():
        while learner.done < steps:
            learner.advance(learner.done / steps)
            if learner.done % 100 == 0 or learner.done == steps:
                spent = before + time.monotonic() - started
                learner.save(home, spent)
                log.info("step %d of %d, loss %.3f, %.0f s", learner.done, steps, float(learner.loss), spent)
    return home / "weights.safetensors"


def _groups(net: YardNet, trunk_rate: float) -> list[dict[str, Any]]:
    """Parameters and their share of the rate.

    A trunk whose share is 0 is left alone, with the statistics of its norms; its stages at strides 2 and 4 always are: edges and
    colours are the same everywhere, and most of the time would go to them.
    """
    left = net.trunk() if trunk_rate == 0 else nn.ModuleList([net.stem2, net.stem4] if net.kind == "lite" else [])
    left.requires_grad_(requires_grad=False).eval()
    trunk = [p for p in net.trunk().parameters() if p.requires_grad]
    own = {id(p) for p in trunk}
    rest = [p for p in net.parameters() if p.requires_grad and id(p) not in own]
    return [{"params": rest, "share": 1.0}, *([{"params": trunk, "share": trunk_rate}] if trunk else [])]


def _take_over(net: YardNet, recipe: Recipe, start: str | Path, member: int) -> None:
    """Give a network the weights of the one like it in a head: of several, of the one in its place."""
    card, *others = find(start)
    fits = not others and card.classes == recipe.classes and card.subtypes == recipe.subtypes
    alike = [other for other in read_nets(card) if (other.kind, other.width) == (net.kind, net.width)] if fits else []
    if not alike:
        raise ModelError(
            f"{start}: is no head for {', '.join(recipe.classes)} with a network {recipe.nets[member]}",
            "Start from one that is, or from chance.",
        )
    net.load_state_dict(alike[min(member, len(alike) - 1)].state_dict())


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Denormals slow small nets badly on CPUs; whatever else the process does keeps them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def export(net: nn.Module, path: Path) -> None:
    """Weights as half precision safetensors, under a temporary name first."""
    from safetensors.torch import save_file

    tensors = {k: v.half() if v.dtype.is_floating_point else v for k, v in net.state_dict().items()}
    temporary = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary)
    temporary.replace(path)
