from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mambaseg_core.events import Events
from mambaseg_core.ops import backends
from mambaseg_core.ops.area_resize import area_resize
from mambaseg_core.ops.voxel_grid import _columns, voxel_grid, voxel_grid_resized

ROUNDING = 2.0**-24  # largest relative error of a float32 operation


def random_grid(*shape: int) -> torch.Tensor:
    grid = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return grid * (grid.abs() > 1)  # two thirds are zeros, as in grids of events


def torchs(grid: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(grid[None].double(), size, mode="area")[0]


def test_by_hand() -> None:
    grid = torch.tensor([[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]])
    # from three rows to two the windows are 0..1 and 1..2, and likewise for columns: each pair shares the middle
    assert area_resize(grid, (2, 2)).tolist() == [[[3.0, 4.0], [6.0, 7.0]]]
    assert area_resize(grid, (1, 3)).tolist() == [[[4.0, 5.0, 6.0]]]
    assert area_resize(grid, (3, 1)).tolist() == [[[2.0], [5.0], [8.0]]]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (44, 64), (22, 32), (24, 32), (20, 35), (43, 63), (13, 16), (7, 64),
     (44, 21), (50, 70), (88, 100)],
)  # fmt: skip
def test_it_is_torchs(rows: int, columns: int) -> None:
    for shape in ((10, 44, 64), (1, 44, 64), (3, 41, 61), (2, 1, 1)):
        grid = random_grid(*shape)
        wanted, without_signs = torchs(grid, (rows, columns)), torchs(grid.abs(), (rows, columns))
        # sums of a window's rows, then of its columns, then their mean: each window is at most this long
        longest = math.ceil(shape[1] / rows) + math.ceil(shape[2] / columns) + 2
        off = (area_resize(grid, (rows, columns)) - wanted).abs()
        assert (off <= longest * ROUNDING * without_signs).all()


@pytest.mark.parametrize("size", [(20, 32), (13, 17)])
def test_strides(size: tuple[int, int]) -> None:
    grid = random_grid(4, 48, 64)
    views = [grid[:, :40], grid[:, 5:, 3:], grid[::2], grid[:, ::3], grid[..., ::2], grid.transpose(1, 2), grid[:0]]
    views += [grid[:1, :, :1], grid[:, :1].expand(4, 7, 64)]
    for view in views:
        dense = view.clone(memory_format=torch.contiguous_format)
        assert torch.equal(area_resize(view, size), area_resize(dense, size))
    assert area_resize(grid[:0], size).shape == (0, *size)


def test_what_is_not_finite_stays_in_its_windows() -> None:
    grid = random_grid(1, 8, 8)
    grid[0, 0, 0], grid[0, 7, 7] = torch.nan, torch.inf
    resized = area_resize(grid, (4, 4))
    assert resized[0, 0, 0].isnan()
    assert resized[0, 3, 3] == torch.inf
    assert int(resized.isfinite().sum()) == 14


@pytest.mark.usefixtures("threads")
def test_threads_change_no_bit() -> None:
    if "cpu" not in backends():
        pytest.skip("the extension is not built")
    grid, results = random_grid(10, 900, 1000), []  # large enough for three threads
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        results.append(area_resize(grid, (447, 333)))
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_opcheck() -> None:
    torch.library.opcheck(torch.ops.mambaseg.area_resize.default, (random_grid(3, 8, 9), 4, 5))


@pytest.mark.parametrize(
    ("grid", "size", "told"),
    [
        (torch.zeros(2, 3), (1, 1), r"grid has shape \[2, 3\], expected 3 dimensions"),
        (torch.zeros(2, 0, 3), (1, 1), r"grid has shape \[2, 0, 3\], expected at least one row and column"),
        (torch.zeros(2, 3, 0), (1, 1), r"grid has shape \[2, 3, 0\], expected at least one row and column"),
        (torch.zeros(2, 3, 3), (0, 1), r"the size is \[0, 1\], expected 1 or more"),
        (torch.zeros(2, 3, 3), (1, -2), r"the size is \[1, -2\], expected 1 or more"),
        (torch.zeros(2, 3, 3).double(), (1, 1), "not float32 on the CPU"),
    ],
)
def test_the_kernel_refuses(grid: Any, size: tuple[int, int], told: str) -> None:
    if "cpu" not in backends():
        pytest.skip("the extension is not built")
    with pytest.raises(RuntimeError, match=told):
        area_resize(grid, size)


# ---- the grid that is resized as it is made ----


def random_events(n: int) -> Events:
    rng = np.random.default_rng(0)
    x, y, p = rng.integers(0, 64, n), rng.integers(0, 48, n), rng.integers(0, 2, n)
    return Events.from_arrays(x, y, np.sort(rng.integers(0, 10**8, n)), p, height=48, width=64)


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("bins", [1, 2, 3, 10])
def test_in_one_go_the_bits_are_the_same(mode: str, bins: int) -> None:
    events = random_events(5000)
    edges = np.linspace(10**7, 9 * 10**7, 2 if mode == "bilinear" else bins + 1).astype(np.int64)
    for rows, size, own in ((48, (24, 32), None), (40, (13, 17), edges), (40, (40, 64), edges), (1, (1, 1), None)):
        wanted = area_resize(voxel_grid(events, bins, mode, own)[:, :rows], size)
        assert torch.equal(voxel_grid_resized(events, bins, mode, own, rows=rows, size=size), wanted)
    assert wanted.abs().sum() > 0
    empty = voxel_grid_resized(Events.empty(48, 64), bins, mode, None, rows=40, size=(20, 32))
    assert empty.shape == (bins, 20, 32)
    assert not empty.any()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("mode", ["bilinear", "binned"])
def test_in_one_go_threads_change_no_bit(mode: str) -> None:
    if "cpu" not in backends():
        pytest.skip("the extension is not built")
    events, grids = random_events(1_000_000), []  # enough for four threads
    for number in (1, 2, 3, 8):
        torch.set_num_threads(number)
        grids.append(voxel_grid_resized(events, 10, mode, None, rows=40, size=(19, 33)))
    assert all(torch.equal(grids[0], other) for other in grids[1:])


def test_in_one_go_the_arguments_are_checked() -> None:
    events = random_events(10)
    with pytest.raises(ValueError, match="mode is 'nearest'"):
        voxel_grid_resized(events, 10, "nearest", None, rows=40, size=(20, 32))
    with pytest.raises(ValueError, match=r"shape \[3\], expected \[2\]"):
        voxel_grid_resized(events, 10, "bilinear", [0, 1, 2], rows=40, size=(20, 32))
    if "cpu" not in backends():
        pytest.skip("the extension is not built")
    with pytest.raises(RuntimeError, match=r"voxel_grid_resized_: a view of \[0, 64\] .* \[10, 20, 32\]"):
        voxel_grid_resized(events, 10, "bilinear", None, rows=0, size=(20, 32))
    with pytest.raises(RuntimeError, match=r"a view of \[40, 64\] for a grid of shape \[10, 0, 32\]"):
        voxel_grid_resized(events, 10, "bilinear", None, rows=40, size=(0, 32))


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
def test_in_one_go_opcheck(mode: str) -> None:
    edges = np.linspace(0, 10**8, 2 if mode == "bilinear" else 4).astype(np.int64)
    arguments = (torch.empty(3, 20, 30), *_columns(random_events(50), edges), mode == "bilinear", 40, 64)
    torch.library.opcheck(torch.ops.mambaseg.voxel_grid_resized_.default, arguments)
