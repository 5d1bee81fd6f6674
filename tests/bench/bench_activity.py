# ruff: noqa: T201
# (a benchmark prints)
"""How well the predictive test keeps its promise, beside its peers on the same draws; what it costs as zones grow.

Run: ``python tests/bench/bench_activity.py [--runs N] [--only TABLE ...]``. Prints tables; nothing here is a test. Null looks are
negative binomial (METHOD 0.4), exposures uniform in 0.3..1, gaps irregular (they matter to none of the tests but to the guard band).
"""

import argparse
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from peers import PEERS, Score

from pipeline.activity.baseline import Ledger
from pipeline.activity.cusum import build_up
from pipeline.activity.judge import judge
from pipeline.activity.nb import Sufficient
from pipeline.activity.records import Estimate
from pipeline.config import ActivitySettings

F64 = NDArray[np.float64]
START = datetime(2020, 1, 1, tzinfo=UTC)
MEAN = 11.4  # Tumangang, METHOD 6.1
DISPERSIONS = (1.0, 2.0, 3.0, 5.0, 10.0)
LOOKS = (5, 8, 12, 20, 40)


def draw(rng: np.random.Generator, mean: F64, dispersion: float) -> F64:
    """Counts with ``variance = dispersion * mean`` at the baseline mean, the same k at every exposure."""
    if dispersion <= 1:
        return rng.poisson(mean).astype(np.float64)
    k = MEAN / (dispersion - 1)
    return rng.negative_binomial(k, k / (k + mean)).astype(np.float64)


def ours(values: F64, exposures: F64, value: float, exposure: float) -> float:
    """``-log10 p`` of the predictive test."""
    p = float(Sufficient.of(values, exposures).predictive().at_least(value, exposure)[0])
    return -float(np.log10(max(p, 1e-300)))


def false_alarms(runs: int) -> None:
    """Share of quiet looks that alarm, per dispersion and number of looks."""
    print(
        f"\nfalse alarms, % of quiet looks; exposures 0.3..1, {runs} runs per cell (+-{100 * (0.05 * 0.95 / runs) ** 0.5:.1f} at 5 %)"
    )
    print(f"{'disp':>4} {'n':>3} | ours 5 %  ours 1 % | " + "  ".join(f"{name:>18}" for name in PEERS))
    rng = np.random.default_rng(0)
    for dispersion in DISPERSIONS:
        for looks in LOOKS:
            hits = np.zeros(2 + len(PEERS))
            for _ in range(runs):
                e = rng.uniform(0.3, 1.0, looks + 1)
                y = draw(rng, MEAN * e, dispersion)
                score = ours(y[:-1], e[:-1], y[-1], e[-1])
                hits[:2] += score > -np.log10(0.05), score > 2
                hits[2:] += [s(y[:-1], e[:-1], y[-1], e[-1]) > limit for s, limit in PEERS.values()]
            share = 100 * hits / runs
            print(f"{dispersion:4.0f} {looks:3d} | {share[0]:8.1f}  {share[1]:8.1f} | " + "  ".join(f"{v:18.1f}" for v in share[2:]))


def one_limit(runs: int) -> None:
    """Detection when every site is judged by one limit, as a user must: nobody knows a yard's dispersion beforehand.

    Sites differ in mean (4 to 60), dispersion (1 to 10), looks (5 to 40) and exposure. ``pooled``: the limit of each method gives
    the nominal rate of false alarms over all sites together. ``every band``: it keeps the rate within 1.5 x nominal in each of four
    bands of dispersion and each number of looks, which is what an analyst of *one* yard was promised.
    """
    methods = {"ours": ours} | {name: score for name, (score, _) in PEERS.items()}
    rng = np.random.default_rng(5)
    quiet: dict[str, list[float]] = {name: [] for name in methods}
    raised: dict[str, list[float]] = {name: [] for name in methods}
    bands, numbers = [], []
    for _ in range(runs):
        dispersion, mean = np.exp(rng.uniform(np.log((1.0, 4.0)), np.log((10.0, 60.0))))
        looks = int(rng.choice(LOOKS))
        k = mean / max(dispersion - 1, 1e-3)
        e = rng.uniform(0.3, 1.0, looks + 1)
        y = rng.negative_binomial(k, k / (k + mean * e)).astype(np.float64)
        surge = float(rng.negative_binomial(k, k / (k + 4 * mean * e[-1])))
        bands.append(int(np.digitize(dispersion, (2, 4, 7))))
        numbers.append(10 + looks)
        for name, score in methods.items():
            quiet[name].append(score(y[:-1], e[:-1], y[-1], e[-1]))
            raised[name].append(score(y[:-1], e[:-1], surge, e[-1]))
    groups = [np.array(bands) == b for b in range(4)] + [np.array(numbers) == 10 + n for n in LOOKS]
    print(f"\ndetection of a look at four times its mean, one limit for all sites, {runs} sites, %")
    print(f"{'nominal':>8} {'limit':>11} | " + "  ".join(f"{name:>18}" for name in methods))
    for nominal in (0.05, 0.01):
        pooled = {name: float(np.quantile(s, 1 - nominal)) for name, s in quiet.items()}
        strict = {
            name: max(pooled[name], *(float(np.quantile(np.array(s)[g], 1 - 1.5 * nominal)) for g in groups))
            for name, s in quiet.items()
        }
        for label, limit in (("pooled", pooled), ("every band", strict)):
            row = "  ".join(f"{100 * float(np.mean(np.array(raised[n]) > limit[n])):18.1f}" for n in methods)
            print(f"{100 * nominal:6.0f} % {label:>11} | {row}")
        worst = (max(float(np.mean(np.array(quiet[n])[g] > pooled[n])) for g in groups) for n in methods)
        print(f"{'':8} {'worst band':>11} | " + "  ".join(f"{100 * w:18.1f}" for w in worst) + "   false alarms at the pooled limit")


