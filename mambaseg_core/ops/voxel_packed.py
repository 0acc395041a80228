"""Packing of events into 8 bytes each on the CPU, to scatter them into a voxel grid on a device.

One event is an int64: bits 0-15 x, 16-30 y, 31 polarity (1 = ON), 32-63 the time in bins as a fixed-point number
whose fraction has the bits that the number of bins leaves (28 of 32 with 10 bins, so 4e-9 of a bin).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mambaseg_core.events.array import Events

_MAX_HEIGHT: Final = 2**15


def fraction_bits(bins: int) -> int:
    """Return the number of fraction bits in the time field."""
    return 32 - (bins - 1).bit_length()


def pack_events(events: Events, edges_ns: NDArray[np.int64], *, bins: int, mode: str) -> NDArray[np.int64]:
    """Pack the events between the edges, int64 [M]; for `edges_ns` and `mode` see `voxel_grid`.

    Raises:
        ValueError: The sensor has more rows than fit.
    """
    if events.height > _MAX_HEIGHT:
        raise ValueError(
            f"the sensor has {events.height} rows, expected {_MAX_HEIGHT} at most; make this grid on the CPU"
        )
    first, last = int(edges_ns[0]), int(edges_ns[-1])
    inside = events.between(first, last + (mode == "bilinear"))
    if mode == "bilinear":
        time = _bilinear_time(inside.t_ns - first, max(last - first, 1), bins)
    else:
        time = (np.searchsorted(edges_ns, inside.t_ns, side="right") - 1) << fraction_bits(bins)
    low = inside.x | inside.y.astype(np.int64) << 16 | (inside.p > 0).astype(np.int64) << 31
    packed: NDArray[np.int64] = low | time << 32
    return packed


def _bilinear_time(since: NDArray[np.int64], span: int, bins: int) -> NDArray[np.int64]:
    """Return (T - 1) * since / span as a fixed-point number; the whole part is exact."""
    bits = fraction_bits(bins)
    bin_index, rest = np.divmod(since * (bins - 1), span)
    fraction = (rest * (2.0**bits / span)).astype(np.int64)
    return bin_index << bits | np.minimum(fraction, (1 << bits) - 1)


def scatter_reference_(grid: Tensor, packed: Tensor) -> None:
    """Overwrite a grid [T, H, W] with packed events [M], in plain PyTorch."""
    bins, height, width = grid.shape
    bits, plane = fraction_bits(bins), height * width
    cells = grid.zero_().view(-1)
    pixel = (packed >> 16 & 0x7FFF) * width + (packed & 0xFFFF)
    sign = ((packed >> 31 & 1) * 2 - 1).float()
    time = packed >> 32 & 0xFFFFFFFF
    to_next = (time & ((1 << bits) - 1)).double().mul_(2.0**-bits).float().mul_(sign)
    place = time >> bits
    cells.index_add_(0, place * plane + pixel, sign - to_next)
    cells.index_add_(0, (place + 1).clamp_max_(bins - 1) * plane + pixel, to_next)
