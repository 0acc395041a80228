"""Time the compiled scans against other ways to compute them, as a Markdown table.

    python benchmarks/scans/kernels.py [--repeats 9] [--threads 2] [--no-slow]

Absolute times change with the load of the machine; compare ratios within one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from contenders import copying_ss2d, loop, map_inputs, parallel_scan, pscan, scan_inputs
from torch import Tensor

from mambaseg_core import ops
from mambaseg_core.bench.timing import HEADER, Row, Task, environment, medians
from mambaseg_core.memory import keep_memory

WIDEST = 16  # float32 lanes of AVX-512, for which the targets are stated


def kernel_table(repeats: int, threads: int, *, slow: bool = True) -> Iterator[str]:
    """Measure the scans and yield a Markdown table, line by line.

    Args:
        repeats: Runs of each task; the table has the median.
        threads: Threads of torch.
        slow: Whether to time the sequential loop too (half a minute).

    Raises:
        ValueError: The compiled kernels are missing.
    """
    if "cpu" not in ops.backends():
        raise ValueError(
            f"back ends are {', '.join(ops.backends())}; expected 'cpu' among them: build the extension first "
            "(pip install --no-build-isolation .)"
        )
    torch.set_num_threads(threads)
    keep_memory()  # like a warmed-up Segmenter; all contenders profit
    yield environment()
    yield ""
    yield HEADER
    for state in (1, 16):
        yield from map(str, scan_rows(state, repeats, slow=slow))
    yield from map(str, map_rows(repeats))
    yield ""
    yield from floor_rows(repeats, threads)


def target(at_widest: float, lanes: int) -> float:
    """Scale a target from `WIDEST` to `lanes` float32 lanes; at least 1, no slower than the contender.

    Our scans are bound by vector arithmetic. The contenders gain less from wide vectors, so the ratios fall with the
    width.
    """
    return max(1.0, at_widest * lanes / WIDEST)


def with_gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Task:
    """Return a task: forward, and backward from the sum."""
    leaves = [v.clone().requires_grad_() for v in inputs]
    return lambda: torch.autograd.grad(function(*leaves).sum(), leaves)


def soft_scan(backend: str) -> Callable[..., Tensor]:
    """Return selective_scan with softplus on one back end."""
    return partial(ops.selective_scan, delta_softplus=True, backend=backend)


def scan_rows(state: int, repeats: int, *, slow: bool) -> list[Row]:
    """Measure forward and forward + backward of selective_scan [1, 768, 4350]."""
    inputs, lanes = scan_inputs(768, 4350, state), torch.ops.mambaseg.vector_lanes()
    name = f"selective_scan [1, 768, 4350], N = {state}"
    others: list[tuple[str, Task, float]] = [("two-level torch scan", lambda: soft_scan("reference")(*inputs), 12)]
    if pscan:
        others.append(("mambapy", lambda: parallel_scan(*inputs), 40))
    if slow:
        others.append(("sequential loop", lambda: loop(*inputs), 150 if state > 1 else 60))
    with torch.no_grad():
        exact = soft_scan("reference")(*inputs)
        for other in (soft_scan("cpu"), loop, *([parallel_scan] if pscan else [])):
            torch.testing.assert_close(other(*inputs), exact, rtol=1e-3, atol=1e-3)
        # one contender at a time, so that the slow ones do not flush the caches before each of our runs
        rows = []
        for label, task, at_widest in others:
            theirs, ours = medians([task, lambda: soft_scan("cpu")(*inputs)], repeats)
            rows.append(Row(f"{name}, forward", ours, label, theirs, target(at_widest, lanes)))
    gradients = [with_gradients(soft_scan(backend), inputs) for backend in ("reference", "cpu")]
    theirs, ours = medians(gradients, repeats)
    asked = target(10, lanes)
    rows.append(Row(f"{name}, with gradients", ours, "autograd through two-level scan", theirs, asked))
    return rows


def map_rows(repeats: int) -> list[Row]:
    """Measure the SS2D core against the same scan with copies."""
    rows = []
    fused: Callable[..., Tensor] = partial(ops.ss2d, backend="cpu")
    lanes = torch.ops.mambaseg.vector_lanes()
    for (height, width, channels, state, rank), at_widest in (
        ((50, 87, 192, 1, 12), 4),
        ((50, 87, 192, 16, 6), 1),
        ((14, 20, 768, 1, 48), 1),
    ):
        inputs = map_inputs(height, width, channels, state, rank)
        with torch.no_grad():
            tasks = [partial(copying_ss2d, *inputs), partial(fused, *inputs)]
            torch.testing.assert_close(*(task() for task in tasks), rtol=1e-3, atol=1e-3)
            theirs, ours = medians(tasks, repeats)
        name = f"SS2D core {height}x{width}, {channels} channels, N = {state}"
        rows.append(Row(name, ours, "own scan with copies", theirs, target(at_widest, lanes)))
    return rows


def exp_rate(repeats: int, threads: int) -> float:
    """Return the exponentials per millisecond of torch.exp on data in the L1 cache, times the threads."""
    values = torch.linspace(-4, 0, 1 << 12)
    result = torch.empty_like(values)
    torch.set_num_threads(1)  # a parallel region for 4096 values would cost more than the values
    (ms,) = medians([lambda: [torch.exp(values, out=result) for _ in range(512)]], repeats)
    torch.set_num_threads(threads)
    return threads * 512 * values.numel() / ms


def floor_rows(repeats: int, threads: int) -> list[str]:
    """Compare the time with its floor, the larger of bytes / copy rate and exponentials / exp rate, measured here."""
    count = 768 * 4350
    source, target = torch.rand(3 * count // 2), torch.empty(3 * count // 2)
    exps_per_ms = exp_rate(repeats, threads)
    lines = []
    for state in (1, 16):
        inputs = scan_inputs(768, 4350, state)
        with torch.no_grad():
            copy, ours = medians([lambda: target.copy_(source), partial(soft_scan("cpu"), *inputs)], repeats)
        exps = count * (state + 1) / exps_per_ms  # the copy moves as many bytes as u, delta and y have
        floor = max(copy, exps)
        lines.append(
            f"selective_scan N = {state}: {ours:.2f} ms; floor {floor:.2f} ms (bytes {copy:.2f}, "
            f"exps {exps:.2f} at {exps_per_ms / 1e6:.1f} G/s); {ours / floor:.2f} times, target 2"
        )
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="runs of each task; the median counts")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--no-slow", action="store_true", help="leave out the sequential loop, half a minute")
    words = parser.parse_args()
    for line in kernel_table(words.repeats, words.threads, slow=not words.no_slow):
        print(line, flush=True)


if __name__ == "__main__":
    main()
