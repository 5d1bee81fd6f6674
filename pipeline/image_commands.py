"""What the commands on images do that need no run file: one image, a pair, a series."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pipeline import config
from pipeline.commands import console, print_json
from pipeline.config import SceneMetadata
from pipeline.imagery.scene import Scene


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
        print_json({"scene": scene.id, "gsd_m": scene.gsd_m, "counts": counts, "raw_counts": raw, "skipped": found.skipped})
        return
    for name, number in counts.items():
        before = f"  ({raw[name]} boxes before the structure of strings was asked)" if raw[name] != number else ""
        console().print(f"{name:10} {number}{before}")
    for reason in found.skipped.values():
        console().print(f"not counted: {reason}", style="yellow")
    console().print(f"overlay    {out / 'overlay.png'}")


def compare_images(before: Path, after: Path, out: Path, *, gsd: float | None, model: str, as_json: bool) -> None:
    """Change raster, change features and picture of two looks."""
    import models
    from models import CLASSES
    from pipeline.change.objects import counts
    from pipeline.change.pair import compare
    from pipeline.change.patches import patch_summary, patch_words
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
    export.write(out / "patches.geojson", export.collection(export.patch_features(change.grid, change.patches), change.grid.crs))
    a, tally = change.alignment, counts(change.objects)
    if as_json:
        alignment = {k: getattr(a, k) for k in ("dx_px", "dy_px", "residual_px", "reliability", "applied", "reason")}
        print_json({"alignment": alignment, "counts": tally, "patches": patch_summary(change.patches)})
        return
    state = "applied" if a.applied else "not applied"
    console().print(f"shift dx {a.dx_px:.2f} dy {a.dy_px:.2f} px, residual {a.residual_px:.2f} px, {state}: {a.reason}")
    table = Table("class", *(k.name.lower() for k in Kind))
    for name in CLASSES:
        table.add_row(name, *(str(tally[name][k.name.lower()]) for k in Kind))
    console().print(table)
    console().print(patch_words(patch_summary(change.patches)))
    console().print(f"picture  {out / 'change.png'}")


def propose_tracks(image: Path, out: Path, *, gsd: float | None, as_json: bool) -> None:
    """Track centre lines of one image, as a site file wants them, with a numbered picture."""
    from pipeline.activity.centre_lines import search
    from pipeline.imagery.metadata import open_scene
    from pipeline.review import export, overlay
    from pipeline.review.lines import centre_line_feature, draw_lines

    scene = open_scene(image, SceneMetadata(gsd_m=gsd), need_time=False)
    tile, lines = search(scene)
    points = [line.points for line in lines]
    export.write(out / "tracks.png", overlay.png(overlay.credited(draw_lines(tile, points), overlay.credit_line([scene]))))
    feature = centre_line_feature(tile.grid, points, tile.grid.pixel_size()[0] / scene.grid.pixel_size()[0] * scene.gsd_m)
    export.write(out / "centre_lines.geojson", export.collection([feature], scene.grid.crs, crs_of_coordinates=scene.grid.crs))
    rows = [{"line": i, "length_m": round(line.length_m), "strength": round(line.strength, 2)} for i, line in enumerate(lines, start=1)]
    if as_json:
        print_json({"scene": scene.id, "gsd_m": scene.gsd_m, "lines": rows})
        return
    table = Table("line", "length m", "strength", title=f"{len(rows)} proposed, strongest first", title_justify="left")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console().print(table)
    console().print("Roads and walls are proposed too: keep the tracks, and name the file in the zone's centre_lines.")
    console().print(f"lines    {out / 'centre_lines.geojson'}\npicture  {out / 'tracks.png'}")


def watch_series(images: Sequence[Path], out: Path, *, gsd: float | None, min_area: float, as_json: bool) -> None:
    """What was built over a series of looks: picture, features, summary."""
    from pipeline.change.series import find_built
    from pipeline.change.stack import stack_looks
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
        print_json(summary)
        return
    table = Table("between", "new structures", "m2")
    for span, number, area in growth.by_interval(stack, found.built):
        table.add_row(span, str(number), f"{area:.0f}")
    console().print(table)
    seen = f"{len(stack.names)} looks, {100 * found.observed:.0f} % of the ground seen often enough"
    console().print(f"{len(found.built)} new structures ({found.low} to {found.high}); {seen}")
    for entry in summary["skipped"]:
        console().print(f"not used: {entry['scene']}: {entry['reason']}", style="yellow")
    console().print(f"picture  {out / 'series.png'}")


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
