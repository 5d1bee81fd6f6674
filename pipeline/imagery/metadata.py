"""What is known about an image file, from the strongest source down; unknown is an error that names the key.

Precedence: the run's `imagery.scenes` entry, the sidecar ``<file>.yaml`` or ``<stem>.yaml``, a STAC item ``<stem>.json``, the
TIFF tags, the run's `imagery.defaults`, the product's profile (`pipeline.imagery.sensors`). A georeference declares the GSD. Three
things are conventions: 8-bit numbers scale by 1/255, three unnamed 8-bit bands are red, green, blue, and one unnamed band is pan.
"""

import re
from datetime import UTC
from pathlib import Path
from typing import Any

from pipeline.config import SceneMetadata
from pipeline.errors import MetadataError, UnreadableError
from pipeline.grid import Grid
from pipeline.imagery.declared import from_sidecar, from_stac, from_tags
from pipeline.imagery.files import GDAL_ERRORS, opened, sha256
from pipeline.imagery.place import ground_size, utm_zone
from pipeline.imagery.scene import Radiometry, Scene, View
from pipeline.imagery.sensors import declared_by_profile, offset_must_be_declared

MAX_SIDE_PX = 400_000
MAX_PIXELS = 10_000_000_000
"""Beyond any delivered scene (a 100 km strip at 0.3 m has 4e9); a header that claims more is damaged or hostile."""
FARTHEST = 1e9
"""Map units: the Earth is 4e7 m around, 1.3e8 feet. A damaged header may claim any number, or none."""
GSD_TOLERANCE = 0.2
"""Relative difference between declared GSD and the transform's pixel size that is still one statement."""
SQUARE_TOLERANCE = 0.1
"""Pixels whose sides differ more on the ground would turn every length and angle."""
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def open_scene(
    path: Path,
    override: SceneMetadata | None = None,
    defaults: SceneMetadata | None = None,
    *,
    need_time: bool = True,
) -> Scene:
    """Describe one image file.

    Args:
        path: the image.
        override: wins over everything the file and its neighbours say.
        defaults: used where nothing else is said.
        need_time: whether a missing time is an error; without it `Scene.acquired` may be None.

    Raises:
        UnreadableError: not an image, truncated header, absurd size, complex numbers or a palette.
        MetadataError: time, GSD, scale or bands are missing or contradict each other.
    """
    if not path.is_file():
        raise UnreadableError(f"{path}: is not a file", "Check the path.")
    with opened(path) as source:
        grid, dtype = _grid(path, source), _dtype(path, source)
        sources = [override, from_sidecar(path), from_stac(path, dtype), from_tags(path, source), defaults]
        known = _merge(sources)
        georeferenced = grid.crs is not None
        known = _merge([known, declared_by_profile(known.sensor, dtype, georeferenced=georeferenced)])
        radiometry = _radiometry(path, known, source)
        stamp = source.tags().get("TIFFTAG_DATETIME")
    if need_time and known.acquired is None:
        hint = f" (its TIFF stamp {stamp} is the time of writing, in no stated zone)" if stamp else ""
        raise MetadataError(
            f"{path}: the time of acquisition is not known{hint}",
            f"Write `acquired: 2024-05-01T02:10:00Z` into {path.stem}.yaml beside it, or into imagery.scenes of the run.",
        )
    mask = _mask(path, known)
    return Scene(
        id=known.id or _id(path),
        path=path,
        acquired=None if known.acquired is None else known.acquired.astimezone(UTC),
        sensor=known.sensor or "unknown sensor",
        gsd_m=_gsd(path, known, grid),
        view=View(known.sun_elevation, known.sun_azimuth, known.off_nadir, known.view_azimuth),
        radiometry=radiometry,
        grid=grid,
        sha256=sha256(path),
        credit=known.credit or "",
        licence=known.licence or "",
        mask_path=mask,
        cloud_mask=known.cloud_mask is not False,
        mask_sha256=sha256(mask) if mask else "",
    )


def _grid(path: Path, source: Any) -> Grid:
    if max(source.width, source.height) > MAX_SIDE_PX or source.width * source.height > MAX_PIXELS:
        raise UnreadableError(f"{path}: claims {source.width} x {source.height} pixels", "The header is damaged.")
    if source.crs is None:
        return Grid(source.width, source.height, IDENTITY, None)
    t = source.transform
    if not all(abs(v) < FARTHEST for v in t):
        raise MetadataError(f"{path}: its transform leads off the Earth", "The header is damaged, or georeference it again.")
    if t.a * t.e == t.b * t.d:
        raise MetadataError(f"{path}: has a CRS but a transform that maps nothing", "Georeference it again.")
    transform = (t.a, t.b, t.c, t.d, t.e, t.f)
    if transform == IDENTITY:  # GDAL's answer where the file gives none: not pixels of 1 m at the origin of the map
        remedy = f"Georeference it, or take the CRS away (rio edit-info --unset-crs {path.name}) and declare `gsd_m`."
        raise MetadataError(f"{path}: has a CRS but no transform, so neither its place nor its GSD is known", remedy)
    code = source.crs.to_authority()
    crs = ":".join(code) if code else source.crs.to_wkt()
    return Grid(source.width, source.height, transform, crs)


