"""A number for the values of a tensor, by which a change is noticed that torch does not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from mambaseg_core import extension  # noqa: F401  loads the kernel

FACTOR: Final = 2654435761  # 2^32 over the golden ratio (Knuth): the factors of neighbors differ in all bits

torch.library.define("mambaseg::checksums_", "(Tensor(a!) sums, Tensor[] tensors) -> ()")


@torch.library.impl("mambaseg::checksums_", "default")
def _checksums(sums: Tensor, tensors: Sequence[Tensor]) -> None:
    for number, x in enumerate(tensors):
        bits = x.flatten().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
        factors = torch.arange(bits.numel(), device=x.device) * FACTOR & 0xFFFFFFFF | 1
        sums[number] = (bits * factors).sum()


@torch.no_grad()
def checksums(tensors: Sequence[Tensor]) -> list[int]:
    """Return a checksum for each tensor: the sum of 32 bits times an odd factor of the place, modulo 2^64.

    A change of a single value always changes it, other changes almost surely.

    Args:
        tensors: Of float32, on the CPU.
    """
    sums = torch.empty(len(tensors), dtype=torch.int64)
    torch.ops.mambaseg.checksums_(sums, [x.detach().contiguous() for x in tensors])
    found: list[int] = sums.tolist()
    return found
