"""A whole network on one frame (`mambaseg bench model`): back ends and precisions side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor

from mambaseg_core import ops
from mambaseg_core.bench.timing import Task, environment, medians
from mambaseg_core.inference import PRECISIONS, keep_memory, lowered
from mambaseg_core.models import Network, create_model

CASES = (("float32", "cpu"), ("bfloat16", "cpu"), ("float32", "reference"))  # precision and back end


def network(name: str, precision: str, size: tuple[int, int] | None = None) -> Network:
    """A network with random weights, ready to infer on the CPU; `size` (height, width) None: the preset's."""
    torch.manual_seed(0)
    model = create_model(name, image_size=size).eval()
    return model if precision == "float32" else cast(Network, lowered(model, PRECISIONS[precision]))


def frame(model: Network) -> tuple[Tensor, Tensor]:
    """One image and one voxel grid as the network takes them, in its dtype."""
    dtype = next(model.parameters()).dtype
    image = torch.rand(1, model.in_channels, *model.image_size)
    events = torch.randn(1, model.bins, *model.image_size)
    return image.to(dtype), events.to(dtype)


def on_backend(backend: str, run: Callable[[], object]) -> Task:
    """A task that runs with MAMBASEG_BACKEND set to `backend`, and leaves the variable as it was."""

    def task() -> object:
        before = os.environ.get("MAMBASEG_BACKEND")
        os.environ["MAMBASEG_BACKEND"] = backend
        try:
            return run()
        finally:
            os.environ.pop("MAMBASEG_BACKEND")
            if before is not None:
                os.environ["MAMBASEG_BACKEND"] = before

    return task


@torch.inference_mode()
def times_ms(name: str, cases: list[tuple[str, str]], repeats: int) -> list[float]:
    """Median milliseconds of one frame in each case; the cases take turns."""
    models = {precision: network(name, precision) for precision, _ in cases}
    inputs = {precision: frame(model) for precision, model in models.items()}
    tasks = [on_backend(backend, partial(models[precision], *inputs[precision])) for precision, backend in cases]
    return medians(tasks, repeats)


def model_table(name: str, repeats: int, threads: int) -> Iterator[str]:
    """Measure, line by line in Markdown.

    Args:
        name: one of `list_models()`.
        repeats: how often each case runs; its median counts.
        threads: torch's threads.

    Raises:
        ValueError: an unknown name.
    """
    from mambaseg_core.bench.memory import peak_mib

    torch.set_num_threads(threads)
    keep_memory()
    cases = [(precision, backend) for precision, backend in CASES if backend in ops.backends()]
    yield environment()
    yield ""
    yield f"| {name}, one frame | ms | times as fast as the last row | peak memory above the weights, MiB |"
    yield "|---|---|---|---|"
    times = times_ms(name, cases, repeats)
    for (precision, backend), ms in zip(cases, times, strict=True):
        peak = on_backend(backend, partial(peak_mib, name, precision, threads))()
        yield f"| {precision}, back end {backend} | {ms:.0f} | {times[-1] / ms:.1f} | {peak:.0f} |"
