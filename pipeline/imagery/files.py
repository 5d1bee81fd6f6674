"""Opening rasters. Every GDAL failure becomes an error that names the file; handles live for one call, never longer.

One handle belongs to one thread (rasterio#2979, #3611): nothing here keeps or shares one. Only drivers of pictures are let in:
GDAL knows a file by its content, and a ``.tif`` that holds a VRT could name any other file or address.
"""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from pipeline.errors import UnreadableError

# Pixel coordinates are a supported case. A filter at import, since `warnings.catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError)
"""What a damaged file can raise; rasterio lets some of GDAL's own errors through unconverted."""

DRIVERS = {
    ".tif": "GTiff",
    ".tiff": "GTiff",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jp2": "JP2OpenJPEG",
}
"""What is opened, by suffix; a COG is a GTiff."""

CACHE_BYTES = 256 * 2**20
"""GDAL's block cache. `rasterio.Env(GDAL_CACHEMAX=...)` counts bytes (PERF 1); this holds several block rows of a scene
30 000 px wide, below two of which reading overlapping tiles is twice as slow."""


@contextmanager
def opened(path: Path, remedy: str = "Replace or remove the file.") -> Iterator[Any]:
    """A rasterio dataset for the length of a `with` block.

    Raises:
        UnreadableError: the file is not an image, or a read inside the block failed.
    """
    driver = DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise UnreadableError(f"{path}: is none of {', '.join(DRIVERS)}", "Convert it, for example to a GeoTIFF.")
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):  # process-wide from the first open; the Env need not outlive it
            source = rasterio.open(path.absolute(), driver=driver)
    except GDAL_ERRORS as error:
        raise UnreadableError(f"{path}: cannot be opened as an image ({_short(error)})", remedy) from error
    try:
        with source:
            yield source
    except GDAL_ERRORS as error:
        raise UnreadableError(f"{path}: cannot be read to its end; it is truncated or damaged", remedy) from error


def sha256(path: Path) -> str:
    """Digest of a file, hexadecimal, read in pieces.

    Raises:
        UnreadableError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror})", "Check the path and its permissions.") from error


def _short(error: Exception) -> str:
    """GDAL's own words without the path that the message already names."""
    return str(error).rsplit(":", 1)[-1].strip(" '\"") or type(error).__name__
