"""The demo against its own truth, and the promises of the store: nothing twice, and the same bytes after a kill."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

DEMO = Path(__file__).resolve().parents[2] / "fixtures" / "demo"
MADE = os.environ.get("YARDWATCH_DEMO_MADE")
"""Folder of a demo that the gate has just made and these tests shall judge, rather than make it twice."""
pytestmark = pytest.mark.slow
one_demo = pytest.mark.xdist_group("demo")
"""On one of the processes of the tests, so that the demo runs once for all of these."""


def start(config: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline", "run", str(config), "--out", str(out), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(config: Path, out: Path) -> dict[str, Any]:
    process = start(config, out)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    result: dict[str, Any] = json.loads(stdout)
    return result


def digests(out: Path) -> dict[str, str]:
    files = [p for p in out.rglob("*") if p.is_file() and p.name != "run.jsonl"]  # the log holds the clock
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The demo's folder and its summary: the run of this very checkout that `MADE` names, or one of its own."""
    out = tmp_path_factory.mktemp("demo") / "out"
    if MADE:
        shutil.copytree(MADE, out)
    return out, finish(DEMO / "run.yaml", out)


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEMO / "truth.json").read_text())
    return found


def test_the_fixtures_are_the_ones_that_were_built() -> None:
    for line in (DEMO / "SHA256SUMS").read_text().splitlines():
        want, name = line.split("  ")
        assert hashlib.sha256((DEMO / name).read_bytes()).hexdigest() == want, name


@one_demo
def test_the_planted_surge_is_found_and_nothing_else_is_raised(demo: tuple[Path, dict[str, Any]], truth: dict[str, Any]) -> None:
    verdicts = {(a["zone"], a["class"]): a for a in demo[1]["alerts"]}
    surge = verdicts.pop(("yard", "railcar"))
    assert surge["verdict"] == "spike"
    assert surge["date"][:10] == truth["looks"][-1]["acquired"][:10]
    planted = truth["looks"][-1]["counts"]["yard"]
    assert surge["value"] == pytest.approx(planted, rel=0.25)
    assert {a["verdict"] for a in verdicts.values()} == {"within baseline"}


@one_demo
def test_the_ship_call_is_found_and_bracketed(demo: tuple[Path, dict[str, Any]], truth: dict[str, Any]) -> None:
    (call,) = json.loads((demo[0] / "calls.json").read_text())
    times = {look["id"]: look["acquired"][:10] for look in truth["looks"]}
    first, last = (times[i] for i in truth["planted"]["ship"])
    assert call["zone"] == "quay"
    assert (call["first_seen"][:10], call["last_seen"][:10]) == (first, last)
    assert call["last_empty"][:10] < first
    assert call["first_empty"][:10] > last


@one_demo
def test_clouded_and_half_seen_looks_are_reported_as_such(demo: tuple[Path, dict[str, Any]], truth: dict[str, Any]) -> None:
    rows = [line.split(",") for line in (demo[0] / "estimates.csv").read_text().splitlines()]
    head = rows[0]
    table = [dict(zip(head, row, strict=True)) for row in rows[1:]]
    clouded = [r for r in table if r["scenes"] == truth["planted"]["clouded"]]
    assert len(clouded) == 3
    assert all(r["value"] == "" and r["not_observed"].startswith("cloud") for r in clouded)
    half = [r for r in table if r["scenes"] == truth["planted"]["half_out_of_swath"]]
    assert all(0.2 < float(r["exposure"]) < 0.8 for r in half)


@one_demo
def test_the_counts_follow_the_truth(demo: tuple[Path, dict[str, Any]], truth: dict[str, Any]) -> None:
    rows = (demo[0] / "estimates.csv").read_text().splitlines()
    head = rows[0].split(",")
    off = []
    for line in rows[1:]:
        row = dict(zip(head, line.split(","), strict=True))
        look = next(t for t in truth["looks"] if t["id"] == row["scenes"])
        if row["value"] and float(row["exposure"]) > 0.95 and row["zone"] in {"yard", "stacks"}:
            off.append((float(row["value"]) - look["counts"][row["zone"]]) / look["counts"][row["zone"]])
    assert len(off) >= 26
    assert sum(abs(o) for o in off) / len(off) < 0.35


