"""Where, and what is counted there: sites with versioned zones. Frozen, unknown keys rejected."""

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from shapely import get_parts, is_valid_reason
from shapely.errors import ShapelyError
from shapely.geometry import MultiLineString, shape
from shapely.geometry.base import BaseGeometry

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
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
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
    lines = _shape(value)
    if lines.geom_type not in {"LineString", "MultiLineString"} or lines.is_empty:
        raise ValueError("centre_lines must be a LineString or a MultiLineString that is not empty")
    return value


def _shape(value: dict[str, Any]) -> BaseGeometry:
    try:
        return shape(value)
    except (ShapelyError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"not a GeoJSON geometry: {error}") from error


PolygonGeometry = Annotated[dict[str, Any], BeforeValidator(_load_geometry), AfterValidator(_polygon)]
LineGeometry = Annotated[dict[str, Any], BeforeValidator(_load_geometry), AfterValidator(_lines)]


class Strict(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Zone(Strict):
    """One version of one zone: where, which classes are counted in it, and when this outline held.

    A changed outline is a new `version` with its own validity; numbers of two versions are never mixed (METHOD 0, item 11).
    Kinds `track` and `container_yard` are land: no hull is believed there, unless vessels are among the classes.
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
    def lines(self) -> BaseGeometry | None:
        """Its centre lines in the site's CRS, cut at the outline: zones may share one file of lines, and each has its own cars."""
        if self.centre_lines is None:
            return None
        cut = shape(self.centre_lines).intersection(self.shape)
        return MultiLineString([piece for piece in get_parts(cut) if piece.geom_type == "LineString" and not piece.is_empty])

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


class Site(Strict):
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
            if zone.lines is not None and zone.lines.is_empty:
                raise ValueError(f"zone '{zone.id}': its centre_lines lie outside its outline; give both in {self.crs} coordinates")
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
