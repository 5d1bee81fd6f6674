"""What a user writes: sites with versioned zones, and runs. Frozen, unknown keys rejected, every error names file and key.

A site file says *where* and *what is counted there*; a run file says *which images*, *which model* and *how*. Relative
paths in a file are relative to that file.
"""

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from shapely import is_valid_reason
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from pipeline.errors import ConfigError

_M = TypeVar("_M", bound=BaseModel)

PIXEL_CRS = "pixel"
"""`Site.crs` for images without georeference: geometry is in pixels (x right, y down) of the site's images."""

ZoneKind = Literal["berth", "container_yard", "track", "apron", "storage", "anchorage"]
SiteKind = Literal["port", "rail_yard", "depot"]
ClassName = Literal["container", "railcar", "vessel"]

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""Lower-case letters, digits, ``-`` and ``_``: safe as a file name and as a key."""


def _known_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("a class is listed twice")
    return names


def _load_geometry(value: Any, info: ValidationInfo) -> Any:
    """Inline GeoJSON mapping, or the path of a GeoJSON file holding one geometry, feature or one-feature collection."""
    if isinstance(value, str):
        base: Path = (info.context or {}).get("base", Path())
        path = base / value
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"cannot read the geometry file {path}: {error}") from error
    if isinstance(value, dict) and value.get("type") == "FeatureCollection":
        features = value.get("features") or []
        if len(features) != 1:
            raise ValueError(f"the geometry file holds {len(features)} features; exactly one is wanted")
        value = features[0]
    if isinstance(value, dict) and value.get("type") == "Feature":
        value = value.get("geometry")
    if not isinstance(value, dict):
        raise ValueError("geometry must be a GeoJSON mapping or the path of a GeoJSON file")  # noqa: TRY004 - pydantic wants ValueError
    return value


def _polygon(value: dict[str, Any]) -> dict[str, Any]:
    geometry = _shape(value)
    if geometry.geom_type not in {"Polygon", "MultiPolygon"}:
        raise ValueError(f"geometry is a {geometry.geom_type}; a Polygon or MultiPolygon is wanted")
    if not geometry.is_valid:
        raise ValueError(f"the polygon is not valid ({is_valid_reason(geometry)}); draw its ring without crossings")
    if geometry.is_empty or geometry.area == 0:
        raise ValueError("the polygon is empty; give at least three distinct corners")
    return value


def _lines(value: dict[str, Any]) -> dict[str, Any]:
    if _shape(value).geom_type not in {"LineString", "MultiLineString"}:
        raise ValueError("centre_lines must be a LineString or a MultiLineString")
    return value


def _shape(value: dict[str, Any]) -> BaseGeometry:
    try:
        return shape(value)
    except (ShapelyError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"not a GeoJSON geometry: {error}") from error


PolygonGeometry = Annotated[dict[str, Any], BeforeValidator(_load_geometry), AfterValidator(_polygon)]
LineGeometry = Annotated[dict[str, Any], BeforeValidator(_load_geometry), AfterValidator(_lines)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Zone(_Strict):
    """One version of one zone: where, which classes are counted in it, and when this outline held.

    A changed outline is a new `version` with its own validity; numbers of two versions are never mixed (METHOD 0, item 11).
    """

    id: Identifier
    kind: ZoneKind
    version: int = Field(1, ge=1)
    classes: Annotated[tuple[ClassName, ...], AfterValidator(_known_classes)] = Field(min_length=1)
    geometry: PolygonGeometry
    centre_lines: LineGeometry | None = Field(None, description="track centre lines, for occupied-track length (METHOD 5, E2)")
    fleet: Annotated[tuple[float, float], Field(description="mean and standard deviation")] | None = Field(
        None, description="metres per car over couplers where the fleet is known, and the error of that; 14.0 and 1.0 otherwise"
    )
    valid_from: date | None = None
    valid_to: date | None = None
    note: str = ""

    @property
    def shape(self) -> BaseGeometry:
        """The outline in the site's CRS."""
        return shape(self.geometry)

    @property
    def key(self) -> str:
        """``id@version``, the name under which numbers of this outline are kept."""
        return f"{self.id}@{self.version}"

    def valid_on(self, day: date) -> bool:
        """Whether this version of the outline holds on a day; both ends inclusive."""
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day <= self.valid_to)

    @model_validator(mode="after")
    def _cars_have_a_length(self) -> Self:
        if self.fleet and not (5 <= self.fleet[0] <= 40 and 0 < self.fleet[1] <= self.fleet[0]):
            raise ValueError("fleet must be the mean length of a car, 5 to 40 m, and its standard deviation; write [14.0, 1.0]")
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_from > self.valid_to:
            raise ValueError("valid_from is after valid_to; swap them")
        return self