def detection(runs: int, far: float = 0.01) -> None:
    """Detection by methods that were told the site's mean, dispersion and number of looks: each limit is set on quiet looks of it.

    No user has such limits. With them a plug-in Poisson score is a monotone function of ``y / mean`` and as good as any test of
    one look; what a method must learn about the dispersion from eight looks costs it power here and saves it in `one_limit`.
    """
    methods = {"ours": ours} | {name: score for name, (score, _) in PEERS.items()}
    rng = np.random.default_rng(1)
    print(
        f"\ndetection of one raised look, %, limits set by an oracle to {100 * far:.0f} % false alarms at that dispersion and "
        f"number of looks; {runs} runs"
    )
    print(f"{'disp':>4} {'n':>3} {'times':>5} | " + "  ".join(f"{name:>18}" for name in methods))
    for dispersion in (1.0, 3.0, 10.0):
        for looks in (8, 20):
            limit = limits(rng, methods, dispersion, looks, 5 * runs, far)
            for times in (2.0, 4.0, 6.4):
                hits = dict.fromkeys(methods, 0)
                for _ in range(runs):
                    e = rng.uniform(0.3, 1.0, looks + 1)
                    mean = MEAN * e
                    mean[-1] *= times
                    y = draw(rng, mean, dispersion)
                    for name, score in methods.items():
                        hits[name] += score(y[:-1], e[:-1], y[-1], e[-1]) > limit[name]
                row = "  ".join(f"{100 * v / runs:18.1f}" for v in hits.values())
                print(f"{dispersion:4.0f} {looks:3d} {times:5.1f} | {row}")


def limits(
    rng: np.random.Generator, methods: Mapping[str, Score], dispersion: float, looks: int, runs: int, far: float, least: float = 0.3
) -> dict[str, float]:
    """Score that a share `far` of quiet looks exceeds, per method; exposures from `least` to 1."""
    quiet: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(runs):
        e = rng.uniform(least, 1.0, looks + 1)
        y = draw(rng, MEAN * e, dispersion)
        for name, score in methods.items():
            quiet[name].append(score(y[:-1], e[:-1], y[-1], e[-1]))
    return {name: float(np.quantile(s, 1 - far)) for name, s in quiet.items()}


def delays(runs: int) -> None:
    """Looks until the first alarm after a step (x4) and along a ramp (to x6.4 in six looks, as 18 Sept to 5 Oct 2023).

    Limits give every method 1 % false alarms on fully seen looks like these; the CUSUM alarms at its own p < 0.01.
    """
    methods = {"ours": ours} | {name: score for name, (score, _) in PEERS.items()}
    limit = limits(np.random.default_rng(1), methods, 10.0, 20, 8 * runs, 0.01, least=1.0)
    shapes = {"step x4": np.full(8, 4.0), "ramp to x6.4": np.concatenate([np.linspace(1.9, 6.4, 6), [6.4, 6.4]])}
    rng = np.random.default_rng(2)
    print(f"\ndetection delay, mean looks to the first alarm (8 = missed in eight), dispersion 10, 20 quiet looks first, {runs} runs")
    print("ours freezes the baseline (guard band); peers take all past looks as their users do; CUSUM at p < 0.01")
    print(f"{'':>14} | " + "  ".join(f"{name:>18}" for name in (*methods, "our CUSUM")))
    for shape, factors in shapes.items():
        total = dict.fromkeys([*methods, "our CUSUM"], 0.0)
        for _ in range(runs):
            y = draw(rng, MEAN * np.concatenate([np.ones(20), factors]), 10.0)
            e = np.ones(28)
            for name, score in methods.items():
                frozen = name == "ours"
                alarms = [
                    score(y[: 20 if frozen else 20 + i], e[: 20 if frozen else 20 + i], y[20 + i], 1.0) > limit[name] for i in range(8)
                ]
                total[name] += alarms.index(True) if any(alarms) else 8
            total["our CUSUM"] += cusum_delay(y)
        print(f"{shape:>14} | " + "  ".join(f"{v / runs:18.2f}" for v in total.values()))


