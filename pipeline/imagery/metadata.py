"""What is known about an image file, from the strongest source down; unknown is an error that names the key.

Precedence: the run's `imagery.scenes` entry, the sidecar ``<file>.yaml`` or ``<stem>.yaml``, a STAC item ``<stem>.json``, the
TIFF tags, the run's `imagery.defaults`. Only two things are conventions: an 8-bit picture with three or four bands is red,
green, blue (alpha) and with one band is panchromatic, both scaled by 1/255; and a projected CRS declares the GSD.
"""

import hashlib
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasterio
import yaml
from pydantic import ValidationError
from rasterio.errors import RasterioError

from pipeline.config import SceneMetadata
from pipeline.errors import MetadataError, UnreadableError
from pipeline.grid import Grid
from pipeline.imagery.scene import Radiometry, Scene, View

MAX_SIDE_PX = 400_000
"""Beyond any delivered scene; a header that claims more is damaged or hostile."""
GSD_TOLERANCE = 0.2
"""Relative difference between declared GSD and the transform's pixel size that is still one statement."""
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

_STAC = {
    "gsd": "gsd_m",
    "view:sun_elevation": "sun_elevation",
    "view:sun_azimuth": "sun_azimuth",
    "view:off_nadir": "off_nadir",
    "view:azimuth": "view_azimuth",
    "datetime": "acquired",
    "platform": "sensor",
    "license": "licence",
}
_TAGS = {
    "ACQUIRED": "acquired",
    "SENSOR": "sensor",
    "GSD_M": "gsd_m",
    "CREDIT": "credit",
    "LICENCE": "licence",
    "LICENSE": "licence",
    "SUN_ELEVATION": "sun_elevation",
    "SUN_AZIMUTH": "sun_azimuth",
    "OFF_NADIR": "off_nadir",
}
_NOT_GIVEN = {"", "not published", "unknown", "n/a", "none"}


def open_scene(
    path: Path,
    override: SceneMetadata | None = None,
    defaults: SceneMetadata | None = None,
    *,
    need_time: bool = True,
) -> Scene:
    """Describe one image file.

    Raises:
        UnreadableError: not an image, truncated header, absurd size, wrong number of bands.
        MetadataError: time, GSD, scale or bands are missing or contradict each other.
    """
    with _opened(path) as source:
        grid = _grid(path, source)
        sources = [override, _sidecar(path), _stac(path), _tags(path, source), defaults]
        known = _merge([s for s in sources if s is not None])
        bands, dtype, nodata = source.count, source.dtypes[0], source.nodata
    if need_time and known.acquired is None:
        raise MetadataError(
            f"{path}: the time of acquisition is not known",
            f"Write `acquired: 2024-05-01T02:10:00Z` into {path.stem}.yaml beside it, or into imagery.scenes of the run.",
        )
    mask = None if known.mask is None else path.parent / known.mask
    return Scene(
        id=known.id or path.stem,
        path=path,
        acquired=None if known.acquired is None else known.acquired.astimezone(UTC),
        sensor=known.sensor or "unknown sensor",
        gsd_m=_gsd(path, known, grid),
        view=View(known.sun_elevation, known.sun_azimuth, known.off_nadir, known.view_azimuth),
        radiometry=_radiometry(path, known, bands, dtype, nodata),
        grid=grid,
        sha256=_digest(path, mask),
        credit=known.credit or "",
        licence=known.licence or "",
        mask_path=mask,
        cloud_mask=known.cloud_mask is not False,
    )


def _opened(path: Path) -> Any:
    try:
        return rasterio.open(path)
    except (RasterioError, OSError) as error:
        raise UnreadableError(f"{path}: cannot be opened as an image", "Replace or remove the file.") from error


def _grid(path: Path, source: Any) -> Grid:
    if max(source.width, source.height) > MAX_SIDE_PX:
        raise UnreadableError(f"{path}: claims {source.width} x {source.height} pixels", "The header is damaged.")
    if source.crs is None:
        return Grid(source.width, source.height, IDENTITY, None)
    t = source.transform
    code = source.crs.to_authority()
    crs = ":".join(code) if code else source.crs.to_wkt()
    return Grid(source.width, source.height, (t.a, t.b, t.c, t.d, t.e, t.f), crs)


def _merge(sources: list[SceneMetadata]) -> SceneMetadata:
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        merged |= source.model_dump(exclude_none=True)
    return SceneMetadata(**merged)


def _sidecar(path: Path) -> SceneMetadata | None:
    for beside in (path.with_name(path.name + ".yaml"), path.with_suffix(".yaml")):
        if beside.is_file():
            try:
                data = yaml.safe_load(beside.read_text(encoding="utf-8"))
                return SceneMetadata.model_validate(data)
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise MetadataError(f"{beside}: is not valid YAML", "Mend it or remove it.") from error
            except ValidationError as error:
                raise _explained(beside, error) from error
    return None


