"""The stages as data, and the work of each: artefact folders in, one artefact folder out. Nothing here knows what came before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from shapely.geometry import Point
from shapely.geometry.base import BaseGeometry

import models
from models.card import find
from pipeline.activity.estimate import COUNT_GSD_M, LENGTH_GSD_M, LookView, measured_as_pile
from pipeline.activity.judge import judge
from pipeline.activity.merge import estimate_look
from pipeline.activity.occupied import REACH_M, TrackLook, hidden, look_along
from pipeline.activity.pile_look import PileLook, look_at_pile
from pipeline.activity.records import Estimate
from pipeline.activity.wording import quoted
from pipeline.change.objects import counts
from pipeline.change.pair import PairChange, compare
from pipeline.change.patches import patch_summary
from pipeline.change.records import Alignment
from pipeline.change.register import IDENTITY, register
from pipeline.config import ActivitySettings, ChangeSettings, DetectionSettings
from pipeline.detection.scene import SceneDetections, detect_scene
from pipeline.errors import ModelError
from pipeline.imagery.clouds import observe
from pipeline.imagery.observed import Observed, exposure
from pipeline.imagery.place import shifted, slants, to_scene_pixels, window_around
from pipeline.imagery.scene import Scene
from pipeline.imagery.tiles import read, read_decimated
from pipeline.imagery.warp import common_grid, frame, pixel_map, read_on_grid
from pipeline.review import overlay
from pipeline.run import codec
from pipeline.run.learned import counted_in, sorted_out
from pipeline.site import Site, Zone


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the graph.

    Attributes:
        name: folder in the store.
        version: rises when the output of the same input changes.
        does: for the progress line.
    """

    name: str
    version: int
    does: str


STAGES = {
    s.name: s
    for s in (
        Stage("observe", 3, "masking what cannot be seen"),
        Stage("detect", 7, "finding objects"),
        Stage("align", 5, "registering looks to the site's frame"),
        Stage("learn", 2, "learning what never moves"),
        Stage("estimate", 10, "counting by zone"),
        Stage("compare", 13, "comparing consecutive looks"),
        Stage("judge", 2, "testing against the baseline"),
        Stage("draw", 6, "drawing overlays"),
    )
}


WIDEST_M, SHADOW_M = 400.0, 30.0
"""A zone wider than this holds more than one pile; the shadow of five boxes under a sun of 24 degrees lies within this of it."""


@lru_cache(maxsize=2)  # a worker loads its weights once, not once a scene
def _detectors(model: str, runtime: str) -> tuple[models.Detector, ...]:
    return models.load(model, runtime)


def do_observe(scene: Scene, folder: Path) -> None:
    """Observation state of one scene."""
    codec.save_observed(folder, observe(scene))


def do_detect(scene: Scene, model: str, settings: DetectionSettings, folder: Path) -> None:
    """Objects of one scene; a scene whose GSD no head accepts has none, and says why."""
    try:
        found = detect_scene(scene, _detectors(model, settings.runtime), settings)
        codec.save_found(folder, found)
    except ModelError as error:
        if "no detector works here" not in str(error):
            raise
        codec.save_found(folder, SceneDetections(models.Detections.empty(), {"every head": str(error)}))


def do_align(scene: Scene, reference: Scene, settings: ChangeSettings, folder: Path) -> None:
    """Where a scene lies in the frame that the site's outlines were drawn in; identity for that frame itself."""
    alignment = Alignment(IDENTITY, 0.0, 0.0, 0.0, 1.0, False, "the site's own frame")
    grid = common_grid(reference, scene)
    if scene.id != reference.id and grid is None:
        alignment = Alignment(IDENTITY, 0.0, 0.0, 0.0, 0.0, False, "does not overlap the site's frame")
    elif scene.id != reference.id and grid is not None:
        gsd_m = reference.gsd_m * grid.pixel_size()[0] / reference.grid.pixel_size()[0]
        tiles = [read_on_grid(s, reference, grid) for s in (reference, scene)]
        alignment = register(tiles[0], tiles[1], settings.max_shift_m / gsd_m)
    codec.write_json(folder / "alignment.json", codec.alignment_record(alignment))


