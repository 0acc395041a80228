# mypy: ignore-errors
"""Scans as Triton kernels, launched by `triton_scan`. Triton's language is not Python, so mypy skips this file.

A sequence is cut into chunks of T steps that run side by side. A program has one chunk of BC channels of one
direction of one image, as a tile [T, BC]. Forward: `chunk_ends` (the state that each chunk adds), `chain` (the
state at the head of each chunk), `outputs`. Backward: `chunk_ends`, `chain`, `adjoint_starts`, `chain` in reverse
(the adjoint that enters each chunk from the right), `gradients`, which recomputes the states rather than read them.
With 32 channels per warp, every thread has whole columns of the tile, so scans along T need no exchange.

A direction is an index rule (`_place`): WALK 0 is in order, 1 adds the reverse (k = 1), 2 has the four walks over a
map. No directional copy is made. Layouts: LAST [L, C], else [C, L]; SHARED inputs have no direction dimension.
"""

from __future__ import annotations

import triton
import triton.language as tl

# rows need not start on 16 bytes; specialized on it, the compiler gives a thread four channels and spreads the rows
_LOOSE = ["C", "L", "H", "W", "sb", "sk", "st", "sn"]


@triton.jit
def _combine(a0, b0, a1, b1):
    """Return the step h -> a1 h + b1 after the step h -> a0 h + b0, as one step."""
    return a0 * a1, a1 * b0 + b1


