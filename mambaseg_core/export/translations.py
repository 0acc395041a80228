"""Operators of torch that the exporter would write in a roundabout way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mambaseg_core.engines.packages import need


def translations() -> dict[Any, Callable[..., Any]]:
    """Return what `torch.onnx.export` takes as its custom translation table."""
    op, to_tensor = need("onnxscript").opset18, need("onnx.numpy_helper").from_array

    def adaptive_average_pool(x: Any, output_size: Sequence[int]) -> Any:
        """Write the mean over windows as two products with constant matrices, in place of an index for each window."""

        def constant(means: NDArray[np.float32]) -> Any:
            return op.Constant(value=to_tensor(np.ascontiguousarray(means, x.dtype.numpy())))

        (rows, columns), (height, width) = output_size, x.shape[2:]
        down = op.MatMul(constant(window_means(int(height), rows)), x)
        return op.MatMul(down, constant(window_means(int(width), columns).T))

    return {torch.ops.aten._adaptive_avg_pool2d.default: adaptive_average_pool}


def window_means(length: int, windows: int) -> NDArray[np.float32]:
    """Return [windows, length]: row i has the mean over floor(i L / n) to ceil((i + 1) L / n), as torch's windows."""
    places = np.arange(length)[None]
    number = np.arange(windows)[:, None]
    inside = (places >= number * length // windows) & (places < -(-(number + 1) * length // windows))
    means: NDArray[np.float32] = (inside / inside.sum(1, keepdims=True)).astype(np.float32)
    return means
