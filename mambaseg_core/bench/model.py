"""Benchmark of a whole network on one frame (`mambaseg bench model`): back ends and precisions side by side."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.bench.timing import Task, environment, medians
from mambaseg_core.checkpoint import create_model
from mambaseg_core.fused.form import InferenceForm
from mambaseg_core.memory import keep_memory
from mambaseg_core.models import Network
from mambaseg_core.precision import PRECISIONS, lowered

FUSED = "fused"
CASES = (("float32", FUSED), ("bfloat16", FUSED), ("float32", "cpu"), ("bfloat16", "cpu"), ("float32", "reference"))
"""Precision and back end of the scans; `FUSED`: the back end "cpu" in the inference form, as `Segmenter` runs it."""


def network(name: str, precision: str, size: tuple[int, int] | None = None) -> Network:
    """Return a network with random weights, ready to infer on the CPU; `size` (height, width) None: the preset's."""
    torch.manual_seed(0)
    model = create_model(name, image_size=size).eval()
    return (
        model if precision == "float32" else cast(Network, lowered(model, PRECISIONS[precision], torch.device("cpu")))
    )


def frame(model: Network) -> tuple[Tensor, Tensor]:
    """Return one image and one voxel grid of the network's sizes, in its dtype."""
    dtype = next(model.parameters()).dtype
    image = torch.rand(1, model.in_channels, *model.image_size)
    events = torch.randn(1, model.bins, *model.image_size)
    return image.to(dtype), events.to(dtype)


def on_backend(backend: str, run: Callable[[], object]) -> Task:
    """Return a task that sets MAMBASEG_BACKEND to `backend` ("cpu" for `FUSED`), runs, and restores the variable."""

    def task() -> object:
        before = os.environ.get("MAMBASEG_BACKEND")
        os.environ["MAMBASEG_BACKEND"] = "cpu" if backend == FUSED else backend
        try:
            return run()
        finally:
            os.environ.pop("MAMBASEG_BACKEND")
            if before is not None:
                os.environ["MAMBASEG_BACKEND"] = before

    return task


@torch.inference_mode()
def times_ms(name: str, cases: list[tuple[str, str]], repeats: int) -> list[float]:
    """Return the median milliseconds of one frame in each case; the cases take turns."""
    models = {dtype: network(name, dtype) for dtype in {stored(*case) for case in cases}}
    inputs = {dtype: frame(model) for dtype, model in models.items()}
    tasks = [
        on_backend(backend, partial(form(models[stored(precision, backend)], precision, backend),
                                    *inputs[stored(precision, backend)]))
        for precision, backend in cases
    ]  # fmt: skip
    return medians(tasks, repeats)


def stored(precision: str, backend: str) -> str:
    """Return the precision of the network's own weights: the inference form keeps float32 beside its packed ones."""
    return "float32" if backend == FUSED else precision


def form(model: Network, precision: str, backend: str) -> nn.Module:
    """Return the network itself, or for `FUSED` its inference form with products in that precision."""
    return InferenceForm(model, bfloat16=precision == "bfloat16").network() if backend == FUSED else model


def peak_mib(name: str, precision: str, backend: str, threads: int) -> float:
    """Return the peak resident memory of a first forward pass above that before it (the weights), MiB.

    The pass runs in its own process: `python -m mambaseg_core.bench.model MODEL PRECISION BACKEND THREADS`.
    """
    command = [sys.executable, "-m", "mambaseg_core.bench.model", name, precision, backend, str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _resident_mib(field: str) -> float:
    """Return a field of /proc/self/status (Linux), MiB: VmRSS is the current memory, VmHWM its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith(field))
    return int(kib) / 1024


@torch.inference_mode()
def _print_peak(name: str, precision: str, backend: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    keep_memory()
    plain = network(name, stored(precision, backend))
    model = form(plain, precision, backend)
    inputs = frame(plain)
    ctypes.CDLL(None).malloc_trim(0)  # else the pass reuses, uncounted, memory that the casts of the weights freed
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes the current memory
    before = _resident_mib("VmRSS")
    model(*inputs)
    print(_resident_mib("VmHWM") - before)


def model_table(name: str, repeats: int, threads: int) -> Iterator[str]:
    """Measure the cases and yield a Markdown table, line by line.

    Args:
        name: One of `list_models()`.
        repeats: Runs of each case; the table has the median.
        threads: Threads of torch.

    Raises:
        ValueError: The name is unknown.
    """
    torch.set_num_threads(threads)
    keep_memory()
    found = {*ops.backends(), *([FUSED] if "cpu" in ops.backends() else [])}
    cases = [(precision, backend) for precision, backend in CASES if backend in found]
    yield environment()
    yield ""
    yield f"| {name}, one frame | ms | times as fast as the last row | peak memory above the weights, MiB |"
    yield "|---|---|---|---|"
    times = times_ms(name, cases, repeats)
    for (precision, backend), ms in zip(cases, times, strict=True):
        peak = on_backend(backend, partial(peak_mib, name, precision, backend, threads))()
        how = "fused operators" if backend == FUSED else f"back end {backend}"
        yield f"| {precision}, {how} | {ms:.0f} | {times[-1] / ms:.1f} | {peak:.0f} |"


if __name__ == "__main__":
    _print_peak(*sys.argv[1:])
