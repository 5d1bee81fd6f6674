"""Tables and rasters out. Each file is written under a temporary name and renamed; the same values give the same bytes."""

import csv
import filecmp
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from shapely import transform
from shapely.geometry import mapping, shape
from shapely.geometry.polygon import orient

from models import CLASSES, SUBTYPES, Detections
from models import boxes as ob
from models.detector import Flag
from pipeline.activity.records import Estimate
from pipeline.activity.zonal import ZoneChange
from pipeline.change.look import Look
from pipeline.change.patches import Patch
from pipeline.change.records import ChangeMap, Kind, ObjectChanges
from pipeline.errors import StoreError
from pipeline.grid import Grid
from pipeline.imagery.scene import Scene

ESTIMATE_COLUMNS = (
    "site", "zone", "zone_version", "class", "time", "value", "low", "high", "exposure", "estimator", "unit", "raw",
    "interval_only", "lower_bound", "not_observed", "gsd_m", "scenes",
)  # fmt: skip


PART = ".part-"
"""How the names of unfinished files and folders begin; the process that makes them follows: `sweep` leaves a live one's alone."""


def part_prefix() -> str:
    """For the temporary names of this process."""
    return f"{PART}{os.getpid()}-"


def sweep(parts: Iterable[Path]) -> int:
    """Remove those of the unfinished files and folders that dead processes left; returns their number."""
    left = [p for p in parts if not _in_progress(p)]
    for path in left:
        with suppress(OSError):  # what cannot be removed stays
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return len(left)


def _in_progress(part: Path) -> bool:
    """Whether the process named in a temporary name lives; signal 0 asks and does nothing."""
    try:
        os.kill(int(part.name.removeprefix(PART).split("-")[0]), 0)
    except PermissionError:  # it lives, and is somebody else's
        return True
    except (ProcessLookupError, OverflowError, ValueError):  # the last two: no name of ours, or one of an earlier version
        return False
    return True


def write(path: Path, content: bytes | str | Path | Callable[[Path], None]) -> Path:
    """Write a file atomically, or copy one there; a file that holds the same bytes already is left alone.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=part_prefix(), suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            _fill(temporary, content)
            if not (path.is_file() and filecmp.cmp(temporary, path, shallow=False)):
                temporary.chmod(0o644)  # temporary files are private; a result is meant to be read
                temporary.replace(path)
        finally:  # gone already when it was renamed
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})", "Choose another --out.") from error
    return path


def _fill(path: Path, content: bytes | str | Path | Callable[[Path], None]) -> None:
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    elif callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def estimates_csv(estimates: Sequence[Estimate]) -> str:
    """Every estimate, one row each, ordered by site, zone, class and time."""
    out = StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(ESTIMATE_COLUMNS)
    for e in sorted(estimates, key=lambda e: (e.site, e.zone, e.zone_version, e.cls, e.time)):
        numbers = ["" if v is None else f"{v:.2f}" for v in (e.value, e.low, e.high, e.exposure)]
        gsd = "" if e.gsd_m is None else f"{e.gsd_m:.3g}"
        raw = "" if e.raw is None else e.raw
        rows.writerow(
            [e.site, e.zone, e.zone_version, e.cls, e.time.isoformat(), *numbers, e.estimator, e.unit, raw,
             int(e.interval_only), int(e.lower_bound), e.not_observed, gsd, " ".join(e.scene_ids)]
        )  # fmt: skip
    return out.getvalue()


def zone_changes_csv(changes: Sequence[ZoneChange]) -> str:
    """One row per compared pair, zone and class: objects by fate, and the difference of the counts where both looks saw the zone."""
    out = StringIO()
    rows = csv.writer(out, lineterminator="\n")
    fates = [k.name.lower() for k in Kind]
    rows.writerow(["site", "zone", "class", "before", "after", *fates, "difference", "low", "high"])
    for c in changes:
        numbers = ["" if v is None else f"{v:.2f}" for v in (c.difference, c.low, c.high)]
        rows.writerow([c.site, c.zone, c.cls, c.before, c.after, *(c.fates[f] for f in fates), *numbers])
    return out.getvalue()


def to_json(value: Any) -> str:
    """Sorted, indented JSON; NaN is refused."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def dota(detections: Detections) -> str:
    """``x1 y1 x2 y2 x3 y3 x4 y4 class score``, source pixels, best first."""
    rows = [
        " ".join(f"{v:.2f}" for v in ring.ravel()) + f" {CLASSES[c]} {s:.4f}\n"
        for ring, c, s in zip(ob.corners(detections.boxes), detections.classes, detections.scores, strict=True)
    ]
    return "".join(rows)


def lonlat(geometry: Mapping[str, Any], crs: str | None) -> dict[str, Any]:
    """A geometry in RFC 7946 form: WGS84 lon/lat, counter-clockwise rings, cut at the antimeridian; pixels stay as they are."""
    if crs is None:
        return dict(mapping(shape(dict(geometry))))
    from rasterio.warp import transform_geom

    moved = shape(transform_geom(crs, "EPSG:4326", geometry, antimeridian_cutting=True, precision=7))
    parts = [orient(p) for p in getattr(moved, "geoms", [moved])]
    return (
        dict(mapping(parts[0]))
        if len(parts) == 1
        else {"type": "MultiPolygon", "coordinates": [mapping(p)["coordinates"] for p in parts]}
    )