@triton.jit
def _place(t, k, L, H, W, WALK: tl.constexpr):
    """Return the place of step t of direction k in memory order."""
    if WALK == 1:
        t = tl.where(k == 1, L - 1 - t, t)
    if WALK == 2:
        t = tl.where(k >= 2, L - 1 - t, t)
        t = tl.where(k % 2 == 1, (t % H) * W + t // H, t)
    return t


@triton.jit
def _cells(place, c, C, L, LAST: tl.constexpr):
    """Return the offsets of a tile [T, BC] in [L, C] or [C, L]."""
    return place[:, None] * C + c[None, :] if LAST else c[None, :] * L + place[:, None]


@triton.jit
def _tile(t, inside, k, c, C, L, H, W, LAST: tl.constexpr, WALK: tl.constexpr):
    """Return, for steps t [T] and channels c [BC], the places [T], the offsets [T, BC] and which of them exist."""
    place = _place(t, k.to(tl.int32), L, H, W, WALK)
    return place, _cells(place, c, C, L, LAST), inside[:, None] & (c < C)[None, :]


@triton.jit
def _softplus(x):
    """Return log(1 + exp(x)), exact in the last digits of small values too.

    Rounding 1 + z loses digits of z; the factor `lost` restores them.
    """
    z = tl.exp(-tl.abs(x))
    one = 1.0 + z
    lost = tl.where(one == 1.0, 1.0, z / tl.where(one == 1.0, 1.0, one - 1.0))
    return tl.where(x > 0, x, 0.0) + tl.where(one == 1.0, z, tl.log(one) * lost)


@triton.jit
def _raw_steps(delta, cells, live, bias, c, C):
    """Return the step sizes of a tile before the softplus; `bias` points to its direction."""
    return tl.load(delta + cells, mask=live, other=0.0) + tl.load(bias + c, mask=c < C, other=0.0)[None, :]


@triton.jit
def _steps(delta, cells, live, bias, c, C, SOFT: tl.constexpr):
    """Return the step sizes of a tile; 0 where no cell exists, so that a state passes unchanged."""
    dt = _raw_steps(delta, cells, live, bias, c, C)
    if SOFT:
        dt = _softplus(dt)
    return tl.where(live, dt, 0.0)


@triton.jit
def _stepped(delta, t, inside, k, bias, c, C, L, H, W, LAST: tl.constexpr, WALK: tl.constexpr, SOFT: tl.constexpr):
    """Return the results of `_tile` and the step sizes of the tile."""
    place, cells, live = _tile(t, inside, k, c, C, L, H, W, LAST, WALK)
    return place, cells, live, _steps(delta, cells, live, bias, c, C, SOFT)


@triton.jit
def _slices(x, delta, bias, C, L, K, SHARED: tl.constexpr):
    """Return b*K + k, image b, direction k, and this program's parts of x, delta and bias."""
    bk = tl.program_id(2).to(tl.int64)
    b = bk // K
    k = bk % K
    if SHARED:
        x += b * C * L
    else:
        x += bk * C * L
    return bk, b, k, x, delta + bk * C * L, bias + k * C


@triton.jit(do_not_specialize_on_alignment=_LOOSE)
def chunk_ends(
    x,
    delta,
    bmat,
    A,
    bias,
    ends,
    totals,
    K,
    C,
    N,
    L,
    H,
    W,
    sb,
    sk,
    st,
    sn,
    SHARED: tl.constexpr,
    LAST: tl.constexpr,
    WALK: tl.constexpr,
    SOFT: tl.constexpr,
    T: tl.constexpr,
    BC: tl.constexpr,
):
    """Store the state that each chunk adds, ends [B, K, chunks, N, C], and its summed steps, totals [B, K, chunks, C].

    x [B, (K,) L, C] or [B, (K,) C, L], delta [B, K, ...] likewise, bmat by strides (sb, sk, st, sn), A [K, N, C].
    """
    j = tl.program_id(1)
    row = tl.arange(0, T)
    t = j * T + row
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    bk, b, k, x, delta, bias = _slices(x, delta, bias, C, L, K, SHARED)
    place, cells, live, dt = _stepped(delta, t, t < L, k, bias, c, C, L, H, W, LAST, WALK, SOFT)
    du = dt * tl.load(x + cells, mask=live, other=0.0)
    chunk = bk * tl.num_programs(1) + j
    tl.store(totals + chunk * C + c, tl.sum(dt, 0), mask=c < C)
    rows = bmat + b * sb + k * sk + place * st
    for n in range(N):
        rate = tl.load(A + (k * N + n) * C + c, mask=c < C, other=0.0)
        inputs = du * tl.load(rows + n * sn, mask=t < L, other=0.0)[:, None]
        _, h = tl.associative_scan((tl.exp(dt * rate[None, :]), inputs), 0, _combine)
        tl.store(ends + (chunk * N + n) * C + c, tl.sum(tl.where(row[:, None] == T - 1, h, 0.0), 0), mask=c < C)


@triton.jit(do_not_specialize_on_alignment=_LOOSE)
def chain(ends, totals, A, heads, K, C, N, chunks, REVERSE: tl.constexpr, T: tl.constexpr, BC: tl.constexpr):
    """Store the state that enters each chunk, heads [B, K, chunks, N, C], from what each adds; REVERSE: the adjoint."""
    row = tl.arange(0, T)
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    n = tl.program_id(1)
    bk = tl.program_id(2).to(tl.int64)
    rate = tl.load(A + ((bk % K) * N + n) * C + c, mask=c < C, other=0.0)
    carry = tl.zeros_like(rate)
    first = chunks - 1 if REVERSE else 0
    tl.store(heads + ((bk * chunks + first) * N + n) * C + c, carry, mask=c < C)
    for start in range(0, chunks, T):
        i = start + row
        j = bk * chunks + (chunks - 1 - i if REVERSE else i)
        live = (i < chunks)[:, None] & (c < C)[None, :]
        span = tl.load(totals + j[:, None] * C + c[None, :], mask=live, other=0.0)
        added = tl.load(ends + (j * N + n)[:, None] * C + c[None, :], mask=live, other=0.0)
        decay = tl.exp(span * rate[None, :])
        added += tl.where(row[:, None] == 0, decay * carry[None, :], 0.0)
        _, h = tl.associative_scan((decay, added), 0, _combine)
        after = j - 1 if REVERSE else j + 1
        more = (i + 1 < chunks)[:, None] & (c < C)[None, :]
        tl.store(heads + (after * N + n)[:, None] * C + c[None, :], h, mask=more)
        carry = tl.sum(tl.where(row[:, None] == T - 1, h, 0.0), 0)


@triton.jit(do_not_specialize_on_alignment=_LOOSE)
def outputs(
    x,
    delta,
    bmat,
    cmat,
    A,
    D,
    bias,
    heads,
    y,
    K,
    C,
    N,
    L,
    H,
    W,
    sb,
    sk,
    st,
    sn,
    SHARED: tl.constexpr,
    LAST: tl.constexpr,
    WALK: tl.constexpr,
    SOFT: tl.constexpr,
    T: tl.constexpr,
    BC: tl.constexpr,
):
    """Store the outputs y [B, K, L, C] or [B, K, C, L] in memory order, for WALK 1 in scan order."""
    j = tl.program_id(1)
    row = tl.arange(0, T)
    t = j * T + row
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    bk, b, k, x, delta, bias = _slices(x, delta, bias, C, L, K, SHARED)
    place, cells, live, dt = _stepped(delta, t, t < L, k, bias, c, C, L, H, W, LAST, WALK, SOFT)
    u = tl.load(x + cells, mask=live, other=0.0)
    du = dt * u
    out = u * tl.load(D + k * C + c, mask=c < C, other=0.0)[None, :]
    chunk = bk * tl.num_programs(1) + j
    rows = b * sb + k * sk + place * st
    for n in range(N):
        rate = tl.load(A + (k * N + n) * C + c, mask=c < C, other=0.0)
        head = tl.load(heads + (chunk * N + n) * C + c, mask=c < C, other=0.0)
        decay = tl.exp(dt * rate[None, :])
        inputs = du * tl.load(bmat + rows + n * sn, mask=t < L, other=0.0)[:, None]
        inputs += tl.where(row[:, None] == 0, decay * head[None, :], 0.0)
        _, h = tl.associative_scan((decay, inputs), 0, _combine)
        out += h * tl.load(cmat + rows + n * sn, mask=t < L, other=0.0)[:, None]
    if WALK == 1:
        cells = _cells(t, c, C, L, LAST)
    tl.store(y + bk * C * L + cells, out, mask=live)


@triton.jit(do_not_specialize_on_alignment=_LOOSE)
def adjoint_starts(
    gy,
    delta,
    cmat,
    A,
    bias,
    starts,
    K,
    C,
    N,
    L,
    H,
    W,
    sb,
    sk,
    st,
    sn,
    SHARED: tl.constexpr,
    LAST: tl.constexpr,
    WALK: tl.constexpr,
    SOFT: tl.constexpr,
    T: tl.constexpr,
    BC: tl.constexpr,
):
    """Store the adjoint that a chunk passes to the one before it, starts [B, K, chunks, N, C]; gy is laid out as x."""
    j = tl.program_id(1)
    row = tl.arange(0, T)
    t = j * T + T - 1 - row  # from the right: for reverse=True the compiler reverses a tile across all lanes
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    bk, b, k, gy, delta, bias = _slices(gy, delta, bias, C, L, K, SHARED)
    place, cells, live, dt = _stepped(delta, t, t < L, k, bias, c, C, L, H, W, LAST, WALK, SOFT)
    g = tl.load(gy + cells, mask=live, other=0.0)
    chunk = bk * tl.num_programs(1) + j
    rows = cmat + b * sb + k * sk + place * st
    for n in range(N):
        decay = tl.exp(dt * tl.load(A + (k * N + n) * C + c, mask=c < C, other=0.0)[None, :])
        inputs = decay * g * tl.load(rows + n * sn, mask=t < L, other=0.0)[:, None]
        _, q = tl.associative_scan((decay, inputs), 0, _combine)
        tl.store(starts + (chunk * N + n) * C + c, tl.sum(tl.where(row[:, None] == T - 1, q, 0.0), 0), mask=c < C)


@triton.jit(do_not_specialize_on_alignment=_LOOSE)
def gradients(
    gy,
    x,
    delta,
    bmat,
    cmat,
    A,
    D,
    bias,
    heads,
    tails,
    gx,
    gdelta,
    gb,
    gc,
    ga,
    K,
    C,
    N,
    L,
    H,
    W,
    sb,
    sk,
    st,
    sn,
    SHARED: tl.constexpr,
    LAST: tl.constexpr,
    WALK: tl.constexpr,
    SOFT: tl.constexpr,
    T: tl.constexpr,
    BC: tl.constexpr,
):
    """Store the gradients gx, gdelta [B, K, ...] in memory order, and partial sums that the caller adds up.

    These are gb, gc [channel blocks, B, K, N, L] in memory order and ga [B, K, chunks, N, C].
    """
    j = tl.program_id(1)
    row = tl.arange(0, T)
    t = j * T + row
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    bk, b, k, x, delta, bias = _slices(x, delta, bias, C, L, K, SHARED)
    gy += (b if SHARED else bk) * C * L
    place, cells, live, dt = _stepped(delta, t, t < L, k, bias, c, C, L, H, W, LAST, WALK, SOFT)
    u = tl.load(x + cells, mask=live, other=0.0)
    g = tl.load(gy + cells, mask=live, other=0.0)
    has_before = (row > 0) & (t - 1 < L)
    before, cells_b, live_b, dt_before = _stepped(delta, t - 1, has_before, k, bias, c, C, L, H, W, LAST, WALK, SOFT)
    du_before = dt_before * tl.load(x + cells_b, mask=live_b, other=0.0)
    has_after = (row < T - 1) & (t + 1 < L)
    _p, _c, _l, dt_after = _stepped(delta, t + 1, has_after, k, bias, c, C, L, H, W, LAST, WALK, SOFT)
    chunk = bk * tl.num_programs(1) + j
    rows = b * sb + k * sk + place * st
    rows_before = b * sb + k * sk + before * st
    block = (tl.program_id(0).to(tl.int64) * tl.num_programs(2) + bk) * N * L + place
    gdu, gdt = tl.zeros_like(dt), tl.zeros_like(dt)
    for n in range(N):
        rate = tl.load(A + (k * N + n) * C + c, mask=c < C, other=0.0)
        head = tl.load(heads + (chunk * N + n) * C + c, mask=c < C, other=0.0)
        tail = tl.load(tails + (chunk * N + n) * C + c, mask=c < C, other=0.0)
        b_n = tl.load(bmat + rows + n * sn, mask=t < L, other=0.0)[:, None]
        c_n = tl.load(cmat + rows + n * sn, mask=t < L, other=0.0)[:, None]
        b_before = tl.load(bmat + rows_before + n * sn, mask=has_before, other=0.0)[:, None]
        inputs = du_before * b_before + tl.where(row[:, None] == 0, head[None, :], 0.0)
        _, state = tl.associative_scan((tl.exp(dt_before * rate[None, :]), inputs), 0, _combine)  # before the step
        inputs = g * c_n + tl.where(row[:, None] == T - 1, tail[None, :], 0.0)
        _, gh = tl.associative_scan((tl.exp(dt_after * rate[None, :]), inputs), 0, _combine, reverse=True)
        kept = tl.exp(dt * rate[None, :]) * state
        tl.store(gc + block + n * L, tl.sum(g * (kept + dt * u * b_n), 1), mask=t < L)
        tl.store(gb + block + n * L, tl.sum(gh * dt * u, 1), mask=t < L)
        tl.store(ga + (chunk * N + n) * C + c, tl.sum(gh * kept * dt, 0), mask=c < C)
        gdu += gh * b_n
        gdt += gh * kept * rate[None, :]
    gdt += gdu * u
    if SOFT:
        gdt *= tl.sigmoid(_raw_steps(delta, cells, live, bias, c, C))
    skip = tl.load(D + k * C + c, mask=c < C, other=0.0)[None, :]
    tl.store(gx + bk * C * L + cells, gdu * dt + g * skip, mask=live)
    tl.store(gdelta + bk * C * L + cells, gdt, mask=live)