def cusum_delay(y: F64) -> float:
    """Looks until the build-up test falls below 0.01."""
    ledger = Ledger.of([estimate("z", 10 * i, v) for i, v in enumerate(y)])
    predictive = Sufficient.of(y[:20], np.ones(20)).predictive()
    for i in range(8):
        if build_up(predictive, ledger.looks[20 : 21 + i]).p < 0.01:
            return i
    return 8


def estimate(zone: str, day: float, value: float, exposure: float = 1.0) -> Estimate:
    """A look of the bench's site."""
    time_ = START + timedelta(days=float(day))
    return Estimate("s", zone, 1, "railcar", time_, value, 0.9 * value, 1.1 * value, exposure, "E1")


def growth() -> None:
    """CPU time to judge the last look of every zone, against the number of zones and of looks (1 000 x 500 is the issue's size)."""
    print("\nall alerts again, CPU seconds (and microseconds per look)")
    for axis, sizes in (
        ("zones", ((125, 500), (250, 500), (500, 500), (1000, 500))),
        ("looks", ((100, 250), (100, 500), (100, 1000), (100, 2000))),
    ):
        table = many(sizes[-1][0], sizes[-1][1])
        took = []
        for zones, looks in sizes:
            rows = [e for zone in table[:zones] for e in zone[:looks]]
            begin = time.process_time()
            raised = sum(a.raised for a in judge(rows, ActivitySettings()))
            took.append(time.process_time() - begin)
            per_look = 1e6 * took[-1] / (zones * looks)
            print(f"{zones:5d} zones x {looks:4d} looks: {took[-1]:6.2f} s  {per_look:6.1f} us per look, {raised} raised", flush=True)
        size = [z * n for z, n in sizes]
        slope = float(np.polyfit(np.log(size), np.log(took), 1)[0])
        print(f"exponent in {axis}, least squares over {len(sizes)} sizes: {slope:.2f} (1 is linear)")


def many(zones: int, looks: int) -> list[list[Estimate]]:
    """Quiet zones, a look every third day, one look in two in part hidden."""
    rng = np.random.default_rng(3)
    values = rng.negative_binomial(3, 3 / 18, (zones, looks))
    exposures = rng.choice([1, 1, 1, 0.5, 0.7, 0.9], (zones, looks))
    return [[estimate(f"z{z}", 3 * i, float(values[z, i]), float(exposures[z, i])) for i in range(looks)] for z in range(zones)]


def unobservable(histories: int = 1000) -> None:
    """Alerts about zones that could not be seen, over seeded histories with random clouds."""
    rng = np.random.default_rng(4)
    events = 0
    for h in range(histories):
        rows = []
        for i, v in enumerate(rng.negative_binomial(2, 2 / 14, 15)):
            hidden = i == 14 or rng.uniform() < 0.4
            rows.append(
                Estimate("s", f"h{h}", 1, "railcar", START + timedelta(days=7 * i), None, None, None, 0.1, "E1", "cloud 90 %")
                if hidden
                else estimate(f"h{h}", 7 * i, float(v))
            )
        events += sum(a.verdict != "not observed" for a in judge(rows, ActivitySettings()))
    print(f"\nevents for unobservable zones over {histories} histories: {events}")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    tables = {
        "unobservable": lambda _: unobservable(),
        "growth": lambda _: growth(),
        "false-alarms": false_alarms,
        "one-limit": lambda runs: one_limit(10 * runs),
        "detection": lambda runs: detection(runs // 2),
        "delays": lambda runs: delays(runs // 2),
    }
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--only", choices=tables, nargs="*", default=list(tables))
    given = parser.parse_args()
    for name in given.only:
        tables[name](given.runs)


if __name__ == "__main__":
    main()
