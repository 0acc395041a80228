"""A number for the values of each tensor, by which any change of them is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from mambaseg_core import extension  # noqa: F401  loads the kernel

FACTOR: Final = 2654435761  # 2^32 over the golden ratio (Knuth): the factors of neighbors differ in all bits

torch.library.define("mambaseg::checksums_", "(Tensor(a!) sums, Tensor[] tensors) -> ()")


def plain_checksums(sums: Tensor, tensors: Sequence[Tensor]) -> None:
    """Write the `checksums` of tensors into `sums`, int64 [number of tensors]."""
    for number, x in enumerate(tensors):
        if x.device.type != "cpu" or x.dtype != torch.float32:
            raise RuntimeError("checksums_: a tensor is not float32 on the CPU")
        bits = x.flatten().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
        factors = torch.arange(bits.numel()) * FACTOR & 0xFFFFFFFF | 1
        sums[number] = (bits * factors).sum()


torch.library.impl("mambaseg::checksums_", "default")(plain_checksums)


@torch.no_grad()
def checksums(tensors: Sequence[Tensor]) -> list[int]:
    """Return a number for each tensor: the sum of its values' 32 bits times an odd factor of the place, modulo 2^64.

    A change of a single value always changes it; of other changes about one in 2^33 or fewer does not.

    Args:
        tensors: Of float32, on the CPU.

    Raises:
        RuntimeError: A tensor is not of that kind.
    """
    sums = torch.empty(len(tensors), dtype=torch.int64)
    torch.ops.mambaseg.checksums_(sums, tensors)
    found: list[int] = sums.tolist()
    return found
