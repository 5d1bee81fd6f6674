"""What each command does; the command line's back room, with `image_commands` and `model_commands` the only places that print."""

import json
import logging
import platform
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from pipeline import config
from pipeline.activity.records import Alert
from pipeline.activity.tables import read_counts, records
from pipeline.activity.wording import quoted
from pipeline.errors import ConfigError, ModelError

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "fixtures" / "demo" / "run.yaml"


def console() -> Console:
    """Where people read. Text is printed as it is: a name or a path may hold [brackets] or :colons:."""
    return Console(soft_wrap=True, markup=False, emoji=False, width=None if sys.stdout.isatty() else 140)


def print_json(value: Any) -> None:
    """One document for machines."""
    sys.stdout.write(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def demo_run() -> config.Run:
    """The run of the embedded default."""
    if not DEMO.is_file():
        raise ConfigError(f"{DEMO}: the demo's files are missing", "Run from a checkout, or `make fixtures`.")
    return config.load_run(DEMO)


def read_run(path: Path) -> config.Run:
    """A run file."""
    return config.load_run(path)


def run_job(
    run: config.Run,
    *,
    out: Path | None,
    imagery: Path | None,
    quiet: bool,
    as_json: bool,
    cached_only: bool = False,
) -> bool:
    """Do a run and print what came of it; returns whether a spike or a drop was found."""
    from pipeline.run.job import Job
    from pipeline.run.publish import publish_all

    if out is not None:
        run = run.model_copy(update={"output": out})
    if imagery is not None:
        run = run.model_copy(update={"imagery": run.imagery.model_copy(update={"folder": imagery})})
    progress = Progress(console=Console(stderr=True), transient=True)
    show = sys.stderr.isatty() and not quiet and not log.isEnabledFor(logging.INFO)
    context: AbstractContextManager[Any] = progress if show else nullcontext()
    bars: dict[str, Any] = {}

    def report(what: str, done: int, total: int) -> None:
        log.info("%s: %d of %d", what, done, total)
        if show and total:
            bar = bars.setdefault(what, progress.add_task(what, total=total)) if what not in bars else bars[what]
            progress.update(bar, completed=done, total=total)

    with context:
        job = Job(run, report, cached_only)
        results = job.perform()
        alerts = publish_all(job, results)
    made, reused = sum(job.made.values()), sum(job.reused.values())
    if as_json:
        print_json({"alerts": records(alerts), "made": job.made, "reused": job.reused, "out": str(run.output)})
    elif not quiet:
        _show_run(run, alerts, job.skipped)
        done = f"{made} artefacts made, {reused} reused" if made else f"nothing to do: all {reused} artefacts are up to date"
        console().print(f"\n{done}\nreport    {run.output / 'report.html'}\noverlays  {run.output / 'overlays'}")
        tables = ", ".join(["alerts.json", "calls.json", *(["voyages.json"] if run.routes else [])])
        console().print(f"changes   {run.output / 'changes'}\ntables    {run.output / 'estimates.csv'}, {tables}")
    return any(a.raised for a in alerts)


def _show_run(run: config.Run, alerts: Sequence[Alert], skipped: Sequence[tuple[str, str]]) -> None:
    console().print(_alert_table(run.name, alerts))
    for alert in alerts:
        if alert.raised or alert.verdict == "watch":
            console().print(Text.assemble("\n", (alert.verdict, "bold"), "  ", " ".join(alert.wording)))
    for name, reason in skipped:
        console().print(f"skipped {name}: {reason}", style="yellow")


def _alert_table(title: str, alerts: Sequence[Alert]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in (
        "site",
        "zone",
        "class",
        "date",
        "value",
        "90 %",
        "seen",
        "expected",
        "p",
        "looks",
        "verdict",
    ):
        table.add_column(column)
    for a in alerts:
        e = a.estimate
        value = "-" if e.value is None or e.interval_only else quoted(e)
        interval = e.not_observed if e.value is None else f"{e.low:.0f}-{e.high:.0f}"
        expected, p = ("" if v is None else f"{v:.2g}" for v in (a.expected, a.p))
        style = "bold red" if a.raised else "yellow" if a.verdict == "watch" else ""
        cells = (
            e.site,
            e.zone,
            e.cls,
            f"{e.time:%Y-%m-%d}",
            value,
            interval,
            f"{100 * e.exposure:.0f} %",
            expected,
            p,
        )
        table.add_row(*cells, str(a.looks), a.verdict, style=style)
    return table


def rebuild_report(path: Path, out: Path | None, imagery: Path | None) -> None:
    """Publish a finished run again; refuses when a stage is missing."""
    run_job(config.load_run(path), out=out, imagery=imagery, quiet=False, as_json=False, cached_only=True)


def tell_case(case: str, out: Path, *, quiet: bool) -> None:
    """Judge a published series up to the day its analysts wrote about, and write its chart."""
    from pipeline.activity.cases import story
    from pipeline.activity.judge import judge
    from pipeline.config import ActivitySettings
    from pipeline.review.charts import count_chart, standalone
    from pipeline.review.export import write

    estimates = story(case)
    alerts, every = judge(estimates, ActivitySettings()), judge(estimates, ActivitySettings(), "all")
    chart = write(out / f"{case}.svg", standalone(count_chart(estimates, [*every[:-1], alerts[-1]], f"{case}, published counts")))
    if quiet:
        return
    console().print(_alert_table(f"{case}, published counts", alerts))
    for alert in alerts:
        console().print("\n" + "\n".join(alert.wording))
    console().print(f"\nchart  {chart}")


def list_catalog(folder: Path, out: Path | None, *, as_json: bool) -> None:
    """Scenes of a folder, and the files that cannot be used."""
    from pipeline.imagery.catalog import build_catalog, stac_item
    from pipeline.review.export import to_json, write

    found = build_catalog(config.Imagery(folder=folder))
    if out is not None:
        for scene in found.scenes:
            write(out / f"{scene.id}.json", to_json(stac_item(scene)))
    if as_json:
        skipped = [{"name": s.name, "reason": s.reason} for s in found.skipped]
        print_json({"scenes": [stac_item(s) for s in found.scenes], "skipped": skipped})
        return
    table = Table("scene", "acquired", "sensor", "gsd m", "size px", "crs", title=str(folder), title_justify="left")
    for s in found.scenes:
        table.add_row(
            s.id,
            f"{s.time:%Y-%m-%d %H:%M}",
            s.sensor,
            f"{s.gsd_m:.3g}",
            f"{s.grid.width} x {s.grid.height}",
            s.grid.crs or "pixel",
        )
    console().print(table)
    for skipped_file in found.skipped:
        console().print(f"skipped {skipped_file.reason}", style="yellow")


def judge_table(path: Path, on: datetime | None, *, as_json: bool) -> bool:
    """Judge a table of counts, and say what stood there on a day; returns whether a spike or a drop was found."""
    from pipeline.activity.fusion import stock_on
    from pipeline.activity.judge import judge
    from pipeline.config import ActivitySettings

    estimates = read_counts(path)
    alerts = judge(estimates, ActivitySettings())
    stocks = stock_on(estimates, on.replace(tzinfo=UTC)) if on else []
    if as_json:
        print_json({"alerts": records(alerts), "stocks": [s.record() for s in stocks]} if on else records(alerts))
    else:
        console().print(_alert_table(path.name, alerts))
        for alert in alerts:
            if alert.raised or alert.verdict == "watch":
                console().print("\n" + " ".join(alert.wording))
        for stock in stocks:
            console().print("\n" + stock.sentence())
    return any(a.raised for a in alerts)


def check_files(files: Sequence[Path]) -> None:
    """Check site and run files one by one; the first wrong one ends it."""
    for path in files:
        loaded = config.check(path)
        kind = "run" if isinstance(loaded, config.Run) else "site"
        console().print(f"ok  {path}  ({kind})")


def examine(*, as_json: bool) -> None:
    """Versions, CPU, runtimes, weights, disk."""
    from importlib.metadata import PackageNotFoundError, version

    from models.card import find, find_helpers
    from models.runtime import best_runtime, cpu_flags

    facts: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    for name in (
        "yardwatch",
        "torch",
        "rasterio",
        "numpy",
        "opencv-python-headless",
        "openvino",
        "nncf",
        "distributed",
    ):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")
    facts["cpu"] = " ".join(f for f in wanted if f in cpu_flags()) or "no vector abilities found"
    facts["runtime"] = best_runtime()
    try:
        for card in (*find("default"), *find_helpers()):
            card.verify()
            facts[f"weights {card.name}"] = card.sha256[:16]
    except ModelError as error:
        facts["weights"] = str(error)
    facts["disk free"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB"
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        console().print(f"{key:24} {value}")
