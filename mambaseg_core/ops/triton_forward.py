# mypy: ignore-errors
"""The scans' outputs as Triton kernels: `chunk_ends`, then `chain` of `triton_walks`, then `outputs`.

A program walks the places of a chunk in a loop. Each of its BC = 32 lanes has one channel with its N states in
registers, so nothing is exchanged between lanes. Pointers advance by additions, and a step's loads come before its
arithmetic, which hides their latency; exp(dt A) is exp2(dt A / ln 2).
"""

from __future__ import annotations

import triton
import triton.language as tl

from mambaseg_core.ops.triton_walks import LOG2E, by_columns, kernel, place_of, reversed_walk, softplus


@triton.jit
def _chunk(j, k, L, H, W, T, walk):
    """Return how to walk a chunk: steps, first place, stride, the first run, the others, their number, and the jump.

    A run is what is walked by one stride: the rest of a column of a map, or else the whole chunk. From the place after
    the end of a column the walk jumps to the next one.
    """
    steps = tl.minimum(T, L - j * T)
    back, column = reversed_walk(k, walk), by_columns(k, walk)
    s = tl.where(back, j * T + steps - 1, j * T)
    place = place_of(s, k, H, W, walk).to(tl.int64)
    sense = tl.where(back, -1, 1)
    stride = tl.where(column, W, 1) * sense
    run = tl.where(column, H, steps)
    first = tl.where(column, tl.where(back, s % H + 1, H - s % H), steps)
    runs = 1 + tl.cdiv(tl.maximum(steps - first, 0), run)
    jump = tl.where(column, 1 - H * W, 0).to(tl.int64) * sense
    return steps, place, stride, first, run, runs, jump


@triton.jit
def _row(at, n, N: tl.constexpr):
    """Return B or C [STATES] of a place; rows of a multiple of four floats are aligned to be loaded by fours."""
    at += n
    if N % 4 == 0:
        at = tl.multiple_of(at, 16)  # bytes
    return tl.load(at, mask=n < N, other=0.0)


@triton.jit
def _step(source, weight, bias, c, C, R, RANK: tl.constexpr, SOFT: tl.constexpr):
    """Return the step sizes [BC] at a place: its row [RANK] times the weight, or for R = 0 as they are in memory."""
    if R > 0:
        row = tl.load(tl.multiple_of(source + tl.arange(0, RANK), 16))
        dt = tl.sum(weight * row[:, None], 0)
    else:
        dt = tl.load(source + c, mask=c < C, other=0.0)
    dt += bias
    if SOFT:
        dt = softplus(dt)
    return dt


@triton.jit
def _weight(weight, k, c, C, R, RANK: tl.constexpr):
    """Return the weight of the step sizes [RANK, BC] of direction k, from [K, R, C]; zeros beyond R."""
    r = tl.arange(0, RANK)
    return tl.load(weight + (k * R + r)[:, None] * C + c[None, :], mask=(r < R)[:, None] & (c < C)[None, :], other=0.0)


