"""Time whole networks, plain and in their inference forms, in turns; compare their masks.

    python benchmarks/frames/whole.py [--models NAME ...] [--sizes 240x320 ...] [--threads 1 2] [--rounds N] [--trace]

`MAMBASEG_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2` before it has all use
AVX2. A round is one frame of each, both inputs there, from the network's inputs to class ids and confidence. A line is
the plain network, the fused one, or that in bfloat16. Times are in milliseconds: median and least of the wall time,
least of the processor's time of the process; then the last two as a share of the plain network's. `pixels` is the share
of equal class ids, `logits` the largest difference over their standard deviation, `watch` the time to see whether the
weights have changed, which all but `plain` include. `operators` are those that torch dispatches. Weights are the
shipped ones where there are some, else random.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
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
def rows(model: Network, size: tuple[int, int], threads: int, rounds: int, *, traced: bool) -> Iterator[str]:
    """Yield the lines of the table of a network."""
    torch.set_num_threads(threads)
    forms = [InferenceForm(model, bfloat16=half) for half in (False, True)]
    pair, other = pair_of(model, size), pair_of(model, size)
    networks = [model, *(form.network() for form in forms)]
    runs: list[Callable[[], Any]] = [
        partial(TracedModel(model, torch.float32, pair, other, some), *pair)
        if traced
        else partial(answer, some, torch.float32, CPU, *pair)
        for some in networks
    ]
    watched = [runs[0], *(partial(watch, form, run) for form, run in zip(forms, runs[1:], strict=True))]
    *found, watching = take_turns([*watched, forms[0].network], rounds)
    expected = model(*(x[None] for x in pair))
    for name, network, numbers in zip(("plain", "fused", "bfloat16"), networks, found, strict=True):
        with Operators() as operators:
            answer(network, torch.float32, CPU, *pair)
        logits = network(*(x[None] for x in pair))
        pixels = (logits.argmax(1) == expected.argmax(1)).float().mean()
        cells = [name, *(f"{number:.1f}" for number in numbers)]
        cells += [f"{number / plain:.2f}" for number, plain in zip(numbers[1:], found[0][1:], strict=True)]
        cells += ["" if network is model else f"{watching[2]:.2f}", f"{100 * pixels:.4f} %"]
        cells += [f"{(logits - expected).abs().max() / expected.std():.1e}", str(operators.number)]
        yield f"| {model.name} {size[0]}x{size[1]} | {threads} | {' | '.join(cells)} |"


def watch(form: InferenceForm, run: Callable[[], Any]) -> None:
    """Look whether the weights have changed, and run a frame."""
    form.network()
    run()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["mambaseg_nano"], choices=list_models())
    parser.add_argument("--sizes", nargs="+", default=[], metavar="HxW", help="default: the preset's")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--trace", action="store_true", help="run all as traces, as a Segmenter does after warm_up")
    arguments = parser.parse_args()
    keep_memory()
    print(f"load {os.getloadavg()[0]:.1f}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}\n")
    print("| | threads | form | median | least | CPU | share, least | CPU | watch | pixels | logits | operators |")
    print("|" + "---|" * 12)
    for name in arguments.models:
        sizes: list[Any] = [tuple(map(int, size.split("x"))) for size in arguments.sizes] or [None]
        for size in sizes:
            model = made(name, size)
            for threads in arguments.threads:
                given = size or model.image_size, threads, arguments.rounds
                for line in rows(model, *given, traced=arguments.trace):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
