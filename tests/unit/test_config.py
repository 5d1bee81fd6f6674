"""What a user writes, in files and on the command line: taken as it stands, or told where it is wrong and what to do."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import yaml
from typer.testing import CliRunner

from models import CLASSES
from pipeline import commands, config
from pipeline.cli import app
from pipeline.errors import ConfigError
from pipeline.site import ClassName, Site, Zone

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]]]}
INNER = {"type": "Polygon", "coordinates": [[[10, 10], [40, 10], [40, 40], [10, 40], [10, 10]]]}
BOW_TIE = {"type": "Polygon", "coordinates": [[[10, 10], [40, 40], [40, 10], [10, 40], [10, 10]]]}
OUTER = {"type": "Polygon", "coordinates": [[[10, 10], [400, 10], [400, 40], [10, 40], [10, 10]]]}


def zone(**changes: Any) -> dict[str, Any]:
    return {"id": "yard", "kind": "track", "classes": ["railcar"], "geometry": INNER} | changes


def site(*zones: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "demo",
        "name": "Demo",
        "kind": "port",
        "crs": "pixel",
        "aoi": SQUARE,
        "zones": list(zones) or [zone()],
    } | changes


def write(folder: Path, data: Any, name: str = "site.yaml") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return path


def test_a_good_site_loads_and_is_frozen(tmp_path: Path) -> None:
    loaded = config.load_site(write(tmp_path, site()))
    assert loaded.zones[0].key == "yard@1"
    assert loaded.zones[0].shape.area == 900
    with pytest.raises(ValueError, match="frozen"):
        loaded.name = "other"  # type: ignore[misc]


def test_class_names_of_zones_are_the_detectors_classes() -> None:
    assert get_args(ClassName) == CLASSES


@pytest.mark.parametrize(
    ("data", "key", "says"),
    [
        (site(colour="red"), "colour", "unknown key"),
        (site(zone(shade="dark")), "zones.0.shade", "unknown key"),
        (site(zone(geometry=BOW_TIE)), "zones.0.geometry", "without crossings"),
        (site(zone(geometry=OUTER)), "file", "zone 'yard' reaches outside the AOI"),
        (site(zone(), zone()), "file", "duplicate zone id 'yard'"),
        (site(zone(), zone(version=2)), "file", "hold on the same days"),
        (site(zone(classes=["tractor"])), "zones.0.classes.0", "container"),
        (site(zone(classes=["railcar", "railcar"])), "zones.0.classes", "twice"),
        (site(zone(classes=[])), "zones.0.classes", "at least 1"),
        (site(zone(geometry={"type": "Point", "coordinates": [1, 2]})), "zones.0.geometry", "is a Point"),
        (site(zone(geometry={"type": "Polygon"})), "zones.0.geometry", "not a GeoJSON geometry"),
        (site(zone(geometry="missing.geojson")), "zones.0.geometry", "missing.geojson"),
        (site(zone(valid_from="2024-02-01", valid_to="2024-01-01")), "zones.0", "swap them"),
        (site(crs="EPSG:999999999"), "crs", "is not a CRS"),
        (site(id="../../etc"), "id", "pattern"),
    ],
)
def test_each_mistake_names_file_key_and_remedy(tmp_path: Path, data: Any, key: str, says: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(ConfigError) as caught:
        config.load_site(path)
    message = str(caught.value)
    assert str(path) in message
    assert f" {key}: " in message
    assert says in message


BROKEN = ["a: [1", "- 1\n- 2", "", "\x00", "a: &x [*x]", "a: 2024-02-30", "a: !!bool maybe", "a: " + "[" * 5000]


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:16])
def test_broken_yaml_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"site\.yaml") as caught:
        config.load_site(path)
    assert caught.value.fix
    recipe = CliRunner().invoke(app, ["train", str(path), "--out", str(tmp_path / "out")]).exception
    assert isinstance(recipe, ConfigError)
    assert str(path) in recipe.what
    assert "\n" not in str(recipe)


def test_a_missing_file_and_latin1_text_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load_site(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: Caf\xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load_site(tmp_path / "latin.yaml")


def test_versions_with_separate_validity_live_side_by_side(tmp_path: Path) -> None:
    first, second = zone(valid_to="2023-10-26"), zone(version=2, valid_from="2023-10-27")
    loaded = config.load_site(write(tmp_path, site(first, second)))
    from datetime import date

    assert [z.key for z in loaded.zones_on(date(2023, 10, 26))] == ["yard@1"]
    assert [z.key for z in loaded.zones_on(date(2023, 10, 27))] == ["yard@2"]


def test_geometry_may_come_from_a_file_beside_the_site(tmp_path: Path) -> None:
    feature = {"type": "Feature", "properties": {}, "geometry": INNER}
    write(tmp_path, yaml.safe_dump({"type": "FeatureCollection", "features": [feature]}), "notjson.geojson")
    with pytest.raises(ConfigError, match="cannot read the geometry file"):
        config.load_site(write(tmp_path, site(zone(geometry="notjson.geojson"))))
    write(tmp_path, json.dumps({"type": "FeatureCollection", "features": [feature]}), "yard.geojson")
    loaded = config.load_site(write(tmp_path, site(zone(geometry="yard.geojson"))))
    assert loaded.zones[0].shape.area == 900


def test_a_run_is_relative_to_its_own_file(tmp_path: Path) -> None:
    write(tmp_path, site())
    data = {"name": "try", "sites": ["site.yaml"], "imagery": {"folder": "images"}, "output": "out"}
    run = config.load_run(write(tmp_path, data, "run.yaml"))
    assert run.imagery.folder == tmp_path / "images"
    assert run.output == tmp_path / "out"
    assert isinstance(config.check(tmp_path / "run.yaml"), config.Run)
    assert isinstance(config.check(tmp_path / "site.yaml"), Site)


@pytest.mark.parametrize(("days", "end", "said"), [([4, 1], "b", "longer than the longest"), ([1, 4], "a", "one site")])
def test_a_route_has_two_ends_and_a_passage(days: list[float], end: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        config.Route.model_validate({"origin": "a", "destination": end, "days": days})


def test_two_sites_of_one_id_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, site())
    write(tmp_path, site(), "other.yaml")
    data = {"name": "try", "sites": ["site.yaml", "other.yaml"], "imagery": {"folder": "."}, "output": "out"}
    with pytest.raises(ConfigError, match="duplicate site id 'demo'"):
        config.check(write(tmp_path, data, "run.yaml"))


@pytest.mark.parametrize(
    "part",
    [
        {"imagery": {"folder": ".", "defaults": {"scale": float("inf")}}},
        {"imagery": {"folder": ".", "defaults": {"offset": float("nan")}}},
        {"imagery": {"folder": ".", "defaults": {"acquired": "0023-10-05"}}},
        {"change": {"max_shift_m": float("inf")}},
        {"activity": {"guard_days": 800_000}},  # before year 1, as the two below
        {"activity": {"look_hours": 1e12}},
        {"review": {"embargo_days": 800_000}},
    ],
    ids=str,
)
def test_a_number_that_nothing_can_be_reckoned_with_is_refused(tmp_path: Path, part: dict[str, Any]) -> None:
    data = {"name": "try", "sites": ["site.yaml"], "imagery": {"folder": "."}, "output": "out"}
    keys = next(iter(part.values()))
    key = next(iter(keys.get("defaults", keys)))
    with pytest.raises(ConfigError, match=rf"run\.yaml: .*{key}: "):
        config.load_run(write(tmp_path, data | part, "run.yaml"))


def test_nodata_may_be_no_number() -> None:
    assert config.SceneMetadata(nodata=float("nan")).nodata is not None


def test_the_schema_names_every_key_of_a_zone() -> None:
    schema = config.json_schema()
    zone_schema = schema["$defs"]["Zone"]
    assert set(zone_schema["properties"]) == set(Zone.model_fields)
    assert zone_schema["additionalProperties"] is False


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    schema = json.loads(CliRunner().invoke(app, ["config", "schema"]).stdout)
    references: set[str] = set()

    def collect(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            if key == "$ref":
                references.add(value)
            collect(value)

    collect(schema)
    assert {"#/$defs/Site", "#/$defs/Run", "#/$defs/Zone", "#/$defs/SceneMetadata"} <= references
    for reference in references:
        node = schema
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert isinstance(node, dict)


def counts(folder: Path, *, last: str) -> str:
    """A table of nine looks, the last of them high, in a place whose names look like rich's markup."""
    rows = [f"2023-0{month}-01,pier [north],:tada: [/b],railcar,5" for month in range(1, 9)]
    rows.append(f"{last},pier [north],:tada: [/b],railcar,90")
    return str(write(folder, "\n".join(["date,site,zone,class,value", *rows]) + "\n", "[red]counts.csv"))


