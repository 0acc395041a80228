"""The operators of `ops.schemas` on CUDA, with the kernels of `triton_kernels`.

Tested so far: the kernels in Triton's interpreter on a CPU at small sizes, forward and gradients, against the
float64 reference; and their compilation to machine code for sm_80 to sm_110 (`test/ops/test_triton.py`). Nothing
here has run on a GPU yet, so neither speed nor the tile sizes below are measured.

The step sizes come from one matrix product (cuBLAS) in memory order. Every direction reads them by its own indices,
so `ss2d` copies no input; it writes the outputs of four directions and sums them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
from torch import Tensor

from mambaseg_core.extension import INTERPRETED
from mambaseg_core.ops import triton_kernels as kernels

IN_ORDER, BOTH_WAYS, MAP = 0, 1, 2  # WALK of the kernels


@dataclass(frozen=True)
class Tile:
    """Steps and channels of a program's tile; both powers of two."""

    steps: int
    channels: int


# one warp per program, one thread per channel; as many steps as fit the registers without spills (see the cubins)
FORWARD, BACKWARD, CHAIN = (Tile(4, 4),) * 3 if INTERPRETED else (Tile(16, 32), Tile(8, 32), Tile(32, 32))


@dataclass(frozen=True)
class Problem:
    """Arguments of one scan for the kernels.

    Args:
        x: [B, L, C] or [B, K, L, C]; with L and C swapped unless `last`.
        delta: [B, K, L, C], with L and C swapped unless `last`; in memory order.
        bmat: [B, K, L, N], any strides.
        cmat: [B, K, L, N], the strides of `bmat`.
        A: [K, N, C].
        D: [K*C].
        bias: [K*C].
        last: Whether channels are the last dimension.
        walk: IN_ORDER, BOTH_WAYS or MAP.
        soft: Whether the step sizes go through softplus.
        height: H of a map.
        width: W of a map.
    """

    x: Tensor
    delta: Tensor
    bmat: Tensor
    cmat: Tensor
    A: Tensor
    D: Tensor
    bias: Tensor
    last: bool
    walk: int
    soft: bool
    height: int = 1
    width: int = 1

    def sizes(self) -> tuple[int, int, int, int, int]:
        """Return B, K, C, N and L."""
        batch, directions, length, state = self.bmat.shape
        return batch, directions, self.A.shape[2], state, length

    def launch(self, kernel: Any, tile: Tile, *tensors: Tensor) -> None:
        """Run a kernel with one program per tile, direction and image."""
        batch, k, c, n, length = self.sizes()
        grid = (triton.cdiv(c, tile.channels), triton.cdiv(length, tile.steps), batch * k)
        kernel[grid](
            *tensors,
            k,
            c,
            n,
            length,
            self.height,
            self.width,
            *self.bmat.stride(),
            SHARED=self.x.dim() == 3,
            LAST=self.last,
            WALK=self.walk,
            SOFT=self.soft,
            T=tile.steps,
            BC=tile.channels,
            num_warps=1,
            enable_fp_fusion=True,
        )

    def chained(self, ends: Tensor, totals: Tensor, reverse: bool) -> Tensor:
        """Return the state that enters each chunk [B, K, chunks, N, C], from the states that the chunks add."""
        batch, k, c, n, _ = self.sizes()
        heads = torch.empty_like(ends)
        grid = (triton.cdiv(c, CHAIN.channels), n, batch * k)
        sizes = {"T": CHAIN.steps, "BC": CHAIN.channels, "num_warps": 1, "enable_fp_fusion": True}
        kernels.chain[grid](ends, totals, self.A, heads, k, c, n, ends.shape[2], REVERSE=reverse, **sizes)
        return heads

    def heads(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Return each chunk's state at its head [B, K, chunks, N, C] and the sum of its steps [B, K, chunks, C]."""
        batch, k, c, n, length = self.sizes()
        ends = self.x.new_empty((batch, k, triton.cdiv(length, tile.steps), n, c))
        totals = self.x.new_empty((batch, k, ends.shape[2], c))
        self.launch(kernels.chunk_ends, tile, self.x, self.delta, self.bmat, self.A, self.bias, ends, totals)
        return self.chained(ends, totals, reverse=False), totals


def _on_device(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Return a context in which the device of `x` is current: Triton launches on the current device."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def forward(problem: Problem) -> Tensor:
    """Return the outputs in the layout of `delta`."""
    p, y = problem, torch.empty_like(problem.delta)
    if y.numel() == 0:
        return y
    with _on_device(y):
        heads, _ = p.heads(FORWARD)
        p.launch(kernels.outputs, FORWARD, p.x, p.delta, p.bmat, p.cmat, p.A, p.D, p.bias, heads, y)
    return y


def backward(problem: Problem, gy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients for `gy`, which is laid out as `x`.

    Returns:
        gx and gdelta in the layout of `delta`; those of B and C [B, K, N, L] in memory order; that of A [B, K, N, C].
    """
    p, gx, gdelta = problem, torch.empty_like(problem.delta), torch.empty_like(problem.delta)
    batch, k, c, n, length = p.sizes()
    if gx.numel() == 0:
        rows = p.x.new_zeros((batch, k, n, length))
        return gx, gdelta, rows, rows.clone(), p.x.new_zeros((batch, k, n, c))
    with _on_device(gx):
        heads, totals = p.heads(BACKWARD)
        starts = torch.empty_like(heads)
        p.launch(kernels.adjoint_starts, BACKWARD, gy, p.delta, p.cmat, p.A, p.bias, starts)
        tails = p.chained(starts, totals, reverse=True)
        gb = p.x.new_empty((triton.cdiv(c, BACKWARD.channels), batch, k, n, length))
        gc, ga = torch.empty_like(gb), torch.empty_like(heads)
        found = (gx, gdelta, gb, gc, ga)
        given = (gy, p.x, p.delta, p.bmat, p.cmat, p.A, p.D, p.bias, heads, tails)
        p.launch(kernels.gradients, BACKWARD, *given, *found)
    return gx, gdelta, gb.sum(0), gc.sum(0), ga.sum(2)


def _rates(A: Tensor, directions: int) -> Tensor:
    """Rearrange [K*C, N] to [K, N, C]."""
    return A.reshape(directions, -1, A.shape[1]).mT.contiguous()


def _sequence(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, bias: Tensor | None, soft: bool
) -> Problem:
    batch, channels, length = u.shape
    k = B.shape[1]
    shape = (batch, k, channels // k, length)
    nothing = u.new_zeros(channels)
    return Problem(
        u.contiguous().reshape(shape),
        delta.contiguous().reshape(shape),
        B.contiguous().mT,
        C.contiguous().mT,
        _rates(A, k),
        nothing if D is None else D.contiguous(),
        nothing if bias is None else bias.contiguous(),
        last=False,
        walk=IN_ORDER,
        soft=soft,
    )


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, bias: Tensor | None, soft: bool
) -> Tensor:
    """Run `mambaseg::selective_scan`; shapes as in `ops.selective_scan`."""
    return forward(_sequence(u, delta, A, B, C, D, bias, soft)).reshape(u.shape)


def selective_scan_backward(
    gy: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    bias: Tensor | None,
    soft: bool,
) -> tuple[Tensor, ...]:
    """Run `mambaseg::selective_scan_backward`: gradients in the order of the arguments, those of weights per image."""
    problem = _sequence(u, delta, A, B, C, D, bias, soft)
    gx, gdelta, gb, gc, ga = backward(problem, gy.contiguous().reshape(problem.x.shape))
    gdelta = gdelta.reshape(u.shape)
    return gx.reshape(u.shape), gdelta, ga.mT.flatten(1, 2).contiguous(), gb, gc, (gy * u).sum(-1), gdelta.sum(-1)


def _map(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Problem:
    height, width = x.shape[1:3]
    rank, state = weight.shape[2], A.shape[1]
    rows = proj.contiguous().flatten(1, 2).transpose(1, 2)  # [B, 4, L, R+2N]
    low, b, c = torch.split(rows, [rank, state, state], dim=-1)
    return Problem(
        x.contiguous().flatten(1, 2),
        torch.matmul(low, weight.mT).contiguous(),  # [B, 4, L, C]
        b,
        c,
        _rates(A, 4),
        D.contiguous(),
        bias.flatten(),
        last=True,
        walk=MAP,
        soft=True,
        height=height,
        width=width,
    )


def ss2d(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    """Run `mambaseg::ss2d`; x [B, H, W, C], proj [B, H, W, 4, R+2N]."""
    return forward(_map(x, proj, weight, bias, A, D)).sum(1).reshape(x.shape)


def ss2d_backward(
    gy: Tensor, x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run `mambaseg::ss2d_backward`: gradients of x, proj (0 in its rank part), step sizes [B, 4, L, C] and A."""
    problem = _map(x, proj, weight, bias, A, D)
    gx, gdelta, gb, gc, ga = backward(problem, gy.contiguous().flatten(1, 2))
    rank = proj.new_zeros((*proj.shape[:-1], weight.shape[2]))
    parts = [v.permute(0, 3, 1, 2).reshape(*proj.shape[:-1], A.shape[1]) for v in (gb, gc)]
    return gx.sum(1).reshape(x.shape), torch.cat((rank, *parts), -1), gdelta, ga.mT.flatten(1, 2).contiguous()


def bidirectional_scan(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    """Run `mambaseg::bidirectional_scan`; x [B, C, L], proj [B, 2, R+2N, L]. Its backward is `selective_scan`'s."""
    rank, state = weight.shape[2], A.shape[1]
    low, b, c = torch.split(proj.contiguous(), [rank, state, state], dim=2)
    delta = torch.matmul(weight, low).contiguous()  # [B, 2, C, L]
    rates = _rates(A, 2)
    return forward(
        Problem(x.contiguous(), delta, b.mT, c.mT, rates, D.contiguous(), bias.flatten(), False, BOTH_WAYS, True)
    )


@functools.cache
def register() -> None:
    """Register these once as the kernels of CUDA tensors, and of CPU tensors under Triton's interpreter."""
    functions: tuple[Callable[..., Any], ...] = (
        selective_scan,
        selective_scan_backward,
        ss2d,
        ss2d_backward,
        bidirectional_scan,
    )
    for device in ("CUDA", "CPU") if INTERPRETED else ("CUDA",):
        for function in functions:
            torch.library.impl(f"mambaseg::{function.__name__}", device)(function)
