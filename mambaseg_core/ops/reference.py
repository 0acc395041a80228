"""The selective scan and its two-dimensional forms in plain PyTorch: the specification of every back end.

Shapes: B batch, K scan directions, C channels of one direction, N state size, L tokens, R rank of the step size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mambaseg_core.ops.checks import accumulator

Projections = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _by_step(x: Tensor, groups: int, chunk: int, chunks: int) -> Tensor:
    """[B, K*C, L] -> [chunk, B, K, chunks, C]: step t of every chunk at once; zeros beyond L."""
    batch, channels, length = x.shape
    padded = F.pad(x, (0, chunk * chunks - length))
    split = padded.reshape(batch, groups, channels // groups, chunks, chunk)
    return split.permute(4, 0, 1, 3, 2).contiguous()


def _scan(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """y_l = C_l . h_l with h_l = exp(dt_l A) h_{l-1} + dt_l B_l u_l, over about sqrt(L) chunks side by side.

    First the state that each chunk adds, then the state at the head of each chunk, then the chunks again from there.
    Nothing is ever divided by a decay, so nothing underflows into NaN.

    Args:
        u: [B, K*C, L]; dt, the final step size, has the same shape.
        dt: [B, K*C, L].
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
    """Selective scan (Gu and Dao 2023, equation 2) with K groups of input and output matrices.

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
    """[B, H, W, C] -> [B, L, C] in the order of a direction."""
    tokens = (x.transpose(1, 2) if direction % 2 else x).flatten(1, 2)
    return tokens.flip(1) if direction >= 2 else tokens


def _put_back(y: Tensor, direction: int, height: int, width: int) -> Tensor:
    """[B, L, C] in the order of a direction -> [B, H, W, C]; undoes `_walk`."""
    tokens = y.flip(1) if direction >= 2 else y
    if direction % 2:
        return tokens.unflatten(1, (width, height)).transpose(1, 2)
    return tokens.unflatten(1, (height, width))


def _projected_scan(walks: list[Tensor], weights: Projections) -> Tensor:
    """Scan each direction with its own projections.

    Args:
        walks: K tensors [B, L, C], each in scan order.
        weights: x_proj_weight, dt_projs_weight, dt_projs_bias, A, D as in `ss2d`.

    Returns:
        [B, K, C, L], each direction in scan order.
    """
    x_proj, dt_weight, dt_bias, A, D = weights
    rank, state = dt_weight.shape[2], A.shape[1]
    deltas, bs, cs = [], [], []
    for k, tokens in enumerate(walks):
        low, b, c = F.linear(tokens, x_proj[k]).split((rank, state, state), dim=-1)
        deltas.append(F.linear(low, dt_weight[k]))
        bs.append(b)
        cs.append(c)
    u, delta = (torch.stack(parts, 1).mT.flatten(1, 2) for parts in (walks, deltas))  # [B, K*C, L]
    B, C = (torch.stack(parts, 1).mT for parts in (bs, cs))  # [B, K, N, L]
    y = selective_scan(u, delta, A, B, C, D, dt_bias.flatten(), delta_softplus=True)
    return y.unflatten(1, (len(walks), -1))


def ss2d(
    x: Tensor, x_proj_weight: Tensor, dt_projs_weight: Tensor, dt_projs_bias: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    """Scan a map in four directions and sum (SS2D of VMamba, Liu et al. 2024).

    Directions: 0 row-major, 1 column-major, 2 the reverse of 0, 3 the reverse of 1.

    Args:
        x: [B, H, W, C].
        x_proj_weight: [4, R+2N, C], rows in the order step size, B, C.
        dt_projs_weight: [4, C, R].
        dt_projs_bias: [4, C].
        A: [4*C, N].
        D: [4*C].

    Returns:
        [B, H, W, C] in the dtype of `x`.
    """
    if x.numel() == 0:
        return x.clone()
    wide = accumulator(x.dtype)
    height, width = x.shape[1:3]
    walks = [_walk(x.to(wide), k) for k in range(4)]
    weights = tuple(w.to(wide) for w in (x_proj_weight, dt_projs_weight, dt_projs_bias, A, D))
    y = _projected_scan(walks, weights).mT  # type: ignore[arg-type]
    maps = [_put_back(y[:, k], k, height, width) for k in range(4)]
    return (maps[0] + maps[1] + maps[2] + maps[3]).to(x.dtype)


def bidirectional_scan(
    x: Tensor, x_proj_weight: Tensor, dt_projs_weight: Tensor, dt_projs_bias: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    """Scan a sequence forward and backward.

    Args:
        x: [B, C, L].
        x_proj_weight: [2, R+2N, C], rows in the order step size, B, C.
        dt_projs_weight: [2, C, R].
        dt_projs_bias: [2, C].
        A: [2*C, N].
        D: [2*C].

    Returns:
        [B, 2, C, L] in the dtype of `x`; direction 1 ran over the reversed sequence and stays in that order.
    """
    if x.numel() == 0:
        return torch.stack((x, x), 1)
    wide = accumulator(x.dtype)
    tokens = x.to(wide).mT
    weights = tuple(w.to(wide) for w in (x_proj_weight, dt_projs_weight, dt_projs_bias, A, D))
    return _projected_scan([tokens, tokens.flip(1)], weights).to(x.dtype)  # type: ignore[arg-type]
