"""The operators registered with torch: schemas, fakes, plain fallbacks and flop formulas.

They exist without the extension (`csrc/`), which only adds kernels for the CPU. The scans take one dtype, float32
or float64; `ops.scan` checks, casts and projects before it calls them. Triton's `ss2d` and `bidirectional_scan` take
x in half precision too, without gradients. `ops.voxel_grid` checks the grid's arguments.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from mambaseg_core.ops import reference, voxel_reference

torch.library.define(
    "mambaseg::selective_scan",
    "(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias,"
    " bool delta_softplus) -> Tensor",
)
torch.library.define(
    "mambaseg::selective_scan_backward",
    "(Tensor gy, Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias,"
    " bool delta_softplus) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "mambaseg::ss2d",
    "(Tensor x, Tensor proj, Tensor dt_projs_weight, Tensor dt_projs_bias, Tensor A, Tensor D) -> Tensor",
)
torch.library.define(
    "mambaseg::ss2d_backward",
    "(Tensor gy, Tensor x, Tensor proj, Tensor dt_projs_weight, Tensor dt_projs_bias, Tensor A, Tensor D)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "mambaseg::bidirectional_scan",
    "(Tensor x, Tensor proj, Tensor dt_projs_weight, Tensor dt_projs_bias, Tensor A, Tensor D) -> Tensor",
)

torch.library.define(
    "mambaseg::voxel_grid_",
    "(Tensor(a!) grid, Tensor x, Tensor y, Tensor t_ns, Tensor p, Tensor edges_ns, bool bilinear) -> ()",
)
torch.library.define(
    "mambaseg::voxel_grid_resized_",
    "(Tensor(a!) grid, Tensor x, Tensor y, Tensor t_ns, Tensor p, Tensor edges_ns, bool bilinear,"
    " int rows, int columns) -> ()",
)
torch.library.define("mambaseg::area_resize", "(Tensor grid, int height, int width) -> Tensor")

torch.library.define("mambaseg::vector_lanes", "() -> int")  # float32 lanes of the CPU kernels in use
# numbers of a bfloat16 factor's row that one instruction multiplies: 1 (in float32), 2 (AVX512-BF16), 32 (AMX)
torch.library.define("mambaseg::bfloat16_at_once", "() -> int")

# ---- plain fallbacks: any device, and the CPU without the extension ----


@torch.library.impl("mambaseg::selective_scan", "default")
def _selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    return reference.selective_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)


@torch.library.impl("mambaseg::ss2d", "default")
def _ss2d(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    return reference.ss2d_projected(x, proj, weight, bias, A, D)


@torch.library.impl("mambaseg::bidirectional_scan", "default")
def _bidirectional_scan(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    return reference.bidirectional_scan_projected(x, proj, weight, bias, A, D)


@torch.library.impl("mambaseg::voxel_grid_", "default")
def _voxel_grid(grid: Tensor, x: Tensor, y: Tensor, t_ns: Tensor, p: Tensor, edges_ns: Tensor, bilinear: bool) -> None:
    voxel_reference.voxel_grid_(grid, x, y, t_ns, p, edges_ns, bilinear)


@torch.library.impl("mambaseg::voxel_grid_resized_", "default")
def _voxel_grid_resized(grid: Tensor, *arguments: Any) -> None:
    voxel_reference.voxel_grid_resized_(grid, *arguments)


@torch.library.impl("mambaseg::area_resize", "default")
def _area_resize(grid: Tensor, height: int, width: int) -> Tensor:
    return voxel_reference.area_resize(grid, height, width)


# ---- fakes: shapes without data ----


@torch.library.register_fake("mambaseg::selective_scan")  # type: ignore[untyped-decorator]
def _selective_scan_fake(u: Tensor, *_: Any) -> Tensor:
    return u.new_empty(u.shape)


@torch.library.register_fake("mambaseg::selective_scan_backward")  # type: ignore[untyped-decorator]
def _selective_scan_backward_fake(
    gy: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, *_: Any
) -> tuple[Tensor, ...]:
    batch, channels = u.shape[:2]
    vector = (batch, channels)
    shapes = (u.shape, u.shape, (*vector, A.shape[1]), B.shape, B.shape, vector, vector)
    return tuple(u.new_empty(shape) for shape in shapes)


@torch.library.register_fake("mambaseg::ss2d")  # type: ignore[untyped-decorator]
def _ss2d_fake(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("mambaseg::ss2d_backward")  # type: ignore[untyped-decorator]
def _ss2d_backward_fake(
    gy: Tensor, x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor
) -> tuple[Tensor, ...]:
    batch, height, width, channels = x.shape
    shapes = (x.shape, proj.shape, (batch, 4, height * width, channels), (batch, *A.shape))
    return tuple(x.new_empty(shape) for shape in shapes)


@torch.library.register_fake("mambaseg::bidirectional_scan")  # type: ignore[untyped-decorator]
def _bidirectional_scan_fake(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty((x.shape[0], 2, *x.shape[1:]))


@torch.library.register_fake("mambaseg::voxel_grid_resized_")  # type: ignore[untyped-decorator]
@torch.library.register_fake("mambaseg::voxel_grid_")  # type: ignore[untyped-decorator]
def _voxel_grid_fake(*_: Any) -> None:
    return None


@torch.library.register_fake("mambaseg::area_resize")  # type: ignore[untyped-decorator]
def _area_resize_fake(grid: Tensor, height: int, width: int) -> Tensor:
    return grid.new_empty((grid.shape[0], height, width))


# ---- flops: two per multiply-add of the step-size product; scan_macs counts the scans ----


@register_flop_formula([torch.ops.mambaseg.ss2d, torch.ops.mambaseg.bidirectional_scan])
def _projected_flops(x_shape: torch.Size, proj_shape: torch.Size, weight_shape: torch.Size, *_: Any, **__: Any) -> int:
    directions, _channels, rank = weight_shape
    return int(2 * x_shape.numel() * directions * rank)


@register_flop_formula(torch.ops.mambaseg.ss2d_backward)
def _projected_backward_flops(_gy_shape: torch.Size, *shapes: Any, **__: Any) -> int:
    return _projected_flops(*shapes)  # computed once more; torch counts the matrix products of its gradients
