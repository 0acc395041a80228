"""Modules that own selective scans: their parameters, their one call into `ops`, their cost.

The cost is stated here, not measured. Back ends compute a scan differently, and none of them may change what
`profile_model` counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mambaseg_core import ops

DT_MIN, DT_MAX = 1e-3, 1e-1  # step sizes at the start of training
ScanOp = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def rates(A_log: Tensor) -> Tensor:
    """Return the A of a scan, negative and at least float32, from its logarithm."""
    return -torch.exp(A_log.to(torch.promote_types(A_log.dtype, torch.float32)))


@torch.no_grad()
def draw_step_bias(bias: Tensor) -> None:
    """Draw step sizes log-uniform between `DT_MIN` and `DT_MAX`, in place: softplus(bias) is the step."""
    dt = torch.empty_like(bias).uniform_(math.log(DT_MIN), math.log(DT_MAX)).exp()
    bias.copy_(dt + torch.log(-torch.expm1(-dt)))


@torch.no_grad()
def draw_rates(A_log: Tensor) -> None:
    """Set the rates of [..., N] to A = -(1..N), in place."""
    steps = torch.arange(1, A_log.shape[-1] + 1, device=A_log.device, dtype=A_log.dtype)
    A_log.copy_(steps.log().expand_as(A_log))


class DirectionalScan(nn.Module):
    """Selective scans of the same features in K directions, each with its own projections.

    Source: Gu and Dao, "Mamba", 2023; the directions as in Liu et al., "VMamba", 2024.

    Args:
        op: `ops.ss2d` (K = 4) or `ops.bidirectional_scan` (K = 2).
        directions: K.
        channels: C, the scan's channels in one direction.
        state: N, the size of the hidden state of one channel.
        dt_rank: R, the rank of the step size's projection.
    """

    def __init__(self, op: ScanOp, *, directions: int, channels: int, state: int, dt_rank: int) -> None:
        super().__init__()
        self.op = op
        self.directions, self.channels, self.state, self.dt_rank = directions, channels, state, dt_rank
        self.x_proj = nn.Parameter(torch.empty(directions, dt_rank + 2 * state, channels))
        self.dt_proj = nn.Parameter(torch.empty(directions, channels, dt_rank))
        self.dt_bias = nn.Parameter(torch.empty(directions, channels))
        self.A_log = nn.Parameter(torch.empty(directions * channels, state))
        self.D = nn.Parameter(torch.ones(directions * channels))
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Scan; the shapes of `x` and of the result are those of `op`."""
        return self.op(x, self.x_proj, self.dt_proj, self.dt_bias, rates(self.A_log), self.D)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw starting values: A = -(1..N), step sizes log-uniform between `DT_MIN` and `DT_MAX`."""
        nn.init.uniform_(self.x_proj, -(self.channels**-0.5), self.channels**-0.5)
        nn.init.uniform_(self.dt_proj, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        draw_step_bias(self.dt_bias)
        draw_rates(self.A_log)
        nn.init.ones_(self.D)

    def product_macs(self, positions: int) -> int:
        """Return the multiply-adds of the projections (to step size, B and C; to the full step size) at `positions`."""
        rows = (self.dt_rank + 2 * self.state) + self.dt_rank
        return self.directions * positions * self.channels * rows

    def scan_macs(self, positions: int) -> int:
        """Return the multiply-adds of the scans themselves: 3N + 2 per channel, direction and position."""
        return ops.scan_macs(self.directions * self.channels, positions, self.state)

    def extra_repr(self) -> str:
        """Return the text for `print(model)`."""
        sizes = f"channels={self.channels}, state={self.state}, dt_rank={self.dt_rank}"
        return f"directions={self.directions}, {sizes}"


class SequenceScan(nn.Module):
    """One selective scan of a sequence whose step size, B and C come from outside, such as from the other input.

    Args:
        channels: C.
        state: N, the size of the hidden state of one channel.
    """

    op = staticmethod(ops.selective_scan)

    def __init__(self, channels: int, *, state: int) -> None:
        super().__init__()
        self.channels, self.state = channels, state
        self.dt_bias = nn.Parameter(torch.empty(channels))
        self.A_log = nn.Parameter(torch.empty(channels, state))
        self.D = nn.Parameter(torch.ones(channels))
        draw_step_bias(self.dt_bias)
        draw_rates(self.A_log)

    def forward(self, x: Tensor, delta: Tensor, B: Tensor, C: Tensor) -> Tensor:
        """Scan [B, C, L] with steps softplus(delta [B, C, L] + bias), B and C [B, N, L], to [B, C, L]."""
        b, c = B.unsqueeze(1), C.unsqueeze(1)
        return self.op(x, delta, rates(self.A_log), b, c, self.D, self.dt_bias, delta_softplus=True)

    def product_macs(self, positions: int) -> int:
        """Return 0: the projections are the caller's."""
        return 0

    def scan_macs(self, positions: int) -> int:
        """Return the multiply-adds of the scan: 3N + 2 per channel and position."""
        return ops.scan_macs(self.channels, positions, self.state)
