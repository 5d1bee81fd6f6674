"""Pixel <-> map algebra on integers.

A `Grid` is a raster's shape, affine transform and CRS; a `Window` is an integer rectangle on it. Windowing is algebra on
these values; pixels are never touched here. Pixel frame: continuous, x right, y down, pixel (0, 0) covers [0, 1)^2.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """Integer rectangle of pixels: columns [x0, x1), rows [y0, y1); may be empty."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Number of columns, never negative."""
        return max(0, self.x1 - self.x0)

    @property
    def height(self) -> int:
        """Number of rows, never negative."""
        return max(0, self.y1 - self.y0)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), the shape of an array that holds the window."""
        return self.height, self.width

    @property
    def empty(self) -> bool:
        """Whether the window holds no pixel."""
        return self.width == 0 or self.height == 0

    def intersect(self, other: "Window") -> "Window":
        """The pixels in both; ``empty`` where they do not meet."""
        return Window(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))

    def pad(self, pixels: int) -> "Window":
        """The window grown by `pixels` on every side, not clipped."""
        return Window(self.x0 - pixels, self.y0 - pixels, self.x1 + pixels, self.y1 + pixels)

    def contains_points(self, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) bool: which of the (N, 2) points lie in [x0, x1) x [y0, y1)."""
        x, y = xy[:, 0], xy[:, 1]
        inside: NDArray[np.bool_] = (x >= self.x0) & (x < self.x1) & (y >= self.y0) & (y < self.y1)
        return inside


@dataclass(frozen=True, slots=True)
class Grid:
    """Shape, affine transform and CRS of a raster.

    Attributes:
        width: columns.
        height: rows.
        transform: (a, b, c, d, e, f) with ``X = a x + b y + c`` and ``Y = d x + e y + f`` for pixel (x, y); the identity
            where `crs` is None, so that map coordinates *are* pixel coordinates.
        crs: authority string such as ``EPSG:32611`` or WKT; None for an image without georeference.
    """

    width: int
    height: int
    transform: tuple[float, float, float, float, float, float]
    crs: str | None

    @property
    def window(self) -> Window:
        """The whole raster."""
        return Window(0, 0, self.width, self.height)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    def to_map(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) pixel x, y -> (N, 2) map X, Y."""
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(xy, np.float64).reshape(-1, 2).T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    def to_pixel(self, map_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) map X, Y -> (N, 2) pixel x, y. The inverse of `to_map`."""
        a, b, c, d, e, f = self.transform
        det = a * e - b * d
        u, v = (np.asarray(map_xy, np.float64).reshape(-1, 2) - (c, f)).T
        return np.stack([(e * u - b * v) / det, (a * v - d * u) / det], axis=1)

    def crop(self, window: Window) -> Self:
        """The grid of a window: same pixels, moved origin."""
        a, b, _, d, e, _ = self.transform
        ((x, y),) = self.to_map(np.array([[window.x0, window.y0]], np.float64))
        return type(self)(window.width, window.height, (a, b, float(x), d, e, float(y)), self.crs)

    def scaled(self, factor: float) -> Self:
        """The grid over the same ground whose pixels are `factor` times as large; the size is rounded up.

        Not for the rounding of a quotient, whose pixel would hold no ground: 2002 / (2002 / 2000) is 2000.0000000000002.
        """
        a, b, c, d, e, f = self.transform
        width, height = (max(1, math.ceil(side / factor - 1e-9)) for side in (self.width, self.height))
        return type(self)(width, height, (a * factor, b * factor, c, d * factor, e * factor, f), self.crs)

    def pixel_size(self) -> tuple[float, float]:
        """Length of a pixel's x and y edge in map units (metres for a projected CRS)."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(a, d), math.hypot(b, e)
