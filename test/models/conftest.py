"""Fixtures for the tests of the networks: weights that need no file, and small networks."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from mambaseg_core.checkpoint import create_model
from mambaseg_core.models import MambaSeg

Shapes = dict[str, list[int]]


def draw(name: str, shape: list[int]) -> np.ndarray:
    """Return the value of the tensor that the authors call `name`, in float64 (the rule of the known answers)."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith("dt_projs_bias"):
        return np.log(np.expm1(np.exp(random.uniform(np.log(1e-3), np.log(1e-1), shape))))
    z = np.asarray(random.standard_normal(shape))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("A_logs"):
        return np.log(np.arange(1, shape[-1] + 1)) + 0.1 * z
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(z)
    if name.endswith("Ds") or (len(shape) == 1 and name.endswith("weight")):
        return 1 + 0.1 * z
    if len(shape) == 1:
        return 0.1 * z
    return z / np.sqrt(shape[-1] if len(shape) == 3 else np.prod(shape[1:]))


@pytest.fixture(scope="session")
def released_weights() -> Callable[[Shapes], dict[str, Tensor]]:
    """Maps the authors' names and shapes to a state dict as their checkpoints have it."""

    def weights(shapes: Shapes) -> dict[str, Tensor]:
        drawn = {name: torch.from_numpy(np.asarray(draw(name, shape))) for name, shape in shapes.items()}
        return {name: x.float() if x.is_floating_point() else x for name, x in drawn.items()}

    return weights


@pytest.fixture(scope="session")
def released_inputs() -> Callable[[MambaSeg], tuple[Tensor, Tensor]]:
    """Maps a network to the image and the second input of the known answers."""

    def inputs(model: MambaSeg) -> tuple[Tensor, Tensor]:
        random = np.random.RandomState(1234)
        image = random.uniform(0, 1, (1, model.in_channels, *model.image_size))
        events = random.standard_normal((1, model.bins, *model.image_size))
        return torch.from_numpy(image).float(), torch.from_numpy(events).float()

    return inputs


@pytest.fixture
def on_meta() -> Callable[..., MambaSeg]:
    """`create_model` without memory: names and shapes only."""

    def create(name: str, **numbers: object) -> MambaSeg:
        with torch.device("meta"):
            return create_model(name, **numbers)

    return create
