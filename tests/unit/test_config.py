"""The configuration says where it is wrong and what to do."""

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from models import CLASSES
from pipeline import config
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


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2", "", "\x00", "a: &x [*x]"])
def test_broken_yaml_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"site\.yaml"):
        config.load_site(path)


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
    import json

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


def test_two_sites_of_one_id_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, site())
    write(tmp_path, site(), "other.yaml")
    data = {"name": "try", "sites": ["site.yaml", "other.yaml"], "imagery": {"folder": "."}, "output": "out"}
    with pytest.raises(ConfigError, match="duplicate site id 'demo'"):
        config.check(write(tmp_path, data, "run.yaml"))


def test_the_schema_names_every_key_of_a_zone() -> None:
    schema = config.json_schema()
    zone_schema = schema["oneOf"][0]["$defs"]["Zone"]
    assert set(zone_schema["properties"]) == set(Zone.model_fields)
    assert zone_schema["additionalProperties"] is False
