"""What is on record of a job: the manifest, by digest and without a clock, and a line of its log."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.card import find, find_helpers
from pipeline.imagery.files import sha256
from pipeline.imagery.scene import Scene
from pipeline.review.about import VERSION
from pipeline.run.job import Job
from pipeline.run.stages import STAGES
from pipeline.run.store import digest
from pipeline.site import Site


def manifest(job: Job) -> dict[str, Any]:
    """Inputs, weights, settings and artefacts; the same job gives the same manifest."""
    sites = zip(job.run.sites, job.sites, strict=True)
    return {
        "name": job.run.name,
        "version": VERSION,
        "settings": job.run.model_dump(mode="json", exclude={"output", "sites", "imagery", "execution"}),
        "runtime": job.detection.runtime,
        "inputs": {"scenes": [_of_scene(s) for s in job.scenes], "sites": [_of_site(path, site) for path, site in sites]},
        "stages": {name: stage.version for name, stage in STAGES.items()},
        "models": [{"name": card.name, "sha256": card.sha256} for card in (*find(job.run.model), *find_helpers())],
        "artefacts": sorted(job.artefacts, key=lambda a: (a["stage"], a["label"])),
        "failed": job.failed,
        "skipped": [{"name": n, "reason": r} for n, r in sorted(job.skipped)],
    }


def log_line(job: Job) -> str:
    """One JSON line for ``run.jsonl``: when, what was made and reused, and the seconds of each stage."""
    entry = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "made": job.made,
        "reused": job.reused,
        "seconds": {k: round(v, 2) for k, v in job.seconds.items()},
    }
    return json.dumps(entry, sort_keys=True) + "\n"


def _of_scene(scene: Scene) -> dict[str, str]:
    """What tells an image and its mask from any other."""
    found = {"id": scene.id, "file": scene.path.name, "sha256": scene.sha256}
    return found if scene.mask_path is None else found | {"mask": scene.mask_path.name, "mask_sha256": scene.mask_sha256}


def _of_site(path: Path, site: Site) -> dict[str, str]:
    """Digests of a site file and of what it says, the outlines included that it takes from other files."""
    return {"id": site.id, "file": path.name, "sha256": sha256(path), "content_sha256": digest(site.model_dump(mode="json"))}
