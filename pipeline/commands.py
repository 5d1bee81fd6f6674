"""What each command does; the command line's back room, and with it the only place that prints."""

import json
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

from pipeline import config
from pipeline.activity.records import Alert
from pipeline.activity.tables import read_counts, records
from pipeline.config import SceneMetadata
from pipeline.errors import ConfigError, ModelError
from pipeline.imagery.scene import Scene

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "fixtures" / "demo" / "run.yaml"


def _console() -> Console:
    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else 140)


def _print_json(value: Any) -> None:
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
    show = sys.stderr.isatty() and not quiet
    context: AbstractContextManager[Any] = progress if show else nullcontext()
    bars: dict[str, Any] = {}

    def report(what: str, done: int, total: int) -> None:
        if show and total:
            bar = bars.setdefault(what, progress.add_task(what, total=total)) if what not in bars else bars[what]
            progress.update(bar, completed=done, total=total)

    with context:
        job = Job(run, report, cached_only)
        results = job.perform()
        alerts = publish_all(job, results)
    made, reused = sum(job.made.values()), sum(job.reused.values())
    if as_json:
        _print_json({"alerts": records(alerts), "made": job.made, "reused": job.reused, "out": str(run.output)})
    elif not quiet:
        _show_run(run, alerts, job.skipped)
        done = f"{made} artefacts made, {reused} reused" if made else f"nothing to do: all {reused} artefacts are up to date"
        _console().print(f"\n{done}\nreport    {run.output / 'report.html'}\noverlays  {run.output / 'overlays'}")
        _console().print(f"changes   {run.output / 'changes'}\ntables    {run.output / 'estimates.csv'}, alerts.json, calls.json")
    return any(a.raised for a in alerts)


def _show_run(run: config.Run, alerts: Sequence[Alert], skipped: Sequence[tuple[str, str]]) -> None:
    console = _console()
    console.print(_alert_table(run.name, alerts))
    for alert in alerts:
        if alert.raised or alert.verdict == "watch":
            console.print(f"\n[bold]{alert.verdict}[/bold]  " + " ".join(alert.wording))
    for name, reason in skipped:
        console.print(f"skipped {name}: {reason}", style="yellow", markup=False)


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
        value = "-" if e.value is None else f"{e.value:.0f}"
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


def rebuild_report(path: Path, out: Path | None) -> None:
    """Publish a finished run again; refuses when a stage is missing."""
    run_job(config.load_run(path), out=out, imagery=None, quiet=False, as_json=False, cached_only=True)


def tell_case(case: str, out: Path) -> None:
    """Judge a published series up to the day its analysts wrote about, and write its chart."""
    from pipeline.activity.cases import story
    from pipeline.activity.judge import judge
    from pipeline.config import ActivitySettings
    from pipeline.review.charts import count_chart, standalone
    from pipeline.review.export import write

    estimates = story(case)
    alerts, every = judge(estimates, ActivitySettings()), judge(estimates, ActivitySettings(), "all")
    chart = write(out / f"{case}.svg", standalone(count_chart(estimates, [*every[:-1], alerts[-1]], f"{case}, published counts")))
    _console().print(_alert_table(f"{case}, published counts", alerts))
    for alert in alerts:
        _console().print("\n" + "\n".join(alert.wording))
    _console().print(f"\nchart  {chart}")


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
        _print_json({"scenes": [stac_item(s) for s in found.scenes], "skipped": skipped})
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
    _console().print(table)
    for skipped_file in found.skipped:
        _console().print(f"skipped {skipped_file.reason}", style="yellow", markup=False)


