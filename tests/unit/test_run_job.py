"""A job leaves out what is bad and says why, compares what can be compared, and lists what it used and wrote."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin

import models
from models import runtime
from pipeline.config import Run, load_run
from pipeline.detection.scene import SceneDetections
from pipeline.errors import ConfigError, StoreError, UnreadableError
from pipeline.imagery.files import sha256
from pipeline.imagery.scene import Scene
from pipeline.run import codec, stages
from pipeline.run.job import Job, SiteResult, Task
from pipeline.run.learned import load_permanent
from pipeline.run.publish import publish_all


def square(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]}


class Yard:
    """A run of small noisy images at 1 m, 64 px a side, whose detector finds nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sites = [f"{self.site()}.yaml"]
        self.routes: list[dict[str, Any]] = []
        (folder / "imagery").mkdir()

    @staticmethod
    def _write(path: Path, value: dict[str, Any]) -> None:
        path.write_text(yaml.safe_dump(value))

    def image(self, name: str, when: str, east: float = 0, **declared: Any) -> None:
        """`east`: metres from the corner of the site; a declared `gsd_m` makes an image without georeference."""
        path = self.folder / "imagery" / f"{name}.tif"
        values = np.random.default_rng(len(name) + ord(name[0])).integers(1, 250, (3, 64, 64)).astype(np.uint8)
        place: dict[str, Any] = {"crs": "EPSG:32626", "transform": from_origin(500_000 + east, 4_500_000, 1, 1)}
        place = {} if "gsd_m" in declared else place
        with rasterio.open(path, "w", driver="GTiff", count=3, height=64, width=64, dtype="uint8", **place) as target:
            target.write(values)
        self._write(path.with_suffix(".yaml"), {"acquired": f"{when}:00:00Z", **declared})

    def site(self, name: str = "yard", width: float = 64, **more: Any) -> str:
        area = square(0, 0, width, 64) if more.get("crs") == "pixel" else square(500_000, 4_499_936, 500_000 + width, 4_500_000)
        zone = {"id": "z", "kind": "track", "classes": ["railcar"], "geometry": area}
        known = {"id": name, "name": name, "kind": "port", "crs": "EPSG:32626", "aoi": area, "zones": [zone]}
        self._write(self.folder / f"{name}.yaml", known | more)
        return name

    def run(self) -> Run:
        imagery = {"folder": "imagery", "pattern": "*.tif"}
        known = {"name": "r", "sites": self.sites, "imagery": imagery, "routes": self.routes, "output": "out"}
        self._write(self.folder / "run.yaml", known)
        return load_run(self.folder / "run.yaml")

    def perform(self, *, cached_only: bool = False) -> tuple[Job, list[SiteResult]]:
        job = Job(self.run(), lambda *_: None, cached_only)
        results = job.perform()
        publish_all(job, results)
        return job, results

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "out" / "manifest.json").read_text())
        return found

    @property
    def published(self) -> set[str]:
        out = self.folder / "out"
        return {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.relative_to(out).parts[0] != "store"}


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    def nothing(_scene: Scene, _model: str, _settings: object, folder: Path) -> None:
        codec.save_found(folder, SceneDetections(models.Detections.empty(), thresholds={"railcar": 0.5}))

    monkeypatch.setattr(stages, "do_detect", nothing)
    monkeypatch.setattr(runtime, "best_runtime", lambda: "torch")
    return Yard(tmp_path)


def failing(stage: Callable[..., None], bad: str) -> Callable[..., None]:
    """A stage that cannot work on what is called `bad`."""

    def work(what: Any, *rest: Any) -> None:
        if what.id == bad:
            raise UnreadableError(f"{bad} is torn")
        stage(what, *rest)

    return work


def test_a_site_whose_reference_is_absent_is_left_out_by_name(yard: Yard) -> None:
    yard.image("a", "2024-01-01T00")
    yard.sites.append(f"{yard.site('framed', reference='b')}.yaml")
    job, results = yard.perform()
    assert [r.site.id for r in results] == ["yard"]
    ((name, reason),) = job.skipped
    assert name == "framed"
    assert "reference scene 'b'" in reason
    yard.image("b", "2024-01-05T00")
    assert [r.reference.id for r in yard.perform()[1]] == ["a", "b"]