class Site(_Strict):
    """A port, rail yard or depot with its zones."""

    id: Identifier
    name: str = Field(min_length=1)
    kind: SiteKind
    crs: str = Field(description=f"authority string such as EPSG:32611, or '{PIXEL_CRS}'")
    aoi: PolygonGeometry
    zones: tuple[Zone, ...] = Field(min_length=1)
    reference: str | None = Field(
        None,
        description="scene id whose frame the outlines were drawn in; the earliest scene of the site otherwise",
    )
    note: str = ""

    @field_validator("crs")
    @classmethod
    def _crs_is_known(cls, value: str) -> str:
        if value == PIXEL_CRS:
            return value
        from rasterio.crs import CRS
        from rasterio.errors import CRSError

        try:
            CRS.from_string(value)
        except CRSError as error:
            raise ValueError(f"'{value}' is not a CRS; write for example EPSG:32611, or '{PIXEL_CRS}'") from error
        return value

    @model_validator(mode="after")
    def _zones_fit(self) -> Self:
        seen: set[str] = set()
        aoi = shape(self.aoi)
        tolerance = 1e-9 * max(aoi.length, 1.0)  # rounding of written coordinates, far below a pixel
        for zone in self.zones:
            if zone.key in seen:
                raise ValueError(f"duplicate zone id '{zone.id}' version {zone.version}; rename it or raise the version")
            seen.add(zone.key)
            if not aoi.buffer(tolerance).covers(zone.shape):
                raise ValueError(f"zone '{zone.id}' reaches outside the AOI; move it inside or enlarge the AOI")
        for a in self.zones:
            for b in self.zones:
                if a.id == b.id and a.version < b.version and _overlap(a, b):
                    raise ValueError(
                        f"zone '{a.id}': versions {a.version} and {b.version} hold on the same days; "
                        "end one with valid_to before the other's valid_from"
                    )
        return self

    def zones_on(self, day: date) -> tuple[Zone, ...]:
        """The zone versions that hold on a day."""
        return tuple(z for z in self.zones if z.valid_on(day))


def _overlap(a: Zone, b: Zone) -> bool:
    starts = max(a.valid_from or date.min, b.valid_from or date.min)
    ends = min(a.valid_to or date.max, b.valid_to or date.max)
    return starts <= ends


def _instant(value: Any) -> Any:
    """A date alone is 00:00 UTC of that day, since many looks are published without their hour; a bare number is no time."""
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit()):
        raise ValueError("a number is not a time; write 2024-05-01T02:10:00Z, or 2024-05-01 where only the day is known")
    if isinstance(value, str) and _DAY.fullmatch(value.strip()):
        value = date.fromisoformat(value.strip())
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class SceneMetadata(_Strict):
    """What is declared about an image: a sidecar file, `imagery.scenes` and `imagery.defaults` all have these keys."""

    id: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    acquired: Annotated[AwareDatetime | None, BeforeValidator(_instant)] = Field(
        None, description="time of acquisition with its offset, 2023-10-05T02:10:00Z; a date alone means 00:00 UTC"
    )
    sensor: str | None = None
    gsd_m: float | None = Field(None, gt=0, le=100, description="ground sample distance, metres per pixel")
    sun_elevation: float | None = Field(None, ge=-90, le=90)
    sun_azimuth: float | None = Field(None, ge=0, le=360)
    off_nadir: float | None = Field(None, ge=0, le=90)
    view_azimuth: float | None = Field(None, ge=0, le=360)
    bands: tuple[str, ...] | None = Field(None, description="names of the stored bands in order: red, green, blue, pan, ...")
    scale: float | None = Field(None, gt=0, description="stored number to reflectance; 1/255 for 8-bit visual products")
    offset: float | None = None
    nodata: float | None = None
    credit: str | None = None
    licence: str | None = None
    mask: Path | None = Field(None, description="raster of the image's shape, nonzero where the ground is not observed")
    cloud_mask: bool | None = Field(None, description="false switches the built-in cloud mask off for this image")
    note: str | None = None


class Imagery(_Strict):
    """Where the images are, and what is declared about them."""

    folder: Path
    pattern: str = Field("*", description="glob of file names inside the folder")
    defaults: SceneMetadata = SceneMetadata()
    scenes: dict[str, SceneMetadata] = Field(default_factory=dict, description="by file name; wins over everything else")


class DetectionSettings(_Strict):
    """Tiles and thresholds of the detector."""

    tile_px: int = Field(1024, ge=128, le=8192, description="core of a tile, working pixels")
    threshold: dict[ClassName, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="overrides the model card's threshold for a class"
    )
    runtime: Literal["auto", "torch", "torch-bf16", "openvino", "openvino-bf16"] = "auto"


class ChangeSettings(_Strict):
    """Co-registration gate and object matching."""

    max_shift_m: float = Field(90.0, gt=0, description="largest misregistration looked for, metres")
    false_alarm_rate: float = Field(0.01, gt=0, lt=0.5, description="of a pixel of the change map under no change")
    min_area_m2: float = Field(20.0, ge=0, description="minimum mapping unit of a change polygon")


