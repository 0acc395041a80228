from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mambaseg_core.ops import backends
from mambaseg_core.ops.area_resize import area_resize

TOLERANCE = 1e-6  # of the largest mean without its signs: another order of float32 sums


def random_grid(*shape: int) -> torch.Tensor:
    grid = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return grid * (grid.abs() > 1)  # two thirds are zeros, as events leave


def torchs(grid: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(grid[None], size, mode="area")[0]


def test_by_hand() -> None:
    grid = torch.tensor([[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]])
    # of three rows into two the windows are 0..1 and 1..2, and so of the columns: each pair shares the middle
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
        wanted, largest = torchs(grid, (rows, columns)), float(torchs(grid.abs(), (rows, columns)).max())
        torch.testing.assert_close(area_resize(grid, (rows, columns)), wanted, rtol=0, atol=TOLERANCE * largest)


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


def test_threads_change_no_bit() -> None:
    if "cpu" not in backends():
        pytest.skip("the extension is not built")
    grid, threads = random_grid(10, 900, 1000), torch.get_num_threads()  # large enough for three threads
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(area_resize(grid, (447, 333)))
    finally:
        torch.set_num_threads(threads)
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
