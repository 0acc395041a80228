"""Stage `train`: the time, the memory and the losses of training steps."""

from __future__ import annotations

import contextlib
import gc
import math

import torch
import torch.nn.functional as F

from gpu_stages.results import Run
from gpu_stages.subjects import Size
from gpu_stages.timing import median_ms, peak_mib, seconds
from mambaseg_core import create_model

WHOLE: tuple[tuple[str, Size, int], ...] = (
    ("mambaseg_compact", (440, 640), 4),
    ("mambaseg_dsec", (440, 640), 2),
    ("mambaseg_nano", (240, 320), 8),
    ("sigma_tiny", (480, 640), 2),
)
TINY: tuple[tuple[str, Size, int], ...] = (("mambaseg_nano", (32, 48), 2),)


def train(run: Run) -> None:
    """Train each network for a few steps on one random batch, in bfloat16 by autocast and in float32."""
    for mixed in (torch.bfloat16, None):
        for name, size, batch in TINY if run.tiny else WHOLE:
            with run.part(f"{name} {size} batch {batch} {mixed or 'float32'}"):
                _steps(run, name, size, batch, mixed)
            gc.collect()
            if run.on_gpu:
                torch.cuda.empty_cache()


def _steps(run: Run, name: str, size: Size, batch: int, mixed: torch.dtype | None) -> None:
    torch.manual_seed(0)
    model = create_model(name, image_size=size).to(run.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    image = torch.rand(batch, model.in_channels, *size, device=run.device)
    second = torch.randn(batch, model.bins, *size, device=run.device)
    label = torch.randint(0, model.num_classes, (batch, *size), device=run.device)
    losses: list[torch.Tensor] = []  # read at the end: a read in each step would wait for the card

    def step() -> None:
        with torch.autocast(run.device, mixed) if mixed else contextlib.nullcontext():
            loss = F.cross_entropy(model(image, second).float(), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    first = seconds(step, run.device)
    step()
    times = [seconds(step, run.device) for _ in range(2 if run.tiny else 8)]
    peak = peak_mib(step, run.device)
    values = [float(loss) for loss in losses]
    run.add(
        model=name,
        size=list(size),
        batch=batch,
        format=f"{mixed} autocast".removeprefix("torch.") if mixed else "float32, torch's defaults",
        first_s=round(first, 2),
        step_ms=median_ms(times),
        peak_MiB=peak,
        first_loss=values[0],
        last_loss=values[-1],
    )
    if not all(map(math.isfinite, values)):
        raise RuntimeError(f"losses are not finite: {values}")