def outlines(site: Site, zones: Sequence[Zone], scene: Scene, reference: Scene, align: Path) -> dict[str, BaseGeometry]:
    """Zone key -> outline in scene pixels, moved by the scene's own alignment."""
    return placed({z.key: z.shape for z in zones}, site, scene, reference, align)


def placed(shapes: Mapping[str, BaseGeometry], site: Site, scene: Scene, reference: Scene, align: Path) -> dict[str, BaseGeometry]:
    """Shapes in the site's CRS -> shapes in scene pixels, moved by the scene's own alignment."""
    alignment = codec.alignment_from(codec.read_json(align / "alignment.json"))
    found = {}
    grid = common_grid(reference, scene)
    for key, outline in shapes.items():
        seen = to_scene_pixels(outline, site, scene)
        if seen is None:
            continue
        if alignment.applied and grid is not None:
            to_common = np.vstack([pixel_map(frame(scene, reference), grid), [0, 0, 1]])
            back = np.linalg.inv(np.vstack([alignment.matrix, [0, 0, 1]]))
            seen = shifted(seen, (np.linalg.inv(to_common) @ back @ to_common)[:2])
        found[key] = seen
    return found


def do_estimate(
    site: Site,
    reference: Scene,
    looks: Sequence[Sequence[Scene]],
    made: Mapping[tuple[str, str], Path],
    learned: Path,
    model: str,
    folder: Path,
) -> None:
    """Numbers of every zone on every look, without what is permanent. Several scenes of a look are one view: union of coverage."""
    calibration = [row for card in find(model) for row in card.calibration]
    rows: list[Estimate] = []
    for look in looks:
        day = look[0].time.date()
        zones = site.zones_on(day)
        views = [_view(site, reference, scene, zones, made, learned) for scene in look]
        rows += estimate_look(views, zones, calibration)
    codec.write_json(folder / "estimates.json", [codec.estimate_record(e) for e in rows])


def _view(
    site: Site, reference: Scene, scene: Scene, zones: Sequence[Zone], made: Mapping[tuple[str, str], Path], learned: Path
) -> LookView:
    observed, found = codec.load_observed(made["observe", scene.id]), codec.load_found(made["detect", scene.id])
    shapes = outlines(site, zones, scene, reference, made["align", scene.id])
    return LookView(
        site.id,
        scene.time,
        (scene.id,),
        scene.gsd_m,
        counted_in(scene, reference, made["detect", scene.id], made["align", scene.id], learned),
        shapes,
        {key: exposure(observed, outline) for key, outline in shapes.items()},
        tracks=_tracks(site, zones, scene, reference, made["align", scene.id], observed),
        piles={z.key: _pile(shapes[z.key], scene, observed) for z in zones if z.key in shapes and measured_as_pile(z, scene.gsd_m)},
        observed=observed,
        sun_deg=scene.view.sun_elevation,
        sought=frozenset(found.thresholds),
    )


def _tracks(
    site: Site, zones: Sequence[Zone], scene: Scene, reference: Scene, align: Path, observed: Observed
) -> dict[str, tuple[TrackLook, ...]]:
    """Zone key -> what the pixels along its centre lines show; only where cars are measured by length and not counted."""
    if not COUNT_GSD_M < scene.gsd_m <= LENGTH_GSD_M:
        return {}
    named = {z.key: z.lines for z in zones if z.lines is not None}
    found = {}
    for key, lines in placed(named, site, scene, reference, align).items() if named else ():
        tile = read(scene, window_around(lines, scene, REACH_M))
        found[key] = look_along(hidden(tile, observed), lines, scene.gsd_m)
    return found


def _pile(outline: BaseGeometry, scene: Scene, observed: Observed) -> PileLook | str | None:
    """The largest pile of a zone, None where nothing stands out, or why it could not be measured."""
    directions = slants(scene)
    if isinstance(directions, str):
        return directions
    x0, y0, x1, y1 = outline.bounds
    if max(x1 - x0, y1 - y0) * scene.gsd_m > WIDEST_M:
        return f"the zone is wider than {WIDEST_M:g} m: draw it around one pile"
    window = window_around(outline, scene, SHADOW_M)
    tile = hidden(read(scene, window), observed)
    if not tile.valid.all():
        return "a part of the zone or of the ground around it could not be seen"
    found = look_at_pile(tile.pixels, tile.valid, scene.gsd_m, *directions)
    if found is None:
        return None
    middle = Point(found.x_m / scene.gsd_m + window.x0, found.y_m / scene.gsd_m + window.y0)
    return found if outline.contains(middle) else "what stands out most lies beside the zone"


