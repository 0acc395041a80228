"""The voxel grid in plain PyTorch: the specification of every back end."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def voxel_grid_(grid: Tensor, x: Tensor, y: Tensor, t_ns: Tensor, p: Tensor, edges_ns: Tensor, bilinear: bool) -> None:
    """Overwrite a grid in one of the two modes that `voxel_grid` describes.

    Args:
        grid: float32 [T, H, W], contiguous.
        x: uint16 [N]; events outside H, W are left out, like those outside the edges.
        y: uint16 [N].
        t_ns: int64 [N], not decreasing.
        p: int8 [N], -1 or +1.
        edges_ns: int64, (first, last) for bilinear, else the T + 1 edges.
        bilinear: True for that mode, False for binned.
    """
    bins, height, width = grid.shape
    cells = grid.zero_().view(-1)
    first, last = int(edges_ns[0]), int(edges_ns[-1])
    x, y = x.long(), y.long()
    inside = (x < width) & (y < height) & (t_ns >= first) & ((t_ns <= last) if bilinear else (t_ns < last))
    pixel, time, sign = (y * width + x)[inside], t_ns[inside], p[inside].float()
    if not bilinear:
        place = torch.searchsorted(edges_ns, time, right=True) - 1
        cells.index_add_(0, place * (height * width) + pixel, sign)
        return
    tn = (time - first).double() * (bins - 1) / max(last - first, 1)
    place = tn.long()
    to_next = (tn - place).float() * sign
    cells.index_add_(0, place * (height * width) + pixel, sign - to_next)
    # on the last bin the share of the next one is 0, so any plane will do
    cells.index_add_(0, (place + 1).clamp_max(bins - 1) * (height * width) + pixel, to_next)


def area_resize(grid: Tensor, height: int, width: int) -> Tensor:
    """Resize a grid by the mean over windows, as `ops.area_resize` describes.

    Args:
        grid: float32 [T, H, W].
        height: rows of the result.
        width: columns of the result.
    """
    return F.interpolate(grid[None], (height, width), mode="area")[0]


def voxel_grid_resized_(grid: Tensor, *events: Any) -> None:
    """Overwrite a grid [T, h, w] with a resized grid [T, rows, columns].

    Args:
        grid: float32 [T, h, w], contiguous.
        events: x, y, t_ns, p, edges_ns and bilinear as in `voxel_grid_`, then rows and columns.
    """
    *events_and_mode, rows, columns = events
    whole = grid.new_empty((grid.shape[0], rows, columns))
    voxel_grid_(whole, *events_and_mode)
    grid.copy_(area_resize(whole, *grid.shape[1:]))