def test_looks_are_compared_by_the_scenes_that_share_most_of_the_site(yard: Yard) -> None:
    yard.site(width=128)
    for name, when, east in (("a1", "01T00", 0), ("a2", "01T01", 64), ("b1", "05T00", 64), ("b2", "05T01", 0), ("c1", "09T00", 20)):
        yard.image(name, f"2024-01-{when}", east)
    job, (result,) = yard.perform()
    assert job.skipped == []
    assert [(a.id, b.id) for a, b, _ in result.pairs] == [("a1", "b2"), ("b2", "c1")]


def test_the_manifest_lists_every_input_and_just_what_was_written(yard: Yard) -> None:
    yard.sites = [f"{yard.site('store')}.yaml"]
    yard.image("mask", "2024-01-03T00")
    yard.image("a", "2024-01-01T00", mask="mask.tif")
    yard.image("b", "2024-01-05T00")
    yard.perform()
    out, images = yard.folder / "out", yard.folder / "imagery"
    manifest = yard.manifest
    assert [(s["file"], s["sha256"]) for s in manifest["inputs"]["scenes"]] == [(f"{n}.tif", sha256(images / f"{n}.tif")) for n in "ab"]
    assert manifest["inputs"]["scenes"][0]["mask_sha256"] == sha256(images / "mask.tif")
    assert "mask" not in manifest["inputs"]["scenes"][1]
    assert manifest["inputs"]["sites"][0]["sha256"] == sha256(yard.folder / "store.yaml")
    assert manifest["outputs"] == {n: sha256(out / n) for n in yard.published - {"manifest.json", "run.jsonl"}}
    (out / "notes.txt").write_text("not ours")
    (out / "charts" / ".part-old").write_text("half")
    (images / "b.tif").unlink()
    before = yard.published
    yard.perform()
    gone = {"overlays/store/b.png", "stac/b.json", "changes/store/a__b.png", "changes/store/a__b.gif", "charts/.part-old"}
    assert before - yard.published == gone
    assert "notes.txt" not in yard.manifest["outputs"]


def test_nothing_is_written_again_when_nothing_changed(yard: Yard) -> None:
    yard.image("a", "2024-01-01T00")
    yard.perform()
    times = {n: (yard.folder / "out" / n).stat().st_mtime_ns for n in yard.published - {"run.jsonl"}}
    yard.perform()
    assert {n: (yard.folder / "out" / n).stat().st_mtime_ns for n in times} == times


