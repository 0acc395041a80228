"""What the fused operators share: activations by number, and their registration with torch.

Fused operators are for inference on channels-last maps [B, H, W, C]. The plain form of each is its specification: it
runs where no kernel does, and infers shapes for export.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATIONS: Final[tuple[Callable[[Tensor], Tensor] | None, ...]] = (None, F.relu, F.gelu, F.silu, torch.sigmoid)
NONE, RELU, GELU, SILU, SIGMOID = range(len(ACTIVATIONS))  # GELU is the exact one, with erf


def activate(x: Tensor, activation: int) -> Tensor:
    """Apply the activation of a number.

    Raises:
        ValueError: The number is none of `ACTIVATIONS`.
    """
    if not 0 <= activation < len(ACTIVATIONS):
        raise ValueError(
            f"activation is {activation}, expected 0 (none), 1 (relu), 2 (gelu), 3 (silu) or 4 (sigmoid); choose one"
        )
    function = ACTIVATIONS[activation]
    return x if function is None else function(x)


def register(name: str, schema: str, plain: Callable[..., Any], fake: Callable[..., Any] | None = None) -> None:
    """Define `mambaseg::<name>` with a plain form for every device; a gradient is refused.

    Args:
        name: Name of the operator.
        schema: Arguments and result, as torch's schemas have them.
        plain: The operator in PyTorch. Its results are contiguous, as the kernel's are.
        fake: Its result without data, where `plain` reads numbers to check them.
    """
    qualified = f"mambaseg::{name}"
    torch.library.define(qualified, schema)
    torch.library.impl(qualified, "default")(plain)
    torch.library.register_fake(qualified)(fake or plain)

    def refuse(*_: Any) -> None:
        raise RuntimeError(
            f"mambaseg: {name} is for inference and has no gradient, which was asked for; train the plain network"
        )

    torch.library.register_autograd(qualified, refuse)