def _explained(path: Path, error: ValidationError) -> MetadataError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
    if first["type"] == "timezone_aware":
        what += ", for example 2024-05-01T02:10:00Z"
    return MetadataError(f"{path}: {key}: {what}", "`yardwatch config schema` lists every key (SceneMetadata).")


def _stac(path: Path) -> SceneMetadata | None:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    try:
        item = json.loads(beside.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MetadataError(f"{beside}: is not valid JSON", "Mend it or remove it.") from error
    if not isinstance(item, dict) or "stac_version" not in item:
        return None
    properties = item.get("properties", {})
    known = {ours: properties[theirs] for theirs, ours in _STAC.items() if properties.get(theirs) is not None}
    for asset in item.get("assets", {}).values():
        if Path(str(asset.get("href", ""))).name == path.name:
            bands = asset.get("raster:bands") or asset.get("bands") or [{}]
            names = [b.get("name") or b.get("common_name") for b in asset.get("eo:bands", asset.get("bands", []))]
            known |= {k: bands[0][k] for k in ("scale", "offset", "nodata") if isinstance(bands[0].get(k), int | float)}
            known |= {"bands": tuple(names)} if names and all(names) else {}
    try:
        return SceneMetadata.model_validate(known)
    except ValidationError as error:
        raise _explained(beside, error) from error


def _tags(path: Path, source: Any) -> SceneMetadata:
    known: dict[str, Any] = {}
    for tag, value in source.tags().items():
        if tag in _TAGS and str(value).strip().lower() not in _NOT_GIVEN:
            known[_TAGS[tag]] = value
    if "acquired" in known:
        try:
            datetime.fromisoformat(known["acquired"])
        except ValueError as error:
            raise MetadataError(f"{path}: tag ACQUIRED is '{known['acquired']}'", "Write an ISO 8601 time.") from error
    if any(s != 1 for s in source.scales):
        known |= {"scale": source.scales[0], "offset": source.offsets[0]}
    try:
        return SceneMetadata.model_validate(known)
    except ValidationError as error:
        raise _explained(path, error) from error


def _gsd(path: Path, known: SceneMetadata, grid: Grid) -> float:
    from_grid: float | None = None
    if grid.crs is not None:
        from rasterio.crs import CRS

        crs = CRS.from_string(grid.crs)
        if crs.is_projected:
            x, y = grid.pixel_size()
            from_grid = math.sqrt(x * y) * crs.linear_units_factor[1]
    if known.gsd_m is None and from_grid is None:
        raise MetadataError(
            f"{path}: the ground sample distance is not known",
            f"Write `gsd_m: 0.5` into {path.stem}.yaml beside it, or give --gsd.",
        )
    if known.gsd_m is None:
        assert from_grid is not None
        return from_grid
    if from_grid is not None and abs(known.gsd_m / from_grid - 1) > GSD_TOLERANCE:
        raise MetadataError(
            f"{path}: gsd_m is declared as {known.gsd_m:g} but its transform says {from_grid:.3g} m per pixel",
            "Correct the declaration or the georeference.",
        )
    return from_grid if from_grid is not None else known.gsd_m


def _radiometry(path: Path, known: SceneMetadata, count: int, dtype: str, nodata: float | None) -> Radiometry:
    bands = known.bands
    if bands is None and dtype == "uint8" and count in {1, 3, 4}:
        bands = {1: ("pan",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}[count]
    if bands is None and count == 1:
        bands = ("pan",)
    if bands is None:
        raise MetadataError(f"{path}: what its {count} bands are is not known", "Declare `bands: [red, green, blue, nir]`.")
    if len(bands) != count:
        raise MetadataError(f"{path}: {len(bands)} bands are declared but the file has {count}", "Correct `bands`.")
    if not ({"red", "green", "blue"} <= set(bands) or "pan" in bands):
        raise MetadataError(f"{path}: neither red, green and blue nor pan is among its bands", "Correct `bands`.")
    scale = known.scale if known.scale is not None else (1 / 255 if dtype == "uint8" else None)
    if scale is None:
        raise MetadataError(
            f"{path}: stores {dtype} and no scale is declared",
            "Declare `scale` (1e-4 for reflectance times 10 000; 1/2047 for 11-bit numbers).",
        )
    return Radiometry(bands, scale, known.offset or 0.0, known.nodata if known.nodata is not None else nodata)


def _digest(path: Path, mask: Path | None) -> str:
    """SHA-256 of the image, and of its mask file when there is one."""
    digest = hashlib.sha256()
    for file in (path, mask):
        if file is not None:
            try:
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError as error:
                raise UnreadableError(f"{file}: cannot be read ({error.strerror})", "Check the file.") from error
    return digest.hexdigest()
