# mypy: ignore-errors
"""What the Triton kernels of the scans share: walks over a map, steps, and chunks in a chain.

A sequence is cut into chunks of T places that run side by side. A direction is a rule for its places: `walk` 0 is in
order, 1 adds the reverse (k = 1), 2 has the four walks over a map. A chunk holds the same places in both
senses; in the reverse it is walked from its end, and the chain from the last chunk to the first. No directional copy
is made. Channels are the last dimension, one to a lane. Triton's language is not Python, so mypy skips this file.
"""

from __future__ import annotations

import inspect

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)  # exp(x) is exp2(x LOG2E), and the hardware has exp2
# one compiled variant for all of these: nothing is compiled anew for another image size or walk
SIZES = ["K", "C", "L", "H", "W", "N", "R", "T", "chunks", "sb", "sk", "st", "walk", "adjoint"]


def kernel(function):
    """Return a function as a Triton kernel that is compiled once for all sizes and alignments of its arguments."""
    names = [name for name in inspect.signature(function).parameters if name not in function.__annotations__]
    sizes = [name for name in names if name in SIZES]
    pointers = [name for name in names if name not in SIZES]
    return triton.jit(do_not_specialize=sizes, do_not_specialize_on_alignment=pointers)(function)


@triton.jit
def combine(a0, b0, a1, b1):
    """Return the step h -> a1 h + b1 after the step h -> a0 h + b0, as one step."""
    return a0 * a1, a1 * b0 + b1


@triton.jit
def reversed_walk(k, walk):
    """Return whether direction k walks from the last place to the first."""
    return ((walk == 2) & (k >= 2)) | ((walk == 1) & (k == 1))


@triton.jit
def by_columns(k, walk):
    """Return whether direction k walks down the columns of a map, one after another."""
    return (walk == 2) & (k % 2 == 1)


@triton.jit
def place_of(s, k, H, W, walk):
    """Return the place in memory of the s-th place of a walk in the sense of k = 0 or 1."""
    return tl.where(by_columns(k, walk), (s % H) * W + s // H, s)


@triton.jit
def softplus(x):
    """Return log(1 + exp(x)), small values too to 1e-6 of themselves.

    With z = exp(-|x|) it is max(x, 0) + log(1 + z). In float32, log(1 + z) is z times a polynomial on [0, 1] that was
    fitted for the least relative error, 3e-8: a third of the instructions of the logarithm. In float64, where rounding
    1 + z loses digits of z, the factor `lost` restores them.
    """
    z = tl.exp2(tl.abs(x) * -LOG2E)
    if x.dtype == tl.float64:
        one = 1.0 + z
        lost = tl.where(one == 1.0, 1.0, z / tl.where(one == 1.0, 1.0, one - 1.0))
        return tl.where(x > 0, x, 0.0) + tl.where(one == 1.0, z, tl.log(one) * lost)
    p = z * 0.00523268804 - 0.0295052137
    p = p * z + 0.0782259107
    p = p * z - 0.136632428
    p = p * z + 0.191060051
    p = p * z - 0.24842982
    p = p * z + 0.333190978
    p = p * z - 0.499994934
    p = p * z + 0.99999994
    return tl.where(x > 0, x, 0.0) + z * p


@kernel
def chain(
    ends, totals, A, heads, K, C, N, chunks, walk, adjoint, T: tl.constexpr, BC: tl.constexpr
):  # fmt: skip
    """Store the state that enters each chunk, heads [B, K, chunks, N, C], from what each adds; `adjoint`: from its end.

    A program has T chunks at a time of one state of BC channels. ends as heads, totals [B, K, chunks, C], A [K, N, C].
    """
    row = tl.arange(0, T)
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    n = tl.program_id(2)
    bk = tl.program_id(1).to(tl.int64)
    k = bk % K
    back = reversed_walk(k, walk) != (adjoint == 1)
    rate = tl.load(A + (k * N + n) * C + c, mask=c < C, other=0.0) * LOG2E
    carry = tl.zeros_like(rate)
    first = tl.where(back, chunks - 1, 0)
    tl.store(heads + ((bk * chunks + first) * N + n) * C + c, carry, mask=c < C)
    for start in range(0, chunks, T):
        i = start + row
        j = bk * chunks + tl.where(back, chunks - 1 - i, i)
        live = (i < chunks)[:, None] & (c < C)[None, :]
        span = tl.load(totals + j[:, None] * C + c[None, :], mask=live, other=0.0)
        added = tl.load(ends + (j * N + n)[:, None] * C + c[None, :], mask=live, other=0.0)
        decay = tl.exp2(span * rate[None, :])
        added += tl.where(row[:, None] == 0, decay * carry[None, :], 0.0)
        _, h = tl.associative_scan((decay, added), 0, combine)
        after = tl.where(back, j - 1, j + 1)
        more = (i + 1 < chunks)[:, None] & (c < C)[None, :]
        tl.store(heads + (after * N + n)[:, None] * C + c[None, :], h, mask=more)
        carry = tl.sum(tl.where(row[:, None] == T - 1, h, 0.0), 0)
