# mypy: ignore-errors
"""The scans' outputs as Triton kernels: `chunk_ends`, then `chain` of `triton_walks`, then `outputs`.

A program walks the places of a chunk in a loop. Each of its BC = 32 lanes has one channel with its N states in
registers, so nothing is exchanged between lanes. Places advance by additions; exp(dt A) is exp2(dt A / ln 2).
"""

from __future__ import annotations

import triton
import triton.language as tl

from mambaseg_core.ops.triton_walks import LOG2E, kernel, place_of, reversed_walk, softplus


@triton.jit
def _chunk(j, k, L, H, W, T, WALK: tl.constexpr):
    """Return how to walk a chunk: number of steps, first place, stride, steps to the end of a column, its height, jump.

    After the last place of a column the walk jumps to the next one; rows have no end.
    """
    steps = tl.minimum(T, L - j * T)
    back = reversed_walk(k, WALK)
    s = tl.where(back, j * T + steps - 1, j * T)
    place = place_of(s, k, H, W, WALK)
    sense = tl.where(back, -1, 1)
    if WALK == 2:
        column = k % 2 == 1
        stride = tl.where(column, W, 1) * sense
        height = tl.where(column, H, L + 1)
        row = tl.where(back, height - 1 - s % height, s % height)
        jump = tl.where(column, 1 - H * W, 0) * sense
    else:
        stride, height, row, jump = sense, L + 1, 0, 0
    return steps, place, stride, height - row, height, jump


@triton.jit
def _next(place, left, stride, height, jump, WALK: tl.constexpr):
    """Return the next place, and the steps that are left to the end of its column."""
    place += stride
    left -= 1
    if WALK == 2:
        place += tl.where(left == 0, jump, 0)
        left = tl.where(left == 0, height, left)
    return place, left


@triton.jit
def _step(delta, low, weight, bias, place, c, C, K, RANK: tl.constexpr, SOFT: tl.constexpr):
    """Return the step sizes [BC] at a place: from memory, or as the product of its row [RANK] with the weight."""
    if RANK:
        row = tl.load(low + place * (K * RANK) + tl.arange(0, RANK))
        dt = tl.sum(weight * row[:, None], 0) + bias
    else:
        dt = tl.load(delta + place * C + c, mask=c < C, other=0.0) + bias
    if SOFT:
        dt = softplus(dt)
    return dt


@triton.jit
def _weight(weight, k, c, C, R, bias, RANK: tl.constexpr):
    """Return the weight of the step sizes [RANK, BC] of direction k, from [K, R, C]; zeros beyond R."""
    r = tl.arange(0, RANK if RANK else 1)
    held = tl.zeros_like(r)[:, None] + tl.zeros_like(bias)[None, :]
    if RANK:
        inside = (r < R)[:, None] & (c < C)[None, :]
        held = tl.load(weight + (k * R + r)[:, None] * C + c[None, :], mask=inside, other=0.0)
    return held


@kernel
def chunk_ends(
    x, delta, low, weight, bmat, A, bias, ends, totals, K, C, L, H, W, R, T, chunks, sb, sk, st,
    N: tl.constexpr, STATES: tl.constexpr, RANK: tl.constexpr, SHARED: tl.constexpr, WALK: tl.constexpr,
    SOFT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the state that each chunk adds, ends [B, K, chunks, N, C], and its summed steps, totals [B, K, chunks, C].

    x [B, (K,) L, C]; delta [B, K, L, C], or for a RANK low [B, L, K, RANK] and weight [K, R, C]; bmat [B, K, L, N]
    by strides; A [K, N, C]; bias [K*C]. STATES is N as a power of 2.
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
    held = _weight(weight, k, c, C, R, shift, RANK)
    x += (b if SHARED else bk) * L * C
    delta += bk * L * C
    low_k = low + (b * L * K + k) * RANK
    rows = b * sb + k.to(tl.int64) * sk
    steps, place, stride, left, height, jump = _chunk(j, k, L, H, W, T, WALK)
    place = place.to(tl.int64)
    h = tl.zeros_like(rate)
    total = tl.zeros_like(shift)
    for _ in range(steps):
        dt = _step(delta, low_k, held, shift, place, c, C, K, RANK, SOFT)
        u = tl.load(x + place * C + c, mask=c < C, other=0.0).to(dt.dtype)
        b_n = tl.load(bmat + rows + place * st + n, mask=n < N, other=0.0)
        h = tl.exp2(dt[None, :] * rate) * h + b_n[:, None] * (dt * u)[None, :]
        total += dt
        place, left = _next(place, left, stride, height, jump, WALK)
    chunk = bk * chunks + j
    tl.store(totals + chunk * C + c, total, mask=c < C)
    tl.store(ends + (chunk * N + n[:, None]) * C + c[None, :], h, mask=states)


@kernel
def outputs(
    x, delta, low, weight, bmat, cmat, A, D, bias, heads, y, K, C, L, H, W, R, T, chunks, sb, sk, st,
    N: tl.constexpr, STATES: tl.constexpr, RANK: tl.constexpr, SHARED: tl.constexpr, WALK: tl.constexpr,
    SOFT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Store the outputs y [B, K, L, C], for WALK 1 in scan order; for WALK 2 the sums of a walk and its reverse.

    These are [B, 2, L, C]. Arguments as of `chunk_ends`; heads [B, K, chunks, N, C]; D [K*C].
    """
    blocks = tl.cdiv(C, BC)
    j = tl.program_id(0) // blocks
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    senses: tl.constexpr = 2 if WALK == 2 else 1
    walks = K // senses
    b, first = tl.program_id(1).to(tl.int64) // walks, tl.program_id(1) % walks
    n = tl.arange(0, STATES)
    states = (n < N)[:, None] & (c < C)[None, :]
    y += (b * walks + first) * L * C
    for sense in range(senses):
        k = first + sense * walks
        bk = b * K + k
        rate = tl.load(A + (k * N + n)[:, None] * C + c[None, :], mask=states, other=0.0) * LOG2E
        shift = tl.load(bias + k * C + c, mask=c < C, other=0.0)
        skip = tl.load(D + k * C + c, mask=c < C, other=0.0)
        held = _weight(weight, k, c, C, R, shift, RANK)
        x_k = x + (b if SHARED else bk) * L * C
        delta_k = delta + bk * L * C
        low_k = low + (b * L * K + k) * RANK
        rows = b * sb + k.to(tl.int64) * sk
        steps, place, stride, left, height, jump = _chunk(j, k, L, H, W, T, WALK)
        place = place.to(tl.int64)
        h = tl.load(heads + ((bk * chunks + j) * N + n[:, None]) * C + c[None, :], mask=states, other=0.0)
        for _ in range(steps):
            dt = _step(delta_k, low_k, held, shift, place, c, C, K, RANK, SOFT)
            u = tl.load(x_k + place * C + c, mask=c < C, other=0.0).to(dt.dtype)
            b_n = tl.load(bmat + rows + place * st + n, mask=n < N, other=0.0)
            c_n = tl.load(cmat + rows + place * st + n, mask=n < N, other=0.0)
            h = tl.exp2(dt[None, :] * rate) * h + b_n[:, None] * (dt * u)[None, :]
            out = tl.sum(h * c_n[:, None], 0) + skip * u
            cells = y + (tl.where(k == 1, L - 1 - place, place) if WALK == 1 else place) * C + c
            if senses == 2:
                out += tl.load(cells, mask=(c < C) & (sense == 1), other=0.0)  # of the same lane, just before
            tl.store(cells, out, mask=c < C)
            place, left = _next(place, left, stride, height, jump, WALK)
