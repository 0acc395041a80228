"""The back end "mamba_ssm": scans through mamba_ssm's CUDA kernel, where it is installed.

The walks over the map are those of `reference`; gradients are mamba_ssm's own. The kernel itself has not run here, for
lack of a GPU. Everything else is tested against mamba_ssm's reference function (test/ops/test_mamba_ssm.py).
"""

from __future__ import annotations

from functools import partial
from typing import cast

import selective_scan_cuda  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: F401  # fails first
import torch
from mamba_ssm.ops.selective_scan_interface import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    selective_scan_fn,
)
from torch import Tensor

from mambaseg_core.ops import reference


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """Scan as `reference.selective_scan` does, in float32.

    Raises:
        TypeError: The dtype is float64, which the kernel does not take.
    """
    if u.dtype == torch.float64:
        raise TypeError("selective_scan: u is torch.float64, expected float32 for mamba_ssm; use backend='reference'")
    if u.numel() == 0:
        return u.clone()
    bias = None if delta_bias is None else delta_bias.contiguous()  # selective_scan_fn leaves only this one strided
    return cast(Tensor, selective_scan_fn(u, delta, A, B, C, D, None, bias, delta_softplus))


ss2d = partial(reference.ss2d_projected, scan=selective_scan)
bidirectional_scan = partial(reference.bidirectional_scan_projected, scan=selective_scan)
