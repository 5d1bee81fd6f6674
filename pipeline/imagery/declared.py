"""What is declared about an image beside it and in it: sidecar YAML, STAC item, TIFF tags. Absent is absent, never guessed."""

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.config import YAML_ERRORS, SceneMetadata, yaml_problem
from pipeline.errors import MetadataError

MAX_BYTES = 4 * 2**20
"""A larger sidecar is no sidecar."""

_STAC = {
    "gsd": "gsd_m",
    "view:sun_elevation": "sun_elevation",
    "view:sun_azimuth": "sun_azimuth",
    "view:off_nadir": "off_nadir",
    "view:azimuth": "view_azimuth",
    "datetime": "acquired",
    "platform": "sensor",
    "constellation": "sensor",
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
    "VIEW_AZIMUTH": "view_azimuth",
}
_NOT_GIVEN = {"", "not published", "unknown", "n/a", "none"}


def from_sidecar(path: Path) -> SceneMetadata | None:
    """``<file>.yaml`` or ``<stem>.yaml`` beside the image; unknown keys are rejected.

    Raises:
        MetadataError: it is not YAML, or a key is unknown or wrong; names the file and the key.
    """
    for beside in (path.with_name(path.name + ".yaml"), path.with_suffix(".yaml")):
        if beside.is_file():
            try:
                known = yaml.safe_load(_text(beside))
            except YAML_ERRORS as error:
                raise MetadataError(f"{beside}: is not valid YAML ({yaml_problem(error)})", "Mend it or remove it.") from error
            try:
                return SceneMetadata.model_validate(known)
            except ValidationError as error:
                raise _explained(beside, error) from error
    return None


def from_stac(path: Path, dtype: str) -> SceneMetadata | None:
    """``<stem>.json`` beside the image when it is a STAC item (1.0 or 1.1): time, GSD, view, radiometry of the image's asset.

    Args:
        path: the image.
        dtype: type of its stored numbers; Sentinel-2's 8-bit picture (TCI) never carries the offset of its processing baseline.

    Raises:
        MetadataError: it is not JSON, or a member has a wrong type.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    try:
        item = json.loads(_text(beside))
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{beside}: is not valid JSON", "Mend it or remove it.") from error
    if not isinstance(item, dict) or "stac_version" not in item:
        return None
    properties = _mapping(item.get("properties"))
    known = {ours: properties[theirs] for theirs, ours in _STAC.items() if properties.get(theirs) is not None}
    for asset in _mapping(item.get("assets")).values():
        if Path(str(_mapping(asset).get("href", ""))).name == path.name:
            known |= _radiometry(beside, _mapping(asset))
    baseline = str(properties.get("s2:processing_baseline", ""))
    if baseline >= "04.00" and "offset" not in known and dtype != "uint8":
        applied = properties.get("earthsearch:boa_offset_applied") is True
        known["offset"] = 0.0 if applied else -0.1  # BOA_ADD_OFFSET is -1000 at 1e-4 from baseline 04.00 on
    try:
        return SceneMetadata.model_validate(known)
    except ValidationError as error:
        raise _explained(beside, error) from error


def from_tags(path: Path, source: Any) -> SceneMetadata:
    """Tags of the file (``ACQUIRED``, ``SENSOR``, ``GSD_M``, ``CREDIT``, ``LICENCE`` ...), its band scales and descriptions.

    Raises:
        MetadataError: a tag is malformed, or the bands have different scales.
    """
    known: dict[str, Any] = {}
    for tag, value in source.tags().items():
        key = _TAGS.get(tag.upper())
        if key and str(value).strip().lower() not in _NOT_GIVEN:
            known[key] = str(value).strip()
    if any(s != 1 for s in source.scales) or any(o != 0 for o in source.offsets):
        known |= _one_scale(path, list(zip(source.scales, source.offsets, strict=True)))
    described = tuple(str(d).strip().lower() for d in source.descriptions if d)
    if len(described) == source.count and (set(described) & {"red", "pan", "panchromatic", "gray", "grey"}):
        known["bands"] = described
    try:
        return SceneMetadata.model_validate(known)
    except ValidationError as error:
        raise _explained(path, error) from error


def _radiometry(beside: Path, asset: dict[str, Any]) -> dict[str, Any]:
    """Scale, offset, nodata and band names of an asset, from ``bands`` (STAC 1.1) or ``raster:bands`` and ``eo:bands``."""
    rows, named = _bands(beside, asset, "bands", "raster:bands"), _bands(beside, asset, "eo:bands", "bands")
    names = [b.get("eo:common_name") or b.get("common_name") or b.get("name") for b in named]
    known: dict[str, Any] = {"bands": tuple(str(n) for n in names)} if names and all(names) else {}
    if any("scale" in r or "raster:scale" in r for r in rows):
        pairs = [(r.get("raster:scale", r.get("scale", 1)), r.get("raster:offset", r.get("offset"))) for r in rows]
        known |= _one_scale(beside, pairs)
    nodata = rows[0].get("nodata") if rows else asset.get("nodata")
    return known | ({"nodata": float("nan") if nodata == "nan" else nodata} if nodata is not None else {})


def _bands(beside: Path, asset: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    """The first of the members that says anything, which must be a list of objects."""
    key = next((k for k in keys if asset.get(k)), None)
    bands = asset[key] if key else []
    if not isinstance(bands, list) or not all(isinstance(b, dict) for b in bands):
        raise MetadataError(f"{beside}: {key} is not a list of bands, each an object", "Mend it or remove it.")
    return bands


def _one_scale(path: Path, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    if any(pair != pairs[0] for pair in pairs):
        raise MetadataError(f"{path}: its bands have different scales", "Bring them to one scale, or declare `scale`.")
    scale, offset = pairs[0]
    return {"scale": scale} | ({} if offset is None else {"offset": offset})


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise MetadataError(f"{path}: is larger than {MAX_BYTES >> 20} MiB", "It cannot describe an image; remove it.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MetadataError(f"{path}: cannot be read as UTF-8 text", "Mend it or remove it.") from error


def _explained(path: Path, error: ValidationError) -> MetadataError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    if first["type"] == "timezone_aware":
        what = f"'{first['input']}' names no time zone; write 2024-05-01T02:10:00Z"
    where = f"{path}: {key}" if key else str(path)
    return MetadataError(f"{where}: {what}", "`yardwatch config schema` lists every key (SceneMetadata).")