def _dtype(path: Path, source: Any) -> str:
    dtype = str(source.dtypes[0])
    if "complex" in dtype:
        raise UnreadableError(f"{path}: stores complex numbers", "Give optical imagery, or detected amplitude.")
    if source.colorinterp[0].name == "palette":
        raise UnreadableError(f"{path}: is a palette picture", "Expand it: gdal_translate -expand rgb.")
    return dtype


def _merge(sources: list[SceneMetadata | None]) -> SceneMetadata:
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        if source is not None:
            merged |= source.model_dump(exclude_none=True)
    return SceneMetadata(**merged)


def _id(path: Path) -> str:
    """The file's stem with everything but letters, digits, ``.``, ``_`` and ``-`` turned into ``_``: safe as a file name."""
    return (re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).lstrip("._-") or "scene")[:128]


def _mask(path: Path, known: SceneMetadata) -> Path | None:
    if known.mask is None:
        return None
    mask = path.parent / known.mask
    if not mask.is_file():
        raise MetadataError(f"{path}: mask: {mask} is not a file", "Correct `mask`, or leave it out.")
    return mask


def _gsd(path: Path, known: SceneMetadata, grid: Grid) -> float:
    try:
        size = ground_size(grid)
    except (*GDAL_ERRORS, ValueError) as error:
        raise MetadataError(f"{path}: its CRS lies nowhere on Earth", "Assign the CRS it was made in, or remove it.") from error
    if size is None:
        if known.gsd_m is None:
            raise MetadataError(
                f"{path}: the ground sample distance is not known",
                f"Write `gsd_m: 0.5` into {path.stem}.yaml beside it, or give --gsd.",
            )
        return known.gsd_m
    x, y = size
    from_grid = float((x * y) ** 0.5)
    if abs(x / y - 1) > SQUARE_TOLERANCE:
        raise MetadataError(
            f"{path}: its pixels are {x:.3g} m by {y:.3g} m on the ground",
            f"Warp it first: rio warp {path.name} {path.stem}_utm.tif --dst-crs {utm_zone(grid)} --res {from_grid:.2g}",
        )
    if known.gsd_m is not None and abs(known.gsd_m / from_grid - 1) > GSD_TOLERANCE:
        raise MetadataError(
            f"{path}: gsd_m is declared as {known.gsd_m:g} but its transform says {from_grid:.3g} m per pixel",
            "Correct the declaration or the georeference.",
        )
    return from_grid


def _radiometry(path: Path, known: SceneMetadata, source: Any) -> Radiometry:
    bands = _bands(path, known, source)
    dtype = source.dtypes[0]
    scale = known.scale if known.scale is not None else (1 / 255 if dtype == "uint8" else None)
    if scale is None:
        raise MetadataError(
            f"{path}: stores {dtype} and no scale is declared",
            "Declare `scale` (1e-4 for reflectance times 10 000; 1/2047 = 0.000489 for 11-bit numbers; 1 for reflectance).",
        )
    if known.offset is None and dtype != "uint8" and offset_must_be_declared(known.sensor, known.acquired):
        raise MetadataError(
            f"{path}: {known.sensor} numbers of this date may carry an offset",
            "Declare `offset: -0.1` for processing baseline 04.00 and later, `offset: 0` for harmonised numbers.",
        )
    return Radiometry(bands, scale, known.offset or 0.0, known.nodata if known.nodata is not None else source.nodata)


def _bands(path: Path, known: SceneMetadata, source: Any) -> tuple[str, ...]:
    count: int = source.count
    colours = [c.name for c in source.colorinterp]
    if known.bands is not None:
        bands = tuple(_BAND.get(b.strip().lower(), b.strip().lower()) for b in known.bands)
    elif {"red", "green", "blue"} <= set(colours):
        bands = tuple(c if c != "undefined" else f"band{i}" for i, c in enumerate(colours, start=1))
    elif count == 1 or (count == 2 and colours[1] == "alpha"):
        bands = ("pan", "alpha")[:count]
    elif count == 3 and source.dtypes[0] == "uint8" and set(colours) <= {"undefined", "gray"}:
        bands = ("red", "green", "blue")
    else:
        raise MetadataError(f"{path}: what its {count} bands are is not known", "Declare `bands`, for example [red, green, blue, nir].")
    if len(bands) != count:
        raise MetadataError(f"{path}: {len(bands)} bands are declared but the file has {count}", "Correct `bands`.")
    if not ({"red", "green", "blue"} <= set(bands) or "pan" in bands):
        raise MetadataError(f"{path}: neither red, green and blue nor pan is among its bands", "Correct `bands`.")
    named = [b for b in bands if b in {"red", "green", "blue", "pan", "alpha"}]
    if len(set(named)) != len(named):
        raise MetadataError(f"{path}: bands: a name is given twice in {list(bands)}", "Correct `bands`.")
    return bands


_BAND = {"panchromatic": "pan", "gray": "pan", "grey": "pan", "near infrared": "nir", "nir1": "nir", "nir08": "nir"}
"""Other names of bands that we read."""