def test_a_report_leaves_out_what_the_run_left_out(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, day in (("a", 1), ("b", 5), ("c", 9)):
        yard.image(name, f"2024-01-0{day}T00")
    with pytest.raises(StoreError, match="stage 'observe' is not done"):
        yard.perform(cached_only=True)
    monkeypatch.setattr(stages, "do_observe", failing(stages.do_observe, "b"))
    ran, _ = yard.perform()
    published, manifest = yard.published, yard.manifest
    for _ in range(2):
        told, (result,) = yard.perform(cached_only=True)
        assert told.skipped == ran.skipped == [("b", "observe: b is torn")]
        assert len(result.looks) == 2
        assert (yard.published, yard.manifest) == (published, manifest)
    yard.image("d", "2024-01-13T00")
    with pytest.raises(StoreError, match="Run `yardwatch run` first"):
        yard.perform(cached_only=True)


def test_the_runtime_that_ran_is_part_of_the_key(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.image("a", "2024-01-01T00")
    first, _ = yard.perform()
    assert (yard.manifest["runtime"], yard.manifest["settings"]["detection"]["runtime"]) == ("torch", "auto")
    monkeypatch.setattr(runtime, "best_runtime", lambda: "openvino-bf16")
    second, _ = yard.perform()
    assert yard.manifest["runtime"] == "openvino-bf16"
    assert first.keys["detect", "a"] != second.keys["detect", "a"]
    assert first.keys["observe", "a"] == second.keys["observe", "a"]


def test_published_charts_bring_their_colours_and_name_what_they_show(yard: Yard) -> None:
    area, lines = (
        square(500_000, 4_499_936, 500_064, 4_500_000),
        {"type": "LineString", "coordinates": [[500_000, 4_499_968], [500_064, 4_499_968]]},
    )
    yard.site(zones=[{"id": "z", "kind": "track", "classes": ["railcar"], "geometry": area, "centre_lines": lines}])
    yard.image("a", "2024-01-01T00")
    yard.perform()
    charts = [p.read_text() for p in sorted((yard.folder / "out" / "charts").iterdir())]
    assert all("<style>" in c for c in charts)
    assert [c.split("<title>")[1].split("</title>")[0] for c in charts] == ["z: occupied track m", "z: railcars"]


@pytest.mark.parametrize("names", [("yard", "pixels"), ("pixels", "yard")])
def test_sites_with_and_without_georeference_keep_to_files_of_their_own(yard: Yard, names: tuple[str, str]) -> None:
    yard.site("pixels", crs="pixel")
    yard.sites = [f"{name}.yaml" for name in names]
    yard.image("a", "2024-01-01T00")
    yard.image("b", "2024-01-01T00", gsd_m=1.0)
    job, results = yard.perform()
    assert (len(results), job.skipped) == (2, [])
    for name, crs, site in (("detections", "EPSG:32626", "yard"), ("detections-pixel", None, "pixels")):
        assert gpd.read_parquet(yard.folder / "out" / f"{name}.parquet").crs == crs
        drawn = json.loads((yard.folder / "out" / f"{name}.geojson").read_text())
        assert [f["properties"]["site"] for f in drawn["features"]] == [site]
        assert ("coordinate_frame" in drawn) == (crs is None)


@pytest.mark.parametrize("stage", ["learn", "estimate", "judge"])
def test_a_site_that_cannot_be_counted_or_judged_does_not_end_the_job(yard: Yard, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    yard.image("a", "2024-01-01T00")
    yard.sites.insert(0, f"{yard.site('bad')}.yaml")

    def refuses(_: Path) -> None:
        raise UnreadableError("torn")

    def task(job: Job, name: str, label: str, inputs: Any, make: Callable[[Path], None]) -> Task:
        return whole(job, name, label, inputs, refuses if (name, label) == (stage, "bad") else make)

    whole = Job._task
    monkeypatch.setattr(Job, "_task", task)
    job, results = yard.perform()
    assert [r.site.id for r in results] == ["yard"]
    assert job.skipped == [("bad", f"{stage}: torn")]


def test_every_stage_that_is_made_is_logged_with_its_time(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    yard.image("a", "2024-01-01T00")
    with caplog.at_level(logging.INFO, "pipeline.run.job"):
        yard.perform()
        made = [r.getMessage() for r in caplog.records]
        yard.perform()
    assert [m.split(":")[0] for m in made] == ["observe", "detect", "align", "learn", "estimate", "judge", "draw"]
    assert made[0].startswith("observe: 1 made in ")
    assert len(caplog.records) == len(made)


def test_a_hull_on_a_container_yard_is_none_unless_vessels_are_counted_there(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    block, ship = (30.0, 15.0, 40.0, 8.0, 0.0), (30.0, 45.0, 40.0, 8.0, 0.0)
    stacks = {"id": "s", "kind": "container_yard", "classes": ["container"], "geometry": square(500_000, 4_499_975, 500_064, 4_500_000)}
    berth = {"id": "z", "kind": "berth", "classes": ["vessel"], "geometry": square(500_000, 4_499_936, 500_064, 4_499_975)}

    def finds(_scene: Scene, _model: str, _settings: object, folder: Path) -> None:
        found = models.Detections.build(np.array([block, ship]), np.full(2, 0.6), np.full(2, models.CLASSES.index("vessel")))
        codec.save_found(folder, SceneDetections(found, thresholds={"vessel": 0.5}))

    monkeypatch.setattr(stages, "do_detect", finds)
    yard.image("a", "2024-01-01T00")
    written = yard.folder / "out" / "detections.parquet"
    for classes, shown in ((["container"], ["z@1"]), (["container", "vessel"], ["s@1", "z@1"])):
        yard.site(zones=[stacks | {"classes": classes}, berth])
        yard.perform()
        assert sorted(gpd.read_parquet(written)["zone"]) == shown


def test_what_never_moves_is_kept_out_of_counts_and_files(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    pier, ship = (30.0, 15.0, 40.0, 8.0, 0.0), (30.0, 45.0, 40.0, 8.0, 0.0)
    berth = {"id": "z", "kind": "berth", "classes": ["vessel"], "geometry": square(500_000, 4_499_936, 500_064, 4_500_000)}
    yard.site(zones=[berth])

    def finds(scene: Scene, _model: str, _settings: object, folder: Path) -> None:
        boxes = np.array([pier, ship] if scene.id == "i" else [pier])
        found = models.Detections.build(boxes, np.full(len(boxes), 0.6), np.full(len(boxes), models.CLASSES.index("vessel")))
        codec.save_found(folder, SceneDetections(found, thresholds={"vessel": 0.5}))

    monkeypatch.setattr(stages, "do_detect", finds)
    for month, name in enumerate("abcdefghi", start=1):
        yard.image(name, f"2024-{month:02d}-01T00")
    _, (result,) = yard.perform()
    assert [e.raw for e in stages.load_estimates(result.estimate)] == [0] * 8 + [1]
    assert load_permanent(result.learned) == [{"class": "vessel", "box": list(pier), "seen": 9, "shown": 9}]
    out = yard.folder / "out"
    assert "1 taken for vessel." in (out / "report.html").read_text()
    assert len(gpd.read_parquet(out / "detections.parquet")) == 1


def test_a_ship_that_leaves_one_site_and_reaches_the_next_made_a_voyage(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, east in (("rajin", 500_000), ("dunai", 501_000)):
        area = square(east, 4_499_936, east + 64, 4_500_000)
        yard.site(name, aoi=area, zones=[{"id": "quay", "kind": "berth", "classes": ["vessel"], "geometry": area}])
    yard.sites = ["rajin.yaml", "dunai.yaml"]
    yard.routes = [{"origin": "rajin", "destination": "dunai", "days": [0.5, 4]}]

    def finds(scene: Scene, _model: str, _settings: object, folder: Path) -> None:
        boxes = np.array([(30.0, 30.0, 50.0, 8.0, 0.0)] * (scene.id in {"r2", "d3"}), np.float64).reshape(-1, 5)
        found = models.Detections.build(boxes, np.full(len(boxes), 0.9), np.full(len(boxes), models.CLASSES.index("vessel")))
        codec.save_found(folder, SceneDetections(found, thresholds={"vessel": 0.5}))

    monkeypatch.setattr(stages, "do_detect", finds)
    for day in (1, 2, 3):
        yard.image(f"r{day}", f"2024-01-0{day}T00")
        yard.image(f"d{day + 1}", f"2024-01-0{day + 1}T06", 1000)
    yard.perform()
    out = yard.folder / "out"
    (route,) = json.loads((out / "voyages.json").read_text())
    (voyage,) = route["voyages"]
    assert (route["at_least"], route["likely"], voyage["inferred"]) == (1, 1.0, False)  # every day is seen at both ends
    assert (voyage["loaded"]["last_seen"][:10], voyage["loaded"]["first_empty"][:10]) == ("2024-01-02", "2024-01-03")
    assert (voyage["delivered"]["last_empty"][:10], voyage["delivered"]["last_seen"][:10]) == ("2024-01-02", "2024-01-03")
    assert "rajin to dunai: at least 1" in (out / "report.html").read_text()
    yard.routes[0]["destination"] = "nowhere"
    with pytest.raises(ConfigError, match="'nowhere' is no site of this run"):
        yard.perform()
