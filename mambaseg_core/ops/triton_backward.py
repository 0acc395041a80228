# mypy: ignore-errors
"""The scans' gradients as Triton kernels.

The order is `chunk_ends` and `chain` (forward), `adjoint_starts`, `chain` of the adjoint (what enters each chunk from
its end), and `gradients`, which computes the states anew rather than read them. A program has a chunk of T steps of BC
channels of one direction of one image as a tile [T, BC]. With 32 channels a warp every lane has whole columns of the
tile, so scans along T need no exchange.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mambaseg_core.ops.triton_walks import LOG2E, combine, kernel, place_of, reversed_walk, softplus


@triton.jit
def _tile(row, k, j, c, C, L, H, W, walk, T: tl.constexpr):
    """Return, for rows [T] of a chunk, their places, the offsets [T, BC] in [L, C], and which of them exist."""
    steps = tl.minimum(T, L - j * T)
    s = j * T + tl.where(reversed_walk(k, walk), steps - 1 - row, row)
    place = place_of(s, k, H, W, walk).to(tl.int64)
    inside = (row >= 0) & (row < steps)
    return place, place[:, None] * C + c[None, :], inside, inside[:, None] & (c < C)[None, :]


@triton.jit
def _raw_steps(delta, cells, live, bias, c, C):
    """Return the step sizes of a tile before the softplus; `bias` points to its direction."""
    return tl.load(delta + cells, mask=live, other=0.0) + tl.load(bias + c, mask=c < C, other=0.0)[None, :]


@triton.jit
def _steps(delta, cells, live, bias, c, C, SOFT: tl.constexpr):
    """Return the step sizes of a tile; 0 where no cell exists, so that a state passes unchanged."""
    dt = _raw_steps(delta, cells, live, bias, c, C)
    if SOFT:
        dt = softplus(dt)
    return tl.where(live, dt, 0.0)


@triton.jit
def _program(C, K, BC: tl.constexpr):
    """Return the chunk, the channels [BC], image and direction b*K + k, image and direction of this program."""
    blocks = tl.cdiv(C, BC)
    bk = tl.program_id(1).to(tl.int64)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    return tl.program_id(0) // blocks, c, bk, bk // K, (bk % K).to(tl.int32)


@kernel
def adjoint_starts(
    gy, delta, cmat, A, bias, starts, K, C, L, H, W, N, chunks, sb, sk, st, walk,
    SOFT: tl.constexpr, T: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the adjoint that a chunk passes to the one before it, starts [B, K, chunks, N, C]; gy is laid out as x."""
    j, c, bk, b, k = _program(C, K, BC)
    row = tl.arange(0, T)
    place, cells, inside, live = _tile(T - 1 - row, k, j, c, C, L, H, W, walk, T)  # from the end of the chunk
    dt = _steps(delta + bk * L * C, cells, live, bias + k * C, c, C, SOFT)
    g = tl.load(gy + tl.where(walk == 0, bk, b) * L * C + cells, mask=live, other=0.0)
    rows = cmat + b * sb + k.to(tl.int64) * sk + place * st
    for n in range(N):
        rate = tl.load(A + (k * N + n) * C + c, mask=c < C, other=0.0) * LOG2E
        decay = tl.exp2(dt * rate[None, :])
        inputs = decay * g * tl.load(rows + n, mask=inside, other=0.0)[:, None]
        _, q = tl.associative_scan((decay, inputs), 0, combine)
        last = tl.sum(tl.where(row[:, None] == T - 1, q, 0.0), 0)
        tl.store(starts + ((bk * chunks + j) * N + n) * C + c, last, mask=c < C)


@kernel
def gradients(
    gy, x, delta, bmat, cmat, A, D, bias, heads, tails, gx, gdelta, gb, gc, ga,
    K, C, L, H, W, N, chunks, sb, sk, st, walk, SOFT: tl.constexpr, T: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the gradients gx, gdelta [B, K, L, C] in memory order, and partial sums that the caller adds up.

    These are gb, gc [channel blocks, B, K, N, L] in memory order and ga [B, K, chunks, N, C].
    """
    j, c, bk, b, k = _program(C, K, BC)
    row = tl.arange(0, T)
    x += tl.where(walk == 0, bk, b) * L * C
    gy += tl.where(walk == 0, bk, b) * L * C
    delta += bk * L * C
    bias += k * C
    place, cells, inside, live = _tile(row, k, j, c, C, L, H, W, walk, T)
    before, cells_before, has_before, live_before = _tile(row - 1, k, j, c, C, L, H, W, walk, T)
    _place, cells_after, _inside, live_after = _tile(row + 1, k, j, c, C, L, H, W, walk, T)
    dt = _steps(delta, cells, live, bias, c, C, SOFT)
    dt_before = _steps(delta, cells_before, live_before, bias, c, C, SOFT)
    dt_after = _steps(delta, cells_after, live_after & (row < T - 1)[:, None], bias, c, C, SOFT)
    u = tl.load(x + cells, mask=live, other=0.0)
    g = tl.load(gy + cells, mask=live, other=0.0)
    du_before = dt_before * tl.load(x + cells_before, mask=live_before, other=0.0)
    rows = b * sb + k.to(tl.int64) * sk + place * st
    rows_before = b * sb + k.to(tl.int64) * sk + before * st
    chunk = bk * chunks + j
    block = ((tl.program_id(0) % tl.cdiv(C, BC)).to(tl.int64) * tl.num_programs(1) + bk) * N * L + place
    gdu, gdt = tl.zeros_like(dt), tl.zeros_like(dt)
    for n in range(N):
        rate = tl.load(A + (k * N + n) * C + c, mask=c < C, other=0.0)
        fast = (rate * LOG2E)[None, :]
        head = tl.load(heads + (chunk * N + n) * C + c, mask=c < C, other=0.0)
        tail = tl.load(tails + (chunk * N + n) * C + c, mask=c < C, other=0.0)
        b_n = tl.load(bmat + rows + n, mask=inside, other=0.0)[:, None]
        c_n = tl.load(cmat + rows + n, mask=inside, other=0.0)[:, None]
        b_before = tl.load(bmat + rows_before + n, mask=has_before, other=0.0)[:, None]
        inputs = du_before * b_before + tl.where(row[:, None] == 0, head[None, :], 0.0)
        _, state = tl.associative_scan((tl.exp2(dt_before * fast), inputs), 0, combine)  # before the step
        inputs = g * c_n + tl.where(row[:, None] == T - 1, tail[None, :], 0.0)
        _, gh = tl.associative_scan((tl.exp2(dt_after * fast), inputs), 0, combine, reverse=True)
        kept = tl.exp2(dt * fast) * state
        tl.store(gc + block + n * L, tl.sum(g * (kept + dt * u * b_n), 1), mask=inside)
        tl.store(gb + block + n * L, tl.sum(gh * dt * u, 1), mask=inside)
        tl.store(ga + (chunk * N + n) * C + c, tl.sum(gh * kept * dt, 0), mask=c < C)
        gdu += gh * b_n
        gdt += gh * kept * rate[None, :]
    gdt += gdu * u
    if SOFT:
        gdt *= tl.sigmoid(_raw_steps(delta, cells, live, bias, c, C))
    skip = tl.load(D + k * C + c, mask=c < C, other=0.0)[None, :]
    tl.store(gx + bk * L * C + cells, gdu * dt + g * skip, mask=live)
    tl.store(gdelta + bk * L * C + cells, gdt, mask=live)
