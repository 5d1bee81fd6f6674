"""What a user writes: sites with versioned zones, and runs. Frozen, unknown keys rejected, every error names file and key.

A site file says *where* and *what is counted there*; a run file says *which images*, *which model* and *how*. Relative
paths in a file are relative to that file, with two exceptions: a `mask` is relative to its image, and a `model` that is a file
to the working directory.
"""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import models_json_schema

from pipeline.errors import ConfigError
from pipeline.site import ClassName, Identifier, Site, Strict

_M = TypeVar("_M", bound=BaseModel)

TIMES = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""First and last time that a look can have; year 23 or 20233 is a slip of the pen, and days before year 1 cannot be reckoned with."""

YAML_ERRORS = (yaml.YAMLError, AttributeError, LookupError, RecursionError, ValueError)
"""What `yaml.safe_load` raises: its own errors, and unconverted those of a value that is none, as 2024-02-30 or ``!!bool maybe``."""


def yaml_problem(error: Exception) -> str:
    """Where and why a text is not YAML, in one line: ``line 3: could not find expected ':'``."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    problem = problem or str(error).partition("\n")[0]
    return f"line {mark.line + 1}: {problem}" if mark else problem


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


class SceneMetadata(Strict):
    """What is declared about an image: a sidecar file, `imagery.scenes` and `imagery.defaults` all have these keys."""

    id: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    acquired: Annotated[AwareDatetime | None, BeforeValidator(_instant)] = Field(
        None,
        ge=TIMES[0],
        le=TIMES[1],
        description="time of acquisition with its offset, 2023-10-05T02:10:00Z; a date alone means 00:00 UTC",
    )
    sensor: str | None = None
    gsd_m: float | None = Field(None, gt=0, le=100, description="ground sample distance, metres per pixel")
    sun_elevation: float | None = Field(None, ge=-90, le=90)
    sun_azimuth: float | None = Field(None, ge=0, le=360)
    off_nadir: float | None = Field(None, ge=0, le=90)
    view_azimuth: float | None = Field(None, ge=0, le=360)
    bands: tuple[str, ...] | None = Field(None, description="names of the stored bands in order: red, green, blue, pan, ...")
    scale: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="stored number to reflectance; 1/255 for 8-bit visual products"
    )
    offset: float | None = Field(None, allow_inf_nan=False)
    nodata: float | None = None
    credit: str | None = None
    licence: str | None = None
    mask: Path | None = Field(None, description="raster of the image's shape, nonzero where the ground is not observed")
    cloud_mask: bool | None = Field(None, description="false switches the built-in cloud mask off for this image")
    note: str | None = None


class Imagery(Strict):
    """Where the images are, and what is declared about them."""

    folder: Path
    pattern: str = Field("*", description="glob of file names inside the folder")
    defaults: SceneMetadata = SceneMetadata()
    scenes: dict[str, SceneMetadata] = Field(default_factory=dict, description="by file name; wins over everything else")


class DetectionSettings(Strict):
    """Tiles and thresholds of the detector."""

    tile_px: int = Field(
        1024, ge=128, le=8192, description="core of a tile, working pixels; those of an image are equal and about so large"
    )
    threshold: dict[ClassName, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="overrides the model card's threshold for a class"
    )
    runtime: Literal["auto", "torch", "torch-bf16", "openvino", "openvino-bf16", "openvino-int8"] = "auto"


class ChangeSettings(Strict, allow_inf_nan=False):
    """Co-registration gate and object matching."""

    max_shift_m: float = Field(90.0, gt=0, description="largest misregistration looked for, metres")
    false_alarm_rate: float = Field(0.01, gt=0, lt=0.5, description="of a pixel of the change map under no change")
    min_area_m2: float = Field(20.0, ge=0, description="minimum mapping unit of a change polygon")


class ActivitySettings(Strict, allow_inf_nan=False):
    """Baseline and test (METHOD 6).

    The published conclusions fix the levels (METHOD 2.4): 5 October 2023 gives p = 0.0125 and must be an alarm (T1), so a
    spike is called below 0.02; 0.04 must be a watch (T4), so the watch level is 0.05.
    """

    guard_days: int = Field(28, ge=0, le=3660, description="days before the look under test that stay out of its baseline")
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
    look_hours: float = Field(12.0, ge=0, le=8784, description="scenes of a site closer in time than this make one look")

    @model_validator(mode="after")
    def _levels(self) -> Self:
        if self.alpha > self.watch:
            raise ValueError("alpha is above watch; a spike must be rarer than a watch")
        return self


class ReviewSettings(Strict):
    """What is drawn and exported."""

    max_side_px: int = Field(1600, ge=256, le=8000, description="longer side of an overlay")
    objects: bool = Field(
        False,
        description="export single objects with coordinates in the shareable files; zone level otherwise (METHOD 8b)",
    )
    embargo_days: int = Field(0, ge=0, le=36_600, description="looks younger than this are left out of the report and the exports")


class Execution(Strict):
    """Who does the work."""

    executor: Literal["serial", "threads", "processes", "dask"] = "serial"
    workers: int = Field(2, ge=1, le=256)


class Route(Strict, allow_inf_nan=False):
    """Two sites of a run between which ships carry what is watched; their calls are matched into voyages (METHOD 5, E5)."""

    origin: Identifier = Field(description="site where ships load")
    destination: Identifier = Field(description="site where they arrive")
    days: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0, le=366)]] = Field(
        description="shortest and longest passage, days"
    )

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.origin == self.destination:
            raise ValueError("origin and destination are one site")
        if self.days[0] > self.days[1]:
            raise ValueError("the shortest passage is longer than the longest")
        return self

    @property
    def passage(self) -> tuple[timedelta, timedelta]:
        """Shortest and longest passage."""
        return timedelta(days=self.days[0]), timedelta(days=self.days[1])


class Run(Strict):
    """One batch job: sites, imagery, model, stages, output."""

    name: Identifier
    sites: tuple[Path, ...] = Field(min_length=1)
    imagery: Imagery
    routes: tuple[Route, ...] = Field((), description="between which sites ships carry what is watched")
    model: str = "default"
    detection: DetectionSettings = DetectionSettings()
    change: ChangeSettings = ChangeSettings()
    activity: ActivitySettings = ActivitySettings()
    review: ReviewSettings = ReviewSettings()
    execution: Execution = Execution()
    output: Path

    def load_sites(self) -> tuple[Site, ...]:
        """Read the site files; two sites of one id are an error, and a route to a site that is none of them."""
        sites = tuple(load_site(path) for path in self.sites)
        ids = [s.id for s in sites]
        for path, site in zip(self.sites, sites, strict=True):
            if ids.count(site.id) > 1:
                raise ConfigError(f"{path}: duplicate site id '{site.id}'", "Give each site its own id.")
        for name in (end for route in self.routes for end in (route.origin, route.destination)):
            if name not in ids:
                raise ConfigError(f"routes: '{name}' is no site of this run", f"Its sites are {', '.join(ids)}.")
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
    """JSON Schema (2020-12) of both kinds of file, for editors; one `$defs` at the root, where every `$ref` looks."""
    kinds = Site, Run
    schemas, definitions = models_json_schema([(kind, "validation") for kind in kinds])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "yardwatch configuration",
        "oneOf": [schemas[kind, "validation"] for kind in kinds],
        **definitions,
    }


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text", "Save it as UTF-8.") from error
    except YAML_ERRORS as error:
        raise ConfigError(f"{path}: is not valid YAML ({yaml_problem(error)})", "Mend that line or value.") from error
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