def test_names_and_paths_are_printed_as_they_are_written(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["spikes", counts(tmp_path, last="2023-09-01"), "--on", "2023-09-01"])
    assert found.exception is None
    table, sentence = found.stdout.split("\n\n")[0], found.stdout.split("\n\n")[1]
    assert "[red]counts.csv" in table
    assert "pier [north]" in table
    assert "pier [north], zone :tada: [/b]" in sentence
    out = tmp_path / "[bold]"
    assert f"{out / 'rajin.svg'}" in CliRunner().invoke(app, ["demo", "--case", "rajin", "--out", str(out)]).stdout


@pytest.mark.parametrize(("day", "inferred", "time"), [("2023-09-01", False, "10:30"), ("2023-09-02", True, "00:00")])
def test_what_stood_on_a_day_is_asked_of_the_look_of_that_day(tmp_path: Path, day: str, inferred: bool, time: str) -> None:
    found = CliRunner().invoke(app, ["spikes", counts(tmp_path, last="2023-09-01T10:30"), "--on", day, "--json"])
    (stock,) = json.loads(found.stdout)["stocks"]
    assert stock["inferred"] is inferred
    assert stock["date"] == f"{day}T{time}:00+00:00"


@pytest.mark.parametrize("gsd", ["500", "nan", "inf", "0"])
@pytest.mark.parametrize("verb", ["detect a.tif", "compare a.tif b.tif", "tracks a.tif", "series a.tif"])
def test_a_gsd_out_of_range_is_wrong_usage(tmp_path: Path, verb: str, gsd: str) -> None:
    found = CliRunner().invoke(app, [*verb.split(), "--out", str(tmp_path), "--gsd", gsd])
    assert (found.exit_code, type(found.exception)) == (2, SystemExit)
    assert "--gsd" in found.stderr


def test_verbose_tells_the_steps_and_quiet_leaves_out_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def job(_run: Any, report: Any, _cached: bool) -> Any:
        return SimpleNamespace(perform=lambda: report("finding objects", 1, 2), made={}, reused={}, skipped=[])

    monkeypatch.setattr("pipeline.run.job.Job", job)
    monkeypatch.setattr("pipeline.run.publish.publish_all", lambda *_: [])
    with caplog.at_level(logging.INFO):
        commands.run_job(commands.demo_run(), out=tmp_path, imagery=None, quiet=True, as_json=False)
    assert "finding objects: 1 of 2" in caplog.text
    commands.tell_case("rajin", tmp_path, quiet=True)
    assert capsys.readouterr().out == ""
