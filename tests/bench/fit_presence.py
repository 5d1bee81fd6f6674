# ruff: noqa: T201
# (a benchmark prints)
"""Train the network of `models.presence` on rendered yards: ``python tests/bench/fit_presence.py OUT.safetensors [--yards N]``.

Each yard is seen three times under other suns, seasons, views and sensors (0.3-0.8 m), with 10, 25 or 40 % of its cars exchanged
between looks and a cloud over some. Every object that the detector is sure of is an example: an event if its body is not in the other
look, none if it stands there or never was one. Objects that found their partner are easy and many, so of those only a fourth is kept.
Examples weigh as much as they would were a tenth of the cars exchanged, as in `bench_objects.py`, whose seeds are not used here.

Of six yards one is left out; prints F1 of appeared and departed there, with `chance_of_change` and with the network. Examples lie in a
folder beside the weights and are made once; a yard takes 45 seconds on one core without bf16, a step of 64 a quarter of one.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench_objects import HIT, View, across, in_sight, photograph
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

import models
from models import CLASSES, presence
from models import boxes as ob
from models.render.looks import Yard, exchange, plan_yard, see_yard
from pipeline.change import evidence, objects
from pipeline.change.pair import compare
from pipeline.config import ChangeSettings
from pipeline.imagery.observed import Unseen

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

FIRST, YARDS = 4_911_000, 60
GSDS, SHARES = (0.3, 0.4, 0.5, 0.6, 0.8), (0.1, 0.25, 0.4)
NOMINAL = 0.1
"""Share of cars exchanged for which the chances are meant."""
EASY, KEPT = 1.5, 0.25
"""Partners that are both so sure, in thresholds, are kept with this chance."""
CHANNELS, HIDDEN, DROPPED = 32, 64, 0.2
EPOCHS, SIZE, RATE, DECAY = 20, 64, 4e-3, 1e-2


@dataclass(frozen=True)
class Examples:
    """Windows and what is known of them, of (N,) each.

    Attributes:
        windows: (N, 9, 32, 96) of `models.presence.cut`.
        gsd_m: metres per pixel of the common grid.
        event: whether the body is not in the other look.
        lone: whether the object has no partner there.
        weight: what the example stands for were `NOMINAL` of the cars exchanged.
        chance: what `evidence.chance_of_change` says.
        events: of all pairs, found or not, weighed likewise.
    """

    windows: U8
    gsd_m: F64
    event: NDArray[np.bool_]
    lone: NDArray[np.bool_]
    weight: F64
    chance: F64
    events: float

    @classmethod
    def join(cls, parts: list["Examples"]) -> "Examples":
        names = ("windows", "gsd_m", "event", "lone", "weight", "chance")
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in names), sum(p.events for p in parts))


@contextmanager
def caught() -> Iterator[list[objects._Match]]:
    """The matches of every comparison made meanwhile, one per class."""
    seen: list[objects._Match] = []
    plain = objects._Match.rows

    def rows(self: objects._Match) -> list[objects.Row]:
        seen.append(self)
        return []  # fates ask for the weights that are to be learned

    objects._Match.rows = rows  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        objects._Match.rows = plain  # type: ignore[method-assign]


def of_pair(views: tuple[View, View], share: float, rng: np.random.Generator) -> Iterator[Examples]:
    """Examples of one pair of looks."""
    with caught() as matches:
        scenes, found, observed = (tuple(getattr(v, name) for v in views) for name in ("scene", "found", "observed"))
        gsd_m = compare(scenes, found, observed, ChangeSettings()).gsd_m  # type: ignore[arg-type]
    for match in matches:
        if CLASSES[match.cls] == "vessel" or match.structure is None:
            continue
        sure = [np.flatnonzero(match._strength(s) >= 1) for s in (0, 1)]
        gate = match.gate_px * (objects.ROLL_FIRST if CLASSES[match.cls] == "railcar" else 1)
        partners = match._stay(sure, gate)
        for side in (0, 1):
            yield of_side(views, match, partners, side, (share, gsd_m), rng)


def of_side(
    views: tuple[View, View],
    match: objects._Match,
    partners: list[tuple[int, int]],
    side: int,
    facts: tuple[float, float],
    rng: np.random.Generator,
) -> Examples:
    """Examples of the objects of one class that one look of a pair is sure of."""
    (share, gsd_m), own, other = facts, views[side], views[1 - side]
    partner = {p[side]: p[1 - side] for p in partners}
    lone = [np.setdiff1d(np.arange(len(match.boxes[s])), [p[s] for p in partners]) for s in (0, 1)]
    strength, answer = match._strength(side), match._strength(1 - side)
    seen = own.seen.chip
    laid = across(own, seen.boxes, other)
    gone = ~np.isin(own.seen.bodies, other.seen.bodies)
    # where another body stands now, one that left cannot be told from one that stayed
    replaced = (ob.iou_matrix(laid, other.seen.chip.boxes) > HIT / 3).any(axis=1) & gone
    sight = in_sight(own.seen, seen.boxes, 0.1) & in_sight(other.seen, laid, 0.1)
    overlap = ob.iou_matrix(own.found.detections.boxes[match.index[side]], seen.boxes) * (seen.classes == match.cls)
    kept, event, weight = [], [], []
    for k in np.flatnonzero((match._states(side) == Unseen.OBSERVED) & (strength >= 1)):
        on = int(overlap[k].argmax()) if len(seen.boxes) else 0
        hit = bool(len(seen.boxes) and overlap[k, on] >= HIT)
        if hit and (not sight[on] or replaced[on]):
            continue
        left = bool(hit and gone[on])
        easy = not left and k in partner and min(strength[k], answer[partner[k]]) > EASY
        if easy and rng.random() >= KEPT:
            continue
        kept.append(int(k))
        event.append(left)
        weight.append(NOMINAL / share if left else (1 - NOMINAL) / (1 - share) / (KEPT if easy else 1))
    looks = [match._view(s, match.structure[s]) for s in (side, 1 - side)]  # type: ignore[index]
    stacks = [np.zeros((0, 9, presence.ACROSS, presence.ALONG), np.uint8), *presence.cut(*looks, match.boxes[side][kept], gsd_m)]
    chance = match._by_boxes(side, lone)
    events = float((gone & sight & ~replaced & (seen.classes == match.cls)).sum()) * NOMINAL / share
    return Examples(
        np.concatenate(stacks),
        np.full(len(kept), gsd_m),
        np.array(event, np.bool_),
        np.isin(kept, lone[side]),
        np.array(weight, np.float64),
        np.where(np.isin(kept, lone[side]), chance[kept], 0.0),
        events,
    )


def of_yard(seed: int, heads: object) -> Examples:
    """Examples of three looks at one yard."""
    yard, rng = plan_yard(seed), np.random.default_rng([seed, 12])
    shares, gsds = rng.choice(SHARES, 2), rng.choice(GSDS, 3)
    places = (yard, exchange(yard, shares[0], 0), _renamed(yard, exchange(yard, shares[1], 1)))
    with tempfile.TemporaryDirectory() as folder:
        looks = []
        for k, place in enumerate(places):
            seen = see_yard(place, k, float(gsds[k]), cloud=bool(k and rng.random() < 0.4))
            looks.append(photograph(Path(folder), seed, k, seen, None, heads))
        both = 1 - (1 - shares[0]) * (1 - shares[1])
        pairs = ((0, 1, shares[0]), (2, 0, shares[1]), (1, 2, both))
        return Examples.join([e for i, j, share in pairs for e in of_pair((looks[i], looks[j]), float(share), rng)])


def _renamed(yard: Yard, other: Yard) -> Yard:
    """The other yard, whose new bodies bear names that no third yard has."""
    last = max(b.key for b in yard.bodies)
    return replace(other, bodies=tuple(replace(b, key=b.key + 100_000 * (b.key > last)) for b in other.bodies))


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


def fit(examples: Examples, epochs: int, seed: int) -> nn.Sequential:
    """The network after some passes over the examples."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    rng, net = np.random.default_rng(seed), network()
    steps = epochs * len(examples.event) // SIZE
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    weight = (examples.weight / examples.weight.mean()).astype(np.float32)
    for step in range(steps):
        i = rng.integers(0, len(examples.event), SIZE)
        x = torch.from_numpy(presence.normalised(varied(examples.windows[i], rng), examples.gsd_m[i]))
        y, w = (torch.from_numpy(a[i].astype(np.float32)) for a in (examples.event, weight))
        loss = nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], y, weight=w)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)
    return net.eval()


