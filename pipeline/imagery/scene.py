"""A `Scene` is what is known about one image before a pixel is read; a `Tile` is pixels with their mask."""

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.grid import Grid, Window


@dataclass(frozen=True, slots=True)
class Radiometry:
    """How stored numbers become reflectance: ``value = dn * scale + offset``, declared and never guessed.

    Attributes:
        bands: name of each stored band in file order: ``red``, ``green``, ``blue``, ``nir``, ``pan``, ``alpha`` or another name.
        scale: multiplier to reflectance-like units, 0..1 over the useful range (1/255 for an 8-bit visual product).
        offset: added after scaling (-0.1 for Sentinel-2 PB04.00 and later).
        nodata: stored value that means "no data" in all bands, or None.
    """

    bands: tuple[str, ...]
    scale: float
    offset: float = 0.0
    nodata: float | None = None

    @property
    def display(self) -> bool:
        """Whether 1 is the top of an 8, 11, 12 or 16-bit range, so that brightness is a display's and not the ground's."""
        return any(math.isclose(self.scale, 1 / (2**bits - 1), rel_tol=0.01) for bits in (8, 11, 12, 16))


@dataclass(frozen=True, slots=True)
class View:
    """Sun and sensor angles in degrees; None where not published.

    Attributes:
        sun_elevation: above the horizon.
        sun_azimuth: clockwise from north, towards the sun.
        off_nadir: angle of the line of sight from the vertical at the target.
        view_azimuth: clockwise from north, from the target towards the sensor.
    """

    sun_elevation: float | None = None
    sun_azimuth: float | None = None
    off_nadir: float | None = None
    view_azimuth: float | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """One image, described.

    Attributes:
        id: unique in a catalogue; the file's stem unless metadata gives another.
        path: the image file.
        acquired: aware UTC time of acquisition; None only for a single image that is looked at outside a time series.
        sensor: name of the sensor or product, as declared.
        gsd_m: ground sample distance, metres per pixel.
        view: sun and view angles.
        radiometry: stored numbers to reflectance.
        grid: shape, transform and CRS.
        sha256: digest of the image file.
        credit: line that must stand under any picture made from it.
        licence: licence of the image, free text.
        mask_path: an optional raster of the same shape, nonzero where the ground is *not* observed (cloud, shadow, roof).
        cloud_mask: whether the built-in cloud mask may add to that mask.
        mask_sha256: digest of the file at `mask_path`; empty without one.
    """

    id: str
    path: Path
    acquired: datetime | None
    sensor: str
    gsd_m: float
    view: View
    radiometry: Radiometry
    grid: Grid
    sha256: str
    credit: str = ""
    licence: str = ""
    mask_path: Path | None = None
    cloud_mask: bool = True
    mask_sha256: str = ""

    @property
    def time(self) -> datetime:
        """Time of acquisition of a scene that is part of a series."""
        assert self.acquired is not None, self.id
        return self.acquired


@dataclass(frozen=True, slots=True)
class Tile:
    """Pixels of one window with their mask. No function takes pixels without it.

    Attributes:
        core: the part this tile owns, in pixels of the grid that was tiled (native, or resampled to a working GSD).
        read: the part that was read, core plus halo, same pixels; may reach outside the scene, where nothing is valid.
        pixels: (C, H, W) float32 reflectance over `read`; 0 where not valid.
        valid: (H, W) bool over `read`.
        grid: grid of `read`.
    """

    core: Window
    read: Window
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    grid: Grid

    def __post_init__(self) -> None:
        assert self.pixels.shape[1:] == self.valid.shape == self.read.shape == self.grid.shape
        assert self.pixels.dtype == np.float32
        assert self.valid.dtype == np.bool_
