# ruff: noqa: T201
# (a benchmark prints)
"""Train the network of `models.presence`: ``python tests/bench/fit_presence.py OUT.safetensors [--imagery FOLDER] [--yards N]``.

Rendered yards (`presence_examples.py`) and, with ``--imagery``, half of a real one (`presence_real.py`) teach it. Of six rendered yards
one is left out; prints precision, recall and F1 of appeared and departed there, with `chance_of_change` and with the network, and of
the other half of the real one. Examples lie in a folder beside the weights and are made once; a yard takes 35 seconds on one core
without bf16, a step of 64 a fifth of one.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from presence_examples import Examples, of_yard, score
from presence_real import judging, teaching
from safetensors.torch import save_file
from torch import nn

import models
from models import presence
from pipeline.change import evidence

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

FIRST, YARDS = 4_911_000, 132
PAIRS, REAL = 240, 0.2
"""Pairs of the real yard, and their share of a batch."""
CHANNELS, HIDDEN, DROPPED = 32, 64, 0.2
EPOCHS, SIZE, RATE, DECAY = 11, 64, 4e-3, 1e-2


def network() -> nn.Sequential:
    """The network of `models.presence`, with batch normalisation that `folded` takes out again."""
    layers: list[nn.Module] = []
    width = 10
    for k, stride in enumerate(presence.STRIDES[:-1]):
        wide = CHANNELS * (1 if k < 2 else 2)
        layers += [nn.Conv2d(width, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
        width = wide
    cells = presence.ALONG * presence.ACROSS // 64
    layers += [nn.Conv2d(width, 16, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(DROPPED), nn.Linear(16 * cells, HIDDEN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, 1))


def folded(net: nn.Sequential) -> dict[str, torch.Tensor]:
    """Weights as `models.presence` reads them: half precision, normalisation folded into the convolution before it."""
    out: dict[str, torch.Tensor] = {}
    layers = [m for m in net if isinstance(m, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))]
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)  # type: ignore[operator]
            name = f"{len(out) // 2 - 1}"
            out[f"{name}.weight"] = out[f"{name}.weight"] * scale[:, None, None, None]
            out[f"{name}.bias"] = layer.bias - layer.running_mean * scale  # type: ignore[operator]
        else:
            name = f"{len(out) // 2}"
            out[f"{name}.weight"] = layer.weight
            out[f"{name}.bias"] = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    return {name: values.detach().half().contiguous() for name, values in out.items()}


def varied(windows: U8, rng: np.random.Generator) -> U8:
    """Windows mirrored, greyed and the other look moved by one sample, by chance."""
    windows, number = windows.copy(), len(windows)
    for axis in (3, 2):
        turned = rng.random(number) < 0.5
        windows[turned] = np.flip(windows[turned], axis)
    grey = rng.random(number) < 0.25
    for k in (0, 3):
        windows[grey, k : k + 3] = windows[grey, k : k + 3].mean(axis=1, keepdims=True).astype(np.uint8)
    for i in np.flatnonzero(rng.random(number) < 0.5):
        dx, dy = rng.integers(-1, 2, 2)
        windows[i, 3:6] = np.roll(windows[i, 3:6], (dy, dx), (1, 2))
        windows[i, 7] = np.roll(windows[i, 7], (dy, dx), (0, 1))
    return windows


def fit(examples: Examples, real: Examples | None, epochs: int, seed: int) -> nn.Sequential:
    """The network after some passes over the examples of renders, with those of a real yard beside them in every batch."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    rng, net = np.random.default_rng(seed), network().to(memory_format=torch.channels_last)
    steps, beside = epochs * len(examples.event) // SIZE, round(SIZE * REAL) if real else 0
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    for step in range(steps):
        drawn = [_drawn(examples, SIZE - beside, rng)] + ([_drawn(real, beside, rng)] if real else [])
        x, y, weight = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*drawn, strict=True))
        odds = net(x.contiguous(memory_format=torch.channels_last))[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(odds, y, weight=weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)
    return net.eval()


def _drawn(examples: Examples, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
    """What the network sees of some examples, whether each is an event, and its weight."""
    i = rng.integers(0, len(examples.event), number)
    seen = presence.normalised(varied(examples.windows[i], rng), examples.gsd_m[i])
    return seen, examples.event[i].astype(np.float32), (examples.weight[i] / examples.weight.mean()).astype(np.float32)


def chances(net: nn.Sequential, examples: Examples) -> F64:
    """(N,) chance that the network gives each example."""
    with torch.inference_mode():
        batches = (slice(k, k + SIZE) for k in range(0, len(examples.event), SIZE))
        seen = (torch.from_numpy(presence.normalised(examples.windows[b], examples.gsd_m[b])) for b in batches)
        return torch.cat([torch.sigmoid(net(x)[:, 0]) for x in seen]).numpy().astype(np.float64)


def kept(path: Path, make: Callable[[], Examples]) -> Examples:
    """Examples of a file, made where it is absent."""
    if not path.is_file():
        np.savez(path, **vars(make()))
        print(f"made {path.stem}", flush=True)
    with np.load(path) as stored:
        return Examples(**{k: stored[k] if stored[k].ndim else float(stored[k]) for k in stored.files})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--imagery", type=Path)
    parser.add_argument("--yards", type=int, default=YARDS)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, imagery, heads = options.out.with_suffix(""), options.imagery, models.load("yard")
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(options.first, options.first + options.yards)
    parts = [kept(folder / f"{seed}.npz", lambda seed=seed: of_yard(seed, heads)) for seed in seeds]  # type: ignore[misc]
    real = kept(folder / "taught.npz", lambda: teaching(imagery, PAIRS)) if imagery else None
    net = fit(Examples.join([p for k, p in enumerate(parts) if k % 6]), real, options.epochs, options.seed)
    save_file(folded(net), options.out, metadata={"seeds": f"{seeds[0]} to {seeds[-1]}", "licence": "Apache-2.0"})
    judged = Examples.join(parts[::6])
    score("chance_of_change", judged.chance, judged)
    score("network", chances(net, judged), judged)
    if imagery:
        other = kept(folder / "judged.npz", lambda: judging(imagery))
        score("network, real yard", chances(net, other), other)
    print(f"`chance_of_change` reports from {evidence.CHANGED}, the network from {evidence.GONE}")


if __name__ == "__main__":
    main()