def detect_image(image: Path, out: Path, *, gsd: float | None, model: str, as_json: bool) -> None:
    """Overlay, GeoJSON and DOTA text of one image."""
    import models
    from pipeline.config import DetectionSettings
    from pipeline.detection.scene import detect_scene
    from pipeline.imagery.clouds import observe
    from pipeline.imagery.metadata import open_scene
    from pipeline.imagery.tiles import read_decimated
    from pipeline.review import export, overlay

    scene = open_scene(image, SceneMetadata(gsd_m=gsd), need_time=False)
    found = detect_scene(scene, models.load(model), DetectionSettings())
    factor = max(1.0, max(scene.grid.width, scene.grid.height) / 2400)
    picture = overlay.draw_overlay(read_decimated(scene, factor), factor, scene, found.detections, (), observe(scene))
    export.write(out / "overlay.png", overlay.png(picture))
    features = export.detection_features(scene, found.detections)
    export.write(out / "detections.geojson", export.collection(features, scene.grid.crs, scene=scene.id))
    export.write(out / "detections.txt", export.dota(found.detections))
    counts, raw = found.detections.counts(), found.raw_counts()
    if as_json:
        _print_json({"scene": scene.id, "gsd_m": scene.gsd_m, "counts": counts, "raw_counts": raw, "skipped": found.skipped})
        return
    for name, number in counts.items():
        before = f"  ({raw[name]} boxes before the structure of strings was asked)" if raw[name] != number else ""
        _console().print(f"{name:10} {number}{before}")
    for reason in found.skipped.values():
        _console().print(f"not counted: {reason}", style="yellow", markup=False)
    _console().print(f"overlay    {out / 'overlay.png'}")


def compare_images(before: Path, after: Path, out: Path, *, gsd: float | None, model: str, as_json: bool) -> None:
    """Change raster, change features and picture of two looks."""
    import models
    from models import CLASSES
    from pipeline.change.objects import counts
    from pipeline.change.pair import compare
    from pipeline.change.records import Kind
    from pipeline.config import ChangeSettings, DetectionSettings
    from pipeline.detection.scene import detect_scene
    from pipeline.imagery.clouds import observe
    from pipeline.imagery.metadata import open_scene
    from pipeline.review import export, overlay

    scenes = tuple(open_scene(p, SceneMetadata(gsd_m=gsd), need_time=False) for p in (before, after))
    heads = models.load(model)
    found = tuple(detect_scene(s, heads, DetectionSettings()) for s in scenes)
    pair = (scenes[0], scenes[1])
    change = compare(pair, (found[0], found[1]), (observe(pair[0]), observe(pair[1])), ChangeSettings())
    gsd_m = pair[0].gsd_m * change.grid.pixel_size()[0] / pair[0].grid.pixel_size()[0]
    both, _ = overlay.draw_pair((change.before, change.after), (change.before_boxes, change.after_boxes), change.objects, pair, gsd_m)
    export.write(out / "change.png", overlay.png(both))
    export.write(out / "change.tif", lambda path: export.change_cog(path, change.change))
    features = export.change_features(change.grid, (change.before_boxes, change.after_boxes), change.objects)
    export.write(out / "changes.geojson", export.collection(features, change.grid.crs))
    a, tally = change.alignment, counts(change.objects)
    if as_json:
        alignment = {k: getattr(a, k) for k in ("dx_px", "dy_px", "residual_px", "reliability", "applied", "reason")}
        _print_json({"alignment": alignment, "counts": tally})
        return
    state = "applied" if a.applied else "not applied"
    _console().print(f"shift dx {a.dx_px:.2f} dy {a.dy_px:.2f} px, residual {a.residual_px:.2f} px, {state}: {a.reason}")
    table = Table("class", *(k.name.lower() for k in Kind))
    for name in CLASSES:
        table.add_row(name, *(str(tally[name][k.name.lower()]) for k in Kind))
    _console().print(table)
    _console().print(f"picture  {out / 'change.png'}")


