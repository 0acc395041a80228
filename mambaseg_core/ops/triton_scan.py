"""The operators of `ops.schemas` on CUDA, with the kernels of `triton_walks`, `triton_forward`, `triton_backward`.

Tested so far: the kernels in Triton's interpreter on a CPU at small sizes, forward and gradients, against the
float64 reference; and their compilation to machine code for sm_80 to sm_110 (`test/ops/test_triton.py`). Nothing
here has run on a GPU yet, so neither speed nor the sizes of chunks below are measured.

The kernels have channels last, so sequences [C, L] are transposed by a copy. Step sizes of a rank up to `RANK` are
made in the kernels; others come from one matrix product (cuBLAS). Every direction reads its input by its own indices.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
from torch import Tensor

from mambaseg_core.extension import INTERPRETED
from mambaseg_core.ops.triton_backward import adjoint_starts, gradients
from mambaseg_core.ops.triton_forward import chunk_ends, outputs
from mambaseg_core.ops.triton_walks import chain

IN_ORDER, BOTH_WAYS, MAP = 0, 1, 2  # `walk` of the kernels
CHANNELS = 4 if INTERPRETED else 32  # of a program: one warp, one lane a channel
CHUNK, SHORT_CHUNK = (4, 3) if INTERPRETED else (64, 16)  # steps of a program in the forward scan
BACKWARD_CHUNK = 4 if INTERPRETED else 8  # as many as fit the registers without spills (see the cubins)
CHAIN_CHUNKS = 4 if INTERPRETED else 16  # that `chain` takes at a time
FEW_PROGRAMS = 4 if INTERPRETED else 1024  # fewer leave most of a large card idle: their chunks are short
RANK = 2 if INTERPRETED else 16  # largest rank of step sizes that the kernels make, with weights in registers


def most_registers(states: int) -> int:
    """Return the registers that a thread of the forward scan may take in float32; more leave room for fewer warps.

    With these none is spilled on compute capability 8.7 to 11.0 (`benchmarks/scans/compiled.py`).
    """
    return 80 if states == 1 else 104 if states <= 4 else 128


@dataclass(frozen=True)
class Problem:
    """Arguments of one scan for the kernels.

    Args:
        x: [B, L, C], IN_ORDER [B, K, L, C]; for a forward scan perhaps in half precision.
        source: Step sizes [B, K, L, C] in memory order; with a weight, the rows [B, K, L, RANK] in front of `bc`.
        bc: Rows of B and C, [B, K, L, 2N], last stride 1; with a weight, and if N is a multiple of four, the rows are
            aligned to four elements.
        A: [K, N, C].
        D: [K*C].
        bias: [K*C].
        walk: IN_ORDER, BOTH_WAYS or MAP.
        soft: Whether the step sizes go through softplus.
        weight: [K, R, C], which makes the step sizes of `source`; None: they are there.
        height: H of a map.
        width: W of a map.
    """

    x: Tensor
    source: Tensor
    bc: Tensor
    A: Tensor
    D: Tensor
    bias: Tensor
    walk: int
    soft: bool
    weight: Tensor | None = None
    height: int = 1
    width: int = 1

    def sizes(self) -> tuple[int, int, int, int, int]:
        """Return B, K, C, N and L."""
        batch, directions, length, _ = self.bc.shape
        return batch, directions, self.A.shape[2], self.A.shape[1], length

    def chunk(self) -> int:
        """Return the steps of a program in the forward scan."""
        batch, k, c, _, length = self.sizes()
        few = triton.cdiv(length, CHUNK) * triton.cdiv(c, CHANNELS) * batch * k < FEW_PROGRAMS
        return SHORT_CHUNK if few else CHUNK

    def launch(self, kernel: Any, chunk: int, *tensors: Tensor, walks: int | None = None, **options: Any) -> None:
        """Run a kernel with one program per chunk, block of channels, walk (default: each direction) and image."""
        batch, k, c, n, length = self.sizes()
        chunks = triton.cdiv(length, chunk)
        steps = {"T": chunk, "N": n, "walk": self.walk, "SOFT": self.soft, "BC": CHANNELS}
        sizes = {"K": k, "C": c, "L": length, "H": self.height, "W": self.width, "chunks": chunks}
        strides = dict(zip(("sb", "sk", "st"), self.bc.stride(), strict=False))
        grid = (chunks * triton.cdiv(c, CHANNELS), batch * (walks or k))
        kernel[grid](*tensors, **sizes, **strides, **steps, **options, num_warps=1)

    def forward_options(self) -> dict[str, int]:
        """Return what only the kernels of the forward scan take."""
        states = triton.next_power_of_2(self.A.shape[1])
        options = {"R": 0 if self.weight is None else self.weight.shape[1], "RANK": RANK, "STATES": states}
        return options if self.A.dtype == torch.float64 else options | {"maxnreg": most_registers(states)}

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return x, source, weight and bc; A, of its dtype, in place of a weight that is not used."""
        return self.x, self.source, self.A if self.weight is None else self.weight, self.bc

    def chained(self, ends: Tensor, totals: Tensor, adjoint: bool) -> Tensor:
        """Return the state that enters each chunk [B, K, chunks, N, C], from the states that the chunks add."""
        batch, k, c, n, _ = self.sizes()
        heads = torch.empty_like(ends)
        grid = (triton.cdiv(c, CHANNELS), batch * k, n)
        options = {"T": CHAIN_CHUNKS, "BC": CHANNELS, "num_warps": 1}
        chain[grid](ends, totals, self.A, heads, k, c, n, ends.shape[2], self.walk, int(adjoint), **options)
        return heads

    def heads(self, chunk: int) -> tuple[Tensor, Tensor]:
        """Return each chunk's state at its head [B, K, chunks, N, C] and the sum of its steps [B, K, chunks, C]."""
        batch, k, c, n, length = self.sizes()
        ends = self.A.new_empty((batch, k, triton.cdiv(length, chunk), n, c))
        totals = self.A.new_empty((batch, k, ends.shape[2], c))
        given = (*self.inputs(), self.A, self.bias, ends, totals)
        self.launch(chunk_ends, chunk, *given, **self.forward_options())
        return self.chained(ends, totals, adjoint=False), totals


