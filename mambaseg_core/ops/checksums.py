"""A number for the values of each tensor, by which any change of them is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from mambaseg_core import extension  # noqa: F401  loads the kernel

FACTOR: Final = 2654435761  # 2^32 over the golden ratio (Knuth): the factors of neighbors differ in all bits
PHASES: Final = 8
"""How many calls, each of another phase, read all values."""
_BLOCK, _WHOLE = 256, 4096  # values

torch.library.define("mambaseg::checksums_", "(Tensor(a!) sums, Tensor[] tensors, int phase) -> ()")


def plain_checksums(sums: Tensor, tensors: Sequence[Tensor], phase: int) -> None:
    """Write the `checksums` of tensors into `sums`, int64 [number of tensors]."""
    if phase not in range(PHASES):
        raise RuntimeError(f"checksums_: phase is {phase}, expected 0 to {PHASES - 1}")
    for number, x in enumerate(tensors):
        if x.device.type != "cpu" or x.dtype != torch.float32:
            raise RuntimeError("checksums_: a tensor is not float32 on the CPU")
        bits, places = x.flatten().view(torch.int32).to(torch.int64) & 0xFFFFFFFF, torch.arange(x.numel(), device="cpu")
        read = (places // _BLOCK % PHASES == phase) | (x.numel() <= _WHOLE)
        sums[number] = (bits * (places * FACTOR & 0xFFFFFFFF | 1))[read].sum()


torch.library.impl("mambaseg::checksums_", "default")(plain_checksums)


@torch.no_grad()
def checksums(tensors: Sequence[Tensor], phase: int) -> list[int]:
    """Return a number for each tensor: the sum of its values' 32 bits times an odd factor of the place, modulo 2^64.

    A change of a single value always changes it; of other changes about one in 2^33 or fewer does not. Of more than
    4096 values an eighth is read: one block of 256 in `PHASES`.

    Args:
        tensors: Of float32, on the CPU.
        phase: Which blocks are read, 0 to PHASES - 1.

    Raises:
        RuntimeError: A tensor or the phase is not of that kind.
    """
    sums = torch.empty(len(tensors), dtype=torch.int64, device="cpu")
    torch.ops.mambaseg.checksums_(sums, tensors, phase)
    found: list[int] = sums.tolist()
    return found
