"""The command line: one command per verb, lazy imports; it and the ``*commands.py`` beside it are the only places that print.

Exit codes: 0 fine, 1 an error that the message explains, 2 wrong usage, 3 an alert was found and --fail-on-alert was given.
"""

import logging
import math
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import YardwatchError

EXIT_ERROR, EXIT_ALERT = 1, 3

app = typer.Typer(
    name="yardwatch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Counts containers, railcars and vessels in satellite images, says what changed between two looks and what could not be "
    "seen, and judges whether it is more than the place has ever shown.\n\n"
    "Exit codes: 0 fine, 1 error, 2 usage, 3 alert found with --fail-on-alert.",
)
config_app = typer.Typer(no_args_is_help=True, help="Check configuration files; print their JSON Schema.")
app.add_typer(config_app, name="config")


def _number(value: float | None) -> float | None:
    """Refuse NaN, which no range keeps out: it is neither below nor above."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if missing.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary; warnings, errors and --json still print.")]
Gsd = Annotated[
    float | None,
    typer.Option(help="Metres per pixel, where an image does not say.", min=0.01, max=100, callback=_number),
]
FailOnAlert = Annotated[bool, typer.Option(help="Exit with code 3 when a spike or a drop is found.")]


@app.callback()
def _options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log each step of a run, and what each detector head runs on, to standard error.")
    ] = False,
) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


@app.command()
def demo(
    out: Out = Path("out/demo"),
    case: Annotated[str | None, typer.Option(help="Tell a published case from its published counts: tumangang or rajin.")] = None,
    quiet: Quiet = False,
) -> None:
    """Run the main job on the embedded default: a small port with a rail yard, 16 looks, known truth."""
    from pipeline import commands

    if case is not None:
        commands.tell_case(case, out, quiet=quiet)
    else:
        commands.run_job(commands.demo_run(), out=out, imagery=None, quiet=quiet, as_json=False)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A run file; `yardwatch config schema` lists its keys.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results, instead of the file's.")] = None,
    imagery: Annotated[Path | None, typer.Option(help="Folder of images, instead of the file's.")] = None,
    fail_on_alert: FailOnAlert = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do everything: catalogue, detect, compare, count, judge, report. Resumable; a second run does nothing twice."""
    from pipeline import commands

    raised = commands.run_job(commands.read_run(config), out=out, imagery=imagery, quiet=quiet, as_json=json)
    if raised and fail_on_alert:
        raise typer.Exit(EXIT_ALERT)


@app.command()
def catalog(
    folder: Annotated[Path, typer.Argument(help="Folder of GeoTIFF, COG, PNG or JPEG images.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write one STAC item per scene here.")] = None,
    json: Json = False,
) -> None:
    """List the scenes of a folder with time, sensor and GSD, and the files that cannot be used, with the reason."""
    from pipeline import commands

    commands.list_catalog(folder, out, as_json=json)


@app.command()
def detect(
    image: Annotated[Path, typer.Argument(help="GeoTIFF, COG, PNG or JPEG.")],
    out: Out,
    gsd: Gsd = None,
    model: Annotated[str, typer.Option(help="Shipped name, as yard or hull, or a .safetensors file with its card.")] = "default",
    json: Json = False,
) -> None:
    """Find containers, railcars and vessels in one image: overlay.png, detections.geojson, detections.txt (DOTA form)."""
    from pipeline import image_commands

    image_commands.detect_image(image, out, gsd=gsd, model=model, as_json=json)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="The earlier look.")],
    after: Annotated[Path, typer.Argument(help="The later look.")],
    out: Out,
    gsd: Gsd = None,
    model: Annotated[str, typer.Option(help="Shipped name, as yard or hull, or a .safetensors file with its card.")] = "default",
    json: Json = False,
) -> None:
    """Say what came, went, moved and stayed between two looks, and what could not be seen."""
    from pipeline import image_commands

    image_commands.compare_images(before, after, out, gsd=gsd, model=model, as_json=json)


