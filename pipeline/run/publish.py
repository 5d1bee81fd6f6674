"""From artefacts to the files a person opens: overlays, pairs, charts, tables, the report page, the manifest."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import Detections
from models.card import find
from pipeline.activity.calls import ShipCall
from pipeline.activity.estimate import in_zone
from pipeline.activity.records import Alert, Estimate
from pipeline.activity.tables import record
from pipeline.activity.voyages import RouteVoyages
from pipeline.activity.wording import class_in_words
from pipeline.activity.zonal import Side, ZoneChange, zone_changes
from pipeline.change.patches import patch_words
from pipeline.imagery.catalog import stac_item
from pipeline.imagery.scene import Scene
from pipeline.review import export
from pipeline.review.about import VERSION
from pipeline.review.charts import count_chart, standalone
from pipeline.review.report import PairView, Picture, ReportContext, SiteView, build_report
from pipeline.run import codec, stages
from pipeline.run.job import Job, SiteResult
from pipeline.run.learned import counted_in, load_permanent
from pipeline.run.manifest import log_line, manifest
from pipeline.run.port_calls import route_voyages, site_calls
from pipeline.run.store import Output
from pipeline.site import PIXEL_CRS


def publish_all(job: Job, results: Sequence[SiteResult]) -> list[Alert]:
    """Write every result below the run's output folder; files that have not changed are left alone.

    What the publication before wrote there and this one does not, such as the overlay of an image taken away since, is removed.

    Returns:
        The verdict on the last look of every series.
    """
    out = Output(job.run.output)
    out.sweep()
    alerts = [a for r in results for a in _alerts(r, "last")]
    estimates = [e for r in results for e in stages.load_estimates(r.estimate)]
    calls = {r.site.id: site_calls(job, r) for r in results}
    routes = route_voyages(job.run.routes, results, calls)
    out.write("estimates.csv", export.estimates_csv(estimates))
    out.write(
        "alerts.json",
        export.to_json([record(a) | {"wording": list(a.wording), "evidence": list(a.evidence)} for a in alerts]),
    )
    out.write("calls.json", export.to_json([_call(c) for some in calls.values() for c in some]))
    if routes:
        out.write("voyages.json", export.to_json([_route(r) for r in routes]))
    changes = {r.site.id: _zone_changes(job, r) for r in results}
    out.write("changes.csv", export.zone_changes_csv([row for rows in changes.values() for row in rows]))
    views = [_site_view(out, r, changes[r.site.id], calls[r.site.id]) for r in results]
    for result in results:
        for look in result.looks:
            for scene in look:
                out.write(f"stac/{scene.id}.json", export.to_json(stac_item(scene)))
    _objects(job, out, results)
    out.write("report.html", build_report(_context(job, views, results, routes)))
    earlier = out.earlier()
    if "inputs" in earlier:  # a manifest without them lists whatever lay in the folder, other people's files too
        out.prune(earlier["outputs"])
    export.write(out.root / "manifest.json", export.to_json(manifest(job) | {"outputs": out.files}))
    with (out.root / "run.jsonl").open("a", encoding="utf-8") as log:
        log.write(log_line(job))
    return alerts


def _alerts(result: SiteResult, which: str) -> list[Alert]:
    return [codec.alert_from(r) for r in codec.read_json(result.judge / f"{which}.json")]


def _call(call: ShipCall) -> dict[str, Any]:
    times = {k: getattr(call, k) for k in ("last_empty", "first_seen", "last_seen", "first_empty")}
    return {
        "site": call.site,
        "zone": call.zone,
        "unseen_looks": call.unseen_looks,
        "length_m": None if call.length_m is None else round(call.length_m, 1),
        "length_error_m": None if call.length_error_m is None else round(call.length_error_m, 1),
        "inferred": call.inferred,
        "dwell_days": list(call.dwell_days),
        **{k: None if v is None else v.isoformat() for k, v in times.items()},
    }


def _route(route: RouteVoyages) -> dict[str, Any]:
    return {
        "origin": route.origin,
        "destination": route.destination,
        "at_least": route.bound.count,
        "likely": None if route.likely is None else round(route.likely, 1),
        "voyages": [{"inferred": v.inferred, "loaded": _call(v.loaded), "delivered": _call(v.delivered)} for v in route.found],
    }


def _zone_changes(job: Job, result: SiteResult) -> list[ZoneChange]:
    """Of every compared pair of a site."""
    site, rows = result.site, []
    estimates = stages.load_estimates(result.estimate)
    for pair in result.pairs:
        sides = []
        for scene in pair[:2]:
            shapes = stages.outlines(site, site.zones_on(scene.time.date()), scene, result.reference, result.align[scene.id])
            sides.append(
                Side(
                    scene.id,
                    counted_in(scene, result.reference, job.folders["detect", scene.id], result.align[scene.id], result.learned),
                    shapes,
                )
            )
        zones = site.zones_on(pair[1].time.date())
        rows += zone_changes(site.id, zones, codec.load_objects(pair[2]), sides[0], sides[1], estimates)
    return rows


def _site_view(out: Output, result: SiteResult, changes: Sequence[ZoneChange], calls: Sequence[ShipCall]) -> SiteView:
    site = result.site
    estimates, every = stages.load_estimates(result.estimate), _alerts(result, "all")
    last = _alerts(result, "last")
    charts = {}
    for alert in last:
        key = (alert.estimate.zone, alert.estimate.zone_version, alert.estimate.cls)
        series = [e for e in estimates if (e.zone, e.zone_version, e.cls) == key]
        judged = [a for a in every if (a.estimate.zone, a.estimate.zone_version, a.estimate.cls) == key]
        zone, version, cls = key
        drawn = zone if version == 1 else f"{zone}@{version}"
        title = f"{drawn}: {class_in_words(cls)}"
        charts[title] = count_chart(series, [*judged[:-1], alert], title)
        out.write(f"charts/{site.id}-{drawn}-{cls}.svg", standalone(charts[title]))
    looks = []
    for look in result.looks:
        for scene in look:
            if scene.id in result.drawn:
                link = f"overlays/{site.id}/{scene.id}.png"
                out.write(link, result.drawn[scene.id] / "overlay.png")
                alt = f"{scene.id}, {scene.time:%Y-%m-%d}, {scene.sensor}"
                small = Picture((result.drawn[scene.id] / "small.jpg").read_bytes(), "image/jpeg", link, alt)
                looks.append((small, [e for e in estimates if scene.id in e.scene_ids]))
    latest = _latest(result)
    pairs = [
        _pair_view(out, site.id, (a, b), folder, [c for c in changes if (c.before, c.after) == (a.id, b.id)])
        for a, b, folder in result.pairs
    ]
    permanent = Counter(row["class"] for row in load_permanent(result.learned))
    return SiteView(site, last, charts, permanent, calls, latest, looks[::-1], pairs[::-1])


def _latest(result: SiteResult) -> Picture | None:
    for look in reversed(result.looks):
        scene = look[0]
        if scene.id in result.drawn:
            alt = f"Latest look: {scene.id}, {scene.time:%Y-%m-%d}, {scene.sensor}"
            data = (result.drawn[scene.id] / "large.jpg").read_bytes()
            return Picture(data, "image/jpeg", f"overlays/{result.site.id}/{scene.id}.png", alt)
    return None


def _pair_view(out: Output, site: str, pair: tuple[Scene, Scene], folder: Path, changes: Sequence[ZoneChange]) -> PairView:
    before, after = pair
    known = codec.read_json(folder / "pair.json")
    alignment = codec.alignment_from(known["alignment"])
    name = f"changes/{site}/{before.id}__{after.id}"
    out.write(f"{name}.png", folder / "pair.png")
    out.write(f"{name}.gif", folder / "blink.gif")
    words = "Registered" if alignment.applied else "Not shifted"
    words += f": dx {alignment.dx_px:.2f}, dy {alignment.dy_px:.2f} px, residual {alignment.residual_px:.2f} px; {alignment.reason}."
    words += f" {patch_words(known['patches'])}"
    pictures = [
        Picture(
            (folder / f"{side}.jpg").read_bytes(),
            "image/jpeg",
            f"{name}.png",
            f"{side}: {scene.time:%Y-%m-%d}",
        )
        for side, scene in (("before", before), ("after", after))
    ]
    title = f"{before.time:%Y-%m-%d} to {after.time:%Y-%m-%d}"
    return PairView(title, pictures[0], pictures[1], f"{name}.png", words, known["counts"], changes)


def _objects(job: Job, out: Output, results: Sequence[SiteResult]) -> None:
    """``detections.geojson`` and ``.parquet``; where a run has both kinds, ``detections-pixel`` holds the sites without georeference.

    A table has one CRS or none: pixels and coordinates never stand in one file.
    """
    kinds = [[r for r in results if (r.site.crs == PIXEL_CRS) == pixel] for pixel in (False, True)]
    for name, kind in zip(("detections", "detections-pixel"), [k for k in kinds if k] or [[]], strict=False):
        _objects_in_one_frame(job, out, name, kind)


def _objects_in_one_frame(job: Job, out: Output, name: str, results: Sequence[SiteResult]) -> None:
    """Zone totals unless the run asks for single objects (METHOD 8b)."""
    features, rows = [], []
    for result in results:
        estimates = stages.load_estimates(result.estimate)
        for zone in result.site.zones:
            mine = [e for e in estimates if (e.zone, e.zone_version) == (zone.id, zone.version)]
            features.append(_zone_feature(result, zone.geometry, zone.key, mine))
        for look in result.looks:
            for scene in look:
                folders = job.folders["detect", scene.id], result.align[scene.id], result.learned
                detections = counted_in(scene, result.reference, *folders)
                rows.append((scene, *_with_zones(result, scene, detections)))
    crs = None if any(r.site.crs == PIXEL_CRS for r in results) else "EPSG:4326"
    objects = job.run.review.objects
    if objects:
        features = [f | {"properties": f["properties"] | {"scene": s.id}} for s, d, _ in rows for f in export.detection_features(s, d)]
    else:  # only objects inside zones, placed at their zone: rounding to the zone is the point
        rows = [(s, d.take(np.array([bool(z) for z in zones], np.bool_)), [z for z in zones if z]) for s, d, zones in rows]
    out.write(f"{name}.geojson", export.collection(features, crs))
    out.write(f"{name}.parquet", lambda path: export.detections_parquet(path, rows, objects=objects))


def _zone_feature(result: SiteResult, geometry: dict[str, Any], key: str, estimates: Sequence[Estimate]) -> dict[str, Any]:
    crs = None if result.site.crs == PIXEL_CRS else result.site.crs
    looks = [{"time": e.time.isoformat(), "class": e.cls, "value": e.value, "exposure": round(e.exposure, 3)} for e in estimates]
    properties = {"site": result.site.id, "zone": key, "looks": looks}
    return {"type": "Feature", "geometry": export.lonlat(geometry, crs), "properties": properties}


def _with_zones(result: SiteResult, scene: Scene, detections: Detections) -> tuple[Detections, list[str]]:
    zones = result.site.zones_on(scene.time.date())
    shapes = stages.outlines(result.site, zones, scene, result.reference, result.align[scene.id])
    names = [""] * len(detections)
    for key, outline in shapes.items():
        for index in np.flatnonzero(in_zone(detections, outline)):
            names[int(index)] = key
    return detections, names


def _context(job: Job, views: Sequence[SiteView], results: Sequence[SiteResult], routes: Sequence[RouteVoyages]) -> ReportContext:
    credits_ = {f"{s.credit} {s.licence}".strip() for r in results for look in r.looks for s in look}
    return ReportContext(
        name=job.run.name,
        sites=views,
        routes=routes,
        skipped=sorted(job.skipped),
        heads=[(c.name, ", ".join(c.classes), c.sha256) for c in find(job.run.model)],
        settings=job.run.activity.model_dump(),
        version=VERSION,
        credits=sorted(c for c in credits_ if c),
        objects=job.run.review.objects,
    )