@kernel
def chunk_ends(
    x, source, weight, bc, A, bias, ends, totals, K, C, L, H, W, R, T, chunks, sb, sk, st, walk,
    N: tl.constexpr, STATES: tl.constexpr, RANK: tl.constexpr, SOFT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the state that each chunk adds, ends [B, K, chunks, N, C], and its summed steps, totals [B, K, chunks, C].

    x [B, L, C], for `walk` 0 [B, K, L, C]; bc, rows of B and C [B, K, L, 2N] by strides; A [K, N, C]; bias [K*C].
    `source` has the step sizes [B, K, L, C], or for R > 0 what weight [K, R, C] makes them of, [B, K, L, RANK] by the
    strides of bc. STATES is N as a power of 2. x may be in half precision.
    """
    blocks = tl.cdiv(C, BC)
    j = tl.program_id(0) // blocks
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    bk = tl.program_id(1).to(tl.int64)
    b, k = bk // K, (bk % K).to(tl.int32)
    n = tl.arange(0, STATES)
    states = (n < N)[:, None] & (c < C)[None, :]
    rate = tl.load(A + (k * N + n)[:, None] * C + c[None, :], mask=states, other=0.0) * LOG2E
    shift = tl.load(bias + k * C + c, mask=c < C, other=0.0)
    held = _weight(weight, k, c, C, R, RANK)
    steps, place, stride, length, run, runs, jump = _chunk(j, k, L, H, W, T, walk)
    rows = b * sb + k.to(tl.int64) * sk + place * st
    bc += rows
    source += tl.where(R > 0, rows, (bk * L + place) * C)
    source_stride = tl.where(R > 0, st, C)
    x += (tl.where(walk == 0, bk, b) * L + place) * C + c
    h = tl.zeros_like(rate)
    total = tl.zeros_like(shift)
    for _ in range(runs):
        length = tl.minimum(length, steps)
        for _ in range(length):
            u = tl.load(x, mask=c < C, other=0.0).to(shift.dtype)
            b_n = _row(bc, n, N)
            dt = _step(source, held, shift, c, C, R, RANK, SOFT)
            h = tl.exp2(dt[None, :] * rate) * h + b_n[:, None] * (dt * u)[None, :]
            total += dt
            x += stride * C
            bc += stride * st
            source += stride * source_stride
        x += jump * C
        bc += jump * st
        source += jump * source_stride
        steps -= length
        length = run
    chunk = bk * chunks + j
    tl.store(totals + chunk * C + c, total, mask=c < C)
    tl.store(ends + (chunk * N + n[:, None]) * C + c[None, :], h, mask=states)


@kernel
def outputs(
    x, source, weight, bc, A, D, bias, heads, y, K, C, L, H, W, R, T, chunks, sb, sk, st, walk,
    N: tl.constexpr, STATES: tl.constexpr, RANK: tl.constexpr, SOFT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the outputs y [B, K, L, C], for `walk` 1 in scan order; for 2 the sums of a walk and its reverse.

    These are [B, 2, L, C]. Arguments as of `chunk_ends`; heads [B, K, chunks, N, C]; D [K*C].
    """
    blocks = tl.cdiv(C, BC)
    j = tl.program_id(0) // blocks
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    senses = tl.where(walk == 2, 2, 1)
    walks = K // senses
    b, first = tl.program_id(1).to(tl.int64) // walks, tl.program_id(1) % walks
    n = tl.arange(0, STATES)
    states = (n < N)[:, None] & (c < C)[None, :]
    for sense in range(senses):
        k = first + sense * walks
        bk = b * K + k
        rate = tl.load(A + (k * N + n)[:, None] * C + c[None, :], mask=states, other=0.0) * LOG2E
        shift = tl.load(bias + k * C + c, mask=c < C, other=0.0)
        skip = tl.load(D + k * C + c, mask=c < C, other=0.0)
        held = _weight(weight, k, c, C, R, RANK)
        steps, place, stride, length, run, runs, jump = _chunk(j, k, L, H, W, T, walk)
        rows = b * sb + k.to(tl.int64) * sk + place * st
        bc_k = bc + rows
        source_k = source + tl.where(R > 0, rows, (bk * L + place) * C)
        source_stride = tl.where(R > 0, st, C)
        x_k = x + (tl.where(walk == 0, bk, b) * L + place) * C + c
        turned = (walk == 1) & (k == 1)
        y_k = y + ((b * walks + first) * L + tl.where(turned, L - 1 - place, place)) * C + c
        y_stride = tl.where(turned, -C, C)
        h = tl.load(heads + ((bk * chunks + j) * N + n[:, None]) * C + c[None, :], mask=states, other=0.0)
        for _ in range(runs):
            length = tl.minimum(length, steps)
            for _ in range(length):
                u = tl.load(x_k, mask=c < C, other=0.0).to(shift.dtype)
                b_n = _row(bc_k, n, N)
                walked = tl.load(y_k, mask=(c < C) & (sense == 1), other=0.0)  # stored by the same lane, just before
                dt = _step(source_k, held, shift, c, C, R, RANK, SOFT)
                c_n = _row(bc_k + N, n, N)
                h = tl.exp2(dt[None, :] * rate) * h + b_n[:, None] * (dt * u)[None, :]
                tl.store(y_k, tl.sum(h * c_n[:, None], 0) + skip * u + walked, mask=c < C)
                x_k += stride * C
                y_k += stride * y_stride
                bc_k += stride * st
                source_k += stride * source_stride
            x_k += jump * C
            y_k += jump * y_stride
            bc_k += jump * st
            source_k += jump * source_stride
            steps -= length
            length = run
