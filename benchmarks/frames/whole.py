"""Time whole networks, plain and in their inference form, in turns; compare their masks.

    python benchmarks/frames/whole.py [--models NAME ...] [--sizes 240x320 ...] [--threads 1 2] [--rounds N] [--trace]

`MAMBASEG_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2` before it has both use
AVX2. A round is one frame of each, both inputs there, from the network's inputs to class ids and confidence. Times are
in milliseconds: median and least of the wall time, least of the processor's time of the process. `pixels` is the share
of equal class ids, `logits` the largest difference over their standard deviation, `watch` the time to see whether the
weights have changed, which `fused` includes. `operators` are those that torch dispatches. Weights are the shipped ones
where there are some, else random.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mambaseg_core import create_model, shipped_weights
from mambaseg_core.fused.form import InferenceForm
from mambaseg_core.memory import keep_memory
from mambaseg_core.models import Network, list_models
from mambaseg_core.tracing import TracedModel, answer

CPU = torch.device("cpu")


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


def take_turns(calls: list[Callable[[], Any]], rounds: int) -> list[tuple[float, float, float]]:
    """Return median and least wall time and the least processor's time of each call, milliseconds."""
    times: list[list[tuple[float, float]]] = [[] for _ in calls]
    for number in range(rounds + 2):
        for call, found in zip(calls, times, strict=True):
            wall, used = time.perf_counter(), time.process_time()
            call()
            if number >= 2:  # the first ones warm up
                found.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - used)))
    walls = [[wall for wall, _ in found] for found in times]
    least = [min(cpu for _, cpu in found) for found in times]
    return [(statistics.median(wall), min(wall), cpu) for wall, cpu in zip(walls, least, strict=True)]


def pair_of(model: Network, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return a smooth image [C, H, W] and a sparse second input [T, H, W]."""
    coarse = torch.rand(1, model.in_channels, 12, 16)
    image = torch.nn.functional.interpolate(coarse, size, mode="bicubic", align_corners=False)[0].clamp(0, 1)
    second = torch.randn(model.bins, *size) * (torch.rand(model.bins, *size) < 0.1)
    return image, second


def made(name: str, size: tuple[int, int]) -> Network:
    """Return a network in eval mode."""
    torch.manual_seed(0)
    shipped = shipped_weights(name)
    return create_model(name, image_size=size, weights=shipped[0] if shipped else None).eval()


@torch.inference_mode()
def row(model: Network, size: tuple[int, int], threads: int, rounds: int, *, traced: bool, bfloat16: bool) -> str:
    """Return a row of the table."""
    torch.set_num_threads(threads)
    form, pair = InferenceForm(model, bfloat16=bfloat16), pair_of(model, size)
    network = form.network()
    counts = []
    for some in (model, network):
        with Operators() as operators:
            answer(some, torch.float32, CPU, *pair)
        counts.append(operators.number)
    runs: list[Callable[[], Any]] = [
        lambda: answer(model, torch.float32, CPU, *pair),
        lambda: answer(form.network(), torch.float32, CPU, *pair),
    ]
    if traced:
        other = pair_of(model, size)
        traces = [TracedModel(model, torch.float32, pair, other, some) for some in (model, network)]
        runs = [lambda: traces[0](*pair), lambda: (form.network(), traces[1](*pair))]
    plain, fused, watch = take_turns([*runs, form.network], rounds)
    batch = tuple(x[None] for x in pair)
    logits, expected = network(*batch), model(*batch)
    pixels = (logits.argmax(1) == expected.argmax(1)).float().mean()
    difference = (logits - expected).abs().max() / expected.std()
    numbers = (*plain, *fused)
    cells = [f"{number:.1f}" for number in numbers] + [f"{fused[1] / plain[1]:.2f}", f"{fused[2] / plain[2]:.2f}"]
    cells += [f"{watch[2]:.2f}", f"{100 * pixels:.4f} %", f"{difference:.1e}", f"{counts[0]}", f"{counts[1]}"]
    return f"| {model.name} {size[0]}x{size[1]} | {threads} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["mambaseg_nano"], choices=list_models())
    parser.add_argument("--sizes", nargs="+", default=[], metavar="HxW", help="default: the preset's")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--trace", action="store_true", help="run both as traces, as a Segmenter does after warm_up")
    arguments = parser.parse_args()
    keep_memory()
    print(f"load {os.getloadavg()[0]:.1f}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}\n")
    head = (
        "| | threads | plain median | least | CPU | fused median | least | CPU | wall | CPU | watch | pixels | logits"
    )
    print(f"{head} | operators | fused |\n|{'---|' * 15}")
    for name in arguments.models:
        sizes: list[Any] = [tuple(map(int, size.split("x"))) for size in arguments.sizes] or [None]
        for size in sizes:
            model = made(name, size)
            for threads in arguments.threads:
                line = row(model, size or model.image_size, threads, arguments.rounds, traced=arguments.trace)
                print(line, flush=True)


if __name__ == "__main__":
    main()
