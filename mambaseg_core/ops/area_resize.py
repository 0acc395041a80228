"""Resizing of voxel grids to a model's size, by the mean over windows."""

from __future__ import annotations

import torch

from mambaseg_core.ops import (
    schemas,  # noqa: F401  defines the operator
    selection,  # noqa: F401  loads its kernel
)


def area_resize(grid: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize each plane: each cell of the result is the mean over its window of the grid.

    Window i of n along a length runs from floor(i * length / n) to ceil((i + 1) * length / n), as in
    `torch.nn.functional.interpolate(mode="area")`. Only the order of the sums differs. On the CPU torch's version
    took four to twelve times as long. The operator has no gradient.

    Args:
        grid: float32 [T, H, W]; a view of fewer rows needs no copy.
        size: (height, width) of the result.

    Returns:
        float32 [T, height, width], on the grid's device.

    Raises:
        RuntimeError: The grid has no rows or columns, or another dtype.
    """
    resized: torch.Tensor = torch.ops.mambaseg.area_resize(grid, *size)
    return resized
