"""What is measured: networks with their sizes, their inputs, and number formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mambaseg_core import create_model, shipped_weights
from mambaseg_core.models import Network
from mambaseg_core.precision import allow_tf32, lowered

Size = tuple[int, int]
WHOLE: tuple[tuple[str, Size], ...] = (
    ("mambaseg_nano", (440, 640)),
    ("mambaseg_dsec", (440, 640)),
    ("mambaseg_compact", (440, 640)),
    ("mambaseg_nano", (240, 320)),
    ("sigma_tiny", (480, 640)),
    ("rsgmamba", (480, 640)),
)
TINY: tuple[tuple[str, Size], ...] = (("mambaseg_nano", (32, 48)), ("sigma_nano", (32, 48)))

# a label, the dtype of weights and features, whether float32 products and convolutions are rounded to TF32
Format = tuple[str, torch.dtype, bool]
FORMATS: tuple[Format, ...] = (
    ("float32", torch.float32, False),
    ("tf32", torch.float32, True),
    ("bfloat16", torch.bfloat16, True),
    ("float16", torch.float16, True),
)


def networks(tiny: bool) -> tuple[tuple[str, Size], ...]:
    """Return names and input sizes of the networks."""
    return TINY if tiny else WHOLE


def formats(device: str) -> list[Format]:
    """Return the number formats that a device has: those with TF32 and float16 belong to GPUs."""
    return list(FORMATS) if device != "cpu" else [FORMATS[0], FORMATS[2]]


def make_network(name: str, size: Size) -> tuple[Network, str]:
    """Return a network that is ready to infer, and the name of its weights: shipped where there are some."""
    torch.manual_seed(0)
    shipped = shipped_weights(name)
    model = create_model(name, image_size=size, weights=shipped[0] if shipped else None)
    return model.eval(), shipped[0] if shipped else "random"


def noise(model: Network, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Return a random image and second input of a network's sizes."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(batch, model.in_channels, *model.image_size, generator=generator)
    return image, torch.randn(batch, model.bins, *model.image_size, generator=generator)


@contextmanager
def cast(model: nn.Module, form: Format, device: str) -> Iterator[nn.Module]:
    """Lend a copy of a model in a number format on a device; restore torch's switches afterwards."""
    _, dtype, tf32 = form
    try:
        with allow_tf32(tf32):
            yield lowered(model, dtype, torch.device(device)).to(device)
    finally:
        if device != "cpu":
            torch.cuda.empty_cache()
