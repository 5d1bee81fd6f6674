"""Artefacts on disk: npz for arrays (fixed timestamps, so the same arrays give the same bytes), JSON for records."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from models import Detections
from pipeline.activity.records import Alert, Estimate
from pipeline.change.records import Alignment, ObjectChanges
from pipeline.detection.scene import SceneDetections
from pipeline.grid import Grid
from pipeline.imagery.observed import Observed
from pipeline.review.export import to_json


def save_detections(folder: Path, detections: Detections, skipped: Mapping[str, str]) -> None:
    """``detections.npz`` and ``heads.json`` (heads that refused the image, with the reason)."""
    np.savez(folder / "detections.npz", **{f.name: getattr(detections, f.name) for f in fields(detections)})
    write_json(folder / "heads.json", dict(skipped))


def save_found(folder: Path, found: SceneDetections) -> None:
    """As `save_detections`, and ``weak.npz`` and ``thresholds.json``: what a pair of looks asks for."""
    save_detections(folder, found.detections, found.skipped)
    np.savez(folder / "weak.npz", **{f.name: getattr(found.weak, f.name) for f in fields(found.weak)})
    write_json(folder / "thresholds.json", found.thresholds)


def load_found(folder: Path) -> SceneDetections:
    """The inverse of `save_found`."""
    with np.load(folder / "weak.npz") as data:
        weak = Detections(**{name: data[name] for name in data.files})
    heads, thresholds = (read_json(folder / f"{name}.json") for name in ("heads", "thresholds"))
    return SceneDetections(load_detections(folder), heads, weak, thresholds)


def load_detections(folder: Path) -> Detections:
    """The inverse of `save_detections`."""
    with np.load(folder / "detections.npz") as data:
        return Detections(**{name: data[name] for name in data.files})


def save_observed(folder: Path, observed: Observed) -> None:
    """``observed.npz``: state, grid and factor."""
    grid = observed.grid
    np.savez(
        folder / "observed.npz",
        state=observed.state,
        transform=np.array(grid.transform),
        crs=np.array(grid.crs or ""),
        factor=np.array(observed.factor),
    )


def load_observed(folder: Path) -> Observed:
    """The inverse of `save_observed`."""
    with np.load(folder / "observed.npz") as data:
        state = data["state"]
        a, b, c, d, e, f = (float(v) for v in data["transform"])
        grid = Grid(state.shape[1], state.shape[0], (a, b, c, d, e, f), str(data["crs"]) or None)
        return Observed(state, grid, float(data["factor"]))


def alignment_record(alignment: Alignment) -> dict[str, Any]:
    """An alignment as JSON-able values."""
    return asdict(alignment) | {"matrix": alignment.matrix.tolist()}


def alignment_from(record: Mapping[str, Any]) -> Alignment:
    """The inverse of `alignment_record`."""
    return Alignment(**{**record, "matrix": np.array(record["matrix"], np.float64)})


def save_objects(folder: Path, objects: ObjectChanges) -> None:
    """``objects.npz``: the rows of the table of fates."""
    rows = {f.name: getattr(objects, f.name) for f in fields(objects) if f.name != "reason"}
    np.savez(folder / "objects.npz", reason=np.array(objects.reason, dtype=np.str_), **rows)


def load_objects(folder: Path) -> ObjectChanges:
    """The inverse of `save_objects`."""
    with np.load(folder / "objects.npz") as data:
        rows = {name: data[name] for name in data.files if name != "reason"}
        return ObjectChanges(reason=tuple(str(r) for r in data["reason"]), **rows)


def estimate_record(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON-able values, time in ISO 8601."""
    return asdict(estimate) | {"time": estimate.time.isoformat(), "scene_ids": list(estimate.scene_ids)}


def estimate_from(record: Mapping[str, Any]) -> Estimate:
    """The inverse of `estimate_record`."""
    return Estimate(
        **{
            **record,
            "time": datetime.fromisoformat(record["time"]),
            "scene_ids": tuple(record["scene_ids"]),
        }
    )


def alert_record(alert: Alert) -> dict[str, Any]:
    """An alert as JSON-able values, its estimate nested."""
    rest = {f.name: getattr(alert, f.name) for f in fields(alert) if f.name != "estimate"}
    return rest | {
        "estimate": estimate_record(alert.estimate),
        "wording": list(alert.wording),
        "evidence": list(alert.evidence),
    }


def alert_from(record: Mapping[str, Any]) -> Alert:
    """The inverse of `alert_record`."""
    return Alert(
        **{
            **record,
            "estimate": estimate_from(record["estimate"]),
            "wording": tuple(record["wording"]),
            "evidence": tuple(record["evidence"]),
        }
    )


def write_json(path: Path, value: Any) -> None:
    """As `to_json`."""
    path.write_text(to_json(value), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Parsed JSON of a file."""
    return json.loads(path.read_text(encoding="utf-8"))