def _on_device(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Return a context in which the device of `x` is current: Triton launches on the current device."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def forward(problem: Problem) -> Tensor:
    """Return the outputs [B, K, L, C]; of a map those of each walk and its reverse summed, [B, 2, L, C]."""
    p = problem
    batch, k, c, _, length = p.sizes()
    walks = k // 2 if p.walk == MAP else k
    y = p.A.new_empty((batch, walks, length, c))
    if y.numel() == 0:
        return y
    with _on_device(y):
        chunk = p.chunk()
        heads, _ = p.heads(chunk)
        given = (*p.inputs(), p.A, p.D, p.bias, heads, y)
        p.launch(outputs, chunk, *given, walks=walks, **p.forward_options())
    return y


def backward(problem: Problem, gy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients for `gy`, which is laid out as `x`; the problem has its step sizes, not a weight.

    Returns:
        gx and gdelta [B, K, L, C]; those of B and C [B, K, N, L] in memory order; that of A [B, K, N, C].
    """
    p = problem
    batch, k, c, n, length = p.sizes()
    gx = p.A.new_empty((batch, k, length, c))
    gdelta = torch.empty_like(gx)
    if gx.numel() == 0:
        rows = p.A.new_zeros((batch, k, n, length))
        return gx, gdelta, rows, rows.clone(), p.A.new_zeros((batch, k, n, c))
    delta, bmat, cmat = p.source, p.bc[..., :n], p.bc[..., n:]
    with _on_device(gx):
        heads, totals = p.heads(BACKWARD_CHUNK)
        starts = torch.empty_like(heads)
        p.launch(adjoint_starts, BACKWARD_CHUNK, gy, delta, cmat, p.A, p.bias, starts)
        tails = p.chained(starts, totals, adjoint=True)
        gb = p.A.new_empty((triton.cdiv(c, CHANNELS), batch, k, n, length))
        gc, ga = torch.empty_like(gb), torch.empty_like(heads)
        found = (gx, gdelta, gb, gc, ga)
        given = (gy, p.x, delta, bmat, cmat, p.A, p.D, p.bias, heads, tails)
        p.launch(gradients, BACKWARD_CHUNK, *given, *found)
    return gx, gdelta, gb.sum(0), gc.sum(0), ga.sum(2)


def _rates(A: Tensor, directions: int) -> Tensor:
    """Rearrange [K*C, N] to [K, N, C]."""
    return A.reshape(directions, -1, A.shape[1]).mT.contiguous()


def _sequence(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, bias: Tensor | None, soft: bool
) -> Problem:
    k, nothing = B.shape[1], u.new_zeros(u.shape[1])
    return Problem(
        _last(u, k),
        _last(delta, k),
        torch.cat((B.mT, C.mT), -1).contiguous(),  # torch would keep a layout with K last
        _rates(A, k),
        nothing if D is None else D.contiguous(),
        nothing if bias is None else bias.contiguous(),
        IN_ORDER,
        soft,
    )


def _padded(rows: Tensor, rank: int) -> Tensor:
    """Return rows [B, K, L, R+2N] with zeros after the rank, to RANK, and at the end, to a multiple of four."""
    zero = rows.new_zeros(())
    low, bc = rows[..., :rank], rows[..., rank:]
    pads = [zero.expand(*rows.shape[:-1], count) for count in (RANK - rank, -bc.shape[-1] % 4)]
    return torch.cat((low, pads[0], bc, pads[1]), -1)


def _last(u: Tensor, directions: int) -> Tensor:
    """Rearrange [B, K*C, L] to [B, K, L, C]."""
    return u.reshape(u.shape[0], directions, u.shape[1] // directions, u.shape[2]).mT.contiguous()


def _first(y: Tensor) -> Tensor:
    """Rearrange [B, K, L, C] to [B, K*C, L]."""
    return y.mT.flatten(1, 2).contiguous()


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, bias: Tensor | None, soft: bool
) -> Tensor:
    """Run `mambaseg::selective_scan`; shapes as in `ops.selective_scan`."""
    return _first(forward(_sequence(u, delta, A, B, C, D, bias, soft)))


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
    gx, gdelta, gb, gc, ga = backward(problem, _last(gy, B.shape[1]))
    gdelta = _first(gdelta)
    return _first(gx), gdelta, ga.mT.flatten(1, 2).contiguous(), gb, gc, (gy * u).sum(-1), gdelta.sum(-1)


def _projected(
    x: Tensor, rows: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor, walk: int, *, in_memory: bool
) -> Problem:
    """Return the scan of x [B, L, C] whose step sizes, B and C are the rows [B, K, L, R+2N].

    Args:
        x: [B, L, C].
        rows: [B, K, L, R+2N], any strides.
        weight: [K, C, R].
        bias: [K, C].
        A: [K*C, N].
        D: [K*C].
        walk: BOTH_WAYS or MAP.
        in_memory: Whether the full step sizes are needed in memory.
    """
    rank, state = weight.shape[2], A.shape[1]
    rest = (_rates(A, weight.shape[0]), D.contiguous(), bias.contiguous().flatten(), walk, True)
    if in_memory or not 0 < rank <= RANK:
        bc = rows[..., rank:]
        if state % 4 == 0 or bc.stride(-1) != 1:
            bc = bc.clone(memory_format=torch.contiguous_format)
        return Problem(x, torch.matmul(rows[..., :rank], weight.mT), bc, *rest)
    padded = _padded(rows, rank)
    bc = padded[..., RANK : RANK + 2 * state]
    return Problem(x, padded[..., :RANK], bc, *rest, weight=weight.mT.contiguous())


def _map(
    x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor, *, in_memory: bool = False
) -> Problem:
    rows = proj.flatten(1, 2).transpose(1, 2)  # [B, 4, L, R+2N]
    problem = _projected(x.contiguous().flatten(1, 2), rows, weight, bias, A, D, MAP, in_memory=in_memory)
    return replace(problem, height=x.shape[1], width=x.shape[2])


def ss2d(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    """Run `mambaseg::ss2d`; x [B, H, W, C], perhaps in half precision, proj [B, H, W, 4, R+2N]."""
    y = forward(_map(x, proj, weight, bias, A, D))
    return torch.add(y[:, 0], y[:, 1], out=x.new_empty(y[:, 0].shape)).reshape(x.shape)


def ss2d_backward(
    gy: Tensor, x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run `mambaseg::ss2d_backward`: gradients of x, proj (0 in its rank part), step sizes [B, 4, L, C] and A."""
    problem = _map(x, proj, weight, bias, A, D, in_memory=True)
    gx, gdelta, gb, gc, ga = backward(problem, gy.contiguous().flatten(1, 2))
    rank = proj.new_zeros((*proj.shape[:-1], weight.shape[2]))
    parts = [v.permute(0, 3, 1, 2).reshape(*proj.shape[:-1], A.shape[1]) for v in (gb, gc)]
    return gx.sum(1).reshape(x.shape), torch.cat((rank, *parts), -1), gdelta, ga.mT.flatten(1, 2).contiguous()


def bidirectional_scan(x: Tensor, proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    """Run `mambaseg::bidirectional_scan`; x [B, C, L], perhaps in half precision, proj [B, 2, R+2N, L].

    Its backward is `selective_scan`'s.
    """
    problem = _projected(x.mT.contiguous(), proj.mT, weight, bias, A, D, BOTH_WAYS, in_memory=False)
    y = forward(problem).mT
    return x.new_empty(y.shape).copy_(y)


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
