# mypy: ignore-errors
"""Triton kernel that adds packed events to a voxel grid: one lane per event, two atomic additions each.

Tested so far: the kernel in Triton's interpreter on a CPU, and its compilation for sm_80 to sm_110. Nothing here has
run on a GPU yet. Triton's language is not Python, so mypy skips this file.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from mambaseg_core.ops.voxel_packed import fraction_bits

BLOCK = 256  # events per program; not measured


@triton.jit(do_not_specialize=["count", "bins", "width", "plane"])  # one variant for any number of events and any size
def scatter(packed, grid, count, bins, width, plane, BITS: tl.constexpr, BLOCK: tl.constexpr):
    """Add each event [count] to its bin and to the next one in the zeroed grid [bins, plane]."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = i < count
    event = tl.load(packed + i, exists, 0)
    x = event & 0xFFFF
    pixel = (event >> 16 & 0x7FFF) * width + x
    exists &= (x < width) & (pixel < plane)  # an event outside would be written into other memory
    sign = ((event >> 31 & 1) * 2 - 1).to(tl.float32)
    time = event >> 32 & 0xFFFFFFFF
    bin_index = time >> BITS
    to_next = (time & ((1 << BITS) - 1)).to(tl.float32) * (1.0 / (1 << BITS)) * sign
    here = grid + bin_index * plane + pixel
    tl.atomic_add(here, sign - to_next, exists, sem="relaxed")
    tl.atomic_add(here + plane, to_next, exists & (bin_index + 1 < bins), sem="relaxed")


def scatter_(grid: Tensor, packed: Tensor) -> None:
    """Overwrite a grid [T, H, W] with packed events [M], both on the same GPU."""
    bins, height, width = grid.shape
    grid.zero_()
    if len(packed):
        blocks = (triton.cdiv(len(packed), BLOCK),)
        with torch.cuda.device(grid.device) if grid.is_cuda else nullcontext():  # Triton launches on the current one
            scatter[blocks](
                packed, grid, len(packed), bins, width, height * width, BITS=fraction_bits(bins), BLOCK=BLOCK
            )
