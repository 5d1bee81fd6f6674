"""Ship calls of a site and voyages between sites, from the artefacts of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from models import CLASSES
from pipeline.activity.calls import Hull, HullLook, ShipCall, ZoneKey, hull_calls, inferred_calls
from pipeline.activity.estimate import in_zone
from pipeline.activity.records import Estimate
from pipeline.activity.voyages import RouteVoyages, usable_rate, voyages
from pipeline.activity.zonal import COMPARABLE
from pipeline.change.look import mapped
from pipeline.config import Route
from pipeline.imagery.observed import exposure
from pipeline.imagery.scene import Scene
from pipeline.run import codec, stages
from pipeline.run.job import Job, SiteResult
from pipeline.run.learned import counted_in, to_site_map


def site_calls(job: Job, result: SiteResult) -> list[ShipCall]:
    """Calls of a site by hull, and those that only the stock of its boxes tells of; none where no zone counts vessels."""
    if not any("vessel" in zone.classes for zone in result.site.zones):
        return []
    estimates = stages.load_estimates(result.estimate)
    calls = hull_calls(result.site.id, [_look(job, result, look, k, estimates) for k, look in enumerate(result.looks)])
    return calls + inferred_calls(estimates, calls)


def route_voyages(
    routes: Sequence[Route], results: Sequence[SiteResult], calls: Mapping[str, Sequence[ShipCall]]
) -> list[RouteVoyages]:
    """Voyages along each route of a run; a site that no image shows has no calls.

    Args:
        routes: of the run.
        results: of its sites.
        calls: by site id.
    """
    rates = {r.site.id: usable_rate(stages.load_estimates(r.estimate)) for r in results}
    ends = [[(calls.get(site, ()), rates.get(site, 0.0)) for site in (route.origin, route.destination)] for route in routes]
    return [
        RouteVoyages.of(route.origin, route.destination, voyages(loads, deliveries, *route.passage), (p, q))
        for route, ((loads, p), (deliveries, q)) in zip(routes, ends, strict=True)
    ]


def _look(job: Job, result: SiteResult, look: Sequence[Scene], k: int, estimates: Sequence[Estimate]) -> HullLook:
    """Hulls of one look, and what became of them since the look before where each is one scene: fates name the objects of a scene."""
    names = {scene.id for scene in look}
    shown = frozenset(
        (e.zone, e.zone_version)
        for e in estimates
        if e.cls == "vessel" and names.intersection(e.scene_ids) and e.value is not None and e.exposure >= COMPARABLE
    )
    fates = None
    if k and len(look) == len(result.looks[k - 1]) == 1:
        fates = next((codec.load_objects(folder) for _, after, folder in result.pairs if after.id == look[0].id), None)
    best: dict[ZoneKey, tuple[float, list[Hull]]] = {}
    for scene in look:
        for zone, found in _hulls(job, result, scene).items():
            best[zone] = max(best.get(zone, (-1.0, [])), found, key=lambda shares: shares[0])
    hulls = [hull for _, some in best.values() for hull in some]
    if len(look) > 1:  # rows of one scene are not those of another
        hulls = [replace(hull, row=n) for n, hull in enumerate(hulls)]
    return HullLook(look[0].time, tuple(hulls), shown, fates)


def _hulls(job: Job, result: SiteResult, scene: Scene) -> dict[ZoneKey, tuple[float, list[Hull]]]:
    """Share of each zone that a scene shows, and the hulls there, in metres of the site's frame."""
    align, observed = result.align[scene.id], codec.load_observed(job.folders["observe", scene.id])
    to_site = to_site_map(scene, result.reference, align)
    if to_site is None:
        return {}
    objects = counted_in(scene, result.reference, job.folders["detect", scene.id], align, result.learned)
    x, y, length = (mapped(objects.boxes, to_site)[:, :3] * result.reference.gsd_m).T
    zones = [zone for zone in result.site.zones_on(scene.time.date()) if "vessel" in zone.classes]
    shapes = stages.outlines(result.site, zones, scene, result.reference, align)
    found: dict[ZoneKey, tuple[float, list[Hull]]] = {}
    taken = objects.classes != CLASSES.index("vessel")
    for zone in (zone for zone in zones if zone.key in shapes):
        inside = in_zone(objects, shapes[zone.key]) & ~taken
        taken |= inside
        key = zone.id, zone.version
        hulls = [Hull(key, x[row], y[row], length[row], scene.gsd_m, row) for row in np.flatnonzero(inside).tolist()]
        found[key] = exposure(observed, shapes[zone.key])[0], hulls
    return found
