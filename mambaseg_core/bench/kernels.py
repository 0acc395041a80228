"""The scans against what else there is, side by side in one run: medians and the ratios aimed at.

    python benchmarks/kernels.py [--repeats 9] [--threads 2] [--skip-loop]

Absolute times move with the machine's neighbours; ratios within one run are what counts.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mambaseg_core import ops

try:
    from mambapy.pscan import pscan
except ImportError:
    pscan = None

Task = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of the table: what was timed, against what, and the ratio aimed at."""

    name: str
    ours_ms: float
    other: str
    other_ms: float
    target: float

    def __str__(self) -> str:
        ratio = self.other_ms / self.ours_ms
        verdict = "met" if ratio >= self.target else "MISSED"
        return (
            f"| {self.name} | {self.ours_ms:.2f} | {self.other} | {self.other_ms:.1f} "
            f"| {ratio:.1f} | {self.target:g} | {verdict} |"
        )


def medians(tasks: Sequence[Task], repeats: int) -> list[float]:
    """Median milliseconds of each task, the tasks taking turns so that a busy moment hits them all."""
    times: list[list[float]] = [[] for _ in tasks]
    for task in tasks:
        task()
    for _ in range(repeats):
        for task, seen in zip(tasks, times, strict=True):
            start = time.perf_counter()
            task()
            seen.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(seen) for seen in times]


