"""Contenders of the scans: the published ways to compute them, on the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mambaseg_core import ops

__all__ = ["copying_ss2d", "loop", "map_inputs", "parallel_scan", "project_and_scan", "pscan", "scan_inputs"]

try:
    from mambapy.pscan import pscan
except ImportError:
    pscan = None


def scan_inputs(channels: int, length: int, state: int, groups: int = 4) -> list[Tensor]:
    """Return arguments of selective_scan at batch 1, with the decays of a trained network."""
    g = torch.Generator().manual_seed(0)
    rates = torch.arange(1, state + 1).float().repeat(channels, 1)
    return [
        torch.randn(1, channels, length, generator=g),
        torch.randn(1, channels, length, generator=g) * 0.5,
        -rates * (1 + 0.1 * torch.rand(channels, state, generator=g)),
        torch.randn(1, groups, state, length, generator=g),
        torch.randn(1, groups, state, length, generator=g),
        torch.ones(channels),
        torch.full((channels,), -4.0),
    ]


def map_inputs(height: int, width: int, channels: int, state: int, rank: int) -> list[Tensor]:
    """Return arguments of ss2d at batch 1."""
    g = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, height, width, channels, generator=g),
        torch.randn(4, rank + 2 * state, channels, generator=g) * channels**-0.5,
        torch.randn(4, channels, rank, generator=g) * rank**-0.5,
        torch.randn(4, channels, generator=g) - 4,
        -torch.arange(1, state + 1).float().repeat(4 * channels, 1),
        torch.ones(4 * channels),
    ]


def loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor) -> Tensor:
    """Scan as published fallbacks do: discretize all steps first, then run one step after the other."""
    groups = B.shape[1]
    dt = F.softplus(delta + bias[:, None])
    decay = torch.exp(torch.einsum("bdl,dn->bdln", dt, A))
    wide_b, wide_c = (m.repeat_interleave(u.shape[1] // groups, dim=1) for m in (B, C))  # [B, D, N, L]
    added = torch.einsum("bdl,bdnl,bdl->bdln", dt, wide_b, u)
    h = torch.zeros(decay.shape[0], decay.shape[1], decay.shape[3])
    ys = []
    for t in range(u.shape[2]):
        h = decay[:, :, t] * h + added[:, :, t]
        ys.append(torch.einsum("bdn,bdn->bd", h, wide_c[..., t]))
    return torch.stack(ys, dim=-1) + D[:, None] * u


def parallel_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor) -> Tensor:
    """Run the same scan through mambapy's parallel scan."""
    groups = B.shape[1]
    dt = F.softplus(delta + bias[:, None])
    wide_b, wide_c = (m.repeat_interleave(u.shape[1] // groups, dim=1) for m in (B, C))
    decay = torch.exp(dt.mT[..., None] * A)  # [B, L, D, N]
    added = (dt * u).mT[..., None] * wide_b.permute(0, 3, 1, 2)
    h = pscan(decay, added)
    y: Tensor = (h * wide_c.permute(0, 3, 1, 2)).sum(-1).mT + D[:, None] * u
    return y


_compiled: Callable[..., Tensor] = partial(ops.selective_scan, delta_softplus=True)


def project_and_scan(
    xs: Tensor, x_proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor, *, scan: Callable[..., Tensor]
) -> Tensor:
    """Scan copies in scan order [B, K, C, L] to [B, K, C, L], with the step sizes of all directions in memory."""
    batch, directions, channels, length = xs.shape
    rank, state = weight.shape[2], A.shape[1]
    low, b, c = torch.split(torch.einsum("bkcl,kmc->bkml", xs, x_proj), [rank, state, state], dim=2)
    delta = torch.einsum("bkrl,kcr->bkcl", low, weight)
    u, dt = xs.reshape(batch, -1, length), delta.reshape(batch, -1, length)
    y = scan(u, dt, A, b.contiguous(), c.contiguous(), D, bias.flatten())
    return y.reshape(batch, directions, channels, length)


def copying_ss2d(
    x: Tensor,
    x_proj: Tensor,
    weight: Tensor,
    bias: Tensor,
    A: Tensor,
    D: Tensor,
    *,
    scan: Callable[..., Tensor] = _compiled,
) -> Tensor:
    """Run SS2D in the published data flow, with four directional copies, around a scan: by default our compiled one."""
    batch, height, width, channels = x.shape
    length = height * width
    rows = x.permute(0, 3, 1, 2).reshape(batch, channels, length)
    columns = x.permute(0, 3, 2, 1).reshape(batch, channels, length)
    pair = torch.stack((rows, columns), 1)
    xs = torch.cat((pair, pair.flip(-1)), 1)  # [B, 4, C, L]
    y = project_and_scan(xs, x_proj, weight, bias, A, D, scan=scan)
    pair = y[:, :2] + y[:, 2:].flip(-1)
    down = pair[:, 1].reshape(batch, channels, width, height).transpose(2, 3).reshape(batch, channels, length)
    return (pair[:, 0] + down).mT.reshape(batch, height, width, channels).contiguous()