@one_demo
def test_the_report_is_one_page_that_asks_nothing_of_the_network(demo: tuple[Path, dict[str, Any]]) -> None:
    page = (demo[0] / "report.html").read_text()
    assert "railcars" in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert not re.search(r"url\(\s*['\"]?https?:", page)
    for link in re.findall(r'href="([^"#]+)"', page):
        assert (demo[0] / link).is_file(), link


@one_demo
def test_a_second_run_does_no_stage_again(demo: tuple[Path, dict[str, Any]]) -> None:
    before = digests(demo[0])
    again = finish(DEMO / "run.yaml", demo[0])
    assert sum(again["made"].values()) == 0
    assert sum(again["reused"].values()) == sum(demo[1]["made"].values()) + sum(demo[1]["reused"].values())
    assert digests(demo[0]) == before


def small_job(folder: Path, pattern: str) -> Path:
    """The demo with fewer looks and smaller pictures."""
    for name in ("site.yaml", "run.yaml"):
        shutil.copy(DEMO / name, folder / name)
    (folder / "imagery").mkdir()
    for path in sorted((DEMO / "imagery").glob(pattern)):
        shutil.copy(path, folder / "imagery" / path.name)
    run = yaml.safe_load((folder / "run.yaml").read_text())
    run["review"] = {"max_side_px": 400}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    return folder / "run.yaml"


def test_two_sites_in_one_job_keep_their_own_frames(tmp_path: Path) -> None:
    config = small_job(tmp_path, "look_0[12]*")
    second = yaml.safe_load((tmp_path / "site.yaml").read_text()) | {"id": "twin", "reference": "look_02_20240118"}
    (tmp_path / "twin.yaml").write_text(yaml.safe_dump(second))
    run = yaml.safe_load(config.read_text()) | {"sites": ["site.yaml", "twin.yaml"], "review": {"objects": True}}
    config.write_text(yaml.safe_dump(run))
    result = finish(config, tmp_path / "out")
    assert {a["site"] for a in result["alerts"]} == {"demo-port", "twin"}
    rows = [r.split(",") for r in (tmp_path / "out" / "estimates.csv").read_text().splitlines()[1:]]
    counts = {site: [row[5] for row in rows if row[0] == site] for site in ("demo-port", "twin")}
    assert counts["demo-port"] == counts["twin"]  # the same ground through two frames
    features = json.loads((tmp_path / "out" / "detections.geojson").read_text())["features"]
    assert {f["properties"]["class"] for f in features} >= {"railcar", "container"}


def test_a_bad_image_is_skipped_and_named(tmp_path: Path) -> None:
    config = small_job(tmp_path, "look_01*")
    shutil.copy(tmp_path / "imagery" / "look_01_20240109.yaml", tmp_path / "imagery" / "torn.yaml")
    whole = (tmp_path / "imagery" / "look_01_20240109.tif").read_bytes()
    (tmp_path / "imagery" / "torn.tif").write_bytes(whole[: len(whole) // 2])
    result = finish(config, tmp_path / "out")
    assert len(result["alerts"]) == 3
    (skipped,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["skipped"]
    assert skipped["name"] == "torn.tif"
    assert "torn.tif" in (tmp_path / "out" / "report.html").read_text()


def test_a_killed_run_ends_in_the_same_bytes(tmp_path: Path) -> None:
    config = small_job(tmp_path, "look_0[789]*")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(config, whole)
    for artefacts in (2, 5, 9):  # once in each part of the graph
        process = start(config, killed)
        limit = time.monotonic() + 300
        while len(list(killed.glob("store/*/*/done.json"))) < artefacts and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(config, killed)
    assert digests(killed) == digests(whole)