def propose_tracks(image: Path, out: Path, *, gsd: float | None, as_json: bool) -> None:
    """Track centre lines of one image, as a site file wants them, with a numbered picture."""
    from pipeline.activity.centre_lines import search
    from pipeline.imagery.metadata import open_scene
    from pipeline.review import export, overlay
    from pipeline.review.lines import centre_line_feature, draw_lines

    scene = open_scene(image, SceneMetadata(gsd_m=gsd), need_time=False)
    tile, lines = search(scene)
    points = [line.points for line in lines]
    export.write(out / "tracks.png", overlay.png(draw_lines(tile, points)))
    feature = centre_line_feature(tile.grid, points, tile.grid.pixel_size()[0] / scene.grid.pixel_size()[0] * scene.gsd_m)
    export.write(out / "centre_lines.geojson", export.collection([feature], scene.grid.crs, crs_of_coordinates=scene.grid.crs))
    rows = [{"line": i, "length_m": round(line.length_m), "strength": round(line.strength, 2)} for i, line in enumerate(lines, start=1)]
    if as_json:
        _print_json({"scene": scene.id, "gsd_m": scene.gsd_m, "lines": rows})
        return
    table = Table("line", "length m", "strength", title=f"{len(rows)} proposed, strongest first", title_justify="left")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    _console().print(table)
    _console().print("Roads and walls are proposed too: keep the tracks, and name the file in the zone's centre_lines.")
    _console().print(f"lines    {out / 'centre_lines.geojson'}\npicture  {out / 'tracks.png'}")


def watch_series(images: Sequence[Path], out: Path, *, gsd: float | None, min_area: float, as_json: bool) -> None:
    """What was built over a series of looks: picture, features, summary."""
    from pipeline.change.series import find_built, stack_looks
    from pipeline.config import ChangeSettings
    from pipeline.imagery.clouds import observe
    from pipeline.review import export, growth, overlay

    scenes, skipped = _looks_of(images, gsd)
    settings = ChangeSettings(min_area_m2=min_area)
    stack = stack_looks(scenes, [observe(s) for s in scenes], settings)
    found = find_built(stack, settings.min_area_m2)
    summary = growth.growth_summary(stack, found)
    summary["skipped"] += [{"scene": name, "reason": reason} for name, reason in skipped]
    export.write(out / "series.png", overlay.png(growth.draw_growth(stack, found, scenes[-1])))
    export.write(out / "series.geojson", export.collection(growth.growth_features(stack, found), stack.grid.crs))
    export.write(out / "series.json", export.to_json(summary))
    if as_json:
        _print_json(summary)
        return
    table = Table("between", "new structures", "m2")
    for span, number, area in growth.by_interval(stack, found.built):
        table.add_row(span, str(number), f"{area:.0f}")
    _console().print(table)
    seen = f"{len(stack.names)} looks, {100 * found.observed:.0f} % of the ground seen often enough"
    _console().print(f"{len(found.built)} new structures ({found.low} to {found.high}); {seen}")
    for entry in summary["skipped"]:
        _console().print(f"not used: {entry['scene']}: {entry['reason']}", style="yellow", markup=False)
    _console().print(f"picture  {out / 'series.png'}")


def _looks_of(images: Sequence[Path], gsd: float | None) -> tuple[list[Scene], list[tuple[str, str]]]:
    """Scenes in order of time, of a folder or of single files; and what of a folder cannot be used."""
    from pipeline.imagery.catalog import build_catalog
    from pipeline.imagery.metadata import open_scene

    scenes: list[Scene] = []
    skipped: list[tuple[str, str]] = []
    for path in images:
        if path.is_dir():
            catalog = build_catalog(config.Imagery(folder=path, defaults=SceneMetadata(gsd_m=gsd)))
            scenes += catalog.scenes
            skipped += [(s.name, s.reason) for s in catalog.skipped]
        else:
            scenes.append(open_scene(path, SceneMetadata(gsd_m=gsd)))
    return sorted(scenes, key=lambda s: (s.time, s.id)), skipped


