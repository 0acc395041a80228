"""Stage `cores`: SS2D on every back end that works here, and on VMamba's own kernel where it is installed."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from gpu_stages.results import Run
from gpu_stages.timing import Task, busy_ms, replayed
from mambaseg_core import ops

# height, width, channels, state, rank: the encoders' stages and Sigma's
WHOLE = ((110, 160, 192, 1, 12), (50, 87, 192, 1, 12), (110, 160, 192, 16, 12), (14, 20, 768, 1, 48))
TINY = ((5, 7, 8, 1, 2),)


@torch.inference_mode()
def cores(run: Run) -> None:
    """Time SS2D on all back ends at the shapes of the networks, as called and as CUDA graphs."""
    usable = [name for name in ops.backends() if name == "reference" or (name == "cpu") != run.on_gpu]
    for shape in TINY if run.tiny else WHOLE:
        inputs = _inputs(*shape, device=run.device)
        tasks: dict[str, Task] = {name: partial(ops.ss2d, *inputs, backend=name) for name in usable}
        if vmamba := _vmamba(inputs):
            tasks["VMamba's kernel"] = vmamba
        exact = ops.ss2d(*(v.double() for v in inputs), backend="reference")
        for name, task in tasks.items():
            with run.part(f"{name} {shape}"):
                _time_one(run, shape, name, task, exact)
    if run.on_gpu and "mamba_ssm" not in usable:
        run.add(back_end="mamba_ssm", error="not installed here with its kernel: its target stays open")


def _time_one(run: Run, shape: tuple[int, ...], name: str, task: Task, exact: Tensor) -> None:
    got: Tensor = task()  # type: ignore[assignment]
    slow = name == "reference"
    repeats, inner = (1, 1) if run.tiny or slow else (15, 10)
    ms = busy_ms(task, run.device, repeats, inner)
    graph = busy_ms(replayed(task)[0], run.device, repeats, inner) if run.on_gpu and not slow else None
    error = float((got.double() - exact).abs().max() / exact.abs().max())
    run.add(H_W_C_N_R=list(shape), back_end=name, ms=ms, graph_ms=graph, error=error)


def _inputs(height: int, width: int, channels: int, state: int, rank: int, *, device: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, height, width, channels), (4, rank + 2 * state, channels), (4, channels, rank), (4, channels)]
    x, first, second, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    rates = -torch.arange(1.0, state + 1).repeat(4 * channels, 1)
    made = (x, first / channels**0.5, second / rank**0.5, bias - 4, rates, torch.ones(4 * channels))
    return [v.to(device) for v in made]


def _vmamba(inputs: list[Tensor]) -> Task | None:
    """Return SS2D in the published data flow around VMamba's kernel, if that is installed."""
    try:
        import selective_scan_cuda_oflex  # type: ignore[import-not-found]
    except ImportError:
        return None
    x, first, second, bias, rates, skip = inputs
    batch, height, width, channels = x.shape
    length, rank, state = height * width, second.shape[2], rates.shape[1]

    def run() -> Tensor:
        rows = x.permute(0, 3, 1, 2).reshape(batch, channels, length)
        columns = x.permute(0, 3, 2, 1).reshape(batch, channels, length)
        pair = torch.stack((rows, columns), 1)
        xs = torch.cat((pair, pair.flip(-1)), 1)
        low, b, c = torch.einsum("bkcl,kmc->bkml", xs, first).split([rank, state, state], dim=2)
        delta = torch.einsum("bkrl,kcr->bkcl", low, second).reshape(batch, -1, length)
        u, shift = xs.reshape(batch, -1, length), bias.flatten()
        y = selective_scan_cuda_oflex.fwd(u, delta, rates, b.contiguous(), c.contiguous(), skip, shift, True, 1, True)[
            0
        ]
        y = y.reshape(batch, 4, channels, length)
        pair = y[:, :2] + y[:, 2:].flip(-1)
        down = pair[:, 1].reshape(batch, channels, width, height).transpose(2, 3).reshape(batch, channels, length)
        return (pair[:, 0] + down).mT.reshape(batch, height, width, channels)

    return run
