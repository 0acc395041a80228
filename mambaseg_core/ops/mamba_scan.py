"""The scans through mamba_ssm's CUDA kernel, where it is installed: the back end "mamba_ssm".

Never run by us: no machine with a GPU and mamba_ssm was at hand. Its kernel takes one sequence a channel, so
the maps are walked by the reference's directional copies; gradients are mamba_ssm's own.
"""

from __future__ import annotations

import selective_scan_cuda  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: F401
import torch
from mamba_ssm.ops.selective_scan_interface import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    selective_scan_fn,
)
from torch import Tensor

from mambaseg_core.ops import reference


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """As `ops.selective_scan`, for float32 and half precision.

    Raises:
        TypeError: float64, which mamba_ssm has not.
    """
    if u.dtype == torch.float64:
        raise TypeError("selective_scan: u is torch.float64, back end mamba_ssm takes float32, bfloat16 or float16")
    if u.numel() == 0:
        return u.clone()
    wide = [None if v is None else v.float().contiguous() for v in (A, D, delta_bias)]
    A32, D32, bias = wide
    rows = [v.contiguous() for v in (u, delta, B, C)]
    y: Tensor = selective_scan_fn(
        rows[0], rows[1], A32, rows[2], rows[3], D=D32, delta_bias=bias, delta_softplus=delta_softplus
    )
    return y


def _directional_scans(u: Tensor, rows: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    """Of u [B, K, L, C] and rows [B, K, L, R+2N], both in scan order: y [B, K, C, L]."""
    rank, state = weight.shape[2], A.shape[1]
    low, b, c = torch.split(rows, [rank, state, state], dim=-1)
    delta = torch.matmul(weight, low.mT)  # [B, K, C, L]
    y = selective_scan(u.mT.flatten(1, 2), delta.flatten(1, 2), A, b.mT, c.mT, D, bias.flatten(), True)
    return y.reshape(delta.shape)


def ss2d(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    """As `reference.ss2d_projected`."""
    if x.numel() == 0:
        return x.clone()
    height, width = x.shape[1:3]
    u = torch.stack([reference._walk(x, k) for k in range(4)], 1)
    rows = torch.stack([reference._walk(proj[:, :, :, k], k) for k in range(4)], 1)
    y = _directional_scans(u, rows, weight, bias, A, D).mT
    maps = [reference._put_back(y[:, k], k, height, width) for k in range(4)]
    return (maps[0] + maps[1] + maps[2] + maps[3]).contiguous()


def bidirectional_scan(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    """As `reference.bidirectional_scan_projected`."""
    if x.numel() == 0:
        return torch.stack((x, x), 1)
    tokens, rows = x.mT, proj.mT
    u = torch.stack((tokens, tokens.flip(1)), 1)
    turned = torch.stack((rows[:, 0], rows[:, 1].flip(1)), 1)
    return _directional_scans(u, turned, weight, bias, A, D)
