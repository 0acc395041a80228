"""The GPU rows of the kernel targets in one call: tests first, then the table.

    python benchmarks/gpu.py [--repeats 15] [--skip-tests]

Written without a GPU. It has run with `--device cpu` only (tiny sizes, no graphs): that shows that it works, and
nothing about speed. Absolute times are those of one machine; ratios compare tasks that took turns in this run.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mambaseg_core import ops
from mambaseg_core.checkpoint import create_model
from mambaseg_core.precision import lowered

ROOT = Path(__file__).resolve().parents[1]
Task = Callable[[], object]
# height, width, channels, state, rank: the encoder's stages and Sigma's
CORES = [(50, 87, 192, 1, 12), (110, 160, 192, 1, 12), (110, 160, 192, 16, 12), (14, 20, 768, 1, 48)]
TINY_CORES = [(5, 7, 8, 1, 2)]
CORE_TARGET, MODEL_TARGET_MS = 2.0, 10.0


def milliseconds(task: Task, device: str, inner: int) -> float:
    """Return the mean over `inner` calls back to back: the cost of a call on a busy card."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(inner):
            task()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / inner
    begin = time.perf_counter()
    for _ in range(inner):
        task()
    return (time.perf_counter() - begin) * 1e3 / inner


def medians(tasks: dict[str, Task], device: str, repeats: int, inner: int) -> dict[str, float]:
    """Return the median milliseconds of each task; the tasks take turns. A task that fails is reported and left out."""
    working: dict[str, Task] = {}
    for name, task in tasks.items():
        try:
            for _ in range(3):
                task()
            working[name] = task
        except Exception:  # drop this row, keep the others
            print(f"FAILED: {name}\n{traceback.format_exc()}")
    times: dict[str, list[float]] = {name: [] for name in working}
    for _ in range(repeats):
        for name, task in working.items():
            times[name].append(milliseconds(task, device, inner))
    return {name: statistics.median(seen) for name, seen in times.items()}


def replayed(task: Task) -> Task:
    """Return the task as a CUDA graph: its launches cost the host nothing."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            task()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        task()
    return graph.replay


def with_graph(name: str, task: Task, device: str) -> dict[str, Task]:
    if device != "cuda":
        return {name: task}
    try:
        return {name: task, f"{name}, CUDA graph": replayed(task)}
    except Exception:  # keep the plain row
        print(f"FAILED: {name}, CUDA graph\n{traceback.format_exc()}")
        return {name: task}


def core_inputs(height: int, width: int, channels: int, state: int, rank: int, device: str) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    shapes = [(1, height, width, channels), (4, rank + 2 * state, channels), (4, channels, rank), (4, channels)]
    x, first, second, bias = (torch.randn(shape, generator=g) for shape in shapes)
    rates = -torch.arange(1.0, state + 1).repeat(4 * channels, 1)
    made = [x, first / channels**0.5, second / rank**0.5, bias - 4, rates, torch.ones(4 * channels)]
    return [v.to(device) for v in made]


@torch.inference_mode()
def cores(device: str, repeats: int, inner: int) -> None:
    """Print the times of SS2D, projections included, on every back end that works here."""
    usable = [name for name in ops.backends() if (name == "cpu") == (device == "cpu") or name == "reference"]
    print("| ss2d, float32 | back end | ms | times the first | target |\n|---|---|---|---|---|")
    for shape in TINY_CORES if device == "cpu" else CORES:
        inputs = core_inputs(*shape, device)
        tasks: dict[str, Task] = {}
        for name in usable:
            task = partial(ops.ss2d, *inputs, backend=name)
            tasks |= {name: task} if name == "reference" else with_graph(name, task, device)
        found = medians(tasks, device, repeats, inner)
        ours = found.get(usable[0], float("nan"))
        for name, ms in found.items():
            target = f">= {CORE_TARGET:g}" if name == "mamba_ssm" else ""
            print(f"| H x W, C, N, R = {shape} | {name} | {ms:.4f} | {ms / ours:.2f} | {target} |")
    if device == "cuda" and "mamba_ssm" not in usable:
        print("mamba_ssm is not installed here with its kernel (requirements/mamba_ssm.txt): its target stays open")


@torch.inference_mode()
def whole_model(device: str, repeats: int, inner: int) -> None:
    """Print the times of `mambaseg_dsec` on one frame: weights cast as in `Segmenter(precision=...)`, best back end."""
    size = (440, 640) if device == "cuda" else (64, 64)
    torch.manual_seed(0)
    model = create_model("mambaseg_dsec", image_size=size).eval()
    tasks: dict[str, Task] = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16)[: 3 if device == "cuda" else 2]:
        cast = (model if dtype == torch.float32 else lowered(model, dtype)).to(device)
        image, events = torch.rand(1, model.in_channels, *size), torch.randn(1, model.bins, *size)
        task = partial(cast, image.to(device, dtype), events.to(device, dtype))
        tasks |= with_graph(str(dtype).removeprefix("torch."), task, device)
    print("| mambaseg_dsec, batch 1 | ms | target ms |\n|---|---|---|")
    for name, ms in medians(tasks, device, repeats, inner).items():
        print(f"| {size[0]}x{size[1]}, {name} | {ms:.2f} | {'' if name.startswith('float32') else MODEL_TARGET_MS} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--inner", type=int, default=10, help="calls of each timing")
    parser.add_argument("--skip-tests", action="store_true")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: tiny sizes, to try the script")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no CUDA device here; --device cpu tries the script")
        return 2
    card = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine()
    print(f"{date.today()}, {card}, torch {torch.__version__}, back ends {', '.join(ops.backends())}\n")
    failed = 0
    if not args.skip_tests:
        tests = [str(ROOT / "test" / "ops" / "test_gpu.py"), "-q", "-m", "gpu", "-p", "no:cacheprovider"]
        failed = subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=ROOT).returncode
    cores(args.device, args.repeats, args.inner)
    print()
    whole_model(args.device, args.repeats, args.inner)
    return failed


if __name__ == "__main__":
    sys.exit(main())