class ActivitySettings(_Strict):
    """Baseline and test (METHOD 6).

    The published conclusions fix the levels (METHOD 2.4): 5 October 2023 gives p = 0.0125 and must be an alarm (T1), so a
    spike is called below 0.02; 0.04 must be a watch (T4), so the watch level is 0.05.
    """

    guard_days: int = Field(28, ge=0, description="days before the look under test that stay out of its baseline")
    season_days: int = Field(
        45,
        ge=0,
        le=182,
        description="with two years of looks the baseline keeps those within so many days of the season; 0: never",
    )
    min_looks_p: int = Field(5, ge=2, description="looks needed to print a p-value")
    min_looks_spike: int = Field(8, ge=2, description="looks needed to say spike or drop")
    min_count: float = Field(
        5.0,
        ge=0,
        description="a spike needs this many objects, a drop this many expected (Farrington's limit54)",
    )
    alpha: float = Field(0.02, gt=0, lt=0.5, description="q below which a look is a spike or a drop")
    watch: float = Field(0.05, gt=0, lt=0.5, description="p below which a look is on watch")
    look_hours: float = Field(12.0, ge=0, description="scenes of a site closer in time than this make one look")

    @model_validator(mode="after")
    def _levels(self) -> Self:
        if self.alpha > self.watch:
            raise ValueError("alpha is above watch; a spike must be rarer than a watch")
        return self


class ReviewSettings(_Strict):
    """What is drawn and exported."""

    max_side_px: int = Field(1600, ge=256, le=8000, description="longer side of an overlay")
    objects: bool = Field(
        False,
        description="export single objects with coordinates in the shareable files; zone level otherwise (METHOD 8b)",
    )
    embargo_days: int = Field(0, ge=0, description="looks younger than this are left out of the report and the exports")


class Execution(_Strict):
    """Who does the work."""

    executor: Literal["serial", "threads", "processes", "dask"] = "serial"
    workers: int = Field(2, ge=1, le=256)


class Run(_Strict):
    """One batch job: sites, imagery, model, stages, output."""

    name: Identifier
    sites: tuple[Path, ...] = Field(min_length=1)
    imagery: Imagery
    model: str = "default"
    detection: DetectionSettings = DetectionSettings()
    change: ChangeSettings = ChangeSettings()
    activity: ActivitySettings = ActivitySettings()
    review: ReviewSettings = ReviewSettings()
    execution: Execution = Execution()
    output: Path

    def load_sites(self) -> tuple[Site, ...]:
        """Read the site files; two sites of one id are an error."""
        sites = tuple(load_site(path) for path in self.sites)
        ids = [s.id for s in sites]
        for path, site in zip(self.sites, sites, strict=True):
            if ids.count(site.id) > 1:
                raise ConfigError(f"{path}: duplicate site id '{site.id}'", "Give each site its own id.")
        return sites


def load_site(path: Path) -> Site:
    """Read and check one site file.

    Raises:
        ConfigError: the file cannot be read or a key is wrong.
    """
    return _load(path, Site)


def load_run(path: Path) -> Run:
    """Read and check one run file; its paths are made relative to the file.

    Raises:
        ConfigError: the file cannot be read or a key is wrong.
    """
    run = _load(path, Run)
    base = path.parent
    return run.model_copy(
        update={
            "sites": tuple(base / p for p in run.sites),
            "imagery": run.imagery.model_copy(update={"folder": base / run.imagery.folder}),
            "output": base / run.output,
        }
    )


def check(path: Path) -> Site | Run:
    """Read a file as the kind it is: a run names its `sites`, a site has an `aoi`.

    Raises:
        ConfigError: as `load_site` and `load_run`.
    """
    if "sites" in _read_yaml(path):
        run = load_run(path)
        run.load_sites()
        return run
    return load_site(path)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of both kinds of file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "yardwatch configuration",
        "oneOf": [Site.model_json_schema(), Run.model_json_schema()],
    }


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text", "Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{path}:{line} is not valid YAML ({problem})", "Mend that line.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds no mapping of keys", "See `yardwatch config schema`.")
    return data


def _load(path: Path, model: type[_M]) -> _M:
    data = _read_yaml(path)
    try:
        return model.model_validate(data, context={"base": path.parent})
    except ValidationError as error:
        raise _explain(path, error) from error


def _explain(path: Path, error: ValidationError) -> ConfigError:
    """One sentence for the first problem, with the number of the others."""
    first, *others = error.errors()
    key = ".".join(str(part) for part in first["loc"]) or "file"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    more = f" ({len(others)} more problem{'s' if len(others) > 1 else ''} after this one)" if others else ""
    return ConfigError(f"{path}: {key}: {message}{more}", "`yardwatch config schema` lists every key.")