def scan_inputs(channels: int, length: int, state: int, groups: int = 4) -> list[Tensor]:
    """Arguments of selective_scan at batch 1, with the decays of a trained network."""
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
    """Arguments of ss2d at batch 1."""
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
    """The scan as published fallbacks have it: all discretised first, then one step after the other."""
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
    """The same through mambapy's parallel scan."""
    groups = B.shape[1]
    dt = F.softplus(delta + bias[:, None])
    wide_b, wide_c = (m.repeat_interleave(u.shape[1] // groups, dim=1) for m in (B, C))
    decay = torch.exp(dt.mT[..., None] * A)  # [B, L, D, N]
    added = (dt * u).mT[..., None] * wide_b.permute(0, 3, 1, 2)
    h = pscan(decay, added)
    return (h * wide_c.permute(0, 3, 1, 2)).sum(-1).mT + D[:, None] * u


def copying_ss2d(x: Tensor, x_proj: Tensor, weight: Tensor, bias: Tensor, A: Tensor, D: Tensor) -> Tensor:
    """SS2D in the published data flow, four directional copies and all, around our own compiled scan."""
    batch, height, width, channels = x.shape
    length, (rank, state) = height * width, (weight.shape[2], A.shape[1])
    rows = x.permute(0, 3, 1, 2).reshape(batch, channels, length)
    columns = x.permute(0, 3, 2, 1).reshape(batch, channels, length)
    pair = torch.stack((rows, columns), 1)
    xs = torch.cat((pair, pair.flip(-1)), 1)  # [B, 4, C, L]
    low, b, c = torch.einsum("bkcl,kmc->bkml", xs, x_proj).split([rank, state, state], dim=2)
    delta = torch.einsum("bkrl,kcr->bkcl", low, weight)
    y = ops.selective_scan(
        xs.reshape(batch, -1, length),
        delta.reshape(batch, -1, length),
        A,
        b.contiguous(),
        c.contiguous(),
        D,
        bias.flatten(),
        delta_softplus=True,
    ).reshape(batch, 4, channels, length)
    pair = y[:, :2] + y[:, 2:].flip(-1)
    down = pair[:, 1].reshape(batch, channels, width, height).transpose(2, 3).reshape(batch, channels, length)
    return (pair[:, 0] + down).mT.reshape(batch, height, width, channels).contiguous()


def with_gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Task:
    """Forward and backward of the sum."""
    leaves = [v.clone().requires_grad_() for v in inputs]
    return lambda: torch.autograd.grad(function(*leaves).sum(), leaves)


def soft_scan(backend: str) -> Callable[..., Tensor]:
    """selective_scan with softplus on one back end."""
    return lambda *a: ops.selective_scan(*a, delta_softplus=True, backend=backend)


def scan_rows(state: int, repeats: int, *, skip_loop: bool) -> list[Row]:
    """Forward and forward + backward of selective_scan [1, 768, 4350]."""
    inputs = scan_inputs(768, 4350, state)
    name = f"selective_scan [1, 768, 4350], N = {state}"
    others: list[tuple[str, Task, float]] = [("two-level torch scan", lambda: soft_scan("reference")(*inputs), 12)]
    if pscan:
        others.append(("mambapy", lambda: parallel_scan(*inputs), 40))
    if not skip_loop:
        others.append(("sequential loop", lambda: loop(*inputs), 150 if state > 1 else 60))
    with torch.no_grad():
        exact = soft_scan("reference")(*inputs)
        for other in (soft_scan("cpu"), loop, *([parallel_scan] if pscan else [])):
            torch.testing.assert_close(other(*inputs), exact, rtol=1e-3, atol=1e-3)
        # the slow ones one by one, so that they do not empty the caches before each of ours
        rows = []
        for label, task, target in others:
            theirs, ours = medians([task, lambda: soft_scan("cpu")(*inputs)], repeats)
            rows.append(Row(f"{name}, forward", ours, label, theirs, target))
    slow, fast = (with_gradients(soft_scan(backend), inputs) for backend in ("reference", "cpu"))
    theirs, ours = medians([slow, fast], repeats)
    rows.append(Row(f"{name}, with gradients", ours, "autograd through two-level scan", theirs, 10))
    return rows


def map_rows(repeats: int) -> list[Row]:
    """The SS2D core against the same scan with copies."""
    rows = []
    for (height, width, channels, state, rank), target in (
        ((50, 87, 192, 1, 12), 4),
        ((50, 87, 192, 16, 6), 1),
        ((14, 20, 768, 1, 48), 1),
    ):
        inputs = map_inputs(height, width, channels, state, rank)
        with torch.no_grad():
            torch.testing.assert_close(ops.ss2d(*inputs), copying_ss2d(*inputs), rtol=1e-3, atol=1e-3)
            theirs, ours = medians([lambda a=inputs: copying_ss2d(*a), lambda a=inputs: ops.ss2d(*a)], repeats)
        name = f"SS2D core {height}x{width}, {channels} channels, N = {state}"
        rows.append(Row(name, ours, "own scan with copies", theirs, target))
    return rows


def exp_rate(repeats: int, threads: int) -> float:
    """Exponentials a millisecond of torch.exp on data in the first cache, times the threads."""
    values = torch.linspace(-4, 0, 1 << 12)
    result = torch.empty_like(values)
    torch.set_num_threads(1)  # a parallel region for 4096 values would cost more than the values
    (ms,) = medians([lambda: [torch.exp(values, out=result) for _ in range(512)]], repeats)
    torch.set_num_threads(threads)
    return threads * 512 * values.numel() / ms


def floor_rows(repeats: int, threads: int) -> list[str]:
    """Time over the larger of bytes / copy rate and exponentials / exp rate, both measured here."""
    count = 768 * 4350
    source, target = torch.rand(3 * count // 2), torch.empty(3 * count // 2)
    exps_per_ms = exp_rate(repeats, threads)
    lines = []
    for state in (1, 16):
        inputs = scan_inputs(768, 4350, state)
        with torch.no_grad():
            copy, ours = medians([lambda: target.copy_(source), lambda a=inputs: soft_scan("cpu")(*a)], repeats)
        exps = count * (state + 1) / exps_per_ms  # the copy moves as many bytes as u, delta and y have
        floor = max(copy, exps)
        lines.append(
            f"selective_scan N = {state}: {ours:.2f} ms; floor {floor:.2f} ms (bytes {copy:.2f}, "
            f"exps {exps:.2f} at {exps_per_ms / 1e6:.1f} G/s); {ours / floor:.2f} times, target 2"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-loop", action="store_true", help="leave out the sequential loop (slow)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {options.threads} threads,")
    print(f"back ends {ops.backends()}, {torch.ops.mambaseg.vector_lanes()} float32 lanes\n")
    print("| what | ours ms | against | ms | ratio | target | |\n|---|---|---|---|---|---|---|")
    for state in (1, 16):
        for row in scan_rows(state, options.repeats, skip_loop=options.skip_loop):
            print(row, flush=True)
    for row in map_rows(options.repeats):
        print(row, flush=True)
    print()
    print("\n".join(floor_rows(options.repeats, options.threads)))


if __name__ == "__main__":
    main()
