"""Pixel <-> map algebra: laws, and rasterio as oracle."""

import numpy as np
import rasterio.windows
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box

from pipeline.grid import Grid, Window

WHOLE = st.integers(-500, 500)
WINDOWS = st.builds(Window, WHOLE, WHOLE, WHOLE, WHOLE)
GRIDS = st.builds(
    lambda width, height, size, turn, x, y: Grid(
        width, height, (size * np.cos(turn), size * np.sin(turn), x, size * np.sin(turn), -size * np.cos(turn), y), "EPSG:32611"
    ),
    st.integers(1, 4000), st.integers(1, 4000), st.floats(0.05, 30), st.floats(-3, 3), st.floats(1e5, 9e5), st.floats(0, 9e6),
)  # fmt: skip


@given(WINDOWS, WINDOWS)
def test_windows_meet_as_boxes_do(a: Window, b: Window) -> None:
    met = a.intersect(b)
    assert met == b.intersect(a)
    if a.empty or b.empty:
        assert met.empty
        return
    shared = box(a.x0, a.y0, a.x1, a.y1).intersection(box(b.x0, b.y0, b.x1, b.y1))
    assert met.width * met.height == shared.area
    assert met.empty == (shared.area == 0)


@given(WINDOWS, st.integers(0, 50))
def test_padding_keeps_the_centre_and_shrinks_back(a: Window, pixels: int) -> None:
    grown = a.pad(pixels)
    assert (grown.x0 + grown.x1, grown.y0 + grown.y1) == (a.x0 + a.x1, a.y0 + a.y1)
    assert grown.pad(-pixels) == a


def test_a_window_owns_its_upper_left_edge_and_not_the_lower_right() -> None:
    corners = np.array([[2.0, 3.0], [6.0, 3.0], [2.0, 8.0], [5.999, 7.999], [1.999, 5.0]])
    assert Window(2, 3, 6, 8).contains_points(corners).tolist() == [True, False, False, True, False]


@given(GRIDS, WINDOWS)
def test_a_crop_is_what_rasterio_says_it_is(grid: Grid, window: Window) -> None:
    cut = grid.crop(window)
    oracle = rasterio.windows.transform(rasterio.windows.Window(window.x0, window.y0, 1, 1), Affine(*grid.transform))
    np.testing.assert_allclose(cut.transform, oracle[:6], rtol=1e-12, atol=1e-6)
    assert cut.shape == window.shape


@given(GRIDS, st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=5))
def test_pixel_to_map_is_the_affine_of_gdal_and_back_again(grid: Grid, points: list[tuple[float, float]]) -> None:
    xy = np.array(points)
    on_map = grid.to_map(xy)
    np.testing.assert_allclose(on_map, [Affine(*grid.transform) @ p for p in points], rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(grid.to_pixel(on_map), xy, atol=1e-4 + 1e-8 / grid.pixel_size()[0] * 1e2)


@given(GRIDS, st.floats(0.3, 12))
def test_scaling_keeps_the_corner_and_covers_the_ground(grid: Grid, factor: float) -> None:
    small = grid.scaled(factor)
    np.testing.assert_allclose(small.to_map(np.zeros((1, 2))), grid.to_map(np.zeros((1, 2))))
    np.testing.assert_allclose(small.pixel_size(), np.array(grid.pixel_size()) * factor, rtol=1e-9)
    assert 0 <= small.width * factor - grid.width + 1e-6 < factor + 2e-6
    assert 0 <= small.height * factor - grid.height + 1e-6 < factor + 2e-6


@given(st.integers(1, 400_000), st.integers(1, 2500))
def test_a_grid_cut_into_so_many_pixels_has_so_many(side: int, pixels: int) -> None:
    assert Grid(side, 1, (1, 0, 0, 0, 1, 0), None).scaled(side / pixels).shape == (max(1, -(-pixels // side)), pixels)