def load_estimates(folder: Path) -> list[Estimate]:
    """The artefact of `do_estimate`."""
    return [codec.estimate_from(r) for r in codec.read_json(folder / "estimates.json")]


def do_compare(
    pair: tuple[Scene, Scene],
    reference: Scene,
    made: Mapping[tuple[str, str], Path],
    learned: Path,
    settings: ChangeSettings,
    folder: Path,
) -> None:
    """Two consecutive looks: alignment, fates of what is not permanent, pictures."""
    first, second = pair
    before, after = (
        replace(
            codec.load_found(made["detect", s.id]),
            detections=counted_in(s, reference, made["detect", s.id], made["align", s.id], learned),
        )
        for s in pair
    )
    change = compare(
        pair,
        (before, after),
        (codec.load_observed(made["observe", first.id]), codec.load_observed(made["observe", second.id])),
        settings,
    )
    write_pair(pair, change, folder)


def write_pair(pair: tuple[Scene, Scene], change: PairChange, folder: Path) -> None:
    """``pair.json``, ``objects.npz``, ``pair.png``, ``blink.gif``, ``before.jpg``, ``after.jpg``."""
    gsd_m = pair[0].gsd_m * change.grid.pixel_size()[0] / pair[0].grid.pixel_size()[0]
    both, frames = overlay.draw_pair(
        (change.before, change.after), (change.before_boxes, change.after_boxes), change.objects, pair, gsd_m
    )
    codec.save_objects(folder, change.objects)
    codec.write_json(
        folder / "pair.json",
        {
            "alignment": codec.alignment_record(change.alignment),
            "counts": counts(change.objects),
            "changed_share": float(change.change.changed.sum() / max(1, change.change.valid.sum())),
            "patches": patch_summary(change.patches),
            "gain": list(change.gain.gain),
            "offset": list(change.gain.offset),
        },
    )
    (folder / "pair.png").write_bytes(overlay.png(both))
    (folder / "blink.gif").write_bytes(overlay.gif(frames, overlay.credit_line(pair)))
    for name, frame_image in zip(("before.jpg", "after.jpg"), frames, strict=True):
        (folder / name).write_bytes(overlay.thumbnail(frame_image, 1000))


def do_judge(estimates: Path, settings: ActivitySettings, folder: Path) -> None:
    """Every look against its own past, and the last looks together."""
    rows = load_estimates(estimates)
    for which in ("last", "all"):
        alerts = judge(rows, settings, which)
        codec.write_json(folder / f"{which}.json", [codec.alert_record(a) for a in alerts])


def do_draw(
    site: Site,
    scene: Scene,
    reference: Scene,
    made: Mapping[tuple[str, str], Path],
    learned: Path,
    estimates: Path,
    side: int,
    folder: Path,
) -> None:
    """Overlay of one look."""
    zones = site.zones_on(scene.time.date())
    shapes = outlines(site, zones, scene, reference, made["align", scene.id])
    values = {(e.zone, e.cls): e for e in load_estimates(estimates) if scene.id in e.scene_ids}
    labelled = [(_label(z, values), shapes[z.key]) for z in zones if z.key in shapes]
    factor = max(1.0, max(scene.grid.width, scene.grid.height) / side)
    counted, uncounted = sorted_out(scene, reference, made["detect", scene.id], made["align", scene.id], learned)
    picture = overlay.draw_overlay(
        read_decimated(scene, factor),
        factor,
        scene,
        counted,
        labelled,
        codec.load_observed(made["observe", scene.id]),
        uncounted,
    )
    (folder / "overlay.png").write_bytes(overlay.png(picture))
    (folder / "small.jpg").write_bytes(overlay.thumbnail(picture, 460))
    (folder / "large.jpg").write_bytes(overlay.thumbnail(picture, 1100))


def _label(zone: Zone, values: Mapping[tuple[str, str], Estimate]) -> str:
    words = []
    for cls in zone.classes:
        e = values.get((zone.id, cls))
        if e is not None:
            words.append(quoted(e))
    return f"{zone.id}: {', '.join(words)}" if words else zone.id