def score(name: str, chance: F64, examples: Examples) -> None:
    """Print precision, recall and F1 of what is reported from some chances on; an object with a partner is not."""
    for limit in (0.3, 0.35, 0.4, 0.45, 0.5):
        told = examples.lone & (chance >= limit)
        hits, number = (float(examples.weight[m].sum()) for m in (told & examples.event, told))
        f1 = 2 * hits / (number + examples.events)
        print(f"{name:18} from {limit:.2f}: P {hits / max(number, 1e-9):.3f} R {hits / examples.events:.3f} F1 {f1:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--yards", type=int, default=YARDS)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    parts, heads = [], models.load("yard")
    for seed in range(options.first, options.first + options.yards):
        path = folder / f"{seed}.npz"
        if not path.is_file():
            np.savez(path, **vars(of_yard(seed, heads)))
            print(f"yard {seed}", flush=True)
        with np.load(path) as stored:
            parts.append(Examples(**{k: stored[k] if stored[k].ndim else float(stored[k]) for k in stored.files}))
    judged = Examples.join(parts[::6])
    net = fit(Examples.join([p for k, p in enumerate(parts) if k % 6]), options.epochs, options.seed)
    last = options.first + options.yards - 1
    save_file(folded(net), options.out, metadata={"seeds": f"{options.first} to {last}", "licence": "Apache-2.0"})
    with torch.inference_mode():
        inputs = (
            presence.normalised(judged.windows[k : k + SIZE], judged.gsd_m[k : k + SIZE]) for k in range(0, len(judged.event), SIZE)
        )
        chance = torch.cat([torch.sigmoid(net(torch.from_numpy(x))[:, 0]) for x in inputs]).numpy().astype(np.float64)
    score("chance_of_change", judged.chance, judged)
    score("network", chance, judged)
    print(f"`chance_of_change` reports from {evidence.CHANGED}")


if __name__ == "__main__":
    main()
