"""The selective scan and its two-dimensional forms in plain PyTorch: the specification of every back end.

Shapes: B batch, K directions, C channels of one direction, N state size, L tokens, R rank of the step size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mambaseg_core.ops.checks import accumulator


def _by_step(x: Tensor, groups: int, chunk: int, chunks: int) -> Tensor:
    """Rearrange [B, K*C, L] to [chunk, B, K, chunks, C]: entry t is step t of every chunk; zeros beyond L."""
    batch, channels, length = x.shape
    padded = F.pad(x, (0, chunk * chunks - length))
    split = padded.reshape(batch, groups, channels // groups, chunks, chunk)
    return split.permute(4, 0, 1, 3, 2).contiguous()


def _scan(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Compute y_l = C_l . h_l with h_l = exp(dt_l A) h_{l-1} + dt_l B_l u_l, in about sqrt(L) chunks side by side.

    The first pass finds the state that each chunk adds, the second the state at the head of each chunk. The third
    runs the chunks again from there. Nothing is divided by a decay, so nothing underflows into NaN.

    Args:
        u: [B, K*C, L].
        dt: [B, K*C, L], the final step size.
        A: [K*C, N].
        B: [B, K, N, L].
        C: [B, K, N, L].

    Returns:
        [B, K*C, L].
    """
    batch, channels, length = u.shape
    groups, state = B.shape[1], B.shape[2]
    chunk = max(1, math.isqrt(length))
    chunks = -(-length // chunk)

    steps = _by_step(dt, groups, chunk, chunks)  # [T, B, K, S, C]
    inputs = steps * _by_step(u, groups, chunk, chunks)
    rows = [_by_step(m.reshape(batch, groups * state, length), groups, chunk, chunks) for m in (B, C)]
    b, c = (row.movedim(-1, 1).contiguous().unsqueeze(-1) for row in rows)  # [T, N, B, K, S, 1]
    a = A.reshape(groups, 1, channels // groups, state).movedim(-1, 0).unsqueeze(1)  # [N, 1, K, 1, C]

    added = torch.zeros_like(b[0] * inputs[0])  # [N, B, K, S, C]
    for t in range(chunk):
        added = torch.addcmul(b[t] * inputs[t], torch.exp(a * steps[t]), added)

    decay = torch.exp(a * steps.sum(0))  # [N, B, K, S, C]
    head = torch.zeros_like(added[:, :, :, 0])
    heads = []
    for s in range(chunks):
        heads.append(head)
        head = torch.addcmul(added[:, :, :, s], decay[:, :, :, s], head)
    h = torch.stack(heads, dim=3)

    outputs = []
    for t in range(chunk):
        h = torch.addcmul(b[t] * inputs[t], torch.exp(a * steps[t]), h)
        outputs.append((c[t] * h).sum(0))  # [B, K, S, C]
    y = torch.stack(outputs, dim=-1)  # [B, K, S, C, T]
    return y.transpose(2, 3).reshape(batch, channels, chunks * chunk)[..., :length]


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
    """Run the selective scan (Gu and Dao 2023, equation 2) with K groups of input and output matrices.

    Args:
        u: [B, K*C, L].
        delta: [B, K*C, L].
        A: [K*C, N].
        B: [B, K, N, L].
        C: [B, K, N, L].
        D: [K*C] or None.
        delta_bias: [K*C] or None.
        delta_softplus: Whether the step size is softplus(delta + delta_bias).

    Returns:
        [B, K*C, L], in the dtype of `u`; half precision is computed in float32.
    """
    wide = accumulator(u.dtype)
    x, dt = u.to(wide), delta.to(wide)
    if delta_bias is not None:
        dt = dt + delta_bias.to(wide).unsqueeze(-1)
    if delta_softplus:
        dt = F.softplus(dt)
    if x.numel() == 0:
        return u.clone()
    y = _scan(x, dt, A.to(wide), B.to(wide), C.to(wide))
    if D is not None:
        y = y + D.to(wide).unsqueeze(-1) * x
    return y.to(u.dtype)


def _walk(x: Tensor, direction: int) -> Tensor:
    """Return the tokens [B, L, C] of a map [B, H, W, C] in the order of a direction."""
    tokens = (x.transpose(1, 2) if direction % 2 else x).flatten(1, 2)
    return tokens.flip(1) if direction >= 2 else tokens


def _put_back(y: Tensor, direction: int, height: int, width: int) -> Tensor:
    """Return the map [B, H, W, C] of tokens [B, L, C] in the order of a direction; the inverse of `_walk`."""
    tokens = y.flip(1) if direction >= 2 else y
    if direction % 2:
        return tokens.reshape(y.shape[0], width, height, -1).transpose(1, 2)
    return tokens.reshape(y.shape[0], height, width, -1)


def _directional_scans(
    u: list[Tensor],
    proj: list[Tensor],
    weight: Tensor,
    bias: Tensor,
    A: Tensor,
    D: Tensor,
    scan: Callable[..., Tensor],
) -> Tensor:
    """Scan each direction with its own step size, B and C.

    Args:
        u: K tensors [B, L, C], each in scan order.
        proj: K tensors [B, L, R+2N], each in scan order.
        weight: dt_projs_weight [K, C, R].
        bias: dt_projs_bias [K, C].
        A: [K*C, N].
        D: [K*C].
        scan: A function with the arguments of `selective_scan`.

    Returns:
        [B, K, C, L], each direction in scan order.
    """
    rank, state = weight.shape[2], A.shape[1]
    parts = [torch.split(p, [rank, state, state], dim=-1) for p in proj]
    delta = [F.linear(part[0], w) for part, w in zip(parts, weight, strict=True)]
    xs, deltas = (torch.stack(tensors, 1).mT.flatten(1, 2) for tensors in (u, delta))  # [B, K*C, L]
    B, C = (torch.stack([part[i] for part in parts], 1).mT for i in (1, 2))  # [B, K, N, L]
    y = scan(xs, deltas, A, B, C, D, bias.flatten(), delta_softplus=True)
    return y.reshape(y.shape[0], len(u), -1, y.shape[-1])


def ss2d_projected(
    x: Tensor,
    proj: Tensor,
    weight: Tensor,
    bias: Tensor,
    A: Tensor,
    D: Tensor,
    scan: Callable[..., Tensor] = selective_scan,
) -> Tensor:
    """Run `ss2d` from its first product `proj` [B, H, W, 4, R+2N] on, with any `scan` function."""
    if x.numel() == 0:
        return x.clone()
    height, width = x.shape[1:3]
    walks = [_walk(x, k) for k in range(4)]
    rows = [_walk(proj[:, :, :, k], k) for k in range(4)]
    y = _directional_scans(walks, rows, weight, bias, A, D, scan).mT
    maps = [_put_back(y[:, k], k, height, width) for k in range(4)]
    return (maps[0] + maps[1] + maps[2] + maps[3]).contiguous()


def bidirectional_scan_projected(
    x: Tensor,
    proj: Tensor,
    weight: Tensor,
    bias: Tensor,
    A: Tensor,
    D: Tensor,
    scan: Callable[..., Tensor] = selective_scan,
) -> Tensor:
    """Run `bidirectional_scan` from its first product `proj` [B, 2, R+2N, L] on, with any `scan` function."""
    if x.numel() == 0:
        return torch.stack((x, x), 1)
    tokens, rows = x.mT, proj.mT
    walks = [tokens, tokens.flip(1)]
    return _directional_scans(walks, [rows[:, 0], rows[:, 1].flip(1)], weight, bias, A, D, scan)


def project_map(x: Tensor, x_proj_weight: Tensor) -> Tensor:
    """Multiply [B, H, W, C] by [4, R+2N, C] to [B, H, W, 4, R+2N], in one product over the map in memory order."""
    proj = F.linear(x, x_proj_weight.flatten(0, 1))
    return proj.reshape(*x.shape[:-1], *x_proj_weight.shape[:2])


def project_sequence(x: Tensor, x_proj_weight: Tensor) -> Tensor:
    """Multiply [B, C, L] by [2, R+2N, C] to [B, 2, R+2N, L]."""
    proj = torch.matmul(x_proj_weight.flatten(0, 1), x)
    return proj.reshape(x.shape[0], *x_proj_weight.shape[:2], x.shape[2])