def judge_table(path: Path, on: datetime | None, *, as_json: bool) -> bool:
    """Judge a table of counts, and say what stood there on a day; returns whether a spike or a drop was found."""
    from pipeline.activity.fusion import stock_on
    from pipeline.activity.judge import judge
    from pipeline.config import ActivitySettings

    estimates = read_counts(path)
    alerts = judge(estimates, ActivitySettings())
    stocks = stock_on(estimates, on.replace(tzinfo=UTC)) if on else []
    if as_json:
        _print_json({"alerts": records(alerts), "stocks": [s.record() for s in stocks]} if on else records(alerts))
    else:
        _console().print(_alert_table(path.name, alerts))
        for alert in alerts:
            if alert.raised or alert.verdict == "watch":
                _console().print("\n" + " ".join(alert.wording))
        for stock in stocks:
            _console().print("\n" + stock.sentence())
    return any(a.raised for a in alerts)


def check_files(files: Sequence[Path]) -> None:
    """Check site and run files one by one; the first wrong one ends it."""
    for path in files:
        loaded = config.check(path)
        kind = "run" if isinstance(loaded, config.Run) else "site"
        _console().print(f"ok  {path}  ({kind})", markup=False)


def train_head(recipe: Path, out: Path, steps: int | None) -> None:
    """Train, then write weights and card."""
    import logging

    from models.evaluate import evaluate
    from models.train import Recipe, calibrate, publish_head, train

    logging.getLogger("models").setLevel(logging.INFO)
    logging.basicConfig(level=logging.INFO)
    try:
        plan = Recipe.read(recipe)
    except (OSError, TypeError, KeyError) as error:
        raise ConfigError(f"{recipe}: is not a training recipe ({error})", "See configs/train/.") from error
    weights = train(plan, out / plan.name, steps)
    card = publish_head(plan, weights, out)
    calibrate(card, evaluate(str(card.with_suffix(".safetensors")), plan.imagery))
    _console().print(f"weights  {weights}\ncard     {card}")


def evaluate_model(out: Path, model: str, imagery: Path, *, as_json: bool) -> None:
    """Score a model on renders and on labelled pictures that are present."""
    from models.evaluate import evaluate
    from models.judged import judge_all
    from pipeline.review.export import to_json, write

    scores = evaluate(model, imagery)
    rows, skipped = judge_all(model, ROOT / "fixtures" / "labels", imagery)
    scores = {**scores, "rows": scores["rows"] + rows, "skipped": scores["skipped"] + skipped}
    write(out / "scores.json", to_json(scores))
    if as_json:
        _print_json(scores)
        return
    table = Table("set", "class", "gsd m", "objects", "found", "precision", "recall", "AP30", "count error")
    for row in scores["rows"]:
        cells = (row["set"], row["class"], f"{row['gsd_m']:g}", str(row["objects"]), str(row["found"]))
        rates = ("-" if row[k] is None else f"{row[k]:.3f}" for k in ("precision", "recall", "ap"))
        table.add_row(*cells, *rates, "-" if row["count_error"] is None else f"{row['count_error']:+.1%}")
    _console().print(table)
    for reason in scores["skipped"]:
        _console().print(f"skipped {reason}", style="yellow", markup=False)
    _console().print(f"scores  {out / 'scores.json'}")


def examine(*, as_json: bool) -> None:
    """Versions, CPU, runtimes, weights, disk."""
    from importlib.metadata import PackageNotFoundError, version

    from models.card import find
    from models.runtime import best_runtime, cpu_flags

    facts: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    for name in (
        "yardwatch",
        "torch",
        "rasterio",
        "numpy",
        "opencv-python-headless",
        "openvino",
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
        for card in find("default"):
            card.verify()
            facts[f"weights {card.name}"] = card.sha256[:16]
    except ModelError as error:
        facts["weights"] = str(error)
    facts["disk free"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB"
    if as_json:
        _print_json(facts)
        return
    for key, value in facts.items():
        _console().print(f"{key:24} {value}", markup=False)