@app.command()
def tracks(
    image: Annotated[Path, typer.Argument(help="GeoTIFF, COG, PNG or JPEG of a rail yard, 1.25 m per pixel or finer.")],
    out: Out,
    gsd: Gsd = None,
    json: Json = False,
) -> None:
    """Propose track centre lines for a site file: centre_lines.geojson in the image's CRS, tracks.png to choose by."""
    from pipeline import image_commands

    image_commands.propose_tracks(image, out, gsd=gsd, as_json=json)


@app.command()
def series(
    images: Annotated[list[Path], typer.Argument(help="A folder of dated looks of one place, or the images themselves; six or more.")],
    out: Out,
    gsd: Gsd = None,
    min_area: Annotated[
        float, typer.Option(help="Smallest structure that is reported, square metres.", min=1, max=1e6, callback=_number)
    ] = 40.0,
    json: Json = False,
) -> None:
    """Find what was built and stayed over many looks: pits, berms, pads, sheds, each dated by the looks around its first sight.

    Writes series.png (early and late look, outlines coloured by date), series.geojson and series.json. Lorries that come and go, clouds
    and seasons do not count; for single railcars, boxes and ships between two looks use `yardwatch compare`.
    """
    from pipeline import image_commands

    image_commands.watch_series(images, out, gsd=gsd, min_area=min_area, as_json=json)


@app.command()
def spikes(
    counts: Annotated[Path, typer.Argument(help="CSV with the columns date,site,zone,class,value[,low,high,exposure].")],
    on: Annotated[
        datetime | None, typer.Option(help="Say too what stood there on this day (UTC), looked at or not.", formats=["%Y-%m-%d"])
    ] = None,
    fail_on_alert: FailOnAlert = False,
    json: Json = False,
) -> None:
    """Judge the last look of every site, zone and class of a table of counts against its own past. Needs no imagery."""
    from pipeline import commands

    if commands.judge_table(counts, on, as_json=json) and fail_on_alert:
        raise typer.Exit(EXIT_ALERT)


@app.command()
def report(
    config: Annotated[Path, typer.Argument(help="The run file of a finished run.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder of the run, instead of the file's.")] = None,
    imagery: Annotated[Path | None, typer.Option(help="Folder of images, instead of the file's.")] = None,
) -> None:
    """Write the pictures, tables and report of a finished run again; does no detection."""
    from pipeline import commands

    commands.rebuild_report(config, out, imagery)


@config_app.command("check")
def config_check(
    files: Annotated[list[Path], typer.Argument(help="Site or run files.")],
) -> None:
    """Check site and run files; the first mistake of each is named with file, key and remedy."""
    from pipeline import commands

    commands.check_files(files)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of site and run files."""
    import json as json_library

    from pipeline import config

    typer.echo(json_library.dumps(config.json_schema(), indent=2))


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A training recipe, such as configs/train/yard.yaml.")],
    out: Out = Path("out/train"),
    steps: Annotated[int | None, typer.Option(help="Fewer or more steps than the recipe says.", min=1)] = None,
    start: Annotated[str | None, typer.Option(help="Fine-tune: a shipped head, or a .safetensors file with its card.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the recipe's: another start, other batches.")] = None,
) -> None:
    """Train or fine-tune a detector head; resumes from the last checkpoint in the output folder."""
    from pipeline import model_commands

    model_commands.train_head(recipe, out, steps, start, seed)


@app.command()
def evaluate(
    out: Out = Path("out/evaluate"),
    model: Annotated[str, typer.Option(help="Shipped name, as yard or hull, or a .safetensors file with its card.")] = "default",
    imagery: Annotated[
        Path,
        typer.Option(help="Folder of the public test imagery; parts that are absent are skipped, with the reason."),
    ] = Path("../shared/imagery"),
    json: Json = False,
) -> None:
    """Score a detector by GSD on renders and real labelled images; say what was called what, and draw the worst pictures."""
    from pipeline import model_commands

    model_commands.evaluate_model(out, model, imagery, as_json=json)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what this machine can do: versions, CPU abilities, runtimes, weights, disk."""
    from pipeline import commands

    commands.examine(as_json=json)


def main() -> Any:
    """Entry point: errors a user can mend become one line on standard error and exit code 1."""
    try:
        return app()
    except YardwatchError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(EXIT_ERROR) from error
