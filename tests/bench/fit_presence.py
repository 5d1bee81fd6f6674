# ruff: noqa: T201
# (a benchmark prints)
"""Train the network of `models.presence`: ``python tests/bench/fit_presence.py OUT.safetensors [--imagery FOLDER] [--yards N]``.

Rendered yards (`presence_examples.py`) and, with ``--imagery``, half of a real one (`presence_real.py`) teach it. Of six rendered yards
one is left out; prints precision, recall and F1 of appeared and departed there, with `chance_of_change` and with the network, and of
the other half of the real one. Examples, and the features that the yard head sees in their windows, lie in a folder beside the weights
and are made once; a yard takes 50 seconds on one core without bf16 and 50 MB of memory, a step of 128 a quarter of one on two.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from descent import descend
from numpy.typing import NDArray
from presence_examples import NOMINAL, Examples, of_yard, score
from presence_real import judging, teaching
from torch import Tensor, nn

import models
from models import presence
from models.presence_net import Eyes, PresenceNet
from models.train import export
from pipeline.change import evidence

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FIRST, YARDS = 4_911_000, 248
PAIRS, REAL = 240, 0.22
"""Pairs of the real yard, and their share of a batch."""
COARSE_M, OFTEN = 0.65, 0.5
"""Examples of coarser looks are drawn this often: they are the most, and say the least."""
STEPS, SIZE, RATE, DECAY, RISE = 5000, 128, 2e-3, 5e-2, 0.05
MIRRORED, GREY = 0.5, 0.25
"""Chances that a window is mirrored either way, and that its pictures have no colour."""


@dataclass(frozen=True)
class Seen:
    """Examples, and (N, 2, maps, 8, 24) float16 what the networks of the yard head see in their windows."""

    examples: Examples
    features: NDArray[np.float16]

    @classmethod
    def join(cls, parts: list["Seen"]) -> "Seen":
        return cls(Examples.join([p.examples for p in parts]), np.concatenate([p.features for p in parts]))


def varied(seen: Seen, which: NDArray[np.int64], rng: np.random.Generator) -> tuple[F32, NDArray[np.float16]]:
    """Inputs of the network of some examples, mirrored and greyed by chance; the features of a mirrored window are mirrored as well."""
    windows, features = seen.examples.windows[which], seen.features[which]
    for axis in (2, 3):
        turned = rng.random(len(which)) < MIRRORED
        windows[turned], features[turned] = np.flip(windows[turned], axis), np.flip(features[turned], axis + 1)
    grey = rng.random(len(which)) < GREY
    for k in (0, 3):
        windows[grey, k : k + 3] = windows[grey, k : k + 3].mean(axis=1, keepdims=True).astype(np.uint8)
    return presence.normalised(windows, seen.examples.gsd_m[which]), features


def excess(examples: Examples) -> F32:
    """(N,) log-odds of an event in the pair of an example, less those where `NOMINAL` of the cars are exchanged: known beforehand.

    Weights are NOMINAL / share for events and (1 - NOMINAL) / (1 - share) for the rest.
    """
    share = np.where(examples.event, NOMINAL / examples.weight, 1 - (1 - NOMINAL) / examples.weight)
    return np.asarray(np.log(share / NOMINAL) - np.log((1 - share) / (1 - NOMINAL)), np.float32)


def fit(seen: Seen, real: Seen | None, steps: int, seed: int) -> PresenceNet:
    """The network after some steps over the examples of renders, with those of a real yard beside them in every batch."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    rng, net = np.random.default_rng(seed), PresenceNet()
    beside, often = round(SIZE * REAL) if real else 0, np.where(seen.examples.gsd_m > COARSE_M, OFTEN, 1.0)
    sources: list[tuple[Seen, int, F64 | None]] = [(seen, SIZE - beside, often / often.sum())]
    sources += [(real, beside, None)] if real else []
    known = [excess(source.examples) for source, *_ in sources]

    def loss() -> Tensor:
        drawn = [rng.choice(len(source.features), number, p=odds) for source, number, odds in sources]
        batch = [(*varied(s, i, rng), s.examples.event[i], k[i]) for (s, *_), i, k in zip(sources, drawn, known, strict=True)]
        windows, features, event, beforehand = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*batch, strict=True))
        return nn.functional.binary_cross_entropy_with_logits(net(windows, features) + beforehand, event.float())

    descend(net, loss, steps, RATE, DECAY, RISE)
    return net.eval()


def chances(net: PresenceNet, seen: Seen) -> F64:
    """(N,) chance that the network gives each example."""
    examples, batches = seen.examples, [slice(k, k + SIZE) for k in range(0, len(seen.features), SIZE)]
    with torch.inference_mode():
        inputs = ((presence.normalised(examples.windows[b], examples.gsd_m[b]), np.array(seen.features[b])) for b in batches)
        return torch.cat([torch.sigmoid(net(*map(torch.from_numpy, pair))) for pair in inputs]).numpy().astype(np.float64)


def kept(path: Path, make: Callable[[], Examples], eyes: Eyes) -> Seen:
    """Examples of a file, with features that stay on the disk, made where they are absent."""
    shown = path.with_suffix(".npy")
    if not path.is_file():
        examples = make()
        batches = (slice(k, k + SIZE) for k in range(0, len(examples.event), SIZE))
        np.save(shown, torch.cat([eyes.see(examples.windows[b]).half() for b in batches]).numpy())
        np.savez(path, **vars(examples))
        print(f"made {path.stem}", flush=True)
    with np.load(path) as stored:
        examples = Examples(**{k: stored[k] if stored[k].ndim else float(stored[k]) for k in stored.files})
    return Seen(examples, np.load(shown, mmap_mode="r"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--imagery", type=Path)
    parser.add_argument("--yards", type=int, default=YARDS)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, imagery, heads, eyes = options.out.with_suffix(""), options.imagery, models.load("yard"), Eyes.read()
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(options.first, options.first + options.yards)
    parts = [kept(folder / f"{seed}.npz", lambda seed=seed: of_yard(seed, heads), eyes) for seed in seeds]  # type: ignore[misc]
    real = kept(folder / "taught.npz", lambda: teaching(imagery, PAIRS), eyes) if imagery else None
    net = fit(Seen.join([p for k, p in enumerate(parts) if k % 6]), real, options.steps, options.seed)
    export(net, options.out)
    judged = Seen.join(parts[::6])
    score("chance_of_change", judged.examples.chance, judged.examples)
    score("network", chances(net, judged), judged.examples)
    if imagery:
        other = kept(folder / "judged.npz", lambda: judging(imagery), eyes)
        score("network, real yard", chances(net, other), other.examples)
    print(f"`chance_of_change` reports from {evidence.CHANGED}, the network from {evidence.GONE}")


if __name__ == "__main__":
    main()
