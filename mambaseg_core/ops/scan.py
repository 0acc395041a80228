"""The scans that the models call: they check the arguments and choose the back end.

Autocast is off inside. Half-precision inputs are computed in float32, but for the first product on CUDA; the result has
the dtype of the input. Where no gradient is asked for, Triton's kernels read them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from mambaseg_core.ops import checks, gradients, reference
from mambaseg_core.ops.autocast import without_autocast
from mambaseg_core.ops.selection import choose, operators

__all__ = ["bidirectional_scan", "gradients", "scan_macs", "selective_scan", "ss2d"]


def scan_macs(channels: int, length: int, state: int) -> int:
    """Return the multiply-adds of a selective scan: 3N + 2 for each of `channels` (K*C) at each of `length` steps."""
    return channels * length * (3 * state + 2)


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Run a selective scan: h_l = exp(dt_l A) h_{l-1} + dt_l B_l u_l, y_l = C_l . h_l + D u_l (Gu and Dao 2023).

    Args:
        u: [B, K*C, L], float32, float64, bfloat16 or float16; half precision is computed in float32.
        delta: [B, K*C, L]; dt = delta + delta_bias, through softplus if `delta_softplus`.
        A: [K*C, N].
        B: [B, K, N, L].
        C: [B, K, N, L].
        D: [K*C] or None.
        delta_bias: [K*C] or None.
        delta_softplus: Whether dt goes through softplus.
        backend: One of `backends()`; by default the environment variable MAMBASEG_BACKEND, else the best.

    Returns:
        [B, K*C, L] in the dtype of `u`.

    Raises:
        ValueError: A shape, a device or a back end does not fit; the message names it.
        TypeError: A dtype does not fit.
    """
    checks.selective_scan_arguments(u, delta, A, B, C, D, delta_bias)
    chosen = choose(u.device, backend)
    wide = checks.accumulator(u.dtype)
    with without_autocast(u.device.type):
        if chosen == "reference":
            return reference.selective_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
        tensors = (None if v is None else v.to(wide) for v in (u, delta, A, B, C, D, delta_bias))
        y = operators(chosen).selective_scan(*tensors, delta_softplus)
        return cast(Tensor, y).to(u.dtype)


def ss2d(
    x: Tensor,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A: Tensor,
    D: Tensor,
    backend: str | None = None,
) -> Tensor:
    """Project a map, scan it in four directions and add up the scans (SS2D of VMamba, Liu et al. 2024).

    Directions: 0 row-major, 1 column-major, 2 the reverse of 0, 3 the reverse of 1.

    Args:
        x: [B, H, W, C].
        x_proj_weight: [4, R+2N, C], rows in the order step size (R), B (N), C (N).
        dt_projs_weight: [4, C, R].
        dt_projs_bias: [4, C].
        A: [4*C, N].
        D: [4*C].
        backend: See `selective_scan`.

    Returns:
        [B, H, W, C] in the dtype of `x`.

    Raises:
        ValueError: A shape, a device or a back end does not fit; the message names it.
        TypeError: A dtype does not fit.
    """
    weights = (x_proj_weight, dt_projs_weight, dt_projs_bias, A, D)
    checks.projected_scan_arguments("ss2d", x, "[B, H, W, C]", 4, *weights)
    chosen = choose(x.device, backend)
    scan = reference.ss2d_projected if chosen == "reference" else operators(chosen).ss2d
    return _projected(x, weights, reference.project_map, scan, chosen)


def bidirectional_scan(
    x: Tensor,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A: Tensor,
    D: Tensor,
    backend: str | None = None,
) -> Tensor:
    """Project a sequence and scan it forward and backward (the temporal scan of CTIM).

    Args:
        x: [B, C, L].
        x_proj_weight: [2, R+2N, C], rows in the order step size (R), B (N), C (N).
        dt_projs_weight: [2, C, R].
        dt_projs_bias: [2, C].
        A: [2*C, N].
        D: [2*C].
        backend: See `selective_scan`.

    Returns:
        [B, 2, C, L] in the dtype of `x`; direction 1 ran over the reversed sequence and stays in that order.

    Raises:
        ValueError: A shape, a device or a back end does not fit; the message names it.
        TypeError: A dtype does not fit.
    """
    weights = (x_proj_weight, dt_projs_weight, dt_projs_bias, A, D)
    checks.projected_scan_arguments("bidirectional_scan", x, "[B, C, L]", 2, *weights)
    chosen = choose(x.device, backend)
    scan = reference.bidirectional_scan_projected if chosen == "reference" else operators(chosen).bidirectional_scan
    return _projected(x, weights, reference.project_sequence, scan, chosen)


def _projected(
    x: Tensor,
    weights: tuple[Tensor, ...],
    project: Callable[[Tensor, Tensor], Tensor],
    scan: Callable[..., Tensor],
    chosen: str,
) -> Tensor:
    """Multiply by the first weight and scan in the accumulator's dtype; return the dtype of `x`."""
    wide = checks.accumulator(x.dtype)
    with without_autocast(x.device.type):
        factors = _product_dtype(x)
        proj = project(x.to(factors), weights[0].to(factors)).to(wide)
        u = x if chosen == "triton" and not torch.is_grad_enabled() else x.to(wide)
        return scan(u, proj, *(v.to(wide) for v in weights[1:])).to(x.dtype)


def _product_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of the first product's factors: half stays half on CUDA, where its units sum up in float32."""
    return x.dtype if x.device.type == "cuda" else checks.accumulator(x.dtype)
