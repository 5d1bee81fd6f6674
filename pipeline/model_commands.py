"""What the commands on models do: train a head, score one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from pipeline.commands import ROOT, console, print_json
from pipeline.config import YAML_ERRORS, yaml_problem
from pipeline.errors import ConfigError

JUDGED_ZOOM = 2.0
"""Of judged pictures over the working GSD: a box is 16 px wide."""


def train_head(recipe: Path, out: Path, steps: int | None, start: str | None, seed: int | None) -> None:
    """Train, then write weights and card."""
    import logging

    from models.evaluate import evaluate
    from models.publish import calibrate, publish_head, record
    from models.recipe import Recipe
    from models.train import train

    logging.getLogger("models").setLevel(logging.INFO)
    logging.basicConfig(level=logging.INFO)
    try:
        plan = Recipe.read(recipe)
        plan = plan if seed is None else replace(plan, seed=seed)
    except (OSError, TypeError, *YAML_ERRORS) as error:
        raise ConfigError(f"{recipe}: is not a training recipe ({yaml_problem(error)})", "See configs/train/.") from error
    weights = [train(plan, out / plan.name, steps, start, member) for member in range(len(plan.nets))]
    card = publish_head(plan, weights, out)
    calibrate(card)
    model = str(card.with_suffix(".safetensors"))
    scores, _ = evaluate(model, plan.imagery)
    record(card, _with_coverage(scores["rows"], model))
    console().print(f"weights  {model}\ncard     {card}")


def evaluate_model(out: Path, model: str, imagery: Path, *, as_json: bool) -> None:
    """Score a model on renders and on labelled pictures that are present; draw the worst of the pictures that were judged."""
    from models.evaluate import evaluate
    from models.judged import judge_all
    from pipeline.review import overlay
    from pipeline.review.export import to_json, write
    from pipeline.review.sheet import CELLS, draw_case, draw_sheet

    scores, worst = evaluate(model, imagery, CELLS)
    rows, skipped, judged = judge_all(model, ROOT / "fixtures" / "labels", imagery)
    scores = {**scores, "rows": _with_coverage(scores["rows"] + rows, model), "skipped": scores["skipped"] + skipped}
    write(out / "scores.json", to_json(scores))
    write(out / "worst.png", overlay.png(draw_sheet(worst)))
    for case in judged:
        write(out / "judged" / f"{case.where}.png", overlay.png(draw_case(case, JUDGED_ZOOM)[0]))
    if as_json:
        print_json(scores)
        return
    _show_scores(scores)
    console().print(f"scores  {out / 'scores.json'}\nworst   {out / 'worst.png'}\njudged  {out / 'judged'}: {len(judged)} pictures")


def _with_coverage(rows: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    """Figures with ``held``: the share of pictures whose 90 % interval of the count holds the truth; of sets of several pictures."""
    from models.card import find
    from pipeline.activity.counted import calibration_for, held

    bins = [c for card in find(model) for c in card.calibration]
    told = []
    for row in rows:
        rates, _ = calibration_for(bins, row["class"], row["gsd_m"])
        several = len(row.get("counts", ())) > 1
        told.append({**row, "held": round(held(row["counts"], rates), 4) if several else None})
    return told


def _show_scores(scores: dict[str, Any]) -> None:
    mixed = Table("set", "gsd m", "labelled", "called", "number", title="what was called what", title_justify="left")
    for entry in scores["confusion"]:
        mixed.add_row(entry["set"], f"{entry['gsd_m']:g}", entry["labelled"], entry["called"], str(entry["number"]))
    console().print(mixed)
    figures = ("precision", "recall", "AP30", "AP50", "count error", "MAPE", "length m", "held")
    table = Table("set", "class", "gsd m", "objects", "found", *figures)
    for row in scores["rows"]:
        cells = (row["set"], row["class"], f"{row['gsd_m']:g}", str(row["objects"]), str(row["found"]))
        rates = ("-" if row[k] is None else f"{row[k]:.3f}" for k in ("precision", "recall", "ap", "ap50"))
        error = "-" if row["count_error"] is None else f"{row['count_error']:+.1%}"
        mape, held = ("-" if row[k] is None else f"{row[k]:.0%}" for k in ("mape", "held"))
        table.add_row(*cells, *rates, error, mape, "-" if row["length_error_m"] is None else f"{row['length_error_m']:.1f}", held)
    console().print(table)
    for reason in scores["skipped"]:
        console().print(f"skipped {reason}", style="yellow")