def collection(features: Sequence[Mapping[str, Any]], crs: str | None, **members: Any) -> str:
    """A FeatureCollection; without a CRS it says that its coordinates are pixels, since RFC 7946 knows only lon/lat."""
    frame = {} if crs is not None else {"coordinate_frame": "pixels, x right, y down; not RFC 7946"}
    return json.dumps({"type": "FeatureCollection", **frame, **members, "features": list(features)}, sort_keys=True) + "\n"


def detection_features(scene: Scene, detections: Detections) -> list[dict[str, Any]]:
    """One feature per object: class, subtype, flags, score, length and width in metres."""
    rings = scene.grid.to_map(ob.corners(detections.boxes).reshape(-1, 2)).reshape(-1, 4, 2)
    features = []
    for i, ring in enumerate(rings):
        geometry = {"type": "Polygon", "coordinates": [[[float(x), float(y)] for x, y in (*ring, ring[0])]]}
        features.append(
            {
                "type": "Feature",
                "geometry": lonlat(geometry, scene.grid.crs),
                "properties": _properties(scene, detections, i),
            }
        )
    return features


def _properties(scene: Scene, d: Detections, i: int) -> dict[str, Any]:
    name = CLASSES[d.classes[i]]
    known: dict[str, Any] = {
        "class": name,
        "score": round(float(d.scores[i]), 4),
        "length_m": round(float(d.boxes[i, 2]) * scene.gsd_m, 1),
        "width_m": round(float(d.boxes[i, 3]) * scene.gsd_m, 1),
    }
    if name == "railcar":
        known["subtype"] = SUBTYPES[d.subtypes[i]]
    flags = [str(f.name).lower() for f in Flag if f and int(d.flags[i]) & f]
    return known | ({"flags": flags} if flags else {})


def detections_parquet(path: Path, rows: Sequence[tuple[Scene, Detections, Sequence[str]]], *, objects: bool) -> None:
    """GeoParquet in the native CRS of the first scene: scene, time, class, subtype, flags, score, zone, geometry.

    All scenes have a CRS, or none has. Without `objects` the geometry of every row is empty: what was where inside a zone stays out
    of shareable files.
    """
    import geopandas as gpd
    from shapely import Polygon

    columns: dict[str, list[Any]] = {k: [] for k in ("scene", "time", "class", "subtype", "flags", "score", "zone", "geometry")}
    crs = rows[0][0].grid.crs if rows else None
    for scene, d, zones in rows:
        rings = scene.grid.to_map(ob.corners(d.boxes).reshape(-1, 2)).reshape(-1, 4, 2)
        shapes: list[Any] = [Polygon(r) for r in rings] if objects and len(d) else [Polygon()] * len(d)
        found = gpd.GeoSeries(shapes, crs=scene.grid.crs)
        columns["geometry"] += list(found.to_crs(crs) if scene.grid.crs != crs else found)
        columns["scene"] += [scene.id] * len(d)
        columns["time"] += [scene.acquired] * len(d)
        columns["class"] += [CLASSES[c] for c in d.classes]
        columns["subtype"] += [SUBTYPES[s] for s in d.subtypes]
        columns["flags"] += [int(f) for f in d.flags]
        columns["score"] += [float(s) for s in d.scores]
        columns["zone"] += list(zones)
    gpd.GeoDataFrame(columns, geometry="geometry", crs=crs).to_parquet(path)


def change_features(grid: Grid, looks: tuple[Look, Look], objects: ObjectChanges) -> list[dict[str, Any]]:
    """One feature per row of the table of fates: kind, class, metres moved, reason."""
    rings = [grid.to_map(ob.corners(look.boxes).reshape(-1, 2)).reshape(-1, 4, 2) for look in looks]
    features = []
    for row in range(len(objects)):
        before, after = int(objects.before[row]), int(objects.after[row])
        ring = rings[1][after] if after >= 0 else rings[0][before]
        geometry = {"type": "Polygon", "coordinates": [[[float(x), float(y)] for x, y in (*ring, ring[0])]]}
        properties = {
            "kind": Kind(objects.kind[row]).name.lower(),
            "class": CLASSES[objects.classes[row]],
            "moved_m": round(float(objects.moved_m[row]), 1),
            "reason": objects.reason[row],
        }
        features.append({"type": "Feature", "geometry": lonlat(geometry, grid.crs), "properties": properties})
    return features


def patch_features(grid: Grid, patches: Sequence[Patch]) -> list[dict[str, Any]]:
    """One feature per patch of pixel change: area, and whether the view alone may have made it."""
    features = []
    for patch in patches:
        geometry = mapping(transform(patch.outline, grid.to_map))
        properties = {"area_m2": patch.area_m2, "view": patch.view}
        features.append({"type": "Feature", "geometry": lonlat(geometry, grid.crs), "properties": properties})
    return features


def change_cog(path: Path, change: ChangeMap) -> None:
    """Score (band 1) and changed 0/1 (band 2) as a Cloud Optimized GeoTIFF; -1 where not observed in both looks."""
    bands = np.stack([change.score, change.changed.astype(np.float32)])
    bands[:, ~change.valid] = -1.0
    options = {
        "driver": "COG",
        "compress": "deflate",
        "predictor": "yes",
        "dtype": "float32",
        "count": 2,
        "nodata": -1.0,
    }
    place = {"crs": change.grid.crs, "transform": rasterio.Affine(*change.grid.transform)} if change.grid.crs else {}
    with rasterio.open(path, "w", height=change.grid.height, width=change.grid.width, **options, **place) as target:
        target.write(bands)
        target.set_band_description(1, "score")
        target.set_band_description(2, "changed")
        target.update_tags(NULL=change.null, THRESHOLD=f"{change.threshold:.4f}")
