"""Views of bytes-like objects as one array, without a copy."""

from __future__ import annotations

from array import array
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = "bytes | bytearray | memoryview | array[int] | NDArray[np.uint8]"
"""Types of a payload; rclpy returns bytes or an array."""


def as_octets(data: Bytes) -> NDArray[np.uint8]:
    """Return the bytes as uint8 [N], contiguous; copied only if they are not.

    Raises:
        TypeError: data is not bytes.
    """
    if isinstance(data, np.ndarray):
        if data.dtype == np.uint8 and data.ndim == 1:
            return np.ascontiguousarray(data)
    elif isinstance(data, bytes | bytearray | array):
        return np.frombuffer(data, np.uint8)
    elif isinstance(data, memoryview):
        return np.frombuffer(data if data.c_contiguous else bytes(data), np.uint8)
    what = f"{data.dtype} array" if isinstance(data, np.ndarray) else type(data).__name__
    raise TypeError(f"data is {what}, expected bytes or a uint8 array [N]; give the packet's payload")
